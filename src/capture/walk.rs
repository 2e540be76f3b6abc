//! What the three formats have in common: a walk over the records of a window, in place.

use crate::capture::batch::{Found, Record};
use crate::capture::pcap::Pcap;
use crate::capture::pcapng::Pcapng;
use crate::capture::snoop::Snoop;
use crate::capture::{Damage, SourceSummary};

/// A file format and its state.
pub(super) enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
    Snoop(Snoop),
}

/// What a walk reads and where it puts what it finds.
pub(super) struct Walk<'a> {
    /// The bytes in memory.
    pub(super) window: &'a [u8],
    /// Where in the window the next record begins.
    pub(super) at: usize,
    /// Where the next record begins in the file.
    pub(super) position: u64,
    pub(super) found: &'a mut Found,
    pub(super) summary: &'a mut SourceSummary,
}

/// Why a walk stopped.
pub(super) enum Stop {
    /// The window ends within a record that has this many bytes at least.
    Partial(usize),
    /// No record can begin like this.
    Damage(Damage),
}

/// A packet of which the window holds the first bytes only.
pub(super) struct Jump {
    /// The record, with `offset` and `held` still to be set.
    pub(super) record: Record,
    /// Bytes of its header in the file.
    pub(super) header_bytes: usize,
    /// Bytes at the end of the record that have to be seen before it is believed: `check_back` bytes of the packet itself,
    /// then what follows the packet.
    pub(super) check_back: usize,
    pub(super) rest_bytes: usize,
}

/// What stands at a place where a record might begin.
pub(super) enum Look {
    /// None.
    Nothing,
    /// A record up to here, captured at this time where it has one.
    Record { end: usize, at: Option<i64> },
}

impl Format {
    /// Walks over all whole records of the window.
    pub(super) fn walk(&mut self, walk: &mut Walk<'_>) -> Stop {
        match self {
            Self::Pcap(pcap) => pcap.walk(walk),
            Self::Pcapng(pcapng) => pcapng.walk(walk),
            Self::Snoop(snoop) => snoop.walk(walk),
        }
    }

    /// Looks at the record at the start of `bytes`, which holds its first bytes; `None` where it cannot be jumped.
    pub(super) fn peek(&self, bytes: &[u8]) -> Option<Jump> {
        match self {
            Self::Pcap(pcap) => pcap.peek(bytes),
            Self::Pcapng(pcapng) => pcapng.peek(bytes),
            Self::Snoop(_) => None,
        }
    }

    /// Checks the end of a record that was jumped; `rest` begins where [`Jump::check_back`] says.
    pub(super) fn check(&mut self, jump: &Jump, rest: &[u8], found: &mut Found) -> bool {
        match self {
            Self::Pcap(_) => rest.len() >= jump.check_back + jump.rest_bytes,
            Self::Pcapng(pcapng) => pcapng.check(jump, rest, found),
            Self::Snoop(_) => false,
        }
    }

    /// Whether a record may begin at `at`.
    pub(super) fn look(&self, window: &[u8], at: usize) -> Look {
        match self {
            Self::Pcap(pcap) => pcap.look(window, at),
            Self::Pcapng(pcapng) => pcapng.look(window, at),
            Self::Snoop(snoop) => snoop.look(window, at),
        }
    }

    /// How many records in a row make a place believable after damage. Blocks of pcapng say their length twice.
    pub(super) const fn chain(&self) -> usize {
        match self {
            Self::Pcap(_) | Self::Snoop(_) => 4,
            Self::Pcapng(_) => 2,
        }
    }
}

impl Walk<'_> {
    /// The bytes from the next record on.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        self.window.get(self.at..).unwrap_or_default()
    }

    /// Passes over some bytes.
    #[inline]
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.position += bytes as u64;
    }
}

/// Four bytes as a number.
#[inline]
pub(super) fn word(bytes: [u8; 4], big: bool) -> u32 {
    if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// The number at an offset, where there are four bytes.
#[inline]
pub(super) fn word_at(bytes: &[u8], offset: usize, big: bool) -> Option<u32> {
    Some(word(*bytes.get(offset..)?.first_chunk()?, big))
}

/// The number at an offset, where there are two bytes.
#[inline]
pub(super) fn half_at(bytes: &[u8], offset: usize, big: bool) -> Option<u16> {
    let pair = *bytes.get(offset..)?.first_chunk()?;
    Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
}

/// Bytes of one record or block: what is longer is damage.
pub(super) const RECORD_BYTES_MAX: u32 = 16 << 20;

/// Bytes of a packet that no capture exceeds without saying so (the largest snap length of tcpdump and Wireshark).
pub(super) const PACKET_BYTES_USUAL: u32 = 262_144;

/// How far apart the times of records in a row may lie to be believed after damage.
pub(super) const NEAR_NANOS: i64 = 86_400_000_000_000;
