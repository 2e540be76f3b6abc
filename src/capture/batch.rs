//! A batch of packets: one buffer that holds their bytes, and compact records that point into it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::capture::ReadAt;
use crate::capture::bytes::{copy_front, fill_at};
use crate::model::{Endpoint, Frame, LinkType, Packet, ReadTail, Secret, Tail, Timestamp};

/// Packets that were read together, with what else stood between them. Made once and filled again and again.
pub struct Batch {
    /// The bytes; all of it is initialised, what is valid is known by the records.
    pub(super) buffer: Vec<u8>,
    /// How many bytes of buffer are filled at a time.
    pub(super) target_bytes: usize,
    /// How many it is of short records, and of long ones.
    targets_bytes: [usize; 2],
    pub(super) found: Found,
    pub(super) first_ordinal: u64,
    /// Frames of packets from several files; empty where all are from one file.
    frames: Vec<Frame>,
    /// What time it was when it was filled, where the source has a clock.
    now: Option<Timestamp>,
    /// Bytes of `buffer` in use, where packets are appended one by one.
    used_bytes: usize,
    files: Arc<[Option<Arc<dyn ReadAt>>]>,
}

/// What walking over a window found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    /// Records whose last bytes were left in the file, in order.
    pub(super) left: Vec<Left>,
    pub(super) secrets: Vec<Secret>,
    pub(super) names: Vec<(IpAddr, String)>,
    pub(super) hop_names: Vec<(Endpoint, String)>,
    pub(super) comments: Vec<(Frame, String)>,
    /// The file they are from.
    pub(super) file: u16,
    /// The frame number to which `Record::number` is added.
    pub(super) first_number: u64,
    /// The number of the next record, counted from `first_number`.
    pub(super) next_number: u32,
}

/// Where one packet stands.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) at: i64,
    /// Where its bytes begin in the buffer.
    pub(super) offset: u32,
    /// How many of its bytes are in the buffer.
    pub(super) held: u32,
    pub(super) captured: u32,
    pub(super) original: u32,
    /// Its frame number, counted from `Found::first_number`.
    pub(super) number: u32,
    pub(super) link: u16,
    pub(super) interface: u16,
}

/// Where the bytes of a record stand that is not wholly in the buffer.
#[derive(Clone, Copy)]
pub(super) struct Left {
    /// The record's index in the batch.
    pub(super) index: u32,
    pub(super) file: u16,
    /// Where its first byte stands in the file.
    pub(super) position: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch of 256 KiB: it stays in the second-level cache while it is decoded.
    pub fn new() -> Self {
        Self { targets_bytes: [BATCH_BYTES, BULK_BATCH_BYTES], ..Self::with_target(BATCH_BYTES) }
    }

    /// How many packets it holds.
    pub fn len(&self) -> usize {
        self.found.records.len()
    }

    /// Whether it holds no packet.
    pub fn is_empty(&self) -> bool {
        self.found.records.is_empty()
    }

    /// One packet; beyond the last, an empty one with ordinal 0.
    #[inline]
    pub fn packet(&self, index: usize) -> Packet<'_> {
        self.found.records.get(index).map_or(NO_PACKET, |record| self.view(index, record))
    }

    /// The ordinal of the packet at that index.
    pub const fn ordinal(&self, index: usize) -> u64 {
        self.first_ordinal + index as u64
    }

    /// The ordinal of the last packet.
    pub fn last_ordinal(&self) -> Option<u64> {
        self.len().checked_sub(1).map(|last| self.first_ordinal + last as u64)
    }

    /// The packets, in order.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.found.records.iter().enumerate().map(|(index, record)| self.view(index, record))
    }

    /// Whether all captured bytes of a packet are here, and none was left in the file.
    pub fn is_whole(&self, index: usize) -> bool {
        self.found.records.get(index).is_none_or(|record| record.held == record.captured)
    }

    /// Replaces `buffer` by the captured bytes of a packet from `offset` on, also those that were left in the file; gives how
    /// many there are. Fewer than [`Packet::captured`] promises only where the file changed meanwhile.
    pub fn read_tail(&self, index: usize, offset: u32, buffer: &mut Vec<u8>) -> usize {
        buffer.clear();
        let Some(record) = self.found.records.get(index) else { return 0 };
        let held = self.view(index, record).bytes;
        buffer.extend_from_slice(held.get(offset as usize..).unwrap_or_default());
        let Some((left, file)) = self.left_of(index) else { return buffer.len() };
        let missing_from = record.held.max(offset);
        let missing = record.captured.saturating_sub(missing_from) as usize;
        let start = buffer.len();
        // `captured` was checked against the file when the record was read, so this is memory the file really fills.
        buffer.resize(start + missing, 0);
        let position = left.position.saturating_add(u64::from(missing_from));
        let filled = fill_at(file, position, buffer.get_mut(start..).unwrap_or_default());
        buffer.truncate(start + filled.bytes);
        buffer.len()
    }

    /// The interface of a packet: its place in [`crate::capture::SourceSummary::interfaces`] of its file.
    pub fn interface(&self, index: usize) -> usize {
        self.found.records.get(index).map_or(0, |record| usize::from(record.interface))
    }

    /// TLS secrets that stood between the packets. They are known before any packet of this batch is decoded.
    pub fn secrets(&self) -> &[Secret] {
        &self.found.secrets
    }

    /// Names of addresses that stood between the packets.
    pub fn names(&self) -> &[(IpAddr, String)] {
        &self.found.names
    }

    /// Names of hops by their servers that stood between the packets.
    pub fn hop_names(&self) -> &[(Endpoint, String)] {
        &self.found.hop_names
    }

    /// Comments on packets; those on a whole section have frame number 0.
    pub fn comments(&self) -> &[(Frame, String)] {
        &self.found.comments
    }

    pub(super) fn with_target(target_bytes: usize) -> Self {
        Self {
            buffer: vec![0; target_bytes],
            target_bytes,
            targets_bytes: [target_bytes; 2],
            found: Found::default(),
            first_ordinal: 1,
            frames: Vec::new(),
            now: None,
            used_bytes: 0,
            files: Arc::new([]),
        }
    }

    /// Of long records little is looked at: more of them are taken at a time, so that handing them on costs less. Only the file
    /// decides, and not what the batch held before: where batches end must not depend on which one is used.
    pub(super) fn aim(&mut self, is_bulk: bool) {
        let [short, long] = self.targets_bytes;
        self.target_bytes = if is_bulk { long } else { short };
        if self.buffer.len() < self.target_bytes {
            self.buffer.resize(self.target_bytes, 0);
        }
    }

    /// Forgets all packets. Memory beyond the target (from one big record) is given back.
    pub(super) fn clear(&mut self, files: &Arc<[Option<Arc<dyn ReadAt>>]>, first_ordinal: u64) {
        self.found.clear();
        self.frames.clear();
        self.used_bytes = 0;
        self.first_ordinal = first_ordinal;
        if !Arc::ptr_eq(&self.files, files) {
            self.files = Arc::clone(files);
        }
        let bytes_max = self.targets_bytes.into_iter().fold(0, usize::max);
        if self.buffer.len() > bytes_max {
            self.buffer.truncate(bytes_max);
            self.buffer.shrink_to(bytes_max);
        }
    }

    /// Appends a copy of a packet of another batch; `false` if it does not fit any more.
    pub(super) fn append(&mut self, from: &Self, index: usize) -> bool {
        let Some(record) = from.found.records.get(index) else { return true };
        let packet = from.view(index, record);
        let end = self.used_bytes + packet.bytes.len();
        if end > self.buffer.len() {
            if !self.is_empty() {
                return false;
            }
            // One record longer than the buffer: those bytes are in memory already.
            self.buffer.resize(end, 0);
        }
        let to = self.buffer.get_mut(self.used_bytes..end).unwrap_or_default();
        let (_, _) = copy_front(packet.bytes, to);
        if let Some((left, _)) = from.left_of(index) {
            self.found.left.push(Left { index: self.found.records.len() as u32, ..left });
        }
        self.found.records.push(Record { offset: self.used_bytes as u32, ..*record });
        self.frames.push(packet.frame);
        self.used_bytes = end;
        true
    }

    /// Forgets all packets, to be filled by [`Batch::push`]: the next packet has these numbers.
    pub fn begin(&mut self, file: u16, next_number: u64, next_ordinal: u64) {
        self.found.clear();
        self.frames.clear();
        self.used_bytes = 0;
        self.first_ordinal = next_ordinal;
        self.found.file = file;
        self.found.first_number = next_number;
        self.found.next_number = 0;
        if self.buffer.len() > self.target_bytes.saturating_mul(PUSHED_MAX) {
            self.buffer.truncate(self.target_bytes);
            self.buffer.shrink_to(self.target_bytes);
        }
    }

    /// Appends a packet that was just captured; it grows where it has to. `original` is its length on the wire, and `interface`
    /// its interface's place in [`crate::capture::SourceSummary::interfaces`].
    #[inline]
    pub fn push(&mut self, at: Timestamp, link: LinkType, interface: u16, original: u32, bytes: &[u8]) {
        let end = self.used_bytes + bytes.len();
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        if let Some(place) = self.buffer.get_mut(self.used_bytes..end) {
            place.copy_from_slice(bytes);
        }
        let length = bytes.len() as u32;
        self.found.records.push(Record {
            at: at.as_nanos(),
            offset: self.used_bytes as u32,
            held: length,
            captured: length,
            original,
            number: self.found.next_number,
            link: u16::try_from(link.0).unwrap_or(u16::MAX),
            interface,
        });
        self.found.next_number += 1;
        self.used_bytes = end;
    }

    /// Takes the bytes of packets that are to be appended by [`Batch::push_range`], and gives those that it held, to be used
    /// again. Nothing is copied.
    pub fn swap_bytes(&mut self, bytes: &mut Vec<u8>) {
        std::mem::swap(&mut self.buffer, bytes);
        self.used_bytes = self.buffer.len();
    }

    /// Appends a packet whose bytes are a range of those that [`Batch::swap_bytes`] took.
    pub fn push_range(&mut self, at: Timestamp, link: LinkType, interface: u16, range: std::ops::Range<usize>) {
        let length = range.end.saturating_sub(range.start) as u32;
        self.found.records.push(Record {
            at: at.as_nanos(),
            offset: range.start as u32,
            held: length,
            captured: length,
            original: length,
            number: self.found.next_number,
            link: u16::try_from(link.0).unwrap_or(u16::MAX),
            interface,
        });
        self.found.next_number += 1;
    }

    /// Notes what time it is: live, time goes on where no packets come.
    pub const fn set_now(&mut self, now: Timestamp) {
        self.now = Some(now);
    }

    /// What time it was when it was filled; `None` where the source has no clock but that of its packets.
    pub const fn now(&self) -> Option<Timestamp> {
        self.now
    }

    /// Appends a secret that became known; it holds for the packets of this batch too.
    pub fn push_secret(&mut self, secret: Secret) {
        self.found.secrets.push(secret);
    }

    /// Appends the name of an address.
    pub fn push_name(&mut self, address: IpAddr, name: &str) {
        self.found.name(address, name.as_bytes());
    }

    /// Appends the name of the hop that leads to a server, where who fills the batch knows it.
    pub fn push_hop_name(&mut self, server: Endpoint, name: &str) {
        self.found.hop_names.push((server, name.to_owned()));
    }

    /// How many bytes there is room for, before a batch that is filled by [`Batch::push`] is full.
    pub fn room(&self) -> usize {
        self.target_bytes.saturating_sub(self.used_bytes)
    }

    /// Puts pushed packets in the order of time and numbers them anew.
    pub fn sort_by_time(&mut self) {
        if self.found.records.is_sorted_by_key(|record| record.at) {
            return;
        }
        self.found.records.sort_by_key(|record| record.at);
        for (number, record) in self.found.records.iter_mut().enumerate() {
            record.number = number as u32;
        }
    }

    #[inline]
    fn view(&self, index: usize, record: &Record) -> Packet<'_> {
        let start = record.offset as usize;
        let frame = match self.frames.get(index) {
            Some(frame) => *frame,
            None => self.found.frame(record.number),
        };
        Packet {
            ordinal: self.first_ordinal + index as u64,
            frame,
            at: Timestamp::from_nanos(record.at),
            link: LinkType(u32::from(record.link)),
            bytes: self.buffer.get(start..start + record.held as usize).unwrap_or_default(),
            captured: record.captured,
            original: record.original,
            tail: Tail::new(self, index),
        }
    }

    fn left_of(&self, index: usize) -> Option<(Left, &dyn ReadAt)> {
        let place = self.found.left.binary_search_by_key(&index, |left| left.index as usize).ok()?;
        let left = *self.found.left.get(place)?;
        let file = self.files.get(usize::from(left.file))?.as_deref()?;
        Some((left, file))
    }
}

impl Found {
    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.secrets.is_empty() && self.names.is_empty() && self.comments.is_empty()
    }

    /// The frame of a record by its number in this batch.
    pub(super) fn frame(&self, number: u32) -> Frame {
        Frame::new(self.file, self.first_number + u64::from(number))
    }

    /// The number, in its file, of the record that comes next.
    pub(super) fn number(&self) -> u64 {
        self.first_number + u64::from(self.next_number)
    }

    /// Takes the number of a record that is no packet.
    pub(super) fn pass(&mut self) {
        self.next_number += 1;
    }

    /// Adds a comment on a frame, where there is still room for comments.
    pub(super) fn comment(&mut self, frame: Frame, text: &[u8]) {
        if self.comments.len() < COMMENTS_MAX {
            self.comments.push((frame, bounded_text(text, COMMENT_BYTES_MAX)));
        }
    }

    /// Adds the name of an address, where there is still room for names.
    pub(super) fn name(&mut self, address: IpAddr, text: &[u8]) {
        if self.names.len() < NAMES_MAX {
            self.names.push((address, bounded_text(text, NAME_BYTES_MAX)));
        }
    }

    /// Moves secrets, names and comments (not the packets) of another batch here.
    pub(super) fn take_rest(&mut self, from: &mut Self) {
        self.secrets.append(&mut from.secrets);
        self.names.append(&mut from.names);
        self.comments.append(&mut from.comments);
    }

    fn clear(&mut self) {
        self.records.clear();
        self.left.clear();
        self.secrets.clear();
        self.names.clear();
        self.hop_names.clear();
        self.comments.clear();
    }
}

impl ReadTail for Batch {
    fn read_tail(&self, index: usize, offset: u32, buffer: &mut Vec<u8>) -> usize {
        Self::read_tail(self, index, offset, buffer)
    }
}

/// Text of a file, cut to a bound, with what is not UTF-8 replaced.
pub(super) fn bounded_text(text: &[u8], bytes_max: usize) -> String {
    let cut = text.get(..bytes_max).unwrap_or(text);
    String::from_utf8_lossy(cut).into_owned()
}

/// Bytes of a batch: measured best between 64 KiB and 1 MiB, where it fits the second-level cache.
pub(super) const BATCH_BYTES: usize = 256 << 10;

/// Bytes of a batch of long records.
const BULK_BATCH_BYTES: usize = 1 << 20;

/// A pushed batch may hold so many times its target until its memory is given back.
const PUSHED_MAX: usize = 4;

/// Comments kept of one batch.
const COMMENTS_MAX: usize = 4096;

/// Bytes kept of one comment.
const COMMENT_BYTES_MAX: usize = 4096;

/// Names kept of one batch.
const NAMES_MAX: usize = 16_384;

/// Bytes kept of one name; a DNS name has at most 255.
const NAME_BYTES_MAX: usize = 255;

const NO_PACKET: Packet<'static> = Packet {
    ordinal: 0,
    frame: Frame::new(0, 0),
    at: Timestamp::EPOCH,
    link: LinkType(u32::MAX),
    bytes: &[],
    captured: 0,
    original: 0,
    tail: Tail::NONE,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushed_packets_come_back_in_the_order_of_time_with_numbers_of_their_own() {
        let mut batch = Batch::new();
        for round in 0..3_u64 {
            batch.begin(2, 100 + round, 7);
            for (at, bytes) in [(30, b"three".as_slice()), (10, b"one"), (20, b"two")] {
                batch.push(Timestamp::from_nanos(at), LinkType(1), 4, 99, bytes);
            }
            batch.sort_by_time();
            let seen: Vec<_> =
                batch.packets().map(|packet| (packet.ordinal, packet.frame, packet.bytes, packet.original)).collect();
            let frame = |number| Frame::new(2, 100 + round + number);
            assert_eq!(seen, [(7, frame(0), b"one".as_slice(), 99), (8, frame(1), b"two", 99), (9, frame(2), b"three", 99)]);
            assert!(batch.is_whole(0) && batch.interface(2) == 4);
        }
    }

    #[test]
    fn a_batch_grows_for_what_was_captured_and_shrinks_again() {
        let mut batch = Batch::with_target(1000);
        batch.begin(0, 1, 1);
        let big = vec![7; 5000];
        batch.push(Timestamp::EPOCH, LinkType(1), 0, 5000, &big);
        assert_eq!((batch.packet(0).bytes, batch.room()), (big.as_slice(), 0));
        batch.begin(0, 2, 2);
        assert_eq!((batch.buffer.len(), batch.room(), batch.is_empty()), (1000, 1000, true));
    }
}
