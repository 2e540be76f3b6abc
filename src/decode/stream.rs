//! One direction of a flow: which octet comes next, what waits for a missing one, and the account of both.

use std::collections::VecDeque;

use crate::decode::recent::Kept;
use crate::model::{Stamp, StreamCount, Timestamp};

/// A segment that waits: for octets before it, or for octets of the other direction that it acknowledges.
pub(super) struct Held {
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) stamp: Stamp,
    /// Octets on the wire; `bytes` holds fewer where the capture does.
    pub(super) length: u32,
    pub(super) bytes: Vec<u8>,
}

/// One direction of a flow.
#[derive(Default)]
pub(super) struct Stream {
    /// The next octet to deliver; meaningless until `started`.
    pub(super) next: u32,
    /// The first octet of the stream that is known.
    base: u32,
    /// Whether `next` is known.
    pub(super) started: bool,
    /// Whether `base` comes from a SYN.
    pub(super) has_syn: bool,
    /// Whether a packet of this direction was seen.
    pub(super) seen: bool,
    /// Whether its end was given to the reader above.
    pub(super) finished: bool,
    /// The octet after the last one, where a FIN was seen.
    pub(super) fin: Option<u32>,
    /// The lowest acknowledgment by the other side that was seen before the start was known.
    pub(super) acked_min: Option<u32>,
    acked: Acked,
    /// The initial sequence number of a SYN that does not belong to this connection (yet).
    pub(super) other_isn: Option<u32>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Where the last of its octets are that were kept to compare.
    pub(super) kept: Kept,
    pub(super) count: StreamCount,
}

/// The windows of real hosts are far smaller.
const WINDOW_MAX: i64 = 1 << 26;

/// The highest acknowledgment by the other side.
#[derive(Clone, Copy, Default)]
enum Acked {
    /// None was seen.
    #[default]
    Never,
    /// This one, while it is not known where the stream starts.
    Early(u32),
    /// So many octets from the start of the stream: unlike numbers, they do not come round again in a long stream.
    Until(u64),
}

/// No window reaches further (RFC 7323 section 2.3): an acknowledgment beyond it is none of this stream.
const ACKNOWLEDGED_AHEAD_MAX: i64 = 1 << 30;

/// How far `to` lies after `from` in sequence space, negative if before (RFC 9293 section 3.4).
pub(super) const fn distance(from: u32, to: u32) -> i64 {
    to.wrapping_sub(from).cast_signed() as i64
}

impl Stream {
    /// Fixes the first octet.
    pub(super) fn start(&mut self, base: u32, has_syn: bool) {
        self.base = base;
        self.next = base;
        self.started = true;
        if let Acked::Early(ack) = self.acked {
            // What was acknowledged before may be of another connection.
            let ahead = distance(base, ack);
            let is_near = ahead.abs() <= ACKNOWLEDGED_AHEAD_MAX;
            self.acked = if is_near { Acked::Until(u64::try_from(ahead).unwrap_or(0)) } else { Acked::Never };
        }
        self.has_syn |= has_syn;
    }

    /// The first octet that is known.
    pub(super) const fn base(&self) -> u32 {
        self.base
    }

    /// Takes an acknowledgment sent by the other side.
    pub(super) fn note_ack(&mut self, ack: u32) {
        if self.started {
            let ahead = distance(self.next, ack);
            let until = self.passed().saturating_add_signed(ahead);
            match self.acked {
                _ if ahead > ACKNOWLEDGED_AHEAD_MAX => {}
                Acked::Until(have) if have >= until => {}
                _ => self.acked = Acked::Until(until),
            }
            return;
        }
        match self.acked {
            Acked::Early(have) if distance(have, ack) <= 0 => {}
            _ => self.acked = Acked::Early(ack),
        }
        if self.acked_min.is_none_or(|least| distance(least, ack) < 0) {
            self.acked_min = Some(ack);
        }
    }

    /// The number that the other side acknowledged, or else the next one where that is known.
    pub(super) fn edge(&self) -> Option<u32> {
        match self.acked {
            Acked::Early(ack) => Some(ack),
            Acked::Until(_) => self.acked_ahead().map(|ahead| self.next.wrapping_add(ahead as u32)),
            Acked::Never => self.started.then_some(self.next),
        }
    }

    /// Octets before `ack` that were not delivered yet: the other side has them, this view has not.
    pub(super) fn unseen_before(&self, ack: u32) -> u32 {
        let ahead = distance(self.next, ack);
        let is_reached = self.started && ahead <= ACKNOWLEDGED_AHEAD_MAX;
        if is_reached { u32::try_from(self.without_fin(ahead)).unwrap_or(0) } else { 0 }
    }

    /// Octets that the other side acknowledged and that were not delivered.
    pub(super) fn unseen(&self) -> u32 {
        self.acked_ahead().map_or(0, |ahead| u32::try_from(self.without_fin(ahead)).unwrap_or(0))
    }

    /// How far the other side acknowledged beyond the next octet, negative if it has still to; `None` where it never did.
    fn acked_ahead(&self) -> Option<i64> {
        match self.acked {
            Acked::Until(until) => Some(until.cast_signed() - self.passed().cast_signed()),
            Acked::Early(_) | Acked::Never => None,
        }
    }

    /// An acknowledgment of the FIN counts one more than there are octets.
    fn without_fin(&self, ahead: i64) -> i64 {
        let ack = self.next.wrapping_add(ahead as u32);
        ahead - i64::from(self.fin.is_some_and(|fin| distance(fin, ack) > 0))
    }

    /// Octets delivered or given up.
    const fn passed(&self) -> u64 {
        self.count.delivered + self.count.missing
    }

    /// Octets before the FIN that were not delivered: it proves that they were sent. One that lies where no window reaches was
    /// not sent by this side.
    pub(super) fn unseen_before_fin(&self) -> u32 {
        let ahead = self.fin.map_or(0, |fin| distance(self.next, fin));
        if self.started && ahead <= WINDOW_MAX { u32::try_from(ahead).unwrap_or(0) } else { 0 }
    }

    /// Takes octets off the front of what is expected.
    pub(super) fn deliver(&mut self, length: u32) {
        self.next = self.next.wrapping_add(length);
        self.count.delivered += u64::from(length);
    }

    /// Gives up octets that never came.
    pub(super) fn miss(&mut self, length: u32) {
        self.next = self.next.wrapping_add(length);
        self.count.missing += u64::from(length);
    }

    /// Whether everything up to the FIN was delivered.
    pub(super) fn is_at_end(&self) -> bool {
        self.started && self.fin.is_some_and(|fin| distance(fin, self.next) >= 0)
    }

    /// Octets that wait.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Segments that wait.
    pub(super) fn held_segments(&self) -> usize {
        self.held.len()
    }

    /// The first segment that waits.
    pub(super) fn front(&self) -> Option<&Held> {
        self.held.front()
    }

    /// Whether some segment waits.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// When the first waiting segment came.
    pub(super) fn waits_since(&self) -> Option<Timestamp> {
        self.front().map(|held| held.stamp.at)
    }

    /// Puts a segment in its place by sequence number. A segment that is held already, octet for octet, is counted as
    /// retransmitted. Tells whether one that overlaps it holds different bytes.
    pub(super) fn hold(&mut self, segment: Held) -> Overlap {
        let queue = &mut self.held;
        let after = queue.iter().rposition(|held| distance(held.seq, segment.seq) >= 0).map_or(0, |at| at + 1);
        let mut overlap = Overlap::Same;
        for neighbour in after.saturating_sub(1)..=after {
            if let Some(held) = queue.get(neighbour) {
                overlap = overlap.max(compare(held, &segment));
                if held.seq == segment.seq && held.length >= segment.length {
                    self.count.retransmitted += u64::from(segment.length);
                    return overlap;
                }
            }
        }
        self.held_bytes += segment.bytes.len() + HELD_OVERHEAD;
        queue.insert(after, segment);
        overlap
    }

    /// Takes the first waiting segment.
    pub(super) fn take_front(&mut self) -> Option<Held> {
        let segment = self.held.pop_front();
        if let Some(segment) = &segment {
            self.held_bytes = self.held_bytes.saturating_sub(segment.bytes.len() + HELD_OVERHEAD);
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
        segment
    }

    /// The account of the stream; the acknowledged octets are filled in.
    pub(super) fn account(&self) -> StreamCount {
        let beyond = self.acked_ahead().map_or(0, |ahead| self.without_fin(ahead));
        let passed = self.passed();
        StreamCount { acknowledged: passed.saturating_add_signed(beyond), ..self.count }
    }
}

/// What one waiting segment costs beside its octets.
const HELD_OVERHEAD: usize = 64;

/// Whether two segments agree where they overlap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Overlap {
    /// They do, or do not overlap.
    Same,
    /// They hold different bytes for the same place.
    Differs,
}

fn compare(held: &Held, new: &Held) -> Overlap {
    let offset = distance(held.seq, new.seq);
    let (early, late, offset) = if offset >= 0 { (held, new, offset) } else { (new, held, -offset) };
    let early = early.bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let differs = early.iter().zip(&late.bytes).any(|(a, b)| a != b);
    if differs { Overlap::Differs } else { Overlap::Same }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(seq: u32, bytes: &[u8]) -> Held {
        Held { seq, ack: None, stamp: Stamp::default(), length: bytes.len() as u32, bytes: bytes.to_vec() }
    }

    #[test]
    fn waiting_segments_stand_in_order_across_the_wrap() {
        let mut stream = Stream::default();
        for seq in [5, u32::MAX - 2, 9] {
            stream.hold(held(seq, b"abcd"));
        }
        let order: Vec<u32> = std::iter::from_fn(|| stream.take_front()).map(|held| held.seq).collect();
        assert_eq!(order, [u32::MAX - 2, 5, 9]);
        assert_eq!(stream.held_bytes(), 0);
    }

    #[test]
    fn an_overlap_with_other_bytes_is_noticed() {
        let mut stream = Stream::default();
        assert!(stream.hold(held(10, b"abcd")) == Overlap::Same);
        assert!(stream.hold(held(12, b"cdef")) == Overlap::Same);
        assert!(stream.hold(held(11, b"bXd")) == Overlap::Differs);
    }

    #[test]
    fn a_fin_proves_the_octets_before_it() {
        let mut stream = Stream::default();
        stream.start(100, true);
        stream.deliver(10);
        stream.fin = Some(140);
        assert_eq!(stream.unseen_before_fin(), 30);
        stream.fin = Some(140 + (1 << 27));
        assert_eq!(stream.unseen_before_fin(), 0);
    }

    #[test]
    fn an_acknowledgment_that_no_window_reaches_is_none() {
        let mut stream = Stream::default();
        stream.start(100, true);
        stream.deliver(10);
        stream.note_ack(110 + (1 << 30) + 1);
        assert_eq!((stream.unseen(), stream.account().acknowledged), (0, 10));
        stream.note_ack(110 + (1 << 30));
        assert_eq!((stream.unseen(), stream.account().acknowledged), (1 << 30, 10 + (1 << 30)));
    }

    #[test]
    fn what_was_acknowledged_long_ago_does_not_come_round_again() {
        let mut stream = Stream::default();
        stream.start(100, true);
        stream.deliver(10);
        stream.note_ack(110);
        for _ in 0..7 {
            stream.deliver(1 << 29);
        }
        assert_eq!((stream.unseen(), stream.account().acknowledged), (0, 10));
    }

    #[test]
    fn an_acknowledged_fin_is_no_octet() {
        let mut stream = Stream::default();
        stream.start(100, true);
        stream.deliver(10);
        stream.fin = Some(110);
        stream.note_ack(111);
        assert_eq!(stream.unseen(), 0);
        assert_eq!(stream.account().acknowledged, 10);
        stream.note_ack(121);
        assert_eq!(stream.unseen(), 10);
    }
}
