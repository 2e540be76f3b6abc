//! The account of a refused copy: how sure, by which steps, and what to do.

use std::time::Duration;

use crate::hops::{ClientId, HopId};
use crate::rules::copy_refused_by_client::story::{SILENCE_MIN, Story, Write};
use crate::rules::copy_refused_by_client::{Group, RULE};
use crate::rules::quote::{bytes_text, counted, list, quote, quote_text};
use crate::rules::{Confidence, Evidence, Finding, Fix, Step, View};
use crate::s3::client_log::{Branch, Refusal};
use crate::s3::policy::{SseRequest, Verdict, over_http};

/// The finding of a job whose copies did not come; `None` where there is no reason to think of a refusal.
pub(super) fn render(story: &Story<'_>, client: ClientId, group: &Group, view: &View<'_>) -> Option<Finding> {
    if group.has_kms_copy {
        return None;
    }
    let proof = story.writes.iter().find_map(|write| proof(write, view).map(|proof| (*write, proof)));
    let judged = story.writes.iter().filter_map(|write| Some((*write, from_wire(write, story, group, view)?)));
    let best = judged.max_by_key(|(write, confidence)| (*confidence, write.heads.count, std::cmp::Reverse(write.since())));
    let (write, on_wire) = match (&proof, best) {
        (Some((write, _)), on_wire) => (*write, on_wire.map(|(_, confidence)| confidence)),
        (None, Some((write, confidence))) => (write, Some(confidence)),
        (None, None) => return None,
    };
    let about = view.clients.client(client)?;
    let weak = Weakness::of(client, view);
    let confidence = match (&proof, on_wire) {
        (Some((_, proof)), _) if proof.refusal.branch == Some(Branch::KmsParams) => Confidence::Certain,
        (Some(_), _) => Confidence::Strong,
        (None, Some(confidence)) => weak.lower(confidence),
        (None, None) => return None,
    };
    let stuck: Vec<&Write> =
        story.writes.iter().copied().filter(|other| from_wire(other, story, group, view).is_some() || std::ptr::eq(*other, write)).collect();
    let id = quote(&write.key_id);
    let target = format!("{}/{}", quote(story.bucket), quote(story.root));
    let sdk = format!(
        "{}{}",
        about.sdk.label(),
        about.version.as_deref().map(|version| format!(" {}", quote_text(version))).unwrap_or_default()
    );
    let message = format!(
        "The client did not send {} (under {target}). No customer key (SSE-C) is involved, whatever the exception says. The store returned \
         the key id {id} in its HEAD responses, and S3A puts it into the COPY.",
        counted(stuck.len() as u64, "COPY request", "COPY requests"),
    );
    let cause = format!("{sdk} rejects KMS parameters over http://, and the store had returned a KMS key id in its HEAD responses");
    let mut finding = Finding::new(&RULE, confidence, Some(about.hop), stuck.len() as u64, message)
        .caused_by(cause)
        .about("client", view.client_text(client))
        .about("bucket", quote(story.bucket))
        .about("target", quote(story.root))
        .about("key", quote(&write.key))
        .about("kms_key_id", id);
    finding.chain = chain(write, client, &proof.map(|(_, proof)| proof), &weak, view);
    for stuck in stuck.iter().take(3) {
        finding.evidence.extend(stuck.put.iter().map(|put| put.evidence()));
        finding.evidence.extend(stuck.heads.evidence());
    }
    finding.fixes = fixes(write, about.hop, view);
    Some(finding)
}

/// What the wire alone tells of one object, if the view were complete.
fn from_wire(write: &Write, story: &Story<'_>, group: &Group, view: &View<'_>) -> Option<Confidence> {
    let is_settled = write.deleted.is_some() || view.age(write.last) >= SILENCE_MIN;
    let retries = write.gaps().len();
    let mut confidence = if write.tells_of_refusal() {
        if is_settled { Confidence::Strong } else { Confidence::Possible }
    } else if write.deleted.is_some() && write.heads.count >= 2 {
        Confidence::Likely
    } else if write.heads.count >= 3 && retries >= 1 {
        Confidence::Possible
    } else {
        return None;
    };
    if write.put.is_none() {
        confidence = confidence.min(Confidence::Likely);
    }
    if write.head_failures > 0 {
        confidence = confidence.min(Confidence::Likely);
    }
    let until = write.last.after(SILENCE_MIN);
    for copy in group.copies.iter().filter(|copy| copy.at >= write.since() && copy.at <= until) {
        // A copy within the same job: this client sends copies, so the missing one has another reason.
        if copy.bucket == story.bucket && copy.root == story.root {
            return None;
        }
        let is_other_process = copy.process.is_some() && write.process.is_some() && copy.process != write.process;
        if !is_other_process {
            confidence = Confidence::Possible;
        }
    }
    Some(confidence)
}

/// A line of a client log that tells of this very copy.
struct Proof<'v> {
    file: &'v str,
    refusal: &'v Refusal,
}

fn proof<'v>(write: &Write, view: &View<'v>) -> Option<Proof<'v>> {
    let is_about = |refusal: &Refusal| {
        let is_copy = refusal.operation.as_deref() == Some("copyFile");
        let named = refusal.source_key.as_deref().is_some_and(|source| {
            source.as_bytes() == write.key || source.as_bytes().ends_with(&[b"/", write.bucket.as_slice(), b"/", &write.key].concat())
        });
        is_copy && named && refusal.may_be_kms()
    };
    view.logs.iter().find_map(|(file, log)| {
        let proofs = || log.refusals.iter().filter(|refusal| is_about(refusal));
        let refusal = proofs().find(|refusal| refusal.branch.is_some()).or_else(|| proofs().next())?;
        Some(Proof { file, refusal })
    })
}

/// What is missing of the view on this client.
struct Weakness {
    words: Vec<String>,
    /// Octets of what the client sent are missing: a COPY may have been among them.
    is_grave: bool,
}

impl Weakness {
    fn of(client: ClientId, view: &View<'_>) -> Self {
        let gaps = view.clients.client(client).map(|client| view.gaps.of(client.hop, client.ip)).unwrap_or_default();
        let dropped = view.completeness.packets_dropped;
        let parts = [
            (dropped, counted(dropped, "packet was dropped", "packets were dropped")),
            (gaps.without_start, counted(gaps.without_start, "connection began before the capture", "connections began before the capture")),
            (gaps.one_sided, counted(gaps.one_sided, "connection was seen in one direction", "connections were seen in one direction")),
            (gaps.client_bytes_missing, format!("{} that it sent are missing", bytes_text(gaps.client_bytes_missing))),
            (gaps.server_bytes_missing, format!("{} of answers are missing", bytes_text(gaps.server_bytes_missing))),
        ];
        let words = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        Self { words, is_grave: gaps.client_bytes_missing > 0 || gaps.one_sided > 0 }
    }

    const fn lower(&self, confidence: Confidence) -> Confidence {
        match (self.words.len(), self.is_grave, confidence) {
            (0, ..) => confidence,
            (1, false, Confidence::Certain | Confidence::Strong) => Confidence::Likely,
            _ => Confidence::Possible,
        }
    }
}

fn chain(write: &Write, client: ClientId, proof: &Option<Proof<'_>>, weak: &Weakness, view: &View<'_>) -> Vec<Step> {
    let key = format!("{}/{}", quote(&write.bucket), quote(&write.key));
    let id = quote(&write.key_id);
    let first_head = write.heads.evidence().into_iter().next();
    let mut chain = vec![
        Step { step: put_step(write, &key), evidence: write.put.iter().map(|put| put.evidence()).collect() },
        Step {
            step: format!("The response to a HEAD of it has the key id {id}."),
            evidence: first_head.iter().cloned().collect(),
        },
        Step { step: policy_step(client, view), evidence: first_head.into_iter().collect() },
        absence_step(write),
        Step { step: doubts(weak), evidence: Vec::new() },
    ];
    if let Some(Proof { file, refusal }) = proof {
        let branch = match refusal.branch {
            Some(branch) => format!(
                "; the two stack frames are {} lines apart, which is the check of KMS parameters and not of customer keys",
                branch.delta()
            ),
            None => String::new(),
        };
        let evidence = Evidence { log_line: Some(((*file).to_owned(), refusal.line)), ..Evidence::default() };
        let step = format!("The client's own log says so for this key: {} ({}){branch}.", refusal.known.text(), "copyFile");
        chain.insert(4, Step { step, evidence: vec![evidence] });
    }
    chain
}

fn put_step(write: &Write, key: &str) -> String {
    match (write.put.is_some(), write.put_asked, write.put_told) {
        (false, ..) => format!("The upload of {key} is not in the capture."),
        (true, true, _) => format!("PUT {key} asked for encryption, and the object is encrypted with aws:kms."),
        (true, false, true) => {
            format!("PUT {key} had no encryption header, and the response has aws:kms: the store encrypts by default.")
        }
        (true, false, false) => format!("PUT {key} had no encryption header; the store encrypted it with its KMS by default."),
    }
}

fn policy_step(client: ClientId, view: &View<'_>) -> String {
    let Some(about) = view.clients.client(client) else {
        return String::new();
    };
    let policy = over_http(about.sdk, about.version.as_deref(), SseRequest::Kms { key_id: true });
    let text = match policy.verdict {
        Verdict::Refused { text } => text,
        Verdict::Sent | Verdict::Unverified => "",
    };
    format!(
        "This client is S3A: it puts that id into its COPY, which its SDK refuses to send over http. It is {}. The exception reads \"{text}\", for SSE-KMS too ({}).",
        view.client_text(client),
        policy.evidence
    )
}

fn absence_step(write: &Write) -> Step {
    let gaps: Vec<String> = write.gaps().iter().map(|gap| seconds(*gap)).collect();
    let retries = if gaps.is_empty() { String::new() } else { format!(" (repeated after {} s)", gaps.join(", ")) };
    let cleanup = if write.deleted.is_some() { ", then it was deleted" } else { "" };
    let step = format!(
        "No COPY of it followed in {}{retries}{cleanup}; no _SUCCESS came either.",
        counted(write.heads.count, "HEAD", "HEADs"),
    );
    let mut evidence = write.heads.evidence();
    evidence.extend(write.deleted.iter().map(|deleted| deleted.evidence()));
    Step { step, evidence }
}

fn doubts(weak: &Weakness) -> String {
    let lost = match weak.words.as_slice() {
        [] => "nothing of this client's connections is missing".to_owned(),
        words => format!("a COPY may also have been missed, for the view of this client is incomplete ({})", list(words)),
    };
    format!("What else could explain it: a path not captured, a capture that ended too early, a job killed from outside; {lost}.")
}

fn seconds(gap: Duration) -> String {
    if gap < Duration::from_secs(10) { format!("{:.1}", gap.as_secs_f64()) } else { format!("{:.0}", gap.as_secs_f64()) }
}

/// The fixes that work for this object, the safest first. None of them takes encryption settings out of Spark: there are none.
///
/// What was tried with real programs was S3A 3.3.4 before MinIO, with a PUT that asked for no encryption.
fn fixes(write: &Write, hop: HopId, view: &View<'_>) -> Vec<Fix> {
    let is_minio = view.hops.is_minio(hop);
    let is_default = write.put.is_some() && !write.put_asked;
    let as_tested = |is_tested: bool, action: &str, note: &str| if is_tested { Fix::tested(action, note) } else { Fix::untested(action, note) };
    let mut fixes = vec![Fix::tls_on_the_front()];
    if write.put_asked {
        // A default of the bucket changes nothing where the writer names the encryption itself.
        fixes.push(Fix::untested(
            "let the program that uploads these objects ask for SSE-S3 (AES256) in place of SSE-KMS",
            "new objects are not encrypted with SSE-KMS; copies of older KMS objects are still refused",
        ));
    } else {
        let action = if is_minio {
            "SSE-S3 as bucket default: mc encrypt set sse-s3 ALIAS/BUCKET"
        } else {
            "SSE-S3 (AES256) as default encryption of the bucket"
        };
        fixes.push(as_tested(
            is_minio && is_default,
            action,
            "new objects are not encrypted with SSE-KMS; nothing changes in Spark; copies of older KMS objects are still refused",
        ));
        fixes.push(as_tested(
            is_minio && is_default,
            "in Spark, set fs.s3a.server-side-encryption-algorithm=AES256",
            "new objects are not encrypted with SSE-KMS; from Hadoop 3.3.2 on the option is fs.s3a.encryption.algorithm=SSE-S3; copies of older KMS objects are still refused",
        ));
    }
    fixes.push(as_tested(
        is_minio,
        "move to Hadoop 3.4 or later, with TLS on the front first",
        "else keys are readable; its AWS SDK 2.x refuses nothing: over http each COPY shows the key id, and SSE-C the raw key",
    ));
    if is_minio && is_default {
        fixes.push(Fix::tested(
            "switch automatic KMS encryption off at the store (MINIO_KMS_AUTO_ENCRYPTION=off)",
            "new objects are not encrypted; those already encrypted keep their key id, and their copies stay refused",
        ));
    }
    if view.hops.upstream(hop).is_some() {
        fixes.push(as_tested(
            is_minio,
            "diagnostic only, not a fix: let the proxy drop the KMS key id from HEAD responses",
            "the header is x-amz-server-side-encryption-aws-kms-key-id",
        ));
    }
    if !write.is_checkpoint() {
        fixes.push(Fix::untested(
            "magic committer with Spark's cloud commit-protocol classes",
            "no copies of job output; its two fs.s3a.committer options alone did not help; other renames still copy",
        ));
    }
    fixes
}
