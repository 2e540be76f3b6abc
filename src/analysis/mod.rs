//! The ordered stage: decoded events in; judged exchanges, findings and a summary out. No threads, no files, no clock.

mod endings;
mod flows;
mod histogram;
mod hold;
mod joins;
mod nat;
mod recorded;
mod signatures;
mod stage;
mod summary;
mod tables;
mod verifier;

#[cfg(test)]
mod body_stories;
#[cfg(test)]
mod ending_stories;
#[cfg(test)]
mod fix_stories;
#[cfg(test)]
mod hop_stories;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod transcript;
#[cfg(test)]
mod verdict_stories;

use std::collections::HashSet;
use std::net::IpAddr;

pub use crate::hops::DeclaredHop;
pub use crate::rules::Completeness;
pub use crate::s3::body_check::comparable_bytes;
pub use summary::{
    ClientLogRow, ClientRow, Counts, Direction, EncryptionRow, HeaderChanges, JoinRow, Latency, LatencySplit, LossRow,
    OperationRow, SignatureCounts, Summary, TlsRow,
};

use crate::hops::Correlator;
use crate::model::{
    Endpoint, Event, Exchange, ExchangeId, FlowClosed, FlowId, FlowOpened, Loss, SealedExchange, SealedPartner, Timestamp,
};
use crate::rules::Finding;
use crate::s3::Call;
use crate::s3::client_log::ClientLog;
use crate::s3::sigv4::Credential;
use crate::session::secrets::Exposed;
use hold::Hold;
use nat::Nat;
use stage::Stage;
use verifier::Verifier;

/// What the user knows beside the capture.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Base domains of virtual-host style addresses.
    pub domains: Vec<String>,
    /// Hops that the user named.
    pub hops: Vec<DeclaredHop>,
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// Report only these rules.
    pub select: Option<Vec<String>>,
    /// Do not report these rules.
    pub ignore: Vec<String>,
    /// The clients' own logs, by file.
    pub client_logs: Vec<(String, ClientLog)>,
    /// Secrets to verify signatures with.
    pub credentials: Vec<Credential>,
}

/// Hears what a run says while it goes on.
pub trait Sink {
    /// An exchange, once it is judged.
    fn exchange(&mut self, record: &Judged<'_>);

    /// Something that was not decoded.
    fn loss(&mut self, loss: &Loss);

    /// An exchange that stayed shut, once it is known what can have led to it.
    fn sealed(&mut self, _record: &JudgedSealed<'_>) {}

    /// An exchange came that is given to [`Sink::exchange`] later, when its partners on other hops are known.
    fn deferred(&mut self, _id: ExchangeId) {}

    /// A connection began.
    fn flow_opened(&mut self, _opened: &FlowOpened) {}

    /// A connection ended; `hop` is the name of its hop, where it belongs to one.
    fn flow_closed(&mut self, _closed: &FlowClosed, _hop: Option<&str>) {}

    /// A rule fires for the first time on something. The final finding, with all that came later, is in the summary.
    fn raised(&mut self, _finding: &Finding) {}
}

/// An exchange with what was made of it.
pub struct Judged<'x> {
    /// The exchange.
    pub exchange: &'x Exchange,
    /// What it means in S3, where it does.
    pub call: Option<&'x Call<'x>>,
    /// The name of its hop.
    pub hop: &'x str,
    /// The exchange nearest the client of the same call over its hops, where it was joined.
    pub trace: Option<ExchangeId>,
    /// The secrets in it, but for the signature of a signed call.
    pub secrets: &'x [Exposed<'x>],
}

/// A sealed exchange with what was made of it.
pub struct JudgedSealed<'x> {
    /// The exchange.
    pub exchange: &'x SealedExchange,
    /// The name of its hop.
    pub hop: &'x str,
    /// The exchange that is held to have led to it, and how surely.
    pub partner: Option<(SealedPartner, &'static str)>,
}

/// A run. Memory is bounded by the bounds of its parts: nothing holds all exchanges.
///
/// An event is held while the hops in use show themselves, then judged and counted, in the order of the capture. An exchange that
/// can have a partner on another hop then waits for it, so that it can be told with its trace: rules never wait.
pub struct Analysis {
    nat: Nat,
    hold: Hold,
    verifier: Verifier,
    correlator: Correlator,
    stage: Stage,
    /// Connections of a recorded run that have begun and not ended.
    recorded_open: HashSet<FlowId>,
}

impl Analysis {
    /// Starts a run.
    pub fn new(options: Options) -> Self {
        Self {
            nat: Nat::default(),
            hold: Hold::new(),
            verifier: Verifier::default(),
            correlator: Correlator::default(),
            stage: Stage::new(options),
            recorded_open: HashSet::new(),
        }
    }

    /// A host name that the capture holds.
    pub fn handle_name(&mut self, ip: IpAddr, name: &str) {
        self.stage.handle_name(ip, name);
    }

    /// The name that a recorded run gave to the hop of a server.
    pub fn handle_hop_name(&mut self, server: Endpoint, name: &str) {
        self.stage.handle_hop_name(server, name);
    }

    /// An exchange of a recorded run that stayed shut, with what the run said of it.
    pub fn handle_recorded_sealed(&mut self, exchange: Box<SealedExchange>, partner: Option<SealedPartner>, sink: &mut dyn Sink) {
        self.stage.handle_recorded_sealed(exchange, partner, sink);
    }

    /// An event, in capture order.
    pub fn handle_event(&mut self, mut event: Event, sink: &mut dyn Sink) {
        if self.nat.leaves_out(&event) {
            return;
        }
        if let Event::FlowOpened(opened) = &event
            && let Some(copy) = self.nat.handle_open(opened)
        {
            // It is counted already.
            self.observe(&event);
            return self.stage.handle_alias(copy.kept.server, copy.other.server);
        }
        if let Event::Exchange(exchange) = &mut event {
            self.verifier.verify(exchange);
        }
        let is_use = self.observe(&event);
        let at = time_of(&event);
        if let Some(event) = self.hold.take(event, is_use, at) {
            self.pass(event, at, sink);
        } else if !self.hold.is_idle() {
            self.pass_held(sink);
        }
    }

    /// The clock of a live source, which goes on where no packets come.
    pub fn handle_time(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        if !self.hold.is_idle() {
            self.hold.handle_time(now);
            self.pass_held(sink);
        }
        self.correlator.handle_time(now);
        self.tell_chains(sink);
    }

    /// Totals so far.
    pub fn handle_counts(&mut self, counts: &Counts) {
        self.stage.handle_counts(counts);
    }

    /// Ends the run.
    pub fn finish(mut self, sink: &mut dyn Sink) -> Summary {
        self.hold.end();
        self.pass_held(sink);
        self.correlator.end();
        self.tell_chains(sink);
        self.stage.settle_sealed(sink);
        self.stage.finish()
    }

    /// Gathers evidence on the parts of addresses before anything is named; tells whether it is an exchange of a user.
    fn observe(&mut self, event: &Event) -> bool {
        self.stage.observe(event);
        self.correlator.observe(event);
        if matches!(event, Event::FlowOpened(_)) {
            self.stage.set_host(self.correlator.host_address());
        }
        match event {
            Event::Exchange(exchange) => !self.hold.is_idle() && !is_probe(exchange),
            Event::FlowClosed(_) | Event::FlowOpened(_) | Event::Sealed(_) | Event::Lost(_) => false,
        }
    }

    fn pass_held(&mut self, sink: &mut dyn Sink) {
        while let Some(event) = self.hold.release() {
            let at = time_of(&event);
            self.pass(event, at, sink);
        }
    }

    fn pass(&mut self, event: Event, at: Timestamp, sink: &mut dyn Sink) {
        match event {
            Event::Exchange(exchange) if !is_probe(&exchange) && self.correlator.is_hop(exchange.endpoints) => {
                self.stage.judge_exchange(&exchange, at, sink);
                self.correlator.handle_time(at);
                self.correlator.handle_exchange(exchange);
            }
            Event::Sealed(sealed) => {
                if self.correlator.may_come_from(sealed.endpoints) {
                    self.stage.handle_sealed(sealed, sink);
                }
                self.correlator.handle_time(at);
            }
            event => {
                let may_go_on = matches!(&event, Event::Exchange(exchange) if self.may_go_on(exchange));
                self.stage.process(&event, at, may_go_on, sink);
                self.correlator.handle_time(at);
            }
        }
        self.tell_chains(sink);
    }

    fn may_go_on(&self, exchange: &Exchange) -> bool {
        self.correlator.may_go_on(exchange.endpoints) && !is_probe(exchange)
    }

    fn tell_chains(&mut self, sink: &mut dyn Sink) {
        while let Some(chain) = self.correlator.next_chain() {
            self.stage.handle_chain(&chain, sink);
        }
    }
}

/// Whether an exchange is one that programs send to see whether a server is there.
fn is_probe(exchange: &Exchange) -> bool {
    let target = exchange.request.target();
    target.starts_with(b"/minio/") || target.starts_with(b"/v1/health") || target.starts_with(b"/.prometheus/")
}

fn time_of(event: &Event) -> Timestamp {
    match event {
        Event::FlowOpened(opened) => opened.first.at,
        Event::Exchange(exchange) => {
            let request = &exchange.request;
            let response = exchange.response().map(|response| response.end.unwrap_or(response.start));
            response.or(request.end).unwrap_or(request.start)
        }
        Event::Sealed(sealed) => sealed.response.end,
        Event::FlowClosed(closed) => closed.last.at,
        Event::Lost(loss) => loss.stamp.at,
    }
}
