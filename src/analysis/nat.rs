//! One connection seen twice: before and after an address was translated, on several interfaces of one host. Openings of
//! connections in; which of two is left out, so that it counts once.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use crate::model::{Endpoints, Event, FlowId, FlowOpened, Timestamp};

/// Connections by the sequence number of their SYN, which translation of addresses leaves as it is.
#[derive(Debug)]
pub(super) struct Nat {
    recent: HashMap<u32, Opened>,
    order: VecDeque<u32>,
    left_out: HashSet<FlowId>,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    flow: FlowId,
    endpoints: Endpoints,
    at: Timestamp,
}

/// A connection that was seen under other addresses before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// The addresses under which it counts.
    pub(super) kept: Endpoints,
    /// The other ones.
    pub(super) other: Endpoints,
}

impl Default for Nat {
    fn default() -> Self {
        Self { recent: HashMap::new(), order: VecDeque::new(), left_out: HashSet::new() }
    }
}

impl Nat {
    /// How many openings are remembered.
    const RECENT_MAX: usize = 4096;
    /// How many connections are left out at a time; further ones count twice.
    const LEFT_OUT_MAX: usize = 65_536;
    /// A packet passes a host in far less time.
    const APART_MAX: Duration = Duration::from_secs(1);

    /// A connection was opened; tells whether it is the same as one before. Where the server's address was translated, the
    /// connection counts under the addresses behind it: from there the server goes on. Else it counts as first seen.
    pub(super) fn handle_open(&mut self, opened: &FlowOpened) -> Option<Copy> {
        // Scripts that make captures begin at small numbers, and with the same for all connections.
        let isn = opened.syn.filter(|isn| *isn > ISN_SCRIPTED_MAX)?;
        let own = Opened { flow: opened.flow, endpoints: opened.endpoints, at: opened.first.at };
        let before = self.recent.insert(isn, own);
        if before.is_none() {
            self.order.push_back(isn);
            if self.order.len() > Self::RECENT_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.recent.remove(&oldest);
            }
        }
        let before = before.filter(|before| is_same(before, &own))?;
        if self.left_out.len() >= Self::LEFT_OUT_MAX {
            return None;
        }
        let is_server_translated = before.endpoints.server != own.endpoints.server;
        let (kept, other) = if is_server_translated { (own, before) } else { (before, own) };
        self.left_out.insert(other.flow);
        self.recent.insert(isn, kept);
        Some(Copy { kept: kept.endpoints, other: other.endpoints })
    }

    /// Whether an event belongs to a connection that is left out.
    pub(super) fn leaves_out(&mut self, event: &Event) -> bool {
        if self.left_out.is_empty() {
            return false;
        }
        match event {
            Event::FlowOpened(_) => false,
            Event::Exchange(exchange) => self.left_out.contains(&exchange.id.flow),
            Event::Sealed(sealed) => self.left_out.contains(&sealed.id.flow),
            Event::FlowClosed(closed) => self.left_out.remove(&closed.flow),
            Event::Lost(loss) => loss.flow.is_some_and(|flow| self.left_out.contains(&flow)),
        }
    }
}

/// No system begins at so small a number but by chance.
const ISN_SCRIPTED_MAX: u32 = 1 << 16;

fn is_same(before: &Opened, own: &Opened) -> bool {
    let (one, other) = (before.endpoints, own.endpoints);
    // Translation keeps the client's port wherever it can; equal sequence numbers alone occur in captures that a script made.
    let is_translated = one.client.port == other.client.port && (one.client == other.client || one.server == other.server);
    one != other && is_translated && own.at.since(before.at) <= Nat::APART_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Frame, Stamp};

    fn opened(flow: u64, client: (u8, u16), server: (u8, u16), syn: Option<u32>, millis: i64) -> FlowOpened {
        let end = |(last, port): (u8, u16)| Endpoint::new([10, 0, 0, last].into(), port);
        FlowOpened {
            flow: FlowId(flow),
            endpoints: Endpoints { client: end(client), server: end(server) },
            first: Stamp { at: Timestamp::from_nanos(millis * 1_000_000), frame: Frame::new(0, flow) },
            syn,
        }
    }

    #[test]
    fn a_connection_behind_a_translated_server_counts_and_the_one_before_is_left_out() {
        let mut nat = Nat::default();
        let (before, behind) =
            (opened(1, (1, 4000), (2, 80), Some(700_000), 0), opened(2, (1, 4000), (3, 8080), Some(700_000), 1));
        assert_eq!(nat.handle_open(&before), None);
        assert_eq!(nat.handle_open(&behind), Some(Copy { kept: behind.endpoints, other: before.endpoints }));
        let lost = |flow| {
            let (reason, stamp) = (crate::model::LossReason::NotHttp, Stamp::default());
            Event::Lost(crate::model::Loss { reason, flow: Some(FlowId(flow)), bytes: 1, stamp })
        };
        assert!(nat.leaves_out(&lost(1)) && !nat.leaves_out(&lost(2)));
    }

    #[test]
    fn other_connections_are_not_taken_for_copies() {
        for (second, why) in [
            (opened(2, (1, 4000), (3, 8080), Some(800_000), 1), "another sequence number"),
            (opened(2, (1, 4001), (3, 8080), Some(700_000), 1), "another port"),
            (opened(2, (4, 4000), (3, 8080), Some(700_000), 1), "no end in common"),
            (opened(2, (1, 4000), (3, 8080), Some(700_000), 2000), "too late"),
            (opened(2, (1, 4000), (3, 8080), None, 1), "no SYN"),
        ] {
            let mut nat = Nat::default();
            nat.handle_open(&opened(1, (1, 4000), (2, 80), Some(700_000), 0));
            assert_eq!(nat.handle_open(&second), None, "{why}");
        }
    }
}
