//! The decoder as one object on one thread: packets and secrets in, events out. For library users and tests; the pipeline runs
//! the same parts on several threads, and gives the same events.

use std::collections::VecDeque;

use crate::decode::dissector::{Dissection, Dissector};
use crate::decode::flows::{Flows, Incoming};
use crate::decode::limits::Limits;
use crate::decode::shards::{LastFlows, SHARDS, shard_of, share_of};
use crate::model::{Event, Packet, Secret};

/// Turns packets into exchanges. It does no I/O (except for reading [`Packet::tail`]) and never fails: what cannot be decoded
/// comes out as a loss.
pub struct Decoder {
    dissector: Dissector,
    shards: [Flows; SHARDS],
    last_ordinal: u64,
    /// What is still to be closed at the end.
    last: LastFlows,
    fresh: Vec<(u64, Event)>,
    ready: VecDeque<Event>,
}

impl Decoder {
    /// An empty decoder.
    pub fn new(limits: Limits) -> Self {
        let share = share_of(&limits);
        Self {
            dissector: Dissector::new(&limits),
            shards: std::array::from_fn(|_| Flows::new(share.clone())),
            last_ordinal: 0,
            last: LastFlows::default(),
            fresh: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// Takes the next packet; time comes with it.
    pub fn handle_packet(&mut self, packet: &Packet<'_>) {
        self.last_ordinal = packet.ordinal;
        if self.dissector.tick(packet.at) {
            self.shards.iter_mut().for_each(|flows| flows.handle_time(packet.at, packet.ordinal));
        }
        match self.dissector.handle_packet(packet) {
            Dissection::Segment(segment) => self.handle_segment(&Incoming::of_packet(packet, &segment)),
            Dissection::Datagram(datagram) => self.handle_segment(&Incoming::of_datagram(packet, &datagram)),
            Dissection::Fragment(_) | Dissection::NotTcp | Dissection::Lost => {}
        }
        self.collect();
    }

    /// Learns a TLS secret, whenever it comes.
    pub fn handle_secret(&mut self, secret: &Secret) {
        self.shards.iter_mut().for_each(|flows| flows.handle_secret(secret));
    }

    /// The capture ended: what is open is closed as unseen, while [`Decoder::poll`] is called.
    pub fn handle_end(&mut self) {
        self.dissector.handle_end();
        self.collect();
        self.last = LastFlows::new(self.shards.iter().flat_map(Flows::open));
    }

    /// The next event, in order.
    pub fn poll(&mut self) -> Option<Event> {
        while self.ready.is_empty() {
            let until = self.last.next_part()?;
            for flows in &mut self.shards {
                flows.end_until(self.last_ordinal.saturating_add(1), until);
            }
            self.collect();
        }
        self.ready.pop_front()
    }

    /// Packets that were not decoded, so far.
    pub const fn packets_lost(&self) -> u64 {
        self.dissector.packets_lost()
    }

    /// QUIC packets, and packets of other encrypted protocols, so far.
    pub const fn packets_encrypted(&self) -> [u64; 2] {
        self.dissector.packets_encrypted()
    }

    fn handle_segment(&mut self, incoming: &Incoming<'_>) {
        if let Some(flows) = self.shards.get_mut(shard_of(incoming.segment)) {
            flows.handle_segment(incoming);
        }
    }

    fn collect(&mut self) {
        self.ready.extend(std::iter::from_fn(|| self.dissector.poll_loss()).map(Event::Lost));
        for flows in &mut self.shards {
            flows.take_events(&mut self.fresh);
        }
        self.fresh.sort_by_key(|(ordinal, _)| *ordinal);
        self.ready.extend(self.fresh.drain(..).map(|(_, event)| event));
    }
}
