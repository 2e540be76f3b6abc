//! What the capture lacks of whose flows: closed flows in, and per hop and client what weakens a claim of absence.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::HopId;
use crate::model::{FlowClosed, Frame};

/// What is missing of the flows of one client on one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowGaps {
    /// Flows that ended.
    pub flows: u64,
    /// Flows whose first packet is not in the capture.
    pub without_start: u64,
    /// Flows of which only one direction was seen.
    pub one_sided: u64,
    /// Octets missing in what the client sent.
    pub client_bytes_missing: u64,
    /// Octets missing in what the server sent.
    pub server_bytes_missing: u64,
    /// Where the first of it was noticed.
    pub first: Option<Frame>,
}

impl FlowGaps {
    /// Whether nothing is missing.
    pub const fn is_complete(&self) -> bool {
        self.without_start == 0 && self.one_sided == 0 && self.client_bytes_missing == 0 && self.server_bytes_missing == 0
    }

    fn add(&mut self, closed: &FlowClosed) {
        self.flows += 1;
        self.without_start += u64::from(!closed.has_start);
        self.one_sided += u64::from(!closed.both_sides);
        self.client_bytes_missing = self.client_bytes_missing.saturating_add(closed.client.missing);
        self.server_bytes_missing = self.server_bytes_missing.saturating_add(closed.server.missing);
        let is_odd = !closed.has_start || !closed.both_sides || closed.client.missing > 0 || closed.server.missing > 0;
        if is_odd && self.first.is_none() {
            self.first = closed.first_gap.or(Some(closed.first.frame));
        }
    }
}

/// The gaps of all clients, and of all flows together.
#[derive(Debug)]
pub struct Gaps {
    by_client: HashMap<(HopId, IpAddr), FlowGaps>,
    total: FlowGaps,
    first_frame: Option<Frame>,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { by_client: HashMap::new(), total: FlowGaps::default(), first_frame: None }
    }
}

impl Gaps {
    /// How many clients are told apart; the flows of further ones count in the total.
    pub const CLIENTS_MAX: usize = 4096;

    /// Hears a flow's end; `hop` where the flow belongs to one.
    pub fn handle_flow(&mut self, closed: &FlowClosed, hop: Option<HopId>) {
        self.total.add(closed);
        self.first_frame = self.first_frame.into_iter().chain([closed.first.frame]).min();
        let Some(hop) = hop else {
            return;
        };
        let key = (hop, closed.endpoints.client.ip);
        if self.by_client.len() < Self::CLIENTS_MAX || self.by_client.contains_key(&key) {
            self.by_client.entry(key).or_default().add(closed);
        }
    }

    /// What is missing of one client's flows on one hop.
    pub fn of(&self, hop: HopId, client: IpAddr) -> FlowGaps {
        self.by_client.get(&(hop, client)).copied().unwrap_or_default()
    }

    /// What is missing of all flows.
    pub const fn total(&self) -> FlowGaps {
        self.total
    }

    /// The first frame of the first flow.
    pub const fn first_frame(&self) -> Option<Frame> {
        self.first_frame
    }
}
