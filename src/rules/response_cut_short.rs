//! Messages that ended before their declared length, with nothing of the capture missing.

use crate::model::Side;
use crate::rules::interrupted::{BodyCut, Interrupted, MissingPart};
use crate::rules::interruptions::{Group, Interruptions, side_text, span_text};
use crate::rules::quote::{bytes_text, counted};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, Joined, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Responses whose body ended before its declared length, and request bodies that did. Nothing of the capture is missing: a
    /// peer ended the connection. It reports the declared and the received bytes, who closed or reset, and on which hop first. A
    /// request body that is kept back because the server already responded is not reported. It is reported on any decoded hop, unencrypted or TLS.
    ///
    /// ## Why it matters
    /// The status was 200, and the object that the client got is not whole. Clients that do not compare lengths keep a truncated
    /// object.
    ///
    /// ## Example
    /// A proxy with a read timeout of 10 s ends a slow download after 3.1 MiB of 8.0 MiB: `Premature end of Content-Length delimited
    /// message body`.
    ///
    /// ## What to do
    /// Look at the peer that ended the connection first: a timeout or size limit of a proxy, a store that restarted, a client that
    /// needs only the start of an object (S3A's `fs.s3a.experimental.input.fadvise=random` avoids that).
    "response-cut-short" Warning since "0.2.0"
}

#[derive(Default)]
pub(super) struct State {
    found: Interruptions,
}

/// Which message was cut, and by whom.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cause {
    is_request: bool,
    by: Side,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        if !self.found.is_empty() {
            self.found.handle_call(call, context);
        }
    }

    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        self.found.handle_join(joined, false);
    }

    fn handle_interrupted(&mut self, call: &Interrupted, view: &View<'_>, findings: &mut Findings) {
        let is_cut = match call.part {
            MissingPart::ResponseBody(_) => true,
            // A body of which nothing was sent was kept back.
            MissingPart::RequestBody(body) => body.passed > 0,
            MissingPart::Response | MissingPart::Receiver => false,
        };
        if is_cut && self.found.add(call) {
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

const fn cut_of(call: &Interrupted) -> Option<BodyCut> {
    match call.part {
        MissingPart::ResponseBody(cut) | MissingPart::RequestBody(cut) => Some(cut),
        MissingPart::Response | MissingPart::Receiver => None,
    }
}

fn cause_of(call: &Interrupted) -> Cause {
    Cause { is_request: matches!(call.part, MissingPart::RequestBody(_)), by: call.by() }
}

fn render(group: &Group<'_, Cause>, uncounted: u64, view: &View<'_>) -> Finding {
    let count = group.count() + uncounted;
    let verb = group.entries.first().map_or("closed", |entry| entry.call.verb());
    let what = match group.cause.is_request {
        true => counted(count, "request body", "request bodies"),
        false => counted(count, "response", "responses"),
    };
    let after = span_text(group.entries.iter().filter_map(|entry| entry.call.waited()));
    let after = after.filter(|_| !group.cause.is_request).map(|after| format!(" {after} after the request")).unwrap_or_default();
    let mut message = format!(
        "{what} on {} ended before the declared length: {}. The {} {verb} the connection{after}.",
        view.hop_name(group.hop),
        lengths(group),
        side_text(group.cause.by),
    );
    message += &group.hops_text(view);
    message += &group.retries_text();
    let fix = match group.cause.by {
        Side::Server => "look at the log and the timeouts of the server that ended the connection first",
        Side::Client => "look at why the client stopped: its timeout, a cancelled task, or a read of only the start of an object",
    };
    Finding::new(&RULE, Confidence::Certain, Some(group.hop), count, message)
        .about("clients", group.clients_text(view))
        .about("operations", group.operations_text())
        .about("ended_by", side_text(group.cause.by))
        .shown_by(group.sights.evidence())
        .fixed_by(Fix::untested(fix, ""))
}

/// `1000 of 5000 bytes received`, the largest few, and all together.
fn lengths(group: &Group<'_, Cause>) -> String {
    const SHOWN: usize = 3;
    let way = if group.cause.is_request { "sent" } else { "received" };
    let one = |cut: &BodyCut| match cut.declared {
        Some(declared) => format!("{} of {declared} bytes {way}", cut.passed),
        None => format!("{} bytes {way}, the length was not declared", cut.passed),
    };
    let cuts: Vec<BodyCut> = group.entries.iter().filter_map(|entry| cut_of(&entry.call)).collect();
    let shown: Vec<String> = cuts.iter().take(SHOWN).map(one).collect();
    if cuts.len() <= SHOWN {
        return shown.join("; ");
    }
    let passed = cuts.iter().fold(0_u64, |sum, cut| sum.saturating_add(cut.passed));
    let declared = cuts.iter().try_fold(0_u64, |sum, cut| Some(sum.saturating_add(cut.declared?)));
    let of = declared.map(|declared| format!(" of {}", bytes_text(declared))).unwrap_or_default();
    format!("{}; … in all {}{of} {way}", shown.join("; "), bytes_text(passed))
}
