//! Slots in the order in which they were queued, each with a deadline: sixteen octets for each slot, and any can leave.

use crate::model::Timestamp;

/// A queue of slots.
pub(super) struct Deadlines {
    places: Vec<Place>,
    first: u32,
    last: u32,
}

/// The place of one slot.
#[derive(Clone, Copy)]
struct Place {
    at: Timestamp,
    /// The slots before and after it; `NONE` at the ends. `ABSENT` before a slot that is not queued.
    before: u32,
    after: u32,
}

const NONE: u32 = u32::MAX;
const ABSENT: u32 = u32::MAX - 1;

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), first: NONE, last: NONE }
    }

    /// Queues a slot behind all others; one that was queued already leaves its old place.
    pub(super) fn push(&mut self, slot: u32, at: Timestamp) {
        self.remove(slot);
        let index = slot as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, Place { at, before: ABSENT, after: NONE });
        }
        let before = self.last;
        if let Some(place) = self.places.get_mut(index) {
            *place = Place { at, before, after: NONE };
        }
        self.set_after(before, slot);
        self.last = slot;
    }

    /// Takes a slot out, where it is queued.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.get_mut(slot as usize).filter(|place| place.before != ABSENT) else { return };
        let Place { before, after, .. } = *place;
        place.before = ABSENT;
        self.set_after(before, after);
        match self.places.get_mut(after as usize) {
            Some(next) => next.before = before,
            None => self.last = before,
        }
    }

    /// The first slot and its deadline.
    pub(super) fn first(&self) -> Option<(Timestamp, u32)> {
        self.places.get(self.first as usize).map(|place| (place.at, self.first))
    }

    /// Takes the first slot out if its deadline has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let (_, slot) = self.first().filter(|(at, _)| *at <= now)?;
        self.remove(slot);
        Some(slot)
    }

    fn set_after(&mut self, slot: u32, after: u32) {
        match self.places.get_mut(slot as usize) {
            Some(place) => place.after = after,
            None => self.first = after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn drain(queue: &mut Deadlines) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop_due(at(i64::MAX))).collect()
    }

    #[test]
    fn slots_leave_in_the_order_in_which_they_came() {
        let mut queue = Deadlines::new();
        assert_eq!(queue.first(), None);
        for slot in [5, 0, 9, 2] {
            queue.push(slot, at(i64::from(slot)));
        }
        assert_eq!(queue.first(), Some((at(5), 5)));
        assert_eq!(queue.pop_due(at(4)), None);
        assert_eq!(drain(&mut queue), [5, 0, 9, 2]);
        assert_eq!(queue.first(), None);
    }

    #[test]
    fn any_slot_can_leave_or_go_to_the_end() {
        let mut queue = Deadlines::new();
        for slot in 0..6 {
            queue.push(slot, at(1));
        }
        for slot in [0, 3, 5, 5, 77] {
            queue.remove(slot);
        }
        queue.push(1, at(2));
        queue.push(3, at(3));
        assert_eq!(drain(&mut queue), [2, 4, 1, 3]);
        queue.push(4, at(4));
        queue.push(4, at(5));
        assert_eq!((queue.first(), drain(&mut queue)), (Some((at(5), 4)), vec![4]));
    }
}
