//! The snoop format of Solaris (RFC 1761): big-endian, with the length of a record beside that of its packet.

use crate::capture::batch::Record;
use crate::capture::walk::{Look, PACKET_BYTES_USUAL, RECORD_BYTES_MAX, Stop, Walk, word_at};
use crate::capture::{Damage, SourceSummary};

/// A snoop file.
pub(super) struct Snoop {
    link: u16,
}

struct Header {
    at: i64,
    original: u32,
    captured: u32,
    length: u32,
    drops: u32,
    micros: u32,
}

impl Snoop {
    /// Reads the file header; gives its length too.
    pub(super) fn open(first: &[u8]) -> Option<(Self, usize)> {
        let is_snoop = first.starts_with(MAGIC) && word_at(first, 8, true)? == 2;
        is_snoop.then_some((Self { link: link_type(word_at(first, 12, true)?) }, 16))
    }

    /// The link type of all packets.
    pub(super) const fn link(&self) -> u16 {
        self.link
    }

    pub(super) fn walk(&self, walk: &mut Walk<'_>) -> Stop {
        loop {
            let Some(header) = walk.rest().first_chunk().map(header) else { return Stop::Partial(HEADER_BYTES) };
            if header.length > RECORD_BYTES_MAX || header.length < HEADER_BYTES as u32 {
                return Stop::Damage(Damage::RecordLength(header.length));
            }
            if header.captured > header.length - HEADER_BYTES as u32 {
                return Stop::Damage(Damage::PacketLength(header.captured));
            }
            let length = header.length as usize;
            if walk.rest().len() < length {
                return Stop::Partial(length);
            }
            walk.found.records.push(Record {
                at: header.at,
                offset: (walk.at + HEADER_BYTES) as u32,
                held: header.captured,
                captured: header.captured,
                original: header.original,
                number: walk.found.next_number,
                link: self.link,
                interface: 0,
            });
            walk.found.next_number += 1;
            count_drops(walk.summary, header.drops);
            walk.advance(length);
        }
    }

    pub(super) fn look(&self, window: &[u8], at: usize) -> Look {
        let Some(header) = window.get(at..).and_then(<[u8]>::first_chunk).map(header) else { return Look::Nothing };
        let padding = header.length.checked_sub(HEADER_BYTES as u32).and_then(|rest| rest.checked_sub(header.captured));
        let believed = header.captured > 0
            && header.captured <= header.original
            && header.original <= PACKET_BYTES_USUAL
            && header.micros < 1_000_000
            && padding.is_some_and(|padding| padding < 8);
        if !believed {
            return Look::Nothing;
        }
        Look::Record { end: at + header.length as usize, at: Some(header.at) }
    }
}

fn header(bytes: &[u8; HEADER_BYTES]) -> Header {
    let field = |index: usize| word_at(bytes, index * 4, true).unwrap_or(0);
    let micros = field(5);
    Header {
        at: i64::from(field(4)) * 1_000_000_000 + i64::from(micros) * 1000,
        original: field(0),
        captured: field(1),
        length: field(2),
        drops: field(3),
        micros,
    }
}

/// The count of drops is cumulative.
fn count_drops(summary: &mut SourceSummary, drops: u32) {
    if drops > 0
        && let Some(interface) = summary.interfaces.first_mut()
    {
        interface.dropped = interface.dropped.max(Some(u64::from(drops)));
    }
}

/// The link type for snoop's own number; one that nobody uses for those without.
const fn link_type(number: u32) -> u16 {
    match number {
        0 | 4 => 1,
        2 => 6,
        8 => 10,
        _ => u16::MAX,
    }
}

/// Whether the first bytes are those of a snoop file.
pub(super) fn is_snoop(first: &[u8]) -> bool {
    first.first_chunk::<8>() == Some(MAGIC)
}

const MAGIC: &[u8; 8] = b"snoop\0\0\0";
const HEADER_BYTES: usize = 24;
