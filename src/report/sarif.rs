//! The findings as SARIF 2.1.0 (OASIS), for code scanning services.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::report::Report;
use crate::rules::{Finding, Rule, Severity};

/// Writes one log with one run.
pub(super) fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut rules: Vec<&Rule> = report.summary.findings.iter().map(|finding| finding.rule).collect();
    rules.sort_by_key(|rule| rule.name);
    rules.dedup_by_key(|rule| rule.name);
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "hopwire",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "results": report.summary.findings.iter().map(|finding| result(report, finding)).collect::<Vec<_>>(),
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    out.write_all(b"\n")
}

fn descriptor(rule: &Rule) -> Value {
    let text = rule.text();
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or(rule.name);
    json!({
        "id": rule.name,
        "shortDescription": {"text": first},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn result(report: &Report<'_>, finding: &Finding) -> Value {
    let mut files: Vec<(u16, Vec<u64>)> = Vec::new();
    for (file, mut numbers) in finding.evidence.iter().flat_map(|one| report.frames_by_file(one)) {
        match files.iter_mut().find(|(have, _)| *have == file) {
            Some((_, have)) => have.append(&mut numbers),
            None => files.push((file, numbers)),
        }
    }
    let locations: Vec<_> = files
        .iter()
        .filter_map(|(file, frames)| {
            Some(json!({
                "physicalLocation": {"artifactLocation": {"uri": uri(report.file(*file)?)}},
                "properties": {"frames": frames},
            }))
        })
        .collect();
    json!({
        "ruleId": finding.rule.name,
        "level": level(finding.severity),
        "message": {"text": report.clean(&finding.message)},
        "locations": locations,
        "occurrenceCount": finding.count.max(1),
        "properties": {
            "confidence": finding.confidence.label(),
            "hop": finding.hop.map(|hop| report.hop(hop)),
        },
    })
}

const fn level(severity: Severity) -> &'static str {
    severity.label()
}

/// A file name as a relative URI reference (RFC 3986).
fn uri(file: &str) -> String {
    let mut text = String::with_capacity(file.len());
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
