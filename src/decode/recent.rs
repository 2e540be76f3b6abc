//! The octets that were delivered last, of all flows together, so that what comes again can be compared with them.
//!
//! One ring of fixed size holds them, so that it costs a copy and no memory per flow. What is older than the ring is not
//! compared.

use crate::decode::stream::distance;

/// The place of a stream's last kept octets; the default stands for none.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept(u64);

/// The ring. Positions count all octets ever put in; it starts with a whole turn, so that no position is zero.
#[derive(Default)]
pub(super) struct Recent {
    ring: Vec<u8>,
    head: u64,
}

/// Octets of the ring.
const RING: usize = 256 << 10;
/// Octets kept of one segment.
const SEGMENT_MAX: usize = 4096;
/// The position of the stream's record before, the sequence number and the length.
const RECORD_HEAD: usize = 16;
/// How many records of a stream are looked through.
const RECORDS_MAX: usize = 16;

struct Record<'a> {
    before: Kept,
    seq: u32,
    bytes: &'a [u8],
}

impl Recent {
    /// Keeps octets of a stream, up to a bound; gives their place, for the stream.
    pub(super) fn keep(&mut self, before: Kept, seq: u32, bytes: &[u8]) -> Kept {
        let bytes = bytes.get(..SEGMENT_MAX.min(bytes.len())).unwrap_or_default();
        let size = (RECORD_HEAD + bytes.len()).next_multiple_of(8);
        if self.ring.is_empty() {
            self.ring = vec![0; RING];
            self.head = RING as u64;
        }
        let mut at = self.head as usize % RING;
        if at + size > RING {
            self.head += (RING - at) as u64;
            at = 0;
        }
        let place = Kept(self.head);
        if let Some(record) = self.ring.get_mut(at..at + RECORD_HEAD + bytes.len()) {
            let (head, kept) = record.split_at_mut(RECORD_HEAD);
            let length = bytes.len() as u32;
            for (field, part) in [(&before.0.to_le_bytes()[..], 0), (&seq.to_le_bytes(), 8), (&length.to_le_bytes(), 12)] {
                if let Some(slot) = head.get_mut(part..part + field.len()) {
                    slot.copy_from_slice(field);
                }
            }
            kept.copy_from_slice(bytes);
        }
        self.head += size as u64;
        place
    }

    /// Whether a stream's octets at `seq` differ from those kept of it.
    pub(super) fn differs(&self, last: Kept, seq: u32, bytes: &[u8]) -> bool {
        let mut place = last;
        for _ in 0..RECORDS_MAX {
            let Some(record) = self.record(place) else { return false };
            let offset = distance(record.seq, seq);
            let skip = |octets: i64| usize::try_from(octets).unwrap_or(0);
            let kept = record.bytes.get(skip(offset)..).unwrap_or_default();
            let again = bytes.get(skip(-offset)..).unwrap_or_default();
            let common = kept.len().min(again.len());
            if kept.get(..common) != again.get(..common) {
                return true;
            }
            // Older records of the stream end where this one starts.
            if offset >= 0 {
                return false;
            }
            place = record.before;
        }
        false
    }

    /// The record at a place, unless it was written over.
    fn record(&self, Kept(place): Kept) -> Option<Record<'_>> {
        if place == 0 || self.head - place > RING as u64 {
            return None;
        }
        let at = place as usize % RING;
        let (head, rest) = self.ring.get(at..)?.split_first_chunk::<RECORD_HEAD>()?;
        let (before, rest_of_head) = head.split_first_chunk::<8>()?;
        let (seq, length) = rest_of_head.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length.first_chunk::<4>()?) as usize;
        let before = Kept(u64::from_le_bytes(*before));
        Some(Record { before, seq: u32::from_le_bytes(*seq), bytes: rest.get(..length)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_come_again_are_compared_whatever_the_cut() {
        let mut recent = Recent::default();
        let first = recent.keep(Kept::default(), u32::MAX - 1, b"abcd");
        let other = recent.keep(Kept::default(), 1, b"WXYZ");
        let second = recent.keep(first, 2, b"efgh");
        assert!(!recent.differs(second, u32::MAX - 1, b"abcdefgh"));
        assert!(!recent.differs(second, 0, b"cdefghij"));
        assert!(!recent.differs(second, 3, b"f"));
        assert!(!recent.differs(other, 1, b"WXYZ"));
        for (seq, bytes) in [(u32::MAX - 1, &b"abXdefgh"[..]), (0, b"cdefgX"), (3, b"X"), (u32::MAX - 3, b"..X")] {
            assert!(recent.differs(second, seq, bytes), "{seq}");
        }
        // What was never kept is not compared.
        assert!(!recent.differs(second, 6, b"anything"));
        assert!(!recent.differs(Kept::default(), 1, b"anything"));
    }

    #[test]
    fn what_was_written_over_is_not_compared() {
        let mut recent = Recent::default();
        let early = recent.keep(Kept::default(), 1, b"early");
        assert!(recent.differs(early, 1, b"other"));
        let mut last = Kept::default();
        for turn in 0..200u32 {
            last = recent.keep(last, turn * 5000, &vec![b'x'; 5000]);
        }
        assert!(!recent.differs(early, 1, b"other"));
        assert!(recent.differs(last, 199 * 5000, b"y"));
        assert_eq!(recent.ring.len(), RING);
    }
}
