//! Ranges of streams to mask.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::convert::directions::Life;
use crate::convert::{ConvertError, Masked};

/// Ranges to mask, by the life of their stream.
#[derive(Default)]
pub(in crate::convert) struct Ranges {
    by_life: HashMap<Life, Vec<Range>, RandomState>,
    count: usize,
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    start: u64,
    length: u32,
    what: Masked,
}

impl Ranges {
    /// Adds a range.
    ///
    /// # Errors
    /// Where there are too many: what is beyond could not be masked.
    pub(in crate::convert) fn add(&mut self, life: Life, start: u64, length: usize, what: Masked) -> Result<(), ConvertError> {
        if self.count >= MASKS_MAX {
            return Err(ConvertError::TooManySecrets(MASKS_MAX));
        }
        self.count += 1;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.by_life.entry(life).or_default().push(Range { start, length, what });
        Ok(())
    }

    /// Puts the ranges in order and joins those that overlap; gives how many there are of each kind.
    pub(in crate::convert) fn settle(&mut self) -> BTreeMap<Masked, u64> {
        let mut counts = BTreeMap::new();
        for ranges in self.by_life.values_mut() {
            ranges.sort_unstable();
            ranges.dedup_by(|next, kept| {
                let end = kept.start + u64::from(kept.length);
                if next.start >= end {
                    return false;
                }
                let end = end.max(next.start + u64::from(next.length));
                kept.length = u32::try_from(end - kept.start).unwrap_or(u32::MAX);
                true
            });
            for range in ranges.iter() {
                *counts.entry(range.what).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Whether anything has to be masked of so many bytes, which are at `offset`.
    pub(in crate::convert) fn touch(&self, life: Life, offset: u64, length: usize) -> bool {
        let Some(ranges) = self.by_life.get(&life) else { return false };
        let first = ranges.partition_point(|range| range.start + u64::from(range.length) <= offset);
        ranges.get(first).is_some_and(|range| range.start < offset.saturating_add(length as u64))
    }

    /// Masks what has to be masked of `bytes`, which are at `offset`; returns whether something was.
    pub(in crate::convert) fn apply(&self, life: Life, offset: u64, bytes: &mut [u8]) -> bool {
        let Some(ranges) = self.by_life.get(&life) else { return false };
        let end = offset.saturating_add(bytes.len() as u64);
        let first = ranges.partition_point(|range| range.start + u64::from(range.length) <= offset);
        let mut changed = false;
        for range in ranges.get(first..).unwrap_or_default().iter().take_while(|range| range.start < end) {
            let from = range.start.saturating_sub(offset) as usize;
            let to = (range.start + u64::from(range.length)).min(end).saturating_sub(offset) as usize;
            changed |= blot(bytes.get_mut(from..to).unwrap_or_default());
        }
        changed
    }
}

/// Overwrites a secret, in place, with a letter that is valid in base64, hexadecimal, URLs and headers. What gives text its
/// lines, and padding, stays. Returns whether something changed.
pub(in crate::convert) fn blot(secret: &mut [u8]) -> bool {
    let mut changed = false;
    for byte in secret.iter_mut().filter(|byte| !stays(**byte)) {
        *byte = MASK;
        changed = true;
    }
    changed
}

/// Whether a value is nothing but a range.
pub(in crate::convert) fn is_blotted(value: &[u8]) -> bool {
    value.iter().all(|byte| stays(*byte))
}

const fn stays(byte: u8) -> bool {
    matches!(byte, MASK | b'=' | b'\r' | b'\n')
}

const MASK: u8 = b'A';
const MASKS_MAX: usize = 1 << 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Kind;

    #[test]
    fn overlapping_ranges_count_once_and_any_cut_masks_the_same() {
        let mut ranges = Ranges::default();
        let key = Masked::Secret(Kind::CustomerKey);
        for (start, length) in [(112, 4), (103, 5), (105, 5), (120, 3)] {
            ranges.add(Life(3), start, length, key).unwrap();
        }
        assert_eq!(ranges.settle(), BTreeMap::from([(key, 3)]));
        let whole = b"abcdefghijklmnopqrstuvwxyz";
        let mut expected = whole.to_vec();
        assert!(ranges.apply(Life(3), 100, &mut expected));
        assert_eq!(expected, b"abcAAAAAAAklAAAAqrstAAAxyz");
        for cut in 0..whole.len() {
            let (mut one, mut two) = (whole[..cut].to_vec(), whole[cut..].to_vec());
            ranges.apply(Life(3), 100, &mut one);
            ranges.apply(Life(3), 100 + cut as u64, &mut two);
            assert_eq!([one, two].concat(), expected);
        }
        assert!(!ranges.apply(Life(4), 100, &mut whole.to_vec()));
    }
}
