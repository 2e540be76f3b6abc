//! Other encryption parameters of requests that anybody on the path could read.

use crate::hops::ClientId;
use crate::model::HeaderName;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::{counted, list};
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Disclosure, Finding, Findings, Fix, Severity, View, Watch, rule};
use crate::s3::{Call, EncryptionKind};
use crate::session::secrets::{Exposed, Exposure};

rule! {
    /// ## What it reports
    /// Requests in plaintext that ask for server-side encryption: the algorithm, the bucket-key switch, the customer algorithm and
    /// the MD5 of a customer key. Keys, key ids and contexts have rules of their own. Where all of them ask for SSE-S3
    /// (`AES256`), it is a note: that discloses nothing of a key.
    ///
    /// ## Why it matters
    /// The headers tell how objects are protected; the MD5 lets somebody who guesses a customer key check the guess. An
    /// encryption that is asked for over a connection in clear protects the object at rest and not on its way.
    ///
    /// ## Example
    /// `x-amz-server-side-encryption: AES256` on the PUTs and COPYs of a Spark job over an `http://` endpoint.
    ///
    /// ## What to do
    /// Use TLS on the hop. `AES256` alone discloses little and is a known way around `copy-refused-by-client`.
    "sse-header-in-clear" Warning Exposure since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Kinds>,
}

#[derive(Default)]
struct Kinds {
    sse_s3: u64,
    sse_kms: u64,
    customer: u64,
    key_md5: u64,
    other: u64,
}

impl Watch for State {
    /// Digests of customer keys in other places than the headers that [`Watch::handle_call`] reads.
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let is_read_elsewhere = |secret: &&Exposed<'_>| !matches!(secret.field, None | Some(HeaderName::Other));
        let other = disclosed.of(Exposure::KeyDigest).find(|secret| !is_read_elsewhere(secret));
        let (Some(secret), Some(client)) = (other, disclosed.client) else { return };
        if disclosed.call.is_some_and(|call| call.has_encryption_headers().0) {
            return;
        }
        let Some((row, is_first)) = self.clients.add(client, Sight::of_side(disclosed.exchange, secret.from)) else { return };
        row.value.key_md5 += 1;
        if is_first && let Some(finding) = self.render(client, &disclosed.view) {
            findings.raise(finding);
        }
    }

    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear || !context.request_encrypted {
            return;
        }
        let encryption = context.asked;
        let has_md5 = encryption.customer_key_md5.is_some() || encryption.copy_source_key_md5.is_some();
        let has_customer = encryption.customer_algorithm.is_some() || encryption.copy_source_algorithm.is_some();
        let has_other = encryption.bucket_key_enabled.is_some();
        if encryption.algorithm.is_none() && !has_md5 && !has_customer && !has_other {
            return;
        }
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_request(call.exchange)) else {
            return;
        };
        let kinds = &mut row.value;
        for kind in encryption.kinds().filter(|_| encryption.algorithm.is_some()) {
            match kind {
                EncryptionKind::SseS3 => kinds.sse_s3 += 1,
                EncryptionKind::SseKms | EncryptionKind::DsseKms => kinds.sse_kms += 1,
                _ => {}
            }
        }
        kinds.customer += u64::from(has_customer);
        kinds.key_md5 += u64::from(has_md5);
        kinds.other += u64::from(has_other);
        if is_first && let Some(finding) = self.render(context.client, &context.view) {
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, _) in self.clients.iter() {
            if let Some(finding) = self.render(client, view) {
                findings.report(finding);
            }
        }
    }
}

impl State {
    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let hop = view.clients.client(client)?.hop;
        let kinds = &row.value;
        let named = [
            (kinds.sse_s3, "SSE-S3"),
            (kinds.sse_kms, "SSE-KMS"),
            (kinds.customer, "SSE-C algorithm"),
            (kinds.key_md5, "customer key MD5"),
            (kinds.other, "bucket-key switch"),
        ];
        let words: Vec<String> =
            named.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what} ({count})")).collect();
        let message = format!(
            "{} in plaintext on {} requested encryption: {}.",
            counted(row.sights.count, "request", "requests"),
            view.hop_name(hop),
            list(&words)
        );
        let is_sse_s3_alone = kinds.sse_s3 > 0 && [kinds.sse_kms, kinds.customer, kinds.key_md5, kinds.other] == [0; 4];
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .with_severity(if is_sse_s3_alone { Severity::Note } else { RULE.severity })
            .about("client", view.client_text(client))
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::tls_on_the_front());
        Some(finding)
    }
}
