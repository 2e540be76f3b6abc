//! The list of findings for people: two lines for each, or all of it.

use std::io;

use crate::report::brief::{gist, one_line, shorten};
use crate::report::lead::leading;
use crate::report::screen::{Colour, Screen, WIDTH};
use crate::report::table::{chain, fixes};
use crate::report::text::{counted, number, word};
use crate::rules::{Evidence, Finding, Severity};

/// Writes all findings but those at the top.
pub(super) fn list(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let report = screen.report;
    let leading: Vec<*const Finding> = leading(report).into_iter().map(std::ptr::from_ref).collect();
    let others: Vec<&Finding> =
        report.summary.findings.iter().filter(|one| !leading.contains(&std::ptr::from_ref(*one))).collect();
    if others.is_empty() {
        return Ok(());
    }
    screen.heading(if leading.is_empty() { "Findings" } else { "Other findings" })?;
    if screen.style.verbose {
        return others.iter().try_for_each(|finding| in_full(screen, finding));
    }
    in_short(screen, &fold(&others))
}

/// Findings of one rule on one hop, which differ by client or kind.
fn fold<'f>(findings: &[&'f Finding]) -> Vec<Vec<&'f Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let is_same = |group: &&mut Vec<&Finding>| {
            group.first().is_some_and(|one| one.rule.name == finding.rule.name && one.hop == finding.hop)
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

fn in_short(screen: &mut Screen<'_, '_>, groups: &[Vec<&Finding>]) -> io::Result<()> {
    let hop = |finding: &Finding| finding.hop.map(|hop| screen.report.hop(hop)).unwrap_or_default();
    let firsts = || groups.iter().filter_map(|group| group.first());
    let rule_width = firsts().map(|one| one.rule.name.len()).max().unwrap_or_default();
    let hop_width = firsts().map(|one| hop(one).chars().count()).max().unwrap_or_default().min(HOP_WIDTH_MAX);
    for group in groups {
        let Some(first) = group.first() else { continue };
        let count = group.iter().fold(0_u64, |sum, one| sum.saturating_add(one.count));
        let evidence: Vec<Evidence> = group.iter().flat_map(|one| one.evidence.iter().cloned()).collect();
        let confidence = group.iter().map(|one| one.confidence).min().unwrap_or(first.confidence);
        let name = one_line(&screen.clean(hop(first)), hop_width);
        let line = format!("{:rule_width$}  {name:hop_width$}  {:>6}  {:<11}", first.rule.name, number(count), word(confidence));
        let severity = label(screen, first.severity);
        let room = WIDTH.saturating_sub(2 + SEVERITY_WIDTH + line.chars().count() + 2);
        let frames = one_line(&screen.places(&evidence, count, 4), room);
        let frames = screen.paint(Colour::Faint, &frames);
        writeln!(screen.out, "{}", format!("  {severity}{line}  {frames}").trim_end())?;
        let mut gists: Vec<String> = group.iter().map(|one| gist_of(screen, one)).collect();
        gists.dedup();
        let shown = if gists.len() > GISTS_MAX { GISTS_MAX - 1 } else { gists.len() };
        for text in gists.iter().take(shown) {
            writeln!(screen.out, "{:10}{}", "", one_line(text, WIDTH - 10))?;
        }
        if gists.len() > shown {
            writeln!(screen.out, "{:10}and {} more: -v", "", gists.len() - shown)?;
        }
    }
    Ok(())
}

/// The first sentence, without the hop, which stands in the line above.
fn gist_of(screen: &Screen<'_, '_>, finding: &Finding) -> String {
    let text = screen.clean(gist(&finding.message));
    let text = match finding.hop.map(|hop| screen.clean(screen.report.hop(hop))) {
        Some(hop) => {
            let text = text.strip_prefix(&format!("On {hop}, ")).unwrap_or(&text);
            text.replacen(&format!(" on {hop}"), "", 1).replacen(&format!("crossed {hop} in"), "crossed in", 1)
        }
        None => text,
    };
    shorten(&text)
}

fn in_full(screen: &mut Screen<'_, '_>, finding: &Finding) -> io::Result<()> {
    let hop = finding.hop.map(|hop| format!(" on {}", screen.clean(screen.report.hop(hop)))).unwrap_or_default();
    let severity = label(screen, finding.severity);
    let times = counted(finding.count, "time");
    writeln!(screen.out, "  {severity}{}{hop}, {times}, {}", finding.rule.name, word(finding.confidence))?;
    let message = screen.clean(&finding.message);
    let places = screen.places(&finding.evidence, finding.count, 8);
    screen.shown("          ", "          ", &message, &places)?;
    chain(screen, finding)?;
    fixes(screen, finding)
}

fn label(screen: &Screen<'_, '_>, severity: Severity) -> String {
    let colour = match severity {
        Severity::Error => Colour::Red,
        Severity::Warning => Colour::Yellow,
        Severity::Note => Colour::Cyan,
    };
    screen.paint(colour, &format!("{:<SEVERITY_WIDTH$}", severity.label()))
}

/// `warning` and a space.
const SEVERITY_WIDTH: usize = 8;
/// Names of hops are cut to this, so that frames have room.
const HOP_WIDTH_MAX: usize = 20;
/// Lines for findings of one rule on one hop.
const GISTS_MAX: usize = 3;
