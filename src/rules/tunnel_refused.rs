//! Tunnels that a forward proxy refused to open: no call of the client went any further.

use std::net::IpAddr;

use crate::hops::HopId;
use crate::model::Exchange;
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Origin;

rule! {
    /// ## What it reports
    /// `CONNECT` requests that a forward proxy answered with an error, with the status, the target, and the proxy's name where it
    /// gives one. It is reported on plaintext and decrypted hops.
    ///
    /// ## Why it matters
    /// The client sends nothing to the store: no S3 request exists, and the client says only that it could not connect to the
    /// proxy.
    ///
    /// ## Example
    /// Squid allows `CONNECT` to port 443 alone (`SSL_ports`), and the store is on port 7443: 403 `ERR_ACCESS_DENIED`.
    ///
    /// ## What to do
    /// 403: allow the target's port or host in the proxy (Squid: `acl SSL_ports port …`), or reach the store without this proxy
    /// (`NO_PROXY`). 407: give the client the proxy's credentials. 502 and 504: the proxy cannot reach the target.
    "tunnel-refused" Error Failure since "0.2.0"
}

/// How many combinations of hop, status and target are told apart; further ones are counted with the last.
const ROWS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
}

struct Row {
    hop: HopId,
    status: u16,
    target: Vec<u8>,
    origin: Origin,
    /// What Squid says, as in `ERR_ACCESS_DENIED`.
    reason: Option<String>,
    clients: Vec<IpAddr>,
    sights: Sights,
}

impl Watch for State {
    fn handle_exchange(&mut self, exchange: &Exchange, hop: HopId, _view: &View<'_>, _findings: &mut Findings) {
        if exchange.request.method() != b"CONNECT" {
            return;
        }
        let Some(response) = exchange.response().filter(|response| response.status >= 400) else {
            return;
        };
        let target = exchange.request.target();
        let is_same = |row: &Row| row.hop == hop && row.status == response.status && row.target == target;
        let index = match self.rows.iter().position(is_same) {
            Some(index) => index,
            None if self.rows.len() < ROWS_MAX => {
                let reason = response.headers.find("x-squid-error").map(quote);
                self.rows.push(Row {
                    hop,
                    status: response.status,
                    target: target.get(..256).unwrap_or(target).to_vec(),
                    origin: Origin::of_response(response),
                    reason,
                    clients: Vec::new(),
                    sights: Sights::default(),
                });
                self.rows.len() - 1
            }
            None => ROWS_MAX - 1,
        };
        if let Some(row) = self.rows.get_mut(index) {
            row.sights.add(Sight::of_both(exchange));
            let client = exchange.endpoints.client.ip;
            if row.clients.len() < 8 && !row.clients.contains(&client) {
                row.clients.push(client);
            }
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in &self.rows {
            findings.report(render(row, view));
        }
    }
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let proxy = match row.origin {
        Origin::Proxy(name) => name,
        Origin::Store | Origin::Unknown => "the proxy",
    };
    let target = quote(&row.target);
    let reason = row.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let message = format!(
        "{} to {target} on {} got {}{reason}: {proxy} did not open the tunnel, and no request went to the store.",
        counted(row.sights.count, "CONNECT request", "CONNECT requests"),
        view.hop_name(row.hop),
        row.status
    );
    let (cause, action) = match row.status {
        403 | 405 => (
            format!("{proxy} does not allow tunnels to {target}"),
            format!("allow {target} in the proxy (Squid: acl SSL_ports port …), or reach it without the proxy (NO_PROXY)"),
        ),
        407 => (format!("{proxy} wants credentials"), "give the client the user and password of the proxy".to_owned()),
        502..=504 => (
            format!("{proxy} could not reach {target}"),
            format!("check that {target} can be resolved and reached from the proxy"),
        ),
        _ => (format!("{proxy} refused the tunnel to {target}"), "look at the log of the proxy at the time of these frames".to_owned()),
    };
    let clients: Vec<String> = row.clients.iter().map(ToString::to_string).collect();
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.sights.count, message)
        .caused_by(cause)
        .about("clients", list(&clients))
        .about("status", row.status.to_string())
        .about("target", target)
        .shown_by(row.sights.evidence())
        .fixed_by(Fix::untested(&action, ""))
}
