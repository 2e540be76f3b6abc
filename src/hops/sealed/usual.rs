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
    kinds: HashMap<K, Kind<G>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    calls: u32,
    /// The call that was counted last, so that none counts twice.
    last: usize,
}

struct Kind<G> {
    calls: u32,
    best: u32,
    /// What is frequent, in order.
    frequent: Vec<G>,
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
    /// Learns from the calls of a group and their candidates; where there are many, from some of them.
    pub(super) fn learn(group: &Group<'_>) -> Self {
        let mut usual = Self { asked: Sums::new(), answered: Sums::new(), both: Sums::new() };
        let step = group.fronts.len().div_ceil(LEARNT_FROM_MAX).max(1);
        let fronts = || (1..).zip(group.fronts.iter().step_by(step));
        for (number, (_, front)) in fronts() {
            let Some([asked, answered]) = kinds_of(front) else { continue };
            let mut has_any = false;
            for candidate in group.candidates(front) {
                has_any = true;
                each(&candidate.asked, |grown| usual.asked.add(asked, grown, number));
                each(&candidate.answered, |grown| usual.answered.add(answered, grown, number));
            }
            if has_any {
                usual.asked.end(asked);
                usual.answered.end(answered);
            }
        }
        usual.asked.find_frequent(SHARE_ONE);
        usual.answered.find_frequent(SHARE_ONE);
        // Only what is frequent for each message can be frequent for both.
        for (number, (_, front)) in fronts() {
            let Some(kinds) = kinds_of(front) else { continue };
            let mut has_any = false;
            for candidate in group.candidates(front) {
                has_any = true;
                usual.add_pairs(kinds, &candidate, number);
            }
            if has_any {
                usual.both.end(kinds);
            }
        }
        usual.both.find_frequent(SHARE_BOTH);
        usual.asked.find_frequent(SHARE_BOTH);
        usual.answered.find_frequent(SHARE_BOTH);
        usual
    }

    /// Whether a candidate of a call grew as is usual for its kind.
    pub(super) fn fit(&self, front: &Front, candidate: &Candidate) -> Fit {
        let Some(kinds) = kinds_of(front) else { return Fit::Unusual };
        if let Some(frequent) = self.both.known(kinds) {
            let is_usual =
                |[asked, answered]: &[i64; 2]| candidate.asked.contains(asked) && candidate.answered.contains(answered);
            return if frequent.iter().any(is_usual) { Fit::Usual } else { Fit::Unusual };
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

    /// By how much the answer of a call can have grown, from the least to the most, where that is known.
    pub(super) fn answered(&self, front: &Front) -> Option<RangeInclusive<i64>> {
        let kinds @ [_, answered] = kinds_of(front)?;
        let (least, most) = match self.both.known(kinds) {
            Some(frequent) => {
                let of = || frequent.iter().map(|[_, answered]| *answered);
                (of().min()?, of().max()?)
            }
            None => {
                let frequent = self.answered.known(answered)?;
                (*frequent.first()?, *frequent.last()?)
            }
        };
        Some(least..=most)
    }

    fn add_pairs(&mut self, kinds: [u64; 2], candidate: &Candidate, number: usize) {
        let [asked, answered] = kinds;
        let (Some(asked), Some(answered)) = (self.asked.kinds.get(&asked), self.answered.kinds.get(&answered)) else { return };
        for one in asked.frequent.iter().filter(|grown| candidate.asked.contains(grown)) {
            for other in answered.frequent.iter().filter(|grown| candidate.answered.contains(grown)) {
                self.both.add(kinds, [*one, *other], number);
            }
        }
    }
}

impl<K: Copy + Eq + Hash, G: Copy + Eq + Hash + Ord> Sums<K, G> {
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

    /// Counts a call of a kind that has candidates.
    fn end(&mut self, kind: K) {
        self.kinds.entry(kind).or_insert_with(|| Kind { calls: 0, best: 0, frequent: Vec::new() }).calls += 1;
    }

    /// Finds what nearly as many calls of a kind have as have the most frequent, where that is most of the kind.
    fn find_frequent(&mut self, (share, of): (u32, u32)) {
        for ((kind, _), count) in &self.counts {
            if let Some(kind) = self.kinds.get_mut(kind) {
                kind.best = kind.best.max(count.calls);
                kind.frequent.clear();
            }
        }
        for ((kind, grown), count) in &self.counts {
            if let Some(kind) = self.kinds.get_mut(kind)
                && count.calls * of >= kind.best * share
                && kind.best * 2 >= kind.calls
                && kind.calls >= CALLS_MIN
            {
                kind.frequent.push(*grown);
            }
        }
        self.kinds.values_mut().for_each(|kind| kind.frequent.sort_unstable());
    }

    /// What is frequent for a kind of which enough was seen.
    fn known(&self, kind: K) -> Option<&[G]> {
        self.kinds.get(&kind).filter(|known| known.calls >= CALLS_MIN).map(|known| known.frequent.as_slice())
    }
}

impl Sums<u64, i64> {
    fn fit(&self, kind: u64, grown: &RangeInclusive<i64>) -> Fit {
        match self.known(kind) {
            None => Fit::Unknown,
            Some(frequent) if frequent.iter().any(|one| grown.contains(one)) => Fit::Usual,
            Some(_) => Fit::Unusual,
        }
    }
}

fn kinds_of(front: &Front) -> Option<[u64; 2]> {
    Some([front.asked.as_ref()?.kind, front.answered.as_ref()?.kind])
}

/// All lengths of a range, unless it is too wide to tell anything.
fn each(range: &RangeInclusive<i64>, take: impl FnMut(i64)) {
    if range.end().saturating_sub(*range.start()) < WIDTH_MAX {
        range.clone().for_each(take);
    }
}

/// So many calls of a kind tell what is usual for it.
const CALLS_MIN: u32 = 8;
/// What counts as frequent beside the most frequent: for one message alone, and for both.
const SHARE_ONE: (u32, u32) = (1, 2);
const SHARE_BOTH: (u32, u32) = (3, 4);
/// Lengths in a range that are counted one by one.
const WIDTH_MAX: i64 = 64;
/// So many calls are learnt from.
const LEARNT_FROM_MAX: usize = 2048;
/// Lengths that are counted.
const COUNTS_MAX: usize = 1 << 18;
