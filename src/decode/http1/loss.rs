//! Octets that belong to no exchange: counted as they pass, reported in as few entries as tell the story.

use std::collections::VecDeque;

use crate::decode::http1::reader::{Passed, Reader};
use crate::model::{FlowId, Loss, LossReason, Stamp};

/// Losses that wait to be polled.
#[derive(Default)]
pub(super) struct Losses(VecDeque<Loss>);

impl Losses {
    /// Counts octets that a side passed over; a run of one kind becomes one loss.
    pub(super) fn pass(&mut self, flow: FlowId, reader: &mut Reader, stamp: Stamp, bytes: u64, reason: LossReason) {
        if bytes == 0 {
            return;
        }
        match &mut reader.passed {
            Some(passed) if passed.reason == reason => passed.bytes = passed.bytes.saturating_add(bytes),
            _ => {
                self.flush(flow, reader);
                reader.passed = Some(Passed { reason, bytes, stamp });
            }
        }
    }

    /// Ends a side's run; gives its kind where there was one.
    pub(super) fn flush(&mut self, flow: FlowId, reader: &mut Reader) -> Option<LossReason> {
        let Passed { reason, bytes, stamp } = reader.passed.take()?;
        self.0.push_back(Loss { reason, flow: Some(flow), bytes, stamp });
        Some(reason)
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next loss.
    pub(super) fn poll(&mut self) -> Option<Loss> {
        self.0.pop_front()
    }
}
