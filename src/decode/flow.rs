//! One TCP connection: segments of both directions in, ordered octets of both sides out to what reads them.
//!
//! The order between the two sides matters as much as the order within one: an answer must not be read before the request
//! it answers. A segment acknowledges what its sender had received, so it is held until those octets were delivered (or
//! given up), and any order of packets in the capture gives the same exchanges.

mod holes;
mod overlap;
mod passing;

use crate::decode::content::{Content, Place, Roles};
use crate::decode::ends::Ends;
use crate::decode::http1;
use crate::decode::limits::Limits;
use crate::decode::recent::Recent;
use crate::decode::segment::Segment;
use crate::decode::stream::{Held, Overlap, Stream, distance};
use crate::decode::tls::Secrets;
use crate::model::{Anomaly, Close, Endpoint, Endpoints, Event, FlowClosed, FlowId, Frame, ReadTail, Side, Stamp, Timestamp};

/// What handling a flow needs from outside it.
pub(super) struct Surroundings<'a, 's> {
    pub(super) limits: &'a Limits,
    pub(super) secrets: &'a mut Secrets<'s>,
    /// Octets that were delivered lately, to compare what comes again.
    pub(super) recent: &'a mut Recent,
    /// Takes the events, in order.
    pub(super) out: &'a mut dyn FnMut(Event),
}

/// A segment with its payload as far as it is at hand.
pub(super) struct Arrival<'a> {
    pub(super) segment: &'a Segment,
    /// Its direction: 0 from the first end to the second.
    pub(super) from: usize,
    pub(super) stamp: Stamp,
    /// The first octets of the payload.
    pub(super) payload: &'a [u8],
    /// Octets of the payload that the capture holds; beyond `payload` they are in `tail`.
    pub(super) captured: u32,
    /// Reads the rest; the offset counts from the start of the payload.
    pub(super) tail: &'a dyn ReadTail,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs to this flow.
    Yes,
    /// It opens a new connection between the same endpoints; this flow is over.
    NewConnection,
}

/// One TCP connection.
pub(super) struct Flow {
    pub(super) id: FlowId,
    /// The endpoints in order of address; stream 0 runs from the first to the second.
    ends: [Endpoint; 2],
    streams: [Stream; 2],
    client: Option<usize>,
    first: Stamp,
    last: Stamp,
    packets: u64,
    exchanges: u32,
    reset_by: Option<usize>,
    anomalies: Vec<Anomaly>,
    /// Whether some anomaly came before there was an exchange that could carry it.
    untold: bool,
    first_gap: Option<Frame>,
    content: Content,
    /// Octets that the content held when it was last weighed.
    pub(super) content_bytes: usize,
    /// When a hole may be given up; `None` while nothing waits.
    pub(super) wake: Option<Timestamp>,
    /// When the flow may be closed; set by RST or both FINs.
    pub(super) closing: Option<Timestamp>,
}

/// A reset this far from what is expected was not sent by the peers.
const RESET_WINDOW: i64 = 1 << 24;

impl Flow {
    /// A flow whose first segment goes in direction `from`.
    pub(super) fn new(id: FlowId, segment: &Segment, from: usize, stamp: Stamp) -> Self {
        let ends = match from {
            0 => [segment.source, segment.destination],
            _ => [segment.destination, segment.source],
        };
        Self {
            id,
            ends,
            streams: [Stream::default(), Stream::default()],
            client: None,
            first: stamp,
            last: stamp,
            packets: 0,
            exchanges: 0,
            reset_by: None,
            anomalies: Vec::new(),
            untold: false,
            first_gap: None,
            content: Content::Silent,
            content_bytes: 0,
            wake: None,
            closing: None,
        }
    }

    /// Whether it has taken no segment yet.
    pub(super) const fn is_new(&self) -> bool {
        self.packets == 0
    }

    /// Its place in a table.
    pub(super) fn key(&self) -> Ends {
        let [first, second] = &self.ends;
        Ends::of(first, second).0
    }

    /// Octets that wait in it.
    pub(super) const fn held_bytes(&self) -> usize {
        let [a, b] = &self.streams;
        a.held_bytes() + b.held_bytes()
    }

    /// Looks again how much the content holds; gives what that was before.
    pub(super) fn weigh(&mut self) -> usize {
        std::mem::replace(&mut self.content_bytes, self.content.held_bytes())
    }

    /// When its last packet came.
    pub(super) const fn last(&self) -> Timestamp {
        self.last.at
    }

    /// Takes a segment.
    pub(super) fn handle_segment(&mut self, arrival: &Arrival<'_>, around: &mut Surroundings<'_, '_>) -> Taken {
        let from = arrival.from;
        if self.handle_syn(from, arrival) == Taken::NewConnection {
            return Taken::NewConnection;
        }
        self.packets += 1;
        self.last = arrival.stamp;
        self.stream_mut(from).seen = true;
        if let Some(ack) = arrival.segment.ack
            && !arrival.segment.flags.rst()
        {
            self.stream_mut(1 - from).note_ack(ack);
        }
        if arrival.segment.flags.urg() {
            self.note(Anomaly::UrgentData);
        }
        if arrival.segment.flags.rst() {
            self.handle_reset(from, arrival.segment, arrival.stamp, around.limits);
        } else {
            self.handle_payload(from, arrival, around);
        }
        self.settle(arrival.stamp, around);
        Taken::Yes
    }

    /// A SYN fixes where its stream starts, opens another connection, or is an old one.
    fn handle_syn(&mut self, from: usize, arrival: &Arrival<'_>) -> Taken {
        let segment = arrival.segment;
        let data_seq = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        let stream = self.stream(from);
        if !segment.flags.syn() {
            // Data of the connection that a SYN announced while this one seemed to live.
            let announced = stream.other_isn.is_some_and(|isn| isn.wrapping_add(1) == segment.seq);
            return if announced && arrival.segment.payload_length > 0 { Taken::NewConnection } else { Taken::Yes };
        }
        if stream.started {
            if stream.base() == data_seq && stream.has_syn {
                return Taken::Yes;
            }
            let idle = self.streams.iter().all(|stream| stream.count.delivered == 0 && !stream.has_held());
            let over = self.closing.is_some() || self.streams.iter().any(|stream| stream.fin.is_some());
            if stream.has_syn && (over || (idle && segment.ack.is_none())) {
                return Taken::NewConnection;
            }
            if stream.has_syn {
                self.stream_mut(from).other_isn = Some(segment.seq);
                return Taken::Yes;
            }
            // The stream was started without its SYN; it comes late.
            if over && segment.ack.is_none() {
                return Taken::NewConnection;
            }
            self.stream_mut(from).has_syn = true;
        } else {
            self.stream_mut(from).start(data_seq, true);
        }
        if self.client.is_none() || segment.ack.is_some() {
            self.client = Some(if segment.ack.is_some() { 1 - from } else { from });
        }
        Taken::Yes
    }

    fn handle_reset(&mut self, from: usize, segment: &Segment, stamp: Stamp, limits: &Limits) {
        let stream = self.stream(from);
        if stream.started && distance(stream.next, segment.seq).abs() > RESET_WINDOW && segment.seq != 0 {
            return;
        }
        self.reset_by.get_or_insert(from);
        self.closing.get_or_insert(stamp.at.after(limits.linger));
    }

    fn handle_payload(&mut self, from: usize, arrival: &Arrival<'_>, around: &mut Surroundings<'_, '_>) {
        let segment = arrival.segment;
        let seq = segment.seq.wrapping_add(u32::from(segment.flags.syn()));
        let length = segment.payload_length;
        if length > 0 {
            self.stream_mut(from).count.segments += 1;
        }
        if segment.flags.fin() {
            self.stream_mut(from).fin = Some(seq.wrapping_add(length));
        }
        if length == 0 {
            return;
        }
        let stream = self.stream_mut(from);
        let ahead = if stream.started { distance(stream.next, seq) } else { 1 };
        if ahead + i64::from(length) <= 0 {
            stream.count.retransmitted += u64::from(length);
            self.compare(from, seq, arrival.payload, around);
            return;
        }
        if ahead > 0 || stream.has_held() || self.is_gated(from, segment.ack) {
            self.hold(from, seq, arrival, around);
            return;
        }
        let skip = u32::try_from(-ahead).unwrap_or(0);
        if skip > 0 {
            self.stream_mut(from).count.retransmitted += u64::from(skip);
            self.compare(from, seq, arrival.payload, around);
        }
        if self.reset_by.take().is_some() {
            self.closing = None;
            self.note(Anomaly::DataAfterReset);
        }
        self.deliver(from, arrival, skip, around);
    }

    /// Whether a segment acknowledges octets of the other side that were not delivered yet.
    fn is_gated(&self, from: usize, ack: Option<u32>) -> bool {
        let other = self.stream(1 - from);
        match ack {
            Some(ack) if other.started => other.unseen_before(ack) > 0,
            // Where the other stream starts is not known yet; its SYN may be late, or was never captured.
            Some(_) => true,
            None => false,
        }
    }

    fn hold(&mut self, from: usize, seq: u32, arrival: &Arrival<'_>, around: &mut Surroundings<'_, '_>) {
        let mut bytes = arrival.payload.to_vec();
        if bytes.len() < arrival.captured as usize {
            let mut rest = Vec::new();
            arrival.tail.read_tail(narrow(bytes.len()), &mut rest);
            bytes.extend_from_slice(&rest);
        }
        let length = arrival.segment.payload_length;
        bytes.truncate(length as usize);
        let held = Held { seq, ack: arrival.segment.ack, stamp: arrival.stamp, length, bytes };
        if self.stream_mut(from).hold(held) == Overlap::Differs {
            self.note(Anomaly::OverlapDiffers);
        }
        if self.wake.is_none() {
            self.wake = Some(arrival.stamp.at.after(around.limits.reorder_window));
        }
        let stream = self.stream(from);
        if stream.held_bytes() > around.limits.pending_bytes_per_stream_max
            || stream.held_segments() > around.limits.pending_segments_per_stream_max
        {
            self.give_up(arrival.stamp, None, around);
        }
    }

    /// Delivers a segment that is next, without its first `skip` octets, straight from the packet.
    fn deliver(&mut self, from: usize, arrival: &Arrival<'_>, skip: u32, around: &mut Surroundings<'_, '_>) {
        let side = self.side(from, Some(arrival.payload));
        let length = arrival.segment.payload_length - skip;
        let captured = arrival.captured.saturating_sub(skip).min(length);
        let payload = arrival.payload.get(skip as usize..).unwrap_or_default();
        let payload = payload.get(..captured as usize).unwrap_or(payload);
        let is_read = self.read(side, arrival.stamp, payload, captured, around, &mut |at, rest| {
            arrival.tail.read_tail(at + skip, rest);
        });
        if is_read {
            self.keep(from, payload, around);
        }
        if captured < length {
            self.read_gap(side, arrival.stamp, length - captured, around);
        }
        let stream = self.stream_mut(from);
        stream.deliver(captured);
        stream.miss(length - captured);
    }

    /// Gives octets to the content: the body of a message passes by its length, the rest is read. Tells whether it was read.
    fn read(
        &mut self,
        side: Side,
        stamp: Stamp,
        payload: &[u8],
        captured: u32,
        around: &mut Surroundings<'_, '_>,
        tail: &mut dyn FnMut(u32, &mut Vec<u8>),
    ) -> bool {
        let whole = u64::from(captured);
        let is_read = self.content.skippable(side) < whole;
        if !is_read {
            self.content.handle_skip(side, stamp, whole, around.secrets);
        } else {
            let place = Place {
                flow: self.id,
                endpoints: endpoints(self.ends, self.client),
                has_start: self.streams.iter().any(|stream| stream.has_syn),
                limits: around.limits,
            };
            let side = self.give(&place, side, stamp, payload, around.secrets);
            let seen = narrow(payload.len());
            let left = u64::from(captured.saturating_sub(seen));
            if left > 0 && self.content.skippable(side) >= left {
                self.content.handle_skip(side, stamp, left, around.secrets);
            } else if left > 0 {
                let mut rest = Vec::new();
                tail(seen, &mut rest);
                rest.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.give(&place, side, stamp, &rest, around.secrets);
            }
        }
        self.exchanges += self.content.drain(around.out);
        is_read
    }

    /// Gives octets to be read; gives the side that sent them, as they show it.
    fn give(&mut self, place: &Place<'_>, side: Side, stamp: Stamp, data: &[u8], secrets: &mut Secrets<'_>) -> Side {
        let roles = self.content.handle_data(place, side, stamp, data, secrets);
        if self.untold {
            let content = &mut self.content;
            self.untold = !self.anomalies.iter().all(|anomaly| content.handle_anomaly(Side::Client, *anomaly));
        }
        if roles == Roles::Known {
            return side;
        }
        self.client = self.client.map(|client| 1 - client);
        side.other()
    }

    fn read_gap(&mut self, side: Side, stamp: Stamp, length: u32, around: &mut Surroundings<'_, '_>) {
        self.first_gap.get_or_insert(stamp.frame);
        self.content.handle_gap(side, stamp, u64::from(length), around.secrets);
        self.exchanges += self.content.drain(around.out);
    }

    /// After each segment: what waited for it, the ends of streams, and when to look again.
    fn settle(&mut self, stamp: Stamp, around: &mut Surroundings<'_, '_>) {
        if self.held_bytes() > 0 {
            self.deliver_held(around);
        }
        if self.streams.iter().any(|stream| stream.fin.is_some() && !stream.finished) {
            self.finish_streams(stamp, around);
        }
        if self.held_bytes() == 0 {
            self.wake = None;
        }
    }

    fn finish_streams(&mut self, stamp: Stamp, around: &mut Surroundings<'_, '_>) {
        for from in [0, 1] {
            let stream = self.stream(from);
            if stream.finished || !stream.is_at_end() {
                continue;
            }
            self.stream_mut(from).finished = true;
            let side = self.side(from, None);
            self.content.handle_close(side, stamp, Close::Finished, around.secrets);
            self.exchanges += self.content.drain(around.out);
        }
        if self.streams.iter().all(|stream| stream.finished) {
            self.content.settle();
            self.closing.get_or_insert(stamp.at.after(around.limits.linger));
        }
    }

    /// Delivers what waited and is next now, on both sides, until nothing moves.
    fn deliver_held(&mut self, around: &mut Surroundings<'_, '_>) {
        loop {
            let mut moved = false;
            for from in [0, 1] {
                while self.front_is_next(from) {
                    moved |= self.deliver_front(from, around);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn front_is_next(&self, from: usize) -> bool {
        let stream = self.stream(from);
        stream.started
            && stream.front().is_some_and(|front| distance(stream.next, front.seq) <= 0 && !self.is_gated(from, front.ack))
    }

    /// Delivers the first waiting segment, whose start must not lie beyond what is expected.
    fn deliver_front(&mut self, from: usize, around: &mut Surroundings<'_, '_>) -> bool {
        let Some(held) = self.stream_mut(from).take_front() else { return false };
        let skip = u32::try_from(distance(held.seq, self.stream(from).next)).unwrap_or(0).min(held.length);
        self.stream_mut(from).count.retransmitted += u64::from(skip);
        let length = held.length - skip;
        if skip > 0 {
            self.compare(from, held.seq, &held.bytes, around);
        }
        if length == 0 {
            return true;
        }
        let side = self.side(from, Some(&held.bytes));
        let payload = held.bytes.get(skip as usize..).unwrap_or_default();
        let captured = narrow(payload.len());
        if self.read(side, held.stamp, payload, captured, around, &mut |_, _| {}) {
            self.keep(from, payload, around);
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
        for from in [0, 1] {
            let stream = self.stream(from);
            let unseen = stream.unseen().max(stream.unseen_before_fin());
            // A single octet at the end is a FIN that was not captured.
            if unseen > 1 || (unseen == 1 && stream.fin.is_some()) {
                self.miss(from, unseen, last, around);
            }
        }
        self.finish_streams(last, around);
        self.close_sides(around);
        self.exchanges += self.content.drain_end(self.id, around.out);
        self.closed()
    }

    fn close_sides(&mut self, around: &mut Surroundings<'_, '_>) {
        let how = if self.reset_by.is_some() { Close::Reset } else { Close::Unseen };
        let first = self.reset_by.unwrap_or(0);
        for from in [first, 1 - first] {
            if !self.stream(from).finished {
                let side = self.side(from, None);
                let how = if self.reset_by == Some(1 - from) { Close::Unseen } else { how };
                self.content.handle_close(side, self.last, how, around.secrets);
            }
        }
    }

    fn closed(&mut self) -> FlowClosed {
        let client = self.client.unwrap_or_else(|| client_by_port(self.ends));
        let close = match (self.reset_by, self.streams.iter().all(|stream| stream.finished)) {
            (_, true) => Close::Finished,
            (Some(_), false) => Close::Reset,
            (None, false) => Close::Unseen,
        };
        FlowClosed {
            flow: self.id,
            endpoints: endpoints(self.ends, Some(client)),
            first: self.first,
            last: self.last,
            has_start: self.stream(client).has_syn,
            both_sides: self.streams.iter().all(|stream| stream.seen),
            close,
            protocol: self.content.protocol(),
            client: self.stream(client).account(),
            server: self.stream(1 - client).account(),
            packets: self.packets,
            exchanges: self.exchanges,
            anomalies: std::mem::take(&mut self.anomalies),
            first_gap: self.first_gap,
        }
    }

    /// The ends as far as they are known.
    pub(super) fn endpoints(&self) -> Endpoints {
        endpoints(self.ends, self.client)
    }

    /// Which side a direction is. Without a SYN the payload tells, then the ports.
    fn side(&mut self, from: usize, payload: Option<&[u8]>) -> Side {
        let client = *self.client.get_or_insert_with(|| match payload {
            Some(payload) if payload.starts_with(b"HTTP/1.") => 1 - from,
            Some(payload) if http1::probe(Side::Client, payload) == http1::Probe::Yes => from,
            Some(_) | None => client_by_port(self.ends),
        });
        if client == from { Side::Client } else { Side::Server }
    }

    fn note(&mut self, anomaly: Anomaly) {
        if !self.anomalies.contains(&anomaly) {
            self.anomalies.push(anomaly);
        }
        self.untold |= !self.content.handle_anomaly(Side::Client, anomaly);
    }

    const fn stream(&self, from: usize) -> &Stream {
        let [first, second] = &self.streams;
        if from == 0 { first } else { second }
    }

    const fn stream_mut(&mut self, from: usize) -> &mut Stream {
        let [first, second] = &mut self.streams;
        if from == 0 { first } else { second }
    }
}

const fn endpoints([first, second]: [Endpoint; 2], client: Option<usize>) -> Endpoints {
    match client {
        Some(1) => Endpoints { client: second, server: first },
        _ => Endpoints { client: first, server: second },
    }
}

/// Servers listen on the lower port.
const fn client_by_port([first, second]: [Endpoint; 2]) -> usize {
    if first.port < second.port { 1 } else { 0 }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
