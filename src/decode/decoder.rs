//! The decoder as one object on one thread: packets and secrets in, events out. For live use, tests and library users;
//! the pipeline runs the same parts on several threads.

use std::collections::VecDeque;

use crate::decode::flows::{Flows, Incoming};
use crate::decode::fragment::Defragmenter;
use crate::decode::limits::Limits;
use crate::decode::segment::{Dissected, Segment, dissect, dissect_datagram};
use crate::model::{Event, Loss, Packet, ReadTail, Secret, Stamp};

/// Turns packets into exchanges. It does no I/O and never fails: what cannot be decoded comes out as a loss.
pub struct Decoder {
    flows: Flows,
    defragmenter: Defragmenter,
    nesting_max: usize,
    last_ordinal: u64,
    fresh: Vec<(u64, Event)>,
    ready: VecDeque<Event>,
}

impl Decoder {
    /// An empty decoder.
    pub fn new(limits: Limits) -> Self {
        Self {
            defragmenter: Defragmenter::new(limits.datagrams_max),
            nesting_max: limits.nesting_max,
            flows: Flows::new(limits),
            last_ordinal: 0,
            fresh: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// Takes a packet; time comes with it. `packet.bytes` must hold all that was captured.
    pub fn handle_packet(&mut self, packet: &Packet<'_>) {
        self.last_ordinal = packet.ordinal;
        match dissect(packet, self.nesting_max) {
            Dissected::Segment(segment) => self.handle_segment(packet, &segment, packet.bytes),
            Dissected::Fragment(fragment) => {
                if let Some(datagram) = self.defragmenter.handle_fragment(&fragment, packet.bytes)
                    && let Dissected::Segment(segment) = dissect_datagram(&fragment.key, &datagram, self.nesting_max)
                {
                    self.handle_segment(packet, &segment, &datagram);
                }
            }
            Dissected::NotTcp => {}
            Dissected::Lost(reason) => {
                let stamp = Stamp { at: packet.at, frame: packet.frame };
                self.ready.push_back(Event::Lost(Loss { reason, flow: None, bytes: u64::from(packet.captured), stamp }));
            }
        }
        self.collect();
    }

    /// Learns a TLS secret, whenever it comes.
    pub fn handle_secret(&mut self, secret: &Secret) {
        self.flows.handle_secret(secret);
    }

    /// The capture ended: what is open is closed as unseen.
    pub fn handle_end(&mut self) {
        self.flows.handle_end(self.last_ordinal + 1);
        self.collect();
    }

    /// The next event, in order.
    pub fn poll(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn handle_segment(&mut self, packet: &Packet<'_>, segment: &Segment, bytes: &[u8]) {
        let payload = segment.payload(bytes);
        self.flows.handle_segment(&Incoming {
            ordinal: packet.ordinal,
            stamp: Stamp { at: packet.at, frame: packet.frame },
            segment,
            payload,
            captured: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            tail: &NoTail,
        });
    }

    fn collect(&mut self) {
        self.flows.take_events(&mut self.fresh);
        self.fresh.sort_by_key(|(ordinal, _)| *ordinal);
        self.ready.extend(self.fresh.drain(..).map(|(_, event)| event));
    }
}

/// All captured octets are at hand.
struct NoTail;

impl ReadTail for NoTail {
    fn read_tail(&self, _: u32, _: &mut Vec<u8>) -> usize {
        0
    }
}
