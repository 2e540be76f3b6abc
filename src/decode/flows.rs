//! A table of flows: segments in, events out. Several tables can share the work of one capture, each with its own flows.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::decode::ends::Ends;
use crate::decode::flow::{Arrival, Flow, Surroundings, Taken};
use crate::decode::limits::Limits;
use crate::decode::recent::Recent;
use crate::decode::segment::Segment;
use crate::decode::tls::{KeyLog, Secrets, Sessions};
use crate::model::{Event, FlowId, FlowOpened, Loss, LossReason, ReadTail, Secret, Stamp, Timestamp};

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
    /// Reads those beyond `payload`; offsets count from the start of the payload.
    pub tail: &'a dyn ReadTail,
}

/// The flows of one share of the traffic.
pub struct Flows {
    limits: Limits,
    by_ends: HashMap<Ends, u32, RandomState>,
    slots: Vec<Option<Flow>>,
    free: Vec<u32>,
    /// The flow of the last segment: bulk traffic hits it.
    recent: Option<(Ends, u32)>,
    waking: VecDeque<(Timestamp, u32, FlowId)>,
    closing: VecDeque<(Timestamp, u32, FlowId)>,
    idle: VecDeque<(Timestamp, u32, FlowId)>,
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
    events: Vec<(u64, Event)>,
}

impl Flows {
    /// An empty table. The limits are those of this share.
    pub fn new(limits: Limits) -> Self {
        Self {
            keylog: KeyLog::new(),
            sessions: Sessions::new(),
            opened: Vec::new(),
            recent_octets: Recent::default(),
            limits,
            by_ends: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            recent: None,
            waking: VecDeque::new(),
            closing: VecDeque::new(),
            idle: VecDeque::new(),
            soonest: Timestamp::from_nanos(i64::MAX),
            held_bytes: 0,
            content_bytes: 0,
            now: Timestamp::from_nanos(i64::MIN),
            events: Vec::new(),
        }
    }

    /// Learns a TLS secret.
    pub fn handle_secret(&mut self, secret: &Secret) {
        self.keylog.add(secret);
    }

    /// Takes a segment.
    pub fn handle_segment(&mut self, incoming: &Incoming<'_>) {
        self.handle_time(incoming.stamp.at, incoming.ordinal);
        let (ends, from) = Ends::of_segment(incoming.segment);
        let slot = match self.find(ends) {
            Some(slot) => slot,
            None => self.open(ends, from, incoming),
        };
        if self.feed(slot, from, incoming) == Taken::NewConnection {
            self.close(slot, incoming.ordinal);
            let slot = self.open(ends, from, incoming);
            self.feed(slot, from, incoming);
        }
    }

    /// Time went on: what waited too long is given up, what ended is closed.
    pub fn handle_time(&mut self, now: Timestamp, ordinal: u64) {
        if now <= self.now {
            return;
        }
        self.now = now;
        if now < self.soonest {
            return;
        }
        while let Some((_, slot, id)) = due(&mut self.waking, now) {
            self.wake(slot, id, ordinal);
        }
        while let Some((_, slot, id)) = due(&mut self.closing, now) {
            match self.slot(slot).filter(|flow| flow.id == id).and_then(|flow| flow.closing) {
                Some(deadline) if deadline <= now => self.close(slot, ordinal),
                Some(deadline) => self.closing.push_back((deadline, slot, id)),
                // The flow went on after its RST, or is gone.
                None => {}
            }
        }
        while let Some((_, slot, id)) = due(&mut self.idle, now) {
            let Some(last) = self.slot(slot).filter(|flow| flow.id == id).map(Flow::last) else { continue };
            let deadline = last.after(self.limits.idle);
            if deadline <= now {
                self.close(slot, ordinal);
            } else {
                self.idle.push_back((deadline, slot, id));
            }
        }
        let fronts = [&self.waking, &self.closing, &self.idle].into_iter().filter_map(VecDeque::front);
        self.soonest = fronts.map(|(at, ..)| *at).min().unwrap_or(Timestamp::from_nanos(i64::MAX));
    }

    /// The end of the capture: every flow is closed, in order of its first packet.
    pub fn handle_end(&mut self, ordinal: u64) {
        let mut open: Vec<(FlowId, u32)> =
            (0..).zip(&self.slots).filter_map(|(slot, flow)| Some((flow.as_ref()?.id, slot))).collect();
        open.sort_unstable();
        for (id, slot) in open {
            self.close(slot, ordinal.saturating_add(id.0));
        }
    }

    /// The events since the last call, each with the ordinal of the packet that led to it.
    pub fn take_events(&mut self, into: &mut Vec<(u64, Event)>) {
        into.append(&mut self.events);
    }

    /// Open flows.
    pub fn len(&self) -> usize {
        self.by_ends.len()
    }

    /// Whether no flow is open.
    pub fn is_empty(&self) -> bool {
        self.by_ends.is_empty()
    }

    fn find(&mut self, ends: Ends) -> Option<u32> {
        if let Some((recent, slot)) = self.recent
            && recent == ends
        {
            return Some(slot);
        }
        let slot = *self.by_ends.get(&ends)?;
        self.recent = Some((ends, slot));
        Some(slot)
    }

    fn open(&mut self, ends: Ends, from: usize, incoming: &Incoming<'_>) -> u32 {
        if self.by_ends.len() >= self.limits.flows_max {
            self.evict(incoming.ordinal);
        }
        let id = FlowId(incoming.ordinal);
        let flow = Flow::new(id, incoming.segment, from, incoming.stamp);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(flow);
        }
        self.by_ends.insert(ends, slot);
        self.recent = Some((ends, slot));
        let deadline = incoming.stamp.at.after(self.limits.idle);
        self.idle.push_back((deadline, slot, id));
        self.soonest = self.soonest.min(deadline);
        slot
    }

    fn feed(&mut self, slot: u32, from: usize, incoming: &Incoming<'_>) -> Taken {
        let Some(Some(flow)) = self.slots.get_mut(slot as usize) else { return Taken::Yes };
        let arrival = Arrival {
            segment: incoming.segment,
            from,
            stamp: incoming.stamp,
            payload: incoming.payload,
            captured: incoming.captured,
            tail: incoming.tail,
        };
        let secrets = &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened };
        if flow.pass(&arrival, secrets) {
            return Taken::Yes;
        }
        let opened = flow.is_new();
        let before = (flow.wake, flow.closing, flow.held_bytes());
        let events = &mut self.events;
        let ordinal = incoming.ordinal;
        let mut around = Surroundings {
            limits: &self.limits,
            secrets,
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        let taken = flow.handle_segment(&arrival, &mut around);
        if opened {
            let opened = FlowOpened { flow: flow.id, endpoints: flow.endpoints(), first: incoming.stamp };
            events.push((ordinal, Event::FlowOpened(opened)));
        }
        let (id, after) = (flow.id, (flow.wake, flow.closing, flow.held_bytes()));
        self.held_bytes = (self.held_bytes + after.2).saturating_sub(before.2);
        if before.0.is_none()
            && let Some(wake) = after.0
        {
            self.waking.push_back((wake, slot, id));
            self.soonest = self.soonest.min(wake);
        }
        if before.1.is_none()
            && let Some(closing) = after.1
        {
            self.closing.push_back((closing, slot, id));
            self.soonest = self.soonest.min(closing);
        }
        if incoming.segment.payload_length > 0 {
            let before = flow.weigh();
            self.content_bytes = (self.content_bytes + flow.content_bytes).saturating_sub(before);
        }
        if self.held_bytes > self.limits.pending_bytes_max {
            self.relieve(ordinal);
        }
        while self.content_bytes > self.limits.content_bytes_max && !self.by_ends.is_empty() {
            self.evict(ordinal);
        }
        taken
    }

    fn wake(&mut self, slot: u32, id: FlowId, ordinal: u64) {
        let now = self.now;
        let Some(Some(flow)) = self.slots.get_mut(slot as usize) else { return };
        if flow.id != id || flow.wake.is_none() {
            return;
        }
        if flow.wake.is_some_and(|wake| wake > now) {
            self.waking.extend(flow.wake.map(|wake| (wake, slot, id)));
            return;
        }
        let before = flow.held_bytes();
        let (events, was_closing) = (&mut self.events, flow.closing.is_some());
        let mut around = Surroundings {
            limits: &self.limits,
            secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        flow.handle_wake(now, &mut around);
        self.held_bytes = (self.held_bytes + flow.held_bytes()).saturating_sub(before);
        let before = flow.weigh();
        self.content_bytes = (self.content_bytes + flow.content_bytes).saturating_sub(before);
        // At the end of time there is no later to wake at.
        flow.wake = flow.wake.filter(|wake| *wake > now);
        self.waking.extend(flow.wake.map(|wake| (wake, slot, id)));
        if !was_closing {
            self.closing.extend(flow.closing.map(|closing| (closing, slot, id)));
        }
    }

    /// Too much waits in all flows together: the flows that wait longest give up what they wait for.
    fn relieve(&mut self, ordinal: u64) {
        self.soonest = AT_ONCE;
        while self.held_bytes > self.limits.pending_bytes_max / 2 {
            let Some((_, slot, id)) = self.waking.pop_front() else { return };
            if self.slot(slot).is_some_and(|flow| flow.id == id && flow.wake.is_some()) {
                let far = self.now.after(self.limits.idle);
                let Some(Some(flow)) = self.slots.get_mut(slot as usize) else { continue };
                let before = flow.held_bytes();
                let events = &mut self.events;
                let mut around = Surroundings {
                    limits: &self.limits,
                    secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
                    recent: &mut self.recent_octets,
                    out: &mut |event| events.push((ordinal, event)),
                };
                flow.handle_wake(far, &mut around);
                self.held_bytes = (self.held_bytes + flow.held_bytes()).saturating_sub(before);
                let before = flow.weigh();
                self.content_bytes = (self.content_bytes + flow.content_bytes).saturating_sub(before);
                flow.wake = None;
            }
        }
    }

    /// The table is full, or the flows hold too much: the flow that is idle for longest goes.
    fn evict(&mut self, ordinal: u64) {
        self.soonest = AT_ONCE;
        for _ in 0..self.idle.len() {
            let Some((queued, slot, id)) = self.idle.pop_front() else { return };
            let Some(flow) = self.slot(slot).filter(|flow| flow.id == id) else { continue };
            let deadline = flow.last().after(self.limits.idle);
            if deadline > queued {
                self.idle.push_back((deadline, slot, id));
                continue;
            }
            let loss = Loss {
                reason: LossReason::Evicted,
                flow: Some(id),
                bytes: (flow.held_bytes() + flow.content_bytes) as u64,
                stamp: Stamp { at: flow.last(), ..Stamp::default() },
            };
            self.events.push((ordinal, Event::Lost(loss)));
            self.close(slot, ordinal);
            return;
        }
        if let Some(slot) = self.slots.iter().position(Option::is_some) {
            self.close(u32::try_from(slot).unwrap_or(u32::MAX), ordinal);
        }
    }

    fn close(&mut self, slot: u32, ordinal: u64) {
        let Some(mut flow) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.held_bytes = self.held_bytes.saturating_sub(flow.held_bytes());
        self.content_bytes = self.content_bytes.saturating_sub(flow.content_bytes);
        let events = &mut self.events;
        let mut around = Surroundings {
            limits: &self.limits,
            secrets: &mut Secrets { keylog: &self.keylog, sessions: &mut self.sessions, buffer: &mut self.opened },
            recent: &mut self.recent_octets,
            out: &mut |event| events.push((ordinal, event)),
        };
        let closed = flow.handle_end(&mut around);
        events.push((ordinal, Event::FlowClosed(Box::new(closed))));
        self.by_ends.remove(&flow.key());
        self.recent = None;
        self.free.push(slot);
        self.forget_closed();
    }

    /// Most flows end long before they are idle: their places in the queue must not pile up meanwhile.
    fn forget_closed(&mut self) {
        if self.idle.len() < 2 * self.by_ends.len() + QUEUED_CLOSED_MAX {
            return;
        }
        let slots = &self.slots;
        let id_at = |slot: u32| slots.get(slot as usize).and_then(Option::as_ref).map(|flow| flow.id);
        self.idle.retain(|(_, slot, id)| id_at(*slot) == Some(*id));
        self.soonest = AT_ONCE;
    }

    fn slot(&self, slot: u32) -> Option<&Flow> {
        self.slots.get(slot as usize)?.as_ref()
    }
}

/// What the queues hold has changed: they are to be looked at with the next segment.
const AT_ONCE: Timestamp = Timestamp::from_nanos(i64::MIN);

/// Places of closed flows in the queue of idle ones that are put up with.
const QUEUED_CLOSED_MAX: usize = 1024;

fn due(queue: &mut VecDeque<(Timestamp, u32, FlowId)>, now: Timestamp) -> Option<(Timestamp, u32, FlowId)> {
    if queue.front()?.0 <= now { queue.pop_front() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_open_flow_costs_less_than_half_a_kilobyte() {
        assert!(size_of::<Option<Flow>>() <= 512, "{}", size_of::<Option<Flow>>());
    }
}
