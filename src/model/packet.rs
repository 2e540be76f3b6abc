//! A captured packet, before anything is known of its contents.

use crate::model::{Frame, Timestamp};

/// A link-layer header type (`LINKTYPE_` value of the capture file formats).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

/// One captured packet.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    /// Its number among all packets of the run, from 1: the order in which results are given.
    pub ordinal: u64,
    /// Its file and number in it.
    pub frame: Frame,
    /// Capture time.
    pub at: Timestamp,
    /// How `bytes` start.
    pub link: LinkType,
    /// The captured bytes, or the first of them where the reader left the rest in the file; then `tail` reads them.
    pub bytes: &'a [u8],
    /// How many bytes the capture holds.
    pub captured: u32,
    /// How many bytes were on the wire.
    pub original: u32,
    /// Reads the captured bytes that are not in `bytes`.
    pub tail: Tail<'a>,
}

impl Packet<'_> {
    /// Whether all captured bytes are in `bytes`.
    pub const fn is_whole(&self) -> bool {
        self.bytes.len() >= self.captured as usize
    }

    /// All captured bytes: those at hand, or where some were left in the file all of them in `buffer`. Fewer than `captured`
    /// only where the file changed since.
    pub fn whole<'b>(&'b self, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        if self.is_whole() {
            return self.bytes;
        }
        match self.tail.read(0, buffer) {
            read if read > self.bytes.len() => buffer,
            _ => self.bytes,
        }
    }
}

/// Something that holds packets and can read the bytes of each that it left in a file.
pub trait ReadTail: Sync {
    /// Replaces `buffer` by the captured bytes of the packet with that index from `offset` on; gives how many there are.
    fn read_tail(&self, index: usize, offset: u32, buffer: &mut Vec<u8>) -> usize;
}

/// The reader of one packet's bytes; of a packet that is in memory it is empty.
#[derive(Clone, Copy, Default)]
pub struct Tail<'a> {
    source: Option<(&'a dyn ReadTail, usize)>,
}

impl<'a> Tail<'a> {
    /// All captured bytes are in [`Packet::bytes`].
    pub const NONE: Self = Self { source: None };

    /// The bytes of the packet with that index.
    #[inline]
    pub const fn new(source: &'a dyn ReadTail, index: usize) -> Self {
        Self { source: Some((source, index)) }
    }

    /// Replaces `buffer` by the packet's captured bytes from `offset` on; gives how many there are.
    pub fn read(&self, offset: u32, buffer: &mut Vec<u8>) -> usize {
        buffer.clear();
        self.source.map_or(0, |(source, index)| source.read_tail(index, offset, buffer))
    }
}
