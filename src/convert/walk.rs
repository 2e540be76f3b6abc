//! Packets in; segments with their places, whole datagrams and stray fragments out. The same for every pass over a capture.

use std::collections::{HashMap, VecDeque};

use crate::convert::directions::{Directions, Place};
use crate::decode::fragment::{Defragmenter, Fragment, FragmentKey};
use crate::decode::segment::{Dissected, Segment, dissect, dissect_datagram};
use crate::model::Packet;

/// The state of a walk over the packets of a capture.
pub(super) struct Walk {
    directions: Directions,
    table: Defragmenter,
    /// The fragments of the datagrams that the table holds, in the order the table drops them.
    open: HashMap<FragmentKey, Vec<Part>>,
    order: VecDeque<FragmentKey>,
}

/// One fragment of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The ordinal of its packet.
    pub(super) ordinal: u64,
    pub(super) fragment: Fragment,
}

/// What a packet is.
pub(super) enum Seen {
    /// A segment, with the place of its payload.
    Segment(Segment, Place),
    /// The last fragment of a datagram that holds a segment.
    Datagram(Box<Datagram>),
    /// A fragment.
    Fragment(Fragment),
    /// Another protocol.
    Other,
    /// What was not decoded.
    Unknown,
}

/// A segment that came in fragments.
pub(super) struct Datagram {
    pub(super) segment: Segment,
    pub(super) place: Place,
    /// What the segment's ranges refer to.
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<Part>,
    /// The fragment that completed it.
    pub(super) last: Fragment,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self {
            directions: Directions::new(),
            table: Defragmenter::new(DATAGRAMS_MAX),
            open: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes the next packet.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>) -> Seen {
        match dissect(packet, NESTING_MAX) {
            Dissected::Segment(segment) => Seen::Segment(segment, self.directions.place(&segment)),
            Dissected::Fragment(fragment) => self.handle_fragment(fragment, packet),
            Dissected::NotTcp => Seen::Other,
            Dissected::Lost(reason) if reason.is_encrypted() => Seen::Other,
            Dissected::Lost(_) => Seen::Unknown,
        }
    }

    fn handle_fragment(&mut self, fragment: Fragment, packet: &Packet<'_>) -> Seen {
        let key = fragment.key;
        if !self.open.contains_key(&key) {
            if self.open.len() >= DATAGRAMS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.open.remove(&oldest);
            }
            self.order.push_back(key);
        }
        let parts = self.open.entry(key).or_default();
        if parts.len() < PARTS_MAX {
            parts.push(Part { ordinal: packet.ordinal, fragment });
        }
        let Some(bytes) = self.table.handle_fragment(&fragment, packet.bytes) else { return Seen::Fragment(fragment) };
        let parts = self.open.remove(&key).unwrap_or_default();
        self.order.retain(|open| *open != key);
        match dissect_datagram(&key, &bytes, NESTING_MAX) {
            Dissected::Segment(segment) => {
                let place = self.directions.place(&segment);
                Seen::Datagram(Box::new(Datagram { segment, place, bytes, parts, last: fragment }))
            }
            _ => Seen::Fragment(fragment),
        }
    }
}

/// As many as the decoder puts together at a time.
const DATAGRAMS_MAX: usize = 256;
const PARTS_MAX: usize = 128;
const NESTING_MAX: usize = 8;
