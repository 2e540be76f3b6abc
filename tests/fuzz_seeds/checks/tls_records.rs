//! Recorded TLS connections, disturbed: what comes out is part of what was said, and does not depend on the cutting.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::OnceLock;

use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use hopwire::decode::Limits;
use hopwire::decode::segment::{Dissected, dissect};
use hopwire::decode::tls::{Connection, KeyLog, Plain, Secrets, Sessions, Sink};
use hopwire::model::{Close, Endpoint, Secret, Side, Stamp};

use super::bytes::{Bytes, cut};

/// The first octet chooses a connection of the fixtures (255: none), the second what may be skipped; then come the disturbances,
/// of six octets each, or the octets of both sides where there is no connection.
pub fn tls_records(input: &[u8]) {
    let fixtures = fixtures();
    let mut rest = Bytes(input);
    let choice = rest.byte();
    let skippable = [0, 0, 1 << 40, 700][usize::from(rest.byte()) % 4];
    let flow = fixtures.flows.get(usize::from(choice) % (fixtures.flows.len() + 1));
    let mut events = flow.map_or_else(|| raw(rest.0), |flow| flow.events.clone());
    while flow.is_some() && !rest.is_empty() {
        disturb(&mut events, &mut rest);
    }
    let whole = open(fixtures, &events, skippable, |data, piece| piece(data));
    if skippable == 0 {
        let pieces = open(fixtures, &events, skippable, |data, piece| cut(data, input, piece));
        assert!(whole.sides == pieces.sides, "the plaintext depends on the cutting");
        assert_eq!(whole.account, pieces.account, "the account depends on the cutting");
    }
    for (side, plain) in whole.sides.iter().enumerate() {
        for piece in &plain.pieces {
            let known = flow.is_some_and(|flow| contains(&flow.plain[side], piece));
            assert!(known, "nobody said {:?}", String::from_utf8_lossy(piece));
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Data(Side, Vec<u8>),
    Gap(Side, u64),
    Close(Side, Close),
}

struct Fixtures {
    keylog: KeyLog,
    flows: Vec<Flow>,
}

struct Flow {
    events: Vec<Event>,
    /// What client and server said.
    plain: [Vec<u8>; 2],
}

fn fixtures() -> &'static Fixtures {
    static FIXTURES: OnceLock<Fixtures> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        let mut fixtures = Fixtures { keylog: KeyLog::new(), flows: Vec::new() };
        for (capture, keys) in [
            (
                include_bytes!("../../../fixtures/tls/suites.pcap").as_slice(),
                include_bytes!("../../../fixtures/tls/suites.keys").as_slice(),
            ),
            (include_bytes!("../../../fixtures/tls/early.pcap"), include_bytes!("../../../fixtures/tls/early.keys")),
        ] {
            fixtures.keylog.add(&Secret::new(keys.to_vec()));
            for events in flows(capture) {
                fixtures.flows.push(Flow { events, plain: Default::default() });
            }
        }
        for at in 0..fixtures.flows.len() {
            let opened = open(&fixtures, &fixtures.flows[at].events, 0, |data, piece| piece(data));
            let [client, server] = opened.sides.map(|side| side.pieces.concat());
            fixtures.flows[at].plain = [client, server];
        }
        fixtures.flows.retain(|flow| {
            flow.events.iter().map(|event| if let Event::Data(_, data) = event { data.len() } else { 0 }).sum::<usize>() < 20_000
        });
        assert!(fixtures.flows.len() > 20, "{} connections", fixtures.flows.len());
        fixtures
    })
}

/// The connections of a capture without loss.
fn flows(capture: &[u8]) -> Vec<Vec<Event>> {
    let stream = Box::new(Cursor::new(capture.to_vec()));
    let mut capture = SavedCapture::open(vec![Input { name: "fixture".to_owned(), stream, positioned: None }]).unwrap();
    let mut batch = Batch::new();
    let mut all: Vec<Vec<Event>> = Vec::new();
    let mut open: HashMap<(Endpoint, Endpoint), (usize, Side, u32)> = HashMap::new();
    while capture.read_batch(&mut batch).unwrap() {
        for packet in batch.packets() {
            let Dissected::Segment(segment) = dissect(&packet, 8) else { continue };
            let (from, to) = (segment.source, segment.destination);
            if segment.flags.syn() {
                let side = if segment.ack.is_none() { Side::Client } else { Side::Server };
                if side == Side::Client {
                    all.push(Vec::new());
                }
                let flow = if side == Side::Client { all.len() - 1 } else { open[&(to, from)].0 };
                open.insert((from, to), (flow, side, segment.seq.wrapping_add(1)));
                continue;
            }
            let Some((flow, side, next)) = open.get_mut(&(from, to)) else { continue };
            let payload = segment.payload(packet.bytes);
            if segment.seq == *next && !payload.is_empty() {
                *next = next.wrapping_add(payload.len() as u32);
                all[*flow].push(Event::Data(*side, payload.to_vec()));
            }
            if segment.flags.fin() {
                all[*flow].push(Event::Close(*side, Close::Finished));
            }
        }
    }
    all
}

/// Octets of both sides by turns: length, octets.
fn raw(input: &[u8]) -> Vec<Event> {
    let mut input = Bytes(input);
    let mut events = Vec::new();
    let mut side = Side::Client;
    while !input.is_empty() {
        let length = usize::from(input.half());
        events.push(Event::Data(side, input.take(length).to_vec()));
        side = side.other();
    }
    events
}

/// One disturbance: its kind, the event concerned, a place in it, and a number.
fn disturb(events: &mut Vec<Event>, input: &mut Bytes<'_>) {
    let (kind, at, place, number) = (input.byte(), usize::from(input.byte()), input.half(), input.half());
    if events.is_empty() {
        return;
    }
    let at = at % events.len();
    let Event::Data(side, data) = &mut events[at] else { return };
    let side = *side;
    let place = usize::from(place) % data.len().max(1);
    let end = (place + usize::from(number)).min(data.len());
    match kind % 8 {
        0 => data.iter_mut().skip(place).take(1).for_each(|octet| *octet ^= (number as u8).max(1)),
        1 => drop(data.drain(place..end)),
        2 => {
            // Octets that the capture lacks.
            let tail = data.split_off(place);
            let gap = (end - place) as u64;
            events.insert(at + 1, Event::Gap(side, gap));
            events.insert(at + 2, Event::Data(side, tail[end - place..].to_vec()));
        }
        3 => {
            let octets = number.to_be_bytes();
            data.splice(place..place, octets);
        }
        4 => {
            let again = data[place..end].to_vec();
            data.splice(place..place, again);
        }
        5 => drop(events.remove(at)),
        6 => {
            let other = usize::from(number) % events.len();
            events.swap(at, other);
        }
        _ => events.insert(at + 1, Event::Close(side, if number % 2 == 0 { Close::Reset } else { Close::Finished })),
    }
}

#[derive(Default)]
struct Opened {
    sides: [Sided; 2],
    account: String,
    skippable: u64,
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Sided {
    pieces: Vec<Vec<u8>>,
    rest: Vec<String>,
}

impl Sink for Opened {
    fn plain(&mut self, plain: Plain<'_>) {
        let (Plain::Data { from, .. } | Plain::Skip { from, .. } | Plain::Gap { from, .. } | Plain::Close { from, .. }) = plain;
        let side = &mut self.sides[usize::from(from == Side::Server)];
        match plain {
            Plain::Data { bytes, .. } => side.pieces.push(bytes.to_vec()),
            Plain::Skip { length, .. } => side.rest.push(format!("after {}: skip {length}", side.pieces.len())),
            Plain::Gap { length, .. } => side.rest.push(format!("after {}: gap {length}", side.pieces.len())),
            Plain::Close { how, .. } => side.rest.push(format!("after {}: {how:?}", side.pieces.len())),
        }
    }

    fn skippable(&self, _: Side) -> u64 {
        self.skippable
    }
}

fn open<'e>(
    fixtures: &Fixtures,
    events: &'e [Event],
    skippable: u64,
    mut cutting: impl FnMut(&'e [u8], &mut dyn FnMut(&'e [u8])),
) -> Opened {
    let (mut sessions, mut buffer) = (Sessions::new(), Vec::new());
    let mut secrets = Secrets { keylog: &fixtures.keylog, sessions: &mut sessions, buffer: &mut buffer };
    let mut connection = Connection::new(&Limits::default());
    let mut opened = Opened { skippable, ..Opened::default() };
    let stamp = Stamp::default();
    for event in events {
        match event {
            Event::Data(side, data) => {
                let skip = connection.skippable(*side);
                if skippable > 0 && skip >= data.len() as u64 {
                    connection.handle_skip(*side, stamp, data.len() as u64, &mut secrets, &mut opened);
                } else {
                    cutting(data, &mut |piece| connection.handle_data(*side, stamp, piece, &mut secrets, &mut opened));
                }
            }
            Event::Gap(side, length) => connection.handle_gap(*side, stamp, *length, &mut secrets, &mut opened),
            Event::Close(side, how) => connection.handle_close(*side, stamp, *how, &mut secrets, &mut opened),
        }
    }
    for side in [Side::Client, Side::Server] {
        connection.handle_close(side, stamp, Close::Unseen, &mut secrets, &mut opened);
    }
    opened.account =
        format!("{:?} {:?} {} {}", connection.view(), connection.shut(), connection.sealed_bytes(), connection.has_early_data());
    // What is seen from outside is within what came, is numbered upwards, and stays unseen where anything was opened.
    connection.handle_end(&mut secrets, &mut opened);
    let sealed: Vec<_> = std::iter::from_fn(|| connection.poll_sealed()).collect();
    let octets: u64 = sealed.iter().map(|pair| pair.request.octets.end() + pair.response.octets.end()).sum();
    // A record that lacks octets in the capture tells its length all the same.
    let lacking: u64 = events.iter().map(|event| if let Event::Gap(_, length) = event { *length } else { 0 }).sum();
    assert!(octets <= connection.sealed_bytes() + lacking, "{octets} octets in {sealed:?}");
    assert!(sealed.is_sorted_by(|one, other| one.ordinal < other.ordinal), "{sealed:?}");
    let is_opened = opened.sides.iter().any(|side| !side.pieces.is_empty());
    assert!(sealed.is_empty() || !is_opened, "{sealed:?} though something was opened");
    opened.account += &format!(" {sealed:?}");
    opened
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
