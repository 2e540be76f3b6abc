//! The exchanges that wait for partners, by number in order of arrival.

use std::collections::VecDeque;

use crate::hops::correlate::Join;
use crate::hops::fingerprint::Keys;
use crate::hops::partners::Sides;
use crate::model::{Exchange, Timestamp};

/// One exchange that waits.
pub(super) struct Waiting {
    pub(super) exchange: Box<Exchange>,
    pub(super) arrived: Timestamp,
    /// By which it can be found; zeros where it need not be.
    pub(super) keys: Keys,
    /// Where partners are possible.
    pub(super) sides: Sides,
    pub(super) up: Option<(u64, Join)>,
    pub(super) down: Option<(u64, Join)>,
    /// Further sendings of the same request, which did not bring the answer.
    pub(super) resends: Vec<u64>,
    bytes: usize,
}

/// What waits. Places of what has left stay empty until all before them have left too.
#[derive(Default)]
pub(super) struct Line {
    places: VecDeque<Option<Box<Waiting>>>,
    /// The number of the first place.
    first: u64,
    count: usize,
    bytes: usize,
}

/// Numbers with the same key, in order.
pub(super) enum Bucket {
    One(u64),
    Many(VecDeque<u64>),
}

/// So many places stand for one exchange that may wait: most leave long before the oldest.
const PLACES_PER_EXCHANGE: usize = 16;

impl Waiting {
    /// Whether it has all partners it can have.
    pub(super) const fn is_whole(&self) -> bool {
        (self.up.is_some() || !self.sides.up) && (self.down.is_some() || !self.sides.down)
    }
}

impl Line {
    pub(super) fn push(&mut self, exchange: Box<Exchange>, sides: Sides, arrived: Timestamp) -> u64 {
        let bytes = bytes_of(&exchange);
        self.bytes += bytes;
        self.count += 1;
        let (keys, resends) = (Keys::default(), Vec::new());
        let waiting = Waiting { exchange, arrived, keys, sides, up: None, down: None, resends, bytes };
        self.places.push_back(Some(Box::new(waiting)));
        self.first + self.places.len() as u64 - 1
    }

    /// Takes an exchange out.
    pub(super) fn take(&mut self, number: u64) -> Option<Box<Waiting>> {
        let waiting = self.places.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)?.take()?;
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        self.count = self.count.saturating_sub(1);
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        Some(waiting)
    }

    /// The one that waits longest. The first place is never empty.
    pub(super) fn oldest(&self) -> Option<(u64, &Waiting)> {
        Some((self.first, self.places.front()?.as_deref()?))
    }

    /// Whether more waits than may.
    pub(super) fn is_beyond(&self, exchanges_max: usize, bytes_max: usize) -> bool {
        self.count > exchanges_max || self.bytes > bytes_max || self.places.len() > exchanges_max * PLACES_PER_EXCHANGE
    }

    pub(super) fn get(&self, number: u64) -> Option<&Waiting> {
        self.places.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Waiting> {
        self.places.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)?.as_deref_mut()
    }

    /// Joins two exchanges.
    pub(super) fn link(&mut self, front: u64, back: u64, join: Join) {
        if let Some(waiting) = self.get_mut(front) {
            waiting.up = Some((back, join));
        }
        if let Some(waiting) = self.get_mut(back) {
            waiting.down = Some((front, join));
        }
    }

    /// Joins `back` to `front`, which has its answer from another one.
    pub(super) fn link_resend(&mut self, front: u64, back: u64, join: Join) {
        if let Some(waiting) = self.get_mut(front) {
            waiting.resends.push(back);
        }
        if let Some(waiting) = self.get_mut(back) {
            waiting.down = Some((front, join));
        }
    }
}

impl Bucket {
    /// The latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = u64> + '_ {
        let (one, many) = match self {
            Self::One(number) => (Some(*number), None),
            Self::Many(numbers) => (None, Some(numbers)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|numbers| numbers.iter().rev().copied()))
    }

    pub(super) fn add(&mut self, number: u64) {
        match self {
            Self::One(first) => *self = Self::Many(VecDeque::from([*first, number])),
            Self::Many(numbers) => numbers.push_back(number),
        }
    }

    /// Removes a number; tells whether none is left.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::One(first) => *first == number,
            Self::Many(numbers) => {
                if let Ok(at) = numbers.binary_search(&number) {
                    numbers.remove(at);
                }
                numbers.is_empty()
            }
        }
    }
}

/// About how much memory an exchange holds.
fn bytes_of(exchange: &Exchange) -> usize {
    const FIELD_BYTES: usize = 20;
    let request = &exchange.request;
    let own = size_of::<Exchange>() + size_of::<Waiting>();
    let asked = request.headers.text().len() + request.headers.len() * FIELD_BYTES + request.body.kept.capacity();
    let told = exchange.response().map_or(0, |response| {
        size_of_val(response)
            + response.headers.text().len()
            + response.headers.len() * FIELD_BYTES
            + response.body.kept.capacity()
    });
    own + asked + told
}
