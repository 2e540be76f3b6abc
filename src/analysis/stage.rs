//! What is done with an event when its turn has come: named, judged, counted and told.

use std::net::IpAddr;

use crate::analysis::flows::Flows;
use crate::analysis::joins::Joins;
use crate::analysis::tables::Tables;
use crate::analysis::{ClientRow, Counts, Judged, Options, Sink, Summary};
use crate::hops::{Clients, HopId, Partnered, Topology, request_changes};
use crate::model::{Endpoint, Event, Exchange, FlowClosed, HeaderName, Timestamp};
use crate::rules::{Context, Judge, Selection, Twins, View};
use crate::s3::client_log::ClientLog;
use crate::s3::{Call, Domains, Encryption};

/// All that is known of a run so far.
pub(super) struct Stage {
    domains: Domains,
    logs: Vec<(String, ClientLog)>,
    topology: Topology,
    clients: Clients,
    judge: Judge,
    flows: Flows,
    tables: Tables,
    joins: Joins,
    now: Timestamp,
}

impl Stage {
    pub(super) fn new(options: Options) -> Self {
        Self {
            domains: Domains::new(options.domains),
            logs: options.client_logs,
            topology: Topology::new(options.hops, options.names),
            clients: Clients::default(),
            judge: Judge::new(Selection { select: options.select, ignore: options.ignore }),
            flows: Flows::default(),
            tables: Tables::default(),
            joins: Joins::default(),
            now: Timestamp::EPOCH,
        }
    }

    /// The name that a recorded run gave to the hop of a server.
    pub(super) fn handle_hop_name(&mut self, server: Endpoint, name: &str) {
        self.topology.handle_hop_name(server, name);
    }

    pub(super) fn handle_name(&mut self, ip: IpAddr, name: &str) {
        self.topology.handle_name(ip, name);
    }

    pub(super) fn handle_counts(&mut self, counts: &Counts) {
        self.flows.handle_counts(counts);
    }

    /// Hears an event long before its turn.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Exchange(exchange) => self.topology.observe_exchange(exchange),
            Event::FlowClosed(closed) => self.topology.observe_flow(closed),
            Event::FlowOpened(_) | Event::Lost(_) => {}
        }
    }

    /// An event without partners.
    pub(super) fn process(&mut self, event: &Event, at: Timestamp, sink: &mut dyn Sink) {
        match event {
            Event::FlowOpened(_) => self.flows.handle_open(),
            Event::Exchange(exchange) => return self.process_exchange(exchange, at, &Partnered::default(), sink),
            Event::FlowClosed(closed) => self.process_close(closed, sink),
            Event::Lost(loss) => {
                self.flows.handle_loss(loss);
                sink.loss(loss);
            }
        }
        self.now = self.now.max(at);
    }

    pub(super) fn process_exchange(&mut self, exchange: &Exchange, at: Timestamp, partners: &Partnered<'_>, sink: &mut dyn Sink) {
        self.now = self.now.max(at);
        self.flows.handle_exchange(exchange);
        let hop = self.topology.count_exchange(exchange);
        let call = Call::read(exchange, &self.domains);
        let judged = call.as_ref().filter(|call| !call.is_health_check());
        if let Some(call) = judged {
            self.process_call(call, hop, partners);
        }
        if call.is_none() || !exchange.anomalies.is_empty() {
            let (judge, view) = self.judge_and_view();
            judge.handle_exchange(exchange, hop, &view);
        }
        sink.exchange(&Judged { exchange, call: call.as_ref(), hop: self.topology.name(hop), trace: partners.trace });
        for finding in self.judge.take_raised() {
            sink.raised(&finding);
        }
    }

    pub(super) fn finish(mut self) -> Summary {
        self.topology.settle();
        let Self { joins, logs, topology, clients, judge, flows, tables, now, .. } = self;
        let view = View {
            hops: &topology,
            clients: &clients,
            gaps: &flows.gaps,
            completeness: &flows.completeness,
            shut: &flows.shut,
            logs: &logs,
            now,
        };
        let judgement = judge.finish(&view);
        Summary {
            operations: tables.operations(),
            clients: client_rows(&clients),
            encryption: tables.encryption(),
            joins: joins.rows(&topology),
            findings: judgement.findings,
            verdict: judgement.verdict,
            hops: topology.into_hops(),
            completeness: flows.completeness,
            losses: flows.losses,
            tls_flows: flows.tls,
        }
    }

    /// Reads the partners of a call, and counts what the proxy did to it.
    fn process_call(&mut self, call: &Call<'_>, hop: HopId, partners: &Partnered<'_>) {
        if partners.lacks_upstream || partners.lacks_downstream {
            self.joins.add_unmatched(hop, partners);
        }
        let upstream = partners.upstream.and_then(|(exchange, _)| Call::read(exchange, &self.domains));
        let downstream = partners.downstream.and_then(|(exchange, _)| Call::read(exchange, &self.domains));
        let request_changes = upstream.as_ref().map(|twin| request_changes(&call.exchange.request, &twin.exchange.request));
        let twins = Twins {
            upstream: upstream.as_ref(),
            downstream: downstream.as_ref(),
            request_changes: request_changes.as_deref().unwrap_or_default(),
        };
        if let Some((back, join)) = partners.upstream {
            let next = self.topology.place(back);
            self.topology.handle_join(hop, next, join);
            self.joins.add([hop, next], call, back, join, twins.request_changes);
        }
        if let Some((front, _)) = partners.downstream.filter(|(_, join)| join.is_resend) {
            let before = self.topology.place(front);
            self.joins.add_resend([before, hop]);
        }
        self.judge_call(call, hop, twins);
    }

    fn judge_call(&mut self, call: &Call<'_>, hop: HopId, twins: Twins<'_>) {
        self.topology.count_call(hop);
        let headers = &call.exchange.request.headers;
        let agent = headers.get(HeaderName::UserAgent).or_else(|| headers.get(HeaderName::XAmzUserAgent));
        let client = self.clients.count_call(hop, call.exchange.endpoints.client.ip, agent, || call.client());
        let (request_encrypted, response_encrypted) = call.has_encryption_headers();
        let asked = if request_encrypted { call.request_encryption() } else { Encryption::default() };
        let told = if response_encrypted { call.response_encryption() } else { Encryption::default() };
        let is_clear = call.exchange.transport.is_clear();
        let view = View {
            hops: &self.topology,
            clients: &self.clients,
            gaps: &self.flows.gaps,
            completeness: &self.flows.completeness,
            shut: &self.flows.shut,
            logs: &self.logs,
            now: self.now,
        };
        let context =
            Context { view, hop, client, is_clear, twins, request_encrypted, response_encrypted, asked: &asked, told: &told };
        self.tables.add(call, &context);
        self.judge.handle_call(call, &context);
    }

    fn process_close(&mut self, closed: &FlowClosed, sink: &mut dyn Sink) {
        let hop = self.topology.count_shut_flow(closed).or_else(|| self.topology.find(closed.endpoints.server));
        self.flows.handle_close(closed, hop);
        sink.flow_closed(closed, hop.map(|hop| self.topology.name(hop)));
    }

    fn judge_and_view(&mut self) -> (&mut Judge, View<'_>) {
        let view = View {
            hops: &self.topology,
            clients: &self.clients,
            gaps: &self.flows.gaps,
            completeness: &self.flows.completeness,
            shut: &self.flows.shut,
            logs: &self.logs,
            now: self.now,
        };
        (&mut self.judge, view)
    }
}

/// The clients by hop and program: addresses with the same program on a hop are one row.
fn client_rows(clients: &Clients) -> Vec<ClientRow> {
    let mut rows: Vec<ClientRow> = Vec::new();
    for (_, client) in clients.iter() {
        match rows.iter_mut().find(|row| row.hop == client.hop && row.agent == client.agent) {
            Some(row) => row.exchanges += client.calls,
            None => rows.push(ClientRow {
                hop: client.hop,
                sdk: client.sdk.label(),
                version: client.version.clone(),
                agent: client.agent.clone(),
                exchanges: client.calls,
            }),
        }
    }
    rows
}
