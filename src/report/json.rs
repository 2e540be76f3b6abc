//! The report as one JSON object, and its parts as they also stand in the lines of a session.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::analysis::{HeaderChanges, JoinRow, Latency, LossRow, TlsRow};
use crate::hops::Hop;
use crate::report::Report;
use crate::rules::{Completeness, Confidence, Evidence, Finding, Fix, Regular, Step, Verdict};
use crate::session::source::Source;

/// Writes the report as one object.
pub(super) fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let object = Object {
        schema: SCHEMA,
        tool: Tool { name: "hopwire", version: env!("CARGO_PKG_VERSION") },
        sources: report.sources,
        body: summary(report, true),
    };
    serde_json::to_writer_pretty(&mut *out, &object)?;
    out.write_all(b"\n")
}

/// The summary as it stands in the last line of a session: the findings have lines of their own.
pub fn summary_line(report: &Report<'_>) -> impl Serialize {
    summary(report, false)
}

fn summary(report: &Report<'_>, with_findings: bool) -> impl Serialize {
    let hop = |id| report.hop(id).to_owned();
    let summary = report.summary;
    SummaryView {
        completeness: completeness(&summary.completeness),
        hops: summary.hops.iter().map(|one| hop_view(report, one)).collect(),
        operations: summary
            .operations
            .iter()
            .map(|row| OperationView {
                hop: hop(row.hop),
                operation: row.operation,
                count: row.count,
                errors: row.errors,
                request_bytes: row.request_bytes,
                response_bytes: row.response_bytes,
                latency_ms: row.latency.as_ref().map(latency),
            })
            .collect(),
        clients: summary
            .clients
            .iter()
            .map(|row| ClientView {
                hop: hop(row.hop),
                sdk: row.sdk,
                version: row.version.as_deref().map(|text| report.clean(text)),
                agent: row.agent.as_deref().map(|text| report.clean(text)),
                exchanges: row.exchanges,
            })
            .collect(),
        encryption: summary
            .encryption
            .iter()
            .map(|row| EncryptionView {
                hop: hop(row.hop),
                transport: if row.clear { "clear" } else { "tls" },
                place: row.direction.label(),
                kind: row.kind,
                count: row.count,
            })
            .collect(),
        joins: summary.joins.iter().map(|row| join(report, row)).collect(),
        client_logs: summary
            .client_logs
            .iter()
            .map(|row| ClientLogView { file: row.file.clone(), lines: row.lines, refusals: row.refusals })
            .collect(),
        unmatched_hops: summary.unmatched_hops.clone(),
        losses: summary.losses.iter().map(|row| loss(report, row)).collect(),
        tls_flows: summary.tls_flows.iter().map(|row| tls(report, row)).collect(),
        undecrypted_clients: summary.undecrypted_clients.iter().map(undecrypted_client).collect(),
        signatures: summary.signatures.as_ref().map(|counts| SignaturesView {
            verified: counts.verified,
            differing: counts.differing,
            not_checked: counts.not_checked.iter().copied().collect(),
        }),
        findings: with_findings.then(|| summary.findings.iter().map(|one| finding(report, one)).collect::<Vec<_>>()),
        verdict: verdict(report, &summary.verdict),
    }
}

/// A pair of hops with what was joined over it.
fn join(report: &Report<'_>, row: &JoinRow) -> JoinView {
    JoinView {
        downstream: report.hop(row.downstream).to_owned(),
        upstream: report.hop(row.upstream).to_owned(),
        joined: row.joined,
        unmatched_downstream: row.unmatched_downstream,
        unmatched_upstream: row.unmatched_upstream,
        by: row.by.iter().copied().collect(),
        confidence: row.confidence.iter().copied().collect(),
        resends: row.resends,
        retries: row.retries,
        latency_ms: LegsView {
            client_leg: row.latency.client_leg.as_ref().map(latency),
            proxy: row.latency.proxy.as_ref().map(latency),
            store_leg: row.latency.store_leg.as_ref().map(latency),
        },
        headers: BothHeadersView {
            request: headers(report, &row.request_headers),
            response: headers(report, &row.response_headers),
        },
    }
}

/// A finding as it stands in the report and in a line of a session.
pub fn finding(report: &Report<'_>, finding: &Finding) -> impl Serialize + use<> {
    FindingView {
        rule: finding.rule.name,
        severity: finding.severity.label(),
        confidence: finding.confidence.label(),
        hop: finding.hop.map(|id| report.hop(id).to_owned()),
        count: finding.count,
        message: report.clean(&finding.message),
        cause: finding.cause.as_deref().map(|cause| report.clean(cause)),
        subject: finding.subject.iter().map(|(name, value)| (*name, report.clean(value))).collect(),
        chain: finding.chain.iter().map(|step| step_view(report, step)).collect(),
        evidence: evidence(report, &finding.evidence),
        fixes: finding.fixes.iter().map(|fix| fix_view(report, fix)).collect(),
    }
}

#[derive(Serialize)]
struct Object<'a, B> {
    schema: &'static str,
    tool: Tool,
    sources: &'a [Source],
    #[serde(flatten)]
    body: B,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct SummaryView<F> {
    completeness: CompletenessView,
    hops: Vec<HopView>,
    operations: Vec<OperationView>,
    clients: Vec<ClientView>,
    encryption: Vec<EncryptionView>,
    joins: Vec<JoinView>,
    client_logs: Vec<ClientLogView>,
    unmatched_hops: Vec<String>,
    losses: Vec<LossView>,
    tls_flows: Vec<TlsView>,
    undecrypted_clients: Vec<UndecryptedClientView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<SignaturesView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Vec<F>>,
    verdict: VerdictView,
}

#[derive(Serialize)]
struct UndecryptedClientView {
    client: String,
    requests: u64,
    irregular: u64,
    request_bytes: u64,
    last: String,
}

fn undecrypted_client(one: &Regular) -> UndecryptedClientView {
    UndecryptedClientView {
        client: one.client.to_string(),
        requests: one.requests,
        irregular: one.irregular,
        request_bytes: one.request_bytes,
        last: one.last.to_string(),
    }
}

#[derive(Serialize)]
struct SignaturesView {
    verified: u64,
    differing: u64,
    not_checked: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct CompletenessView {
    packets: u64,
    packets_truncated: u64,
    packets_undecodable: u64,
    packets_dropped: u64,
    flows: u64,
    flows_without_start: u64,
    stream_bytes: u64,
    stream_bytes_missing: u64,
    tls_flows: u64,
    tls_flows_decrypted: u64,
    tls_undecrypted: BTreeMap<&'static str, u64>,
    tls_failed: BTreeMap<&'static str, u64>,
    exchanges: u64,
    exchanges_incomplete: u64,
    unseen: Vec<UnseenView>,
}

#[derive(Serialize)]
struct UnseenView {
    reason: &'static str,
    count: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct HopView {
    name: String,
    servers: Vec<String>,
    via: Vec<String>,
    aliases: Vec<String>,
    clients: Vec<String>,
    transport: &'static str,
    exchanges: u64,
    calls: u64,
    declared: bool,
    upstream: Option<String>,
}

#[derive(Serialize)]
struct OperationView {
    hop: String,
    operation: &'static str,
    count: u64,
    errors: u64,
    request_bytes: u64,
    response_bytes: u64,
    latency_ms: Option<LatencyView>,
}

#[derive(Serialize)]
struct LatencyView {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Serialize)]
struct ClientView {
    hop: String,
    sdk: &'static str,
    version: Option<String>,
    agent: Option<String>,
    exchanges: u64,
}

#[derive(Serialize)]
struct EncryptionView {
    hop: String,
    transport: &'static str,
    #[serde(rename = "where")]
    place: &'static str,
    kind: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct JoinView {
    downstream: String,
    upstream: String,
    joined: u64,
    unmatched_downstream: u64,
    unmatched_upstream: u64,
    by: BTreeMap<&'static str, u64>,
    confidence: BTreeMap<&'static str, u64>,
    resends: u64,
    retries: u64,
    latency_ms: LegsView,
    headers: BothHeadersView,
}

#[derive(Serialize)]
struct LegsView {
    client_leg: Option<LatencyView>,
    proxy: Option<LatencyView>,
    store_leg: Option<LatencyView>,
}

#[derive(Serialize)]
struct BothHeadersView {
    request: HeadersView,
    response: HeadersView,
}

#[derive(Serialize)]
struct HeadersView {
    added: Vec<(String, u64)>,
    dropped: Vec<(String, u64)>,
    changed: Vec<(String, u64)>,
    signed: Vec<(String, u64)>,
}

#[derive(Serialize)]
struct ClientLogView {
    file: String,
    lines: u64,
    refusals: u64,
}

#[derive(Serialize)]
struct LossView {
    reason: &'static str,
    count: u64,
    bytes: u64,
    file: Option<String>,
    frame: Option<u64>,
    time: String,
}

#[derive(Serialize)]
struct TlsView {
    hop: String,
    sni: Option<String>,
    version: Option<&'static str>,
    suite: Option<u16>,
    reason: &'static str,
    count: u64,
    sealed_bytes: u64,
    file: Option<String>,
    frame: Option<u64>,
}

#[derive(Serialize)]
struct FindingView {
    rule: &'static str,
    severity: &'static str,
    confidence: &'static str,
    hop: Option<String>,
    count: u64,
    message: String,
    cause: Option<String>,
    subject: Pairs,
    chain: Vec<StepView>,
    evidence: Vec<EvidenceView>,
    fixes: Vec<FixView>,
}

#[derive(Serialize)]
struct StepView {
    step: String,
    evidence: Vec<EvidenceView>,
}

#[derive(Serialize)]
struct EvidenceView {
    file: Option<String>,
    frames: Vec<u64>,
    flow: Option<u64>,
    exchange: Option<String>,
    log: Option<LogView>,
}

#[derive(Serialize)]
struct LogView {
    file: String,
    line: u64,
}

#[derive(Serialize)]
struct FixView {
    action: String,
    tested: bool,
    note: Option<String>,
}

#[derive(Serialize)]
struct VerdictView {
    outcome: &'static str,
    confidence: Option<&'static str>,
    message: String,
    rule: Option<&'static str>,
    failure: Option<FailureView>,
    cause: Option<String>,
    next_step: Option<String>,
    committed: Vec<String>,
    left_out: Vec<LeftOutView>,
}

#[derive(Serialize)]
struct FailureView {
    rule: &'static str,
    message: String,
}

#[derive(Serialize)]
struct LeftOutView {
    rule: &'static str,
    count: u64,
}

/// Pairs as an object in their own order.
struct Pairs(Vec<(&'static str, String)>);

impl Serialize for Pairs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl FromIterator<(&'static str, String)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (&'static str, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

fn hop_view(report: &Report<'_>, one: &Hop) -> HopView {
    HopView {
        name: one.name.clone(),
        servers: one.server_texts().iter().map(|text| report.clean(text)).collect(),
        via: if one.target.is_some() { one.servers.iter().map(ToString::to_string).collect() } else { Vec::new() },
        aliases: one.aliases.iter().map(ToString::to_string).collect(),
        clients: one.clients.iter().map(ToString::to_string).collect(),
        transport: one.transport.label(),
        exchanges: one.exchanges,
        calls: one.calls,
        declared: one.declared,
        upstream: one.upstream.map(|id| report.hop(id).to_owned()),
    }
}

fn completeness(view: &Completeness) -> CompletenessView {
    CompletenessView {
        packets: view.packets,
        packets_truncated: view.packets_truncated,
        packets_undecodable: view.packets_undecodable,
        packets_dropped: view.packets_dropped,
        flows: view.flows,
        flows_without_start: view.flows_without_start,
        stream_bytes: view.stream_bytes,
        stream_bytes_missing: view.stream_bytes_missing,
        tls_flows: view.tls_flows,
        tls_flows_decrypted: view.tls_flows_decrypted,
        tls_undecrypted: view.tls_undecrypted.iter().copied().collect(),
        tls_failed: view.tls_failed.iter().copied().collect(),
        exchanges: view.exchanges,
        exchanges_incomplete: view.exchanges_incomplete,
        unseen: view.unseen.rows().map(|(kind, count, bytes)| UnseenView { reason: kind.label(), count, bytes }).collect(),
    }
}

fn latency(row: &Latency) -> LatencyView {
    // Microseconds are as fine as capture times deserve.
    let ms = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
    LatencyView { p50: ms(row.p50), p95: ms(row.p95), p99: ms(row.p99), max: ms(row.max) }
}

fn headers(report: &Report<'_>, changes: &HeaderChanges) -> HeadersView {
    let named = |rows: &[(String, u64)]| rows.iter().map(|(name, count)| (report.clean(name), *count)).collect();
    HeadersView {
        added: named(&changes.added),
        dropped: named(&changes.dropped),
        changed: named(&changes.changed),
        signed: named(&changes.signed),
    }
}

fn loss(report: &Report<'_>, row: &LossRow) -> LossView {
    LossView {
        reason: row.reason.label(),
        count: row.count,
        bytes: row.bytes,
        file: report.file(row.first.file()).map(str::to_owned),
        frame: Some(row.first.number()).filter(|number| *number > 0),
        time: row.at.to_string(),
    }
}

fn tls(report: &Report<'_>, row: &TlsRow) -> TlsView {
    TlsView {
        hop: report.hop(row.hop).to_owned(),
        sni: row.sni.as_deref().map(|text| report.clean(text)),
        version: row.version.map(|version| version.label()),
        suite: row.suite,
        reason: row.reason,
        count: row.count,
        sealed_bytes: row.sealed_bytes,
        file: report.file(row.first.file()).map(str::to_owned),
        frame: Some(row.first.number()).filter(|number| *number > 0),
    }
}

fn step_view(report: &Report<'_>, step: &Step) -> StepView {
    StepView { step: report.clean(&step.step), evidence: evidence(report, &step.evidence) }
}

fn fix_view(report: &Report<'_>, fix: &Fix) -> FixView {
    FixView { action: report.clean(&fix.action), tested: fix.tested, note: fix.note.as_deref().map(|note| report.clean(note)) }
}

fn verdict(report: &Report<'_>, verdict: &Verdict) -> VerdictView {
    VerdictView {
        outcome: verdict.outcome.label(),
        confidence: verdict.confidence.map(Confidence::label),
        message: report.clean(&verdict.message),
        rule: verdict.rule,
        failure: verdict
            .failure
            .as_ref()
            .map(|failure| FailureView { rule: failure.rule, message: report.clean(&failure.message) }),
        cause: verdict.unjudged.as_ref().map(|unjudged| report.clean(&unjudged.cause)),
        next_step: verdict.unjudged.as_ref().map(|unjudged| report.clean(&unjudged.action)),
        committed: verdict.committed.iter().map(|target| report.clean(target)).collect(),
        left_out: verdict.left_out.iter().map(|(rule, count)| LeftOutView { rule, count: *count }).collect(),
    }
}

/// One entry per file that the frames are in; at least one, so that flow, exchange and log line are never dropped.
fn evidence(report: &Report<'_>, all: &[Evidence]) -> Vec<EvidenceView> {
    let mut views = Vec::new();
    for one in all {
        let view = |file: Option<&str>, frames| EvidenceView {
            file: file.map(str::to_owned),
            frames,
            flow: one.flow.map(|flow| flow.0),
            exchange: one.exchange.map(|exchange| exchange.to_string()),
            log: one.log_line.as_ref().map(|(file, line)| LogView { file: file.clone(), line: *line }),
        };
        let files = report.frames_by_file(one);
        if files.is_empty() {
            views.push(view(None, Vec::new()));
        }
        views.extend(files.into_iter().map(|(file, frames)| view(report.file(file), frames)));
    }
    views
}

/// Grows when a member is removed or changes its meaning; members may be added under the same number.
const SCHEMA: &str = "hopwire.report/1";
