//! Flows dealt into a fixed number of tables: each can be worked on by another thread, and what comes out is the same for any
//! number of threads, also for one.

use std::net::IpAddr;

use crate::decode::limits::Limits;
use crate::decode::segment::Segment;
use crate::model::{Endpoint, FlowId};

/// Into how many tables the flows are dealt. Fixed, so that limits act alike for any number of threads.
pub const SHARDS: usize = 4;

/// Which table a segment belongs to: the same for both directions, and not chosen by a per-run seed, so that a run can be
/// repeated.
#[inline]
pub fn shard_of(segment: &Segment) -> usize {
    (mix(&segment.source) ^ mix(&segment.destination)) as usize % SHARDS
}

fn mix(end: &Endpoint) -> u64 {
    let ip = match end.ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ ip.to_bits() as u64,
    };
    let mixed = (ip ^ (u64::from(end.port) << 32) ^ u64::from(end.port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// The limits of one table: tables and buffers are shared out, bounds of a single flow are not.
pub fn share_of(limits: &Limits) -> Limits {
    Limits {
        flows_max: (limits.flows_max / SHARDS).max(1),
        pending_bytes_max: (limits.pending_bytes_max / SHARDS).max(limits.pending_bytes_per_stream_max),
        content_bytes_max: limits.content_bytes_max / SHARDS,
        ..limits.clone()
    }
}

/// The flows that are open when a capture ends, to be closed some at a time and in order of their first packets: what all of
/// them come to can be much.
#[derive(Debug, Default)]
pub struct LastFlows {
    /// The last first.
    open: Vec<FlowId>,
}

impl LastFlows {
    /// The flows that are open in all tables.
    pub fn new(open: impl Iterator<Item = FlowId>) -> Self {
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by(|one, other| other.cmp(one));
        Self { open }
    }

    /// Up to which flow the tables are to be closed next, see [`Flows::end_until`](crate::decode::Flows::end_until); `None` when
    /// all are closed.
    pub fn next_part(&mut self) -> Option<FlowId> {
        let left = self.open.len().saturating_sub(CLOSED_AT_ONCE);
        let until = self.open.get(left).copied();
        self.open.truncate(left);
        until
    }
}

/// So many flows are closed at a time.
const CLOSED_AT_ONCE: usize = 1024;
