//! Signed requests that anybody on the path could read and send again.

use std::time::Duration;

use crate::hops::ClientId;
use crate::model::{HeaderName, Timestamp};
use crate::rules::aggregate::PerClient;
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, Payload};

rule! {
    /// ## What it reports
    /// Requests in clear with a signature in `Authorization`, and until when the last of them could be sent again.
    ///
    /// ## Why it matters
    /// The signature does not show the secret key, but within the store's tolerance for wrong clocks (15 minutes) the same
    /// request can be sent again by anybody who saw it. Uploads with `STREAMING-UNSIGNED-PAYLOAD-TRAILER` deserve more care:
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
    clients: PerClient<Signed>,
}

#[derive(Default)]
struct Signed {
    until: Timestamp,
    writes: u64,
    unsigned_trailers: u64,
}

impl Watch for State {
    /// Runs for nearly every request, so it reads no more than one header. The time of the request stands for the time of
    /// its signature: clients sign right before they send.
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let request = &call.exchange.request;
        if !context.is_clear || !request.headers.has(HeaderName::Authorization) {
            return;
        }
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_request(call.exchange)) else {
            return;
        };
        row.value.until = row.value.until.max(request.start.after(SKEW));
        if request.method() == b"PUT" {
            row.value.unsigned_trailers += u64::from(call.payload() == Payload::StreamingUnsignedTrailer);
        }
        row.value.writes += u64::from(matches!(request.method(), b"PUT" | b"POST" | b"DELETE"));
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
        let mut message = format!(
            "{} in clear on {} ({writes} write) can be sent again until {until}.",
            counted(row.sights.count, "signed request", "signed requests"),
            view.hop_name(hop),
            until = row.value.until,
            writes = row.value.writes,
        );
        if row.value.unsigned_trailers > 0 {
            message += &format!(
                " {} sign neither body nor trailer: a store that does not check their age takes them at any later time.",
                counted(row.value.unsigned_trailers, "upload", "uploads")
            );
        }
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .about("valid_until", row.value.until.to_string())
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::tls_on_the_front());
        Some(finding)
    }
}
