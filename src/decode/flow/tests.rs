//! The fast path against the slow one: whatever comes, a table of flows gives the same events without it.

use std::collections::VecDeque;

use crate::decode::flows::{Flows, Incoming};
use crate::decode::limits::Limits;
use crate::decode::segment::{Flags, Segment};
use crate::model::{Endpoint, Frame, ReadTail, Stamp, Tail, Timestamp};

/// A seeded generator (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// One segment on its way into a table.
#[derive(Clone)]
struct Sent {
    segment: Segment,
    bytes: Vec<u8>,
    /// How many of the bytes the capture holds, and how many of those the reader has in memory.
    captured: usize,
    held: usize,
    wait_nanos: i64,
}

/// The payloads of all segments, as a file from which the ends of some are read.
struct File(Vec<Vec<u8>>);

impl ReadTail for File {
    fn read_tail(&self, index: usize, offset: u32, buffer: &mut Vec<u8>) -> usize {
        buffer.clear();
        buffer.extend_from_slice(self.0.get(index).and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default());
        buffer.len()
    }
}

fn body(random: &mut Random) -> Vec<u8> {
    let length = [0, 1, 30, 700, 5000][random.below(5)];
    (0..length).map(|at| b'a' + (at % 26) as u8).collect()
}

fn http(random: &mut Random, start: &str) -> Vec<u8> {
    let body = body(random);
    match random.below(3) {
        0 => [format!("{start}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat(),
        1 => {
            let mut all = format!("{start}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in body.chunks(900) {
                all.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            [all, b"0\r\n\r\n".to_vec()].concat()
        }
        _ => format!("{start}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
    }
}

fn record(random: &mut Random, kind: u8) -> Vec<u8> {
    let content = body(random);
    [&[kind, 3, 3][..], &(content.len() as u16).to_be_bytes(), &content].concat()
}

/// What both sides of one connection send, by turns.
fn messages(random: &mut Random) -> Vec<(bool, Vec<u8>)> {
    let mut all = Vec::new();
    let kind = random.below(4);
    for number in 0..random.below(6) {
        let status = ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found\r\nContent-Type: application/xml"][random.below(2)];
        let (asked, came) = match kind {
            0 | 1 => (http(random, &format!("PUT /b/{number} HTTP/1.1\r\nHost: s")), http(random, status)),
            2 => {
                let kind = if number == 0 { 22 } else { 23 };
                (record(random, kind), record(random, kind))
            }
            _ => (body(random), body(random)),
        };
        all.extend([(true, asked), (false, came)]);
    }
    all
}

/// The segments of one connection, in order.
fn connection(random: &mut Random, port: u16) -> Vec<Sent> {
    let ends = [Endpoint::new([10, 0, 0, 1].into(), port), Endpoint::new([10, 0, 0, 2].into(), 80)];
    let mut next = [random.below(1 << 32) as u32, random.below(1 << 32) as u32];
    let mut sent = Vec::new();
    let mut send = |next: &mut [u32; 2], from_client: bool, flags: Flags, bytes: &[u8], acks: bool| {
        let side = usize::from(!from_client);
        let segment = Segment {
            source: ends[side],
            destination: ends[1 - side],
            seq: next[side],
            ack: acks.then_some(next[1 - side]),
            flags,
            payload_start: 0,
            payload_length: bytes.len() as u32,
        };
        sent.push(Sent { segment, bytes: bytes.to_vec(), captured: bytes.len(), held: bytes.len(), wait_nanos: 100_000 });
        next[side] = next[side].wrapping_add(bytes.len() as u32 + u32::from(flags.syn()) + u32::from(flags.fin()));
    };
    let (none, syn) = (Flags::default(), Flags::new(false, true, false, false));
    if random.below(8) > 0 {
        send(&mut next, true, syn, b"", false);
        send(&mut next, false, syn, b"", true);
        send(&mut next, true, none, b"", true);
    }
    let segment_max = [60, 500, 1448, 9000][random.below(4)];
    for (from_client, bytes) in messages(random) {
        for piece in bytes.chunks(segment_max) {
            send(&mut next, from_client, none, piece, true);
            if random.below(2) == 0 {
                send(&mut next, !from_client, none, b"", true);
            }
        }
    }
    match random.below(4) {
        0 => send(&mut next, true, Flags::new(false, false, true, false), b"", true),
        1 => {}
        _ => {
            let fin = Flags::new(true, false, false, false);
            send(&mut next, true, fin, b"", true);
            send(&mut next, false, fin, b"", true);
            send(&mut next, true, none, b"", true);
        }
    }
    sent
}

/// Several connections at once; some segments are lost, doubled, moved, cut by the capture, or left in the file.
fn traffic(seed: u64) -> Vec<Sent> {
    let mut random = Random(seed);
    let mut connections: Vec<VecDeque<Sent>> = (0..3).map(|port| connection(&mut random, 4000 + port).into()).collect();
    let mut all = Vec::new();
    while connections.iter().any(|connection| !connection.is_empty()) {
        let which = random.below(connections.len());
        all.extend(connections[which].pop_front());
    }
    for _ in 0..random.below(all.len() / 4 + 2) {
        let at = random.below(all.len());
        let Some(sent) = all.get_mut(at) else { break };
        match random.below(8) {
            0 => drop(all.remove(at)),
            1 | 2 => {
                let again = sent.clone();
                let to = (at + random.below(6)).min(all.len());
                all.insert(to, again);
            }
            3 => {
                let other = (at + random.below(4)).min(all.len() - 1);
                all.swap(at, other);
            }
            4 => (sent.captured, sent.held) = (sent.captured / 2, sent.held / 2),
            5 => sent.held = sent.held.min(random.below(80)),
            6 => sent.wait_nanos = random.below(3_000_000_000) as i64,
            _ => sent.segment.flags = Flags::new(false, false, false, true),
        }
    }
    all
}

/// The events of a table, as text.
fn events(all: &[Sent], is_slow: bool) -> Vec<String> {
    let file = File(all.iter().map(|sent| sent.bytes[..sent.captured].to_vec()).collect());
    let mut flows = Flows::new(Limits::default());
    flows.is_slow = is_slow;
    let mut now = 0;
    for (index, sent) in all.iter().enumerate() {
        now += sent.wait_nanos;
        let ordinal = index as u64 + 1;
        let stamp = Stamp { at: Timestamp::from_nanos(now), frame: Frame::new(0, ordinal) };
        flows.handle_time(stamp.at, ordinal);
        flows.handle_segment(&Incoming {
            ordinal,
            stamp,
            segment: &sent.segment,
            payload: &sent.bytes[..sent.held],
            captured: sent.captured as u32,
            tail: Tail::new(&file, index),
        });
    }
    flows.handle_end(all.len() as u64 + 1);
    let mut events = Vec::new();
    flows.take_events(&mut events);
    events.iter().map(|event| format!("{event:?}")).collect()
}

#[test]
fn the_fast_path_gives_the_events_of_the_slow_one() {
    let mut exchanges = 0;
    for seed in 0..600 {
        let all = traffic(seed);
        let (fast, slow) = (events(&all, false), events(&all, true));
        let differs = fast.iter().zip(&slow).position(|(fast, slow)| fast != slow);
        assert_eq!(differs.map(|at| (&fast[at], &slow[at])), None, "seed {seed}");
        assert_eq!(fast.len(), slow.len(), "seed {seed}");
        exchanges += fast.iter().filter(|event| event.contains("Exchange(")).count();
    }
    assert!(exchanges > 1000, "{exchanges} exchanges were compared");
}
