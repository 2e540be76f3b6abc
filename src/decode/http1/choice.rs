//! Which request a response answers: the first one that waits, unless a gap makes that doubtful.

use crate::decode::http1::connection::Connection;
use crate::decode::http1::notes::Notes;
use crate::decode::http1::pending::{Answer, Pending};
use crate::model::{Anomaly, Request, Stamp};

impl Connection {
    /// The place in the queue of the exchange that a response beginning at `stamp` belongs to; one with an empty request is
    /// made where none fits.
    ///
    /// Without gaps this is the first that waits. After a gap of the server any number of responses may be gone. A client
    /// that does not pipeline sends a request only after the response to the one before, so the response belongs to the last
    /// request that had begun when it came, and those before it lost theirs. With pipelining the one that was due at the gap
    /// lost its response.
    pub(super) fn choose_answered(&mut self, stamp: Stamp) -> usize {
        if self.given_up > 0 && !self.pending.is_empty() {
            self.given_up -= 1;
            return self.insert_unasked(0);
        }
        let Some(first) = self.pending.iter().position(|pending| pending.is_waiting()) else {
            return self.insert_unasked(self.pending.len());
        };
        let is_unasked = self.pending.get(first).is_some_and(|pending| pending.request().method().is_empty());
        if self.client.gap_ever && !is_unasked && self.began_after(first, stamp) {
            // It came before the first request that waits: its own request was in a gap.
            return self.insert_unasked(first);
        }
        let last = (first + 1..self.pending.len()).rev().find(|&at| !self.began_after(at, stamp)).unwrap_or(first);
        if !self.server.gap {
            self.pipelines |= last > first;
            return first;
        }
        let doubtful = self.pending.get(first).is_some_and(|pending| pending.answer == Answer::Doubtful);
        let chosen = match (last > first, self.pipelines || self.came_together(first, last)) {
            (true, false) => last,
            (true, true) if doubtful => first + 1,
            (false, _) if doubtful && self.client.gap => {
                // Both the response due and a later request are gone.
                self.give_up_before(first + 1);
                return self.insert_unasked(self.pending.len());
            }
            _ => first,
        };
        let moved = self.give_up_before(chosen);
        chosen.saturating_sub(moved)
    }

    /// Marks the answers of the waiting requests before `end` as lost; gives how many exchanges left the queue by that.
    fn give_up_before(&mut self, end: usize) -> usize {
        for pending in self.pending.iter_mut().take(end).filter(|pending| pending.is_waiting()) {
            pending.answer = Answer::Lost;
            pending.notes.add(Anomaly::GapInHead);
        }
        let before = self.pending.len();
        self.advance();
        before - self.pending.len()
    }

    fn insert_unasked(&mut self, at: usize) -> usize {
        let mut notes = Notes::default();
        notes.add(Anomaly::ResponseWithoutRequest);
        let at = at.min(self.pending.len());
        let unasked = Pending::new(self.endpoints, Request::default(), notes, Stamp::default());
        self.pending.insert(at, Pending { request_ended: true, ..unasked });
        at
    }

    fn began_after(&self, at: usize, stamp: Stamp) -> bool {
        self.pending.get(at).is_some_and(|pending| is_later(pending.start, stamp))
    }

    /// Whether two neighbours between `first` and `last` came in one frame, which only a client that pipelines sends.
    fn came_together(&self, first: usize, last: usize) -> bool {
        let range = self.pending.iter().take(last + 1).skip(first);
        let next = self.pending.iter().take(last + 1).skip(first + 1);
        range.zip(next).any(|(one, two)| one.request().frames.last() == two.request().frames.first())
    }
}

/// Whether `one` was captured after `two`; frame numbers decide between equal times.
fn is_later(one: Stamp, two: Stamp) -> bool {
    (one.at, one.frame) > (two.at, two.frame)
}
