//! By how much messages usually grow in a proxy, learnt from what passes through it: most calls of a kind grow alike, and those
//! that merely pass at the same time do not.

use std::hash::Hash;
use std::ops::RangeInclusive;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::sealed::candidates::{Candidate, Group};
use crate::hops::sealed::front::Front;

/// What is usual in a group.
pub(super) struct Usual {
    asked: Sums<u64, i64>,
    answered: Sums<u64, i64>,
    both: Sums<[u64; 2], [i64; 2]>,
}

/// How many calls of a kind have a candidate that grew by so much.
struct Sums<K, G> {
    counts: HashMap<(K, G), Count>,
    kinds: HashMap<K, Kind>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    calls: u32,
    /// The call that was counted last, so that none counts twice.
    last: usize,
}

#[derive(Clone, Copy, Default)]
struct Kind {
    calls: u32,
    best: u32,
}

/// Whether a candidate grew as is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// As is usual.
    Usual,
    /// Otherwise.
    Unusual,
    /// Too little is known of the kind.
    Unknown,
}

impl Usual {
    /// Learns from all calls of a group and their candidates.
    pub(super) fn learn(group: &Group<'_>) -> Self {
        let mut usual = Self { asked: Sums::new(), answered: Sums::new(), both: Sums::new() };
        for (number, (_, front)) in (1..).zip(&group.fronts) {
            let Some([asked, answered]) = kinds_of(front) else { continue };
            for candidate in group.candidates(front) {
                each(&candidate.asked, |grown| usual.asked.add(asked, grown, number));
                each(&candidate.answered, |grown| usual.answered.add(answered, grown, number));
            }
            usual.asked.end(asked);
            usual.answered.end(answered);
        }
        usual.asked.find_best();
        usual.answered.find_best();
        // Only what is frequent for each message can be frequent for both.
        for (number, (_, front)) in (1..).zip(&group.fronts) {
            let Some(kinds) = kinds_of(front) else { continue };
            for candidate in group.candidates(front) {
                usual.pairs(kinds, &candidate, |both, grown| both.add(kinds, grown, number));
            }
            usual.both.end(kinds);
        }
        usual.both.find_best();
        usual
    }

    /// Whether a candidate of a call grew as is usual for its kind.
    pub(super) fn fit(&self, front: &Front, candidate: &Candidate) -> Fit {
        let Some(kinds) = kinds_of(front) else { return Fit::Unusual };
        let known = self.both.kinds.get(&kinds).copied().unwrap_or_default();
        if known.calls >= CALLS_MIN {
            let mut fit = Fit::Unusual;
            each_pair(&candidate.asked, &candidate.answered, |grown| {
                if self.both.is_frequent(kinds, grown, SHARE_BOTH) {
                    fit = Fit::Usual;
                }
            });
            return fit;
        }
        let [asked, answered] = kinds;
        let one = self.asked.fit(asked, &candidate.asked);
        let other = self.answered.fit(answered, &candidate.answered);
        match (one, other) {
            (Fit::Unusual, _) | (_, Fit::Unusual) => Fit::Unusual,
            (Fit::Usual, Fit::Usual) => Fit::Usual,
            _ => Fit::Unknown,
        }
    }

    fn pairs(
        &mut self,
        [asked, answered]: [u64; 2],
        candidate: &Candidate,
        mut take: impl FnMut(&mut Sums<[u64; 2], [i64; 2]>, [i64; 2]),
    ) {
        let both = &mut self.both;
        each_pair(&candidate.asked, &candidate.answered, |[one, other]| {
            if self.asked.is_frequent(asked, one, SHARE_ONE) && self.answered.is_frequent(answered, other, SHARE_ONE) {
                take(both, [one, other]);
            }
        });
    }
}

impl<K: Copy + Eq + Hash, G: Copy + Eq + Hash> Sums<K, G> {
    fn new() -> Self {
        Self { counts: HashMap::new(), kinds: HashMap::new() }
    }

    fn add(&mut self, kind: K, grown: G, number: usize) {
        if self.counts.len() >= COUNTS_MAX && !self.counts.contains_key(&(kind, grown)) {
            return;
        }
        let count = self.counts.entry((kind, grown)).or_default();
        if count.last != number {
            *count = Count { calls: count.calls + 1, last: number };
        }
    }

    /// Counts a call of a kind.
    fn end(&mut self, kind: K) {
        self.kinds.entry(kind).or_default().calls += 1;
    }

    fn find_best(&mut self) {
        for ((kind, _), count) in &self.counts {
            if let Some(kind) = self.kinds.get_mut(kind) {
                kind.best = kind.best.max(count.calls);
            }
        }
    }

    /// Whether nearly as many calls have such a candidate as have the most frequent one, and that is most of the kind.
    fn is_frequent(&self, kind: K, grown: G, (share, of): (u32, u32)) -> bool {
        let (Some(count), Some(known)) = (self.counts.get(&(kind, grown)), self.kinds.get(&kind)) else { return false };
        count.calls * of >= known.best * share && known.best * 2 >= known.calls
    }
}

impl Sums<u64, i64> {
    fn fit(&self, kind: u64, grown: &RangeInclusive<i64>) -> Fit {
        let is_known = self.kinds.get(&kind).is_some_and(|known| known.calls >= CALLS_MIN);
        if !is_known {
            return Fit::Unknown;
        }
        let mut fit = Fit::Unusual;
        each(grown, |grown| {
            if self.is_frequent(kind, grown, SHARE_BOTH) {
                fit = Fit::Usual;
            }
        });
        fit
    }
}

fn kinds_of(front: &Front) -> Option<[u64; 2]> {
    Some([front.asked.as_ref()?.kind, front.answered.as_ref()?.kind])
}

/// All lengths of a range; one that is too wide to tell anything counts as its middle.
fn each(range: &RangeInclusive<i64>, mut take: impl FnMut(i64)) {
    let width = range.end().saturating_sub(*range.start());
    if (0..WIDTH_MAX).contains(&width) {
        range.clone().for_each(take);
    } else {
        take(range.start().midpoint(*range.end()));
    }
}

fn each_pair(one: &RangeInclusive<i64>, other: &RangeInclusive<i64>, mut take: impl FnMut([i64; 2])) {
    each(one, |one| each(other, |other| take([one, other])));
}

/// So many calls of a kind tell what is usual for it.
const CALLS_MIN: u32 = 8;
/// What counts as frequent beside the most frequent: for one message alone, and for both.
const SHARE_ONE: (u32, u32) = (1, 2);
const SHARE_BOTH: (u32, u32) = (3, 4);
/// Lengths in a range that are counted one by one.
const WIDTH_MAX: i64 = 64;
/// Lengths that are counted.
const COUNTS_MAX: usize = 1 << 18;
