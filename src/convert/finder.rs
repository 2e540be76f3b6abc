//! Finds many known byte strings in streams that come piece by piece.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::convert::{ConvertError, Masked};

/// The strings to look for.
pub(super) struct Finder {
    needles: Vec<Needle>,
    known: HashSet<Box<[u8]>, RandomState>,
    /// By its first eight bytes: the newest needle that begins so, and how many there are.
    by_prefix: HashMap<u64, (u32, u32), RandomState>,
    /// One bit for each hash of a prefix: says no for almost all places.
    filter: Box<[u64]>,
    bytes: usize,
}

struct Needle {
    bytes: Box<[u8]>,
    /// The part that is secret; the rest only tells where it stands.
    secret: (u32, u32),
    what: Masked,
    next: Option<u32>,
}

/// A secret that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: u64,
    pub(super) length: usize,
    pub(super) what: Masked,
}

/// The last bytes of a stream, in which a string may have begun.
#[derive(Default)]
pub(super) struct Carry {
    bytes: Vec<u8>,
    /// Where a string begun, as far as it is there.
    begun: Option<(usize, Masked)>,
}

impl Finder {
    pub(super) fn new() -> Self {
        Self {
            needles: Vec::new(),
            known: HashSet::default(),
            by_prefix: HashMap::default(),
            filter: vec![0; FILTER_BITS / 64].into_boxed_slice(),
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Whether a string is among them.
    pub(super) fn knows(&self, bytes: &[u8]) -> bool {
        self.known.contains(bytes)
    }

    /// Adds a string of which `secret` is secret. What would be found by chance is refused: short strings, and such of few
    /// distinct bytes.
    ///
    /// # Errors
    /// Where there are too many.
    pub(super) fn add(&mut self, bytes: &[u8], secret: std::ops::Range<usize>, what: Masked) -> Result<(), ConvertError> {
        let Some(prefix) = prefix(bytes).filter(|_| is_telling(bytes)) else { return Ok(()) };
        if !self.known.insert(bytes.into()) {
            return Ok(());
        }
        self.bytes += bytes.len();
        let index = u32::try_from(self.needles.len()).unwrap_or(u32::MAX);
        let (newest, count) = self.by_prefix.get(&prefix).copied().unzip();
        let count = count.unwrap_or(0);
        if self.bytes > BYTES_MAX || count >= SAME_PREFIX_MAX {
            return Err(ConvertError::TooManySecrets(self.needles.len()));
        }
        let secret = (u32::try_from(secret.start).unwrap_or(0), u32::try_from(secret.end).unwrap_or(u32::MAX));
        self.needles.push(Needle { bytes: bytes.into(), secret, what, next: newest });
        self.by_prefix.insert(prefix, (index, count + 1));
        let bit = hash(prefix);
        if let Some(word) = self.filter.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        Ok(())
    }

    /// Looks through the next bytes of a stream, which stand at `offset`.
    pub(super) fn feed(&self, carry: &mut Carry, offset: u64, data: &[u8], found: &mut Vec<Hit>) {
        if carry.bytes.is_empty() {
            let rest = self.scan(offset, data, found);
            carry.keep(data, rest);
            return;
        }
        let start = offset.saturating_sub(carry.bytes.len() as u64);
        let mut joined = std::mem::take(&mut carry.bytes);
        joined.extend_from_slice(data);
        let rest = self.scan(start, &joined, found);
        carry.keep(&joined, rest);
    }

    /// The stream ends, or a hole follows, at `offset`: what had begun of a string is found as far as it is there.
    pub(super) fn finish(carry: &mut Carry, offset: u64, found: &mut Vec<Hit>) {
        if let Some((at, what)) = carry.begun.take() {
            let length = carry.bytes.len().saturating_sub(at);
            found.push(Hit { start: offset.saturating_sub(length as u64), length, what });
        }
        carry.bytes.clear();
    }

    /// Finds all strings that end in `data`; gives where one has begun that does not end there.
    fn scan(&self, offset: u64, data: &[u8], found: &mut Vec<Hit>) -> Option<(usize, Masked)> {
        let mut begun = None;
        for (at, window) in data.windows(PREFIX_BYTES).enumerate() {
            let Some(prefix) = prefix(window) else { break };
            let bit = hash(prefix);
            if self.filter.get(bit / 64).is_none_or(|word| word & (1 << (bit % 64)) == 0) {
                continue;
            }
            let rest = data.get(at..).unwrap_or_default();
            let mut next = self.by_prefix.get(&prefix).map(|(newest, _)| *newest);
            while let Some(needle) = next.and_then(|index| self.needles.get(index as usize)) {
                if rest.starts_with(&needle.bytes) {
                    let (from, to) = needle.secret;
                    let start = offset + at as u64 + u64::from(from);
                    found.push(Hit { start, length: (to - from) as usize, what: needle.what });
                } else if begun.is_none() && needle.bytes.starts_with(rest) {
                    begun = Some((at, needle.what));
                }
                next = needle.next;
            }
        }
        begun
    }
}

impl Carry {
    /// Keeps what may be the beginning of a string.
    fn keep(&mut self, data: &[u8], begun: Option<(usize, Masked)>) {
        let tail = data.len().saturating_sub(PREFIX_BYTES - 1);
        let from = begun.map_or(tail, |(at, _)| at.min(tail));
        self.begun = begun.map(|(at, what)| (at - from, what));
        let kept = data.get(from..).unwrap_or_default();
        self.bytes.clear();
        self.bytes.extend_from_slice(kept);
    }
}

/// Whether a string would not be found by chance.
fn is_telling(bytes: &[u8]) -> bool {
    let mut seen = [false; 256];
    let mut distinct = 0;
    for byte in bytes {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            distinct += usize::from(!*seen);
            *seen = true;
        }
    }
    distinct >= DISTINCT_MIN
}

fn prefix(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

const fn hash(prefix: u64) -> usize {
    // The upper bits of a multiplicative hash are the well mixed ones.
    (prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_LOG)) as usize
}

/// Shorter strings would be found by chance.
pub(super) const PREFIX_BYTES: usize = 8;
const DISTINCT_MIN: usize = 4;
/// Half a mebibyte: fits the second-level cache.
const FILTER_LOG: u32 = 22;
const FILTER_BITS: usize = 1 << FILTER_LOG;
const BYTES_MAX: usize = 192 << 20;
/// More strings that begin alike would cost too much time.
const SAME_PREFIX_MAX: u32 = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Kind;
    use proptest::prelude::*;

    const WHAT: Masked = Masked::Secret(Kind::SessionToken);

    proptest! {
        #[test]
        fn any_cutting_finds_what_a_plain_search_finds(
            needles in prop::collection::vec(prop::collection::vec(97u8..102, 8..14), 1..6),
            text in prop::collection::vec(97u8..102, 0..300),
            planted in prop::collection::vec((0usize..300, 0usize..6), 0..6),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let mut text = text;
            for (at, which) in planted {
                let needle = &needles[which % needles.len()];
                text.splice(at.min(text.len())..at.min(text.len()), needle.iter().copied());
            }
            let mut finder = Finder::new();
            for needle in &needles {
                finder.add(needle, 0..needle.len(), WHAT).unwrap();
            }
            let mut carry = Carry::default();
            let mut found = Vec::new();
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(text.len());
                finder.feed(&mut carry, at as u64, &text[at..end], &mut found);
                at = end;
                if at == text.len() {
                    break;
                }
            }
            let mut starts: Vec<_> = found.iter().map(|hit| (hit.start as usize, hit.length)).collect();
            starts.sort_unstable();
            starts.dedup();
            let mut expected = Vec::new();
            for needle in needles.iter().filter(|needle| is_telling(needle)) {
                for start in 0..text.len() {
                    if text[start..].starts_with(needle) {
                        expected.push((start, needle.len()));
                    }
                }
            }
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(starts, expected);
        }
    }

    #[test]
    fn what_has_begun_before_a_hole_is_found_as_far_as_it_is_there() {
        let mut finder = Finder::new();
        finder.add(b"0123456789abcdef", 0..16, WHAT).unwrap();
        let (mut carry, mut found) = (Carry::default(), Vec::new());
        finder.feed(&mut carry, 100, b"xx012345", &mut found);
        finder.feed(&mut carry, 108, b"6789", &mut found);
        Finder::finish(&mut carry, 112, &mut found);
        assert_eq!(found, [Hit { start: 102, length: 10, what: WHAT }]);
    }
}
