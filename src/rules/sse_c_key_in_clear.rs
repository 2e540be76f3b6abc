//! Raw SSE-C keys in requests that anybody on the path could read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::hops::{ClientId, HopId};
use crate::rules::aggregate::{Distinct, PerClient, Row};
use crate::rules::quote::counted;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, Joined, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Requests in clear that carry a customer-provided encryption key (SSE-C): `x-amz-server-side-encryption-customer-key`,
    /// the key of a copy's source, or the same as a query parameter or form field. It counts the requests and the distinct keys,
    /// and says how many of the requests the store accepted, and over which hop. A refused request leaks its key as well.
    ///
    /// ## Why it matters
    /// The key opens every object that was written with it, and it was readable by anybody on the path. Behind a proxy that
    /// speaks TLS to the store nothing warns: the store sees a secure connection and answers 200.
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

/// How many distinct keys are told apart per client.
const KEYS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Keys>,
}

#[derive(Default)]
struct Keys {
    digests: Distinct<[u8; 32], KEYS_MAX>,
    /// Requests that the store answered with 2xx.
    accepted: u64,
    /// Requests that were seen on the next hop as well, with their key: in clear, and inside TLS.
    passed_in_clear: u64,
    passed_in_tls: u64,
    /// Where they were seen there.
    upstream: Sights,
    /// Requests whose key is not 32 octets in base64, or whose MD5 header is of another key.
    malformed: u64,
    /// Requests that carry the key of a copy's source.
    copy_sources: u64,
    /// Requests that carry a key in the query or in a form.
    outside_headers: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear || !context.request_encrypted {
            return;
        }
        let encryption = context.asked;
        if encryption.keys().next().is_none() {
            return;
        }
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_request(call.exchange)) else {
            return;
        };
        let keys = &mut row.value;
        keys.accepted += u64::from(call.is_success());
        keys.copy_sources += u64::from(encryption.copy_source_key.is_some());
        keys.outside_headers += u64::from(encryption.from != crate::s3::Place::Header);
        let pairs = [
            (&encryption.customer_key, &encryption.customer_key_md5),
            (&encryption.copy_source_key, &encryption.copy_source_key_md5),
        ];
        for (key, md5) in pairs {
            if let Some(key) = key {
                keys.add(key, md5.as_deref());
            }
        }
        if is_first && let Some(finding) = self.render(context.client, &context.view) {
            findings.raise(finding);
        }
    }

    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let has_key = |call: &Call<'_>| call.has_encryption_headers().0 && call.request_encryption().keys().next().is_some();
        if !joined.downstream.exchange.transport.is_clear() || !has_key(joined.downstream) || !has_key(joined.upstream) {
            return;
        }
        if let Some(row) = joined.client.and_then(|client| self.clients.row(client)) {
            let is_clear = joined.upstream.exchange.transport.is_clear();
            row.value.passed_in_clear += u64::from(is_clear);
            row.value.passed_in_tls += u64::from(!is_clear);
            row.value.upstream.add(Sight::of_both(joined.upstream.exchange));
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

impl Keys {
    fn add(&mut self, key: &[u8], md5: Option<&[u8]>) {
        let raw = STANDARD.decode(key);
        // A session that was read back has a placeholder, which tells nothing of the key's form.
        let is_redacted = key.starts_with(b"[redacted:");
        let is_sound = raw.as_ref().is_ok_and(|raw| {
            raw.len() == 32 && md5.is_none_or(|sent| STANDARD.decode(sent).is_ok_and(|sent| sent == Md5::digest(raw).as_slice()))
        });
        self.malformed += u64::from(!is_sound && !is_redacted);
        let digest: [u8; 32] = Sha256::digest(raw.as_deref().unwrap_or(key)).into();
        self.digests.add(&digest, |have, new| have == new, |new| *new);
    }
}

impl State {
    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let hop = view.clients.client(client)?.hop;
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message(row, hop, view))
            .about("client", view.client_text(client))
            .about("keys", row.value.digests.count_text())
            .shown_by(row.sights.evidence())
            .shown_by(row.value.upstream.evidence())
            .fixed_by(Fix::tls_on_the_front())
            .fixed_by(Fix::untested(
                "the key is disclosed: with TLS in place copy the objects to a new key, then drop it",
                "a key that crossed in clear stays readable in every recording of the path",
            ));
        Some(finding)
    }
}

fn message(row: &Row<Keys>, hop: HopId, view: &View<'_>) -> String {
    let keys = &row.value;
    let mut text = format!(
        "{} in clear on {} carried a raw customer encryption key ({} distinct); the store accepted {}.",
        counted(row.sights.count, "request", "requests"),
        view.hop_name(hop),
        keys.digests.count_text(),
        keys.accepted,
    );
    if keys.copy_sources > 0 {
        text += &format!(" {} carried the key of a copy's source.", keys.copy_sources);
    }
    if keys.outside_headers > 0 {
        text += &format!(" {} carried a key in the query or in a form, where access logs keep it.", keys.outside_headers);
    }
    if keys.malformed > 0 {
        text += &format!(" {} sent a key that is not 32 octets or does not match its MD5.", keys.malformed);
    }
    let upstream = view.hops.upstream(hop).map(|next| view.hop_name(next)).unwrap_or_default();
    if keys.passed_in_clear > 0 {
        text += &format!(" {} of them went on in clear over {upstream} as well.", keys.passed_in_clear);
    }
    if keys.passed_in_tls > 0 {
        text += &format!(" {} of them reached the store inside TLS over {upstream}: it saw nothing wrong.", keys.passed_in_tls);
    } else if let Some(upstream) = view.upstream_in_tls(hop) {
        text += &format!(" The next hop, {}, is TLS: the store cannot see that the key crossed in clear.", view.hop_name(upstream));
    }
    text
}
