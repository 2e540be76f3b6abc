//! Exchanges for tests.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::{Endpoint, Endpoints, Exchange, ExchangeId, FlowId, Outcome, Request, Transport};

/// An unanswered exchange in clear around a request.
pub(crate) fn exchange(request: Request) -> Exchange {
    let at = |last, port| Endpoint::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
    Exchange {
        id: ExchangeId { flow: FlowId(17), ordinal: 1 },
        endpoints: Endpoints { client: at(1, 50_000), server: at(2, 9000) },
        transport: Transport::Clear,
        request,
        interim: Vec::new(),
        outcome: Outcome::Unanswered,
        ending: None,
        tunnel: None,
        anomalies: Vec::new(),
    }
}
