//! Packets become the same events wherever they are decoded: by [`Decoder`] one at a time, and by the pipeline on any number of
//! threads; whether the reader takes whole packets or leaves the end of long ones in the file.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod support;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture, secrets_in};
use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Event, LossReason, Secret};
use hopwire::pipeline::{self, Receiver};
use support::require::{Need, skip};
use support::{Connection, Random, Sent, frame};

/// How the bytes of a capture come.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// As from a pipe.
    Whole,
    /// From a file, where the reader leaves the end of long packets.
    Positioned,
}

fn open(bytes: &[u8], reading: Reading) -> Option<SavedCapture> {
    let positioned: Option<Arc<dyn hopwire::capture::ReadAt>> = match reading {
        Reading::Whole => None,
        Reading::Positioned => Some(Arc::new(bytes.to_vec())),
    };
    let input = Input { name: "input".to_owned(), stream: Box::new(Cursor::new(bytes.to_vec())), positioned };
    SavedCapture::open(vec![input]).ok()
}

/// What a [`Decoder`] makes of a capture, and how many packets it could not decode.
fn decoded(bytes: &[u8], reading: Reading) -> Option<(Vec<Event>, u64)> {
    let mut capture = open(bytes, reading)?;
    let mut decoder = Decoder::new(Limits::default());
    for secret in secrets_in(&bytes.to_vec()).unwrap_or_default() {
        decoder.handle_secret(&secret);
    }
    let (mut batch, mut events) = (Batch::new(), Vec::new());
    while capture.read_batch(&mut batch).unwrap() {
        batch.secrets().iter().for_each(|secret| decoder.handle_secret(secret));
        for packet in batch.packets() {
            decoder.handle_packet(&packet);
            events.extend(std::iter::from_fn(|| decoder.poll()));
        }
    }
    decoder.handle_end();
    events.extend(std::iter::from_fn(|| decoder.poll()));
    Some((events, decoder.packets_lost()))
}

#[derive(Default)]
struct Events(Vec<Event>);

impl Receiver for Events {
    fn event(&mut self, event: Event) {
        self.0.push(event);
    }
}

/// What the pipeline makes of it.
fn piped(bytes: &[u8], reading: Reading, threads: usize) -> Option<(Vec<Event>, u64)> {
    let mut capture = open(bytes, reading)?;
    let secrets: Vec<Secret> = secrets_in(&bytes.to_vec()).unwrap_or_default();
    let mut events = Events::default();
    let options = pipeline::Options { threads, limits: Limits::default(), secrets };
    let outcome = pipeline::decode(&mut capture, &options, &mut events);
    Some((events.0, outcome.counts.packets_undecodable))
}

/// The first event in which two runs differ.
fn difference(one: &[Event], other: &[Event]) -> Option<String> {
    let at = one.iter().zip(other).position(|(one, other)| format!("{one:?}") != format!("{other:?}"));
    match (at, one.len() == other.len()) {
        (None, true) => None,
        (None, false) => Some(format!("{} events and {}", one.len(), other.len())),
        (Some(at), _) => Some(format!("event {at} of {}:\n{:?}\n{:?}", one.len(), one[at], other[at])),
    }
}

/// What differs between the ways to decode a capture; `None` where it cannot be opened.
fn differences(bytes: &[u8]) -> Option<Vec<String>> {
    let (events, lost) = decoded(bytes, Reading::Whole)?;
    let mut differences = Vec::new();
    let mut compare = |name: &str, other: Option<(Vec<Event>, u64)>| {
        let (others, others_lost) = other.unwrap();
        differences.extend(difference(&events, &others).map(|difference| format!("{name}: {difference}")));
        if lost != others_lost {
            differences.push(format!("{name}: {lost} packets lost, and {others_lost}"));
        }
    };
    compare("decoder, positioned", decoded(bytes, Reading::Positioned));
    compare("pipeline", piped(bytes, Reading::Whole, 1));
    compare("pipeline on 3 threads, positioned", piped(bytes, Reading::Positioned, 3));
    Some(differences)
}

fn assert_same(name: &str, bytes: &[u8]) {
    let differences = differences(bytes).unwrap();
    assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
}

/// A pcap with times in nanoseconds.
fn pcap<'a>(packets: impl IntoIterator<Item = (i64, u32, &'a [u8])>, link: u32) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4]].concat();
    file.extend([0x0004_0000_u32.to_le_bytes(), link.to_le_bytes()].concat());
    for (at, original, bytes) in packets {
        let at = at.rem_euclid(4_000_000_000_000_000_000);
        for word in [(at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32, bytes.len() as u32, original] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(bytes);
    }
    file
}

fn pcap_of(packets: &[Sent]) -> Vec<u8> {
    pcap(packets.iter().map(|sent| (sent.at_nanos, sent.bytes.len() as u32, sent.bytes.as_slice())), 1)
}

/// Captures below a folder, with their paths.
fn captures_below(folder: &Path, bytes_max: u64) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_capture =
                path.extension().is_some_and(|suffix| ["pcap", "pcapng", "trace", "cap"].iter().any(|known| suffix == *known));
            if path.is_dir() {
                folders.push(path);
            } else if is_capture && path.metadata().unwrap().len() <= bytes_max {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// How many of the captures were compared, and what differs.
fn compare_all(captures: &[PathBuf]) -> (usize, Vec<String>) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (compared, all) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(path) = captures.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let Some(differences) = differences(&fs::read(path).unwrap()) else { continue };
                    compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    all.lock().unwrap().extend(differences.into_iter().map(|text| format!("{}: {text}", path.display())));
                }
            });
        }
    });
    (compared.into_inner(), all.into_inner().unwrap())
}

#[test]
fn recorded_captures_give_the_same_events_wherever_they_are_decoded() {
    let captures = captures_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("captures"), u64::MAX);
    let (compared, different) = compare_all(&captures);
    assert!(compared >= 8, "{compared} captures");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn captures_of_other_projects_give_the_same_events_wherever_they_are_decoded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !folder.is_dir() {
        return skip(Need::Shared, folder.display());
    }
    let captures: Vec<_> =
        ["corpora", "captures", "field", "live"].iter().flat_map(|name| captures_below(&folder.join(name), 8 << 20)).collect();
    let (compared, different) = compare_all(&captures);
    assert!(compared >= 800, "{compared} captures");
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

/// A response whose body has to be read all through: its length is known only from its chunks.
fn in_chunks(length: usize) -> Vec<u8> {
    let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in vec![b'x'; length].chunks(3000) {
        response.extend_from_slice(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    [response, b"0\r\n\r\n".to_vec()].concat()
}

#[test]
fn bodies_in_long_packets_are_whole_though_the_reader_leaves_their_ends_in_the_file() {
    const BODIES: u16 = 200;
    let mut packets = Vec::new();
    for number in 0..BODIES {
        let mut talk = Connection::open(20_000 + number, i64::from(number) * 1_000_000, 40_000, 7, 9);
        let length = 70_000 + usize::from(number) * 1000;
        talk.client(b"GET /bucket/key HTTP/1.1\r\nHost: s\r\n\r\n");
        talk.server(&match number % 2 {
            0 => [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes(), vec![b'x'; length]].concat(),
            _ => in_chunks(length),
        });
        talk.close();
        packets.extend(talk.sent);
    }
    let file = pcap_of(&packets);
    for reading in [Reading::Whole, Reading::Positioned] {
        let (events, lost) = decoded(&file, reading).unwrap();
        let whole = events.iter().filter(|event| matches!(event, Event::Exchange(exchange) if exchange.is_complete())).count();
        assert_eq!((whole, lost), (usize::from(BODIES), 0), "{reading:?}");
        for event in events {
            if let Event::FlowClosed(closed) = event {
                assert_eq!((closed.server.missing, closed.client.missing), (0, 0), "{reading:?}");
            }
        }
    }
    assert_same("long packets", &file);
}

/// One fragment of an IPv4 datagram in an Ethernet frame.
fn fragment(packet: &[u8], id: u16, from: usize, to: usize) -> Vec<u8> {
    let (head, payload) = packet.split_at(34);
    let mut bytes = head.to_vec();
    let piece = &payload[from..to];
    bytes[16..18].copy_from_slice(&((20 + piece.len()) as u16).to_be_bytes());
    bytes[18..20].copy_from_slice(&id.to_be_bytes());
    let more = if to < payload.len() { 0x2000 } else { 0 };
    bytes[20..22].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
    bytes.extend_from_slice(piece);
    bytes
}

fn losses(events: &[Event]) -> Vec<(LossReason, u64, u64)> {
    let lost = events.iter().filter_map(|event| match event {
        Event::Lost(loss) => Some((loss.reason, loss.stamp.frame.number(), loss.bytes)),
        _ => None,
    });
    lost.collect()
}

#[test]
fn what_cannot_be_decoded_is_a_loss_with_its_reason_wherever_it_is_decoded() {
    let request = frame(true, 40_000, 1000, 0, support::ACK, b"GET /b/key HTTP/1.1\r\nHost: s\r\n\r\n");
    let mut nonsense = request.clone();
    nonsense[14] = 0x43;
    let datagram_of = |id, from, to| fragment(&request, id, from, to);
    let packets: Vec<(u32, Vec<u8>)> = vec![
        (0, nonsense.clone()),
        // Cut inside the TCP header.
        (1500, request[..40].to_vec()),
        // Whole again from its fragments: no loss.
        (0, datagram_of(1, 24, request.len() - 34)),
        (0, datagram_of(1, 0, 24)),
        // Never whole.
        (0, datagram_of(2, 0, 24)),
        (0, datagram_of(2, 8, 32)),
        // A fragment of which the capture lacks the end.
        (90, datagram_of(3, 0, 24)[..50].to_vec()),
    ];
    let original = |original: u32, bytes: &[u8]| if original == 0 { bytes.len() as u32 } else { original };
    let file = pcap(packets.iter().zip(1..).map(|((length, bytes), at)| (at, original(*length, bytes), bytes.as_slice())), 1);
    let expected = vec![
        (LossReason::Malformed, 1, nonsense.len() as u64),
        (LossReason::Truncated, 2, 40),
        (LossReason::Truncated, 7, 50),
        (LossReason::Fragment, 5, 48),
    ];
    for (events, lost) in [decoded(&file, Reading::Whole).unwrap(), piped(&file, Reading::Whole, 2).unwrap()] {
        assert_eq!((losses(&events), lost), (expected.clone(), 5));
        assert!(events.iter().any(|event| matches!(event, Event::Exchange(_))), "the request in fragments was read");
    }
    assert_same("losses", &file);
    let unknown = pcap([(1, 60, [7; 60].as_slice())], 220);
    for (events, lost) in [decoded(&unknown, Reading::Whole).unwrap(), piped(&unknown, Reading::Whole, 2).unwrap()] {
        assert_eq!((losses(&events), lost), (vec![(LossReason::LinkType, 1, 60)], 1));
    }
}

#[test]
fn fragments_beyond_what_is_held_are_losses_in_the_order_in_which_they_are_given_up() {
    let request = frame(true, 40_000, 1000, 0, support::ACK, b"GET /b/key HTTP/1.1\r\nHost: s\r\n\r\n");
    let packets: Vec<_> = (0..2000).map(|id| fragment(&request, id, 0, 24)).collect();
    let file = pcap(packets.iter().zip(1..).map(|(bytes, at)| (at, bytes.len() as u32, bytes.as_slice())), 1);
    let (events, lost) = decoded(&file, Reading::Whole).unwrap();
    let expected: Vec<_> = (1..=2000).map(|number| (LossReason::Fragment, number, 24)).collect();
    assert_eq!((losses(&events), lost), (expected, 2000));
    assert_same("fragments", &file);
}

/// Conversations with pauses longer than every time for which a flow waits; then packets are lost, doubled and moved, and clocks jump.
fn disturbed(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut packets = Vec::new();
    for number in 0..40 {
        let start = random.below(20_000_000_000) as i64;
        let mut talk = Connection::open(20_000 + number % 25, start, 700, random.next() as u32, random.next() as u32);
        for _ in 0..random.below(6) {
            talk.client(b"GET /bucket/key HTTP/1.1\r\nHost: s\r\n\r\n");
            talk.wait(random.below(3_000_000_000) as i64);
            let length = random.below(5000) as usize;
            talk.server(
                &[format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes(), vec![b'x'; length]].concat(),
            );
            talk.wait(random.below(900_000_000) as i64);
        }
        if random.below(3) > 0 {
            talk.close();
        } else if random.below(2) > 0 {
            talk.packet(true, support::RST, b"", 0);
        }
        packets.extend(talk.sent);
    }
    packets.sort_by_key(|sent| sent.at_nanos);
    packets.retain(|_| random.below(40) > 0);
    for _ in 0..packets.len() / 20 {
        let (one, other) = (random.below(packets.len() as u64) as usize, random.below(12) as usize);
        let other = (one + other).min(packets.len() - 1);
        packets.swap(one, other);
        let again = packets[one].clone();
        packets.insert(other, again);
    }
    if seed.is_multiple_of(3) {
        for sent in &mut packets {
            sent.at_nanos += random.below(4) as i64 * random.below(700_000_000) as i64;
        }
    }
    pcap_of(&packets)
}

#[test]
fn disturbed_traffic_gives_the_same_events_wherever_it_is_decoded() {
    for seed in 0..60 {
        assert_same(&format!("seed {seed}"), &disturbed(seed));
    }
}
