//! What waits in a flow and for how long: holes that no late packet fills are given up, and counted as missing.

use crate::decode::ends::Way;
use crate::decode::flow::{Flow, Surroundings};
use crate::decode::limits::Limits;
use crate::decode::stream::{Stream, distance};
use crate::model::{Stamp, Timestamp};

/// A segment this far beyond what was acknowledged, at the end of a flow, belongs to no window.
const BEYOND_WINDOW: i64 = 1 << 26;

impl Flow {
    /// The time to look at what waits: holes that the receiver has acknowledged, and that no late packet filled, are given up.
    pub(in crate::decode) fn handle_wake(&mut self, now: Timestamp, around: &mut Surroundings<'_, '_>) {
        let stamp = Stamp { at: now, frame: self.last.frame };
        self.give_up(stamp, Some(now), around);
        self.settle(self.last, around);
        let since = self.streams.iter().filter_map(Stream::waits_since).min();
        self.set_wake(since.map(|since| since.max(now).after(around.limits.reorder_window)));
    }

    /// Gives up holes: with a time, those whose waiting segment is older than the window and that were acknowledged;
    /// without one, the first that stands in the way.
    pub(super) fn give_up(&mut self, stamp: Stamp, now: Option<Timestamp>, around: &mut Surroundings<'_, '_>) {
        self.start_streams(around.limits, now);
        self.deliver_held(around);
        for _ in 0..around.limits.pending_segments_per_stream_max {
            if let Some((from, length)) = self.hole(now, around.limits) {
                self.miss(from, length, stamp, around);
            } else if let Some(from) = self.knot(now, around.limits) {
                self.deliver_front(from, around);
            } else {
                return;
            }
            self.deliver_held(around);
            if now.is_none() {
                return;
            }
        }
    }

    pub(super) fn miss(&mut self, from: Way, length: u32, stamp: Stamp, around: &mut Surroundings<'_, '_>) {
        let side = self.side(from, None);
        let stamp = self.stream(from).front().map_or(stamp, |front| front.stamp);
        self.read_gap(side, stamp, length, around);
        self.stream_mut(from).miss(length);
    }

    /// Starts streams whose SYN never came at the first octet known of them.
    fn start_streams(&mut self, limits: &Limits, now: Option<Timestamp>) {
        let is_due = |stream: &Stream| {
            stream.front().is_some_and(|front| now.is_none_or(|now| front.stamp.at.after(limits.reorder_window) <= now))
        };
        for from in Way::BOTH {
            let (stream, other) = (self.stream(from), self.stream(from.other()));
            if stream.is_started() || !(is_due(stream) || is_due(other)) {
                continue;
            }
            let first = stream.front().map(|front| front.seq);
            let near = |ack: &u32| first.is_none_or(|seq| (0..1 << 20).contains(&distance(*ack, seq)));
            if let Some(base) = stream.acked_min().filter(near).or(first) {
                self.stream_mut(from).start(base, false);
            }
        }
    }

    /// The next hole that may be given up: its stream and length.
    fn hole(&self, now: Option<Timestamp>, limits: &Limits) -> Option<(Way, u32)> {
        Way::BOTH.into_iter().find_map(|from| {
            let (stream, other) = (self.stream(from), self.stream(from.other()));
            let front = stream.front()?;
            if now.is_some_and(|now| front.stamp.at.after(limits.reorder_window) > now) {
                return None;
            }
            let ahead = distance(stream.next, front.seq);
            if ahead <= 0 {
                // It is next, so it waits for octets of the other side that it acknowledges.
                let unseen = front.ack.map_or(0, |ack| other.unseen_before(ack));
                let before_front = other.front().map_or(i64::MAX, |front| distance(other.next, front.seq));
                let length = i64::from(unseen).min(before_front);
                return u32::try_from(length).ok().filter(|length| *length > 0).map(|length| (from.other(), length));
            }
            let known = if now.is_none() || !other.seen { ahead } else { ahead.min(i64::from(stream.unseen())) };
            u32::try_from(known).ok().filter(|known| *known > 0).map(|known| (from, known))
        })
    }

    /// Retransmissions can make two segments wait for each other: each acknowledges what stands behind the other. Then the
    /// earlier one goes first.
    fn knot(&self, now: Option<Timestamp>, limits: &Limits) -> Option<Way> {
        let is_next = |from: &Way| {
            let stream = self.stream(*from);
            stream.is_started()
                && stream.front().is_some_and(|front| {
                    distance(stream.next, front.seq) <= 0
                        && now.is_none_or(|now| front.stamp.at.after(limits.reorder_window) <= now)
                })
        };
        Way::BOTH.into_iter().filter(is_next).min_by_key(|from| self.stream(*from).waits_since())
    }

    /// Segments that no window could have held: injected, or of another connection.
    pub(super) fn drop_beyond_window(&mut self) {
        for from in Way::BOTH {
            let stream = self.stream(from);
            let Some((front, edge)) = stream.front().zip(stream.edge()) else {
                continue;
            };
            if distance(edge, front.seq) > BEYOND_WINDOW {
                self.stream_mut(from).take_front();
            }
        }
    }
}
