//! TCP headers in, a place in a stream out: which life of which direction, and how far from its start.
//!
//! Only headers count, never what could be read or was dropped, so several passes over one capture give the same places.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::decode::segment::Segment;
use crate::model::Endpoint;

/// One use of a direction between two endpoints: from a SYN to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Life(pub(super) u64);

/// Where the first octet of a payload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) life: Life,
    pub(super) offset: u64,
    /// Whether the offset is that of the stream's first octet, known by a SYN.
    pub(super) is_start: bool,
    /// The life that ended because this one began.
    pub(super) ended: Option<Life>,
}

/// All directions seen. Bounded; the one opened first goes beyond the bound, and what comes of it later is a new life.
pub(super) struct Directions {
    lives: HashMap<(Endpoint, Endpoint), Direction, RandomState>,
    order: VecDeque<(Endpoint, Endpoint)>,
    next: u64,
}

struct Direction {
    life: Life,
    isn: Option<u32>,
    seq: u32,
    offset: u64,
}

impl Directions {
    pub(super) fn new() -> Self {
        Self { lives: HashMap::default(), order: VecDeque::new(), next: 0 }
    }

    /// The place of a segment's payload.
    pub(super) fn place(&mut self, segment: &Segment) -> Place {
        let key = (segment.source, segment.destination);
        let is_start = segment.flags.syn();
        let seq = segment.seq.wrapping_add(u32::from(is_start));
        let mut ended = None;
        match self.lives.get_mut(&key) {
            Some(direction) if direction.continues(segment, seq) => {
                let offset = direction.advance(seq);
                return Place { life: direction.life, offset, is_start, ended };
            }
            Some(direction) => ended = Some(direction.life),
            None => {
                ended = self.make_room();
                self.order.push_back(key);
            }
        }
        let life = Life(self.next);
        self.next += 1;
        let isn = is_start.then_some(segment.seq);
        self.lives.insert(key, Direction { life, isn, seq, offset: FIRST_OFFSET });
        Place { life, offset: FIRST_OFFSET, is_start, ended }
    }

    fn make_room(&mut self) -> Option<Life> {
        if self.lives.len() < DIRECTIONS_MAX {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.lives.remove(&oldest).map(|direction| direction.life)
    }
}

impl Direction {
    /// Whether a segment belongs to this life.
    const fn continues(&self, segment: &Segment, seq: u32) -> bool {
        let distance = seq.wrapping_sub(self.seq).cast_signed();
        let is_near = distance.unsigned_abs() <= WINDOW;
        match (segment.flags.syn(), self.isn) {
            (true, Some(isn)) => isn == segment.seq,
            // A SYN that the capture holds late.
            (true, None) => is_near && distance <= 0,
            // So far from all that was seen it is another connection, whose SYN was not captured.
            (false, _) => is_near,
        }
    }

    fn advance(&mut self, seq: u32) -> u64 {
        let distance = seq.wrapping_sub(self.seq).cast_signed();
        let offset = self.offset.saturating_add_signed(i64::from(distance));
        if distance > 0 {
            self.seq = seq;
            self.offset = offset;
        }
        offset
    }
}

/// Where the first segment of a life stands, so that earlier ones which come late have room before it.
const FIRST_OFFSET: u64 = 1 << 40;
/// No window and no reordering spans more octets.
const WINDOW: u32 = 1 << 27;
const DIRECTIONS_MAX: usize = 1 << 21;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::segment::Flags;
    use std::net::IpAddr;

    fn segment(seq: u32, syn: bool) -> Segment {
        let end = |port| Endpoint::new(IpAddr::from([192, 0, 2, 1]), port);
        let flags = Flags::new(false, syn, false, false);
        Segment { source: end(1), destination: end(2), seq, ack: None, flags, payload_start: 0, payload_length: 0 }
    }

    #[test]
    fn places_go_on_over_the_wrap_and_a_new_syn_is_a_new_life() {
        let mut directions = Directions::new();
        let start = directions.place(&segment(u32::MAX - 4, true));
        assert_eq!(directions.place(&segment(u32::MAX - 3, false)).offset, start.offset);
        assert_eq!(directions.place(&segment(6, false)).offset, start.offset + 10);
        assert_eq!(directions.place(&segment(u32::MAX, false)).offset, start.offset + 3);
        assert_eq!(directions.place(&segment(u32::MAX - 4, true)).life, start.life);
        let next = directions.place(&segment(77, true));
        assert_eq!((next.life, next.ended), (Life(1), Some(start.life)));
        assert_eq!(directions.place(&segment(0x4000_0000, false)).life, Life(2));
    }
}
