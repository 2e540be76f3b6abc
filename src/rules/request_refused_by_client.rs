//! Refusals that only the client's log shows.

use foldhash::{HashMap, HashMapExt as _};

use crate::rules::climb::{Climbs, walks_and_refuses};
use crate::rules::quote::{counted, quote_text};
use crate::rules::{Confidence, Context, Evidence, Finding, Findings, Fix, Step, View, Watch, rule};
use crate::s3::client_log::{Branch, ClientLog, Refusal};
use crate::s3::{Call, Operation, Sdk};

rule! {
    /// ## What it reports
    /// Requests that a client refused to send by its own log (`--client-log`), where nothing of them is on the wire. Refused
    /// copies whose object is seen, and refused writes whose look-ups are seen, have rules of their own.
    ///
    /// ## Why it matters
    /// With SSE-C set, the AWS SDK for Java 1.x and others refuse even the first HEAD over http: not so much as a connection is
    /// opened, so no capture can show it, and a capture without traffic looks like a job that never ran.
    ///
    /// ## Example
    /// "HTTPS must be used when sending customer encryption keys (SSE-C) to S3" in the log of a job, and no request of it in
    /// the capture.
    ///
    /// ## What to do
    /// Serve TLS on the endpoint. Do not move to a newer SDK before that: those that refuse nothing send the raw key in clear.
    "request-refused-by-client" Error Refusal since "0.1.0"
}

/// How many refused copies are looked for on the wire.
const COPIES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct State {
    /// The keys of refused copies by a digest, and whether the wire shows their objects.
    copies: Option<HashMap<u64, bool>>,
    /// By the client's number: its walks, where it is one that refuses.
    climbs: Vec<Option<Option<Box<Climbs>>>>,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        if context.view.logs.is_empty() || !context.is_clear {
            return;
        }
        self.handle_climb(call, context);
        let copies = self.copies.get_or_insert_with(|| keys_of_copies(context.view.logs));
        let key = match call.operation {
            Operation::HEAD_OBJECT | Operation::PUT_OBJECT => call.address.key.as_deref(),
            _ => None,
        };
        if let Some(seen) = key.and_then(|key| copies.get_mut(&hash(key))) {
            *seen = true;
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let copies = self.copies.take().unwrap_or_else(|| keys_of_copies(view.logs));
        let walks = self.climbs.iter().flatten().flatten().any(|climbs| !climbs.without_write(view.now).is_empty());
        for (file, log) in view.logs {
            let is_unseen = |refusal: &&Refusal| match (&refusal.operation, &refusal.source_key) {
                (Some(operation), Some(key)) if operation == "copyFile" => !copies.get(&hash(key.as_bytes())).is_some_and(|seen| *seen),
                _ => !walks || matches!(refusal.branch, Some(Branch::CustomerKey | Branch::CopyObjectCustomerKey | Branch::CopyPartCustomerKey)),
            };
            let unseen: Vec<&Refusal> = log.refusals.iter().filter(is_unseen).collect();
            let mut kinds: Vec<(Sdk, Option<Branch>)> = Vec::new();
            for refusal in &unseen {
                if !kinds.contains(&(refusal.sdk, refusal.branch)) {
                    kinds.push((refusal.sdk, refusal.branch));
                }
            }
            for kind in kinds {
                let same: Vec<&Refusal> = unseen.iter().copied().filter(|refusal| (refusal.sdk, refusal.branch) == kind).collect();
                if let Some(finding) = render(file, &same, view) {
                    findings.report(finding);
                }
            }
        }
    }
}

impl State {
    fn handle_climb(&mut self, call: &Call<'_>, context: &Context<'_>) {
        let index = context.client.0 as usize;
        if index >= self.climbs.len() {
            self.climbs.resize_with(index + 1, || None);
        }
        let Some(slot) = self.climbs.get_mut(index) else {
            return;
        };
        if let Some(climbs) = slot.get_or_insert_with(|| walks_and_refuses(context).then(Box::default)) {
            climbs.handle_call(call);
        }
    }
}

fn render(file: &str, refusals: &[&Refusal], view: &View<'_>) -> Option<Finding> {
    let first = refusals.first()?;
    let is_whole = view.gaps.total().is_complete() && view.completeness.packets_dropped == 0;
    let confidence = if first.branch.is_some() || is_whole { Confidence::Certain } else { Confidence::Strong };
    let kind = match first.branch {
        Some(Branch::KmsParams) => "It was refused for KMS parameters; no customer key (SSE-C) is involved, whatever the text says.",
        Some(Branch::CustomerKey) => "It was refused for a customer key (SSE-C).",
        Some(Branch::CopyObjectCustomerKey | Branch::CopyPartCustomerKey) => "It was refused for a customer key (SSE-C) of a copy.",
        None => "The log does not tell which encryption was asked for: look at the client's configuration.",
    };
    let message = format!(
        "{} by {} according to its log, and nothing of it is on the wire. {kind}",
        counted(refusals.len() as u64, "request was refused before it was sent", "requests were refused before they were sent"),
        first.sdk.label()
    );
    let line = |refusal: &Refusal| Evidence { log_line: Some((file.to_owned(), refusal.line)), ..Evidence::default() };
    let mut evidence: Vec<Evidence> = refusals.iter().take(4).map(|refusal| line(refusal)).collect();
    evidence.extend(refusals.iter().skip(4).next_back().map(|refusal| line(refusal)));
    let mut finding = Finding::new(&RULE, confidence, None, refusals.len() as u64, message).about("text", first.text).shown_by(evidence);
    if let Some(operation) = &first.operation {
        finding = finding.about("operation", quote_text(operation));
    }
    if let Some(key) = &first.source_key {
        finding = finding.about("key", quote_text(key));
    }
    finding.chain = vec![
        Step { step: format!("The log has the client's refusal: {}", first.text), evidence: vec![line(first)] },
        Step { step: "The request, or what comes before it, is not in the capture.".to_owned(), evidence: Vec::new() },
    ];
    Some(finding.fixed_by(Fix::tls_on_the_front()).fixed_by(Fix::tested(
        "only after that: move to Hadoop 3.4 or later (AWS SDK for Java 2.x)",
        "over http the newer SDK sends what the older one refused: with SSE-C the raw key crosses in clear",
    )))
}

fn keys_of_copies(logs: &[(String, ClientLog)]) -> HashMap<u64, bool> {
    let mut copies = HashMap::new();
    let refusals = logs.iter().flat_map(|(_, log)| &log.refusals).filter(|refusal| refusal.operation.as_deref() == Some("copyFile"));
    for key in refusals.filter_map(|refusal| refusal.source_key.as_deref()).take(COPIES_MAX) {
        copies.insert(hash(key.as_bytes()), false);
    }
    copies
}

fn hash(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::quality::FixedState::with_seed(5).build_hasher();
    hasher.write(key);
    hasher.finish()
}
