//! A table of flows: segments in, events out. Several tables can share the work of one capture, each with its own flows.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::decode::deadlines::Deadlines;
use crate::decode::ends::{Ends, Way};
use crate::decode::flow::{FastPath, Flow, Surroundings, Taken};
use crate::decode::http1::{Config, Shapes};
use crate::decode::limits::Limits;
use crate::decode::recent::Recent;
use crate::decode::segment::Segment;
use crate::decode::slab::Slab;
use crate::decode::tls::{KeyLog, Secrets, Sessions};
use crate::model::{Event, FlowId, FlowOpened, Loss, LossReason, Secret, Side, Stamp, Tail, Timestamp};

/// A segment on its way into a table.
pub struct Incoming<'a> {
    /// Number of its packet among all packets, from 1.
    pub ordinal: u64,
    /// Its frame and time.
    pub stamp: Stamp,
    /// The segment.
    pub segment: &'a Segment,
    /// The first octets of its payload.
    pub payload: &'a [u8],
    /// Octets of the payload that the capture holds.
    pub captured: u32,
    /// Reads those beyond `payload` from the packet.
    pub tail: Tail<'a>,
}

impl Incoming<'_> {
    /// Replaces `buffer` by the captured bytes of the payload from `offset` on, also those beyond [`Incoming::payload`].
    pub(super) fn read_rest(&self, offset: u32, buffer: &mut Vec<u8>) {
        self.tail.read(self.segment.payload_start.saturating_add(offset), buffer);
    }
}

/// The flows of one share of the traffic.
pub struct Flows {
    limits: Limits,
    flows: Slab<Flow>,
    /// The slots of flows by their ends, which stand in the flows only.
    by_ends: HashTable<u32>,
    hasher: RandomState,
    /// Where the flow of the last segment was: bulk traffic hits it.
    recent: u32,
    waking: VecDeque<(Timestamp, u32, FlowId)>,
    closing: Deadlines,
    idle: Deadlines,
    /// Before this time there is nothing to do in the three queues.
    soonest: Timestamp,
    held_bytes: usize,
    content_bytes: usize,
    now: Timestamp,
    keylog: KeyLog,
    sessions: Sessions,
    /// Where TLS records are opened.
    opened: Vec<u8>,
    recent_octets: Recent,
    /// What is left to close at the end, the last first.
    ending: Vec<(FlowId, u32)>,
    events: Vec<(u64, Event)>,
    /// No segment takes the fast path.
    #[cfg(test)]
    pub(super) is_slow: bool,
}

impl Flows {
    /// An empty table. The limits are those of this share; what it remembers of heads is its own.
    pub fn new(mut limits: Limits) -> Self {
        limits.http1 = Arc::new(Config { shapes: Shapes::default(), ..Config::clone(&limits.http1) });
        Self {
            keylog: KeyLog::new(),
            sessions: Sessions::new(),
            opened: Vec::new(),
            recent_octets: Recent::default(),
            limits,
            flows: Slab::new(),
            by_ends: HashTable::new(),
            hasher: RandomState::default(),
            recent: 0,
            waking: VecDeque::new(),
            closing: Deadlines::new(),
            idle: Deadlines::new(),
            soonest: Timestamp::from_nanos(i64::MAX),
            held_bytes: 0,
            content_bytes: 0,
            now: Timestamp::from_nanos(i64::MIN),
            ending: Vec::new(),
            events: Vec::new(),
            #[cfg(test)]
            is_slow: false,
        }
    }

    /// Learns a TLS secret.
    pub fn handle_secret(&mut self, secret: &Secret) {
        self.keylog.add(secret);
    }

    /// Takes a segment. Its time does not count for what waits: see [`Flows::handle_time`].
    pub fn handle_segment(&mut self, incoming: &Incoming<'_>) {
        let (ends, from) = Ends::of_segment(incoming.segment);
        let mut slot = match self.find(&ends) {
            Some(slot) => slot,
            None => self.insert(&ends, incoming),
        };
        let Some(flow) = self.flows.get_mut(slot) else { return };
        #[cfg(test)]
        let found = if self.is_slow { FastPath::Unusual } else { flow.fast_path(from, incoming) };
        #[cfg(not(test))]
        let found = flow.fast_path(from, incoming);
        match found {
            FastPath::Acknowledges => {}
            FastPath::Next(side) => self.handle_next(slot, from, side, incoming),
            // A fresh flow takes whatever comes first.
            FastPath::Unusual => {
                while self.handle_unusual(slot, from, incoming) == Taken::NewConnection {
                    self.close(slot, incoming.ordinal);
                    slot = self.insert(&ends, incoming);
                }
            }
        }
    }

    /// Time went on: what waited too long is given up, what ended is closed.
    #[inline]
    pub fn handle_time(&mut self, now: Timestamp, ordinal: u64) {
        if now > self.now {
            self.now = now;
            if now >= self.soonest {
                self.handle_deadlines(now, ordinal);
            }
        }
    }

    fn handle_deadlines(&mut self, now: Timestamp, ordinal: u64) {
        while let Some((_, slot, id)) = self.waking.pop_front_if(|(at, ..)| *at <= now) {
            self.wake(slot, id, ordinal);
        }
        while let Some(slot) = self.closing.pop_due(now) {
            match self.flows.get(slot).and_then(Flow::closing) {
                Some(deadline) if deadline <= now => self.close(slot, ordinal),
                Some(deadline) => self.closing.push(slot, deadline),
                // The flow went on after its RST.
                None => {}
            }
        }
        while let Some(slot) = self.idle.pop_due(now) {
            let Some(last) = self.flows.get(slot).map(Flow::last) else { continue };
            let deadline = last.after(self.limits.idle);
            if deadline <= now {
                self.close(slot, ordinal);
            } else {
                self.idle.push(slot, deadline);
            }
        }
        let wake = self.waking.front().map(|(at, ..)| *at);
        let firsts = [&self.closing, &self.idle].into_iter().filter_map(Deadlines::first).map(|(at, _)| at);
        self.soonest = firsts.chain(wake).min().unwrap_or(Timestamp::from_nanos(i64::MAX));
    }

    /// The end of the capture: every flow is closed, in order of its first packet.
    pub fn handle_end(&mut self, ordinal: u64) {
        self.end_until(ordinal, FlowId(u64::MAX));
    }

    /// Closes those flows of [`Flows::handle_end`] that began no later than `until`. What all of them come to need not be held at
    /// once where they are closed by and by.
    pub fn end_until(&mut self, ordinal: u64, until: FlowId) {
        if self.ending.is_empty() {
            self.ending = self.flows.iter().map(|(slot, flow)| (flow.id, slot)).collect();
            self.ending.sort_unstable_by_key(|(id, _)| Reverse(*id));
        }
        while let Some((id, slot)) = self.ending.pop_if(|(id, _)| *id <= until) {
            self.close(slot, ordinal.saturating_add(id.0));
        }
    }

    /// The flows that are open.
    pub fn open(&self) -> impl Iterator<Item = FlowId> {
        self.flows.iter().map(|(_, flow)| flow.id)
    }

    /// The events since the last call, each with the ordinal of the packet that led to it.
    pub fn take_events(&mut self, into: &mut Vec<(u64, Event)>) {
        into.append(&mut self.events);
    }

    /// Open flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether no flow is open.
    pub fn is_empty(&self) -> bool {
        self.flows.len() == 0
    }

    fn find(&mut self, ends: &Ends) -> Option<u32> {
        if self.flows.get(self.recent).is_some_and(|flow| flow.is_between(ends)) {
            return Some(self.recent);
        }
        let is_it = |slot: &u32| self.flows.get(*slot).is_some_and(|flow| flow.is_between(ends));
        self.recent = *self.by_ends.find(self.hasher.hash_one(ends), is_it)?;
        Some(self.recent)
    }

    fn insert(&mut self, ends: &Ends, incoming: &Incoming<'_>) -> u32 {
        if self.flows.len() >= self.limits.flows_max {
            self.evict(incoming.ordinal);
        }
        let slot = self.flows.insert(Flow::new(FlowId(incoming.ordinal), ends, incoming.stamp));
        let hash = |slot: &u32| self.flows.get(*slot).map_or(0, |flow| self.hasher.hash_one(flow.key()));
        self.by_ends.insert_unique(self.hasher.hash_one(ends), slot, hash);
        self.recent = slot;
        let deadline = incoming.stamp.at.after(self.limits.idle);
        self.idle.push(slot, deadline);
        self.soonest = self.soonest.min(deadline);
        slot
    }

    /// Takes the octets of a usual segment.
    #[inline(never)] // Most segments only acknowledge: they have none of this to prepare.
    fn handle_next(&mut self, slot: u32, from: Way, side: Side, incoming: &Incoming<'_>) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let (events, ordinal) = (&mut self.events, incoming.ordinal);
        let mut around = Surroundings {
            limits: &self.limits,
            secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        if flow.deliver_next(from, side, incoming, &mut around) {
            let before = flow.weigh();
            self.content_bytes = (self.content_bytes + flow.content_bytes()).saturating_sub(before);
            self.shed(ordinal);
        }
    }

    #[inline(never)]
    fn handle_unusual(&mut self, slot: u32, from: Way, incoming: &Incoming<'_>) -> Taken {
        let Some(flow) = self.flows.get_mut(slot) else { return Taken::Yes };
        let (events, ordinal) = (&mut self.events, incoming.ordinal);
        let mut around = Surroundings {
            limits: &self.limits,
            secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        let opened = flow.is_new();
        let before = (flow.wake(), flow.closing(), flow.held_bytes());
        let taken = flow.handle_segment(from, incoming, &mut around);
        if opened {
            let segment = incoming.segment;
            // A SYN that comes late is acknowledged by the first packet.
            let isn = segment.ack.map_or(segment.seq, |ack| ack.wrapping_sub(1));
            let syn = if segment.flags.syn() { Some(isn) } else { None };
            let opened = FlowOpened { flow: flow.id, endpoints: flow.endpoints(), first: incoming.stamp, syn };
            events.push((ordinal, Event::FlowOpened(opened)));
        }
        let (id, after) = (flow.id, (flow.wake(), flow.closing(), flow.held_bytes()));
        self.held_bytes = (self.held_bytes + after.2).saturating_sub(before.2);
        if let (None, Some(wake)) = (before.0, after.0) {
            self.waking.push_back((wake, slot, id));
            self.soonest = self.soonest.min(wake);
        }
        if let (None, Some(closing)) = (before.1, after.1) {
            self.closing.push(slot, closing);
            self.soonest = self.soonest.min(closing);
        }
        if incoming.segment.payload_length > 0 {
            self.weigh(slot);
        }
        self.shed(ordinal);
        taken
    }

    /// Looks again how much the content of a flow holds.
    fn weigh(&mut self, slot: u32) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let before = flow.weigh();
        self.content_bytes = (self.content_bytes + flow.content_bytes()).saturating_sub(before);
    }

    /// Makes room where too much is held.
    #[inline]
    fn shed(&mut self, ordinal: u64) {
        if self.held_bytes > self.limits.pending_bytes_max {
            self.relieve(ordinal);
        }
        while self.content_bytes > self.limits.content_bytes_max && !self.is_empty() {
            self.evict(ordinal);
        }
    }

    fn wake(&mut self, slot: u32, id: FlowId, ordinal: u64) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(slot).filter(|flow| flow.id == id) else { return };
        match flow.wake() {
            None => return,
            Some(wake) if wake > now => {
                self.waking.push_back((wake, slot, id));
                return;
            }
            Some(_) => {}
        }
        let was_closing = flow.closing().is_some();
        self.give_up(slot, now, ordinal);
        let Some(flow) = self.flows.get_mut(slot) else { return };
        // At the end of time there is no later to wake at.
        flow.set_wake(flow.wake().filter(|wake| *wake > now));
        self.waking.extend(flow.wake().map(|wake| (wake, slot, id)));
        if let Some(closing) = flow.closing().filter(|_| !was_closing) {
            self.closing.push(slot, closing);
        }
    }

    /// Gives up what a flow waits for that it should have by now.
    fn give_up(&mut self, slot: u32, now: Timestamp, ordinal: u64) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let before = flow.held_bytes();
        let events = &mut self.events;
        let mut around = Surroundings {
            limits: &self.limits,
            secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        flow.handle_wake(now, &mut around);
        self.held_bytes = (self.held_bytes + flow.held_bytes()).saturating_sub(before);
        self.weigh(slot);
    }

    /// Too much waits in all flows together: the flows that wait longest give up what they wait for.
    fn relieve(&mut self, ordinal: u64) {
        self.soonest = AT_ONCE;
        let far = self.now.after(self.limits.idle);
        while self.held_bytes > self.limits.pending_bytes_max / 2 {
            let Some((_, slot, id)) = self.waking.pop_front() else { return };
            if self.flows.get(slot).is_some_and(|flow| flow.id == id && flow.wake().is_some()) {
                self.give_up(slot, far, ordinal);
                if let Some(flow) = self.flows.get_mut(slot) {
                    flow.set_wake(None);
                }
            }
        }
    }

    /// The table is full, or the flows hold too much: the flow that is idle for longest goes.
    fn evict(&mut self, ordinal: u64) {
        self.soonest = AT_ONCE;
        for _ in 0..self.flows.len() {
            let Some((queued, slot)) = self.idle.first() else { return };
            let Some(flow) = self.flows.get(slot) else { return };
            let deadline = flow.last().after(self.limits.idle);
            if deadline > queued {
                self.idle.push(slot, deadline);
                continue;
            }
            let loss = Loss {
                reason: LossReason::Evicted,
                flow: Some(flow.id),
                bytes: (flow.held_bytes() + flow.content_bytes()) as u64,
                stamp: Stamp { at: flow.last(), ..Stamp::default() },
            };
            self.events.push((ordinal, Event::Lost(loss)));
            self.close(slot, ordinal);
            return;
        }
        let first = self.flows.iter().next().map(|(slot, _)| slot);
        if let Some(slot) = first {
            self.close(slot, ordinal);
        }
    }

    fn close(&mut self, slot: u32, ordinal: u64) {
        let Some(mut flow) = self.flows.remove(slot) else { return };
        self.held_bytes = self.held_bytes.saturating_sub(flow.held_bytes());
        self.content_bytes = self.content_bytes.saturating_sub(flow.content_bytes());
        let events = &mut self.events;
        let mut around = Surroundings {
            limits: &self.limits,
            secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        let closed = flow.handle_end(&mut around);
        events.push((ordinal, Event::FlowClosed(Box::new(closed))));
        if let Ok(entry) = self.by_ends.find_entry(self.hasher.hash_one(flow.key()), |other| *other == slot) {
            entry.remove();
        }
        self.closing.remove(slot);
        self.idle.remove(slot);
    }
}

/// What the queues hold has changed: they are to be looked at with the next step of time.
const AT_ONCE: Timestamp = Timestamp::from_nanos(i64::MIN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::segment::Flags;
    use crate::model::Endpoint;

    /// Takes the SYN of a client's port as that packet, one per millisecond.
    fn open(flows: &mut Flows, port: u16, ordinal: u64) {
        let end = |last: u8, port| Endpoint::new([10, 0, 0, last].into(), port);
        let segment = Segment {
            source: end(1, port),
            destination: end(2, 80),
            seq: 7,
            ack: None,
            flags: Flags::new(false, true, false, false),
            payload_start: 0,
            payload_length: 0,
        };
        let stamp = Stamp { at: Timestamp::from_nanos(ordinal.cast_signed() * 1_000_000), ..Stamp::default() };
        flows.handle_time(stamp.at, ordinal);
        flows.handle_segment(&Incoming { ordinal, stamp, segment: &segment, payload: &[], captured: 0, tail: Tail::NONE });
    }

    fn closed(flows: &mut Flows) -> Vec<(u64, u64)> {
        let mut events = Vec::new();
        flows.take_events(&mut events);
        let ids = events.iter().filter_map(|(ordinal, event)| match event {
            Event::FlowClosed(closed) => Some((*ordinal, closed.flow.0)),
            _ => None,
        });
        ids.collect()
    }

    #[test]
    fn a_flow_that_holds_nothing_is_small() {
        assert!(size_of::<Option<Flow>>() <= 208, "{}", size_of::<Option<Flow>>());
    }

    #[test]
    fn flows_closed_by_and_by_at_the_end_are_those_closed_at_once() {
        let [mut at_once, mut by_and_by] = [(), ()].map(|()| Flows::new(Limits::default()));
        for flows in [&mut at_once, &mut by_and_by] {
            (1..=300).for_each(|ordinal| open(flows, ordinal as u16 % 250, ordinal));
        }
        at_once.handle_end(301);
        for until in [0, 1, 120, 120, 400] {
            by_and_by.end_until(301, FlowId(until));
        }
        let ended = closed(&mut at_once);
        assert_eq!(ended, (1..=250).map(|id| (301 + id, id)).collect::<Vec<_>>());
        assert_eq!((closed(&mut by_and_by), by_and_by.len()), (ended, 0));
    }

    #[test]
    fn a_full_table_gives_up_the_flow_that_is_idle_for_longest() {
        let mut flows = Flows::new(Limits { flows_max: 3, ..Limits::default() });
        for (ordinal, port) in (1..).zip([5, 6, 7, 5, 8, 9, 5, 6]) {
            open(&mut flows, port, ordinal);
        }
        assert_eq!(closed(&mut flows), [(5, 2), (6, 3), (8, 5)]);
        flows.handle_time(Timestamp::from_nanos(i64::MAX), 9);
        assert_eq!((closed(&mut flows), flows.is_empty()), (vec![(9, 6), (9, 1), (9, 8)], true));
    }
}
