//! Session tokens of temporary credentials in messages that can be read on the network path.

use sha2::{Digest as _, Sha256};

use crate::model::Side;
use crate::rules::aggregate::Distinct;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::counted;
use crate::rules::sight::Sight;
use crate::rules::{Disclosure, Finding, Findings, Fix, View, Watch, rule};
use crate::session::secrets::{Exposure, Form, Unescaped};

rule! {
    /// ## What it reports
    /// Plaintext messages with the session token of temporary credentials: the header `x-amz-security-token` (or that of
    /// another dialect of S3, or of S3 Express), `X-Amz-Security-Token` in a URL, and tokens in responses that hand them out or
    /// repeat them in an error.
    ///
    /// ## Why it matters
    /// The token alone signs nothing, but it is the half of temporary credentials that is sent with every request, and some
    /// services accept it as proof of a session. With a signature next to it the request can be replayed.
    ///
    /// ## Example
    /// A job with credentials from `AssumeRole` over an `http://` endpoint: every request shows the token.
    ///
    /// ## What to do
    /// Use TLS on the hop, and revoke the sessions that were shown (for a role: revoke older sessions).
    "session-token-in-clear" Error Leak since "0.1.0"
}

/// How many distinct tokens are told apart per hop.
const TOKENS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Tokens>,
}

#[derive(Debug, Default)]
struct Tokens {
    digests: Distinct<[u8; 32], TOKENS_MAX>,
    in_url: u64,
    in_response: u64,
    last: Option<u64>,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let tokens = || disclosed.of(Exposure::SessionToken);
        let Some(first) = tokens().next() else { return };
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, first.from)) else {
            return;
        };
        row.value.in_url += u64::from(tokens().any(|token| token.form == Form::Url));
        row.value.in_response += u64::from(tokens().any(|token| token.from == Side::Server));
        for token in tokens() {
            row.value.add(token.value);
        }
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

impl Tokens {
    /// Tokens are long and repeat on every request, so the expensive digest is made only where another hash differs from the last.
    fn add(&mut self, token: &[u8]) {
        use std::hash::{BuildHasher as _, Hasher as _};
        let mut hasher = foldhash::quality::FixedState::with_seed(1).build_hasher();
        hasher.write(token);
        let quick = Some(hasher.finish());
        if self.last != quick {
            self.last = quick;
            let digest: [u8; 32] = Sha256::digest(Unescaped::new(token).bytes()).into();
            self.digests.add(&digest, |have, new| have == new, |new| *new);
        }
    }
}

fn render(row: &HopRow<Tokens>, view: &View<'_>) -> Finding {
    let tokens = &row.value;
    let mut more = String::new();
    for (count, place) in [(tokens.in_url, "in a URL"), (tokens.in_response, "in the response")] {
        if count > 0 {
            more += &format!("; {count} {place}");
        }
    }
    let message = format!(
        "{} in plaintext on {} showed the session token of temporary credentials ({} distinct{more}).",
        counted(row.sights.count, "exchange", "exchanges"),
        view.hop_name(row.hop),
        tokens.digests.count_text(),
    );
    row.finding(&RULE, message, view)
        .about("tokens", tokens.digests.count_text())
        .fixed_by(Fix::tls_on_the_front())
        .fixed_by(Fix::untested("revoke the sessions whose tokens were shown", ""))
}
