//! The top of the report for people: what happened, `Cause:` and `Fix:`, first for what made the job fail, then for the verdict.

use std::io;

use crate::report::Report;
use crate::report::brief::{sentences, shorten};
use crate::report::screen::{Colour, Screen, WIDTH};
use crate::report::text::{word, wrap};
use crate::rules::{Finding, Fix, Outcome, Role, Severity};

/// One statement at the top.
struct Lead<'a> {
    label: String,
    colour: Colour,
    /// The confidence and the rule, in brackets after the label.
    note: String,
    message: String,
    finding: Option<&'a Finding>,
    cause: Option<String>,
    fix: Option<String>,
}

/// Writes the statements.
pub(super) fn render(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let leads = leads(screen.report);
    for (at, lead) in leads.iter().enumerate() {
        if at > 0 {
            writeln!(screen.out)?;
        }
        statement(screen, lead)?;
    }
    let verdict = &screen.report.summary.verdict;
    if !verdict.committed.is_empty() {
        let targets: Vec<String> = verdict.committed.iter().map(|target| shorten(&screen.clean(target))).collect();
        screen.paragraph("Job:   ", "       ", &format!("Committed: _SUCCESS was written to {}.", targets.join(", ")))?;
    }
    if !verdict.left_out.is_empty() {
        let rules: Vec<String> = verdict.left_out.iter().map(|(rule, count)| format!("{rule} ({count})")).collect();
        screen.paragraph(
            "Left out: ",
            "       ",
            &format!("{} (by --select or --ignore; they decide nothing here).", rules.join(", ")),
        )?;
    }
    Ok(())
}

/// The findings that stand at the top, in their order.
pub(super) fn leading<'a>(report: &Report<'a>) -> Vec<&'a Finding> {
    leads(report).into_iter().filter_map(|lead| lead.finding).collect()
}

/// What failed comes first, then the worst finding where it is worse than what decides the verdict, then the verdict.
fn leads<'a>(report: &Report<'a>) -> Vec<Lead<'a>> {
    let verdict = &report.summary.verdict;
    let deciding = report.deciding();
    let mut leads: Vec<Lead<'a>> = Vec::new();
    if let Some(failing) = report.failing() {
        if deciding.is_none_or(|deciding| deciding.rule.name != failing.rule.name) {
            leads
                .push(of_finding(failing, if failing.rule.role == Role::Refusal { "REFUSED BEFORE THE WIRE" } else { "FAILED" }));
        }
    } else if verdict.unjudged.is_none()
        && let Some(worst) = report.summary.findings.first().filter(|worst| worst.severity > Severity::Note)
        && deciding.is_none_or(|deciding| worst.severity > deciding.severity)
    {
        leads.push(of_finding(worst, if worst.severity == Severity::Error { "ERROR" } else { "WARNING" }));
    }
    if leads.is_empty()
        && deciding.is_none_or(|deciding| deciding.severity == Severity::Note)
        && verdict.unjudged.is_none()
        && let Some(errors) = report.summary.findings.iter().find(|one| is_lasting_error(one))
    {
        leads.push(of_finding(errors, "ERRORS"));
    }
    let label = verdict.outcome.label().replace('-', " ").to_uppercase();
    let colour = match verdict.outcome {
        Outcome::RefusedBeforeTheWire | Outcome::Leaked => Colour::Red,
        Outcome::Exposed | Outcome::NotJudged => Colour::Yellow,
        Outcome::Clean => Colour::Green,
    };
    let lead = match (deciding, &verdict.unjudged) {
        (Some(finding), _) => Lead { colour, ..of_finding(finding, &label) },
        (None, Some(unjudged)) => Lead {
            label,
            colour,
            note: String::new(),
            message: "No S3 call was judged.".to_owned(),
            finding: None,
            // What failed is said above, with the same cause.
            cause: Some(sentence(&unjudged.cause)).filter(|_| leads.is_empty()),
            fix: Some(sentence(&unjudged.action)).filter(|_| leads.is_empty()),
        },
        (None, None) => Lead {
            label,
            colour,
            note: verdict.confidence.map(|confidence| format!(" ({})", word(confidence))).unwrap_or_default(),
            message: verdict.message.clone(),
            finding: None,
            cause: None,
            fix: None,
        },
    };
    leads.push(lead);
    leads
}

/// Errors that are not usual and did not go away when the calls were tried again: users ask for them before what was readable.
fn is_lasting_error(finding: &Finding) -> bool {
    finding.rule.role == Role::Failure && !finding.is_usual && finding.recovered < finding.count
}

fn of_finding<'a>(finding: &'a Finding, label: &str) -> Lead<'a> {
    Lead {
        label: label.to_owned(),
        colour: if finding.severity == Severity::Error { Colour::Red } else { Colour::Yellow },
        note: format!(" ({}, {})", word(finding.confidence), finding.rule.name),
        message: finding.message.clone(),
        finding: Some(finding),
        cause: finding.cause.as_deref().map(sentence),
        fix: finding.fixes.first().map(|fix| sentence(&fix.action)),
    }
}

fn statement(screen: &mut Screen<'_, '_>, lead: &Lead<'_>) -> io::Result<()> {
    let message = screen.clean(&lead.message);
    let head = format!("{}{}:", lead.label, lead.note);
    let text = if screen.style.verbose {
        message
    } else {
        let message = shorten(&message);
        let fits = |text: &str| wrap(&format!("{head} {text}"), WIDTH - 2).len() <= MESSAGE_LINES_MAX;
        sentences(&message, fits).to_owned()
    };
    let places =
        lead.finding.map(|finding| screen.places(&finding.evidence, finding.count, 6)).filter(|places| !places.is_empty());
    let places = places.map(|places| format!(" [{places}]")).unwrap_or_default();
    for (at, line) in wrap(&format!("{head} {text}{places}"), WIDTH - 2).iter().enumerate() {
        match line.strip_prefix(lead.label.as_str()) {
            Some(rest) if at == 0 => writeln!(screen.out, "{}{rest}", screen.paint(lead.colour, &lead.label))?,
            _ => writeln!(screen.out, "{}{line}", if at == 0 { "" } else { "  " })?,
        }
    }
    for (label, text) in [("Cause: ", &lead.cause), ("Fix:   ", &lead.fix)] {
        if let Some(text) = text {
            let text = screen.clean(text);
            let text = if screen.style.verbose { text } else { shorten(&text) };
            screen.paragraph(label, "       ", &text)?;
        }
    }
    Ok(())
}

/// The steps that lead to the statements, and their other fixes.
pub(super) fn evidence(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    for finding in leading(screen.report) {
        if !finding.chain.is_empty() {
            screen.heading(&format!("Evidence of {}", finding.rule.name))?;
            super::table::steps(screen, finding)?;
        }
        other_fixes(screen, finding)?;
    }
    Ok(())
}

fn other_fixes(screen: &mut Screen<'_, '_>, finding: &Finding) -> io::Result<()> {
    let has_note = |fix: &Fix| fix.note.is_some();
    let shown: &[Fix] = match finding.fixes.as_slice() {
        [only] if !has_note(only) => &[],
        fixes => fixes,
    };
    if shown.is_empty() {
        return Ok(());
    }
    screen.heading(&format!("Fixes of {}", finding.rule.name))?;
    super::table::fix_lines(screen, shown)
}

/// A sentence: a capital letter first, where that is no name of a program, and a full stop last.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let first = text.split(' ').next().unwrap_or_default();
    if !first.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return format!("{text}.");
    }
    let mut letters = text.chars();
    let start: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{start}{}.", letters.as_str())
}

/// A statement takes no more than so many lines, unless one sentence alone does.
const MESSAGE_LINES_MAX: usize = 4;
