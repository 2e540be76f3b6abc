//! `hopwire rules`: the list, or one page.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure};
use crate::cli::values::nearest_rule;
use crate::rules::{Rule, all, find};

/// The arguments of `rules`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The rule whose page to show
    name: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints the list or the page.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let one = match &arguments.name {
        Some(name) => Some(find(name).ok_or_else(|| unknown(name))?),
        None => None,
    };
    let mut out = io::stdout().lock();
    let written = match (one, arguments.format) {
        (Some(rule), Format::Text) => page(rule, &mut out),
        (None, Format::Text) => list(&mut out),
        (Some(rule), Format::Json) => writeln!(out, "{:#}", entry(rule)),
        (None, Format::Json) => {
            let rules: Vec<_> = all().iter().map(|rule| entry(rule)).collect();
            writeln!(out, "{:#}", json!({"schema": "hopwire.rules/1", "rules": rules}))
        }
    };
    written.and_then(|()| out.flush()).map_err(|error| Failure::unwritable(error, "cannot write to stdout"))?;
    Ok(Exit::Done)
}

fn list(out: &mut dyn Write) -> io::Result<()> {
    let width = all().iter().map(|rule| rule.name.len()).max().unwrap_or_default();
    for rule in all() {
        writeln!(out, "{:<width$}  {:<8} {}", rule.name, rule.severity.label(), summary(rule))?;
    }
    writeln!(out, "\nhopwire rules NAME shows a rule's page.")
}

fn page(rule: &Rule, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# {}\n\n{}, since {}\n\n{}", rule.name, rule.severity.label(), rule.since, rule.text().trim())
}

fn entry(rule: &Rule) -> serde_json::Value {
    json!({"name": rule.name, "severity": rule.severity.label(), "since": rule.since, "summary": summary(rule), "page": rule.text().trim()})
}

/// The first sentence of the page, at most as long as a line of the list.
fn summary(rule: &Rule) -> String {
    let text = rule.text();
    let paragraph: Vec<_> = text
        .lines()
        .map(str::trim)
        .skip_while(|line| line.is_empty() || line.starts_with('#'))
        .take_while(|line| !line.is_empty())
        .collect();
    let paragraph = paragraph.join(" ");
    match paragraph.split_once(". ") {
        Some((first, _)) => first.to_owned(),
        None => paragraph.trim_end_matches('.').to_owned(),
    }
}

fn unknown(name: &str) -> Failure {
    let help = match nearest_rule(name) {
        Some(nearest) => format!("did you mean {nearest}? `hopwire rules` lists all"),
        None => "`hopwire rules` lists all".to_owned(),
    };
    Failure::usage(format!("there is no rule {name:?}"), help)
}
