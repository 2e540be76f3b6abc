//! Plaintext that was captured and not decoded.

use crate::model::LossReason;
use crate::rules::quote::{bytes_text, counted};
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, Severity, UndecodedFlows, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Connections in plaintext of which some or all bytes were not decoded, by hop and reason: HTTP/2 without TLS, the content
    /// of a tunnel or of an upgraded connection, heads beyond the limits, other protocols. Bytes before the first whole message
    /// of a connection that began before the capture, and behind a gap, are reported as notes.
    ///
    /// ## Why it matters
    /// Whoever is on the path can read what hopwire did not: an encryption key may be in it. Nothing in such bytes was judged, so
    /// that the view is partial, and a client seen only in this way is not judged.
    ///
    /// ## Example
    /// A proxy that takes HTTP/2 without TLS from its clients and forwards it over TLS.
    ///
    /// ## What to do
    /// Serve TLS on the endpoint. To have the requests judged, let the client use HTTP/1.1 for the time of the capture.
    "undecoded-in-clear" Warning since "0.2.0"
}

#[derive(Default)]
pub(super) struct State;

impl Watch for State {
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        // A body behind a response to HEAD has a rule of its own.
        for row in view.undecoded.iter().filter(|row| row.reason != LossReason::BodyAfterHead) {
            let mut finding = finding(row, view);
            if matches!(row.reason, LossReason::BeforeFirstMessage | LossReason::AfterGap) {
                // The connection was decoded otherwise, and why this part was not is reported of the capture.
                finding.severity = Severity::Note;
            }
            findings.report(finding);
        }
    }
}

fn finding(row: &UndecodedFlows, view: &View<'_>) -> Finding {
    let (what, todo) = explain(row.reason);
    let message = format!(
        "{} on {} carried {what} in plaintext: {} were not decoded and not judged. {todo}",
        counted(row.count, "connection", "connections"),
        view.hop_name(row.hop),
        bytes_text(row.bytes)
    );
    let frame = Some(row.first).filter(|frame| frame.number() > 0);
    let fix = match row.reason {
        LossReason::Http2 => "serve TLS on this endpoint; for a capture that can be judged, let the client use HTTP/1.1",
        LossReason::BeforeFirstMessage => "start the capture before the connections are opened",
        LossReason::AfterGap => "capture with a larger buffer and without a snap length",
        _ => "serve TLS on this endpoint",
    };
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.count, message)
        .about("reason", row.reason.label())
        .shown_by(vec![Evidence { frames: frame.into_iter().collect(), ..Evidence::default() }])
        .fixed_by(Fix::untested(fix, ""))
}

/// What was not decoded, and what that means.
const fn explain(reason: LossReason) -> (&'static str, &'static str) {
    match reason {
        LossReason::Http2 => ("HTTP/2", "hopwire decodes HTTP/1."),
        LossReason::Tunnel => ("the content of a tunnel or of an upgraded connection", "It is of no protocol that hopwire decodes."),
        LossReason::HeadLimit => ("heads that are longer than the limits", "Header fields beyond the limits can hold secrets."),
        LossReason::BeforeFirstMessage => ("the rest of a message that began before the capture", "Its head is not in the capture."),
        LossReason::AfterGap => ("bytes behind a gap", "Where the next message starts is only known further on."),
        _ => ("bytes that are not HTTP/1", "It may be another protocol, or a message that is damaged."),
    }
}
