//! One client connection from its first byte to its last: bytes are forwarded as they came, and looked at in passing.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Sleep, sleep, timeout};

use crate::proxy::answer;
use crate::proxy::door::Door;
use crate::proxy::gate::{Gate, Step};
use crate::proxy::notice::{Explained, other, refused, refused_response};
use crate::proxy::pump::{Looked, Pump, Stopped};
use crate::proxy::refusal::Refusal;
use crate::proxy::stream::Stream;

/// Serves one client connection to its end.
pub(super) async fn serve(door: &Door, mut client: Stream) {
    let mut relay = Relay::new(door);
    match relay.first_request(&mut client).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(refusal) => return relay.refuse(&mut client, refusal).await,
    }
    let mut pooled = match relay.gate.may_be_sent_again() {
        true => door.take_pooled().await,
        false => None,
    };
    loop {
        let is_pooled = pooled.is_some();
        let mut upstream = match pooled.take() {
            Some(stream) => {
                door.shared.counts.reused.fetch_add(1, Ordering::Relaxed);
                stream
            }
            None => match door.connect().await {
                Ok(stream) => stream,
                Err(explained) => return relay.unreachable(&mut client, explained).await,
            },
        };
        relay.up.queue(&relay.first);
        let end = relay.run(&mut client, &mut upstream, is_pooled).await;
        if end == End::Stale {
            relay.up.restart();
            relay.down = Pump::default();
            continue;
        }
        return relay.finish(client, upstream, end).await;
    }
}

/// Reads a request that cannot be forwarded, and answers it.
pub(super) async fn decline(door: &Door, mut client: Stream, code: &str, message: &str) {
    let mut relay = Relay::new(door);
    if matches!(relay.first_request(&mut client).await, Ok(true)) {
        relay.answer(&mut client, (400, "Bad Request"), code, message).await;
    }
}

/// How relaying ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
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
    /// A request or response is refused.
    Refused(Refusal),
    RefusedResponse(Refusal),
    /// Nothing moved for too long.
    Late(Late),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Head,
    Stall,
    Idle,
}

struct Relay<'d> {
    door: &'d Door,
    gate: Gate,
    up: Pump,
    down: Pump,
    /// The bytes that were there before there was an upstream connection.
    first: Vec<u8>,
    is_up_broken: bool,
}

impl<'d> Relay<'d> {
    fn new(door: &'d Door) -> Self {
        Self { door, gate: Gate::new(), up: Pump::default(), down: Pump::default(), first: Vec::new(), is_up_broken: false }
    }

    /// Reads until there is a request to forward; `false` where the client left before.
    async fn first_request(&mut self, client: &mut Stream) -> Result<bool, Refusal> {
        let bounds = &self.door.shared.bounds;
        let mut data = Vec::with_capacity(FIRST_BYTES);
        let mut deadline = Box::pin(sleep(bounds.idle));
        loop {
            let was_empty = data.is_empty();
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
                deadline.as_mut().reset(tokio::time::Instant::now() + bounds.head);
            }
            let used = look_at_requests(&mut self.gate, self.door.shared.forwards_ambiguous, &data)?;
            if self.gate.requests() > 0 || self.gate.is_opaque() {
                self.up.hold(data.get(used..).unwrap_or_default());
                data.truncate(used);
                self.first = data;
                return Ok(true);
            }
            data.drain(..used);
        }
    }

    async fn run(&mut self, client: &mut Stream, upstream: &mut Stream, is_pooled: bool) -> End {
        let mut watch = Watch::new(self.door.shared.bounds.head, self.door.shared.bounds.stall, self.door.shared.bounds.idle);
        poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll(cx, client, upstream, is_pooled) {
                return Poll::Ready(end);
            }
            watch.poll(cx, self).map(End::Late)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>, client: &mut Stream, upstream: &mut Stream, is_pooled: bool) -> Poll<End> {
        let ambiguous = self.door.shared.forwards_ambiguous;
        let up = self.poll_up(cx, client, upstream, ambiguous);
        if let Poll::Ready(Some(end)) = up {
            return Poll::Ready(end);
        }
        let gate = &mut self.gate;
        let passed = self.down.passed;
        let down = self.down.poll(cx, upstream, client, |data| look_at_responses(gate, ambiguous, data).map(Looked::as_is));
        match down {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if is_pooled && self.is_untouched() => return Poll::Ready(End::Stale),
            Poll::Ready(Ok(())) if up == Poll::Ready(None) && !self.is_up_broken => return Poll::Ready(End::Done),
            Poll::Ready(Ok(())) => return Poll::Ready(End::UpstreamEnded),
            Poll::Ready(Err(Stopped::Look(refusal))) => return Poll::Ready(End::RefusedResponse(refusal)),
            Poll::Ready(Err(Stopped::Read)) if is_pooled && self.is_untouched() => return Poll::Ready(End::Stale),
            Poll::Ready(Err(Stopped::Read)) => return Poll::Ready(End::UpstreamBroke),
            Poll::Ready(Err(Stopped::Write)) => return Poll::Ready(End::ClientBroke),
        }
        if self.down.passed != passed && self.up.holds() {
            // What was held may go on after this response.
            if let Poll::Ready(Some(end)) = self.poll_up(cx, client, upstream, ambiguous) {
                return Poll::Ready(end);
            }
        }
        if self.up.has_ended && self.is_between_messages() {
            return Poll::Ready(End::ClientLeft);
        }
        Poll::Pending
    }

    /// The client's direction; `Ready(None)` where it has ended and that was handed on.
    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        upstream: &mut Stream,
        ambiguous: bool,
    ) -> Poll<Option<End>> {
        if self.is_up_broken {
            return Poll::Ready(None);
        }
        let gate = &mut self.gate;
        let polled = self.up.poll(cx, client, upstream, |data| look_at_requests(gate, ambiguous, data).map(Looked::as_is));
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if self.is_between_messages() => Poll::Ready(Some(End::ClientLeft)),
            Poll::Ready(Ok(())) => {
                // A client may end its side and still wait for the response.
                let _ = Pin::new(upstream).poll_shutdown(cx);
                Poll::Ready(None)
            }
            Poll::Ready(Err(Stopped::Look(refusal))) => Poll::Ready(Some(End::Refused(refusal))),
            Poll::Ready(Err(Stopped::Read)) => Poll::Ready(Some(End::ClientBroke)),
            Poll::Ready(Err(Stopped::Write)) => {
                // The server does not take more, but may have sent a response before.
                self.is_up_broken = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_between_messages(&self) -> bool {
        self.gate.is_idle() && self.up.is_empty() && self.down.is_empty()
    }

    /// Nothing came from the server, and what went there can be sent again.
    fn is_untouched(&self) -> bool {
        self.down.passed == 0 && !self.down.holds() && self.gate.requests() == 1 && self.up.passed <= self.first.len() as u64
    }

    async fn finish(&mut self, mut client: Stream, mut upstream: Stream, end: End) {
        match end {
            End::ClientLeft if self.gate.is_reusable() => {
                shut(&mut client).await;
                self.door.park(upstream);
            }
            End::Done | End::ClientLeft | End::Stale => {
                shut(&mut upstream).await;
                shut(&mut client).await;
            }
            End::UpstreamEnded => {
                drop(upstream);
                // A head that is not complete is not held back any more.
                let rest = self.down.take_held();
                let _ = timeout(ANSWER_TIME, client.write_all(&rest)).await;
                self.drain(&mut client).await;
            }
            End::ClientBroke => {
                client.tap().abort();
                upstream.tap().abort();
            }
            End::UpstreamBroke => client.tap().abort(),
            End::Refused(refusal) => {
                // What was sent before is answered first, as far as the server does so in time.
                upstream.tap().abort();
                drop(upstream);
                self.refuse(&mut client, refusal).await;
            }
            End::RefusedResponse(refusal) => {
                upstream.tap().abort();
                drop(upstream);
                self.door.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
                self.door.report(refused_response(refusal));
                let text = format!("hopwire did not forward the response: {}", refusal.text());
                self.answer(&mut client, (502, "Bad Gateway"), "AmbiguousResponse", &text).await;
            }
            End::Late(late) => {
                upstream.tap().abort();
                drop(upstream);
                self.late(&mut client, late).await;
            }
        }
    }

    async fn refuse(&mut self, client: &mut Stream, refusal: Refusal) {
        self.door.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.door.report(refused(refusal));
        if refusal == Refusal::Tls {
            return;
        }
        let text = format!("hopwire did not forward the request: {}", refusal.text());
        self.answer(client, refusal.status(), "AmbiguousRequest", &text).await;
    }

    async fn unreachable(&mut self, client: &mut Stream, explained: Explained) {
        let text = format!("hopwire: {}", explained.what);
        self.door.report(explained);
        self.answer(client, (502, "Bad Gateway"), "UpstreamUnreachable", &text).await;
    }

    async fn late(&mut self, client: &mut Stream, late: Late) {
        let (what, status) = match late {
            Late::Idle => return,
            Late::Head => ("a request's head took too long", (408, "Request Timeout")),
            Late::Stall => ("nothing moved for too long", (504, "Gateway Timeout")),
        };
        self.door.report(other("timeout", what, "check both sides; the bounds are in hopwire proxy --help"));
        self.answer(client, status, "Timeout", &format!("hopwire: {what}")).await;
    }

    /// Sends a response of hopwire's own, where none is on its way, and ends the connection.
    async fn answer(&mut self, client: &mut Stream, status: (u16, &str), code: &str, message: &str) {
        if self.gate.is_in_response() || self.down.is_blocked() {
            client.tap().abort();
            return;
        }
        client.tap().flow().comment(&format!("made by hopwire: {message}"));
        let text = answer::error(status.0, status.1, code, message);
        let _ = timeout(ANSWER_TIME, client.write_all(&text)).await;
        self.drain(client).await;
    }

    /// Ends the client's connection so that it can read what was sent: its own bytes are read and dropped meanwhile.
    async fn drain(&self, client: &mut Stream) {
        shut(client).await;
        if self.up.has_ended {
            return;
        }
        let mut scratch = vec![0; FIRST_BYTES];
        let drained = async { while let Ok(1..) = client.read(&mut scratch).await {} };
        let _ = timeout(DRAIN_TIME, drained).await;
    }
}

/// Looks whether anything moves, some times within each bound.
struct Watch {
    sleep: Pin<Box<Sleep>>,
    every: Duration,
    bounds: [Duration; 3],
    seen: (u64, u64),
    /// The request whose head was incomplete at the last look.
    open_head: Option<u64>,
    quiet: Duration,
    in_head: Duration,
}

impl Watch {
    fn new(head: Duration, stall: Duration, idle: Duration) -> Self {
        let every = head.min(stall).min(idle) / 2;
        Self {
            sleep: Box::pin(sleep(every)),
            every,
            bounds: [head, stall, idle],
            seen: (0, 0),
            open_head: None,
            quiet: Duration::ZERO,
            in_head: Duration::ZERO,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, relay: &Relay<'_>) -> Poll<Late> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            self.sleep.as_mut().reset(tokio::time::Instant::now() + self.every);
            if let Some(late) = self.look(relay) {
                return Poll::Ready(late);
            }
        }
        Poll::Pending
    }

    fn look(&mut self, relay: &Relay<'_>) -> Option<Late> {
        let [head, stall, idle] = self.bounds;
        let moved = (relay.up.passed, relay.down.passed);
        self.quiet = if self.seen == moved { self.quiet + self.every } else { Duration::ZERO };
        self.seen = moved;
        let open_head = (relay.up.holds() && !relay.gate.awaits_response()).then(|| relay.gate.requests());
        self.in_head =
            if open_head.is_some() && open_head == self.open_head { self.in_head + self.every } else { Duration::ZERO };
        self.open_head = open_head;
        if self.in_head >= head {
            return Some(Late::Head);
        }
        let (bound, late) = if relay.is_between_messages() { (idle, Late::Idle) } else { (stall, Late::Stall) };
        (self.quiet >= bound).then_some(late)
    }
}

impl Looked {
    const fn as_is(used: usize) -> Self {
        Self { used, instead: None }
    }
}

/// How many bytes of requests may be forwarded.
fn look_at_requests(gate: &mut Gate, forwards_ambiguous: bool, data: &[u8]) -> Result<usize, Refusal> {
    let mut used = 0;
    while used < data.len() {
        match gate.request(data.get(used..).unwrap_or_default()) {
            Ok(Step::Head(count) | Step::Body(count)) => used += count,
            Ok(Step::Wait) => break,
            Err(refusal) if forwards_ambiguous && refusal.is_ambiguous() => gate.open(),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(used)
}

/// How many bytes of responses may be forwarded.
fn look_at_responses(gate: &mut Gate, forwards_ambiguous: bool, data: &[u8]) -> Result<usize, Refusal> {
    let mut used = 0;
    while used < data.len() {
        match gate.response(data.get(used..).unwrap_or_default()) {
            Ok((Step::Head(count) | Step::Body(count), _)) => used += count,
            Ok((Step::Wait, _)) => break,
            Err(refusal) if forwards_ambiguous && refusal.is_ambiguous() => gate.open(),
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(used)
}

/// Ends a side in good order, as far as that goes at once.
async fn shut(stream: &mut Stream) {
    let _ = timeout(ANSWER_TIME, stream.shutdown()).await;
}

/// Reads before there is an upstream connection.
const FIRST_BYTES: usize = 8 << 10;

/// Time for a response of hopwire's own.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Time for a client to notice the end.
const DRAIN_TIME: Duration = Duration::from_secs(2);
