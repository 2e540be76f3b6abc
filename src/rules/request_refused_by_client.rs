//! Refusals that only the client's log shows.

use foldhash::{HashMap, HashMapExt as _};

use crate::rules::climb::{Climbs, walks_and_refuses};
use crate::rules::quote::{counted, quote_text};
use crate::rules::{Confidence, Context, Evidence, Finding, Findings, Fix, Step, View, Watch, rule};
use crate::s3::client_log::{Branch, ClientLog, Refusal};
use crate::s3::refusals::{Known, Refused};
use crate::s3::{Call, Operation, Sdk};

rule! {
    /// ## What it reports
    /// Requests that a client refused to send by its own log (`--client-log`), where nothing of them is on the wire. It knows the
    /// texts of the AWS SDKs, MinIO's SDKs, object_store, pgBackRest, s3fs, rclone and others: server-side encryption over http,
    /// bodies that need TLS, credentials of a container fetched over http, every request to an `http://` address. Texts that have other causes too
    /// count only where no upload of that SDK is on the wire, and never as more than `likely`. Refused copies whose object is
    /// seen, and refused writes whose look-ups are seen, have rules of their own.
    ///
    /// ## Why it matters
    /// With SSE-C set, the AWS SDK for Java 1.x and others refuse even the first HEAD over http: not so much as a connection is
    /// opened, so no capture can show it, and a capture without traffic looks like a job that never ran.
    ///
    /// ## Example
    /// "HTTPS must be used when sending customer encryption keys (SSE-C) to S3" in the log of a job, and no request of it in
    /// the capture. "unseekable stream is not supported without TLS and trailing checksum" of the AWS SDK for Go 2.
    ///
    /// ## What to do
    /// Serve TLS on the endpoint; where there is another way to have the request sent, the finding names it. For SSE-C, do not move
    /// to a newer SDK before that: those that refuse nothing send the raw key in plaintext.
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
    /// The SDKs that uploaded something over plain HTTP.
    uploaders: Vec<Sdk>,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        if context.view.logs.is_empty() || !context.is_clear {
            return;
        }
        self.handle_climb(call, context);
        if call.is_success() && matches!(call.operation, Operation::PUT_OBJECT | Operation::UPLOAD_PART) {
            let sdk = context.view.clients.client(context.client).map(|client| client.sdk);
            self.uploaders.extend(sdk.filter(|sdk| !self.uploaders.contains(sdk)));
        }
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
            let unseen: Vec<&Refusal> = log.refusals.iter().filter(|refusal| self.is_unseen(refusal, &copies, walks)).collect();
            let mut kinds: Vec<(&'static str, Refused, Option<Branch>)> = Vec::new();
            let kind_of = |refusal: &Refusal| (refusal.known.client, refusal.known.refused, refusal.branch);
            for refusal in &unseen {
                if !kinds.contains(&kind_of(refusal)) {
                    kinds.push(kind_of(refusal));
                }
            }
            for kind in kinds {
                let same: Vec<&Refusal> = unseen.iter().copied().filter(|refusal| kind_of(refusal) == kind).collect();
                if let Some(finding) = render(file, &same, view) {
                    findings.report(finding);
                }
            }
        }
    }
}

impl State {
    /// Whether no rule that looks at the wire reports this refusal, and the wire does not speak against it.
    fn is_unseen(&self, refusal: &Refusal, copies: &HashMap<u64, bool>, walks: bool) -> bool {
        if refusal.known.is_weak && self.uploaders.contains(&refusal.known.sdk) {
            return false;
        }
        if refusal.known.refused != Refused::Sse {
            return true;
        }
        match (&refusal.operation, &refusal.source_key) {
            (Some(operation), Some(key)) if operation == "copyFile" => !copies.get(&hash(key.as_bytes())).is_some_and(|seen| *seen),
            _ => !walks || refusal.is_about_customer_key(),
        }
    }

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
    let known = first.known;
    let is_whole = view.gaps.total().is_complete() && view.completeness.packets_dropped == 0;
    let confidence = match () {
        () if known.is_weak => Confidence::Likely,
        () if first.branch.is_some() || is_whole => Confidence::Certain,
        () => Confidence::Strong,
    };
    let message = format!(
        "{} by {} according to its log, and nothing of it is on the wire. {}",
        counted(refusals.len() as u64, "request was refused before it was sent", "requests were refused before they were sent"),
        known.client,
        about(first)
    );
    let line = |refusal: &Refusal| Evidence { log_line: Some((file.to_owned(), refusal.line)), ..Evidence::default() };
    let mut evidence: Vec<Evidence> = refusals.iter().take(4).map(|refusal| line(refusal)).collect();
    evidence.extend(refusals.iter().skip(4).next_back().map(|refusal| line(refusal)));
    let mut finding = Finding::new(&RULE, confidence, None, refusals.len() as u64, message)
        .caused_by(cause(first))
        .about("sdk", known.sdk.label())
        .about("text", known.text())
        .shown_by(evidence);
    if let Some(operation) = &first.operation {
        finding = finding.about("operation", quote_text(operation));
    }
    if let Some(key) = &first.source_key {
        finding = finding.about("key", quote_text(key));
    }
    finding.chain = vec![
        Step { step: format!("The log has the client's text: {}", known.text()), evidence: vec![line(first)] },
        Step { step: "The request, or what comes before it, is not in the capture.".to_owned(), evidence: Vec::new() },
    ];
    if known.is_weak {
        finding.chain.push(Step {
            step: "The same text has other causes too; no upload of this SDK over plain HTTP is on the wire.".to_owned(),
            evidence: Vec::new(),
        });
    }
    finding.fixes = fixes(known);
    Some(finding)
}

/// What was refused, in a sentence.
fn about(refusal: &Refusal) -> &'static str {
    match (refusal.known.refused, refusal.branch) {
        (_, Some(Branch::KmsParams)) => "It was refused for KMS parameters; no customer key (SSE-C) is involved, whatever the text says.",
        (_, Some(Branch::CustomerKey)) => "It was refused for a customer key (SSE-C).",
        (_, Some(Branch::CopyObjectCustomerKey | Branch::CopyPartCustomerKey)) => "It was refused for a customer key (SSE-C) of a copy.",
        (Refused::Sse, None) => "The log does not say which encryption was requested: look at the client's configuration.",
        (Refused::Body, None) => "The body of an upload cannot be sent over plain HTTP in this way.",
        (Refused::AnyRequest, None) => "This client sends nothing to an http:// address unless that is allowed.",
        (Refused::Credentials, None) => "The client refused to fetch credentials over http, so that no signed request followed.",
        (Refused::Bearer, None) => "The client refused to send a bearer token over http.",
        (Refused::WrongScheme, None) => "The client spoke TLS to a port that does not.",
        (Refused::NotRefused, None) => "",
    }
}

/// Why, after `Cause:`.
fn cause(refusal: &Refusal) -> String {
    let client = refusal.known.client;
    match refusal.known.refused {
        Refused::Sse => format!("{client} does not send encryption keys or key ids over http://, and the endpoint is http://"),
        Refused::Body => format!("{client} must sign the body over http://, and this body cannot be read twice or is not to be signed"),
        Refused::AnyRequest => format!("{client} refuses http:// endpoints by default"),
        Refused::Credentials => {
            format!("{client} fetches container credentials over http:// from loopback and the addresses of ECS and EKS only")
        }
        Refused::Bearer => format!("{client} sends bearer tokens over https:// only"),
        Refused::WrongScheme => format!("{client} speaks https:// only, and the port speaks plain HTTP"),
        Refused::NotRefused => String::new(),
    }
}

/// Ways out that fit what was refused.
fn fixes(known: &Known) -> Vec<Fix> {
    let mut fixes = Vec::new();
    match known.refused {
        Refused::Credentials => fixes.push(Fix::untested(
            "serve the container credentials over https, or from a loopback, ECS or EKS address (AWS_CONTAINER_CREDENTIALS_FULL_URI)",
            "",
        )),
        Refused::Bearer => fixes.push(Fix::untested("use https for the service that the token is for", "")),
        _ => fixes.push(Fix::tls_on_the_front()),
    }
    if !known.fix.is_empty() {
        fixes.push(Fix::untested(known.fix, ""));
    }
    if known.refused == Refused::Sse && known.sdk == Sdk::JavaV1 {
        fixes.push(Fix::tested(
            "only after that: move to Hadoop 3.4 or later (AWS SDK for Java 2.x)",
            "over http the newer SDK sends what the older one refused: with SSE-C the raw key is readable",
        ));
    }
    fixes
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
