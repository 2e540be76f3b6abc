//! Why calls failed: a failure and what else was found in, its cause and its fix out.

use crate::hops::HopId;
use crate::rules::rule::Role;
use crate::rules::{Finding, Fix, Severity, Step, View};
use crate::s3::error_advice::{Advice, of_proxy, of_store};

/// Gives each failure without a cause the finding that explains it, else what its code usually means; and each disclosure
/// the hop that it happened on.
pub(super) fn explain(findings: &mut [Finding], view: &View<'_>) {
    for finding in findings.iter_mut() {
        fill_in(finding, view);
        if matches!(finding.rule.role, Role::Leak | Role::Exposure) && finding.cause.is_none() {
            finding.cause = finding.hop.map(|hop| by_hop(hop, view));
        }
    }
    for at in 0..findings.len() {
        let Some(failure) = findings.get(at).filter(|one| one.rule.role == Role::Failure && one.cause.is_none() && !one.is_usual)
        else {
            continue;
        };
        let explained = match explaining(failure, findings, view) {
            Some(cause) => Some(by_finding(cause)),
            None => by_code(failure, view).or_else(|| unknown(failure, view)),
        };
        if let (Some(explained), Some(failure)) = (explained, findings.get_mut(at)) {
            failure.cause = Some(explained.cause);
            failure.chain.extend(explained.step);
            failure.fixes.extend(explained.fixes);
        }
    }
}

/// Says what to do at the server of the finding's hop, where TLS on it is a fix.
pub(super) fn fill_in(finding: &mut Finding, view: &View<'_>) {
    let Some(hop) = finding.hop.and_then(|hop| view.hops.hop(hop)) else {
        return;
    };
    let servers: Vec<String> = hop.servers.iter().take(2).map(ToString::to_string).collect();
    for fix in finding.fixes.iter_mut().filter(|fix| fix.is_front && !servers.is_empty()) {
        let note = fix.note.take();
        *fix = Fix { note, ..Fix::tls_on(view.hops.software(hop.id), &servers.join(" and ")) };
    }
}

struct Explained {
    cause: String,
    step: Option<Step>,
    fixes: Vec<Fix>,
}

/// The finding for which most calls were refused with the status of this failure, on the same path.
fn explaining<'f>(failure: &Finding, findings: &'f [Finding], view: &View<'_>) -> Option<&'f Finding> {
    let status: u16 = failure.subject_of("status")?.parse().ok()?;
    let client = failure.subject_of("client");
    let is_cause = |one: &&Finding| {
        let is_same_client = one.subject_of("client").is_none_or(|own| Some(own) == client);
        one.rule.name != failure.rule.name && is_same_client && is_same_path(one.hop, failure.hop, view)
    };
    let refused = |one: &Finding| one.refused.filter(|(with, _)| *with == status).map(|(_, calls)| calls);
    findings.iter().filter(is_cause).filter(|one| refused(one).is_some()).max_by_key(|one| refused(one))
}

/// Whether two hops are one, or one leads to the other.
fn is_same_path(one: Option<HopId>, other: Option<HopId>, view: &View<'_>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    let leads = |from: HopId, to: HopId| {
        let next = |at: &HopId| view.hops.upstream(*at);
        std::iter::successors(Some(from), next).take(view.hops.hops().len()).any(|at| at == to)
    };
    leads(one, other) || leads(other, one)
}

fn by_finding(cause: &Finding) -> Explained {
    let text = cause.cause.clone().unwrap_or_else(|| first_sentence(&cause.message).to_owned());
    let step = Step { step: cause.message.clone(), evidence: cause.evidence.clone() };
    Explained { cause: text, step: Some(step), fixes: cause.fixes.clone() }
}

/// Why anything is readable at all.
fn by_hop(hop: HopId, view: &View<'_>) -> String {
    let servers = view.hops.hop(hop).map(|hop| hop.server_texts().into_iter().take(2).collect::<Vec<_>>());
    let server =
        servers.filter(|servers| !servers.is_empty()).map(|servers| format!(" ({})", servers.join(", "))).unwrap_or_default();
    let behind = match view.upstream_in_tls(hop) {
        Some(next) => format!(" The proxy re-encrypts to the store ({}), so the store cannot detect this", view.hop_name(next)),
        None => String::new(),
    };
    let end = if behind.is_empty() { "" } else { "." };
    format!("The clients use plain HTTP on {}{server}{end}{behind}", view.hop_name(hop))
}

fn by_code(failure: &Finding, view: &View<'_>) -> Option<Explained> {
    let status: u16 = failure.subject_of("status")?.parse().ok()?;
    let code = failure.subject_of("code").unwrap_or_default();
    let sent_by = failure.subject_of("sent_by").unwrap_or("unknown");
    let from_proxy = !matches!(sent_by, "store" | "unknown");
    let is_sts = failure.subject_of("operations").is_some_and(|operations| operations.starts_with("AssumeRole"));
    if is_sts && !from_proxy && matches!(status, 400 | 401 | 403) {
        return Some(Explained {
            cause: "The token service does not accept the identity in these requests (token, or user and password)".to_owned(),
            step: None,
            fixes: vec![Fix::untested(
                "get a new token, or check user and password, and the identity provider that the store is configured with",
                "",
            )],
        });
    }
    if code == "SignatureDoesNotMatch"
        && let Some(hop) = failure.hop
    {
        let joined = failure.subject_of("seen_on_next_hop").and_then(|joined| joined.parse().ok()).unwrap_or(0_u64);
        return Some(by_signature(hop, joined >= failure.count, view));
    }
    let advice = if from_proxy { of_proxy(status) } else { of_store(status, code) };
    advice.map(|Advice { cause, action }| Explained {
        cause: capitalised(cause),
        step: None,
        fixes: vec![Fix::untested(action, "")],
    })
}

/// A failure of calls that nothing explains: then the report says so, and where to look.
fn unknown(failure: &Finding, view: &View<'_>) -> Option<Explained> {
    let status = failure.subject_of("status")?;
    if failure.severity != Severity::Error || status == "none" {
        return None;
    }
    let hop = failure.hop.and_then(|hop| view.hops.hop(hop));
    let server = hop.and_then(|hop| hop.servers.first()).map_or_else(|| "the server".to_owned(), ToString::to_string);
    Some(Explained {
        cause: format!("Not known from this capture: the response has status {status} and no reason that is known"),
        step: None,
        fixes: vec![Fix::untested(&format!("look at the log of {server} at the time of these frames"), "")],
    })
}

/// No change of the request was seen. Whether there may be one depends on how far the path was seen.
fn by_signature(hop: HopId, is_joined: bool, view: &View<'_>) -> Explained {
    let compare = "compare the secret key of this access key in the client and in the store";
    let behind = view.hops.upstream(hop).and_then(|next| view.hops.hop(next));
    let is_proxy = view.hops.software(hop).is_some_and(|word| PROXIES.contains(&word));
    let (cause, more) = match behind {
        Some(next) if next.calls > 0 && !is_joined => (
            format!(
                "the store computed another signature: the secret key is wrong, or the proxy changed something that was signed (not all of these calls could be found on {})",
                next.name
            ),
            Some(format!("compare method, path and headers of one failed call on {} and {}", view.hop_name(hop), next.name)),
        ),
        Some(next) if next.calls > 0 => (
            format!(
                "the store computed another signature, and nothing that was signed differs between {} and {}: the client's secret key is not the one that the store has",
                view.hop_name(hop),
                next.name
            ),
            None,
        ),
        Some(next) => (
            format!(
                "the store computed another signature: the secret key is wrong, or the proxy changed something that was signed ({} is not decrypted, so this capture cannot tell which)",
                next.name
            ),
            Some(format!("decrypt {} with the key log of the proxy or the store (--keylog)", next.name)),
        ),
        None if is_proxy => (
            "the store computed another signature: the secret key is wrong, or the proxy changed something that was signed (its other side is not in this capture)".to_owned(),
            Some("capture the other side of the proxy too: the changed header or path is then named".to_owned()),
        ),
        None => (
            "the store computed another signature, and no proxy is seen on this path: the client's secret key is not the one that the store has".to_owned(),
            None,
        ),
    };
    let mut fixes = vec![Fix::untested(compare, "")];
    fixes.extend(more.map(|more| Fix::untested(&more, "")));
    Explained { cause: capitalised(&cause), step: None, fixes }
}

/// Words that proxies give themselves in `Server`.
const PROXIES: [&str; 11] =
    ["sidekick", "proxy", "nginx", "openresty", "haproxy", "envoy", "istio-envoy", "squid", "cloudflare", "caddy", "varnish"];

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
