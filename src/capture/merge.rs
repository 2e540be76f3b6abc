//! Several inputs as one capture: always the earliest of the next packets, and of equal times that of the earlier input.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::capture::batch::BATCH_BYTES;
use crate::capture::reader::Reader;
use crate::capture::{Batch, ReadAt, SourceSummary};

/// Merges the packets of several readers.
pub(super) struct Merge {
    lanes: Vec<Lane>,
    /// Lanes with a packet at hand, by its time and the lane's index.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    /// Lanes whose batch is used up.
    empty: Vec<usize>,
}

/// One reader and its packets at hand.
struct Lane {
    reader: Reader,
    batch: Batch,
    next: usize,
}

impl Merge {
    pub(super) fn new(readers: Vec<Reader>) -> Self {
        // Many inputs (a rotated capture) share a bounded sum of memory.
        let target_bytes = (LANES_BYTES_MAX / readers.len().max(1)).clamp(LANE_BYTES_MIN, BATCH_BYTES);
        let empty = (0..readers.len()).collect();
        let lanes = readers.into_iter().map(|reader| Lane { reader, batch: Batch::with_target(target_bytes), next: 0 }).collect();
        Self { lanes, heads: BinaryHeap::new(), empty }
    }

    /// Fills a cleared batch; `false` if all inputs have ended and the batch is empty.
    pub(super) fn read_batch(&mut self, batch: &mut Batch, files: &Arc<[Option<Arc<dyn ReadAt>>]>) -> bool {
        loop {
            self.refill(batch, files);
            if !self.empty.is_empty() {
                // Only secrets and the like came from some input: they go out first, and its packets are awaited.
                return true;
            }
            let Some(Reverse((_, index))) = self.heads.pop() else { return !batch.found.is_empty() };
            let limit = self.heads.peek().map(|head| head.0);
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            match lane.copy_run(batch, index, limit) {
                Run::BatchFull(time) => {
                    self.heads.push(Reverse((time, index)));
                    return true;
                }
                Run::NotEarliest(time) => self.heads.push(Reverse((time, index))),
                Run::UsedUp => self.empty.push(index),
            }
        }
    }

    /// The summaries of all readers, in order.
    pub(super) fn summaries(&self) -> Vec<SourceSummary> {
        self.lanes.iter().map(|lane| lane.reader.summary().clone()).collect()
    }

    /// Reads the next batch of each lane that is used up. Lanes that have ended leave the merge.
    fn refill(&mut self, batch: &mut Batch, files: &Arc<[Option<Arc<dyn ReadAt>>]>) {
        let Self { lanes, heads, empty } = self;
        empty.retain(|index| {
            let Some(lane) = lanes.get_mut(*index) else { return false };
            lane.next = 0;
            lane.batch.clear(files, 1);
            let more = lane.reader.read_batch(&mut lane.batch);
            batch.found.take_rest(&mut lane.batch.found);
            if !more {
                lane.batch = Batch::with_target(0);
                return false;
            }
            match lane.batch.found.records.first() {
                Some(record) => heads.push(Reverse((record.at, *index))),
                None => return true,
            }
            false
        });
    }
}

/// Why a run of packets of one lane ended.
enum Run {
    /// The batch has no room for the next packet, of this time.
    BatchFull(i64),
    /// The next packet, of this time, comes after one of another lane.
    NotEarliest(i64),
    /// The lane has no packet at hand.
    UsedUp,
}

impl Lane {
    /// Copies packets as long as they come before the earliest of the other lanes.
    fn copy_run(&mut self, batch: &mut Batch, index: usize, limit: Option<(i64, usize)>) -> Run {
        while let Some(record) = self.batch.found.records.get(self.next) {
            if limit.is_some_and(|limit| (record.at, index) > limit) {
                return Run::NotEarliest(record.at);
            }
            if !batch.append(&self.batch, self.next) {
                return Run::BatchFull(record.at);
            }
            self.next += 1;
        }
        Run::UsedUp
    }
}

/// Bytes of the buffers of all lanes together, as far as the least for each allows.
const LANES_BYTES_MAX: usize = 4 << 20;

/// The least buffer of a lane.
const LANE_BYTES_MIN: usize = 16 << 10;
