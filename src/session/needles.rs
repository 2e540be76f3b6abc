//! Finds any of many known byte strings in a text, several bytes per step (Wu and Manber, 1994).

use std::collections::HashMap;

/// A set of byte strings to look for. Strings may be added at any time.
pub(super) struct Needles {
    entries: Vec<(Box<[u8]>, u32)>,
    /// Length of the prefix that the tables are made for: the shortest string's length, at most [`PREFIX_BYTES_MAX`].
    prefix: usize,
    /// By the hash of three bytes: how far the window may move when they stand at its end.
    shift: Vec<u8>,
    /// By the same hash: the strings whose prefix ends in such bytes.
    ends: HashMap<u16, Vec<u32>>,
}

/// Where a string was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What was said of the string when it was added.
    pub(super) mark: u32,
}

impl Needles {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), prefix: PREFIX_BYTES_MAX, shift: Vec::new(), ends: HashMap::new() }
    }

    /// Adds a string; those shorter than [`NEEDLE_BYTES_MIN`] are refused, since they would be found by chance.
    pub(super) fn add(&mut self, needle: Vec<u8>, mark: u32) {
        if needle.len() < NEEDLE_BYTES_MIN || self.entries.iter().any(|(have, _)| **have == *needle) {
            return;
        }
        let prefix = needle.len().min(self.prefix);
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push((needle.into_boxed_slice(), mark));
        if prefix < self.prefix || self.shift.is_empty() {
            self.rebuild(prefix);
        } else {
            self.enter(index);
        }
    }

    /// The first string found at or after `from`; the longest where several begin at the same place.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<Hit> {
        if self.entries.is_empty() {
            return None;
        }
        let mut end = from + self.prefix;
        while end <= text.len() {
            let block = hash(text.get(end - BLOCK..end)?);
            let shift = self.shift.get(usize::from(block)).copied().unwrap_or(1);
            if shift > 0 {
                end += usize::from(shift);
                continue;
            }
            let start = end - self.prefix;
            if let Some(hit) = self.longest_at(text, start, block) {
                return Some(hit);
            }
            end += 1;
        }
        None
    }

    fn longest_at(&self, text: &[u8], start: usize, block: u16) -> Option<Hit> {
        let rest = text.get(start..)?;
        let candidates = self.ends.get(&block)?.iter().filter_map(|index| self.entries.get(*index as usize));
        let (needle, mark) = candidates.filter(|(needle, _)| rest.starts_with(needle)).max_by_key(|(needle, _)| needle.len())?;
        Some(Hit { start, end: start + needle.len(), mark: *mark })
    }

    fn rebuild(&mut self, prefix: usize) {
        self.prefix = prefix;
        self.shift = vec![u8::try_from(prefix - BLOCK + 1).unwrap_or(1); TABLE];
        self.ends.clear();
        for index in 0..self.entries.len() {
            self.enter(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }

    fn enter(&mut self, index: u32) {
        let Some((needle, _)) = self.entries.get(index as usize) else { return };
        for end in BLOCK..=self.prefix {
            let Some(block) = needle.get(end - BLOCK..end) else { continue };
            let block = hash(block);
            let distance = u8::try_from(self.prefix - end).unwrap_or(u8::MAX);
            if let Some(shift) = self.shift.get_mut(usize::from(block)) {
                *shift = (*shift).min(distance);
            }
            if distance == 0 {
                self.ends.entry(block).or_default().push(index);
            }
        }
    }
}

fn hash(block: &[u8]) -> u16 {
    let [a, b, c] = *block else { return 0 };
    let word = u32::from(a) | u32::from(b) << 8 | u32::from(c) << 16;
    // The upper bits of a multiplicative hash are the well mixed ones.
    (word.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as u16
}

/// Shorter strings occur by chance and would blank out text that holds no secret.
pub(super) const NEEDLE_BYTES_MIN: usize = 8;
/// A longer prefix gains little: the window already moves by more than the length of most words.
const PREFIX_BYTES_MAX: usize = 32;
const BLOCK: usize = 3;
/// 16 KiB of shifts fit into the first-level cache.
const TABLE_BITS: u32 = 14;
const TABLE: usize = 1 << TABLE_BITS;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(needles: &[Vec<u8>], text: &[u8], from: usize) -> Option<(usize, usize)> {
        (from..text.len()).find_map(|start| {
            let longest = needles.iter().filter(|needle| needle.len() >= NEEDLE_BYTES_MIN && text[start..].starts_with(needle));
            longest.map(|needle| (start, start + needle.len())).max()
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            needles in prop::collection::vec(prop::collection::vec(97u8..100, 4..14), 0..6),
            text in prop::collection::vec(97u8..100, 0..400),
            from in 0usize..20,
        ) {
            let mut set = Needles::new();
            for (at, needle) in needles.iter().enumerate() {
                set.add(needle.clone(), at as u32);
            }
            let found = set.find(&text, from).map(|hit| (hit.start, hit.end));
            prop_assert_eq!(found, naive(&needles, &text, from));
        }
    }

    #[test]
    fn tells_which_one_was_found() {
        let mut set = Needles::new();
        set.add(b"0123456789abcdef0123456789abcdef0123456789".to_vec(), 7);
        assert_eq!(set.find(b"xx0123456789abcdef0123456789abcdef0123456789", 0), Some(Hit { start: 2, end: 44, mark: 7 }));
        set.add(b"secret-two".to_vec(), 8);
        assert_eq!(set.find(b"a secret-two", 0), Some(Hit { start: 2, end: 12, mark: 8 }));
        assert_eq!(set.find(b"nothing of the sort, and long enough to be looked at in full", 0), None);
    }
}
