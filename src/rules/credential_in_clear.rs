//! Credentials in messages that can be read on the network path.

use crate::model::Side;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::{counted, list};
use crate::rules::sight::Sight;
use crate::rules::{Disclosure, Finding, Findings, Fix, View, Watch, rule};
use crate::session::secrets::{Exposed, Exposure, Kind, cookies, is_credential};

rule! {
    /// ## What it reports
    /// Plaintext messages with a secret that lets somebody act as the client: secret access keys in responses (`AssumeRole`,
    /// `CreateSession`, the instance metadata service), passwords and tokens in requests (LDAP, web identity, SAML, OAuth,
    /// `Bearer`, `Basic`, proxy credentials, user information in URLs, `X-Auth-Key` and `X-Auth-Token` of Swift, API keys), and
    /// session cookies. Session tokens of AWS have a rule of their own, and so have signatures. The contents of objects are not read.
    ///
    /// ## Why it matters
    /// Whoever reads it can act as the client until the credential expires or is revoked.
    ///
    /// ## Example
    /// `POST /` with `Action=AssumeRoleWithWebIdentity` to the plain HTTP front of a proxy: the request holds the web identity
    /// token, and the response `<SecretAccessKey>…</SecretAccessKey>` and `<SessionToken>…</SessionToken>`.
    ///
    /// ## What to do
    /// Use TLS for the service that takes or returns credentials, and revoke what was shown.
    "credential-in-clear" Error Leak since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Counts>,
}

/// Exchanges by what they showed, and on which side.
#[derive(Debug, Default)]
pub(super) struct Counts {
    kinds: Vec<(Kind, Side, u64)>,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let mut seen: Vec<(Kind, Side)> = Vec::new();
        for secret in disclosed.of(Exposure::Credential).filter(|secret| lets_act(secret, disclosed)) {
            if !seen.contains(&(secret.kind, secret.from)) {
                seen.push((secret.kind, secret.from));
            }
        }
        let Some((_, side)) = seen.iter().find(|(_, side)| *side == Side::Server).or(seen.first()).copied() else { return };
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, side)) else {
            return;
        };
        for (kind, side) in seen {
            match row.value.kinds.iter_mut().find(|(have, at, _)| (*have, *at) == (kind, side)) {
                Some((.., count)) => *count += 1,
                None => row.value.kinds.push((kind, side, 1)),
            }
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

/// Cookies that keep a client on one server, or hold a word, open nothing.
fn lets_act(secret: &Exposed<'_>, disclosed: &Disclosure<'_>) -> bool {
    secret.kind != Kind::Cookie || disclosed.is_redacted(secret) || cookies(secret.value).any(|(name, value)| is_credential(name, value))
}

fn render(row: &HopRow<Counts>, view: &View<'_>) -> Finding {
    let mut kinds = row.value.kinds.clone();
    kinds.sort_unstable_by_key(|(kind, side, _)| (*kind, *side == Side::Server));
    let words: Vec<String> = kinds
        .iter()
        .map(|(kind, side, count)| {
            let messages = match side {
                Side::Client => counted(*count, "request", "requests"),
                Side::Server => counted(*count, "response", "responses"),
            };
            format!("{} in {messages}", name_of(*kind))
        })
        .collect();
    let message = format!(
        "{} in plaintext on {} held credentials: {}.",
        counted(row.sights.count, "exchange", "exchanges"),
        view.hop_name(row.hop),
        list(&words)
    );
    let mut labels: Vec<&str> = kinds.iter().map(|(kind, ..)| kind.label()).collect();
    labels.dedup();
    row.finding(&RULE, message, view)
        .about("kinds", labels.join(", "))
        .fixed_by(Fix::untested("use TLS for the service that takes or returns credentials", ""))
        .fixed_by(Fix::untested("revoke the credentials that were shown", ""))
}

const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::SecretKey => "a secret key",
        Kind::Password => "a password",
        Kind::Cookie => "a session cookie",
        _ => "a bearer token",
    }
}
