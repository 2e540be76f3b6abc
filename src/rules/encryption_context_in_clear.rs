//! KMS encryption contexts in messages that can be read on the network path.

use crate::model::Side;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Disclosure, Finding, Findings, Fix, View, Watch, rule};
use crate::session::secrets::Exposure;

rule! {
    /// ## What it reports
    /// Plaintext messages with `x-amz-server-side-encryption-context`, in requests or in responses.
    ///
    /// ## Why it matters
    /// The context is JSON in base64: not encrypted, and often with names of tenants, projects or data classes. It is bound to
    /// the key use, so it belongs to what a decryption request must present.
    ///
    /// ## Example
    /// A PUT with `aws:kms` and a context over an `http://` endpoint; the store repeats the context in the response to every HEAD.
    ///
    /// ## What to do
    /// Use TLS on the hop, or keep names out of the context.
    "encryption-context-in-clear" Warning Exposure since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    responses: u64,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let from = |side| u64::from(disclosed.of(Exposure::EncryptionContext).any(|secret| secret.from == side));
        let (requests, responses) = (from(Side::Client), from(Side::Server));
        if requests + responses == 0 {
            return;
        }
        let side = if requests > 0 { Side::Client } else { Side::Server };
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, side)) else {
            return;
        };
        row.value.requests += requests;
        row.value.responses += responses;
        if is_first {
            findings.raise(render(row, &disclosed.view));
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.hops.iter() {
            findings.report(render(row, view));
        }
    }
}

fn render(row: &HopRow<Counts>, view: &View<'_>) -> Finding {
    let message = format!(
        "{} in plaintext on {} showed a KMS encryption context (in {} and {}).",
        counted(row.sights.count, "exchange", "exchanges"),
        view.hop_name(row.hop),
        counted(row.value.requests, "request", "requests"),
        counted(row.value.responses, "response", "responses"),
    );
    row.finding(&RULE, message, view).fixed_by(Fix::tls_on_the_front())
}
