//! The ordered stage: decoded events in; judged exchanges, findings and a summary out. No threads, no files, no clock.

mod flows;
mod histogram;
mod hold;
mod summary;
mod tables;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod transcript;

use std::net::IpAddr;

pub use crate::hops::DeclaredHop;
pub use crate::rules::Completeness;
pub use summary::{ClientRow, Counts, Direction, EncryptionRow, JoinRow, Latency, LossRow, OperationRow, Summary, TlsRow};

use crate::hops::{Clients, HopId, Topology};
use crate::model::{Event, Exchange, ExchangeId, FlowClosed, HeaderName, Loss, Timestamp};
use crate::rules::{Context, Finding, Judge, Selection, View};
use crate::s3::client_log::ClientLog;
use crate::s3::{Call, Domains, Encryption};
use flows::Flows;
use hold::Hold;
use tables::Tables;

/// What the user knows beside the capture.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Base domains of virtual-host style addresses.
    pub domains: Vec<String>,
    /// Hops that the user named.
    pub hops: Vec<DeclaredHop>,
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// Report only these rules.
    pub select: Option<Vec<String>>,
    /// Do not report these rules.
    pub ignore: Vec<String>,
    /// The clients' own logs, by file.
    pub client_logs: Vec<(String, ClientLog)>,
}

/// Hears what a run says while it goes on.
pub trait Sink {
    /// An exchange, once it is judged.
    fn exchange(&mut self, record: &Judged<'_>);

    /// Something that was not decoded.
    fn loss(&mut self, loss: &Loss);

    /// A rule fires for the first time on something. The final finding, with all that came later, is in the summary.
    fn raised(&mut self, _finding: &Finding) {}
}

/// An exchange with what was made of it.
pub struct Judged<'x> {
    /// The exchange.
    pub exchange: &'x Exchange,
    /// What it means in S3, where it does.
    pub call: Option<&'x Call<'x>>,
    /// The name of its hop.
    pub hop: &'x str,
    /// The exchange nearest the client of the same call over its hops, where it was joined.
    pub trace: Option<ExchangeId>,
}

/// A run. Memory is bounded by the bounds of its parts: nothing holds all exchanges.
pub struct Analysis {
    domains: Domains,
    logs: Vec<(String, ClientLog)>,
    topology: Topology,
    clients: Clients,
    judge: Judge,
    flows: Flows,
    tables: Tables,
    hold: Hold,
    now: Timestamp,
}

impl Analysis {
    /// Starts a run.
    pub fn new(options: Options) -> Self {
        Self {
            domains: Domains::new(options.domains),
            logs: options.client_logs,
            topology: Topology::new(options.hops, options.names),
            clients: Clients::default(),
            judge: Judge::new(Selection { select: options.select, ignore: options.ignore }),
            flows: Flows::default(),
            tables: Tables::default(),
            hold: Hold::new(),
            now: Timestamp::EPOCH,
        }
    }

    /// A host name that the capture holds.
    pub fn handle_name(&mut self, ip: IpAddr, name: &str) {
        self.topology.handle_name(ip, name);
    }

    /// An event, in capture order.
    pub fn handle_event(&mut self, event: Event, sink: &mut dyn Sink) {
        let is_use = self.observe(&event);
        let at = time_of(&event);
        if let Some(event) = self.hold.take(event, is_use, at) {
            self.process(event, sink);
        } else if !self.hold.is_idle() {
            while let Some(event) = self.hold.release() {
                self.process(event, sink);
            }
        }
    }

    /// The clock of a live source, which goes on where no packets come.
    pub fn handle_time(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        if self.hold.is_idle() {
            return;
        }
        self.hold.handle_time(now);
        while let Some(event) = self.hold.release() {
            self.process(event, sink);
        }
    }

    /// Totals so far.
    pub fn handle_counts(&mut self, counts: &Counts) {
        self.flows.handle_counts(counts);
    }

    /// Ends the run.
    pub fn finish(mut self, sink: &mut dyn Sink) -> Summary {
        self.hold.end();
        while let Some(event) = self.hold.release() {
            self.process(event, sink);
        }
        self.topology.settle();
        let Self { logs, topology, clients, judge, flows, tables, now, .. } = self;
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
            joins: Vec::new(),
            findings: judgement.findings,
            verdict: judgement.verdict,
            hops: topology.into_hops(),
            completeness: flows.completeness,
            losses: flows.losses,
            tls_flows: flows.tls,
        }
    }

    /// Gathers evidence on the parts of addresses before anything is named; tells whether it is an exchange of a user.
    fn observe(&mut self, event: &Event) -> bool {
        match event {
            Event::Exchange(exchange) => {
                self.topology.observe_exchange(exchange);
                !self.hold.is_idle() && !is_probe(exchange)
            }
            Event::FlowClosed(closed) => {
                self.topology.observe_flow(closed);
                false
            }
            Event::FlowOpened(_) | Event::Lost(_) => false,
        }
    }

    fn process(&mut self, event: Event, sink: &mut dyn Sink) {
        self.now = self.now.max(time_of(&event));
        match event {
            Event::FlowOpened(_) => self.flows.handle_open(),
            Event::Exchange(exchange) => self.process_exchange(&exchange, sink),
            Event::FlowClosed(closed) => self.process_close(&closed),
            Event::Lost(loss) => {
                self.flows.handle_loss(&loss);
                sink.loss(&loss);
            }
        }
    }

    fn process_exchange(&mut self, exchange: &Exchange, sink: &mut dyn Sink) {
        self.flows.handle_exchange(exchange);
        let hop = self.topology.count_exchange(exchange);
        let call = Call::read(exchange, &self.domains);
        let judged = call.as_ref().filter(|call| !call.is_health_check());
        if let Some(call) = judged {
            self.judge_call(call, hop);
        }
        if call.is_none() || !exchange.anomalies.is_empty() {
            let (judge, view) = self.judge_and_view();
            judge.handle_exchange(exchange, hop, &view);
        }
        sink.exchange(&Judged { exchange, call: call.as_ref(), hop: self.topology.name(hop), trace: None });
        for finding in self.judge.take_raised() {
            sink.raised(&finding);
        }
    }

    fn judge_call(&mut self, call: &Call<'_>, hop: HopId) {
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
        let context = Context {
            view,
            hop,
            client,
            is_clear,
            twin: None,
            request_encrypted,
            response_encrypted,
            asked: &asked,
            told: &told,
        };
        self.tables.add(call, &context);
        self.judge.handle_call(call, &context);
    }

    fn process_close(&mut self, closed: &FlowClosed) {
        let hop = self.topology.count_shut_flow(closed).or_else(|| self.topology.find(closed.endpoints.server));
        self.flows.handle_close(closed, hop);
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

/// Whether an exchange is one that programs send to see whether a server is there.
fn is_probe(exchange: &Exchange) -> bool {
    let target = exchange.request.target();
    target.starts_with(b"/minio/") || target.starts_with(b"/v1/health") || target.starts_with(b"/.prometheus/")
}

fn time_of(event: &Event) -> Timestamp {
    match event {
        Event::FlowOpened(opened) => opened.first.at,
        Event::Exchange(exchange) => {
            let request = &exchange.request;
            let response = exchange.response().map(|response| response.end.unwrap_or(response.start));
            response.or(request.end).unwrap_or(request.start)
        }
        Event::FlowClosed(closed) => closed.last.at,
        Event::Lost(loss) => loss.stamp.at,
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
