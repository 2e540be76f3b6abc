//! TCP in any order: what a flow delivers, reports missing and reads is what a simple model of both streams says.

use std::ops::Range;

use hopwire::decode::segment::{Flags, Segment};
use hopwire::decode::{Flows, Incoming, Limits};
use hopwire::model::{Endpoint, Event, Exchange, FlowClosed, Frame, LossReason, Stamp, StreamCount, Tail, Timestamp};

use super::bytes::Bytes;

/// The input makes a conversation (numbers of its start, lengths of its messages), cuts it into segments, and then disturbs
/// them: swaps, copies, drops, cuts anew, or (where its first octet is odd) makes nonsense of them.
pub fn reassembly(input: &[u8]) {
    let mut input = Bytes(input);
    let is_wild = input.byte() & 1 == 1;
    let talk = Talk::new(&mut input);
    let mut segments = talk.segments(&mut input);
    while !input.is_empty() {
        disturb(&mut segments, &talk, &mut input, is_wild);
    }
    if std::env::var_os("HOPWIRE_SHOW").is_some() {
        for sent in &segments {
            let relative = |side: usize, seq: u32| seq.wrapping_sub(talk.seq(side, 0)).cast_signed();
            let ack = sent.ack.map(|ack| relative(1 - sent.side, ack));
            eprintln!("{} {:?} {} +{} ack {ack:?}", sent.side, sent.kind, relative(sent.side, sent.seq), sent.range.len());
        }
    }
    let seen = decode(&segments, &talk);
    check_laws(&seen, &segments);
    if !is_wild {
        check_model(&seen, &segments, &talk);
    }
}

/// What both sides say: requests with bodies and their answers, by turns.
struct Talk {
    streams: [Vec<u8>; 2],
    isn: [u32; 2],
    /// Where each message's body lies in its stream, and where the other stream stood when it began.
    messages: Vec<Message>,
}

struct Message {
    side: usize,
    whole: Range<usize>,
    body: Range<usize>,
    /// Octets of the other side that came before.
    after: usize,
}

impl Talk {
    fn new(input: &mut Bytes<'_>) -> Self {
        let mut talk = Self { streams: [Vec::new(), Vec::new()], isn: [input.word(), input.word()], messages: Vec::new() };
        let exchanges = input.byte() % 3 + 1;
        for number in 0..exchanges {
            for side in [0, 1] {
                let body = input.below(1200);
                let start = if side == 0 {
                    format!("POST /b/k{number}?delete HTTP/1.1\r\nHost: s")
                } else {
                    "HTTP/1.1 200 OK".to_owned()
                };
                let head = format!("{start}\r\nContent-Type: application/xml\r\nContent-Length: {body}\r\n\r\n");
                let after = talk.streams[1 - side].len();
                let stream = &mut talk.streams[side];
                let begin = stream.len();
                stream.extend(head.bytes());
                let body_begin = stream.len();
                // Every octet tells its place, so that none can stand for another.
                stream.extend((0..body).map(|at| b'a' + ((at * 7 + at / 26 + begin) % 26) as u8));
                let end = stream.len();
                talk.messages.push(Message { side, whole: begin..end, body: body_begin..end, after });
            }
        }
        talk
    }

    /// The octets of the other side that whoever sends the octet at `end - 1` has seen.
    fn acknowledged(&self, side: usize, end: usize) -> usize {
        self.messages
            .iter()
            .filter(|message| message.side == side && message.whole.start < end)
            .map(|message| message.after)
            .max()
            .unwrap_or(0)
    }

    fn segment(&self, side: usize, range: Range<usize>) -> Sent {
        let ack = self.acknowledged(side, range.end);
        Sent {
            side,
            seq: self.seq(side, range.start),
            ack: Some(self.seq(1 - side, ack)),
            range,
            kind: Kind::Data,
            cut: 0,
            wait: 0,
        }
    }

    fn seq(&self, side: usize, at: usize) -> u32 {
        self.isn[side].wrapping_add(1).wrapping_add(at as u32)
    }

    /// The whole conversation in order, cut as the input says.
    fn segments(&self, input: &mut Bytes<'_>) -> Vec<Sent> {
        let ends = input.byte();
        let segment_max = usize::from(input.byte()) * 6 + 20;
        let bare = |side: usize, kind: Kind, at: usize, ack: Option<usize>| Sent {
            side,
            seq: self.seq(side, at).wrapping_sub(u32::from(kind == Kind::Syn)),
            ack: ack.map(|ack| self.seq(1 - side, ack)),
            range: at..at,
            kind,
            cut: 0,
            wait: 0,
        };
        let mut sent = vec![bare(0, Kind::Syn, 0, None), bare(1, Kind::Syn, 0, Some(0)), bare(0, Kind::Ack, 0, Some(0))];
        for message in &self.messages {
            let mut at = message.whole.start;
            while at < message.whole.end {
                let end = (at + segment_max).min(message.whole.end);
                sent.push(self.segment(message.side, at..end));
                at = end;
            }
            if ends & 1 == 1 {
                sent.push(bare(1 - message.side, Kind::Ack, message.after, Some(message.whole.end)));
            }
        }
        let [client, server] = [self.streams[0].len(), self.streams[1].len()];
        if ends & 2 == 2 {
            sent.push(bare(0, Kind::Fin, client, Some(server)));
            sent.push(bare(1, Kind::Fin, server, Some(client + 1)));
            sent.push(bare(0, Kind::Ack, client + 1, Some(server + 1)));
        }
        sent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    Data,
    Ack,
    Fin,
    Odd(u8),
}

/// A segment of the conversation.
#[derive(Clone, Debug)]
struct Sent {
    side: usize,
    seq: u32,
    ack: Option<u32>,
    range: Range<usize>,
    kind: Kind,
    /// Octets that the capture lacks at its end.
    cut: u32,
    /// Milliseconds to the one before.
    wait: u16,
}

/// One disturbance: its kind, the segment concerned, and a number.
fn disturb(segments: &mut Vec<Sent>, talk: &Talk, input: &mut Bytes<'_>, is_wild: bool) {
    let (kind, at, number) = (input.byte(), usize::from(input.byte()), usize::from(input.byte()));
    if segments.is_empty() || segments.len() > 400 {
        return;
    }
    let at = at % segments.len();
    match kind % if is_wild { 12 } else { 6 } {
        0 => {
            let other = number % segments.len();
            segments.swap(at, other);
        }
        1 => {
            let again = segments[at].clone();
            segments.insert(number % (segments.len() + 1), again);
        }
        // Without its SYN nobody knows where a stream starts; that belongs to the wild ones.
        2 if is_wild || segments[at].kind != Kind::Syn => drop(segments.remove(at)),
        2 => {}
        3 if segments[at].kind == Kind::Data => {
            let Range { start, end } = segments[at].range.clone();
            let middle = start + number % (end - start).max(1);
            let side = segments[at].side;
            if middle > start {
                segments[at] = talk.segment(side, start..middle);
                segments.insert(at + 1, talk.segment(side, middle..end));
            }
        }
        4 => {
            // Octets once more, cut otherwise. Nobody sends the end of one request together with the start of the next, which
            // acknowledges the answer to it.
            let message = &talk.messages[number % talk.messages.len()];
            let start = message.whole.start + at * 17 % message.whole.len();
            let end = (start + number * 3 + 1).min(message.whole.end);
            segments.insert(at, talk.segment(message.side, start..end));
        }
        5 => {
            let from = at.min(number % segments.len());
            segments[from..=at].reverse();
        }
        3 => {}
        6 => segments[at].wait = number as u16 * 40,
        7 => segments[at].cut = number as u32,
        8 => segments[at].kind = Kind::Odd(number as u8),
        9 => segments[at].seq = segments[at].seq.wrapping_add((number as u32) << (number % 25)),
        10 => segments[at].ack = Some(talk.isn[1 - segments[at].side].wrapping_add((number as u32) << (number % 25))),
        _ => segments[at].side = 1 - segments[at].side,
    }
}

#[derive(Default)]
struct Seen {
    exchanges: Vec<Exchange>,
    closed: Vec<FlowClosed>,
    lost: u64,
    evicted: u64,
}

fn decode(segments: &[Sent], talk: &Talk) -> Seen {
    let mut flows = Flows::new(Limits::default());
    let mut at = 0;
    for (ordinal, sent) in (1..).zip(segments) {
        at += 1000 + i64::from(sent.wait) * 1_000_000;
        let stamp = Stamp { at: Timestamp::from_nanos(at), frame: Frame::new(0, ordinal) };
        let payload = talk.streams[sent.side].get(sent.range.clone()).unwrap_or_default();
        let payload = &payload[..payload.len().saturating_sub(sent.cut as usize)];
        let segment = sent.segment();
        flows.handle_time(stamp.at, ordinal);
        flows.handle_segment(&Incoming {
            ordinal,
            stamp,
            segment: &segment,
            payload,
            captured: payload.len() as u32,
            tail: Tail::NONE,
        });
    }
    let mut events = Vec::new();
    flows.handle_end(segments.len() as u64 + 1);
    flows.take_events(&mut events);
    let mut seen = Seen::default();
    for (_, event) in events {
        match event {
            Event::FlowOpened(_) | Event::Sealed(_) => {}
            Event::Exchange(exchange) => seen.exchanges.push(*exchange),
            Event::FlowClosed(closed) => seen.closed.push(*closed),
            Event::Lost(loss) if loss.reason == LossReason::Evicted => seen.evicted += 1,
            Event::Lost(loss) => seen.lost += loss.bytes,
        }
    }
    assert!(flows.is_empty());
    seen
}

impl Sent {
    fn segment(&self) -> Segment {
        let ends = [Endpoint::new([10, 0, 0, 2].into(), 40_000), Endpoint::new([10, 0, 0, 9].into(), 9000)];
        let flags = match self.kind {
            Kind::Syn => Flags::new(false, true, false, false),
            Kind::Fin => Flags::new(true, false, false, false),
            Kind::Data | Kind::Ack => Flags::default(),
            Kind::Odd(bits) => Flags::new(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0),
        };
        Segment {
            source: ends[self.side],
            destination: ends[1 - self.side],
            seq: self.seq,
            ack: self.ack,
            flags,
            payload_start: 0,
            payload_length: self.range.len() as u32,
        }
    }
}

/// What holds for all segments.
fn check_laws(seen: &Seen, segments: &[Sent]) {
    let came: u64 = segments.iter().map(|sent| (sent.range.len() as u64).saturating_sub(u64::from(sent.cut))).sum();
    let packets: u64 = seen.closed.iter().map(|flow| flow.packets).sum();
    assert_eq!(packets, segments.len() as u64, "packets of all flows");
    let mut delivered = 0;
    for flow in &seen.closed {
        for (name, stream) in [("client", flow.client), ("server", flow.server)] {
            delivered += stream.delivered;
            // Numbers half the sequence space apart come before and after each other at once: there is no true account of them.
            let is_known = stream.missing < 1 << 30;
            assert!(!is_known || stream.delivered + stream.missing + 1 >= stream.acknowledged, "{name}: {stream:?}");
        }
        let exchanges = seen.exchanges.iter().filter(|exchange| exchange.id.flow == flow.flow).count();
        assert_eq!(exchanges, flow.exchanges as usize);
    }
    assert!(delivered <= came, "{delivered} octets delivered of {came}");
    assert!(seen.lost <= came, "{} octets lost of {came}", seen.lost);
    assert_eq!(seen.evicted, 0);
}

/// What a simple model says of segments that are true.
fn check_model(seen: &Seen, segments: &[Sent], talk: &Talk) {
    let [flow] = seen.closed.as_slice() else { panic!("{} flows", seen.closed.len()) };
    assert!(flow.anomalies.is_empty(), "{:?}", flow.anomalies);
    let models: [Model; 2] = [0, 1].map(|side| Model::new(segments, talk, side));
    for (name, model, stream) in [("client", &models[0], flow.client), ("server", &models[1], flow.server)] {
        model.check(name, stream);
    }
    if models.iter().any(|model| model.is_end_doubtful) {
        return;
    }
    let heads_are_whole = talk.messages.iter().all(|message| {
        let head = message.whole.start..message.body.start;
        models[message.side].octets[head].iter().all(|have| *have)
    });
    if heads_are_whole {
        check_exchanges(&seen.exchanges, &models, talk);
        assert_eq!(seen.lost, 0, "all octets belong to an exchange");
    }
}

/// Which octets of a stream came, and how far it is known to go.
struct Model {
    octets: Vec<bool>,
    end: usize,
    /// Whether an acknowledgment counts one octet more than came, which may be a FIN.
    is_end_doubtful: bool,
}

impl Model {
    fn new(segments: &[Sent], talk: &Talk, side: usize) -> Self {
        let mut octets = vec![false; talk.streams[side].len()];
        let mut end = 0;
        let (mut acknowledged, mut has_fin) = (0, false);
        for sent in segments {
            if sent.side == side {
                octets[sent.range.start.min(talk.streams[side].len())..sent.range.end.min(talk.streams[side].len())].fill(true);
                // A bare acknowledgment proves nothing of its own side.
                if !sent.range.is_empty() || sent.kind == Kind::Fin {
                    end = end.max(sent.range.end.min(talk.streams[side].len()));
                }
                has_fin |= sent.kind == Kind::Fin;
            } else if let Some(ack) = sent.ack {
                acknowledged = acknowledged.max(ack.wrapping_sub(talk.seq(side, 0)) as usize);
            }
        }
        let length = octets.len();
        let is_fin_unseen = acknowledged > length && !has_fin;
        let is_end_doubtful = !has_fin && (is_fin_unseen || acknowledged.min(length) == end + 1);
        if acknowledged > end + 1 {
            end = acknowledged.min(length);
        }
        Self { octets, end, is_end_doubtful }
    }

    fn missing(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut missing: Vec<Range<usize>> = Vec::new();
        for at in range.start..range.end.min(self.end) {
            match missing.last_mut() {
                _ if self.octets[at] => {}
                Some(last) if last.end == at => last.end += 1,
                _ => missing.push(at..at + 1),
            }
        }
        missing
    }

    fn check(&self, name: &str, stream: StreamCount) {
        let delivered = self.octets.iter().filter(|have| **have).count() as u64;
        let missing: usize = self.missing(0..self.end).iter().map(ExactSizeIterator::len).sum();
        assert_eq!(stream.delivered, delivered, "{name}: octets delivered");
        let spare = stream.missing.checked_sub(missing as u64);
        assert!(
            spare == Some(0) || (spare == Some(1) && self.is_end_doubtful),
            "{name}: {} missing, and by the model {missing}",
            stream.missing
        );
    }
}

fn check_exchanges(exchanges: &[Exchange], models: &[Model; 2], talk: &Talk) {
    assert_eq!(exchanges.len(), talk.messages.len() / 2, "exchanges");
    for (exchange, messages) in exchanges.iter().zip(talk.messages.chunks(2)) {
        let response = exchange.response().expect("a whole head is an answer");
        for (message, body) in messages.iter().zip([&exchange.request.body, &response.body]) {
            let model = &models[message.side];
            let holes = model.missing(message.body.clone());
            let expected: Vec<Range<u64>> = holes
                .iter()
                .map(|hole| (hole.start - message.body.start) as u64..(hole.end - message.body.start) as u64)
                .collect();
            assert_eq!(body.missing, expected, "missing of the body at {:?} of side {}", message.body, message.side);
            let first = holes.first().map_or(message.body.end.min(model.end.max(message.body.start)), |hole| hole.start);
            let content = &talk.streams[message.side][message.body.start..first];
            assert!(body.kept.starts_with(content), "the first {} octets of a body", content.len());
            let is_known = model.end >= message.body.end;
            assert_eq!(body.complete, is_known, "whether the body at {:?} of side {} is at its end", message.body, message.side);
        }
    }
}
