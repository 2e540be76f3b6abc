//! Writes that asked for encryption, and a store that returned success without it.

use crate::model::HeaderName;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::{counted, list};
use crate::rules::sight::Sight;
use crate::rules::{Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, EncryptionKind, Operation};

rule! {
    /// ## What it reports
    /// Uploads and copies that asked for encryption (SSE-S3, SSE-KMS, SSE-C) and were answered with 2xx without the header that confirms
    /// it: `x-amz-server-side-encryption`, or for SSE-C `x-amz-server-side-encryption-customer-algorithm`. It is reported on any decoded hop, in
    /// plaintext or TLS, once: on the one nearest the store.
    ///
    /// ## Why it matters
    /// A store that does not know these headers ignores them: the object is stored unencrypted, and the client reports success. With SSE-C
    /// the object can be read back without the key.
    ///
    /// ## Example
    /// boto3 with `SSECustomerKey` to a small gateway: 200, and a GET without the key returns the object.
    ///
    /// ## What to do
    /// Read an object back without the key, or look at its HEAD response, to be sure. Use a store that supports the encryption asked for, or
    /// encrypt in the client.
    "sse-ignored-by-store" Warning since "0.2.0"
}

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Kinds>,
}

/// Requests by the encryption that they asked for.
#[derive(Debug, Default)]
struct Kinds(Vec<(EncryptionKind, u64)>);

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.request_encrypted || !call.is_success() {
            return;
        }
        let Some(kind) = unconfirmed(call, context) else { return };
        let (client, ip) = (Some(context.client), call.exchange.endpoints.client.ip);
        let Some((row, is_first)) = self.hops.add(context.hop, client, ip, Sight::of_both(call.exchange)) else { return };
        match row.value.0.iter_mut().find(|(have, _)| *have == kind) {
            Some((_, count)) => *count += 1,
            None => row.value.0.push((kind, 1)),
        }
        if is_first {
            let finding = render(row, &context.view);
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        // A proxy may drop the confirmation: what the store itself returned counts.
        let is_nearest_store = |row: &&HopRow<Kinds>| {
            let next = view.hops.upstream(row.hop).and_then(|next| view.hops.hop(next));
            next.is_none_or(|next| next.calls == 0)
        };
        for row in self.hops.iter().filter(is_nearest_store) {
            findings.report(render(row, view));
        }
    }
}

/// What a write asked for and its response does not confirm.
fn unconfirmed(call: &Call<'_>, context: &Context<'_>) -> Option<EncryptionKind> {
    let stores = matches!(call.operation, Operation::PUT_OBJECT | Operation::COPY_OBJECT | Operation::CREATE_MULTIPART_UPLOAD);
    let headers = &call.exchange.response()?.headers;
    context.asked.kinds().find(|kind| match kind {
        EncryptionKind::SseC => {
            (stores || call.operation == Operation::UPLOAD_PART)
                && !headers.has(HeaderName::XAmzServerSideEncryptionCustomerAlgorithm)
        }
        EncryptionKind::SseS3 | EncryptionKind::SseKms | EncryptionKind::DsseKms => {
            stores && !headers.has(HeaderName::XAmzServerSideEncryption)
        }
        EncryptionKind::CopySourceSseC | EncryptionKind::None => false,
    })
}

fn render(row: &HopRow<Kinds>, view: &View<'_>) -> Finding {
    let kinds: Vec<String> = row.value.0.iter().map(|(kind, count)| format!("{} ({count})", kind.label())).collect();
    let message = format!(
        "{} on {} asked for encryption ({}), and the store returned success without confirming it: it ignores the headers, and the objects are not encrypted as asked.",
        counted(row.sights.count, "write", "writes"),
        view.hop_name(row.hop),
        list(&kinds)
    );
    row.finding(&RULE, message, view)
        .fixed_by(Fix::untested("use a store that supports the encryption asked for, or encrypt in the client", "objects that were written already are stored unencrypted"))
}
