//! Exchanges that did not come to their end, until their connection has ended: then it is known whether the capture lacks a part
//! of them or their peers ended them.

use foldhash::{HashMap, HashMapExt as _};

use crate::model::{FlowClosed, FlowId};
use crate::rules::{Extent, Interrupted};

/// What waits for the end of its connection.
#[derive(Debug, Default)]
pub(super) struct Endings {
    by_flow: Option<HashMap<FlowId, Vec<Waiting>>>,
    count: usize,
    /// Exchanges beyond the bound, and those of connections that never ended: counted only.
    incomplete: u64,
}

#[derive(Debug)]
struct Waiting {
    extent: Extent,
    interrupted: Option<Interrupted>,
}

/// What the end of a connection shows.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Exchanges of which a part is not in the capture.
    pub(super) incomplete: u64,
    /// Calls that their peers ended.
    pub(super) interrupted: Vec<Interrupted>,
}

impl Endings {
    /// How many exchanges wait at most; further ones count as seen in part.
    const COUNT_MAX: usize = 16_384;

    /// Adds an exchange that did not come to its end.
    pub(super) fn add(&mut self, flow: FlowId, extent: Extent, interrupted: Option<Interrupted>) {
        if extent == Extent::Part || self.count >= Self::COUNT_MAX {
            self.incomplete += 1;
            return;
        }
        self.count += 1;
        self.by_flow.get_or_insert_with(HashMap::new).entry(flow).or_default().push(Waiting { extent, interrupted });
    }

    /// A connection ended.
    pub(super) fn handle_close(&mut self, closed: &FlowClosed) -> Ended {
        let mut ended = Ended { incomplete: std::mem::take(&mut self.incomplete), interrupted: Vec::new() };
        let waiting = self.by_flow.as_mut().and_then(|flows| flows.remove(&closed.flow)).unwrap_or_default();
        self.count -= waiting.len();
        for Waiting { extent, interrupted } in waiting {
            ended.incomplete += u64::from(extent.is_part_of(closed));
            let is_shown = |interrupted: &Interrupted| !extent.is_part_of(closed) && !interrupted.was_received(closed);
            ended.interrupted.extend(interrupted.filter(is_shown));
        }
        ended
    }

    /// The end of the run. Connections of which no end was seen are those of a recording, which lacks nothing it could name.
    pub(super) fn finish(&mut self) -> Ended {
        let flows = self.by_flow.take().unwrap_or_default();
        let mut interrupted: Vec<(FlowId, Interrupted)> = Vec::new();
        for (flow, waiting) in flows {
            interrupted.extend(waiting.into_iter().filter_map(|waiting| Some((flow, waiting.interrupted?))));
        }
        interrupted.sort_by_key(|(flow, call)| (*flow, call.started()));
        let incomplete = std::mem::take(&mut self.incomplete);
        Ended { incomplete, interrupted: interrupted.into_iter().map(|(_, call)| call).collect() }
    }
}
