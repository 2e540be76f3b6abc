//! The one answer of a run: findings and the view in, the worst that holds out.

use crate::hops::HopTransport;
use crate::model::LossReason;
use crate::rules::quote::{bytes_text, counted, list};
use crate::rules::{Confidence, Effect, Finding, Outcome, Verdict, View};

/// What must never cross in clear.
const LEAKS: [&str; 3] = ["sse-c-key-in-clear", "session-token-in-clear", "credential-in-clear"];

/// A request that a client refused to send.
const REFUSALS: [&str; 3] = ["copy-refused-by-client", "write-refused-by-client", "request-refused-by-client"];

/// What should not cross in clear.
const EXPOSURES: [&str; 6] = [
    "encryption-context-in-clear",
    "kms-key-id-in-clear",
    "sse-header-in-clear",
    "presigned-url-in-clear",
    "signature-in-clear",
    "object-bytes-in-clear",
];

/// The verdict over all findings, which are given the worst first.
pub(super) fn verdict(findings: &[Finding], view: &View<'_>) -> Verdict {
    let of = |names: &[&str]| {
        findings.iter().filter(|finding| names.contains(&finding.rule.name)).max_by_key(|finding| finding.confidence)
    };
    for (names, outcome) in
        [(&REFUSALS[..], Outcome::RefusedBeforeTheWire), (&LEAKS[..], Outcome::Leaked), (&EXPOSURES[..], Outcome::Exposed)]
    {
        let first = findings.iter().find(|finding| names.contains(&finding.rule.name));
        // Among refusals the surest speaks; leaks and exposures are all certain, so the worst does.
        let chosen = if outcome == Outcome::RefusedBeforeTheWire { of(names) } else { first };
        if let Some(finding) = chosen {
            let message = message(outcome, finding, findings, names, view);
            return Verdict { outcome, confidence: finding.confidence, message, rule: Some(finding.rule.name) };
        }
    }
    without_findings(view)
}

fn message(outcome: Outcome, finding: &Finding, findings: &[Finding], names: &[&str], view: &View<'_>) -> String {
    match outcome {
        Outcome::RefusedBeforeTheWire => {
            format!("A client refused to send a request. {}", finding.message)
        }
        Outcome::Leaked => {
            let others = findings.iter().filter(|other| names.contains(&other.rule.name)).count();
            let more = if others > 1 { format!(" ({} in all)", counted(others as u64, "leak", "leaks")) } else { String::new() };
            format!("A secret crossed in clear{more}. {}", finding.message)
        }
        _ if is_partial(view) => {
            format!(
                "No secret was seen in clear, but the view is incomplete, and other things crossed that should not. {}",
                finding.message
            )
        }
        _ => format!("No secret crossed in clear, but other things did that should not. {}", finding.message),
    }
}

/// Whether what was not seen, or not decoded, may have held anything in plaintext.
fn is_partial(view: &View<'_>) -> bool {
    view.completeness.unseen.is_partial()
}

/// Nothing crossed in clear that should not. That is clean only where there was something to judge.
fn without_findings(view: &View<'_>) -> Verdict {
    let hops = view.hops.hops();
    let calls: u64 = hops.iter().map(|hop| hop.calls).sum();
    let shut: Vec<String> = hops.iter().filter(|hop| hop.shut_flows > 0).map(|hop| hop.name.clone()).collect();
    let not_judged =
        |message: String| Verdict { outcome: Outcome::NotJudged, confidence: Confidence::Certain, message, rule: None };
    let undecoded: Vec<String> = hops.iter().filter(|hop| hop.undecoded_flows > 0).map(|hop| hop.name.clone()).collect();
    if calls == 0 {
        return not_judged(match (shut.as_slice(), undecoded.as_slice()) {
            ([], []) => "No S3 call was decoded: nothing was judged.".to_owned(),
            ([], undecoded) => {
                format!("No S3 call was decoded: {} carried plaintext that was not decoded. Nothing was judged.", list(undecoded))
            }
            (shut, _) => format!("No S3 call was decoded: {} stayed shut. Nothing was judged.", list(shut)),
        });
    }
    // The client's own hop is what users ask about. Where it stayed shut, a look at the others is no answer.
    let is_client_hop = |hop: &&crate::hops::Hop| view.hops.downstream(hop.id).next().is_none();
    let shut_client = hops
        .iter()
        .filter(is_client_hop)
        .find(|hop| hop.shut_flows > 0 && hop.calls == 0 && view.hops.upstream(hop.id).is_some());
    if let Some(hop) = shut_client {
        return not_judged(format!("The client's own hop, {}, stayed shut: what crossed it was not judged.", hop.name));
    }
    let undecoded_client = hops
        .iter()
        .filter(is_client_hop)
        .find(|hop| hop.undecoded_flows > 0 && hop.calls == 0 && view.hops.upstream(hop.id).is_some());
    if let Some(hop) = undecoded_client {
        return not_judged(format!(
            "The client's own hop, {}, carried plaintext that was not decoded: what passed there was not judged.",
            hop.name
        ));
    }
    let cut_heads = view
        .undecoded
        .iter()
        .find(|row| row.reason == LossReason::HeadLimit && hops.iter().filter(is_client_hop).any(|hop| hop.id == row.hop));
    if let Some(row) = cut_heads {
        return not_judged(format!(
            "Heads on {} are longer than the limits: {} of header fields were not judged.",
            view.hops.name(row.hop),
            bytes_text(row.bytes)
        ));
    }
    let decoded = hops.iter().filter(|hop| hop.calls > 0).all(|hop| hop.transport == HopTransport::Tls);
    let how = if decoded { " All of them were inside TLS." } else { "" };
    let (confidence, unseen) = match shut.as_slice() {
        [] if view.completeness.unseen.effect() == Some(Effect::Encrypted) => {
            (Confidence::Likely, " Some encrypted traffic was not decoded.".to_owned())
        }
        [] => (Confidence::Strong, String::new()),
        shut => (Confidence::Likely, format!(" Some connections of {} stayed shut and were not seen.", list(shut))),
    };
    let judged = counted(calls, "S3 call was", "S3 calls were");
    if is_partial(view) {
        let confidence = Confidence::Possible;
        let message = format!(
            "{judged} judged, and nothing was seen in clear that should not be. Parts of the traffic were not captured or not decoded.{unseen}"
        );
        return Verdict { outcome: Outcome::Clean, confidence, message, rule: None };
    }
    let message = format!("{judged} judged, and nothing crossed in clear that should not.{how}{unseen}");
    Verdict { outcome: Outcome::Clean, confidence, message, rule: None }
}
