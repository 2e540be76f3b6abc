//! ETags that are not the MD5 of the object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::HeaderName;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::body_check::{md5_of_etag, names_aws_chunked};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// Uploads whose response has an ETag that differs from the MD5 that the client sent, or from that of the object where all of
    /// the body is known; and downloads whose ETag differs from the MD5 of the object, where the store names no encryption. Bodies
    /// up to 256 KiB are compared, the first 24 of a run, further ones up to 96 KiB together, and one in 256 of the rest; a `Content-MD5` always. ETags of multipart uploads are not an MD5 and not compared. It is
    /// reported on any decoded hop, in plaintext or TLS, and once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// Under SSE-KMS and SSE-C the store's ETag is not an MD5. Clients that compare the two report corruption where there is none.
    ///
    /// ## Example
    /// rclone to a store with automatic SSE-KMS: "corrupted on transfer: md5 hash differ".
    ///
    /// ## What to do
    /// Tell the client not to compare (rclone: `--ignore-checksum` or `--s3-disable-checksum`), or let the store use SSE-S3.
    "etag-not-md5" Note since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    encrypted: u64,
    downloads: u64,
    /// Uploads whose ETag is the MD5 of the aws-chunked framing.
    framed: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let is_upload = matches!(call.operation, Operation::PUT_OBJECT | Operation::UPLOAD_PART);
        let is_download = call.operation == Operation::GET_OBJECT;
        if !(is_upload || is_download) || !call.is_success() {
            return;
        }
        let Some(md5) = (if is_upload { uploaded_md5(call) } else { downloaded_md5(call, context) }) else { return };
        let etag = call.exchange.response().and_then(|response| response.headers.get(HeaderName::Etag)).and_then(md5_of_etag);
        let Some(etag) = etag.filter(|etag| *etag != md5) else { return };
        let (client, ip) = (Some(context.client), call.exchange.endpoints.client.ip);
        let Some((row, is_first)) = self.hops.add(context.hop, client, ip, Sight::of_both(call.exchange)) else {
            return;
        };
        let framed = call.exchange.request.body.check.as_ref().and_then(|check| check.framed_md5);
        row.value.framed += u64::from(framed == Some(etag));
        row.value.downloads += u64::from(is_download);
        row.value.encrypted += u64::from(context.response_encrypted);
        if is_first {
            let finding = render(row, &context.view);
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.hops.iter().filter(|row| view.is_nearest_client(row.hop)) {
            findings.report(render(row, view));
        }
    }
}

fn render(row: &HopRow<Shown>, view: &View<'_>) -> Finding {
        let shown = &row.value;
        let uploads = row.sights.count - shown.downloads;
        let what = match (uploads, shown.downloads) {
            (0, downloads) => counted(downloads, "download", "downloads"),
            (uploads, 0) => counted(uploads, "upload", "uploads"),
            (uploads, downloads) => {
                format!("{} and {}", counted(uploads, "upload", "uploads"), counted(downloads, "download", "downloads"))
            }
        };
        let why = match shown {
            Shown { framed: 1.., .. } => {
                "It is the MD5 of the aws-chunked framing: the store kept the framing as part of the object."
            }
            Shown { encrypted, .. } if *encrypted == row.sights.count => {
                "The store encrypted them, so its ETag is not an MD5; a client that compares will call it corruption."
            }
            _ => "Not all of the responses name encryption by the store: what was stored may differ from what was sent.",
        };
        let message = format!("The ETag of {what} on {} differs from the MD5 of the body. {why}", view.hop_name(row.hop));
        let fix = match shown.framed {
            0 => "tell clients not to compare the ETag with an MD5",
            _ => "see stored-aws-chunked: the store has to decode aws-chunked, or the client must not send it",
        };
        row.finding(&RULE, message, view).fixed_by(Fix::untested(fix, ""))
}

/// The MD5 that the client sent, or that of the object in a body that is known whole.
fn uploaded_md5(call: &Call<'_>) -> Option<[u8; 16]> {
    let request = &call.exchange.request;
    if let Some(sent) = request.headers.get(HeaderName::ContentMd5) {
        return STANDARD.decode(sent.trim_ascii()).ok()?.try_into().ok();
    }
    let body = &request.body;
    body.check.as_ref().map(|check| check.md5).or_else(|| body.md5.as_deref().copied())
}

/// The MD5 of an object in a response that is known whole. What the store encrypted has another ETag from the upload on, and is
/// counted there.
fn downloaded_md5(call: &Call<'_>, context: &Context<'_>) -> Option<[u8; 16]> {
    let response = call.exchange.response()?;
    let is_plain = !context.response_encrypted && !call.query.has("partNumber");
    // A coding that was put on by a proxy changes the content and not the object.
    let is_coded = response.headers.has(HeaderName::ContentEncoding) && !names_aws_chunked(&response.headers);
    response.body.check.as_ref().filter(|_| is_plain && !is_coded).map(|check| check.md5)
}
