//! Signed requests that can be read on the network path, and replayed.

use std::time::Duration;

use crate::model::{HeaderName, Timestamp};
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Context, Disclosure, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, Payload, parse_date};
use crate::session::secrets::{Exposure, Form};

rule! {
    /// ## What it reports
    /// Plaintext requests with a signature in `Authorization`, and until when the last of them can be replayed: the signing time
    /// (`x-amz-date`) plus the store's tolerance. Copies of a signature (in `X-Forwarded-Authorization`, in an error response
    /// that repeats what was signed) count too. Signatures in URLs and forms are `presigned-url-in-clear`.
    ///
    /// ## Why it matters
    /// The signature does not show the secret key, but within the store's tolerance for wrong clocks (15 minutes) the same
    /// request can be replayed by anybody who saw it. Uploads with `STREAMING-UNSIGNED-PAYLOAD-TRAILER` deserve more care:
    /// their body is not covered by the signature, and MinIO does not check their age.
    ///
    /// ## Example
    /// Every request of a job over an `http://` endpoint.
    ///
    /// ## What to do
    /// Use TLS on the hop.
    "signature-in-clear" Note Exposure since "0.1.0"
}

/// How far MinIO and S3 let clocks differ, and so how long a signed request stays good.
const SKEW: Duration = Duration::from_secs(15 * 60);

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Signed>,
}

#[derive(Debug, Default)]
struct Signed {
    /// The latest `x-amz-date`: its form compares as text.
    signed_at: Option<[u8; DATE_BYTES]>,
    /// When the last request without such a date was sent: clients sign right before they send.
    sent_at: Option<Timestamp>,
    writes: u64,
    unsigned_trailers: u64,
    /// Exchanges that show a signature elsewhere than in `Authorization`.
    copies: u64,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let copies = || disclosed.of(Exposure::Signature).filter(|secret| !matches!(secret.form, Form::Url | Form::Form));
        let Some(first) = copies().next() else { return };
        if disclosed.call.is_some() && disclosed.exchange.request.headers.has(HeaderName::Authorization) {
            // The call itself is counted by its header.
            if let Some(row) = self.hops.row(disclosed.hop) {
                row.value.copies += 1;
            }
            return;
        }
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, first.from)) else {
            return;
        };
        row.value.copies += 1;
        row.value.sent_at = row.value.sent_at.max(Some(disclosed.exchange.request.start));
        if is_first {
            findings.raise(render(row, &disclosed.view));
        }
    }

    /// Runs for nearly every request, so it reads no more than two headers.
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let request = &call.exchange.request;
        if !context.is_clear || !request.headers.has(HeaderName::Authorization) {
            return;
        }
        let ip = call.exchange.endpoints.client.ip;
        let Some((row, is_first)) = self.hops.add(context.hop, Some(context.client), ip, Sight::of_request(call.exchange)) else {
            return;
        };
        match request.headers.get(HeaderName::XAmzDate).and_then(|date| <[u8; DATE_BYTES]>::try_from(date).ok()) {
            Some(date) => row.value.signed_at = row.value.signed_at.max(Some(date)),
            None => row.value.sent_at = row.value.sent_at.max(Some(request.start)),
        }
        if request.method() == b"PUT" {
            row.value.unsigned_trailers += u64::from(call.payload() == Payload::StreamingUnsignedTrailer);
        }
        row.value.writes += u64::from(matches!(request.method(), b"PUT" | b"POST" | b"DELETE"));
        if is_first {
            findings.raise(render(row, &context.view));
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.hops.iter() {
            findings.report(render(row, view));
        }
    }
}

impl Signed {
    /// Until when the last of them can be replayed.
    fn until(&self) -> Option<Timestamp> {
        let signed = self.signed_at.as_ref().and_then(|date| parse_date(date));
        signed.max(self.sent_at).map(|at| at.after(SKEW))
    }
}

fn render(row: &HopRow<Signed>, view: &View<'_>) -> Finding {
    let signed = &row.value;
    let until = signed.until();
    let mut message = format!(
        "{} in plaintext on {} ({} write)",
        counted(row.sights.count, "signed request", "signed requests"),
        view.hop_name(row.hop),
        signed.writes,
    );
    message += &match until {
        Some(until) => format!(" can be replayed until {until}."),
        None => " can be replayed until they expire.".to_owned(),
    };
    if signed.copies > 0 {
        message += &format!(
            " {} a signature, or what was signed, in another place.",
            counted(signed.copies, "exchange shows", "exchanges show")
        );
    }
    if signed.unsigned_trailers > 0 {
        message += &format!(
            " {} sign neither body nor trailer: a store that does not check their age accepts them at any later time.",
            counted(signed.unsigned_trailers, "upload", "uploads")
        );
    }
    let mut finding = row.finding(&RULE, message, view);
    if let Some(until) = until {
        finding = finding.about("valid_until", until.to_string());
    }
    finding.fixed_by(Fix::tls_on_the_front())
}

/// `20261127T131505Z`
const DATE_BYTES: usize = 16;
