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

/// Exchanges by what they showed, what it is called, and on which side.
#[derive(Debug, Default)]
pub(super) struct Counts {
    kinds: Vec<(Kind, &'static str, Side, u64)>,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let mut seen: Vec<(Kind, &'static str, Side)> = Vec::new();
        for secret in disclosed.of(Exposure::Credential).filter(|secret| lets_act(secret, disclosed)) {
            let one = (secret.kind, name_of(secret, disclosed), secret.from);
            if !seen.contains(&one) {
                seen.push(one);
            }
        }
        let Some((.., side)) = seen.iter().find(|(.., side)| *side == Side::Server).or(seen.first()).copied() else { return };
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, side)) else {
            return;
        };
        for (kind, name, side) in seen {
            match row.value.kinds.iter_mut().find(|(_, have, at, _)| (*have, *at) == (name, side)) {
                Some((.., count)) => *count += 1,
                None => row.value.kinds.push((kind, name, side, 1)),
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
    kinds.sort_unstable_by_key(|(kind, name, side, _)| (*kind, *name, *side == Side::Server));
    let words: Vec<String> = kinds
        .iter()
        .map(|(_, name, side, count)| {
            let messages = match side {
                Side::Client => counted(*count, "request", "requests"),
                Side::Server => counted(*count, "response", "responses"),
            };
            format!("{name} in {messages}")
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

/// What a secret is called: by the service that it is for, where the call or the field says that.
fn name_of(secret: &Exposed<'_>, disclosed: &Disclosure<'_>) -> &'static str {
    let headers = &disclosed.exchange.request.headers;
    let is_in = |field: &str| {
        let values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(field.as_bytes()));
        secret.from == Side::Client && values.into_iter().any(|(_, value)| memchr::memmem::find(value, secret.value).is_some())
    };
    if is_in("proxy-authorization") {
        return "proxy credentials";
    }
    if is_in("x-auth-key") || is_in("x-auth-token") {
        return "Swift credentials";
    }
    let operation = disclosed.call.filter(|_| secret.from == Side::Client).map(|call| call.operation.name());
    match (secret.kind, operation) {
        (Kind::Password, Some("AssumeRoleWithLDAPIdentity")) => "an LDAP password",
        (Kind::Bearer, Some("AssumeRoleWithWebIdentity")) => "a web identity token",
        (Kind::Bearer, Some("AssumeRoleWithClientGrants")) => "an OAuth token",
        (Kind::Bearer, Some("AssumeRoleWithSAML")) => "a SAML assertion",
        (Kind::SecretKey, _) => "a secret key",
        (Kind::Password, _) => "a password",
        (Kind::Cookie, _) => "a session cookie",
        _ => "a bearer token",
    }
}
