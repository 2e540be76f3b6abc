//! The report as one static page: no script, nothing loaded from anywhere, every text escaped.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::report::Report;
use crate::report::markup::Markup;
use crate::report::text::{bytes, frames, number, span, word};
use crate::rules::{Evidence, Finding};

/// Writes the page.
pub(super) fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'\">")?;
    writeln!(out, "<title>hopwire report</title>\n<style>{STYLE}</style>\n</head>\n<body>")?;
    let verdict = &report.summary.verdict;
    writeln!(out, "<h1 class=\"{0}\">{0}</h1>", verdict.outcome.label())?;
    let confidence = verdict.confidence.map(|confidence| format!(" <small>({})</small>", word(confidence))).unwrap_or_default();
    if let Some(failure) = &verdict.failure {
        writeln!(out, "<p class=\"failure\"><b>{}</b>: {}</p>", failure.rule, Markup(&report.clean(&failure.message)))?;
    }
    writeln!(out, "<p>{}{confidence}</p>", Markup(&report.clean(&verdict.message)))?;
    if let Some(unjudged) = &verdict.unjudged {
        writeln!(out, "<p>Next step: {}</p>", Markup(&report.clean(&unjudged.action)))?;
    }
    for source in report.sources {
        writeln!(
            out,
            "<p><code>{}</code> {}, {} packets</p>",
            Markup(&source.file),
            Markup(&source.format),
            number(source.packets)
        )?;
    }
    writeln!(out, "<h2>Findings</h2>")?;
    if report.summary.findings.is_empty() {
        writeln!(out, "<p>None.</p>")?;
    }
    for finding in &report.summary.findings {
        render_finding(report, finding, out)?;
    }
    hops(report, out)?;
    operations(report, out)?;
    completeness(report, out)?;
    writeln!(out, "</body>\n</html>")
}

fn render_finding(report: &Report<'_>, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let hop = finding.hop.map(|hop| format!(" on {}", report.hop(hop))).unwrap_or_default();
    writeln!(out, "<section class=\"{}\">", finding.severity.label())?;
    let name = finding.rule.name;
    writeln!(
        out,
        "<h3>{name}{} <small>{}, {} times</small></h3>",
        Markup(&hop),
        word(finding.confidence),
        number(finding.count)
    )?;
    writeln!(out, "<p>{}</p>\n{}", Markup(&report.clean(&finding.message)), places(report, &finding.evidence))?;
    if let Some(cause) = &finding.cause {
        writeln!(out, "<p>Cause: {}</p>", Markup(&report.clean(cause)))?;
    }
    if !finding.chain.is_empty() {
        writeln!(out, "<ol>")?;
        for step in &finding.chain {
            writeln!(out, "<li>{} {}</li>", Markup(&report.clean(&step.step)), places(report, &step.evidence))?;
        }
        writeln!(out, "</ol>")?;
    }
    if !finding.fixes.is_empty() {
        writeln!(out, "<ul>")?;
        for fix in &finding.fixes {
            let note = fix.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let mark = if fix.tested { "tested" } else { "not tested" };
            writeln!(out, "<li>[{mark}] {}{}</li>", Markup(&report.clean(&fix.action)), Markup(&report.clean(&note)))?;
        }
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "</section>")
}

fn places(report: &Report<'_>, all: &[Evidence]) -> String {
    let mut parts = Vec::new();
    for one in all {
        for (file, numbers) in report.frames_by_file(one) {
            parts.push(format!("{} of {}", frames(&numbers, 12, false), report.file(file).unwrap_or("?")));
        }
        parts.extend(one.log_line.as_ref().map(|(file, line)| format!("{file} line {line}")));
    }
    if parts.is_empty() { String::new() } else { format!("<small>{}</small>", Markup(&parts.join("; "))) }
}

fn hops(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<h2>Hops</h2>\n<table>\n<tr><th>hop<th>transport<th>servers<th>exchanges<th>S3 calls</tr>")?;
    for hop in &report.summary.hops {
        let servers = hop.server_texts();
        let (name, transport) = (Markup(&hop.name), hop.transport.label());
        let (exchanges, calls) = (number(hop.exchanges), number(hop.calls));
        writeln!(out, "<tr><td>{name}<td>{transport}<td>{}<td>{exchanges}<td>{calls}</tr>", Markup(&servers.join(" ")))?;
    }
    writeln!(out, "</table>")
}

fn operations(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<h2>Operations</h2>\n<table>")?;
    writeln!(out, "<tr><th>hop<th>operation<th>calls<th>errors<th>sent<th>received<th>p50<th>p99<th>max</tr>")?;
    for row in &report.summary.operations {
        let hop = Markup(report.hop(row.hop));
        write!(out, "<tr><td>{hop}<td>{}<td>{}<td>{}", row.operation, number(row.count), number(row.errors))?;
        write!(out, "<td>{}<td>{}", bytes(row.request_bytes), bytes(row.response_bytes))?;
        match &row.latency {
            Some(latency) => writeln!(out, "<td>{}<td>{}<td>{}</tr>", span(latency.p50), span(latency.p99), span(latency.max))?,
            None => writeln!(out, "<td><td><td></tr>")?,
        }
    }
    writeln!(out, "</table>")
}

fn completeness(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let view = &report.summary.completeness;
    writeln!(out, "<h2>Completeness</h2>\n<table>")?;
    for (name, value) in [
        ("packets", view.packets),
        ("packets cut short", view.packets_truncated),
        ("packets not decodable", view.packets_undecodable),
        ("packets dropped while capturing", view.packets_dropped),
        ("connections", view.flows),
        ("connections that began before the capture", view.flows_without_start),
        ("octets of streams", view.stream_bytes),
        ("octets missing in streams", view.stream_bytes_missing),
        ("TLS connections", view.tls_flows),
        ("TLS connections opened", view.tls_flows_decrypted),
        ("exchanges", view.exchanges),
        ("exchanges incomplete", view.exchanges_incomplete),
    ] {
        writeln!(out, "<tr><td>{name}<td>{}</tr>", number(value))?;
    }
    for text in view.unseen.texts(number, bytes) {
        writeln!(out, "<tr><td>not seen or not judged<td>{text}</tr>")?;
    }
    writeln!(out, "</table>")
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #ddd}\
section{border-left:4px solid #69c;padding-left:1rem;margin:1rem 0}section.warning{border-color:#c90}section.error{border-color:#c33}\
small{color:#666}h1{color:#b70}h1.clean{color:#373}h1.leaked,h1.refused-before-the-wire{color:#c33}";
