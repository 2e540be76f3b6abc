//! Requests that were sent and got no response, with nothing of the capture missing.

use crate::model::Side;
use crate::rules::interrupted::{Interrupted, MissingPart};
use crate::rules::interruptions::{Group, Interruptions, Retry, side_text, span_text};
use crate::rules::quote::counted;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, Joined, Severity, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// S3 requests without a response, or with a response that came after the client had ended the connection. Nothing of the
    /// capture is missing: a peer ended the connection. It reports who closed or reset, after how long, on which hop first, and
    /// whether the client sent the request again. It is reported on any decoded hop, unencrypted or TLS.
    ///
    /// ## Why it matters
    /// The client reports `NoHttpResponseException`, `Connection reset by peer` or a timeout, and none of these names who ended the
    /// connection. Where a server closes an idle connection while a request is on its way, each side is right from where it is.
    ///
    /// ## Example
    /// A proxy closes idle connections after 60 s, S3A keeps them for longer: once in a while a request is sent into a connection
    /// that was just closed, and is retried.
    ///
    /// ## What to do
    /// Idle close: let the client give up idle connections before the server does (S3A: `fs.s3a.connection.ttl` and
    /// `fs.s3a.connection.idle.time`; AWS SDK for Java v1: `withConnectionMaxIdleMillis`), or raise the server's keep-alive timeout. Timeout of the
    /// client: look for what keeps the server busy before raising it. Reset by the server: look at its log at that time.
    "no-response" Warning Failure since "0.2.0"
}

#[derive(Default)]
pub(super) struct State {
    found: Interruptions,
}

/// What ended the exchanges of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The server closed an idle connection, and the request crossed it.
    IdleClose,
    /// The side ended the connection while a response was due.
    Waiting(Side),
    /// The client had ended the connection when the response came.
    TooLate,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        self.found.handle_call(call, context);
    }

    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        self.found.handle_join(joined, false);
    }

    fn handle_resend(&mut self, joined: &Joined<'_>) {
        self.found.handle_join(joined, true);
    }

    fn handle_interrupted(&mut self, call: &Interrupted, view: &View<'_>, findings: &mut Findings) {
        if !matches!(call.part, MissingPart::ResponseBody(_)) && self.found.add(call) {
            for group in self.found.groups(cause_of) {
                findings.raise(render(&group, 0, view));
            }
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let mut uncounted = self.found.uncounted();
        for group in self.found.groups(cause_of) {
            findings.report(render(&group, std::mem::take(&mut uncounted), view));
        }
    }
}

fn cause_of(call: &Interrupted) -> Cause {
    match call.part {
        MissingPart::Receiver => Cause::TooLate,
        _ if call.is_idle_close() => Cause::IdleClose,
        _ => Cause::Waiting(call.by()),
    }
}

fn render(group: &Group<'_, Cause>, uncounted: u64, view: &View<'_>) -> Finding {
    let count = group.count() + uncounted;
    let hop = view.hop_name(group.hop);
    let mut message = match group.cause {
        Cause::TooLate => format!(
            "The client gave up {} on {hop} before the response came: it ended the connection {}after the request{}.",
            counted(count, "request", "requests"),
            waited(group),
            late(group)
        ),
        _ => format!("{} on {hop} got no response: {}.", counted(count, "request", "requests"), why(group)),
    };
    let cut = group.entries.iter().filter(|entry| matches!(entry.call.part, MissingPart::RequestBody(_))).count() as u64;
    if cut > 0 {
        message += &format!(" {} had not sent the whole body.", counted(cut, "request", "requests"));
    }
    message += &group.hops_text(view);
    message += &group.retries_text();
    let mut finding = Finding::new(&RULE, Confidence::Certain, Some(group.hop), count, message)
        .about("clients", group.clients_text(view))
        .about("operations", group.operations_text())
        .about("ended_by", side_text(ended_by(group.cause)))
        .shown_by(group.sights.evidence());
    if group.resent == count {
        // A proxy that sends again by itself is doing its work.
        finding.severity = Severity::Note;
    }
    finding.recovered = group.entries.iter().filter(|entry| entry.retry == Some(Retry::Worked)).count() as u64;
    for fix in fixes(group) {
        finding = finding.fixed_by(fix);
    }
    finding
}

const fn ended_by(cause: Cause) -> Side {
    match cause {
        Cause::IdleClose => Side::Server,
        Cause::Waiting(by) => by,
        Cause::TooLate => Side::Client,
    }
}

/// `5.0 s `, or nothing where the time is not known.
fn waited(group: &Group<'_, Cause>) -> String {
    let spans = group.entries.iter().filter_map(|entry| entry.call.waited());
    span_text(spans).map(|text| format!("{text} ")).unwrap_or_default()
}

fn late(group: &Group<'_, Cause>) -> String {
    let came = |call: &Interrupted| call.response.map(|(status, at)| (status, at.since(call.request_end)));
    let all: Vec<_> = group.entries.iter().filter_map(|entry| came(&entry.call)).collect();
    let Some((status, _)) = all.first() else { return String::new() };
    let same = all.iter().all(|(other, _)| other == status);
    let status = if same { format!("status {status}") } else { "a response".to_owned() };
    let spans = span_text(all.iter().map(|(_, span)| *span)).unwrap_or_default();
    format!("; the server sent {status} after {spans}, and nobody received it")
}

fn why(group: &Group<'_, Cause>) -> String {
    let verb = group.entries.first().map_or("closed", |entry| entry.call.verb());
    match group.cause {
        Cause::IdleClose => {
            let idle = span_text(group.entries.iter().filter_map(|entry| entry.call.idle()));
            let idle = idle.map(|idle| format!(" after {idle} without a request")).unwrap_or_default();
            format!("the server {verb} the idle connection{idle}, and the request crossed the close")
        }
        Cause::Waiting(Side::Client) => {
            format!("the client gave up and {verb} the connection {}after the request", waited(group))
        }
        Cause::Waiting(Side::Server) | Cause::TooLate => {
            format!("the server {verb} the connection {}after the request", waited(group))
        }
    }
}

fn fixes(group: &Group<'_, Cause>) -> Vec<Fix> {
    match group.cause {
        Cause::IdleClose => {
            let idle = span_text(group.entries.iter().filter_map(|entry| entry.call.idle()));
            let shorter = idle.map(|idle| format!(" (it closed after {idle})")).unwrap_or_default();
            vec![Fix::untested(
                &format!(
                    "let the client drop idle connections before the server does{shorter}, for S3A fs.s3a.connection.ttl and fs.s3a.connection.idle.time, or raise the server's keep-alive timeout"
                ),
                "until then each such request costs one retry",
            )]
        }
        Cause::Waiting(Side::Client) | Cause::TooLate => vec![Fix::untested(
            "find out what keeps the server from responding; then raise the client's response timeout above the time that it needs",
            "a longer timeout hides a slow server",
        )],
        Cause::Waiting(Side::Server) => {
            vec![Fix::untested("look at the log of the server that ended the connection, at the time of the frames named", "")]
        }
    }
}
