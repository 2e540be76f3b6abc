//! Secret access keys in bodies that anybody on the path could read.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::hops::HopId;
use crate::model::Exchange;
use crate::rules::quote::counted;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// A body in clear with a secret access key: the answer of a token service (`AssumeRole` and its kin), of a metadata
    /// service, or any other message that is no object and names `SecretAccessKey`.
    ///
    /// ## Why it matters
    /// Who reads it can sign any request until the credentials expire or are revoked.
    ///
    /// ## Example
    /// `POST /` with `Action=AssumeRoleWithWebIdentity` to the plain HTTP front of a proxy: the answer holds
    /// `<SecretAccessKey>…</SecretAccessKey>` and `<SessionToken>…</SessionToken>`.
    ///
    /// ## What to do
    /// Use TLS for the token service, and revoke what was shown.
    "credential-in-clear" Error Leak since "0.1.0"
}

/// How many hops are told apart; a run has few.
const HOPS_MAX: usize = 256;

/// What names a secret access key: in XML and JSON answers, in the files of SDKs, and in MinIO's own formats.
static NAMES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["SecretAccessKey", "aws_secret_access_key", "\"secretKey\""].map(Finder::new));

#[derive(Default)]
pub(super) struct State {
    hops: Vec<(HopId, Sights)>,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        // Objects and lists are not searched: their contents are the users', and the search would cost on every call.
        let may_tell = call.operation.is_sts() || call.operation == Operation::UNKNOWN;
        if context.is_clear && may_tell {
            self.search(call.exchange, context.hop, &context.view, findings);
        }
    }

    fn handle_exchange(&mut self, exchange: &Exchange, hop: HopId, view: &View<'_>, findings: &mut Findings) {
        if exchange.transport.is_clear() {
            self.search(exchange, hop, view, findings);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (hop, sights) in &self.hops {
            findings.report(render(*hop, sights, view));
        }
    }
}

impl State {
    fn search(&mut self, exchange: &Exchange, hop: HopId, view: &View<'_>, findings: &mut Findings) {
        let names_key = |body: &[u8]| !body.is_empty() && NAMES.iter().any(|name| name.find(body).is_some());
        let in_request = names_key(&exchange.request.body.kept);
        let in_response = exchange.response().is_some_and(|response| names_key(&response.body.kept));
        if !in_request && !in_response {
            return;
        }
        let sight = if in_response { Sight::of_response(exchange) } else { Sight::of_request(exchange) };
        let index = match self.hops.iter().position(|(have, _)| *have == hop) {
            Some(index) => index,
            None if self.hops.len() < HOPS_MAX => {
                self.hops.push((hop, Sights::default()));
                self.hops.len() - 1
            }
            None => return,
        };
        let Some((_, sights)) = self.hops.get_mut(index) else {
            return;
        };
        sights.add(sight);
        if sights.count == 1 {
            findings.raise(render(hop, sights, view));
        }
    }
}

fn render(hop: HopId, sights: &Sights, view: &View<'_>) -> Finding {
    let message = format!(
        "{} in clear on {} held a secret access key in a body.",
        counted(sights.count, "exchange", "exchanges"),
        view.hop_name(hop)
    );
    Finding::new(&RULE, Confidence::Certain, Some(hop), sights.count, message)
        .shown_by(sights.evidence())
        .fixed_by(Fix::untested("use TLS for the service that hands out credentials", ""))
        .fixed_by(Fix::untested("revoke the credentials that were shown", ""))
}
