//! One client connection from its first byte to its last: bytes are forwarded as they came, and looked at in passing.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::time::{Instant, Sleep, sleep};

use crate::proxy::door::Door;
use crate::proxy::experiment::Trials;
use crate::proxy::goal::{Ask, Goal};
use crate::proxy::look::{Lookout, Stop};
use crate::proxy::notice::other;
use crate::proxy::pump::{Pump, Stopped};
use crate::proxy::stream::Stream;
use crate::proxy::watchdog::{Late, Progress, Watchdog};

/// A client connection that is to be served.
pub(super) struct Client {
    pub(super) stream: Stream,
    /// What was read of it already.
    pub(super) first: Vec<u8>,
    pub(super) goal: Goal,
    /// What it asked a forward proxy for.
    pub(super) asked: Option<Ask>,
    /// Whether its bytes are not read as HTTP.
    pub(super) is_opaque: bool,
}

/// Serves one client connection to its end. Gives it back with what was read where its next request goes elsewhere.
pub(super) async fn serve(door: &Door, client: Client) -> Option<(Stream, Vec<u8>)> {
    let Client { mut stream, first, goal, asked, is_opaque } = client;
    let mut relay = Relay::new(door, asked);
    if is_opaque {
        relay.look.gate.open();
    }
    match relay.first_request(&mut stream, first).await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(stop) => {
            relay.stop(&mut stream, stop).await;
            return None;
        }
    }
    let mut pooled = match relay.look.gate.may_be_sent_again() {
        true => door.take_pooled(&goal).await,
        false => None,
    };
    loop {
        let is_pooled = pooled.is_some();
        let mut upstream = match pooled.take() {
            Some(stream) => {
                door.shared.counts.reused.fetch_add(1, Ordering::Relaxed);
                stream
            }
            None => match door.connect(&goal).await {
                Ok(stream) => stream,
                Err(explained) => {
                    relay.unreachable(&mut stream, explained).await;
                    return None;
                }
            },
        };
        relay.up.queue(&relay.first);
        match relay.run(&mut stream, &mut upstream, is_pooled).await {
            End::Stale => {
                relay.up.restart();
                relay.down = Pump::default();
            }
            End::Stopped(Stop::Switch) => {
                if relay.look.gate.is_reusable() {
                    door.park(&goal, upstream);
                }
                return Some((stream, relay.up.take_held()));
            }
            end => {
                relay.finish(stream, upstream, &goal, end).await;
                return None;
            }
        }
    }
}

/// Reads a request that cannot be forwarded, and answers it.
pub(super) async fn decline(door: &Door, mut client: Stream, code: &str, message: &str) {
    let mut relay = Relay::new(door, None);
    if matches!(relay.first_request(&mut client, Vec::new()).await, Ok(true)) {
        relay.answer(&mut client, (400, "Bad Request"), code, message).await;
    }
}

/// How relaying ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides ended.
    Done,
    /// The client left between messages.
    ClientLeft,
    /// The client broke off.
    ClientBroke,
    /// The server ended, and the client had its last byte.
    UpstreamEnded,
    /// The server broke off.
    UpstreamBroke,
    /// A connection from the pool turned out to be closed.
    Stale,
    /// A request is not forwarded.
    Stopped(Stop),
    /// A response is not forwarded.
    StoppedResponse(Stop),
    /// An experiment cuts the response off.
    Cut,
    /// Nothing moved for too long.
    Late(Late),
}

pub(super) struct Relay<'d> {
    pub(super) door: &'d Door,
    pub(super) look: Lookout,
    pub(super) up: Pump,
    pub(super) down: Pump,
    /// The bytes that were there before there was an upstream connection.
    first: Vec<u8>,
    is_up_broken: bool,
    /// A response waits for so long.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<'d> Relay<'d> {
    fn new(door: &'d Door, asked: Option<Ask>) -> Self {
        let shared = &door.shared;
        Self {
            door,
            look: Lookout::new(Trials::new(&shared.experiments), shared.forwards_ambiguous, asked),
            up: Pump::default(),
            down: Pump::default(),
            first: Vec::new(),
            is_up_broken: false,
            pause: None,
        }
    }

    /// Reads until there is a request to forward; `false` where the client left before.
    async fn first_request(&mut self, client: &mut Stream, first: Vec<u8>) -> Result<bool, Stop> {
        let bounds = &self.door.shared.bounds;
        let mut data = first;
        let mut deadline = Box::pin(sleep(if data.is_empty() { bounds.idle } else { bounds.head }));
        loop {
            if !data.is_empty() {
                let looked = self.look.requests(&data);
                self.report_effects();
                let used = looked?.used;
                if self.look.gate.requests() > 0 || self.look.gate.is_opaque() {
                    self.up.hold(data.get(used..).unwrap_or_default());
                    data.truncate(used);
                    self.first = data;
                    return Ok(true);
                }
                data.drain(..used);
            }
            let was_empty = data.is_empty();
            data.reserve(FIRST_BYTES);
            let read = tokio::select! {
                read = client.read_buf(&mut data) => read,
                () = &mut deadline => {
                    self.late(client, if was_empty { Late::Idle } else { Late::Head }).await;
                    return Ok(false);
                }
            };
            if !matches!(read, Ok(1..)) {
                return Ok(false);
            }
            if was_empty {
                deadline.as_mut().reset(Instant::now() + bounds.head);
            }
        }
    }

    async fn run(&mut self, client: &mut Stream, upstream: &mut Stream, is_pooled: bool) -> End {
        let mut watchdog = Watchdog::new(&self.door.shared.bounds);
        poll_fn(|cx| {
            let end = self.poll(cx, client, upstream, is_pooled);
            self.report_effects();
            match end {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => watchdog.poll(cx, || self.progress()).map(End::Late),
            }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>, client: &mut Stream, upstream: &mut Stream, is_pooled: bool) -> Poll<End> {
        let up = self.poll_up(cx, client, upstream);
        if let Poll::Ready(Some(end)) = up {
            return Poll::Ready(end);
        }
        if self.is_paused(cx) {
            return Poll::Pending;
        }
        let look = &mut self.look;
        let passed = self.down.passed;
        let down = self.down.poll(cx, upstream, client, |data| look.responses(data));
        if self.look.is_cut && !self.down.is_blocked() {
            return Poll::Ready(End::Cut);
        }
        match down {
            Poll::Pending => {}
            Poll::Ready(Ok(()) | Err(Stopped::Read)) if is_pooled && self.is_untouched() => return Poll::Ready(End::Stale),
            Poll::Ready(Ok(())) if up == Poll::Ready(None) && !self.is_up_broken => return Poll::Ready(End::Done),
            Poll::Ready(Ok(())) => return Poll::Ready(End::UpstreamEnded),
            Poll::Ready(Err(Stopped::Look(stop))) => return Poll::Ready(End::StoppedResponse(stop)),
            Poll::Ready(Err(Stopped::Read)) => return Poll::Ready(End::UpstreamBroke),
            Poll::Ready(Err(Stopped::Write)) => return Poll::Ready(End::ClientBroke),
        }
        if self.down.passed != passed && self.up.holds() {
            // What was held may go on after this response.
            if let Poll::Ready(Some(end)) = self.poll_up(cx, client, upstream) {
                return Poll::Ready(end);
            }
        }
        if self.up.has_ended && self.is_between_messages() {
            return Poll::Ready(End::ClientLeft);
        }
        Poll::Pending
    }

    /// The client's direction; `Ready(None)` where it has ended and that was handed on.
    fn poll_up(&mut self, cx: &mut Context<'_>, client: &mut Stream, upstream: &mut Stream) -> Poll<Option<End>> {
        if self.is_up_broken {
            return Poll::Ready(None);
        }
        let look = &mut self.look;
        match self.up.poll(cx, client, upstream, |data| look.requests(data)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if self.is_between_messages() => Poll::Ready(Some(End::ClientLeft)),
            Poll::Ready(Ok(())) => {
                // A client may end its side and still wait for the response.
                let _ = Pin::new(upstream).poll_shutdown(cx);
                Poll::Ready(None)
            }
            Poll::Ready(Err(Stopped::Look(stop))) => Poll::Ready(Some(End::Stopped(stop))),
            Poll::Ready(Err(Stopped::Read)) => Poll::Ready(Some(End::ClientBroke)),
            Poll::Ready(Err(Stopped::Write)) => {
                // The server does not take more, but may have sent a response before.
                self.is_up_broken = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_paused(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(span) = self.look.pause.take() {
            self.pause = Some(Box::pin(sleep(span)));
        }
        let is_paused = self.pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_pending());
        if !is_paused {
            self.pause = None;
        }
        is_paused
    }

    fn progress(&self) -> Progress {
        let gate = &self.look.gate;
        Progress {
            moved: (self.up.passed, self.down.passed),
            open_head: (self.up.holds() && !gate.awaits_response()).then(|| gate.requests()),
            is_idle: self.is_between_messages(),
        }
    }

    fn is_between_messages(&self) -> bool {
        self.look.gate.is_idle() && self.up.is_empty() && self.down.is_empty()
    }

    /// Nothing came from the server, and what went there can be sent again.
    fn is_untouched(&self) -> bool {
        let has_answer = self.down.passed > 0 || self.down.holds();
        !has_answer && self.look.gate.requests() == 1 && self.up.passed <= self.first.len() as u64
    }

    fn report_effects(&mut self) {
        for effect in self.look.effects.drain(..) {
            self.door.report(other("experiment", format!("experiment took effect: {effect}"), ""));
        }
    }
}

/// Reads before there is an upstream connection.
const FIRST_BYTES: usize = 8 << 10;
