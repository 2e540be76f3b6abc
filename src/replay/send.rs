//! Sending a plan: sockets, TLS and the clock. One thread, as many connections as asked for; what each step came to is given to
//! [`Outcomes`] at once.

mod body;
mod schedule;
mod wire;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::blobs::Blobs;
use crate::decode::http1::Config;
use crate::model::{Exchange, Timestamp};
use crate::replay::plan::{Plan, Step};
use crate::replay::rewrite::{Content, Outgoing, Rules, Target, rewrite, wants_content};
use crate::replay::send::schedule::{Next, Schedule};
use crate::replay::send::wire::Wire;
use crate::replay::{Held, Ids};
use crate::s3::sigv4::Signer;
use crate::s3::{Call, Domains};

/// What a step came to.
pub enum StepOutcome {
    /// A response came.
    Answered(Box<Exchange>),
    /// None came. `is_sent` tells whether the request, or a part of it, left.
    Failed {
        /// The exchange as far as it went.
        exchange: Option<Box<Exchange>>,
        /// Why.
        error: String,
        /// Whether anything was sent.
        is_sent: bool,
    },
    /// It was held back.
    Held(Held),
}

/// Takes what steps come to, while the replay goes on.
pub trait Outcomes {
    /// A step is about to be sent.
    ///
    /// # Errors
    /// Ends the replay.
    fn before(&mut self, step: &Step) -> io::Result<()>;

    /// A step is done. `late` is how long after its time it was sent, `took` the time from when it was due to its response.
    ///
    /// # Errors
    /// Ends the replay.
    fn done(&mut self, step: &Step, outcome: StepOutcome, late: Duration, took: Duration, ids: &mut Ids) -> io::Result<()>;
}

/// Where to connect to, and how.
pub struct Door {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS, and the name that the certificate has to have.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// How long connecting, and each wait for bytes, may take.
    pub patience: Duration,
}

/// All that sending needs.
pub struct Sending {
    /// The plan.
    pub plan: Plan,
    /// How addresses of the recording are read.
    pub domains: Domains,
    /// The target.
    pub target: Target,
    /// The way there.
    pub door: Door,
    /// What is changed.
    pub rules: Rules,
    /// Bodies of the recording.
    pub blobs: Option<Blobs>,
    /// Signs; requests are sent unsigned where there is none.
    pub signer: Option<Signer>,
    /// Connections at most.
    pub connections: usize,
    /// How connections are recorded.
    pub config: Arc<Config>,
    /// Seconds added to the clock when signing.
    pub clock_offset: i64,
    /// Steps that are not sent again.
    pub skip: HashSet<usize>,
    /// The number of the first connection in the result.
    pub first_flow: u64,
}

/// Why a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps are done.
    Complete,
    /// It was interrupted.
    Interrupted,
    /// The target could not be reached any more.
    Unreachable,
}

struct Shared<O> {
    sending: Sending,
    signer: RefCell<Option<Signer>>,
    schedule: RefCell<Schedule>,
    changed: tokio::sync::Notify,
    ids: RefCell<Ids>,
    outcomes: RefCell<O>,
    failure: RefCell<Option<io::Error>>,
    begin: Instant,
    flows: RefCell<u64>,
    /// Connections that failed one after the other.
    refused: RefCell<u32>,
}

/// So many connections one after the other that fail end a replay.
const REFUSED_MAX: u32 = 5;

/// Sends a plan. Gives back `outcomes`.
///
/// # Errors
/// Where there is no runtime, or `outcomes` fails.
pub fn run<O: Outcomes + 'static>(mut sending: Sending, ids: Ids, outcomes: O) -> io::Result<(End, O)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signer = sending.signer.take();
    let schedule = Schedule::new(&sending.plan, &sending.skip);
    let workers = sending.connections.clamp(1, 4096).min(sending.plan.steps.len().max(1));
    let flows = RefCell::new(sending.first_flow);
    let shared = Rc::new(Shared {
        sending,
        signer: RefCell::new(signer),
        schedule: RefCell::new(schedule),
        changed: tokio::sync::Notify::new(),
        ids: RefCell::new(ids),
        outcomes: RefCell::new(outcomes),
        failure: RefCell::new(None),
        begin: Instant::now(),
        flows,
        refused: RefCell::new(0),
    });
    let local = tokio::task::LocalSet::new();
    let end = local.block_on(&runtime, async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..workers {
            tasks.spawn_local(work(Rc::clone(&shared)));
        }
        let mut is_interrupted = false;
        loop {
            tokio::select! {
                done = tasks.join_next() => if done.is_none() { break },
                _ = tokio::signal::ctrl_c(), if !is_interrupted => {
                    is_interrupted = true;
                    shared.schedule.borrow_mut().stop();
                    shared.changed.notify_waiters();
                }
            }
        }
        match () {
            () if is_interrupted => End::Interrupted,
            () if *shared.refused.borrow() >= REFUSED_MAX => End::Unreachable,
            () => End::Complete,
        }
    });
    drop(local);
    let shared = Rc::try_unwrap(shared).map_err(|_| io::Error::other("a connection is still open"))?;
    match shared.failure.into_inner() {
        Some(error) => Err(error),
        None => Ok((end, shared.outcomes.into_inner())),
    }
}

/// One connection at work: takes what is due next, until nothing is left.
async fn work<O: Outcomes + 'static>(shared: Rc<Shared<O>>) {
    let mut wire: Option<Wire> = None;
    loop {
        let next = shared.schedule.borrow_mut().next(shared.begin.elapsed());
        match next {
            Next::Step(number) => {
                if let Err(error) = step(&shared, number, &mut wire).await {
                    shared.failure.borrow_mut().get_or_insert(error);
                    shared.schedule.borrow_mut().stop();
                }
                let news = shared.schedule.borrow_mut().finish(number);
                if shared.schedule.borrow().is_over() {
                    shared.changed.notify_waiters();
                } else {
                    (0..news).for_each(|_| shared.changed.notify_one());
                }
            }
            Next::Wait(span) => {
                tokio::select! {
                    () = tokio::time::sleep(span) => {}
                    () = shared.changed.notified() => {}
                }
                shared.schedule.borrow_mut().wake();
            }
            Next::Idle => shared.changed.notified().await,
            Next::End => return,
        }
    }
}

async fn step<O: Outcomes>(shared: &Shared<O>, number: usize, wire: &mut Option<Wire>) -> io::Result<()> {
    let sending = &shared.sending;
    let Some(step) = sending.plan.steps.get(number) else { return Ok(()) };
    let Some(call) = Call::read(&step.exchange, &sending.domains) else { return Ok(()) };
    let report = |outcome, late, took| {
        let mut ids = shared.ids.borrow_mut();
        if let StepOutcome::Answered(exchange) = &outcome
            && let Some(response) = exchange.response()
        {
            ids.learn(&call, response);
        }
        shared.outcomes.borrow_mut().done(step, outcome, late, took, &mut ids)
    };
    if let Some(held) = &step.held {
        return report(StepOutcome::Held(held.clone()), Duration::ZERO, Duration::ZERO);
    }
    let outgoing = match prepare(shared, &call) {
        Ok(outgoing) => outgoing,
        Err(held) => return report(StepOutcome::Held(held), Duration::ZERO, Duration::ZERO),
    };
    if !wire.as_mut().is_some_and(Wire::is_usable) {
        let flow = {
            let mut flows = shared.flows.borrow_mut();
            *flows += 1;
            *flows
        };
        match Wire::open(&sending.door, flow, &sending.config).await {
            Ok(new) => {
                *shared.refused.borrow_mut() = 0;
                *wire = Some(new);
            }
            Err(error) => {
                *wire = None;
                *shared.refused.borrow_mut() += 1;
                if *shared.refused.borrow() >= REFUSED_MAX {
                    shared.schedule.borrow_mut().stop();
                }
                let outcome = StepOutcome::Failed { exchange: None, error: error.to_string(), is_sent: false };
                return report(outcome, Duration::ZERO, Duration::ZERO);
            }
        }
    }
    let Some(open) = wire.as_mut() else { return Ok(()) };
    shared.outcomes.borrow_mut().before(step)?;
    let late = shared.begin.elapsed().saturating_sub(step.due);
    let source = body::Source { blobs: sending.blobs.as_ref(), recorded: &step.exchange.request.body };
    let outcome = body::send(open, outgoing, &source, &shared.signer, sending.rules.payload, clock(sending.clock_offset)).await;
    if !open.is_usable() {
        *wire = None;
    }
    report(outcome, late, shared.begin.elapsed().saturating_sub(step.due))
}

/// The request as it is sent now, with the ids that are known by now.
fn prepare<O>(shared: &Shared<O>, call: &Call<'_>) -> Result<Outgoing, Held> {
    let sending = &shared.sending;
    let body = &call.exchange.request.body;
    let stored = |body| sending.blobs.as_ref().and_then(|blobs| blobs.open(body).ok().flatten());
    let mut loaded = Vec::new();
    let content = match () {
        () if body.complete && body.missing.is_empty() && body.kept.len() as u64 == body.length => Content::Bytes(&body.kept),
        () if wants_content(call) => match stored(body) {
            Some(mut file) => {
                io::Read::read_to_end(&mut file, &mut loaded).map_err(|_| Held::BodyMissing)?;
                Content::Bytes(&loaded)
            }
            None => Content::Missing,
        },
        () if body.stored && stored(body).is_some() => Content::Stored,
        () => Content::Missing,
    };
    rewrite(call, &sending.target, &sending.rules, &shared.ids.borrow(), content)
}

/// The time now, with the offset that signing was asked to have.
fn clock(offset: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(nanos.saturating_add(offset.saturating_mul(1_000_000_000)))
}
