//! Session tokens of temporary credentials in requests that anybody on the path could read.

use sha2::{Digest as _, Sha256};

use crate::hops::ClientId;
use crate::model::HeaderName;
use crate::rules::aggregate::{Distinct, PerClient};
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Requests in clear with the session token of temporary credentials: the header `x-amz-security-token`, or
    /// `X-Amz-Security-Token` in the query of a presigned URL.
    ///
    /// ## Why it matters
    /// The token alone signs nothing, but it is the half of temporary credentials that is sent with every request, and some
    /// services take it as proof of a session. With a signature beside it the request can be sent again.
    ///
    /// ## Example
    /// A job with credentials from `AssumeRole` over an `http://` endpoint: every request shows the token.
    ///
    /// ## What to do
    /// Use TLS on the hop, and revoke the sessions that were shown (for a role: revoke older sessions).
    "session-token-in-clear" Error Leak since "0.1.0"
}

/// How many distinct tokens are told apart per client.
const TOKENS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Tokens>,
}

#[derive(Default)]
struct Tokens {
    digests: Distinct<[u8; 32], TOKENS_MAX>,
    in_query: u64,
    last: Option<u64>,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear {
            return;
        }
        let headers = &call.exchange.request.headers;
        let header = headers.get(HeaderName::XAmzSecurityToken);
        let query = match header {
            None if !call.query.is_empty() => call.query.get_ignoring_case("X-Amz-Security-Token"),
            _ => None,
        };
        let Some(token) = header.or(query.as_deref()).filter(|token| !token.is_empty()) else {
            return;
        };
        let Some((row, is_first)) = self.clients.add(context.client, Sight::of_request(call.exchange)) else {
            return;
        };
        row.value.in_query += u64::from(header.is_none());
        row.value.add(token);
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

impl Tokens {
    /// Tokens are long and repeat on every request, so the dear digest is made only where a cheap hash differs from the last.
    fn add(&mut self, token: &[u8]) {
        use std::hash::{BuildHasher as _, Hasher as _};
        let mut hasher = foldhash::quality::FixedState::with_seed(1).build_hasher();
        hasher.write(token);
        let cheap = Some(hasher.finish());
        if self.last != cheap {
            self.last = cheap;
            let digest: [u8; 32] = Sha256::digest(token).into();
            self.digests.add(&digest, |have, new| have == new, |new| *new);
        }
    }
}

impl State {
    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let hop = view.clients.client(client)?.hop;
        let message = format!(
            "{} in clear on {} showed the session token of temporary credentials ({} distinct{}).",
            counted(row.sights.count, "request", "requests"),
            view.hop_name(hop),
            row.value.digests.count_text(),
            if row.value.in_query > 0 { format!("; {} in the URL", row.value.in_query) } else { String::new() },
        );
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .about("tokens", row.value.digests.count_text())
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::tls_on_the_front())
            .fixed_by(Fix::untested("revoke the sessions whose tokens were shown", ""));
        Some(finding)
    }
}
