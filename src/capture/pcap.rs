//! The pcap format in all its variants: a file header, then records of a short header and the packet.

use crate::capture::Damage;
use crate::capture::batch::Record;
use crate::capture::walk::{Jump, Look, PACKET_BYTES_USUAL, RECORD_BYTES_MAX, Stop, Walk, half_at, word, word_at};

/// How the records of one file are to be read.
pub(super) struct Pcap {
    big: bool,
    /// Bytes before the packet: 16, or 24 and 28 in the variants of Kuznetsov's patch.
    header_bytes: usize,
    /// Nanoseconds in a unit of the fraction.
    unit: i64,
    link: u16,
    /// The longest packet that is believed.
    captured_max: u32,
    /// Whether the two lengths may stand in the other order (before version 2.4).
    lengths_loose: bool,
}

impl Pcap {
    /// Reads the file header; gives its length too. `None` where it is cut or has another magic number.
    pub(super) fn open(first: &[u8]) -> Option<(Self, usize)> {
        let magic = word_at(first, 0, false)?;
        let (magic, big) = if is_magic(magic) { (magic, false) } else { (magic.swap_bytes(), true) };
        if !is_magic(magic) {
            return None;
        }
        let (major, minor) = (half_at(first, 4, big)?, half_at(first, 6, big)?);
        let snap_length = word_at(first, 16, big)?;
        let network = word_at(first, 20, big)?;
        // Only the lower half is the link type; the upper one tells the length of the frame check sequence.
        let mut link = network as u16;
        let mut unit = if matches!(magic, MAGIC_NANOS | MAGIC_IXIA_HARDWARE) { 1 } else { 1000 };
        if let (MAGIC, 2, 2, Some(aix)) = (magic, major, minor, aix_link(network)) {
            link = aix;
            unit = 1;
        }
        let header_length = if matches!(magic, MAGIC_IXIA_HARDWARE | MAGIC_IXIA_SOFTWARE) { 28 } else { 24 };
        let mut pcap = Self {
            big,
            header_bytes: 16,
            unit,
            link,
            captured_max: snap_length.clamp(PACKET_BYTES_USUAL, RECORD_BYTES_MAX),
            lengths_loose: (major, minor) < (2, 4) || major == 543,
        };
        if magic == MAGIC_MODIFIED {
            pcap.header_bytes = pcap.modified_header_bytes(first.get(header_length..)?);
        }
        first.get(..header_length)?;
        Some((pcap, header_length))
    }

    /// The link type of all packets.
    pub(super) const fn link(&self) -> u16 {
        self.link
    }

    /// Whether times have nanoseconds.
    pub(super) const fn has_nanos(&self) -> bool {
        self.unit == 1
    }

    pub(super) fn walk(&self, walk: &mut Walk<'_>) -> Stop {
        // Local copies keep the loop free of memory traffic beyond the records themselves.
        let window = walk.window;
        let start = walk.at;
        let mut at = start;
        let stop = loop {
            let Some(header) = window.get(at..).and_then(<[u8]>::first_chunk::<16>) else {
                break Stop::Partial(self.header_bytes);
            };
            let (nanos, captured, original) = self.fields(header);
            if captured > self.captured_max {
                break Stop::Damage(Damage::RecordLength(captured));
            }
            let packet = at + self.header_bytes;
            let end = packet + captured as usize;
            if end > window.len() {
                break Stop::Partial(end - at);
            }
            walk.found.records.push(Record {
                at: nanos,
                offset: packet as u32,
                held: captured,
                captured,
                original,
                number: walk.found.next_number,
                link: self.link,
                interface: 0,
            });
            walk.found.next_number += 1;
            at = end;
        };
        walk.advance(at - start);
        stop
    }

    pub(super) fn peek(&self, bytes: &[u8]) -> Option<Jump> {
        let (at, captured, original) = self.fields(bytes.first_chunk()?);
        let record = Record { at, offset: 0, held: 0, captured, original, number: 0, link: self.link, interface: 0 };
        // Nothing follows the packet, so its own last byte has to be seen.
        let believed = captured <= self.captured_max && captured > 0;
        believed.then_some(Jump { record, header_bytes: self.header_bytes, check_back: 1, rest_bytes: 0 })
    }

    pub(super) fn look(&self, window: &[u8], at: usize) -> Look {
        let Some(header) = window.get(at..).and_then(<[u8]>::first_chunk::<16>) else { return Look::Nothing };
        let [_, _, _, _, fraction @ ..] = header;
        let fraction = fraction.first_chunk().map_or(u32::MAX, |bytes| word(*bytes, self.big));
        let (nanos, captured, original) = self.fields(header);
        let believed = captured > 0
            && captured <= original
            && original <= PACKET_BYTES_USUAL
            && i64::from(fraction).saturating_mul(self.unit) < 1_000_000_000;
        if !believed {
            return Look::Nothing;
        }
        Look::Record { end: at + self.header_bytes + captured as usize, at: Some(nanos) }
    }

    /// Time, captured and original length.
    #[inline]
    fn fields(&self, header: &[u8; 16]) -> (i64, u32, u32) {
        let [s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = *header;
        let seconds = i64::from(word([s0, s1, s2, s3], self.big));
        let fraction = i64::from(word([f0, f1, f2, f3], self.big));
        let captured = word([c0, c1, c2, c3], self.big);
        let original = word([o0, o1, o2, o3], self.big);
        // 2^32 seconds and 2^32 units are far from the limits of 64 bits.
        let nanos = seconds * 1_000_000_000 + fraction * self.unit;
        if self.lengths_loose && captured > original {
            return (nanos, original, captured);
        }
        (nanos, captured, original)
    }

    /// The two variants of the patch share their magic number; the one that makes more records in a row is right.
    fn modified_header_bytes(&self, records: &[u8]) -> usize {
        let chain = |header_bytes: usize| {
            let tried = Self { header_bytes, ..*self };
            let (mut at, mut count) = (0, 0);
            while let Look::Record { end, .. } = tried.look(records, at) {
                (at, count) = (end, count + 1);
            }
            count
        };
        if chain(28) > chain(24) { 28 } else { 24 }
    }
}

/// Whether the first four bytes are those of a pcap file, in either byte order.
pub(super) fn is_pcap(first: &[u8]) -> bool {
    word_at(first, 0, false).is_some_and(|magic| is_magic(magic) || is_magic(magic.swap_bytes()))
}

const fn is_magic(magic: u32) -> bool {
    matches!(magic, MAGIC | MAGIC_NANOS | MAGIC_MODIFIED | MAGIC_IXIA_HARDWARE | MAGIC_IXIA_SOFTWARE)
}

/// The link type for the interface type (RFC 1573) that AIX writes in its place.
const fn aix_link(network: u32) -> Option<u16> {
    match network {
        6 => Some(1),
        9 => Some(6),
        15 => Some(10),
        24 => Some(0),
        _ => None,
    }
}

const MAGIC: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Kuznetsov's patched libpcap.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;
const MAGIC_IXIA_HARDWARE: u32 = 0x1c00_01ac;
const MAGIC_IXIA_SOFTWARE: u32 = 0x1c00_01ab;
