//! Octets that come again: whether they are what they were the first time.

use crate::decode::content::Content;
use crate::decode::ends::Way;
use crate::decode::flow::{Flow, Surroundings};
use crate::decode::stream::distance;
use crate::model::Anomaly;

impl Flow {
    /// Keeps octets that are being delivered, to compare what comes again. Inside TLS that is not needed: records that were
    /// tampered with do not open.
    pub(super) fn keep(&mut self, from: Way, payload: &[u8], around: &mut Surroundings<'_, '_>) {
        if !matches!(self.content, Content::Sealed(_)) {
            let stream = self.stream_mut(from);
            stream.kept = around.recent.keep(stream.kept, stream.next, payload);
        }
    }

    /// Compares octets that came again with those that were delivered.
    pub(super) fn compare(&mut self, from: Way, seq: u32, payload: &[u8], around: &Surroundings<'_, '_>) {
        let stream = self.stream(from);
        // One octet right before the next one is a keep-alive, which may hold anything (RFC 9293 section 3.8.4).
        let is_keep_alive = payload.len() == 1 && distance(seq, stream.next) == 1;
        if !is_keep_alive && around.recent.differs(stream.kept, seq, payload) {
            self.note(Anomaly::OverlapDiffers);
        }
    }
}
