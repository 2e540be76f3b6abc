//! Why nothing could be judged: what the view holds in, the reason and the next step out. Each reason has a step of its own.

use std::net::IpAddr;

use crate::hops::{Hop, HopTransport};
use crate::model::LossReason;
use crate::rules::quote::{bytes_text, counted, list};
use crate::rules::rule::Role;
use crate::rules::{Finding, Severity, UndecodedFlows, Unjudged, View};

/// Why no S3 call was judged. A finding that tells of a failure says it best; else what was seen, from the outside in.
pub(super) fn reason(findings: &[Finding], view: &View<'_>) -> Unjudged {
    told_by_finding(findings)
        .or_else(|| nothing_captured(view))
        .or_else(|| cut_short(view))
        .or_else(|| unseen_client_hop(view))
        .or_else(|| no_client_request(view))
        .or_else(|| not_decrypted(view))
        .or_else(|| not_s3(view))
        .unwrap_or_else(|| no_http(view))
}

/// Why what was judged is no answer: the client's own hop is not among it, or not wholly.
pub(super) fn unseen_client_hop(view: &View<'_>) -> Option<Unjudged> {
    let client_hops = || view.hops.hops().iter().filter(|hop| view.hops.downstream(hop.id).next().is_none());
    let is_unseen = |hop: &&Hop| hop.calls == 0 && view.hops.upstream(hop.id).is_some();
    if let Some(hop) = client_hops().filter(is_unseen).find(|hop| hop.shut_flows > 0) {
        let reasons: Vec<&str> = view.shut.iter().filter(|shut| shut.hop == hop.id).map(|shut| shut.reason).collect();
        return Some(unjudged(
            format!("the client's own hop, {}, was not decrypted ({})", hop.name, reasons.join(", ")),
            step_for(reasons.first().copied().unwrap_or("no-secret")),
        ));
    }
    if let Some(hop) = client_hops().filter(is_unseen).find(|hop| hop.undecoded_flows > 0) {
        return Some(unjudged(
            format!("the client's own hop, {}, carried plaintext that was not decoded", hop.name),
            "serve TLS on this endpoint; for a capture that can be judged, let the client use HTTP/1.1",
        ));
    }
    let is_cut_head = |row: &&UndecodedFlows| row.reason == LossReason::HeadLimit && client_hops().any(|hop| hop.id == row.hop);
    let row = view.undecoded.iter().find(is_cut_head)?;
    Some(unjudged(
        format!(
            "heads on {} are longer than the limits: {} of header fields were not judged",
            view.hops.name(row.hop),
            bytes_text(row.bytes)
        ),
        "look at the requests with tshark or Wireshark: no server takes heads of this length",
    ))
}

fn unjudged(cause: impl Into<String>, action: impl Into<String>) -> Unjudged {
    Unjudged { cause: cause.into(), action: action.into() }
}

/// A finding of a failure, a cause or worse: a handshake that failed, a tunnel that was refused, plaintext that was not decoded.
fn told_by_finding(findings: &[Finding]) -> Option<Unjudged> {
    let finding = findings.iter().find(|finding| {
        finding.severity > Severity::Note && matches!(finding.rule.role, Role::Failure | Role::Cause | Role::Observation)
    })?;
    let cause = match &finding.cause {
        Some(cause) => format!("{} {cause}", finding.message),
        None => finding.message.clone(),
    };
    let action = finding.fixes.first().map_or_else(|| format!("see {}", finding.rule.name), |fix| fix.action.clone());
    Some(unjudged(cause, action))
}

fn nothing_captured(view: &View<'_>) -> Option<Unjudged> {
    let seen = view.completeness;
    if seen.exchanges > 0 || seen.flows > 0 {
        return None;
    }
    let filter = "check the capture filter and the interface, and that the job ran while capturing";
    Some(match seen.packets {
        0 => unjudged("the capture holds no packets", filter),
        packets if packets == seen.packets_undecodable => unjudged(
            format!("none of {packets} packets could be decoded: their link type or tunnel is not supported"),
            "capture on another interface, or with another link type",
        ),
        packets => unjudged(format!("no TCP connection is among {packets} packets"), filter),
    })
}

fn cut_short(view: &View<'_>) -> Option<Unjudged> {
    let seen = view.completeness;
    let is_much = seen.packets_truncated > 0 && seen.exchanges == 0;
    is_much.then(|| {
        unjudged(
            format!("{} of {} packets are cut (snap length), so that no request is whole", seen.packets_truncated, seen.packets),
            "capture again with the full length of packets (tcpdump -s 0)",
        )
    })
}

/// What a proxy sends by itself, and nothing else: its health checks, decoded or, by their regular times and sizes, not decrypted.
fn no_client_request(view: &View<'_>) -> Option<Unjudged> {
    let seen = view.completeness;
    let log = "the client refused to send, did not run, or used another path: give its log with --client-log, and check that the capture covers the address that the client uses";
    if seen.health_checks > 0 && seen.health_checks == seen.exchanges {
        let hops: Vec<String> = view.hops.hops().iter().filter(|hop| hop.exchanges > 0).map(|hop| hop.name.clone()).collect();
        let rest = undecrypted_beside(view);
        return Some(unjudged(
            format!(
                "no client request reached the wire: all that was decoded are {} on {}{rest}",
                counted(seen.health_checks, "health check", "health checks"),
                list(&hops)
            ),
            log,
        ));
    }
    let regular: Vec<IpAddr> = view.regular.iter().filter(|one| one.is_regular()).map(|one| one.client).collect();
    if seen.exchanges > 0 || regular.is_empty() || view.hops.hops().iter().any(|hop| hop.transport != HopTransport::Tls) {
        return None;
    }
    let others: Vec<String> = view.regular.iter().filter(|one| !one.is_regular()).map(|one| one.client.to_string()).collect();
    let rest = match others.as_slice() {
        [] => String::new(),
        others => format!("; what {} sent was not decrypted", list(others)),
    };
    let clients: Vec<String> = regular.iter().map(ToString::to_string).collect();
    Some(unjudged(
        format!(
            "no client request reached the wire in plaintext: {} sent only undecrypted requests of one size at regular times, as the health checks of a proxy are{rest}",
            list(&clients)
        ),
        format!("if the job used http://, {log}; if it used https://, also give a TLS key log (--keylog)"),
    ))
}

fn undecrypted_beside(view: &View<'_>) -> String {
    let flows: u64 = view.shut.iter().map(|shut| shut.count).sum();
    let bytes: u64 = view.shut.iter().map(|shut| shut.sealed_bytes).sum();
    if flows == 0 {
        return String::new();
    }
    format!(" ({} with {} not decrypted)", counted(flows, "TLS connection", "TLS connections"), bytes_text(bytes))
}

fn not_decrypted(view: &View<'_>) -> Option<Unjudged> {
    let reasons = &view.completeness.tls_undecrypted;
    let all: u64 = reasons.iter().map(|(_, count)| count).sum();
    let (most, _) = reasons.iter().max_by_key(|(_, count)| *count)?;
    let words: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
    let bytes: u64 = view.shut.iter().map(|shut| shut.sealed_bytes).sum();
    Some(unjudged(
        format!(
            "no S3 call was decoded, and {} with {} not decrypted ({})",
            counted(all, "TLS connection was", "TLS connections were"),
            bytes_text(bytes),
            words.join(", ")
        ),
        step_for(most),
    ))
}

/// What to do about TLS that was not decrypted, by its reason.
fn step_for(reason: &str) -> &'static str {
    match reason {
        "no-secret" => {
            "give the TLS key log of the client, the proxy or the store with --keylog FILE (SSLKEYLOGFILE), recorded in the same run as the capture"
        }
        "handshake-not-captured" => {
            "start the capture before the connections are opened (restart the client or the proxy), with the key log of one end"
        }
        "wrong-secret" => "give the key log of the same run as the capture: the secrets given belong to other connections",
        "packet-missing" => "capture again with a larger buffer (tcpdump -B), so that no packet is lost",
        _ => "capture nearer the client, or put hopwire proxy in the path: this kind of TLS cannot be decrypted",
    }
}

fn not_s3(view: &View<'_>) -> Option<Unjudged> {
    let exchanges = view.completeness.exchanges;
    (exchanges > 0).then(|| {
        unjudged(
            format!("none of {} is an S3 call", counted(exchanges, "HTTP exchange", "HTTP exchanges")),
            "check that the capture covers the S3 ports; give --domain for bucket names in host names",
        )
    })
}

fn no_http(view: &View<'_>) -> Unjudged {
    let seen = view.completeness;
    if seen.stream_bytes == 0 {
        return unjudged(
            format!("{} nothing was sent on", counted(seen.flows, "connection was opened, and", "connections were opened, and")),
            "check the client's log: it opened the connection and sent nothing",
        );
    }
    unjudged(
        format!("no HTTP exchange was found in {}", counted(seen.flows, "connection", "connections")),
        "check the capture filter, the interface, and that the job ran while capturing",
    )
}
