//! The usual segment: next in order, on a flow where nothing waits and nothing ends. Nearly all segments are like that.

use crate::decode::ends::Way;
use crate::decode::flow::{Flow, Surroundings};
use crate::decode::flows::Incoming;
use crate::decode::segment::Flags;
use crate::decode::stream::{distance, is_unseen};
use crate::model::Side;

/// What a segment is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum FastPath {
    /// It only acknowledges, and was taken.
    Acknowledges,
    /// Its octets are next, and are of this side. It was taken, except for them.
    Next(Side),
    /// It is not a usual one, and the flow is untouched.
    Unusual,
}

impl Flow {
    /// Takes a segment that only acknowledges, or whose octets are next: those are left to [`Flow::deliver_next`].
    #[inline]
    pub(in crate::decode) fn fast_path(&mut self, from: Way, incoming: &Incoming<'_>) -> FastPath {
        let segment = incoming.segment;
        if !self.is_plain || segment.flags != Flags::default() {
            return FastPath::Unusual;
        }
        let [first, second] = &mut self.streams;
        let (stream, other) = match from {
            Way::Forth => (first, second),
            Way::Back => (second, first),
        };
        let acked = segment.ack.map(|ack| distance(other.next, ack));
        let found = match self.client {
            _ if segment.payload_length == 0 => FastPath::Acknowledges,
            Some(client) if segment.seq == stream.next && !acked.is_some_and(is_unseen) => {
                FastPath::Next(if client == from { Side::Client } else { Side::Server })
            }
            Some(_) | None => return FastPath::Unusual,
        };
        self.packets += 1;
        self.last = incoming.stamp;
        stream.seen = true;
        if let Some(acked) = acked {
            other.note_ack_ahead(acked);
        }
        found
    }

    /// Takes the octets of a usual segment. Those of a body are only counted, and some of a TLS record that is not whole yet are
    /// only gathered, since nothing can follow from them. Tells whether any were read.
    pub(in crate::decode) fn deliver_next(
        &mut self,
        from: Way,
        side: Side,
        incoming: &Incoming<'_>,
        around: &mut Surroundings<'_, '_>,
    ) -> bool {
        let length = incoming.segment.payload_length;
        let is_captured = incoming.captured >= length;
        let skippable = self.content.skippable(side);
        self.stream_mut(from).count_segment();
        // With its last octet a message or record ends, and much can follow from that.
        let is_counted = is_captured && skippable > u64::from(length);
        if is_counted {
            self.content.handle_skip(side, incoming.stamp, u64::from(length), around.secrets);
        }
        let is_whole = is_captured && incoming.payload.len() >= length as usize;
        if is_counted || (is_whole && self.content.absorb(side, incoming.payload)) {
            self.stream_mut(from).deliver(length);
            return false;
        }
        self.deliver(from, incoming, 0, (side, skippable), around);
        true
    }
}
