//! The report for people: what failed and the verdict first, each with its cause and fix; then the evidence, the path, other
//! findings and the numbers. It fits one screen; with `-v` everything is shown in full.

use std::io::{self, Write};

use crate::model::Untrusted;
use crate::report::brief::{gist, one_line, shorten};
use crate::report::screen::{Colour, Screen, WIDTH};
use crate::report::text::{bytes, counted, number, wrap};
use crate::report::{Report, Style, findings, grid, joins, lead};
use crate::rules::{Completeness, Finding, Fix};

/// Writes the report.
pub(super) fn render(report: &Report<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen { report, style, out };
    lead::render(&mut screen)?;
    lead::evidence(&mut screen)?;
    grid::hops(&mut screen)?;
    joins::render(&mut screen)?;
    findings::list(&mut screen)?;
    grid::operations(&mut screen)?;
    sources(&mut screen)?;
    completeness(&mut screen)
}

fn sources(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let report = screen.report;
    screen.heading("Capture")?;
    for log in &report.summary.client_logs {
        let what = match log.refusals {
            0 => "no refusal of a known client in it".to_owned(),
            count => counted(count, "refusal"),
        };
        let line = format!("client log {}: {}, {what}", Untrusted::text(&log.file), counted(log.lines, "line"));
        screen.paragraph("  ", "    ", &line)?;
    }
    for hop in &report.summary.unmatched_hops {
        screen.paragraph("  ! ", "    ", &format!("--hop {}: no server of this capture", Untrusted::text(hop)))?;
    }
    for source in report.sources {
        let span = match (&source.first, &source.last) {
            (Some(first), Some(last)) => format!(", {} to {} UTC", second(first), same_day(first, last)),
            _ => String::new(),
        };
        let packets = if source.packets > 0 { format!(" {},", counted(source.packets, "packet")) } else { String::new() };
        let line = format!("{}:{packets} {}{span}", Untrusted::text(&source.file), Untrusted::text(&source.format));
        screen.paragraph("  ", "    ", &line)?;
        for problem in &source.problems {
            screen.paragraph("  ! ", "    ", &Untrusted::text(problem).to_string())?;
        }
    }
    Ok(())
}

/// The steps that lead to a finding.
pub(super) fn chain(screen: &mut Screen<'_, '_>, finding: &Finding) -> io::Result<()> {
    if finding.chain.is_empty() {
        return Ok(());
    }
    screen.heading("Why")?;
    steps(screen, finding)
}

/// The steps alone, without a heading.
pub(super) fn steps(screen: &mut Screen<'_, '_>, finding: &Finding) -> io::Result<()> {
    let verbose = screen.style.verbose;
    let mut before = String::new();
    for (at, step) in finding.chain.iter().enumerate() {
        let text = screen.clean(&step.step);
        let text = if verbose { text } else { shorten(gist(&text)) };
        let places = screen.places(&step.evidence, 0, if verbose { 8 } else { 4 });
        // Frames that the step before named already are not named again.
        let shown = if places == before { "" } else { &places };
        screen.shown(&format!("  {}. ", at + 1), "     ", &text, shown)?;
        before = places;
    }
    Ok(())
}

/// The fixes of a finding.
pub(super) fn fixes(screen: &mut Screen<'_, '_>, finding: &Finding) -> io::Result<()> {
    if finding.fixes.is_empty() {
        return Ok(());
    }
    screen.heading("Fixes")?;
    fix_lines(screen, &finding.fixes)
}

/// A line or more for each fix.
pub(super) fn fix_lines(screen: &mut Screen<'_, '_>, fixes: &[Fix]) -> io::Result<()> {
    for fix in fixes {
        let mark = if fix.tested { "[tested]     " } else { "[not tested] " };
        let text = if screen.style.verbose { in_full(fix) } else { in_short(fix) };
        let text = screen.clean(&text);
        let mark = if fix.tested { screen.paint(Colour::Green, mark) } else { screen.paint(Colour::Faint, mark) };
        for (at, line) in wrap(&text, FIX_WIDTH).iter().enumerate() {
            if at == 0 {
                writeln!(screen.out, "  {mark}{line}")?;
            } else {
                writeln!(screen.out, "{:15}{line}", "")?;
            }
        }
    }
    Ok(())
}

fn in_full(fix: &Fix) -> String {
    match &fix.note {
        Some(note) => format!("{} ({note})", fix.action),
        None => fix.action.clone(),
    }
}

/// A line: what to do, and the first of its side effects where there is room.
fn in_short(fix: &Fix) -> String {
    let effect = fix.note.as_deref().and_then(|note| note.split("; ").next());
    let both = effect.map(|effect| format!("{} ({effect})", fix.action)).filter(|both| both.chars().count() <= FIX_WIDTH);
    both.unwrap_or_else(|| one_line(&fix.action, FIX_WIDTH))
}

/// How much was seen, and what was not.
fn completeness(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let summary = screen.report.summary;
    let view = &summary.completeness;
    let mut seen = vec![counted(view.exchanges, "exchange"), connections(view)];
    if view.packets > 0 {
        seen.push(counted(view.packets, "packet"));
    }
    if view.stream_bytes > 0 {
        seen.push(bytes(view.stream_bytes));
    }
    let not_judged = view.unseen.texts(number, bytes);
    screen.paragraph("  seen: ", "    ", &seen.join(", "))?;
    if let Some(counts) = &summary.signatures {
        let mut parts =
            vec![format!("{} verified", number(counts.verified)), format!("{} do not verify", number(counts.differing))];
        let reasons = counts.not_checked.iter().map(|(reason, count)| format!("{} not checked ({reason})", number(*count)));
        parts.extend(reasons);
        screen.paragraph("  signatures: ", "    ", &parts.join(", "))?;
    }
    match not_judged.as_slice() {
        [] => screen.paragraph("  ", "    ", "capture gaps: none detected"),
        texts => screen.paragraph("  not judged: ", "    ", &texts.join(", ")),
    }
}

/// `6 connections (3 of 4 TLS decrypted; no-secret: 1)`
fn connections(view: &Completeness) -> String {
    let all = counted(view.flows, "connection");
    if view.tls_flows == 0 {
        return all;
    }
    let failed: u64 = view.tls_failed.iter().map(|(_, count)| count).sum();
    let failed = if failed > 0 { format!(", {} failed", number(failed)) } else { String::new() };
    let reasons: Vec<String> =
        view.tls_undecrypted.iter().map(|(reason, count)| format!("{reason}: {}", number(*count))).collect();
    let why = if reasons.is_empty() { String::new() } else { format!("; {}", reasons.join(", ")) };
    format!("{all} ({} of {} TLS decrypted{failed}{why})", number(view.tls_flows_decrypted), number(view.tls_flows))
}

/// An RFC 3339 time down to the second, as people read it.
fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// The later of two times, without the day where it is the same.
fn same_day(first: &str, last: &str) -> String {
    match (first.get(..10), last.get(..10), last.get(11..19)) {
        (Some(day), Some(other), Some(clock)) if day == other => clock.to_owned(),
        _ => second(last),
    }
}

/// What is left of a line beside `[not tested]`.
const FIX_WIDTH: usize = WIDTH - 15;
