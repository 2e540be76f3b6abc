//! KMS encryption contexts in messages that anybody on the path could read.

use crate::hops::ClientId;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Messages in clear with `x-amz-server-side-encryption-context`, in requests or in answers.
    ///
    /// ## Why it matters
    /// The context is JSON in base64: not encrypted, and often with names of tenants, projects or data classes. It is bound to
    /// the key use, so it belongs to what a decryption request must present.
    ///
    /// ## Example
    /// A PUT with `aws:kms` and a context over an `http://` endpoint; the store repeats the context in the answer to every HEAD.
    ///
    /// ## What to do
    /// Use TLS on the hop, or keep names out of the context.
    "encryption-context-in-clear" Warning Exposure since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    responses: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear || !(context.request_encrypted || context.response_encrypted) {
            return;
        }
        let in_request = context.asked.context.is_some();
        let in_response = context.told.context.is_some();
        if !in_request && !in_response {
            return;
        }
        let sight = if in_request { Sight::of_request(call.exchange) } else { Sight::of_response(call.exchange) };
        let Some((row, is_first)) = self.clients.add(context.client, sight) else {
            return;
        };
        row.value.requests += u64::from(in_request);
        row.value.responses += u64::from(in_response);
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
        let message = format!(
            "{} in clear on {} showed a KMS encryption context (in {} and {}).",
            counted(row.sights.count, "call", "calls"),
            view.hop_name(hop),
            counted(row.value.requests, "request", "requests"),
            counted(row.value.responses, "answer", "answers"),
        );
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::tls_on_the_front());
        Some(finding)
    }
}
