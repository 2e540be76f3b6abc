//! One TCP connection: segments of both directions in, ordered octets of both sides out to what reads them.
//!
//! The order between the two sides matters as much as the order within one: an answer must not be read before the request
//! it answers. A segment acknowledges what its sender had received, so it is held until those octets were delivered (or
//! given up), and any order of packets in the capture gives the same exchanges.

mod fast_path;
mod holes;
mod overlap;
mod reading;
#[cfg(test)]
mod tests;

use crate::decode::content::Content;
use crate::decode::ends::{Ends, KeptEnds, Way};
use crate::decode::flow::reading::Piece;
use crate::decode::flows::Incoming;
use crate::decode::http1;
use crate::decode::limits::Limits;
use crate::decode::recent::Recent;
use crate::decode::segment::Segment;
use crate::decode::stream::{Held, Overlap, Stream, distance};
use crate::decode::tls::Secrets;
use crate::model::{
    Anomaly, Close, Endpoint, Endpoints, Event, FlowClosed, FlowId, Frame, Loss, LossReason, Proxied, Side, Stamp, Timestamp,
    Undecoded,
};

pub(super) use fast_path::FastPath;

/// What handling a flow needs from outside it.
pub(super) struct Surroundings<'a, 's> {
    pub(super) limits: &'a Limits,
    pub(super) secrets: &'a mut Secrets<'s>,
    /// Octets that were delivered lately, to compare what comes again.
    pub(super) recent: &'a mut Recent,
    /// Takes the events, in order.
    pub(super) out: &'a mut dyn FnMut(Event),
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs to this flow.
    Yes,
    /// It opens a new connection between the same endpoints; this flow is over.
    NewConnection,
}

/// One TCP connection. It is small, since a table holds very many: what most flows never need is apart.
pub(super) struct Flow {
    streams: [Stream; 2],
    content: Content,
    /// Whether both streams are plain and there was no reset: what nearly all segments find.
    is_plain: bool,
    client: Option<Way>,
    reset_by: Option<Way>,
    has_closing: bool,
    exchanges: u32,
    last: Stamp,
    packets: u64,
    ends: KeptEnds,
    pub(super) id: FlowId,
    first: Stamp,
    /// When the flow may be closed, where `has_closing`.
    closing: Timestamp,
    rare: Option<Box<Rare>>,
    /// Octets that the content held when it was last weighed.
    content_bytes: u32,
}

/// What few flows have.
#[derive(Default)]
struct Rare {
    anomalies: Vec<Anomaly>,
    /// Whether some anomaly came before there was an exchange that could carry it.
    untold: bool,
    first_gap: Option<Frame>,
    /// When a hole may be given up; `None` while nothing waits.
    wake: Option<Timestamp>,
    /// Stream bytes that were not decoded, by reason.
    undecoded: Vec<Undecoded>,
    proxied: Option<Box<Proxied>>,
}

/// A reset this far from what is expected was not sent by the peers.
const RESET_WINDOW: i64 = 1 << 24;

impl Flow {
    /// A flow between those ends.
    pub(super) fn new(id: FlowId, ends: &Ends, stamp: Stamp) -> Self {
        Self {
            streams: [Stream::default(), Stream::default()],
            content: Content::Silent,
            is_plain: false,
            client: None,
            reset_by: None,
            has_closing: false,
            exchanges: 0,
            last: stamp,
            packets: 0,
            ends: ends.keep(),
            id,
            first: stamp,
            closing: Timestamp::EPOCH,
            rare: None,
            content_bytes: 0,
        }
    }

    /// Whether it has taken no segment yet.
    pub(super) const fn is_new(&self) -> bool {
        self.packets == 0
    }

    /// Its place in a table.
    pub(super) fn key(&self) -> Ends {
        self.ends.key()
    }

    /// Whether it is the flow between those ends.
    #[inline]
    pub(super) fn is_between(&self, ends: &Ends) -> bool {
        self.ends.are(ends)
    }

    /// Octets that wait in it.
    pub(super) fn held_bytes(&self) -> usize {
        let [a, b] = &self.streams;
        a.held_bytes() + b.held_bytes()
    }

    /// Octets that the content held when it was last weighed.
    pub(super) const fn content_bytes(&self) -> usize {
        self.content_bytes as usize
    }

    /// Looks again how much the content holds; gives what that was before.
    pub(super) fn weigh(&mut self) -> usize {
        std::mem::replace(&mut self.content_bytes, narrow(self.content.held_bytes())) as usize
    }

    /// When its last packet came.
    pub(super) const fn last(&self) -> Timestamp {
        self.last.at
    }

    /// When a hole may be given up; `None` while nothing waits.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.wake
    }

    /// Sets when a hole may be given up.
    pub(super) fn set_wake(&mut self, wake: Option<Timestamp>) {
        if wake.is_some() || self.rare.is_some() {
            self.rare().wake = wake;
        }
    }

    /// When the flow may be closed; set by RST or both FINs.
    pub(super) fn closing(&self) -> Option<Timestamp> {
        self.has_closing.then_some(self.closing)
    }

    fn close_at(&mut self, closing: Timestamp) {
        if !self.has_closing {
            (self.has_closing, self.closing) = (true, closing);
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes a segment.
    pub(super) fn handle_segment(&mut self, from: Way, incoming: &Incoming<'_>, around: &mut Surroundings<'_, '_>) -> Taken {
        if self.handle_syn(from, incoming) == Taken::NewConnection {
            return Taken::NewConnection;
        }
        self.packets += 1;
        self.last = incoming.stamp;
        self.stream_mut(from).seen = true;
        if let Some(ack) = incoming.segment.ack
            && !incoming.segment.flags.rst()
        {
            self.stream_mut(from.other()).note_ack(ack);
        }
        if incoming.segment.flags.urg() {
            self.note(Anomaly::UrgentData);
        }
        if incoming.segment.flags.rst() {
            self.handle_reset(from, incoming.segment, incoming.stamp, around.limits);
        } else {
            self.handle_payload(from, incoming, around);
        }
        self.settle(incoming.stamp, around);
        Taken::Yes
    }

    /// A SYN fixes where its stream starts, opens another connection, or is an old one.
    fn handle_syn(&mut self, from: Way, incoming: &Incoming<'_>) -> Taken {
        let segment = incoming.segment;
        let data_seq = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        let stream = self.stream(from);
        if !segment.flags.syn() {
            // Data of the connection that a SYN announced while this one seemed to live.
            let announced = stream.other_isn().is_some_and(|isn| isn.wrapping_add(1) == segment.seq);
            return if announced && incoming.segment.payload_length > 0 { Taken::NewConnection } else { Taken::Yes };
        }
        if stream.is_started() {
            if stream.base() == data_seq && stream.has_syn() {
                return Taken::Yes;
            }
            let idle = self.streams.iter().all(|stream| stream.delivered() == 0 && !stream.has_held());
            let over = self.has_closing || self.streams.iter().any(|stream| stream.fin().is_some());
            if stream.has_syn() && (over || (idle && segment.ack.is_none())) {
                return Taken::NewConnection;
            }
            if stream.has_syn() {
                self.stream_mut(from).set_other_isn(segment.seq);
                return Taken::Yes;
            }
            // The stream was started without its SYN; it comes late.
            if over && segment.ack.is_none() {
                return Taken::NewConnection;
            }
            self.stream_mut(from).note_syn();
        } else {
            self.stream_mut(from).start(data_seq, true);
        }
        if self.client.is_none() || segment.ack.is_some() {
            self.client = Some(if segment.ack.is_some() { from.other() } else { from });
        }
        Taken::Yes
    }

    fn handle_reset(&mut self, from: Way, segment: &Segment, stamp: Stamp, limits: &Limits) {
        let stream = self.stream(from);
        if stream.is_started() && distance(stream.next, segment.seq).abs() > RESET_WINDOW && segment.seq != 0 {
            return;
        }
        self.reset_by.get_or_insert(from);
        self.close_at(stamp.at.after(limits.linger));
    }

    fn handle_payload(&mut self, from: Way, incoming: &Incoming<'_>, around: &mut Surroundings<'_, '_>) {
        let segment = incoming.segment;
        let seq = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        let length = segment.payload_length;
        if length > 0 {
            self.stream_mut(from).count_segment();
        }
        if segment.flags.fin() {
            self.stream_mut(from).set_fin(seq.wrapping_add(length));
        }
        if length == 0 {
            return;
        }
        let stream = self.stream_mut(from);
        let ahead = if stream.is_started() { distance(stream.next, seq) } else { 1 };
        if ahead + i64::from(length) <= 0 {
            stream.count_retransmitted(length);
            self.compare(from, seq, incoming.payload, around);
            return;
        }
        if ahead > 0 || stream.has_held() || self.is_gated(from, segment.ack) {
            self.hold(from, seq, incoming, around);
            return;
        }
        let skip = u32::try_from(-ahead).unwrap_or(0);
        if skip > 0 {
            self.stream_mut(from).count_retransmitted(skip);
            self.compare(from, seq, incoming.payload, around);
        }
        if self.reset_by.take().is_some() {
            self.has_closing = false;
            self.note(Anomaly::DataAfterReset);
        }
        let side = self.side(from, Some(incoming.payload));
        let skippable = self.content.skippable(side);
        self.deliver(from, incoming, skip, (side, skippable), around);
    }

    /// Whether a segment acknowledges octets of the other side that were not delivered yet.
    fn is_gated(&self, from: Way, ack: Option<u32>) -> bool {
        let other = self.stream(from.other());
        match ack {
            Some(ack) if other.is_started() => other.unseen_before(ack) > 0,
            // Where the other stream starts is not known yet; its SYN may be late, or was never captured.
            Some(_) => true,
            None => false,
        }
    }

    fn hold(&mut self, from: Way, seq: u32, incoming: &Incoming<'_>, around: &mut Surroundings<'_, '_>) {
        let mut bytes = incoming.payload.to_vec();
        if bytes.len() < incoming.captured as usize {
            let mut rest = Vec::new();
            incoming.read_rest(narrow(bytes.len()), &mut rest);
            bytes.extend_from_slice(&rest);
        }
        let length = incoming.segment.payload_length;
        bytes.truncate(length as usize);
        let held = Held { seq, ack: incoming.segment.ack, stamp: incoming.stamp, length, bytes };
        if self.stream_mut(from).hold(held) == Overlap::Differs {
            self.note(Anomaly::OverlapDiffers);
        }
        if self.wake().is_none() {
            self.set_wake(Some(incoming.stamp.at.after(around.limits.reorder_window)));
        }
        let stream = self.stream(from);
        if stream.held_bytes() > around.limits.pending_bytes_per_stream_max
            || stream.held_segments() > around.limits.pending_segments_per_stream_max
        {
            self.give_up(incoming.stamp, None, around);
        }
    }

    /// Delivers a segment that is next, without its first `skip` octets, straight from the packet. With it come its side, and
    /// how many octets of that need not be read.
    fn deliver(
        &mut self,
        from: Way,
        incoming: &Incoming<'_>,
        skip: u32,
        (side, skippable): (Side, u64),
        around: &mut Surroundings<'_, '_>,
    ) {
        let length = incoming.segment.payload_length - skip;
        let captured = incoming.captured.saturating_sub(skip).min(length);
        let bytes = incoming.payload.get(skip as usize..).unwrap_or_default();
        let bytes = bytes.get(..captured as usize).unwrap_or(bytes);
        let piece = Piece { side, stamp: incoming.stamp, bytes, captured, skippable };
        let is_read = self.read(&piece, around, &mut |at, rest| {
            incoming.read_rest(at + skip, rest);
        });
        if is_read {
            self.keep(from, bytes, around);
        }
        if captured < length {
            self.read_gap(side, incoming.stamp, length - captured, around);
        }
        let stream = self.stream_mut(from);
        stream.deliver(captured);
        stream.miss(length - captured);
    }

    /// After each segment: what waited for it, the ends of streams, and when to look again.
    fn settle(&mut self, stamp: Stamp, around: &mut Surroundings<'_, '_>) {
        if self.held_bytes() > 0 {
            self.deliver_held(around);
        }
        if self.streams.iter().any(Stream::is_ending) {
            self.finish_streams(stamp, around);
        }
        if self.held_bytes() == 0 {
            self.set_wake(None);
        }
        self.is_plain = self.reset_by.is_none() && self.streams.iter().all(Stream::is_plain);
    }

    fn finish_streams(&mut self, stamp: Stamp, around: &mut Surroundings<'_, '_>) {
        for from in Way::BOTH {
            let stream = self.stream(from);
            if stream.is_finished() || !stream.is_at_end() {
                continue;
            }
            self.stream_mut(from).finish();
            let side = self.side(from, None);
            self.content.handle_close(side, stamp, Close::Finished, around.secrets);
            self.drain(around);
        }
        if self.streams.iter().all(Stream::is_finished) {
            self.content.settle();
            self.close_at(stamp.at.after(around.limits.linger));
        }
    }

    /// Delivers what waited and is next now, on both sides, until nothing moves.
    fn deliver_held(&mut self, around: &mut Surroundings<'_, '_>) {
        loop {
            let mut moved = false;
            for from in Way::BOTH {
                while self.front_is_next(from) {
                    moved |= self.deliver_front(from, around);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn front_is_next(&self, from: Way) -> bool {
        let stream = self.stream(from);
        stream.is_started()
            && stream.front().is_some_and(|front| distance(stream.next, front.seq) <= 0 && !self.is_gated(from, front.ack))
    }

    /// Delivers the first waiting segment, whose start must not lie beyond what is expected.
    fn deliver_front(&mut self, from: Way, around: &mut Surroundings<'_, '_>) -> bool {
        let Some(held) = self.stream_mut(from).take_front() else { return false };
        let skip = u32::try_from(distance(held.seq, self.stream(from).next)).unwrap_or(0).min(held.length);
        let length = held.length - skip;
        if skip > 0 {
            self.stream_mut(from).count_retransmitted(skip);
            self.compare(from, held.seq, &held.bytes, around);
        }
        if length == 0 {
            return true;
        }
        let side = self.side(from, Some(&held.bytes));
        let bytes = held.bytes.get(skip as usize..).unwrap_or_default();
        let captured = narrow(bytes.len());
        let skippable = self.content.skippable(side);
        if self.read(&Piece { side, stamp: held.stamp, bytes, captured, skippable }, around, &mut |_, _| {}) {
            self.keep(from, bytes, around);
        }
        if captured < length {
            self.read_gap(side, held.stamp, length - captured, around);
        }
        let stream = self.stream_mut(from);
        stream.deliver(captured);
        stream.miss(length - captured);
        true
    }

    /// The end of the flow, or of the view of it: what waited is delivered around its holes, and both sides are closed.
    pub(super) fn handle_end(&mut self, around: &mut Surroundings<'_, '_>) -> FlowClosed {
        let last = self.last;
        for _ in 0..2 * around.limits.pending_segments_per_stream_max {
            if !self.streams.iter().any(Stream::has_held) {
                break;
            }
            self.drop_beyond_window();
            self.give_up(last, None, around);
        }
        for from in Way::BOTH {
            let stream = self.stream(from);
            let unseen = stream.unseen().max(stream.unseen_before_fin());
            // A single octet at the end is a FIN that was not captured.
            if unseen > 1 || (unseen == 1 && stream.fin().is_some()) {
                self.miss(from, unseen, last, around);
            }
        }
        self.finish_streams(last, around);
        self.close_sides(around);
        let (id, rare, out) = (self.id, &mut self.rare, &mut *around.out);
        self.exchanges += self.content.drain_end(id, around.secrets, &mut |event| {
            note_loss(rare, &event);
            out(event);
        });
        self.closed()
    }

    /// Hands on what the content has finished.
    fn drain(&mut self, around: &mut Surroundings<'_, '_>) {
        let (rare, out) = (&mut self.rare, &mut *around.out);
        self.exchanges += self.content.drain(&mut |event| {
            note_loss(rare, &event);
            out(event);
        });
    }

    fn close_sides(&mut self, around: &mut Surroundings<'_, '_>) {
        let how = if self.reset_by.is_some() { Close::Reset } else { Close::Unseen };
        let first = self.reset_by.unwrap_or(Way::Forth);
        for from in [first, first.other()] {
            if !self.stream(from).is_finished() {
                let side = self.side(from, None);
                let how = if self.reset_by == Some(from.other()) { Close::Unseen } else { how };
                self.content.handle_close(side, self.last, how, around.secrets);
            }
        }
    }

    fn closed(&mut self) -> FlowClosed {
        let client = self.client.unwrap_or_else(|| client_by_port(self.ends.endpoints()));
        let close = match (self.reset_by, self.streams.iter().all(Stream::is_finished)) {
            (_, true) => Close::Finished,
            (Some(_), false) => Close::Reset,
            (None, false) => Close::Unseen,
        };
        let rare = self.rare.take().unwrap_or_default();
        FlowClosed {
            flow: self.id,
            endpoints: endpoints(self.ends.endpoints(), Some(client)),
            first: self.first,
            last: self.last,
            has_start: self.stream(client).has_syn(),
            both_sides: self.streams.iter().all(|stream| stream.seen),
            close,
            protocol: self.content.protocol(),
            client: self.stream(client).account(),
            server: self.stream(client.other()).account(),
            packets: self.packets,
            exchanges: self.exchanges,
            anomalies: rare.anomalies,
            first_gap: rare.first_gap,
            undecoded: rare.undecoded,
            proxied: rare.proxied,
            tunnel: self.content.tunnel_target().cloned(),
        }
    }

    /// The ends as far as they are known.
    pub(super) fn endpoints(&self) -> Endpoints {
        endpoints(self.ends.endpoints(), self.client)
    }

    /// Which side a direction is. Without a SYN the payload tells, then the ports.
    fn side(&mut self, from: Way, payload: Option<&[u8]>) -> Side {
        let client = *self.client.get_or_insert_with(|| match payload {
            Some(payload) if payload.starts_with(b"HTTP/1.") => from.other(),
            Some(payload) if http1::probe(Side::Client, payload) == http1::Probe::Yes => from,
            Some(_) | None => client_by_port(self.ends.endpoints()),
        });
        if client == from { Side::Client } else { Side::Server }
    }

    fn note(&mut self, anomaly: Anomaly) {
        let is_told = self.content.handle_anomaly(Side::Client, anomaly);
        let rare = self.rare();
        if !rare.anomalies.contains(&anomaly) {
            rare.anomalies.push(anomaly);
        }
        rare.untold |= !is_told;
    }

    const fn stream(&self, from: Way) -> &Stream {
        let [first, second] = &self.streams;
        match from {
            Way::Forth => first,
            Way::Back => second,
        }
    }

    const fn stream_mut(&mut self, from: Way) -> &mut Stream {
        let [first, second] = &mut self.streams;
        match from {
            Way::Forth => first,
            Way::Back => second,
        }
    }
}

const fn endpoints([first, second]: [Endpoint; 2], client: Option<Way>) -> Endpoints {
    match client {
        Some(Way::Back) => Endpoints { client: second, server: first },
        Some(Way::Forth) | None => Endpoints { client: first, server: second },
    }
}

/// Servers listen on the lower port.
const fn client_by_port([first, second]: [Endpoint; 2]) -> Way {
    if first.port < second.port { Way::Back } else { Way::Forth }
}

/// Remembers the bytes of a flow that were not decoded, and what a PROXY header was answered with.
fn note_loss(rare: &mut Option<Box<Rare>>, event: &Event) {
    if let (Event::Exchange(exchange), Some(rare)) = (event, rare.as_mut())
        && let Some(proxied) = &mut rare.proxied
        && let Some(status) = exchange.status()
    {
        proxied.is_refused = status == 400 && (proxied.is_refused || proxied.status.is_none());
        proxied.status.get_or_insert(status);
    }
    let Event::Lost(Loss { reason, bytes: bytes @ 1.., stamp, .. }) = event else { return };
    if reason.is_encrypted() || *reason == LossReason::Evicted {
        return;
    }
    let all = &mut rare.get_or_insert_default().undecoded;
    match all.iter_mut().find(|one| one.reason == *reason) {
        Some(one) => one.bytes = one.bytes.saturating_add(*bytes),
        None => all.push(Undecoded { reason: *reason, bytes: *bytes, first: stamp.frame }),
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
