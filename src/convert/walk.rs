//! Packets in; segments with their places, whole datagrams and stray fragments out. The same for every pass over a capture.

use crate::convert::directions::{Directions, Place};
use crate::decode::dissector::{Datagram, Dissection};
use crate::decode::fragment::Fragment;
use crate::decode::segment::Segment;
use crate::decode::{Dissector, Limits};
use crate::model::Packet;

/// The state of a walk over the packets of a capture.
pub(super) struct Walk {
    dissector: Dissector,
    directions: Directions,
}

/// What a packet is.
pub(super) enum Seen {
    /// A segment, with the place of its payload.
    Segment(Segment, Place),
    /// The last fragment of a datagram that holds a segment, with the place of the segment's payload.
    Datagram(Box<Datagram>, Place),
    /// A fragment.
    Fragment(Fragment),
    /// Another protocol.
    Other,
    /// What was not decoded.
    Unknown,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { dissector: Dissector::new(&Limits::default()), directions: Directions::new() }
    }

    /// Takes the next packet.
    pub(super) fn handle_packet(&mut self, packet: &Packet<'_>) -> Seen {
        let seen = match self.dissector.handle_packet(packet) {
            Dissection::Segment(segment) => Seen::Segment(segment, self.directions.place(&segment)),
            Dissection::Datagram(datagram) => {
                let place = self.directions.place(&datagram.segment);
                Seen::Datagram(datagram, place)
            }
            Dissection::Fragment(fragment) => Seen::Fragment(fragment),
            Dissection::NotTcp => Seen::Other,
            Dissection::Lost => Seen::Unknown,
        };
        // They are reported by whoever decodes the capture.
        while self.dissector.poll_loss().is_some() {}
        seen
    }
}
