//! Holds the first events of a run until the parts of its hops are known: a proxy's own request to the store ends before the
//! client's request to the proxy, so what the proxy is would be known one exchange too late for the name of its hop.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Event, Timestamp};

/// The first events of a run, held back in order.
pub(super) struct Hold {
    events: VecDeque<Event>,
    is_over: bool,
    first_use: Option<Timestamp>,
}

/// Beyond so many events the run goes on with what is known.
const EVENTS_MAX: usize = 512;

/// So long after the first exchange of a user the hops in use have shown themselves.
const SETTLING: Duration = Duration::from_secs(1);

impl Hold {
    pub(super) const fn new() -> Self {
        Self { events: VecDeque::new(), is_over: false, first_use: None }
    }

    /// Takes an event; gives it back where nothing is held any more. `is_use` tells an exchange of a user from health checks.
    pub(super) fn take(&mut self, event: Event, is_use: bool, at: Timestamp) -> Option<Event> {
        if self.is_over {
            return Some(event);
        }
        if is_use && self.first_use.is_none() {
            self.first_use = Some(at);
        }
        self.is_over = self.events.len() >= EVENTS_MAX || self.first_use.is_some_and(|first| at.since(first) > SETTLING);
        self.events.push_back(event);
        None
    }

    /// Time went by without an event. While capturing live nobody shall wait for the next one.
    pub(super) fn handle_time(&mut self, now: Timestamp) {
        self.is_over |= self.first_use.is_some_and(|first| now.since(first) > SETTLING);
    }

    /// The events that need not be held any more, in order.
    pub(super) fn release(&mut self) -> Option<Event> {
        if self.is_over { self.events.pop_front() } else { None }
    }

    /// Ends holding, at the end of the run.
    pub(super) const fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether nothing is held and nothing will be.
    pub(super) fn is_idle(&self) -> bool {
        self.is_over && self.events.is_empty()
    }
}
