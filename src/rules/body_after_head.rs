//! Responses to HEAD that carry a body.

use crate::model::LossReason;
use crate::rules::quote::counted;
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Connections on which a server sent content behind its response to a HEAD request, and how many bytes. A response to HEAD
    /// has no content, whatever its `Content-Length` says (RFC 9110 section 9.3.2). It is reported for plaintext connections.
    ///
    /// ## Why it matters
    /// The client takes these bytes for the start of the next response: it reports a malformed response, or drops the connection. Behind
    /// a proxy that reuses connections another client's request gets them.
    ///
    /// ## Example
    /// A gateway that sends its XML error document in response to HEAD: every second call on the connection fails.
    ///
    /// ## What to do
    /// Correct or replace the server. Until then let clients or the proxy use each connection once (`Connection: close`).
    "body-after-head" Warning since "0.2.0"
}

#[derive(Default)]
pub(super) struct State;

impl Watch for State {
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in view.undecoded.iter().filter(|row| row.reason == LossReason::BodyAfterHead) {
            let message = format!(
                "The server of {} sent a body behind its response to HEAD on {}: {} bytes that belong to no message.",
                view.hop_name(row.hop),
                counted(row.count, "connection", "connections"),
                row.bytes
            );
            let frame = Some(row.first).filter(|frame| frame.number() > 0);
            let evidence = Evidence { frames: frame.into_iter().collect(), ..Evidence::default() };
            findings.report(
                Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.count, message).shown_by(vec![evidence]).fixed_by(
                    Fix::untested("correct the server; until then use each connection once (Connection: close)", ""),
                ),
            );
        }
    }
}
