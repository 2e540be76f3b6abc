//! TLS flows that stayed shut, where that matters.

use crate::hops::HopId;
use crate::rules::quote::{bytes_text, counted};
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, View, Watch, rule};

rule! {
    /// ## What it reports
    /// TLS connections that stayed shut and why, by hop. It is reported where it matters: on a hop that S3 calls were decoded
    /// on, or that lies next to one, and on every hop when no S3 call was decoded at all.
    ///
    /// ## Why it matters
    /// What is inside was not judged. A hop that stayed shut is not seen, and never clean.
    ///
    /// ## Example
    /// The capture starts after the proxy has opened its pooled connections to the store: no key opens a connection whose
    /// handshake was not captured.
    ///
    /// ## What to do
    /// Give a key log (`--keylog`), or a capture with the secrets inside; start the capture before the connections are opened.
    "tls-not-decrypted" Note since "0.1.0"
}

#[derive(Default)]
pub(super) struct State;

impl Watch for State {
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let any_call = view.hops.hops().iter().any(|hop| hop.calls > 0);
        for shut in view.shut.iter().filter(|shut| !any_call || is_near_calls(shut.hop, view)) {
            let todo = match shut.reason {
                "no-secret" => "No secret is known: give a key log.",
                "handshake-not-captured" => "The capture starts after the handshake, so no key log helps.",
                "packet-missing" => "Packets are missing, and no place to continue was found.",
                "wrong-secret" => "The secrets given do not fit.",
                _ => "This kind is not decoded.",
            };
            let message = format!(
                "{} on {} {} not decrypted ({}), with {} of application data not judged. {todo}",
                counted(shut.count, "TLS connection", "TLS connections"),
                view.hop_name(shut.hop),
                if shut.count == 1 { "was" } else { "were" },
                shut.reason,
                bytes_text(shut.sealed_bytes)
            );
            let frame = Some(shut.first).filter(|frame| frame.number() > 0);
            findings.report(
                Finding::new(&RULE, Confidence::Certain, Some(shut.hop), shut.count, message)
                    .about("reason", shut.reason)
                    .shown_by(vec![Evidence { frames: frame.into_iter().collect(), ..Evidence::default() }])
                    .fixed_by(Fix::untested("give the key log of either end (--keylog), and start the capture before the connections", "")),
            );
        }
    }
}

/// Whether S3 calls were decoded on the hop, or on one that leads to it or from it.
fn is_near_calls(hop: HopId, view: &View<'_>) -> bool {
    let has_calls = |hop: HopId| view.hops.hop(hop).is_some_and(|hop| hop.calls > 0);
    has_calls(hop) || view.hops.upstream(hop).is_some_and(has_calls) || view.hops.downstream(hop).any(has_calls)
}
