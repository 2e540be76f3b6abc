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
    /// Puts the sealed exchanges in order of time.
    pub(super) fn sort(&mut self) {
        self.sealed.sort_by_key(|(_, sealed)| (sealed.request.start, sealed.id));
    }

    /// The candidates of a call.
    pub(super) fn candidates<'g>(&'g self, front: &'g Front) -> impl Iterator<Item = Candidate> + 'g {
        let earliest = front.start.before(SKEW_MAX);
        let latest = front.first_byte.map_or(Timestamp::EPOCH, |at| at.after(SKEW_MAX));
        let first = self.sealed.partition_point(|(_, sealed)| sealed.request.start < earliest);
        let rest = self.sealed.iter().enumerate().skip(first).take(SCANNED_MAX);
        let within = rest.take_while(move |(_, (_, sealed))| sealed.request.start <= latest);
        within.filter_map(|(index, (_, sealed))| candidate(front, sealed, index))
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

/// So many sealed exchanges are looked at for one call; more at once tell little.
const SCANNED_MAX: usize = 4096;
