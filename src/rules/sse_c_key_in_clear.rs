//! Raw customer keys in messages that can be read on the network path.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::model::{HeaderName, Headers};
use crate::rules::aggregate::Distinct;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::counted;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Disclosure, Finding, Findings, Fix, Joined, View, Watch, rule};
use crate::s3::{Call, Operation};
use crate::session::secrets::{Exposure, Form, Unescaped};

rule! {
    /// ## What it reports
    /// Plaintext messages that carry a customer-provided encryption key (SSE-C): `x-amz-server-side-encryption-customer-key`,
    /// the key of a copy's source, the same header of another dialect of S3 (`x-goog-encryption-key`, `x-ms-encryption-key`,
    /// `x-oss-`, `x-obs-`, `x-cos-`), or the same as a query parameter or form field. It counts the messages and the distinct
    /// keys, and says how many of the requests the store accepted, and over which hop. A rejected request leaks its key as well.
    ///
    /// ## Why it matters
    /// The key decrypts every object that was written with it, and it can be read on the network path. Behind a proxy that
    /// speaks TLS to the store nothing warns: the store sees a secure connection and returns 200.
    ///
    /// ## Example
    /// Spark 4 (AWS SDK for Java 2.x) with SSE-C over the plain HTTP front of a proxy: the job succeeds, and 69 requests carry
    /// the raw key. The older SDK refused to send them, so the upgrade turned a refused request into a leaked key.
    ///
    /// ## What to do
    /// Use TLS on every hop, then treat the key as disclosed: rewrite the objects with a new one. Reports show the first eight
    /// hexadecimal digits of the SHA-256 of a key, never the key.
    "sse-c-key-in-clear" Error Leak since "0.1.0"
}

/// How many distinct keys are told apart per hop.
const KEYS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    digests: Distinct<[u8; 32], KEYS_MAX>,
    /// Requests to which the store returned 2xx with the algorithm, which confirms that it used the key.
    accepted: u64,
    /// Requests to which it returned 2xx without: it ignored the key.
    unconfirmed: u64,
    /// Requests that were seen on the next hop as well, with their key: in plaintext, and inside TLS.
    passed_in_plaintext: u64,
    passed_in_tls: u64,
    /// Where they were seen there.
    upstream: Sights,
    /// Requests whose key is not 32 bytes in base64, or whose MD5 header is of another key.
    malformed: u64,
    /// Requests that carry the key of a copy's source.
    copy_sources: u64,
    /// Requests that carry a key in a URL or in a form.
    outside_headers: u64,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let keys = || disclosed.of(Exposure::CustomerKey);
        let Some(first) = keys().next() else { return };
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, first.from)) else {
            return;
        };
        let encryption = disclosed.call.map(Call::request_encryption).unwrap_or_default();
        let row_keys = &mut row.value;
        let is_confirmed = !disclosed.call.is_some_and(is_unconfirmed);
        row_keys.accepted += u64::from(disclosed.is_accepted() && is_confirmed);
        row_keys.unconfirmed += u64::from(disclosed.is_accepted() && !is_confirmed);
        let is_copy_source = keys().any(|key| key.field == Some(HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey));
        row_keys.copy_sources += u64::from(is_copy_source || encryption.copy_source_key.is_some());
        row_keys.outside_headers += u64::from(keys().any(|key| key.form != Form::Field));
        let digests = [
            (encryption.customer_key.as_deref(), encryption.customer_key_md5.as_deref()),
            (encryption.copy_source_key.as_deref(), encryption.copy_source_key_md5.as_deref()),
        ];
        for secret in keys() {
            let key = Unescaped::new(secret.value);
            let md5 = digests.iter().find(|(have, _)| *have == Some(key.bytes())).and_then(|(_, md5)| *md5);
            row_keys.add(key.bytes(), md5, disclosed.is_redacted(secret));
        }
        if is_first {
            findings.raise(render(row, &disclosed.view));
        }
    }

    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let has_key = |call: &Call<'_>| call.has_encryption_headers().0 && call.request_encryption().keys().next().is_some();
        if !joined.downstream.exchange.transport.is_clear() || !has_key(joined.downstream) || !has_key(joined.upstream) {
            return;
        }
        if let Some(row) = self.hops.row(joined.hop) {
            let is_plaintext = joined.upstream.exchange.transport.is_clear();
            row.value.passed_in_plaintext += u64::from(is_plaintext);
            row.value.passed_in_tls += u64::from(!is_plaintext);
            row.value.upstream.add(Sight::of_both(joined.upstream.exchange));
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.hops.iter() {
            findings.report(render(row, view));
        }
    }
}

impl Keys {
    fn add(&mut self, key: &[u8], md5: Option<&[u8]>, is_redacted: bool) {
        let raw = STANDARD.decode(key);
        let is_sound = raw.as_ref().is_ok_and(|raw| {
            raw.len() == 32 && md5.is_none_or(|sent| STANDARD.decode(sent).is_ok_and(|sent| sent == Md5::digest(raw).as_slice()))
        });
        // What stands for a key in a recording says nothing of its form.
        self.malformed += u64::from(!is_sound && !is_redacted);
        let digest: [u8; 32] = Sha256::digest(raw.as_deref().unwrap_or(key)).into();
        self.digests.add(&digest, |have, new| have == new, |new| *new);
    }
}

/// Whether a response lacks the confirmation that S3 gives for the operation (Amazon S3 API reference, response headers).
fn is_unconfirmed(call: &Call<'_>) -> bool {
    const CONFIRMED: [Operation; 7] = [
        Operation::PUT_OBJECT,
        Operation::GET_OBJECT,
        Operation::HEAD_OBJECT,
        Operation::COPY_OBJECT,
        Operation::CREATE_MULTIPART_UPLOAD,
        Operation::UPLOAD_PART,
        Operation::UPLOAD_PART_COPY,
    ];
    CONFIRMED.contains(&call.operation)
        && call.request_encryption().customer_key.is_some()
        && call.exchange.response().is_some_and(|response| !names_key_algorithm(&response.headers))
}

/// Whether a response names the algorithm of a customer key, as S3 and the dialects of other clouds do.
fn names_key_algorithm(headers: &Headers) -> bool {
    headers.has(HeaderName::XAmzServerSideEncryptionCustomerAlgorithm)
        || headers.iter().any(|(name, _)| {
            let ends = |end: &[u8]| name.len() >= end.len() && name.get(name.len() - end.len()..).is_some_and(|tail| tail.eq_ignore_ascii_case(end));
            ends(b"-customer-algorithm") || ends(b"-encryption-algorithm")
        })
}

fn render(row: &HopRow<Keys>, view: &View<'_>) -> Finding {
    row.finding(&RULE, message(row, view), view)
        .about("keys", row.value.digests.count_text())
        .shown_by(row.value.upstream.evidence())
        .fixed_by(Fix::tls_on_the_front())
        .fixed_by(Fix::untested(
            "the key is disclosed: with TLS in place copy the objects to a new key, then drop it",
            "a key that was sent in plaintext stays readable in every recording of the path",
        ))
}

fn message(row: &HopRow<Keys>, view: &View<'_>) -> String {
    let (keys, hop) = (&row.value, row.hop);
    let mut text = format!(
        "{} in plaintext on {} carried a raw customer encryption key ({} distinct); the store accepted {}.",
        counted(row.sights.count, "request", "requests"),
        view.hop_name(hop),
        keys.digests.count_text(),
        keys.accepted,
    );
    if keys.unconfirmed > 0 {
        text += &format!(
            " It returned success to {} without confirming SSE-C: it ignores the key, and the objects are not encrypted with it.",
            keys.unconfirmed
        );
    }
    if keys.copy_sources > 0 {
        text += &format!(" {} carried the key of a copy's source.", keys.copy_sources);
    }
    if keys.outside_headers > 0 {
        text += &format!(" {} carried a key in a URL, a form or a body, where logs keep it.", keys.outside_headers);
    }
    if keys.malformed > 0 {
        text += &format!(" {} sent a key that is not 32 bytes or does not match its MD5.", keys.malformed);
    }
    let upstream = view.hops.upstream(hop).map(|next| view.hop_name(next)).unwrap_or_default();
    if keys.passed_in_plaintext > 0 {
        text += &format!(" {} of them were forwarded in plaintext over {upstream} as well.", keys.passed_in_plaintext);
    }
    if keys.passed_in_tls > 0 {
        text += &format!(" {} of them reached the store inside TLS over {upstream}: it saw nothing wrong.", keys.passed_in_tls);
    } else if let Some(upstream) = view.upstream_in_tls(hop) {
        text += &format!(" The next hop, {}, is TLS: the store cannot detect that the key was sent in plaintext.", view.hop_name(upstream));
    }
    text
}
