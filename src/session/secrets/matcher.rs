//! The one search for known secrets, in whole texts and in streams that come piece by piece.
//!
//! Both what is searched for and what is searched have their escapes resolved and their spellings made equal (`unescape`), so a
//! secret is found however it is escaped, nested or half. The search moves several bytes per step (Wu and Manber, 1994); where a
//! beginning fits, an ordered map gives the longest that goes on. So the time does not grow with the number of secrets that
//! begin alike, and a sender who fills a capture with them gains nothing.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use crate::session::secrets::unescape::{Resolver, fold};

/// A set of byte strings to search for. Strings may be added at any time.
pub struct Matcher {
    entries: BTreeMap<Box<[u8]>, Entry>,
    /// Bytes of all entries.
    bytes: usize,
    /// The length of the longest entry.
    longest: usize,
    /// The length of the beginnings that the tables are made for: that of the shortest entry, at most [`BEGIN_BYTES_MAX`].
    begin: usize,
    /// By the hash of three bytes: how far the window may move when they are at its end.
    shift: Vec<u8>,
    /// One bit for each hash of a beginning.
    filter: Vec<u64>,
}

/// What is known of a string.
#[derive(Clone, Copy)]
struct Entry {
    mark: u32,
    /// The part that is secret; the rest only tells where it is.
    secret: (u32, u32),
}

/// A string that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where it begins, in bytes as sent.
    pub start: u64,
    /// Its length as sent.
    pub length: usize,
    /// What was said of the string when it was added.
    pub mark: u32,
}

/// The last bytes of a stream, in which a string may have begun.
pub struct Carry {
    resolver: Resolver,
}

impl Default for Carry {
    fn default() -> Self {
        Self { resolver: Resolver::folding() }
    }
}

impl Default for Matcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Matcher {
    /// An empty set.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0, longest: 0, begin: BEGIN_BYTES_MAX, shift: Vec::new(), filter: Vec::new() }
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all strings.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a string is among them.
    pub fn knows(&self, text: &[u8]) -> bool {
        self.entries.contains_key(resolve(text).as_slice())
    }

    /// Adds a string. What would be found by chance is refused: short strings, and such of few distinct bytes. Long ones are
    /// searched for in pieces.
    pub fn add(&mut self, text: &[u8], mark: u32) {
        let resolved = resolve(text);
        let mut rest = resolved.as_slice();
        while rest.len() > PIECE_BYTES_MAX {
            let (piece, after) = rest.split_at_checked(PIECE_BYTES_MAX).unwrap_or((rest, &[]));
            self.insert(piece, 0..piece.len(), mark);
            rest = if after.len() < PIECE_BYTES_MAX { &[] } else { after };
        }
        let last = if resolved.len() > PIECE_BYTES_MAX {
            resolved.last_chunk::<PIECE_BYTES_MAX>().map_or(rest, |piece| piece.as_slice())
        } else {
            rest
        };
        self.insert(last, 0..last.len(), mark);
    }

    /// Adds a string that is too short to be searched for by itself, with what is before and after it.
    pub fn add_between(&mut self, before: &[u8], secret: &[u8], after: &[u8], mark: u32) {
        let start = resolve(before).len();
        let end = resolve(&[before, secret].concat()).len();
        self.insert(&resolve(&[before, secret, after].concat()), start..end.max(start), mark);
    }

    /// All strings in a text, the leftmost first and the longest where several begin at one place; they do not overlap.
    pub fn find_all(&self, text: &[u8]) -> Vec<Hit> {
        let mut found = Vec::new();
        if self.entries.is_empty() || text.len() < self.begin {
            return found;
        }
        let is_plain = memchr::memchr3(b'%', b'\\', b'&', text).is_none();
        if is_plain && self.next_begin(text, 0).is_none() {
            return found;
        }
        let mut resolver = Resolver::folding();
        resolver.push(0, text);
        let mut at = 0;
        while let Some(start) = self.next_begin(&resolver.bytes, at) {
            match self.longest_at(resolver.bytes.get(start..).unwrap_or_default()) {
                Some((length, entry)) => {
                    found.push(hit(&resolver, start, entry));
                    at = start + length;
                }
                None => at = start + 1,
            }
        }
        found
    }

    /// Searches the next bytes of a stream, which are at `offset`. Strings may overlap.
    pub fn feed(&self, carry: &mut Carry, offset: u64, data: &[u8], found: &mut Vec<Hit>) {
        carry.resolver.push(offset, data);
        let stable = carry.resolver.bytes.len() - carry.resolver.begun().unwrap_or(0);
        let decided = self.scan(carry, stable, false, found);
        carry.resolver.drop_first(decided);
    }

    /// The stream ends, or a hole follows: what had begun of a string is found as far as it is there.
    pub fn finish(&self, carry: &mut Carry, found: &mut Vec<Hit>) {
        let decided = self.scan(carry, carry.resolver.bytes.len(), true, found);
        let bytes = &carry.resolver.bytes;
        for start in decided..bytes.len().saturating_sub(BYTES_MIN - 1) {
            let rest = bytes.get(start..).unwrap_or_default();
            if let Some(entry) = self.begun_by(rest) {
                let origin = carry.resolver.origin(start..bytes.len());
                found.push(Hit { start: origin.start, length: span(&origin), mark: entry.mark });
            }
        }
        carry.resolver.clear();
    }

    /// Finds all strings that end before `stable`; gives up to where nothing more can begin.
    fn scan(&self, carry: &Carry, stable: usize, is_end: bool, found: &mut Vec<Hit>) -> usize {
        let text = carry.resolver.bytes.get(..stable).unwrap_or_default();
        let mut at = 0;
        while let Some(start) = self.next_begin(text, at) {
            let rest = text.get(start..).unwrap_or_default();
            if !is_end && rest.len() < self.longest && self.begun_by(rest).is_some() {
                return start;
            }
            if let Some((_, entry)) = self.longest_at(rest) {
                found.push(hit(&carry.resolver, start, entry));
            }
            at = start + 1;
        }
        at.max((text.len() + 1).saturating_sub(self.begin))
    }

    /// The first place at or after `from` where a string may begin.
    #[inline]
    fn next_begin(&self, text: &[u8], from: usize) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let bits = self.shift.len().trailing_zeros();
        let mut end = from + self.begin;
        while end <= text.len() {
            let block = block_hash(text.get(end - BLOCK..end)?, bits);
            let shift = self.shift.get(block).copied().unwrap_or(1);
            if shift > 0 {
                end += usize::from(shift);
                continue;
            }
            if self.passes(text.get(end - self.begin..end)?) {
                return Some(end - self.begin);
            }
            end += 1;
        }
        None
    }

    fn passes(&self, begin: &[u8]) -> bool {
        let bit = begin_hash(begin) & (self.filter.len() * 64 - 1);
        self.filter.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    /// The longest string that `rest` begins with.
    fn longest_at(&self, rest: &[u8]) -> Option<(usize, Placed)> {
        let mut upper = rest.get(..self.longest).unwrap_or(rest);
        loop {
            // Of all strings that are a beginning of `upper`, none comes after the last that does not come after `upper`.
            let range = (Bound::Unbounded, Bound::Included(upper));
            let (have, entry) = self.entries.range::<[u8], _>(range).next_back()?;
            let common = have.iter().zip(upper).take_while(|(one, other)| one == other).count();
            if common == have.len() {
                return Some((common, Placed { length: common, entry: *entry }));
            }
            if common < self.begin {
                return None;
            }
            upper = upper.get(..common)?;
        }
    }

    /// A string that begins with `rest` and goes on.
    fn begun_by(&self, rest: &[u8]) -> Option<Entry> {
        let range = (Bound::Excluded(rest), Bound::Unbounded);
        let (have, entry) = self.entries.range::<[u8], _>(range).next()?;
        have.starts_with(rest).then_some(*entry)
    }

    fn insert(&mut self, text: &[u8], secret: Range<usize>, mark: u32) {
        if text.len() < BYTES_MIN || !is_telling(text) || self.entries.contains_key(text) {
            return;
        }
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.entries.insert(text.into(), Entry { mark, secret: (narrow(secret.start), narrow(secret.end)) });
        self.bytes += text.len();
        self.longest = self.longest.max(text.len());
        let begin = text.len().min(self.begin);
        let is_large = self.entries.len() > SMALL_MAX && self.shift.len() < LARGE_TABLE;
        if begin < self.begin || self.shift.is_empty() || is_large {
            self.rebuild(begin);
        } else {
            self.enter(text);
        }
    }

    fn rebuild(&mut self, begin: usize) {
        self.begin = begin;
        let table = if self.entries.len() > SMALL_MAX { LARGE_TABLE } else { SMALL_TABLE };
        self.shift = vec![u8::try_from(begin - BLOCK + 1).unwrap_or(1); table];
        self.filter = vec![0; table / 8];
        let entries = std::mem::take(&mut self.entries);
        for text in entries.keys() {
            self.enter(text);
        }
        self.entries = entries;
    }

    fn enter(&mut self, text: &[u8]) {
        let bits = self.shift.len().trailing_zeros();
        for end in BLOCK..=self.begin {
            let Some(block) = text.get(end - BLOCK..end) else { continue };
            let distance = u8::try_from(self.begin - end).unwrap_or(u8::MAX);
            if let Some(shift) = self.shift.get_mut(block_hash(block, bits)) {
                *shift = (*shift).min(distance);
            }
        }
        let bit = begin_hash(text.get(..self.begin).unwrap_or(text)) & (self.filter.len() * 64 - 1);
        if let Some(word) = self.filter.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }
}

/// An entry that was found, with its length.
#[derive(Clone, Copy)]
struct Placed {
    length: usize,
    entry: Entry,
}

fn hit(resolver: &Resolver, at: usize, placed: Placed) -> Hit {
    let (from, to) = placed.entry.secret;
    let origin = resolver.origin(at + from as usize..at + (to as usize).min(placed.length));
    Hit { start: origin.start, length: span(&origin), mark: placed.entry.mark }
}

fn span(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

fn resolve(text: &[u8]) -> Vec<u8> {
    let mut resolver = Resolver::folding();
    resolver.push(0, text);
    resolver.bytes
}

/// Whether a string would not be found by chance.
fn is_telling(bytes: &[u8]) -> bool {
    let mut seen = [0u64; 4];
    for byte in bytes {
        if let Some(word) = seen.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }
    seen.iter().map(|word| word.count_ones()).sum::<u32>() >= DISTINCT_MIN
}

#[inline]
fn block_hash(block: &[u8], bits: u32) -> usize {
    let [a, b, c] = *block else { return 0 };
    let folded = |byte: u8| u32::from(FOLDED.get(usize::from(byte)).copied().unwrap_or(byte));
    let word = folded(a) | folded(b) << 8 | folded(c) << 16;
    // The upper bits of a multiplicative hash are the well mixed ones.
    (word.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

fn begin_hash(begin: &[u8]) -> usize {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(fold(*byte))).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let hash = begin.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24) as usize
}

static FOLDED: [u8; 256] = folded();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn folded() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = fold(byte as u8);
        byte += 1;
    }
    table
}

/// Shorter strings occur by chance and would mask text that holds no secret.
pub const BYTES_MIN: usize = 8;
const DISTINCT_MIN: u32 = 4;
/// A longer beginning gains little: the window already moves by more than the length of most words.
const BEGIN_BYTES_MAX: usize = 32;
const BLOCK: usize = 3;
/// 16 KiB of shifts fit the first-level cache; beyond so many strings a table of 4 MiB says no more often.
const SMALL_TABLE: usize = 1 << 14;
const LARGE_TABLE: usize = 1 << 22;
const SMALL_MAX: usize = 4096;
/// Longer strings are searched for in pieces of this length, so that a comparison stays short.
const PIECE_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(needles: &[Vec<u8>]) -> Matcher {
        let mut matcher = Matcher::new();
        for (mark, needle) in (0..).zip(needles) {
            matcher.add(needle, mark);
        }
        matcher
    }

    fn naive(needles: &[Vec<u8>], text: &[u8]) -> Vec<(usize, usize)> {
        let found = (0..text.len()).filter_map(|start| {
            let fits = needles.iter().filter(|needle| is_telling(needle) && text[start..].starts_with(needle));
            fits.map(|needle| (start, needle.len())).max()
        });
        found.collect()
    }

    fn planted(needles: &[Vec<u8>], text: &[u8], places: &[(usize, usize)]) -> Vec<u8> {
        let mut text = text.to_vec();
        for (at, which) in places {
            let at = *at.min(&text.len());
            text.splice(at..at, needles[which % needles.len()].iter().copied());
        }
        text
    }

    proptest! {
        #[test]
        fn any_cutting_finds_what_a_plain_search_finds(
            needles in prop::collection::vec(prop::collection::vec(97u8..103, 8..40), 1..6),
            text in prop::collection::vec(97u8..103, 0..300),
            places in prop::collection::vec((0usize..300, 0usize..6), 0..6),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let text = planted(&needles, &text, &places);
            let matcher = set(&needles);
            let (mut carry, mut found) = (Carry::default(), Vec::new());
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(text.len());
                matcher.feed(&mut carry, 1000 + at as u64, &text[at..end], &mut found);
                at = end;
                if at == text.len() {
                    break;
                }
            }
            matcher.scan(&carry, carry.resolver.bytes.len(), true, &mut found);
            let mut places: Vec<_> = found.iter().map(|hit| (hit.start as usize - 1000, hit.length)).collect();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places, naive(&needles, &text));
        }

        #[test]
        fn a_whole_text_gives_the_leftmost_and_longest(
            needles in prop::collection::vec(prop::collection::vec(97u8..103, 8..20), 1..6),
            text in prop::collection::vec(97u8..103, 0..300),
            places in prop::collection::vec((0usize..300, 0usize..6), 0..6),
        ) {
            let text = planted(&needles, &text, &places);
            let mut expected = Vec::new();
            let mut end = 0;
            for (start, length) in naive(&needles, &text) {
                if start >= end {
                    expected.push((start, length));
                    end = start + length;
                }
            }
            let found: Vec<_> = set(&needles).find_all(&text).iter().map(|hit| (hit.start as usize, hit.length)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_secret_is_found_in_any_escape_and_spelling() {
        let matcher = set(&[b"Ab+Cd/Ef-Gh_0123456789=".to_vec()]);
        for text in [
            "x=Ab+Cd/Ef-Gh_0123456789=&y",
            "ab-cd_ef-gh_0123456789=",
            "Ab%2BCd%2FEf-Gh%5f0123456789%3D",
            "%41b%252bCd%25252fEf-Gh_0%3123456789=",
            r"Ab\u002bCd\/Ef-Gh_0123456789\u003d",
            "Ab&#43;Cd&#x2F;Ef-&#71;h_0123456789&equals;",
            "Ab Cd/Ef-Gh_0123456789%3d",
        ] {
            let found = matcher.find_all(text.as_bytes());
            let whole = text.trim_start_matches("x=").trim_end_matches("&y");
            let start = text.find(whole).unwrap() as u64;
            assert_eq!(found, [Hit { start, length: whole.len(), mark: 0 }], "{text}");
            for cut in 1..text.len() {
                let (mut carry, mut hits) = (Carry::default(), Vec::new());
                matcher.feed(&mut carry, 0, &text.as_bytes()[..cut], &mut hits);
                matcher.feed(&mut carry, cut as u64, &text.as_bytes()[cut..], &mut hits);
                matcher.finish(&mut carry, &mut hits);
                assert_eq!(hits, found, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_has_begun_before_a_hole_is_found_as_far_as_it_is_there() {
        let matcher = set(&[b"0123456789abcdef0123456789abcdef0123456789".to_vec()]);
        let (mut carry, mut found) = (Carry::default(), Vec::new());
        matcher.feed(&mut carry, 100, b"xx012345", &mut found);
        matcher.feed(&mut carry, 108, b"6789", &mut found);
        matcher.finish(&mut carry, &mut found);
        assert_eq!(found, [Hit { start: 102, length: 10, mark: 0 }]);
    }

    #[test]
    fn short_secrets_are_found_between_what_is_around_them_and_long_ones_in_pieces() {
        let mut matcher = Matcher::new();
        matcher.add_between(b"<Token>", b"abc", b"</Token>", 7);
        assert_eq!(matcher.find_all(b"<a><Token>abc</Token>"), [Hit { start: 10, length: 3, mark: 7 }]);
        let long: Vec<u8> =
            (0..9000u32).flat_map(|at| at.wrapping_mul(0x9e37_79b1).to_be_bytes()).map(|byte| b'a' + byte % 26).collect();
        matcher.add(&long, 1);
        let text = [b"xx", long.as_slice(), b"yy"].concat();
        let (mut carry, mut hits) = (Carry::default(), Vec::new());
        matcher.feed(&mut carry, 0, &text, &mut hits);
        matcher.finish(&mut carry, &mut hits);
        let mut covered = vec![false; text.len()];
        for hit in hits {
            covered[hit.start as usize..hit.start as usize + hit.length].fill(true);
        }
        assert!(covered.iter().enumerate().all(|(at, covered)| *covered == (2..text.len() - 2).contains(&at)));
    }
}
