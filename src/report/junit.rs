//! The rules as JUnit test cases, for CI systems: a rule fails where a finding of it is at or above the limit.

use std::io::{self, Write};

use crate::report::Report;
use crate::report::markup::Markup;
use crate::rules::{Finding, Severity, all};

/// Writes one test suite with a case per rule.
pub(super) fn render(report: &Report<'_>, fail_on: Option<Severity>, out: &mut dyn Write) -> io::Result<()> {
    let counts = |finding: &Finding| fail_on.is_some_and(|limit| finding.severity >= limit);
    let failures =
        all().iter().filter(|rule| report.summary.findings.iter().any(|one| one.rule.name == rule.name && counts(one)));
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuites>\n<testsuite name=\"hopwire\" tests=\"{}\" failures=\"{}\" errors=\"0\">",
        all().len(),
        failures.count()
    )?;
    for rule in all() {
        write!(out, "<testcase classname=\"hopwire\" name=\"{}\">", rule.name)?;
        let mut notes = Vec::new();
        for finding in report.summary.findings.iter().filter(|one| one.rule.name == rule.name) {
            let text = line(report, finding);
            if counts(finding) {
                write!(out, "\n<failure type=\"{}\" message=\"{}\"/>", finding.severity.label(), Markup(&text))?;
            } else {
                notes.push(text);
            }
        }
        if !notes.is_empty() {
            write!(out, "\n<system-out>{}</system-out>", Markup(&notes.join("; ")))?;
        }
        writeln!(out, "</testcase>")?;
    }
    writeln!(out, "</testsuite>\n</testsuites>")
}

fn line(report: &Report<'_>, finding: &Finding) -> String {
    let hop = finding.hop.map(|hop| format!("{}: ", report.hop(hop))).unwrap_or_default();
    format!("{hop}{} ({}, {} times)", report.clean(&finding.message), finding.confidence.label(), finding.count)
}
