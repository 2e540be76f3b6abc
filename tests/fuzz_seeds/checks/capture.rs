//! Captures: however a file is read, it has the same packets; and a plain file has those that a simple reader sees.

use std::io::{Cursor, Read};
use std::sync::Arc;

use hopwire::capture::{Batch, FileFormat, Input, PacketSource as _, ReadAt, SavedCapture, SourceSummary, secrets_in};

/// A packet as it came out.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    at: i64,
    number: u64,
    link: u32,
    original: u32,
    bytes: Vec<u8>,
}

/// What a reader made of a file.
struct Read_ {
    packets: Vec<Seen>,
    secrets: Vec<Vec<u8>>,
    names: Vec<String>,
    comments: Vec<String>,
    summary: SourceSummary,
}

/// Gives a few octets at a time.
struct Dribble {
    all: Cursor<Vec<u8>>,
    piece: usize,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.piece);
        self.all.read(&mut buffer[..length])
    }
}

/// A pcap file: the fields of `pcapng`, and a simple reader agrees on the packets.
pub fn pcap(input: &[u8]) {
    let Some(seen) = every_way(input) else { return };
    let plain =
        matches!(seen.summary.format, Some(FileFormat::Pcap | FileFormat::PcapNanos)) && seen.summary.compression.is_none();
    let usual = input.get(..4).is_some_and(|magic| matches!(magic, [0xd4, 0xc3, 0xb2, 0xa1] | [0xa1, 0xb2, 0xc3, 0xd4]));
    let version = input.get(4..8);
    if plain && usual && matches!(version, Some([2, 0, 4, 0] | [0, 2, 0, 4])) {
        let naive = naive_pcap(input);
        let common = naive.len().min(seen.packets.len());
        // The simple reader believes no length that the file cannot hold, and stops there; ours may find its way again.
        assert!(seen.packets.len() >= naive.len(), "{} packets, and {} by a simple reader", seen.packets.len(), naive.len());
        assert!(naive[..common] == seen.packets[..common], "packets differ from those of a simple reader");
    }
}

/// A pcapng file: streamed, in small pieces and with random access it has the same packets, secrets, names and problems.
pub fn pcapng(input: &[u8]) {
    let Some(seen) = every_way(input) else { return };
    if seen.summary.compression.is_none() && seen.summary.problems.is_empty() && seen.summary.format == Some(FileFormat::Pcapng) {
        let whole_file: Arc<dyn ReadAt> = Arc::new(input.to_vec());
        let secrets: Vec<_> = secrets_in(whole_file.as_ref()).unwrap().iter().map(|secret| secret.expose().to_vec()).collect();
        assert!(secrets == seen.secrets, "a scan for secrets finds others than reading does");
    }
}

fn every_way(input: &[u8]) -> Option<Read_> {
    let streamed = read(input, usize::MAX, false);
    let piece = usize::from(input.last().copied().unwrap_or(0)) % 61 + 1;
    for (way, other) in [("in pieces", read(input, piece, false)), ("with random access", read(input, usize::MAX, true))] {
        match (&streamed, other) {
            (Ok(one), Ok(other)) => {
                assert!(one.packets == other.packets, "packets differ {way}");
                assert!(one.secrets == other.secrets, "secrets differ {way}");
                assert_eq!(one.names, other.names, "names {way}");
                assert_eq!(one.comments, other.comments, "comments {way}");
                assert_eq!(format!("{:?}", one.summary), format!("{:?}", other.summary), "summary {way}");
            }
            (Err(one), Err(other)) => assert_eq!(*one, other, "errors {way}"),
            (Ok(_), Err(other)) => panic!("{way} it cannot be opened: {other}"),
            (Err(one), Ok(_)) => panic!("only {way} it can be opened: {one}"),
        }
    }
    let seen = streamed.ok()?;
    assert_eq!(seen.summary.packets, seen.packets.len() as u64);
    assert!(seen.packets.windows(2).all(|pair| pair[0].number < pair[1].number), "frame numbers go up");
    if seen.summary.compression.is_none() {
        let held: usize = seen.packets.iter().map(|packet| packet.bytes.len()).sum();
        assert!(held <= input.len(), "{held} octets of packets in a file of {}", input.len());
    }
    Some(seen)
}

fn read(input: &[u8], piece: usize, is_positioned: bool) -> Result<Read_, String> {
    let positioned: Option<Arc<dyn ReadAt>> = if is_positioned { Some(Arc::new(input.to_vec())) } else { None };
    let stream = Box::new(Dribble { all: Cursor::new(input.to_vec()), piece });
    let mut capture =
        SavedCapture::open(vec![Input { name: "input".to_owned(), stream, positioned }]).map_err(|error| error.to_string())?;
    let (mut packets, mut secrets, mut names, mut comments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut batch = Batch::new();
    let mut ordinal = 0;
    while capture.read_batch(&mut batch).map_err(|error| error.to_string())? {
        for (index, packet) in batch.packets().enumerate() {
            ordinal += 1;
            assert_eq!(packet.ordinal, ordinal);
            let mut bytes = Vec::new();
            batch.read_tail(index, 0, &mut bytes);
            assert_eq!(bytes.len(), packet.captured as usize, "all captured octets are there");
            assert!(bytes.starts_with(packet.bytes));
            packets.push(Seen {
                at: packet.at.as_nanos(),
                number: packet.frame.number(),
                link: packet.link.0,
                original: packet.original,
                bytes,
            });
        }
        secrets.extend(batch.secrets().iter().map(|secret| secret.expose().to_vec()));
        names.extend(batch.names().iter().map(|name| format!("{name:?}")));
        comments.extend(batch.comments().iter().map(|comment| format!("{comment:?}")));
    }
    let summary = capture.sources().pop().unwrap_or_default();
    Ok(Read_ { packets, secrets, names, comments, summary })
}

/// The records of a pcap file of version 2.4 with microseconds, up to the first that is cut or has a strange length.
fn naive_pcap(file: &[u8]) -> Vec<Seen> {
    let big = file[0] == 0xa1;
    let word = |at: usize| {
        let octets: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    };
    let mut seen = Vec::new();
    let Some(link) = word(20) else { return seen };
    let mut at = 24;
    while let (Some(seconds), Some(micros), Some(captured), Some(original)) =
        (word(at), word(at + 4), word(at + 8), word(at + 12))
    {
        let Some(bytes) = file.get(at + 16..at + 16 + captured as usize).filter(|_| captured <= 0x0004_0000) else { break };
        let nanos = i64::from(seconds) * 1_000_000_000 + i64::from(micros) * 1000;
        let number = seen.len() as u64 + 1;
        seen.push(Seen { at: nanos, number, link: link & 0xffff, original, bytes: bytes.to_vec() });
        at += 16 + bytes.len();
    }
    seen
}
