//! The usual segment: next in order, on a flow where nothing waits and nothing ends. Nearly all segments are like that.

use crate::decode::ends::Way;
use crate::decode::flow::{Arrival, Flow, Surroundings};
use crate::decode::segment::Flags;
use crate::decode::stream::{distance, is_unseen};
use crate::model::Side;

/// What a segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Passing {
    /// It was taken, and nothing can follow from it.
    Counted,
    /// It was taken, and its octets were read.
    Read,
    /// It is not a usual one, and the flow is untouched.
    Unusual,
}

impl Flow {
    /// Takes a segment that only acknowledges, or whose octets are next. Those of a body are only counted, and some of a TLS
    /// record that is not whole yet need no more than to be gathered.
    pub(in crate::decode) fn pass(&mut self, arrival: &Arrival<'_>, around: &mut Surroundings<'_, '_>) -> Passing {
        let (segment, length) = (arrival.segment, arrival.segment.payload_length);
        if !self.is_plain || segment.flags != Flags::default() {
            return Passing::Unusual;
        }
        let [first, second] = &mut self.streams;
        let (stream, other) = match arrival.from {
            Way::Forth => (first, second),
            Way::Back => (second, first),
        };
        let acked = segment.ack.map(|ack| distance(other.next, ack));
        let client = match self.client {
            _ if length == 0 => arrival.from,
            Some(client) if segment.seq == stream.next && !acked.is_some_and(is_unseen) => client,
            Some(_) | None => return Passing::Unusual,
        };
        self.packets += 1;
        self.last = arrival.stamp;
        if let Some(acked) = acked {
            other.note_ack_ahead(acked);
        }
        stream.seen = true;
        if length == 0 {
            return Passing::Counted;
        }
        stream.count_segment();
        let side = if client == arrival.from { Side::Client } else { Side::Server };
        if arrival.captured >= length && self.passes_unread(side, arrival, around) {
            self.stream_mut(arrival.from).deliver(length);
            return Passing::Counted;
        }
        self.deliver(arrival.from, arrival, 0, around);
        Passing::Read
    }

    /// Whether nothing can follow from octets. With its last one a message or record ends, and much can follow from that.
    fn passes_unread(&mut self, side: Side, arrival: &Arrival<'_>, around: &mut Surroundings<'_, '_>) -> bool {
        let length = arrival.segment.payload_length;
        if self.content.skippable(side) > u64::from(length) {
            self.content.handle_skip(side, arrival.stamp, u64::from(length), around.secrets);
            return true;
        }
        arrival.payload.len() >= length as usize && self.content.absorb(side, arrival.payload)
    }
}
