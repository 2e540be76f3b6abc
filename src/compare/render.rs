//! A comparison as text for people, and as one JSON object.

use std::io::{self, Write};

use serde::Serialize;

use crate::compare::{Comparison, Difference, Example};
use crate::model::Untrusted;

/// The schema of the JSON object.
pub const SCHEMA: &str = "hopwire.comparison/1";

#[derive(Serialize)]
struct Object<'c> {
    schema: &'static str,
    tool: Tool,
    before: RunView<'c>,
    after: RunView<'c>,
    equal: bool,
    paired: usize,
    mapped: &'c [(String, String)],
    headline: Option<HeadlineView<'c>>,
    differences: Vec<DifferenceView<'c>>,
    noise: u64,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct RunView<'c> {
    file: &'c str,
    calls: usize,
    transports: &'c [&'static str],
}

#[derive(Serialize)]
struct HeadlineView<'c> {
    side: &'static str,
    operation: &'static str,
    bucket: &'c str,
    key: &'c str,
    exchange: String,
    last_common: Option<LastView<'c>>,
    other_stopped: bool,
    message: &'c str,
}

#[derive(Serialize)]
struct LastView<'c> {
    operation: &'static str,
    key: &'c str,
}

#[derive(Serialize)]
struct DifferenceView<'c> {
    class: &'static str,
    what: &'c str,
    operation: &'static str,
    before: &'c str,
    after: &'c str,
    count: u64,
    calls: Vec<ExampleView<'c>>,
}

#[derive(Serialize)]
struct ExampleView<'c> {
    bucket: &'c str,
    key: &'c str,
    before: Option<String>,
    after: Option<String>,
}

/// Writes the comparison as one JSON object.
///
/// # Errors
/// Where `out` fails.
pub fn json(comparison: &Comparison, files: [&str; 2], out: &mut dyn Write) -> io::Result<()> {
    let [before, after] = &comparison.transports;
    let [file_before, file_after] = files;
    let object = Object {
        schema: SCHEMA,
        tool: Tool { name: "hopwire", version: env!("CARGO_PKG_VERSION") },
        before: RunView { file: file_before, calls: comparison.calls_before, transports: before },
        after: RunView { file: file_after, calls: comparison.calls_after, transports: after },
        equal: comparison.is_equal(),
        paired: comparison.paired,
        mapped: &comparison.mapped,
        headline: comparison.headline.as_ref().map(|headline| HeadlineView {
            side: if headline.side == crate::compare::Side::Before { "before" } else { "after" },
            operation: headline.operation,
            bucket: &headline.bucket,
            key: &headline.key,
            exchange: headline.id.to_string(),
            last_common: headline.last_common.as_ref().map(|(operation, key)| LastView { operation, key }),
            other_stopped: headline.is_stopped,
            message: &headline.message,
        }),
        differences: comparison.differences.iter().map(difference_view).collect(),
        noise: comparison.noise,
    };
    serde_json::to_writer_pretty(&mut *out, &object)?;
    out.write_all(b"\n")
}

fn difference_view(difference: &Difference) -> DifferenceView<'_> {
    let call = |example: &Example| (example.before.map(|id| id.to_string()), example.after.map(|id| id.to_string()));
    DifferenceView {
        class: difference.class.label(),
        what: &difference.what,
        operation: difference.operation,
        before: &difference.before,
        after: &difference.after,
        count: difference.count,
        calls: difference
            .examples
            .iter()
            .map(|example| {
                let (before, after) = call(example);
                ExampleView { bucket: &example.bucket, key: &example.key, before, after }
            })
            .collect(),
    }
}

/// Writes the comparison for people. `all` shows every difference with its calls.
///
/// # Errors
/// Where `out` fails.
pub fn table(comparison: &Comparison, files: [&str; 2], all: bool, out: &mut dyn Write) -> io::Result<()> {
    let clean = |text: &str| Untrusted::text(text).to_string();
    let runs = [("BEFORE", comparison.calls_before), ("AFTER", comparison.calls_after)];
    for (((name, calls), file), transports) in runs.into_iter().zip(files).zip(&comparison.transports) {
        writeln!(out, "{name:<6} {}: {calls} calls, {}", clean(file), transports.join(", "))?;
    }
    for (one, other) in &comparison.mapped {
        writeln!(out, "       {} is taken for {}", clean(one), clean(other))?;
    }
    writeln!(out)?;
    if comparison.differences.is_empty() && comparison.headline.is_none() {
        writeln!(out, "EQUAL: {} calls paired, no difference{}", comparison.paired, noise(comparison))?;
        return Ok(());
    }
    match &comparison.headline {
        Some(headline) => writeln!(out, "{}", clean(&headline.message))?,
        None => writeln!(out, "Both runs have the same calls.")?,
    }
    writeln!(
        out,
        "{} calls paired, {} kinds of difference{}",
        comparison.paired,
        comparison.differences.len(),
        noise(comparison)
    )?;
    let shown = if all { usize::MAX } else { ROWS_MAX };
    let mut class = "";
    for difference in comparison.differences.iter().take(shown) {
        if difference.class.label() != class {
            class = difference.class.label();
            writeln!(out, "\n{class}")?;
        }
        let values = format!("{} -> {}", clean(&difference.before), clean(&difference.after));
        writeln!(out, "  {:>5}  {:<24} {:<18} {values}", difference.count, difference.operation, clean(&difference.what))?;
        let examples = if all { difference.examples.len() } else { 1 };
        for example in difference.examples.iter().take(examples) {
            let id = |id: &Option<crate::model::ExchangeId>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            writeln!(
                out,
                "         {}/{} [{} | {}]",
                clean(&example.bucket),
                clean(&example.key),
                id(&example.before),
                id(&example.after)
            )?;
        }
    }
    if comparison.differences.len() > shown {
        writeln!(out, "\n{} more: -v", comparison.differences.len() - shown)?;
    }
    Ok(())
}

fn noise(comparison: &Comparison) -> String {
    match comparison.noise {
        0 => String::new(),
        count => format!("; {count} left out as noise"),
    }
}

/// Kinds of difference that fit a screen.
const ROWS_MAX: usize = 20;
