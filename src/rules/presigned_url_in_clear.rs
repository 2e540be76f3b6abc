//! Presigned URLs that anybody on the path could read.

use crate::hops::ClientId;
use crate::model::Timestamp;
use crate::rules::aggregate::{Distinct, PerClient};
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, Operation, Scheme};

rule! {
    /// ## What it reports
    /// Requests in clear by a presigned URL, and until when the last of them opens its object. POST forms with a signed policy
    /// count too.
    ///
    /// ## Why it matters
    /// A presigned URL needs nothing else: who has it may do what it allows until it expires, up to seven days.
    ///
    /// ## Example
    /// `GET /bucket/a.txt?AWSAccessKeyId=…&Signature=…&Expires=…` through the plain HTTP front of a proxy.
    ///
    /// ## What to do
    /// Make presigned URLs for an `https://` endpoint and let them expire soon. To end one early, revoke the key that signed it.
    "presigned-url-in-clear" Warning Exposure since "0.1.0"
}

/// How many objects are named per client.
const OBJECTS_MAX: usize = 16;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Urls>,
}

#[derive(Default)]
struct Urls {
    objects: Distinct<Vec<u8>, OBJECTS_MAX>,
    until: Option<Timestamp>,
    /// Used after the capture time at which it had expired.
    expired: u64,
    accepted: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let may_be = || call.query.mentions_signature() || call.operation == Operation::POST_OBJECT;
        if !context.is_clear || !may_be() {
            return;
        }
        let auth = call.auth();
        // A URL that comes with a second proof beside it (which stores refuse) is disclosed all the same.
        if !matches!(auth.scheme, Scheme::SigV4Presigned | Scheme::SigV2Presigned | Scheme::PostPolicy | Scheme::Several) {
            return;
        }
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_request(call.exchange)) else {
            return;
        };
        let urls = &mut row.value;
        let until = auth.expires_at();
        urls.expired += u64::from(until.is_some_and(|until| until < call.exchange.request.start));
        urls.until = urls.until.max(until);
        urls.accepted += u64::from(call.is_success());
        let bucket = call.address.bucket.as_deref().unwrap_or_default();
        let key = call.address.key.as_deref().unwrap_or_default();
        urls.objects.add_bytes(&[bucket, b"/", key].concat());
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
        let urls = &row.value;
        let until = match urls.until {
            Some(until) if until > view.now => format!("good until {until}"),
            Some(until) => format!("expired at {until}, within the capture"),
            None => "when they expire is not readable".to_owned(),
        };
        let message = format!(
            "{} in clear on {} by presigned URL for {}, {until}. The store accepted {}.",
            counted(row.sights.count, "request", "requests"),
            view.hop_name(hop),
            match urls.objects.values().len() {
                1 if !urls.objects.is_cut => "one object".to_owned(),
                _ => format!("{} objects", urls.objects.count_text()),
            },
            urls.accepted,
        );
        let objects: Vec<String> = urls.objects.values().iter().map(|object| quote(object)).take(4).collect();
        let mut finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .about("objects", list(&objects));
        if let Some(until) = urls.until {
            finding = finding.about("valid_until", until.to_string());
        }
        let finding = finding
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::tls_on_the_front())
            .fixed_by(Fix::untested("make presigned URLs for the https endpoint, with a short life", ""));
        Some(finding)
    }
}
