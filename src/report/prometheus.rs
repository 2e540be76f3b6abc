//! Counts of the run in Prometheus' text exposition format, for a textfile collector.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use crate::report::Report;
use crate::rules::Confidence;

/// Writes all metrics.
pub(super) fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { out };
    let summary = report.summary;
    page.family("hopwire_verdict", "The verdict of the run.")?;
    let verdict = &summary.verdict;
    page.value(
        "hopwire_verdict",
        &[("outcome", verdict.outcome.label()), ("confidence", verdict.confidence.map_or("none", Confidence::label))],
        1.0,
    )?;
    page.family("hopwire_findings", "What the findings of a rule cover.")?;
    for (labels, count) in &findings_by_label(report) {
        let labels: Vec<_> =
            ["rule", "severity", "confidence", "hop"].into_iter().zip(labels.iter().map(String::as_str)).collect();
        page.value("hopwire_findings", &labels, *count as f64)?;
    }
    for (name, help, count) in [
        ("hopwire_calls", "S3 calls.", (|row| row.count) as fn(&crate::analysis::OperationRow) -> u64),
        ("hopwire_call_errors", "S3 calls answered with an error.", |row| row.errors),
        ("hopwire_request_bytes", "Octets of request bodies.", |row| row.request_bytes),
        ("hopwire_response_bytes", "Octets of response bodies.", |row| row.response_bytes),
    ] {
        page.family(name, help)?;
        for row in &summary.operations {
            page.value(name, &[("hop", report.hop(row.hop)), ("operation", row.operation)], count(row) as f64)?;
        }
    }
    page.family("hopwire_latency_seconds", "Latency quantiles of S3 calls; 1 is the slowest.")?;
    for row in &summary.operations {
        let Some(latency) = &row.latency else { continue };
        for (quantile, span) in [("0.5", latency.p50), ("0.95", latency.p95), ("0.99", latency.p99), ("1", latency.max)] {
            let labels = [("hop", report.hop(row.hop)), ("operation", row.operation), ("quantile", quantile)];
            page.value("hopwire_latency_seconds", &labels, span.as_secs_f64())?;
        }
    }
    page.family("hopwire_encryption", "Messages by the encryption kind that they name.")?;
    for row in &summary.encryption {
        let transport = if row.clear { "clear" } else { "tls" };
        let labels =
            [("hop", report.hop(row.hop)), ("transport", transport), ("where", row.direction.label()), ("kind", row.kind)];
        page.value("hopwire_encryption", &labels, row.count as f64)?;
    }
    completeness(report, &mut page)
}

/// What findings cover, by rule, severity, confidence and hop. Clients, objects and times are no labels: there is no end to them.
fn findings_by_label(report: &Report<'_>) -> BTreeMap<[String; 4], u64> {
    let mut rows = BTreeMap::new();
    for one in &report.summary.findings {
        let hop = one.hop.map_or("", |hop| report.hop(hop));
        let labels = [one.rule.name, one.severity.label(), one.confidence.label(), hop].map(|label| report.clean(label));
        let count: &mut u64 = rows.entry(labels).or_default();
        *count = count.saturating_add(one.count);
    }
    rows
}

fn completeness(report: &Report<'_>, page: &mut Page<'_>) -> io::Result<()> {
    let view = &report.summary.completeness;
    for (name, help, value) in [
        ("hopwire_packets", "Packets read.", view.packets),
        ("hopwire_packets_truncated", "Packets cut by the snap length.", view.packets_truncated),
        ("hopwire_packets_undecodable", "Packets that could not be decoded.", view.packets_undecodable),
        ("hopwire_packets_dropped", "Packets dropped while capturing.", view.packets_dropped),
        ("hopwire_flows", "TCP connections.", view.flows),
        ("hopwire_flows_without_start", "TCP connections whose start was not captured.", view.flows_without_start),
        ("hopwire_stream_bytes", "Octets of streams seen.", view.stream_bytes),
        ("hopwire_stream_bytes_missing", "Octets of streams known to be missing.", view.stream_bytes_missing),
        ("hopwire_tls_flows", "TLS connections.", view.tls_flows),
        ("hopwire_tls_flows_decrypted", "TLS connections that were opened.", view.tls_flows_decrypted),
        ("hopwire_exchanges", "Exchanges decoded.", view.exchanges),
        ("hopwire_exchanges_incomplete", "Exchanges of which something is missing.", view.exchanges_incomplete),
    ] {
        page.family(name, help)?;
        page.value(name, &[], value as f64)?;
    }
    Ok(())
}

struct Page<'o> {
    out: &'o mut dyn Write,
}

impl Page<'_> {
    fn family(&mut self, name: &str, help: &str) -> io::Result<()> {
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge")
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> io::Result<()> {
        write!(self.out, "{name}")?;
        for (at, (label, text)) in labels.iter().enumerate() {
            write!(self.out, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, Label(text))?;
        }
        writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" })
    }
}

/// Escapes a label value.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
