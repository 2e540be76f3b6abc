//! Which sealed exchanges lie within which calls, by time, and are about as long.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::hops::sealed::front::{Front, Octets};
use crate::model::{SealedExchange, SealedMessage, Timestamp};

/// The calls to one address and the sealed exchanges from it, each with its place in the whole; the latter in order of time.
#[derive(Default)]
pub(super) struct Group<'x> {
    pub(super) fronts: Vec<(usize, &'x Front)>,
    pub(super) sealed: Vec<(usize, &'x SealedExchange)>,
    /// Their indices, in order of the length of their answer.
    by_answer: Vec<usize>,
    /// The widest range of such a length.
    width_max: u64,
}

/// A sealed exchange that may be the next leg of a call, and by how much its messages are longer there, in octets.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Its index in the group.
    pub(super) sealed: usize,
    pub(super) asked: RangeInclusive<i64>,
    pub(super) answered: RangeInclusive<i64>,
}

impl Group<'_> {
    /// Puts the sealed exchanges in order.
    pub(super) fn sort(&mut self) {
        self.sealed.sort_by_key(|(_, sealed)| (sealed.request.start, sealed.id));
        let answers = || self.sealed.iter().map(|(_, sealed)| &sealed.response.octets);
        self.width_max = answers().map(|octets| octets.end().saturating_sub(*octets.start())).max().unwrap_or(0);
        let starts: Vec<u64> = answers().map(|octets| *octets.start()).collect();
        self.by_answer = (0..starts.len()).collect();
        self.by_answer.sort_by_key(|index| starts.get(*index).copied());
    }

    /// The candidates of a call; of very many only the first.
    pub(super) fn candidates<'g>(&'g self, front: &'g Front) -> impl Iterator<Item = Candidate> + 'g {
        self.within(front).take(SCANNED_MAX).filter_map(|index| self.candidate(front, index))
    }

    /// All candidates of a call whose answer grew by so much; `None` where those that could be are too many.
    pub(super) fn all_candidates(&self, front: &Front, grown: Option<RangeInclusive<i64>>) -> Option<Vec<Candidate>> {
        let by_time = self.within(front);
        let by_answer = grown.zip(front.answered.as_ref()).map_or(&[][..], |(grown, answered)| {
            let least = answered.range.start().saturating_add_signed(*grown.start()).saturating_sub(self.width_max);
            let most = answered.range.end().saturating_add_signed(*grown.end());
            let length = |index: &usize| self.sealed.get(*index).map_or(0, |(_, sealed)| *sealed.response.octets.start());
            let first = self.by_answer.partition_point(|index| length(index) < least);
            let last = self.by_answer.partition_point(|index| length(index) <= most);
            self.by_answer.get(first..last).unwrap_or_default()
        });
        let is_shorter = front.answered.is_some() && !by_answer.is_empty() && by_answer.len() < by_time.len();
        let count = if is_shorter { by_answer.len() } else { by_time.len() };
        let find = |index| self.candidate(front, index);
        (count <= COMPARED_MAX).then(|| {
            if is_shorter { by_answer.iter().copied().filter_map(find).collect() } else { by_time.filter_map(find).collect() }
        })
    }

    /// Those whose request began within the call.
    fn within(&self, front: &Front) -> std::ops::Range<usize> {
        let earliest = front.start.before(SKEW_MAX);
        let latest = front.first_byte.map_or(front.start, |at| at.after(SKEW_MAX));
        let first = self.sealed.partition_point(|(_, sealed)| sealed.request.start < earliest);
        first..self.sealed.partition_point(|(_, sealed)| sealed.request.start <= latest).max(first)
    }

    fn candidate(&self, front: &Front, index: usize) -> Option<Candidate> {
        candidate(front, self.sealed.get(index)?.1, index)
    }
}

fn candidate(front: &Front, sealed: &SealedExchange, index: usize) -> Option<Candidate> {
    if sealed.endpoints.server == front.server || !is_nested(front, sealed) {
        return None;
    }
    let asked = grown(front.asked.as_ref()?, &sealed.request);
    let answered = grown(front.answered.as_ref()?, &sealed.response);
    let is_near = |grown: &RangeInclusive<i64>| *grown.start() <= GROWN_MAX && *grown.end() >= -GROWN_MAX;
    (is_near(&asked) && is_near(&answered)).then_some(Candidate { sealed: index, asked, answered })
}

/// Whether the proxy can have asked after it was asked, and answered after it was answered. It sends the last octet of either
/// message after it has come.
fn is_nested(front: &Front, sealed: &SealedExchange) -> bool {
    let not_before = |later: Timestamp, earlier: Timestamp| earlier.since(later) <= SKEW_MAX;
    let (request, response) = (&sealed.request, &sealed.response);
    not_before(request.start, front.start)
        && front.request_end.is_none_or(|end| not_before(request.end, end))
        && front.first_byte.is_some_and(|first| not_before(first, response.start))
        && front.end.is_some_and(|end| not_before(end, response.end))
}

/// By how many octets a message is longer on the hop that stays shut.
fn grown(message: &Octets, sealed: &SealedMessage) -> RangeInclusive<i64> {
    let less = |one: &u64, other: &u64| i64::try_from(*one).unwrap_or(i64::MAX).saturating_sub_unsigned(*other);
    less(sealed.octets.start(), message.range.end())..=less(sealed.octets.end(), message.range.start())
}

/// Captures of several interfaces put packets that much out of order.
const SKEW_MAX: Duration = Duration::from_millis(1);

/// A proxy adds or drops some fields, not more than this.
const GROWN_MAX: i64 = 2048;

/// So many sealed exchanges are looked at for one call, to learn from them.
const SCANNED_MAX: usize = 4096;

/// So many are looked at to find the one.
const COMPARED_MAX: usize = 1 << 14;
