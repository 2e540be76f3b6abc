//! What is done with an event when its turn has come: named, judged, counted and told.

use std::net::IpAddr;

use crate::analysis::endings::{Ended, Endings};
use crate::analysis::flows::Flows;
use crate::analysis::joins::Joins;
use crate::analysis::signatures::Signatures;
use crate::analysis::tables::Tables;
use crate::analysis::{ClientLogRow, ClientRow, Counts, Judged, JudgedSealed, Options, Sink, Summary};
use crate::hops::{
    Chain, ClientId, Clients, Front, HopId, Join, JoinKey, Member, SealedMember, Sealings, Settled, Topology, changes,
    request_changes, request_line_changes,
};
use crate::model::{Endpoint, Event, Exchange, ExchangeId, FlowClosed, HeaderName, SealedExchange, SealedPartner, Timestamp};
use crate::rules::{Context, Disclosure, Extent, Interrupted, Joined, Judge, Regular, Selection, View};
use crate::s3::client_log::ClientLog;
use crate::s3::{Call, Domains, NO_ENCRYPTION, Operation, is_plaintext_to_tls};
use crate::session::secrets::{Exposed, in_exchange};

/// All that is known of a run so far.
pub(super) struct Stage {
    domains: Domains,
    logs: Vec<(String, ClientLog)>,
    topology: Topology,
    clients: Clients,
    judge: Judge,
    flows: Flows,
    endings: Endings,
    tables: Tables,
    joins: Joins,
    sealings: Sealings,
    signatures: Signatures,
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
            endings: Endings::default(),
            tables: Tables::default(),
            joins: Joins::default(),
            sealings: Sealings::default(),
            signatures: Signatures::new(options.credentials),
            now: Timestamp::EPOCH,
        }
    }

    /// The name that a recorded run gave to the hop of a server.
    pub(super) fn handle_hop_name(&mut self, server: Endpoint, name: &str) {
        self.topology.handle_hop_name(server, name);
    }

    /// A server was seen under another address, too: before its address was translated.
    pub(super) fn handle_alias(&mut self, server: Endpoint, alias: Endpoint) {
        self.topology.handle_alias(server, alias);
    }

    pub(super) fn handle_name(&mut self, ip: IpAddr, name: &str) {
        self.topology.handle_name(ip, name);
    }

    pub(super) fn handle_counts(&mut self, counts: &Counts) {
        self.flows.handle_counts(counts);
    }

    /// What a recorded run saw of the requests of one client inside TLS that was not decrypted.
    pub(super) fn handle_undecrypted_client(&mut self, regular: Regular) {
        self.flows.add_regular(regular);
    }

    /// Hears an event long before its turn.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Exchange(exchange) => self.topology.observe_exchange(exchange),
            Event::FlowClosed(closed) => self.topology.observe_flow(closed),
            Event::Sealed(sealed) => self.flows.observe_sealed(sealed),
            Event::FlowOpened(_) | Event::Lost(_) => {}
        }
    }

    /// An event that can have no partner, except one that stays shut: `may_go_on`.
    pub(super) fn process(&mut self, event: &Event, at: Timestamp, may_go_on: bool, sink: &mut dyn Sink) {
        match event {
            Event::FlowOpened(opened) => {
                self.flows.handle_open();
                sink.flow_opened(opened);
            }
            Event::Exchange(exchange) => {
                let (hop, call, secrets) = self.judge(exchange, at);
                let (call, name) = (call.as_ref(), self.topology.name(hop));
                sink.exchange(&Judged { exchange, call, hop: name, trace: None, secrets: &secrets });
                self.tell_raised(sink);
                if let Some(call) = call.filter(|_| may_go_on) {
                    self.offer(call, hop, None, false);
                    self.relieve(sink);
                }
            }
            Event::Sealed(_) => {}
            Event::FlowClosed(closed) => self.process_close(closed, sink),
            Event::Lost(loss) => {
                self.flows.handle_loss(loss);
                sink.loss(loss);
            }
        }
        self.now = self.now.max(at);
    }

    /// An exchange that can have a partner: it is judged now, and told with its chain.
    pub(super) fn judge_exchange(&mut self, exchange: &Exchange, at: Timestamp, sink: &mut dyn Sink) {
        sink.deferred(exchange.id);
        self.judge(exchange, at);
        self.tell_raised(sink);
    }

    /// The exchanges of one call, each of which was judged already.
    pub(super) fn handle_chain(&mut self, chain: &Chain, sink: &mut dyn Sink) {
        let calls: Vec<_> = chain.members.iter().map(|member| self.place(member)).collect();
        for (member, call) in chain.members.iter().zip(&calls) {
            let Some((hop, Some(call))) = call else { continue };
            self.joins.add_unmatched(*hop, member);
            let downstream = member.downstream.and_then(|(front, join)| Some((calls.get(front)?.as_ref()?, join)));
            if let Some(((front_hop, Some(front)), join)) = downstream {
                self.join([*front_hop, *hop], [front, call], join);
            }
            if member.may_go_on {
                self.offer(call, *hop, chain.trace, member.lacks_upstream);
            }
        }
        for (member, call) in chain.members.iter().zip(&calls) {
            let exchange = &*member.exchange;
            let (hop, call) = call.as_ref().map_or(("", None), |(hop, call)| (self.topology.name(*hop), call.as_ref()));
            let secrets = secrets_of(exchange, call);
            sink.exchange(&Judged { exchange, call, hop, trace: chain.trace, secrets: &secrets });
        }
        self.tell_raised(sink);
        self.relieve(sink);
    }

    /// An exchange that stays shut.
    pub(super) fn handle_sealed(&mut self, exchange: Box<SealedExchange>, sink: &mut dyn Sink) {
        self.sealings.handle_sealed(exchange);
        self.relieve(sink);
    }

    /// An exchange that stayed shut in a recorded run.
    pub(super) fn handle_recorded_sealed(
        &mut self,
        exchange: Box<SealedExchange>,
        partner: Option<SealedPartner>,
        sink: &mut dyn Sink,
    ) {
        self.sealings.handle_recorded(exchange, partner);
        self.relieve(sink);
    }

    /// Takes note of the address under which the machine that captured its loopback traffic is seen outside.
    pub(super) const fn set_host(&mut self, host: Option<IpAddr>) {
        self.sealings.set_host(host);
    }

    /// Joins what waits for exchanges that stay shut, at the end of a run.
    pub(super) fn settle_sealed(&mut self, sink: &mut dyn Sink) {
        let settled = self.sealings.settle(true);
        self.tell_sealed(settled, sink);
    }

    pub(super) fn finish(mut self) -> Summary {
        self.topology.settle();
        let ended = self.endings.finish();
        self.handle_ended(&ended);
        let Self { joins, logs, topology, clients, judge, flows, tables, signatures, now, .. } = self;
        let view = View {
            hops: &topology,
            clients: &clients,
            gaps: &flows.gaps,
            completeness: &flows.completeness,
            shut: &flows.shut,
            regular: &flows.regular,
            undecoded: &flows.undecoded,
            tls_failures: &flows.tls_failures,
            proxied: &flows.proxied,
            logs: &logs,
            credentials: signatures.credentials(),
            now,
        };
        let judgement = judge.finish(&view);
        Summary {
            operations: tables.operations(),
            clients: client_rows(&clients),
            encryption: tables.encryption(),
            joins: joins.rows(&topology),
            unmatched_hops: topology.unmatched(),
            client_logs: logs.iter().map(log_row).collect(),
            findings: judgement.findings,
            verdict: judgement.verdict,
            hops: topology.into_hops(),
            completeness: flows.completeness,
            losses: flows.losses,
            tls_flows: flows.tls,
            undecrypted_clients: flows.regular,
            signatures: signatures.counts(),
        }
    }

    fn judge<'x>(&mut self, exchange: &'x Exchange, at: Timestamp) -> (HopId, Option<Call<'x>>, Vec<Exposed<'x>>) {
        self.now = self.now.max(at);
        self.flows.handle_exchange(exchange);
        let hop = self.topology.count_exchange(exchange);
        let call = self.read(exchange);
        self.flows.completeness.health_checks += u64::from(call.as_ref().is_some_and(Call::is_health_check));
        let secrets = secrets_of(exchange, call.as_ref());
        let judged = call.as_ref().filter(|call| !call.is_health_check());
        let client = judged.map(|call| self.count_client(call, hop));
        if !secrets.is_empty() && exchange.transport.is_clear() {
            let (judge, view) = self.judge_and_view();
            judge.handle_secrets(&Disclosure { view, hop, client, exchange, call: call.as_ref(), secrets: &secrets });
        }
        if let Some((call, client)) = judged.zip(client) {
            self.judge_call(call, hop, client);
        }
        match Extent::of(exchange) {
            Extent::Whole => {}
            extent => {
                let interrupted = match (extent, judged, client) {
                    (Extent::Interrupted(part), Some(call), Some(client)) => Some(Interrupted::of(call, hop, client, part)),
                    _ => None,
                };
                self.endings.add(exchange.id.flow, extent, interrupted);
            }
        }
        if call.is_none() || !exchange.anomalies.is_empty() {
            let (judge, view) = self.judge_and_view();
            judge.handle_exchange(exchange, hop, &view);
        }
        (hop, call, secrets)
    }

    /// The hop of an exchange that was judged, and what it means in S3.
    fn place<'x>(&self, member: &'x Member) -> Option<(HopId, Option<Call<'x>>)> {
        Some((self.topology.find_exchange(&member.exchange)?, self.read(&member.exchange)))
    }

    /// What an exchange means in S3. A request in plaintext that came to a TLS port is no call: no store has read it.
    fn read<'x>(&self, exchange: &'x Exchange) -> Option<Call<'x>> {
        Call::read(exchange, &self.domains).filter(|_| !is_plaintext_to_tls(exchange))
    }

    /// Remembers a call for the exchanges that stay shut.
    fn offer(&mut self, call: &Call<'_>, hop: HopId, trace: Option<ExchangeId>, has_waited: bool) {
        if !call.is_health_check() {
            let mut front = Front::of(call.exchange, hop, trace);
            front.is_retry = call.attempt().is_some_and(|attempt| attempt > 1);
            front.has_waited = has_waited;
            self.sealings.offer(front);
        }
    }

    /// Decides on the older half of what waits, where too much does.
    fn relieve(&mut self, sink: &mut dyn Sink) {
        if self.sealings.is_full() {
            let settled = self.sealings.settle(false);
            self.tell_sealed(settled, sink);
        }
    }

    fn tell_sealed(&mut self, settled: Settled, sink: &mut dyn Sink) {
        for SealedMember { exchange, partner, front } in &settled.sealed {
            let hop = self.topology.sealed_hop(exchange.endpoints);
            let join = partner.map(|partner| Join { key: JoinKey::RecordSizes, is_sole: partner.is_sole, is_resend: false });
            if let (Some(front), Some(join)) = (front, join) {
                self.topology.handle_join(front.hop, hop, join);
                self.joins.add_sealed([front.hop, hop], front, exchange, join);
            }
            let partner = partner.zip(join.map(|join| join.confidence()));
            sink.sealed(&JudgedSealed { exchange, hop: self.topology.name(hop), partner });
        }
        settled.alone.iter().for_each(|lone| self.joins.add_lone(lone));
    }

    fn tell_raised(&mut self, sink: &mut dyn Sink) {
        for finding in self.judge.take_raised() {
            sink.raised(&finding);
        }
    }

    /// Counts what the proxy did to a call, and lets the rules know.
    fn join(&mut self, hops: [HopId; 2], [downstream, upstream]: [&Call<'_>; 2], join: Join) {
        if join.is_resend {
            self.joins.add_resend(hops);
            let (judge, view) = self.judge_and_view();
            let [hop, _] = hops;
            let (request_changes, line_changes, response_changes) = (&[][..], &[][..], &[][..]);
            let joined =
                Joined { view, hop, client: None, downstream, upstream, request_changes, line_changes, response_changes };
            return judge.handle_resend(&joined);
        }
        let (asked, passed) = (&downstream.exchange.request, &upstream.exchange.request);
        let (request_changes, line_changes) = (request_changes(asked, passed), request_line_changes(asked, passed));
        let responses = downstream.exchange.response().zip(upstream.exchange.response());
        let response_changes = responses.map(|(relayed, answer)| changes(&answer.headers, &relayed.headers)).unwrap_or_default();
        let [hop, next] = hops;
        self.topology.handle_join(hop, next, join);
        self.joins.add(hops, downstream, upstream.exchange, join, [&request_changes, &response_changes]);
        let client = self.clients.find(hop, downstream.exchange.endpoints.client.ip, agent_of(downstream));
        let (judge, view) = self.judge_and_view();
        judge.handle_join(&Joined {
            view,
            hop,
            client,
            downstream,
            upstream,
            request_changes: &request_changes,
            line_changes: &line_changes,
            response_changes: &response_changes,
        });
    }

    fn count_client(&mut self, call: &Call<'_>, hop: HopId) -> ClientId {
        // Of a call whose request is not in the capture only the response is judged.
        if !call.exchange.request.method().is_empty() {
            self.topology.count_call(hop);
        }
        self.clients.count_call(hop, call.exchange.endpoints.client.ip, agent_of(call), || call.client())
    }

    fn judge_call(&mut self, call: &Call<'_>, hop: HopId, client: ClientId) {
        let (request_encrypted, response_encrypted) = call.has_encryption_headers();
        let asked = request_encrypted.then(|| call.request_encryption());
        let told = response_encrypted.then(|| call.response_encryption());
        let is_clear = call.exchange.transport.is_clear();
        let signature = self.signatures.check(call);
        let signature = signature.as_ref();
        let view = View {
            hops: &self.topology,
            clients: &self.clients,
            gaps: &self.flows.gaps,
            completeness: &self.flows.completeness,
            shut: &self.flows.shut,
            regular: &self.flows.regular,
            undecoded: &self.flows.undecoded,
            tls_failures: &self.flows.tls_failures,
            proxied: &self.flows.proxied,
            logs: &self.logs,
            credentials: self.signatures.credentials(),
            now: self.now,
        };
        let (asked, told) = (asked.as_ref().unwrap_or(&NO_ENCRYPTION), told.as_ref().unwrap_or(&NO_ENCRYPTION));
        let context = Context { view, hop, client, is_clear, signature, request_encrypted, response_encrypted, asked, told };
        self.tables.add(call, &context);
        self.judge.handle_call(call, &context);
    }

    fn process_close(&mut self, closed: &FlowClosed, sink: &mut dyn Sink) {
        let undecoded = self.topology.count_undecoded_flow(closed);
        if let Some(hop) = undecoded {
            self.flows.add_undecoded(closed, hop);
        }
        let failed = self.topology.count_failed_flow(closed);
        if let Some(hop) = failed {
            self.flows.add_failed(closed, hop);
        }
        let used = self.topology.count_shut_flow(closed).or(undecoded).or(failed);
        if let Some(proxied) = closed.proxied.as_deref() {
            let hop = self.topology.proxied_hop(closed);
            self.flows.add_proxied(proxied, hop);
        }
        let used = used.or_else(|| self.topology.find_flow(closed));
        let hop = used.or_else(|| self.topology.recorded_hop(closed));
        self.flows.handle_close(closed, hop);
        let ended = self.endings.handle_close(closed);
        self.handle_ended(&ended);
        sink.flow_closed(closed, hop.map(|hop| self.topology.name(hop)));
    }

    /// What the end of a connection shows of its exchanges. A call that its peers interrupted is an error, whatever its status.
    fn handle_ended(&mut self, ended: &Ended) {
        self.flows.add_incomplete(ended.incomplete);
        for interrupted in &ended.interrupted {
            if !interrupted.has_error_status {
                self.tables.add_interrupted(interrupted.hop, interrupted.operation);
            }
            let (judge, view) = self.judge_and_view();
            judge.handle_interrupted(interrupted, &view);
        }
    }

    fn judge_and_view(&mut self) -> (&mut Judge, View<'_>) {
        let view = View {
            hops: &self.topology,
            clients: &self.clients,
            gaps: &self.flows.gaps,
            completeness: &self.flows.completeness,
            shut: &self.flows.shut,
            regular: &self.flows.regular,
            undecoded: &self.flows.undecoded,
            tls_failures: &self.flows.tls_failures,
            proxied: &self.flows.proxied,
            logs: &self.logs,
            credentials: self.signatures.credentials(),
            now: self.now,
        };
        (&mut self.judge, view)
    }
}

fn log_row((file, log): &(String, ClientLog)) -> ClientLogRow {
    ClientLogRow { file: file.clone(), lines: log.lines, refusals: log.refusal_count }
}

fn agent_of<'x>(call: &Call<'x>) -> Option<&'x [u8]> {
    let headers = &call.exchange.request.headers;
    headers.get(HeaderName::UserAgent).or_else(|| headers.get(HeaderName::XAmzUserAgent))
}

/// The secrets of an exchange. The contents of objects are not read for them: they are the users'.
fn secrets_of<'x>(exchange: &'x Exchange, call: Option<&Call<'_>>) -> Vec<Exposed<'x>> {
    let operation = call.map_or(Operation::UNKNOWN, |call| call.operation);
    let is_success = exchange.status().is_some_and(|status| status < 300);
    let mut secrets = Vec::new();
    in_exchange(exchange, [!operation.writes_object(), !(is_success && operation.reads_object())], &mut secrets);
    secrets
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
