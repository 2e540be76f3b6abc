//! ETags that are not the MD5 of what was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::Digest as _;

use crate::hops::ClientId;
use crate::model::HeaderName;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// Uploads whose answer has an ETag that differs from the MD5 that the client sent, or from that of the body where all of
    /// it is known. It is reported on any decoded hop, in clear or TLS, and once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// Under SSE-KMS and SSE-C the store's ETag is no MD5. Clients that compare the two report corruption where there is none.
    ///
    /// ## Example
    /// rclone to a store with automatic SSE-KMS: "corrupted on transfer: md5 hash differ".
    ///
    /// ## What to do
    /// Tell the client not to compare (rclone: `--ignore-checksum` or `--s3-disable-checksum`), or let the store use SSE-S3.
    "etag-not-md5" Note since "0.1.0"
}

/// Bodies up to this size are hashed where the client sent no MD5: enough to tell, and cheap.
const HASHED_BYTES_MAX: usize = 16 << 10;

/// So many differing bodies are enough of one client; hashing on would cost and add nothing.
const HASHED_PER_CLIENT_MAX: u64 = 64;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Shown>,
}

#[derive(Default)]
struct Shown {
    encrypted: u64,
    hashed: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let is_upload = matches!(call.operation, Operation::PUT_OBJECT | Operation::UPLOAD_PART);
        let request = &call.exchange.request;
        let has_md5 = is_upload && request.headers.has(HeaderName::ContentMd5);
        if !is_upload || !call.is_success() || !(has_md5 || context.response_encrypted) {
            return;
        }
        let Some(etag) = call.exchange.response().and_then(|response| response.headers.get(HeaderName::Etag)).and_then(plain_md5) else {
            return;
        };
        let sent = match request.headers.get(HeaderName::ContentMd5) {
            Some(md5) => STANDARD.decode(md5.trim_ascii()).ok().filter(|md5| md5.len() == 16),
            None => self.body_md5(call, context.client),
        };
        if sent.is_none_or(|sent| sent == etag) {
            return;
        }
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_both(call.exchange)) else {
            return;
        };
        row.value.encrypted += u64::from(context.response_encrypted);
        if is_first && let Some(finding) = self.render(context.client, &context.view) {
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, _) in self.clients.iter() {
            let hop = view.clients.client(client).map(|client| client.hop);
            if let Some(finding) = self.render(client, view).filter(|_| hop.is_some_and(|hop| view.is_nearest_client(hop))) {
                findings.report(finding);
            }
        }
    }
}

impl State {
    /// The MD5 of a body that was kept whole and is the object itself.
    fn body_md5(&mut self, call: &Call<'_>, client: ClientId) -> Option<Vec<u8>> {
        let body = &call.exchange.request.body;
        if let Some(md5) = body.md5.as_deref() {
            let row = self.clients.row(client)?;
            row.value.hashed += 1;
            return (row.value.hashed <= HASHED_PER_CLIENT_MAX).then(|| md5.to_vec());
        }
        let is_whole = body.complete && body.missing.is_empty() && body.kept.len() as u64 == body.length;
        if !is_whole || body.kept.is_empty() || body.kept.len() > HASHED_BYTES_MAX || call.payload().is_aws_chunked() {
            return None;
        }
        let row = self.clients.row(client)?;
        row.value.hashed += 1;
        (row.value.hashed <= HASHED_PER_CLIENT_MAX).then(|| Md5::digest(&body.kept).to_vec())
    }

    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let hop = view.clients.client(client)?.hop;
        let why = if row.value.encrypted == row.sights.count {
            "The store encrypted them, so its ETag is no MD5; a client that compares will call it corruption."
        } else {
            "Not all of the answers name encryption by the store: what was stored may differ from what was sent."
        };
        let message = format!(
            "The ETag of {} on {} differs from the MD5 of the body. {why}",
            counted(row.sights.count, "upload", "uploads"),
            view.hop_name(hop)
        );
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::untested("tell clients not to compare the ETag with an MD5", ""));
        Some(finding)
    }
}

/// An ETag of 32 hexadecimal digits, quoted or not; multipart ETags (`…-2`) never are an MD5.
fn plain_md5(etag: &[u8]) -> Option<Vec<u8>> {
    let digits = etag.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(etag);
    if digits.len() != 32 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(16);
    for pair in digits.chunks_exact(2) {
        let [high, low] = pair else { return None };
        out.push(digit(high)? << 4 | digit(low)?);
    }
    Some(out)
}
