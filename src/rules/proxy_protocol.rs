//! Connections that begin with a PROXY header.

use crate::rules::quote::{counted, list};
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, ProxiedFlows, Severity, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Connections that begin with a header of the PROXY protocol (version 1 or 2), by which a proxy names the client before any
    /// request: the version, the clients in it, and what the server answered.
    ///
    /// ## Why it matters
    /// The header is there only if both ends are set up for it. A server that does not expect it takes it for a request line and
    /// answers 400 to everything; a server that expects it and gets none does the same.
    ///
    /// ## Example
    /// HAProxy with `send-proxy` in front of a store that reads HTTP at once.
    ///
    /// ## What to do
    /// Where the server refuses it: take `send-proxy` or `send-proxy-v2` off the proxy's server line (nginx: `proxy_protocol on` in
    /// `stream`), or turn the PROXY protocol on at the server.
    "proxy-protocol" Note Cause since "0.2.0"
}

#[derive(Default)]
pub(super) struct State;

impl Watch for State {
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in view.proxied {
            findings.report(finding(row, view));
        }
    }
}

fn finding(row: &ProxiedFlows, view: &View<'_>) -> Finding {
    let clients: Vec<String> = row.clients.iter().map(ToString::to_string).collect();
    let named = match clients.as_slice() {
        [] => "it names no client".to_owned(),
        [one] => format!("the client in it is {one}"),
        more => format!("the clients in it are {}{}", list(more), if row.has_more_clients { " and others" } else { "" }),
    };
    let answer = match (row.refused, row.status) {
        (0, None) => " No response was seen.".to_owned(),
        (0, Some(status)) => format!(" The server takes it: the first response was {status}."),
        (refused, _) => format!(
            " The server answered 400 to every request on {}: it does not expect the header.",
            if refused == row.count { "them".to_owned() } else { format!("{refused} of them") }
        ),
    };
    let message = format!(
        "{} on {} {} with a PROXY protocol v{} header; {named}.{answer}",
        counted(row.count, "connection", "connections"),
        view.hop_name(row.hop),
        if row.count == 1 { "begins" } else { "begin" },
        row.version
    );
    let frames = Some(row.first).filter(|frame| frame.number() > 0).into_iter().collect();
    let mut finding = Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.count, message)
        .about("version", row.version.to_string())
        .about("client", clients.join(", "))
        .shown_by(vec![Evidence { frames, ..Evidence::default() }]);
    if row.refused > 0 {
        finding.severity = Severity::Warning;
        finding = finding.fixed_by(Fix::untested(
            "take send-proxy (or send-proxy-v2) off the proxy's server line, or turn the PROXY protocol on at the server",
            "",
        ));
    }
    finding
}
