//! KMS key ids in messages that anybody on the path could read.

use crate::hops::ClientId;
use crate::rules::aggregate::{Distinct, PerClient};
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::policy::{SseRequest, Verdict, over_http};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// Messages in clear with `x-amz-server-side-encryption-aws-kms-key-id`, requests and answers apart, with the ids. For
    /// requests it says whether the id was configured (it stands on uploads) or only echoed (it stands on copies alone, after
    /// the store had told it in the answer to a HEAD, as Hadoop S3A does).
    ///
    /// ## Why it matters
    /// The id of a key is no secret, but it tells an attacker which key to ask for, and its form can name account and region.
    /// In answers to an AWS SDK for Java 1.x that writes over `http://` it is also the precondition of a failure: S3A puts the
    /// id into its next COPY, and that SDK refuses to send it. See `copy-refused-by-client`.
    ///
    /// ## Example
    /// `HEAD …/part-00000` is answered with `X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id: arn:aws:kms:key-1`, though nobody
    /// asked for encryption: the store encrypts by default.
    ///
    /// ## What to do
    /// Use TLS on the hop. Where the id need not be there at all: let the store encrypt with its own keys (SSE-S3) by default.
    "kms-key-id-in-clear" Warning Exposure since "0.1.0"
}

/// How many distinct ids are told apart per client and direction.
const IDS_MAX: usize = 16;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Ids>,
}

#[derive(Default)]
struct Ids {
    requests: Sights,
    responses: Sights,
    in_requests: Distinct<Vec<u8>, IDS_MAX>,
    in_responses: Distinct<Vec<u8>, IDS_MAX>,
    /// Requests with an id that are no copies.
    configured: u64,
    /// Copies with an id that an earlier answer had told this client.
    echoed: u64,
    /// Uploads without any encryption parameter that were answered with an id.
    by_default: u64,
    /// Whether this client writes.
    writes: bool,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear || !(context.request_encrypted || context.response_encrypted) {
            return;
        }
        let asked = context.asked.kms_key_id.as_deref();
        let told = context.told.kms_key_id.as_deref();
        if asked.is_none() && told.is_none() {
            return;
        }
        let Some(row) = self.clients.row(context.client) else {
            return;
        };
        let new_request = asked.is_some() && row.value.requests.count == 0;
        let new_response = told.is_some() && row.value.responses.count == 0;
        row.value.add(call, context, asked, told);
        if new_request || new_response {
            let is_new = |finding: &Finding| {
                finding.subject.iter().any(|(_, value)| (new_request && value == "request") || (new_response && value == "response"))
            };
            self.render(context.client, &context.view).into_iter().filter(is_new).for_each(|finding| findings.raise(finding));
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, _) in self.clients.iter() {
            for finding in self.render(client, view) {
                findings.report(finding);
            }
        }
    }
}

impl Ids {
    fn add(&mut self, call: &Call<'_>, context: &Context<'_>, asked: Option<&[u8]>, told: Option<&[u8]>) {
        if let Some(id) = asked {
            self.requests.add(Sight::of_request(call.exchange));
            let is_copy = matches!(call.operation, Operation::COPY_OBJECT | Operation::UPLOAD_PART_COPY);
            self.configured += u64::from(!is_copy);
            self.echoed += u64::from(is_copy && self.in_responses.values().iter().any(|have| have.as_slice() == id));
            self.in_requests.add_bytes(id);
        }
        if let Some(id) = told {
            self.responses.add(Sight::of_response(call.exchange));
            self.in_responses.add_bytes(id);
            self.by_default += u64::from(call.operation == Operation::PUT_OBJECT && !context.request_encrypted);
        }
        self.writes |= call.operation == Operation::PUT_OBJECT;
    }
}

impl State {
    fn render(&self, client: ClientId, view: &View<'_>) -> Vec<Finding> {
        let (Some(row), Some(about)) = (self.clients.find(client), view.clients.client(client)) else {
            return Vec::new();
        };
        let ids = &row.value;
        let hop = view.hop_name(about.hop);
        let mut found = Vec::new();
        if ids.requests.count > 0 {
            let origin = if ids.configured > 0 {
                "The client is configured with it: requests other than copies have it too."
            } else if ids.echoed == ids.requests.count {
                "Only copies have it, and it is the id that the store had returned before: the client sends it back, nobody configured it."
            } else {
                "Who put it there cannot be told from this capture."
            };
            let message = format!("{} in plaintext on {hop} had a KMS key id. {origin}", counted(ids.requests.count, "request", "requests"));
            found.push((message, "request", &ids.requests, &ids.in_requests));
        }
        if ids.responses.count > 0 {
            let mut message = format!("{} in plaintext on {hop} had a KMS key id.", counted(ids.responses.count, "response", "responses"));
            if ids.by_default > 0 {
                message += " The uploads asked for no encryption: the store encrypts with its KMS by default (a bucket rule or auto-encryption; the wire cannot tell which).";
            }
            let policy = over_http(about.sdk, about.version.as_deref(), SseRequest::Kms { key_id: true });
            if ids.writes && about.hadoop.is_some() && matches!(policy.verdict, Verdict::Refused { .. }) {
                message += " This client writes with an SDK that refuses KMS parameters over http: the id is the precondition of copy-refused-by-client.";
            }
            found.push((message, "response", &ids.responses, &ids.in_responses));
        }
        let is_minio = view.hops.is_minio(about.hop);
        let finish = |(message, direction, sights, have): (String, &str, &Sights, &Distinct<Vec<u8>, IDS_MAX>)| {
            let shown: Vec<String> = have.values().iter().map(|id| quote(id)).take(4).collect();
            let mut finding = Finding::new(&RULE, Confidence::Certain, Some(about.hop), sights.count, message)
                .about("client", view.client_text(client))
                .about("where", direction)
                .about("key_ids", have.count_text())
                .about("key_id", list(&shown))
                .shown_by(sights.evidence())
                .fixed_by(Fix::tls_on_the_front());
            finding.fixes.extend(ids.fix(direction, is_minio));
            finding
        };
        found.into_iter().map(finish).collect()
    }
}

impl Ids {
    /// How to have no key id in these messages, where there is a way. A default of the bucket does not change objects that are
    /// there already, nor what a client asks for itself.
    fn fix(&self, direction: &str, is_minio: bool) -> Option<Fix> {
        let note = "the store then returns no key id for new objects; they are no longer encrypted with SSE-KMS";
        match direction {
            "response" if self.by_default > 0 && self.configured == 0 => Some(if is_minio {
                Fix::tested("set a bucket rule for SSE-S3 (mc encrypt set sse-s3 ALIAS/BUCKET)", note)
            } else {
                Fix::untested("set SSE-S3 (AES256) as default encryption of the bucket", note)
            }),
            "request" if self.configured > 0 => Some(Fix::untested(
                "do not set a KMS key id in the client, and let the bucket's default encrypt",
                "the store may still return the key id in responses",
            )),
            _ => None,
        }
    }
}
