//! The line of events that wait for their turn, by number.

use std::collections::VecDeque;

use crate::hops::correlate::Join;
use crate::hops::fingerprint::Keys;
use crate::hops::partners::Sides;
use crate::model::{Event, Exchange, ExchangeId, Timestamp};

/// One event in the line.
pub(super) struct Waiting {
    pub(super) event: Event,
    pub(super) arrived: Timestamp,
    /// By which it can be found; zeros where it need not be.
    pub(super) keys: Keys,
    pub(super) bytes: usize,
    /// Where partners are possible.
    pub(super) sides: Sides,
    pub(super) up: Option<Link>,
    pub(super) down: Option<Link>,
    /// Partners whose turn came first.
    pub(super) kept_up: Option<Box<Exchange>>,
    pub(super) kept_down: Option<Box<Exchange>>,
    /// The name of the trace, where those nearer the client have left.
    pub(super) root: Option<ExchangeId>,
}

/// A partner.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) join: Join,
}

/// Events in order, numbered from 0 over the whole run.
#[derive(Default)]
pub(super) struct Line {
    events: VecDeque<Waiting>,
    first: u64,
    bytes: usize,
}

/// Numbers with the same key, in order.
pub(super) enum Bucket {
    One(u64),
    Many(VecDeque<u64>),
}

impl Waiting {
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        match &self.event {
            Event::Exchange(exchange) => Some(exchange),
            _ => None,
        }
    }
}

impl Line {
    pub(super) fn push(&mut self, event: Event, sides: Sides, arrived: Timestamp) -> u64 {
        let bytes = bytes_of(&event);
        self.bytes += bytes;
        self.events.push_back(Waiting {
            event,
            arrived,
            keys: Keys::default(),
            bytes,
            sides,
            up: None,
            down: None,
            kept_up: None,
            kept_down: None,
            root: None,
        });
        self.first + self.events.len() as u64 - 1
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.events.pop_front()?;
        self.first += 1;
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        Some(waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the event whose turn is next.
    pub(super) fn first(&self) -> Option<u64> {
        (!self.events.is_empty()).then_some(self.first)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Waiting> {
        self.events.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Waiting> {
        self.events.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn exchange(&self, number: u64) -> Option<&Exchange> {
        self.get(number)?.exchange()
    }

    /// Joins two exchanges.
    pub(super) fn link(&mut self, front: u64, back: u64, join: Join) {
        if let Some(waiting) = self.get_mut(front) {
            waiting.up = Some(Link { number: back, join });
        }
        self.link_resend(front, back, join);
    }

    /// Joins `back` to `front`, which has its answer from another one.
    pub(super) fn link_resend(&mut self, front: u64, back: u64, join: Join) {
        if let Some(waiting) = self.get_mut(back) {
            waiting.down = Some(Link { number: front, join });
        }
    }

    /// Counts what is kept for a partner.
    pub(super) fn count_kept(&mut self, bytes: usize, link: Option<Link>) {
        if let Some(waiting) = link.and_then(|link| self.get_mut(link.number)) {
            waiting.bytes += bytes;
            self.bytes += bytes;
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

    /// Removes a number, which is the oldest; tells whether none is left.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::One(first) => *first == number,
            Self::Many(numbers) => {
                if numbers.front() == Some(&number) {
                    numbers.pop_front();
                }
                numbers.is_empty()
            }
        }
    }
}

/// About how much memory an event holds.
fn bytes_of(event: &Event) -> usize {
    const FIELD_BYTES: usize = 20;
    const EVENT_BYTES: usize = 256;
    let Event::Exchange(exchange) = event else {
        return EVENT_BYTES;
    };
    let request = &exchange.request;
    let own = size_of::<Exchange>() + EVENT_BYTES;
    let asked = request.headers.text().len() + request.headers.len() * FIELD_BYTES + request.body.kept.capacity();
    let told = exchange.response().map_or(0, |response| {
        size_of_val(response)
            + response.headers.text().len()
            + response.headers.len() * FIELD_BYTES
            + response.body.kept.capacity()
    });
    own + asked + told
}
