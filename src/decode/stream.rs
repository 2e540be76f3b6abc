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

/// One direction of a flow. It is small, since a table holds very many: what most streams never need is apart.
#[derive(Default)]
pub(super) struct Stream {
    /// Octets delivered or given up.
    passed: u64,
    /// The highest acknowledgment by the other side, and the lowest one, as `acked` tells.
    acks: u64,
    /// Where the last of its octets are that were kept to compare.
    pub(super) kept: Kept,
    rare: Option<Box<Rare>>,
    /// The next octet to deliver; meaningless until `start` is known.
    pub(super) next: u32,
    /// The octet after the last one, where `end` is not open.
    fin: u32,
    segments: u32,
    start: Start,
    end: End,
    acked: Acked,
    /// Whether a packet of this direction was seen.
    pub(super) seen: bool,
}

/// What few streams have.
#[derive(Default)]
struct Rare {
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The initial sequence number of a SYN that does not belong to this connection (yet).
    other_isn: Option<u32>,
    missing: u64,
    retransmitted: u64,
    /// How many times the count of segments came round.
    segments_turns: u32,
}

/// Whether the first octet of a stream is known.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Start {
    #[default]
    Unknown,
    /// From what was seen first.
    Guessed,
    /// From the SYN.
    Syn,
}

/// Whether a stream has ended.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// A FIN was seen.
    Fin,
    /// Its end was given to the reader above.
    Told,
}

/// What is known of the acknowledgments by the other side.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Acked {
    /// There was none.
    #[default]
    Never,
    /// It is not known where the stream starts: the highest number, and above it in the word the lowest.
    Early,
    /// So many octets from the start of the stream: unlike numbers, they do not come round again in a long stream.
    Until,
}

/// The windows of real hosts are far smaller.
const WINDOW_MAX: i64 = 1 << 26;

/// No window reaches further (RFC 7323 section 2.3): an acknowledgment beyond it is none of this stream.
const ACKNOWLEDGED_AHEAD_MAX: i64 = 1 << 30;

/// How far `to` lies after `from` in sequence space, negative if before (RFC 9293 section 3.4).
pub(super) const fn distance(from: u32, to: u32) -> i64 {
    to.wrapping_sub(from).cast_signed() as i64
}

/// Whether an acknowledgment so far after the next octet tells of octets that were not delivered yet, where no FIN was seen.
#[inline]
pub(super) const fn is_unseen(ahead: i64) -> bool {
    ahead > 0 && ahead <= ACKNOWLEDGED_AHEAD_MAX
}

impl Stream {
    /// Fixes the first octet.
    pub(super) fn start(&mut self, base: u32, has_syn: bool) {
        self.next = base;
        self.start = if has_syn { Start::Syn } else { Start::Guessed };
        if self.acked == Acked::Early {
            // What was acknowledged before may be of another connection.
            let ahead = distance(base, self.acks as u32);
            let is_near = ahead.abs() <= ACKNOWLEDGED_AHEAD_MAX;
            self.acked = if is_near { Acked::Until } else { Acked::Never };
            self.acks = u64::try_from(ahead).unwrap_or(0);
        }
    }

    /// Whether the next octet is known.
    pub(super) fn is_started(&self) -> bool {
        self.start != Start::Unknown
    }

    /// Whether its SYN was seen.
    pub(super) fn has_syn(&self) -> bool {
        self.start == Start::Syn
    }

    /// The SYN of a stream that was started without it came late.
    pub(super) const fn note_syn(&mut self) {
        self.start = Start::Syn;
    }

    /// The first octet that is known.
    pub(super) const fn base(&self) -> u32 {
        self.next.wrapping_sub(self.passed as u32)
    }

    /// The initial sequence number of a SYN that does not belong to this connection (yet).
    pub(super) fn other_isn(&self) -> Option<u32> {
        self.rare.as_ref()?.other_isn
    }

    /// Takes note of a SYN that does not belong to this connection (yet).
    pub(super) fn set_other_isn(&mut self, isn: u32) {
        self.rare().other_isn = Some(isn);
    }

    /// The octet after the last one, where a FIN was seen.
    pub(super) fn fin(&self) -> Option<u32> {
        (self.end != End::Open).then_some(self.fin)
    }

    /// Takes note of a FIN after the octets before `fin`.
    pub(super) fn set_fin(&mut self, fin: u32) {
        self.fin = fin;
        if self.end == End::Open {
            self.end = End::Fin;
        }
    }

    /// Whether its end was given to the reader above.
    pub(super) fn is_finished(&self) -> bool {
        self.end == End::Told
    }

    /// Takes note that its end was given to the reader above.
    pub(super) const fn finish(&mut self) {
        self.end = End::Told;
    }

    /// Whether there is an end that was not given to the reader above yet.
    pub(super) fn is_ending(&self) -> bool {
        self.end == End::Fin
    }

    /// Whether it is started, nothing of it waits and its end is not in sight.
    pub(super) fn is_plain(&self) -> bool {
        let is_plain = |rare: &Rare| rare.held.is_empty() && rare.other_isn.is_none();
        self.is_started() && self.end == End::Open && self.rare.as_deref().is_none_or(is_plain)
    }

    /// Takes an acknowledgment sent by the other side.
    pub(super) fn note_ack(&mut self, ack: u32) {
        if self.is_started() {
            self.note_ack_ahead(distance(self.next, ack));
            return;
        }
        let (least, most) = match self.acked {
            Acked::Early => ((self.acks >> 32) as u32, self.acks as u32),
            Acked::Never | Acked::Until => (ack, ack),
        };
        let least = if distance(least, ack) < 0 { ack } else { least };
        let most = if distance(most, ack) > 0 { ack } else { most };
        self.acked = Acked::Early;
        self.acks = u64::from(least) << 32 | u64::from(most);
    }

    /// Takes an acknowledgment so far after the next octet of a started stream.
    #[inline]
    pub(super) fn note_ack_ahead(&mut self, ahead: i64) {
        let until = self.passed.saturating_add_signed(ahead);
        let is_news = self.acked != Acked::Until || self.acks < until;
        if is_news && ahead <= ACKNOWLEDGED_AHEAD_MAX {
            (self.acked, self.acks) = (Acked::Until, until);
        }
    }

    /// The lowest acknowledgment by the other side, while the start is not known.
    pub(super) fn acked_min(&self) -> Option<u32> {
        (self.acked == Acked::Early).then_some((self.acks >> 32) as u32)
    }

    /// The number that the other side acknowledged, or else the next one where that is known.
    pub(super) fn edge(&self) -> Option<u32> {
        match self.acked {
            Acked::Early => Some(self.acks as u32),
            Acked::Until => self.acked_ahead().map(|ahead| self.next.wrapping_add(ahead as u32)),
            Acked::Never => self.is_started().then_some(self.next),
        }
    }

    /// Octets before `ack` that were not delivered yet: the other side has them, this view has not.
    pub(super) fn unseen_before(&self, ack: u32) -> u32 {
        let ahead = distance(self.next, ack);
        let is_reached = self.is_started() && ahead <= ACKNOWLEDGED_AHEAD_MAX;
        if is_reached { u32::try_from(self.without_fin(ahead)).unwrap_or(0) } else { 0 }
    }

    /// Octets that the other side acknowledged and that were not delivered.
    pub(super) fn unseen(&self) -> u32 {
        self.acked_ahead().map_or(0, |ahead| u32::try_from(self.without_fin(ahead)).unwrap_or(0))
    }

    /// How far the other side acknowledged beyond the next octet, negative if it has still to; `None` where it never did.
    fn acked_ahead(&self) -> Option<i64> {
        match self.acked {
            Acked::Until => Some(self.acks.cast_signed() - self.passed.cast_signed()),
            Acked::Early | Acked::Never => None,
        }
    }

    /// An acknowledgment of the FIN counts one more than there are octets.
    fn without_fin(&self, ahead: i64) -> i64 {
        let ack = self.next.wrapping_add(ahead as u32);
        ahead - i64::from(self.fin().is_some_and(|fin| distance(fin, ack) > 0))
    }

    /// Octets before the FIN that were not delivered: it proves that they were sent. One that lies where no window reaches was
    /// not sent by this side.
    pub(super) fn unseen_before_fin(&self) -> u32 {
        let ahead = self.fin().map_or(0, |fin| distance(self.next, fin));
        if self.is_started() && ahead <= WINDOW_MAX { u32::try_from(ahead).unwrap_or(0) } else { 0 }
    }

    /// Counts a segment with payload.
    pub(super) fn count_segment(&mut self) {
        match self.segments.checked_add(1) {
            Some(segments) => self.segments = segments,
            None => {
                self.segments = 0;
                self.rare().segments_turns += 1;
            }
        }
    }

    /// Counts octets that came again.
    pub(super) fn count_retransmitted(&mut self, length: u32) {
        self.rare().retransmitted += u64::from(length);
    }

    /// Takes octets off the front of what is expected.
    #[inline]
    pub(super) fn deliver(&mut self, length: u32) {
        self.next = self.next.wrapping_add(length);
        self.passed += u64::from(length);
    }

    /// Gives up octets that never came.
    pub(super) fn miss(&mut self, length: u32) {
        if length > 0 {
            self.deliver(length);
            self.rare().missing += u64::from(length);
        }
    }

    /// Octets that were delivered.
    pub(super) fn delivered(&self) -> u64 {
        self.passed - self.rare.as_ref().map_or(0, |rare| rare.missing)
    }

    /// Whether everything up to the FIN was delivered.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_started() && self.fin().is_some_and(|fin| distance(fin, self.next) >= 0)
    }

    /// Octets that wait.
    pub(super) fn held_bytes(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.held_bytes)
    }

    /// Segments that wait.
    pub(super) fn held_segments(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.held.len())
    }

    /// The first segment that waits.
    pub(super) fn front(&self) -> Option<&Held> {
        self.rare.as_ref()?.held.front()
    }

    /// Whether some segment waits.
    pub(super) fn has_held(&self) -> bool {
        self.held_segments() > 0
    }

    /// When the first waiting segment came.
    pub(super) fn waits_since(&self) -> Option<Timestamp> {
        self.front().map(|held| held.stamp.at)
    }

    /// Puts a segment in its place by sequence number. A segment that is held already, octet for octet, is counted as
    /// retransmitted. Tells whether one that overlaps it holds different bytes.
    pub(super) fn hold(&mut self, segment: Held) -> Overlap {
        let rare = self.rare();
        let queue = &mut rare.held;
        let after = queue.iter().rposition(|held| distance(held.seq, segment.seq) >= 0).map_or(0, |at| at + 1);
        let mut overlap = Overlap::Same;
        for neighbour in after.saturating_sub(1)..=after {
            if let Some(held) = queue.get(neighbour) {
                overlap = overlap.max(compare(held, &segment));
                if held.seq == segment.seq && held.length >= segment.length {
                    rare.retransmitted += u64::from(segment.length);
                    return overlap;
                }
            }
        }
        rare.held_bytes += segment.bytes.len() + HELD_OVERHEAD;
        queue.insert(after, segment);
        overlap
    }

    /// Takes the first waiting segment.
    pub(super) fn take_front(&mut self) -> Option<Held> {
        let rare = self.rare.as_mut()?;
        let segment = rare.held.pop_front()?;
        rare.held_bytes = rare.held_bytes.saturating_sub(segment.bytes.len() + HELD_OVERHEAD);
        if rare.held.is_empty() {
            rare.held = VecDeque::new();
        }
        Some(segment)
    }

    /// The account of the stream.
    pub(super) fn account(&self) -> StreamCount {
        let beyond = self.acked_ahead().map_or(0, |ahead| self.without_fin(ahead));
        let (missing, retransmitted, turns) =
            self.rare.as_ref().map_or((0, 0, 0), |rare| (rare.missing, rare.retransmitted, rare.segments_turns));
        StreamCount {
            delivered: self.delivered(),
            missing,
            acknowledged: self.passed.saturating_add_signed(beyond),
            retransmitted,
            segments: u64::from(turns) << 32 | u64::from(self.segments),
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
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
        stream.set_fin(140);
        assert_eq!(stream.unseen_before_fin(), 30);
        stream.set_fin(140 + (1 << 27));
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
        stream.set_fin(110);
        stream.note_ack(111);
        assert_eq!(stream.unseen(), 0);
        assert_eq!(stream.account().acknowledged, 10);
        stream.note_ack(121);
        assert_eq!(stream.unseen(), 10);
    }
}
