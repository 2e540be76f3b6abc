//! The usual segment: next in order, and nothing in it that is read. Most segments of bulk traffic are like that.

use crate::decode::flow::{Arrival, Flow};
use crate::decode::segment::Flags;
use crate::decode::stream::Stream;
use crate::decode::tls::Secrets;
use crate::model::Side;

impl Flow {
    /// Takes a segment that acknowledges, brings octets of a body that are only counted, or some of a TLS record that is not
    /// whole yet, where nothing waits and nothing can end with it. Tells whether it was one; any other is untouched.
    pub(in crate::decode) fn pass(&mut self, arrival: &Arrival<'_>, secrets: &mut Secrets<'_>) -> bool {
        let (segment, length) = (arrival.segment, arrival.segment.payload_length);
        let (stream, other) = (self.stream(arrival.from), self.stream(1 - arrival.from));
        let is_quiet = |stream: &Stream| stream.started && !stream.has_held() && stream.fin.is_none();
        let is_usual = segment.flags == Flags::default()
            && is_quiet(stream)
            && is_quiet(other)
            && stream.other_isn.is_none()
            && self.reset_by.is_none();
        if !is_usual {
            return false;
        }
        if length > 0 {
            let is_next = segment.seq == stream.next && arrival.captured >= length && !self.is_gated(arrival.from, segment.ack);
            let Some(client) = self.client.filter(|_| is_next) else { return false };
            let side = if client == arrival.from { Side::Client } else { Side::Server };
            // With its last octet a message or record ends, and much can follow from that.
            if self.content.skippable(side) > u64::from(length) {
                self.content.handle_skip(side, arrival.stamp, u64::from(length), secrets);
            } else if arrival.payload.len() < length as usize || !self.content.absorb(side, arrival.payload) {
                return false;
            }
        }
        self.packets += 1;
        self.last = arrival.stamp;
        if let Some(ack) = segment.ack {
            self.stream_mut(1 - arrival.from).note_ack(ack);
        }
        let stream = self.stream_mut(arrival.from);
        stream.seen = true;
        if length > 0 {
            stream.count.segments += 1;
            stream.deliver(length);
        }
        true
    }
}
