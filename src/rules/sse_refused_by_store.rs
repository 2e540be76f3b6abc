//! The store's own refusal of SSE-C over a connection that it sees as insecure.

use memchr::memmem;

use crate::hops::ClientId;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Requests with a customer key that the store answered with 400 `InvalidRequest`, because such requests must be made over
    /// a secure connection. It is reported on any hop, in clear or TLS, and once: on the decoded hop nearest the client.
    ///
    /// ## Why it matters
    /// MinIO looks at whether it runs with certificates itself, and at nothing a proxy may say. So a TLS front before a plain
    /// store does not help: the key crosses the last hop in clear, and is refused there.
    ///
    /// ## Example
    /// `PUT /bucket/key` with the three customer headers to a store on `http://`: 400, "Requests specifying Server Side
    /// Encryption with Customer provided keys must be made over a secure connection."
    ///
    /// ## What to do
    /// Run the store with TLS, and point the proxy at its `https://` address. The keys that were sent are disclosed.
    "sse-refused-by-store" Error Failure since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Shown>,
}

#[derive(Default)]
struct Shown {
    /// Whether the store's own words were seen (the answer to a HEAD may hold a code alone).
    by_text: bool,
    clear: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.request_encrypted || call.status() != Some(400) {
            return;
        }
        let encryption = context.asked;
        if !encryption.has_customer() && !encryption.has_copy_source() {
            return;
        }
        let Some(error) = call.error().filter(|error| error.code == "InvalidRequest") else {
            return;
        };
        let by_text = memmem::find(error.message.as_bytes(), b"secure connection").is_some();
        let is_bare_head = error.message.is_empty() && call.exchange.request.method() == b"HEAD";
        if !by_text && !is_bare_head {
            return;
        }
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_both(call.exchange)) else {
            return;
        };
        row.value.by_text |= by_text;
        row.value.clear += u64::from(context.is_clear);
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
    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let hop = view.clients.client(client)?.hop;
        let confidence = if row.value.by_text { Confidence::Strong } else { Confidence::Likely };
        let leaked = if row.value.clear > 0 { " The keys were readable on this hop all the same." } else { "" };
        let message = format!(
            "The store refused {} with a customer key on {}: it runs without TLS and requires a secure connection for such keys.{leaked}",
            counted(row.sights.count, "request", "requests"),
            view.hop_name(hop)
        );
        let finding = Finding::new(&RULE, confidence, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .about("status", "400")
            .refusing(Some((400, row.sights.count)))
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::untested("run the store with certificates, and let every hop before it use https", ""));
        Some(finding)
    }
}
