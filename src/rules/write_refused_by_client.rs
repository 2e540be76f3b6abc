//! Writes that a client seems to have refused to send: a walk that ends where the first PUT had to come.

use crate::hops::ClientId;
use crate::rules::climb::{Climb, Climbs, walks_and_refuses};
use crate::rules::quote::{counted, quote, quote_text};
use crate::rules::{Confidence, Context, Evidence, Finding, Findings, Fix, Step, View, Watch, rule};
use crate::s3::Call;
use crate::s3::client_log::{Branch, Refusal};

rule! {
    /// ## What it reports
    /// A job that looked up its target over http and never wrote: Hadoop S3A over an SDK that refuses SSE-KMS over http walked
    /// from the directory it wanted to make up to the top of the bucket, and the write of its marker did not follow. It fires
    /// on plaintext hops only. From the wire alone it is `possible`, `likely` where the walk is complete; `certain` where the
    /// client's log has the refusal (`--client-log`) and nothing of the client's connections is missing, else `strong`.
    ///
    /// ## Why it matters
    /// With SSE-KMS set in Spark, the AWS SDK for Java 1.x refuses the first PUT. The exception speaks of customer keys
    /// (SSE-C), but with those not even the first HEAD would have been sent.
    ///
    /// ## Example
    /// `HEAD t/_temporary/0`, `HEAD t/_temporary`, `HEAD t`, all 404, and then nothing more from this client.
    ///
    /// ## What to do
    /// Serve TLS on the proxy's front, or set SSE-S3 in place of SSE-KMS, or move to Hadoop 3.4 (the key id is then readable).
    "write-refused-by-client" Warning Refusal since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    clients: Vec<Option<Watched>>,
}

enum Watched {
    No,
    Yes(Box<Climbs>),
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        if !context.is_clear {
            return;
        }
        let index = context.client.0 as usize;
        if index >= self.clients.len() {
            self.clients.resize_with(index + 1, || None);
        }
        let Some(slot) = self.clients.get_mut(index) else {
            return;
        };
        if slot.is_none() {
            *slot = Some(if walks_and_refuses(context) { Watched::Yes(Box::default()) } else { Watched::No });
        }
        if let Some(Watched::Yes(climbs)) = slot {
            climbs.handle_call(call);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, watched) in (0..).map(ClientId).zip(&self.clients) {
            let Some(Watched::Yes(climbs)) = watched else {
                continue;
            };
            let found = climbs.without_write(view.now);
            if let Some(finding) = render(client, &found, view) {
                findings.report(finding);
            }
        }
    }
}

fn render(client: ClientId, found: &[&Climb], view: &View<'_>) -> Option<Finding> {
    let best = found.iter().max_by_key(|climb| (climb.is_of_committer(), climb.is_complete(), climb.sights.count))?;
    let about = view.clients.client(client)?;
    let proof = view.logs.iter().find_map(|(file, log)| Some((file, log.refusals.iter().find(|refusal| is_write(refusal))?)));
    let is_whole = view.gaps.of(about.hop, about.ip).is_complete() && view.completeness.packets_dropped == 0;
    // The look-ups were sent, so it was not SSE-C that was refused: the text alone proves the rest, where nothing is missing.
    let confidence = match proof {
        Some((_, refusal)) if refusal.branch == Some(Branch::KmsParams) || is_whole => Confidence::Certain,
        Some(_) => Confidence::Strong,
        None if best.is_complete() && best.is_of_committer() && is_whole => Confidence::Likely,
        None => Confidence::Possible,
    };
    let target = format!("{}/{}", quote(&best.bucket), quote(&best.deepest));
    let message = format!(
        "{} looked up {target} and its parents on {} and never wrote. Nothing else is seen that stopped it.",
        view.client_text(client),
        view.hop_name(about.hop)
    );
    let version = about.version.as_deref().map(|version| format!(" {}", quote_text(version))).unwrap_or_default();
    let cause = format!(
        "{}{version} refuses to send writes with SSE-KMS over http:// ({})",
        about.sdk.label(),
        if proof.is_some() { "the client's log has its text" } else { "SSE-KMS set in the client is the likely reason; its log would prove it: --client-log" }
    );
    let mut finding = Finding::new(&RULE, confidence, Some(about.hop), found.len() as u64, message)
        .caused_by(cause)
        .about("client", view.client_text(client))
        .about("bucket", quote(&best.bucket))
        .about("target", quote(&best.deepest));
    let reach = if best.is_complete() { "up to the top of the bucket" } else { "and stopped on the way up" };
    finding.chain = vec![
        Step {
            step: format!("S3A looked for {target} and its parents, {} with response 404, {reach}. It does so before it makes a directory.", counted(best.sights.count, "HEAD", "HEADs")),
            evidence: best.sights.evidence(),
        },
        Step { step: "No PUT and no multipart upload by this client followed, nor came before.".to_owned(), evidence: Vec::new() },
        Step {
            step: "The HEADs were sent, so it is not SSE-C: that SDK refuses those with a customer key too. A job that was stopped from outside looks the same.".to_owned(),
            evidence: Vec::new(),
        },
    ];
    for climb in found.iter().take(4) {
        finding.evidence.extend(climb.sights.evidence());
    }
    if let Some((file, refusal)) = proof {
        let evidence = Evidence { log_line: Some((file.clone(), refusal.line)), ..Evidence::default() };
        finding.evidence.push(evidence.clone());
        finding.chain.push(Step { step: format!("The client's own log has the refusal: {}", refusal.known.text()), evidence: vec![evidence] });
    }
    Some(finding.fixed_by(Fix::tls_on_the_front()).fixed_by(sse_s3()).fixed_by(newer_hadoop()))
}

/// A refusal of something else than a copy, and not for a customer key.
fn is_write(refusal: &Refusal) -> bool {
    refusal.operation.as_deref() != Some("copyFile") && refusal.may_be_kms()
}

fn sse_s3() -> Fix {
    Fix::tested(
        "set SSE-S3 in place of SSE-KMS in Spark: fs.s3a.server-side-encryption-algorithm=AES256 (from 3.3.2 on: fs.s3a.encryption.algorithm=SSE-S3)",
        "objects are not under SSE-KMS; copies of older KMS objects are still refused",
    )
}

fn newer_hadoop() -> Fix {
    Fix::tested(
        "move to Hadoop 3.4 or later (AWS SDK for Java 2.x), with TLS on the front first",
        "the newer SDK refuses nothing: over http, algorithm and key id are readable in every PUT and COPY",
    )
}
