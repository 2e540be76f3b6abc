//! https to a port without TLS, and http to a port with TLS.

use crate::hops::HopId;
use crate::model::{Exchange, TlsFailureKind};
use crate::rules::quote::counted;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::is_plaintext_to_tls;

rule! {
    /// ## What it reports
    /// Clients that use the wrong scheme: a TLS ClientHello that the server answers in plaintext, and requests in plaintext that the
    /// server refuses because its port expects TLS (by a TLS alert, or by a 400 that says so). Such requests are not S3 calls: no
    /// store has read them. Secrets in them are reported all the same, since they crossed in plaintext.
    ///
    /// ## Why it matters
    /// Nothing works until the scheme of the endpoint and the port agree, and the client's own message (`WRONG_VERSION_NUMBER`,
    /// `Unsupported or unrecognized SSL message`, `400 Bad Request`) does not say which of the two is wrong.
    ///
    /// ## Example
    /// `fs.s3a.endpoint=https://proxy:8080`, where the proxy serves http on 8080.
    ///
    /// ## What to do
    /// Change `https://` to `http://` in the client's endpoint or the other way round, or turn TLS on at the server. Prefer TLS.
    "wrong-scheme" Error Failure since "0.2.0"
}

/// How many hops are told apart.
const HOPS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct State {
    plaintext: Vec<(HopId, Sights)>,
}

impl Watch for State {
    fn handle_exchange(&mut self, exchange: &Exchange, hop: HopId, _view: &View<'_>, _findings: &mut Findings) {
        if !exchange.transport.is_clear() || !is_plaintext_to_tls(exchange) {
            return;
        }
        let sight = Sight::of_both(exchange);
        let known = self.plaintext.iter().position(|(have, _)| *have == hop);
        if known.is_none() && self.plaintext.len() < HOPS_MAX {
            self.plaintext.push((hop, Sights::default()));
        }
        let at = known.unwrap_or(self.plaintext.len().saturating_sub(1));
        if let Some((_, sights)) = self.plaintext.get_mut(at) {
            sights.add(sight);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in view.tls_failures {
            let answer = match row.kind {
                TlsFailureKind::PlainHttp(status) if status > 0 => format!("HTTP {status} in plaintext"),
                TlsFailureKind::PlainHttp(_) => "HTTP in plaintext".to_owned(),
                TlsFailureKind::NotTls => "something that is not TLS".to_owned(),
                _ => continue,
            };
            let message = format!(
                "{} on {} began with TLS, and the server answered with {answer}: the client uses https on a port without TLS. \
                 No request was sent.",
                counted(row.count, "connection", "connections"),
                view.hop_name(row.hop)
            );
            let frames = Some(row.first).filter(|frame| frame.number() > 0).into_iter().collect();
            let fix = "use http:// for this endpoint, or turn TLS on at the server (which is better)";
            findings.report(
                Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.count, message)
                    .about("sent", "tls")
                    .about("expected", "http")
                    .shown_by(vec![Evidence { frames, ..Evidence::default() }])
                    .fixed_by(Fix::untested(fix, "an endpoint in http shows credentials and data on the network path")),
            );
        }
        for (hop, sights) in &self.plaintext {
            let message = format!(
                "{} on {} came in plaintext to a port that expects TLS, and the server refused {}: the client uses http where it \
                 must use https.",
                counted(sights.count, "request", "requests"),
                view.hop_name(*hop),
                if sights.count == 1 { "it" } else { "them" }
            );
            findings.report(
                Finding::new(&RULE, Confidence::Certain, Some(*hop), sights.count, message)
                    .about("sent", "http")
                    .about("expected", "tls")
                    .shown_by(sights.evidence())
                    .fixed_by(Fix::untested("use https:// for this endpoint", "")),
            );
        }
    }
}
