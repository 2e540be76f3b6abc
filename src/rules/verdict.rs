//! The one answer of a run: findings and the view in, the worst that holds out. Rules are known by their role alone.

use crate::hops::{Hop, HopTransport};
use crate::rules::quote::{counted, list};
use crate::rules::rule::Role;
use crate::rules::unjudged::{reason, unseen_client_hop};
use crate::rules::{Confidence, Effect, Failed, Finding, Outcome, Severity, Verdict, View};

/// The verdict over the findings that were asked for, which are given the worst first; `left_out` are the others.
pub(super) fn verdict(
    findings: &[Finding],
    left_out: Vec<(&'static str, u64)>,
    committed: Vec<String>,
    view: &View<'_>,
) -> Verdict {
    let failure = failing(findings).map(|finding| Failed { rule: finding.rule.name, message: whole(finding) });
    let decisions =
        [(Role::Leak, Outcome::Leaked), (Role::Refusal, Outcome::RefusedBeforeTheWire), (Role::Exposure, Outcome::Exposed)];
    let decided = decisions.into_iter().find_map(|(role, outcome)| Some((deciding(findings, role)?, outcome)));
    let verdict = match decided {
        Some((finding, outcome)) => Verdict {
            outcome,
            confidence: Some(finding.confidence),
            message: message(outcome, finding, findings, view),
            rule: Some(finding.rule.name),
            failure: None,
            unjudged: None,
            committed: Vec::new(),
            left_out: Vec::new(),
        },
        None => without_findings(findings, view),
    };
    let Verdict { mut message, .. } = verdict;
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|(rule, count)| format!("{rule} ({count})")).collect();
        message += &format!(" Left out by --select or --ignore, though found: {}.", list(&names));
    }
    Verdict { message, failure, committed, left_out, ..verdict }
}

/// The finding of a role that decides: among refusals the surest; leaks and exposures are all certain, so the worst.
fn deciding(findings: &[Finding], role: Role) -> Option<&Finding> {
    let mut own = findings.iter().filter(|finding| finding.rule.role == role);
    let first = own.next()?;
    if role != Role::Refusal {
        return Some(first);
    }
    Some(own.fold(first, |best, one| if one.confidence > best.confidence { one } else { best }))
}

/// What made the job fail: a refusal or failed calls, whichever is worse and surer; of equals the refusal, which no response shows.
fn failing(findings: &[Finding]) -> Option<&Finding> {
    let is_failing = |finding: &&Finding| {
        let is_lasting = finding.severity > Severity::Note && finding.recovered < finding.count.max(1);
        matches!(finding.rule.role, Role::Refusal | Role::Failure) && is_lasting
    };
    let weight = |finding: &Finding| {
        let is_likely = finding.confidence >= Confidence::Likely;
        (finding.severity, is_likely, finding.rule.role == Role::Refusal, finding.count, finding.confidence)
    };
    let mut all = findings.iter().filter(is_failing);
    let first = all.next()?;
    Some(all.fold(first, |best, one| if weight(one) > weight(best) { one } else { best }))
}

/// The message with its cause.
fn whole(finding: &Finding) -> String {
    match &finding.cause {
        Some(cause) => format!("{} Cause: {}.", finding.message, cause.trim_end_matches('.')),
        None => finding.message.clone(),
    }
}

fn message(outcome: Outcome, finding: &Finding, findings: &[Finding], view: &View<'_>) -> String {
    match outcome {
        Outcome::RefusedBeforeTheWire => format!("A client refused to send a request. {}", finding.message),
        Outcome::Leaked => {
            let leaks = findings.iter().filter(|other| other.rule.role == Role::Leak).count();
            let more = if leaks > 1 { format!(" ({leaks} kinds of leak)") } else { String::new() };
            format!("A secret was sent in plaintext{more}. {}", finding.message)
        }
        _ if is_partial(view) => {
            format!(
                "No secret was seen in plaintext, but the capture has gaps, and other things were readable. {}",
                finding.message
            )
        }
        _ => format!("No secret was sent in plaintext, but other things were readable. {}", finding.message),
    }
}

/// Whether what was not seen, or not decoded, may have held anything in plaintext.
fn is_partial(view: &View<'_>) -> bool {
    view.completeness.unseen.is_partial()
}

/// Nothing was readable that should not be. That is clean only where there was something to judge.
fn without_findings(findings: &[Finding], view: &View<'_>) -> Verdict {
    let hops = view.hops.hops();
    let calls: u64 = hops.iter().map(|hop| hop.calls).sum();
    // The client's own hop is what users ask about. Where it was not decrypted, a look at the others is no answer.
    let unjudged = if calls == 0 { Some(reason(findings, view)) } else { unseen_client_hop(view) };
    if let Some(unjudged) = unjudged {
        let message = format!("Nothing was judged: {}.", unjudged.cause.trim_end_matches('.'));
        let outcome = Outcome::NotJudged;
        return Verdict {
            outcome,
            confidence: None,
            message,
            rule: None,
            failure: None,
            unjudged: Some(unjudged),
            committed: Vec::new(),
            left_out: Vec::new(),
        };
    }
    let undecrypted: Vec<String> = hops.iter().filter(|hop| hop.shut_flows > 0).map(|hop| hop.name.clone()).collect();
    let is_all_tls = |hop: &Hop| hop.transport == HopTransport::Tls;
    let how = if hops.iter().filter(|hop| hop.calls > 0).all(is_all_tls) { " All of them were inside TLS." } else { "" };
    let (mut confidence, unseen) = match undecrypted.as_slice() {
        [] if view.completeness.unseen.effect() == Some(Effect::Encrypted) => {
            (Confidence::Likely, " Some encrypted traffic was not decoded.".to_owned())
        }
        [] => (Confidence::Strong, String::new()),
        names => (Confidence::Likely, format!(" Some TLS connections of {} were not decrypted and not judged.", list(names))),
    };
    let judged = counted(calls, "S3 call was", "S3 calls were");
    let message = if is_partial(view) {
        confidence = Confidence::Possible;
        format!(
            "{judged} judged, and nothing was seen in plaintext that should not be. Parts of the traffic were not captured or not decoded.{unseen}"
        )
    } else {
        format!("{judged} judged, and nothing was sent in plaintext that should not be.{how}{unseen}")
    };
    let (outcome, confidence) = (Outcome::Clean, Some(confidence));
    Verdict {
        outcome,
        confidence,
        message,
        rule: None,
        failure: None,
        unjudged: None,
        committed: Vec::new(),
        left_out: Vec::new(),
    }
}
