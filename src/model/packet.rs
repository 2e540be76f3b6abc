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
    /// The captured bytes, or the first of them where `tail` is given.
    pub bytes: &'a [u8],
    /// How many bytes the capture holds.
    pub captured: u32,
    /// How many bytes were on the wire.
    pub original: u32,
}

/// Reads captured bytes that the reader left in the file (see `Packet::captured`).
pub trait ReadTail {
    /// Reads the bytes of a packet's capture from `offset` on into `buffer`; gives how many there were.
    fn read_tail(&self, offset: u32, buffer: &mut Vec<u8>) -> usize;
}
