//! What `replay` prints: the plan before, the result after.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure};
use crate::cli::replay::arguments::{Arguments, ReportName};
use crate::cli::replay::outcome::{Finished, MadeStep};
use crate::cli::replay::print;
use crate::cli::replay::target::Endpoint;
use crate::compare::{Comparison, Mapping, Options, compare_pairs, render};
use crate::model::Untrusted;
use crate::replay::{Content, Held, Ids, Journal, Outgoing, OutgoingBody, Plan, Rules, SseMode, Step, rewrite};
use crate::rules::Verdict;
use crate::s3::{Call, Domains};

/// Prints the plan.
pub(super) fn plan(arguments: &Arguments, endpoint: &Endpoint, plan: &Plan, rules: &Rules) -> Outcome {
    let domains = Domains::new(arguments.reading.domain.clone());
    let rows: Vec<Value> = plan.steps.iter().map(|step| row(step, endpoint, rules, &domains)).collect();
    let (sent, held) = (plan.sent().count(), plan.held().count());
    if arguments.format == ReportName::Json {
        let object = json!({
            "schema": "hopwire.replay-plan/1",
            "tool": {"name": "hopwire", "version": env!("CARGO_PKG_VERSION")},
            "target": arguments.to,
            "send": sent,
            "held": held,
            "steps": rows,
        });
        print(&format!("{object:#}\n"))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("plan for {}: {sent} calls would be sent, {held} are held back; nothing was sent\n\n", arguments.to);
    for row in &rows {
        let word = |name: &str| row[name].as_str().map(|text| Untrusted::text(text).to_string()).unwrap_or_default();
        let after = row["after"].as_array().map(Vec::len).unwrap_or_default();
        let order = if after > 0 { format!(" after {after}") } else { String::new() };
        let due = row["due_ms"].as_f64().unwrap_or_default() / 1000.0;
        let _ = writeln!(
            text,
            "{:>5} {due:>9.3}s {:<24} {} {}{order}",
            row["step"],
            word("operation"),
            word("method"),
            word("target")
        );
        if let Some(held) = row["held"].as_str() {
            let _ = writeln!(text, "        held back: {}", Untrusted::text(held));
        }
        if row["body"].as_str() == Some("made up") {
            let _ = writeln!(text, "        its body was not kept: {} bytes are made up", row["body_bytes"]);
        }
    }
    print(&text)?;
    Ok(Exit::Done)
}

fn row(step: &Step, endpoint: &Endpoint, rules: &Rules, domains: &Domains) -> Value {
    let request = &step.exchange.request;
    let body = &request.body;
    let content = if body.stored {
        Content::Stored
    } else if body.kept.len() as u64 == body.length {
        Content::Bytes(&body.kept)
    } else {
        Content::Missing
    };
    let outgoing = Call::read(&step.exchange, domains).map(|call| {
        let ids = stand_ins(&call);
        rewrite(&call, &endpoint.target, rules, &ids, content)
    });
    let held = step.held.clone().or_else(|| match &outgoing {
        Some(Err(held)) if !matches!(held, Held::IdMissing(_)) => Some(held.clone()),
        _ => None,
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (target, kind, bytes) = match &outgoing {
        Some(Ok(Outgoing { path, query, body, .. })) => {
            let target = if query.is_empty() { text(path) } else { format!("{}?{}", text(path), text(query)) };
            let (kind, bytes) = match body {
                OutgoingBody::None => ("none", 0),
                OutgoingBody::Bytes(bytes) => ("recorded", bytes.len() as u64),
                OutgoingBody::Stored { length, .. } => ("recorded", *length),
                OutgoingBody::MadeUp(length) => ("made up", *length),
            };
            (target, kind, bytes)
        }
        _ => (String::new(), "none", 0),
    };
    json!({
        "step": step.number,
        "exchange": step.exchange.id.to_string(),
        "operation": step.operation.name(),
        "method": text(request.method()),
        "target": target,
        "due_ms": step.due.as_secs_f64() * 1000.0,
        "after": step.after,
        "held": held.map(|held| held.text()),
        "body": kind,
        "body_bytes": bytes,
        "never_sent_by_client": step.is_made,
    })
}

/// Ids that are not known before the replay stand for themselves in the plan.
fn stand_ins(call: &Call<'_>) -> Ids {
    let mut ids = Ids::default();
    for (name, kind) in [("uploadId", crate::replay::IdKind::Upload), ("continuation-token", crate::replay::IdKind::Token)] {
        if let Some(id) = call.query.get(name) {
            ids.add(kind, id.to_vec(), format!("({name} of this replay)").into_bytes());
        }
    }
    ids
}

/// Prints what came out; the exit code says whether anything differs.
pub(super) fn result(
    arguments: &Arguments,
    endpoint: &Endpoint,
    plan: &Plan,
    done: &Finished,
    journal: &Journal,
    verdict: &Verdict,
    file: &str,
) -> Outcome {
    let mapping = Mapping { buckets: arguments.bucket_map.clone(), prefixes: arguments.prefix_map.clone() };
    let changes_sse = arguments.sse != SseMode::Keep;
    let ignored: &[&str] = if changes_sse { &["encryption asked for", "encryption in the response", "etag"] } else { &[] };
    let comparison = compare_pairs(&done.pairs, &Options { mapping, ..Options::default() }, ignored);
    if arguments.format == ReportName::Json {
        print(&format!("{:#}\n", object(arguments, endpoint, plan, done, journal, verdict, &comparison, file)?))?;
    } else {
        print(&table(arguments, plan, done, journal, verdict, &comparison, file)?)?;
    }
    let is_same = comparison.is_equal() && done.failed.is_empty() && journal.unknown.is_empty();
    Ok(if is_same { Exit::Done } else { Exit::Findings })
}

/// The value at that part of a sorted list, in milliseconds.
fn percentile(sorted: &[u64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).map_or(0.0, |micros| *micros as f64 / 1000.0)
}

fn reasons(plan: &Plan, done: &Finished) -> BTreeMap<String, (u64, Vec<String>)> {
    let mut all: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for (number, held) in &done.held {
        let entry = all.entry(held.text()).or_default();
        entry.0 += 1;
        let operation = plan.steps.get(*number).map(|step| step.operation.name().to_owned()).unwrap_or_default();
        if !entry.1.contains(&operation) {
            entry.1.push(operation);
        }
    }
    all
}

fn table(
    arguments: &Arguments,
    plan: &Plan,
    done: &Finished,
    journal: &Journal,
    verdict: &Verdict,
    comparison: &Comparison,
    file: &str,
) -> Result<String, Failure> {
    let mut text = String::new();
    let _ = writeln!(text, "replayed {} to {}", Untrusted::text(&arguments.file), Untrusted::text(&arguments.to));
    let answered = done.pairs.len() + done.made.len();
    let _ = writeln!(
        text,
        "  {answered} calls sent and answered in {:.1} s, {} held back, {} failed{}",
        done.seconds,
        done.held.len(),
        done.failed.len(),
        if journal.done.is_empty() { String::new() } else { format!(", {} were done before", journal.done.len()) },
    );
    if !done.late.is_empty() {
        let _ = writeln!(
            text,
            "  {:.0} requests/s, {:.1} MB/s sent; sent late: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; from due to response: p50 {:.1} ms, p99 {:.1} ms",
            answered as f64 / done.seconds.max(1e-9),
            done.bytes_sent as f64 / 1e6 / done.seconds.max(1e-9),
            percentile(&done.late, 0.5),
            percentile(&done.late, 0.99),
            percentile(&done.late, 1.0),
            percentile(&done.took, 0.5),
            percentile(&done.took, 0.99),
        );
    }
    for (reason, (count, operations)) in reasons(plan, done) {
        let _ = writeln!(text, "  held back {count} ({}): {}", operations.join(", "), Untrusted::text(&reason));
    }
    for step in journal.unknown.iter().filter_map(|number| plan.steps.get(*number)) {
        let _ = writeln!(
            text,
            "  unknown: {} (step {}) was sent before and got no response; it was not sent again",
            step.operation.name(),
            step.number
        );
    }
    for failed in done.failed.iter().take(if arguments.verbose > 0 { usize::MAX } else { FAILED_MAX }) {
        let operation = plan.steps.get(failed.number).map(|step| step.operation.name()).unwrap_or_default();
        let sent = if failed.is_sent { "sent, no response" } else { "not sent" };
        let _ = writeln!(text, "  transport: {operation} (step {}): {sent}: {}", failed.number, Untrusted::text(&failed.error));
    }
    if done.failed.len() > FAILED_MAX && arguments.verbose == 0 {
        let _ = writeln!(text, "  and {} more: -v", done.failed.len() - FAILED_MAX);
    }
    made(&mut text, &done.made, verdict);
    let _ = writeln!(text);
    let mut out = Vec::new();
    render::table(comparison, [&arguments.file, &arguments.to], arguments.verbose > 0, &mut out)
        .map_err(|error| Failure::unwritable(error, "cannot write the report"))?;
    text += &String::from_utf8_lossy(&out);
    let _ = writeln!(text, "\nsession of the replay: {}", Untrusted::text(file));
    Ok(text)
}

/// The proof that the store takes what the client refused to send.
fn made(text: &mut String, made: &[MadeStep], verdict: &Verdict) {
    let Some(first) = made.first() else { return };
    let _ = writeln!(text, "\nsent what the client refused to send:");
    for step in made {
        let status = step.status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
        let error = step.error.as_deref().map(|error| format!(" {error}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {} {} over {}: {status}{}",
            step.operation,
            Untrusted::text(&step.target),
            step.transport,
            Untrusted::text(&error)
        );
    }
    if is_accepted(made) {
        let over = if first.transport == "clear" { "plain HTTP" } else { "TLS" };
        let _ = writeln!(text, "The store accepts it over {over}: the refusal was the client's.");
        let _ = writeln!(
            text,
            "verdict of the recording: {} (certain): {}",
            verdict.outcome.label(),
            Untrusted::text(&verdict.message)
        );
    } else {
        let _ = writeln!(text, "The target did not accept it: that the client alone refused is not proven.");
    }
}

fn is_accepted(made: &[MadeStep]) -> bool {
    made.iter().all(|step| step.status.is_some_and(|status| (200..300).contains(&status)) && step.error.is_none())
}

#[expect(clippy::too_many_arguments, reason = "the parts of one report")]
fn object(
    arguments: &Arguments,
    endpoint: &Endpoint,
    plan: &Plan,
    done: &Finished,
    journal: &Journal,
    verdict: &Verdict,
    comparison: &Comparison,
    file: &str,
) -> Result<Value, Failure> {
    let mut out = Vec::new();
    render::json(comparison, [&arguments.file, &arguments.to], &mut out)
        .map_err(|error| Failure::unwritable(error, "cannot write the report"))?;
    let comparison: Value = serde_json::from_slice(&out).unwrap_or_default();
    let named = |number: usize| plan.steps.get(number).map(|step| step.operation.name()).unwrap_or_default();
    let accepted = !done.made.is_empty() && is_accepted(&done.made);
    Ok(json!({
        "schema": "hopwire.replay/1",
        "tool": {"name": "hopwire", "version": env!("CARGO_PKG_VERSION")},
        "file": arguments.file,
        "target": {"url": arguments.to, "host": endpoint.target.authority, "tls": endpoint.target.is_tls},
        "planned": plan.steps.len(),
        "answered": done.pairs.len() + done.made.len(),
        "done_before": journal.done.len(),
        "unknown": journal.unknown.iter().map(|number| json!({"step": number, "operation": named(*number)})).collect::<Vec<_>>(),
        "held": done.held.iter().map(|(number, held)| json!({"step": number, "operation": named(*number), "reason": held.text()})).collect::<Vec<_>>(),
        "failed": done.failed.iter().map(|failed| json!({
            "step": failed.number, "operation": named(failed.number), "class": "transport", "sent": failed.is_sent, "error": failed.error,
        })).collect::<Vec<_>>(),
        "sent_refused": done.made.iter().map(|step| json!({
            "operation": step.operation, "target": step.target, "status": step.status, "error": step.error, "transport": step.transport,
        })).collect::<Vec<_>>(),
        "verdict": if accepted {
            json!({"outcome": verdict.outcome.label(), "confidence": "certain", "message": verdict.message})
        } else {
            Value::Null
        },
        "timing": {
            "seconds": done.seconds,
            "requests_per_second": (done.pairs.len() + done.made.len()) as f64 / done.seconds.max(1e-9),
            "bytes_sent": done.bytes_sent,
            "late_ms": {"p50": percentile(&done.late, 0.5), "p99": percentile(&done.late, 0.99), "max": percentile(&done.late, 1.0)},
            "response_ms": {"p50": percentile(&done.took, 0.5), "p99": percentile(&done.took, 0.99), "max": percentile(&done.took, 1.0)},
        },
        "leaks": done.summary.verdict.outcome.label(),
        "comparison": comparison,
        "session": file,
    }))
}

/// Failed steps that fit a screen.
const FAILED_MAX: usize = 5;
