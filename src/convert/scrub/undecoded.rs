//! Plaintext inside decoded streams that belongs to no message: told by the decoder as losses, masked here.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::convert::directions::{Life, Place};
use crate::convert::scrub::ranges::Ranges;
use crate::convert::{ConvertError, Masked};
use crate::decode::segment::Segment;
use crate::model::{FlowId, Frame, Loss, LossReason};

/// Where undecoded plaintext begins, and how much of it is left in each stream.
#[derive(Default)]
pub(in crate::convert) struct Undecoded {
    /// By the frame where it begins.
    begins: HashMap<Frame, Begin, RandomState>,
    open: HashMap<Life, Rest, RandomState>,
    pub(super) masked_bytes: u64,
}

#[derive(Clone, Copy)]
struct Begin {
    flow: FlowId,
    bytes: u64,
    /// Whether they begin with the payload of the frame.
    is_exact: bool,
}

struct Rest {
    next: u64,
    left: u64,
}

impl Undecoded {
    /// Notes a loss of stream bytes that anybody could read.
    pub(in crate::convert) fn handle_loss(&mut self, loss: &Loss) {
        let is_plaintext = !loss.reason.is_encrypted() && loss.reason != LossReason::Evicted;
        let Some(flow) = loss.flow.filter(|_| is_plaintext && loss.bytes > 0) else { return };
        // Where a stream or what comes after a hole begins, a packet begins; elsewhere a message may end in the same packet.
        let is_exact = matches!(loss.reason, LossReason::BeforeFirstMessage | LossReason::AfterGap);
        let begin = self.begins.entry(loss.stamp.frame).or_insert(Begin { flow, bytes: 0, is_exact: true });
        begin.bytes = begin.bytes.saturating_add(loss.bytes);
        begin.is_exact &= is_exact;
    }

    /// Forgets what is in flows that are cut as a whole.
    pub(in crate::convert) fn forget(&mut self, is_cut: impl Fn(FlowId) -> bool) {
        self.begins.retain(|_, begin| !is_cut(begin.flow));
    }

    /// Bytes noted.
    pub(in crate::convert) fn bytes(&self) -> u64 {
        self.begins.values().map(|begin| begin.bytes).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begins.is_empty()
    }

    /// Masks what of a segment is undecoded.
    pub(super) fn mask(
        &mut self,
        frame: Frame,
        segment: &Segment,
        place: Place,
        ranges: &mut Ranges,
    ) -> Result<(), ConvertError> {
        if self.begins.is_empty() || segment.payload_length == 0 {
            return Ok(());
        }
        let length = u64::from(segment.payload_length);
        if let Some(Begin { bytes, is_exact, .. }) = self.begins.get(&frame).copied() {
            // Where in its packet it begins is not known then, so that as much behind its end is masked.
            let left = if is_exact { bytes } else { bytes.saturating_add(length) };
            let rest = self.open.entry(place.life).or_insert(Rest { next: place.offset, left: 0 });
            rest.next = rest.next.min(place.offset);
            rest.left = rest.left.max(left);
        }
        let Some(rest) = self.open.get_mut(&place.life) else { return Ok(()) };
        let start = rest.next.max(place.offset);
        let end = place.offset + length;
        if start >= end {
            return Ok(());
        }
        let count = rest.left.min(end - start);
        ranges.add(place.life, start, usize::try_from(count).unwrap_or(usize::MAX), Masked::Undecoded)?;
        self.masked_bytes += count;
        rest.next = end;
        rest.left -= count;
        if rest.left == 0 {
            self.open.remove(&place.life);
        }
        Ok(())
    }
}
