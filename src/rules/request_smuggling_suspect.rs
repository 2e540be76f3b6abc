//! Messages that two readers would cut differently.

use crate::hops::HopId;
use crate::model::{Anomaly, Exchange};
use crate::rules::quote::counted;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Finding, Findings, Fix, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Messages whose end two readers may find at different places: `Content-Length` beside `Transfer-Encoding`, lengths that
    /// differ, transfer codings and chunk sizes that are misspelt, header lines that only lenient readers accept. It is
    /// reported on any decoded hop, in clear or TLS, and for any HTTP, S3 or not.
    ///
    /// ## Why it matters
    /// Where a proxy and the server behind it disagree on where a request ends, the rest becomes a request of its own, sent
    /// with somebody else's rights (request smuggling, RFC 9112 section 11.2).
    ///
    /// ## Example
    /// `Content-Length: 6` and `Transfer-Encoding: chunked` in one request through a proxy.
    ///
    /// ## What to do
    /// Find the client that sends it. Let the proxy refuse such messages.
    "request-smuggling-suspect" Warning since "0.1.0"
}

/// How many groups of hop and oddity are kept.
const GROUPS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct State {
    groups: Vec<(HopId, Anomaly, Sights)>,
}

impl Watch for State {
    fn handle_exchange(&mut self, exchange: &Exchange, hop: HopId, view: &View<'_>, findings: &mut Findings) {
        for anomaly in exchange.anomalies.iter().copied().filter(|anomaly| doubt(*anomaly).is_some()) {
            let index = match self.groups.iter().position(|(have, what, _)| *have == hop && *what == anomaly) {
                Some(index) => index,
                None if self.groups.len() < GROUPS_MAX => {
                    self.groups.push((hop, anomaly, Sights::default()));
                    self.groups.len() - 1
                }
                None => continue,
            };
            if let Some((_, _, sights)) = self.groups.get_mut(index) {
                sights.add(Sight::of_both(exchange));
                if sights.count == 1
                    && let Some(finding) = render(hop, anomaly, sights, view)
                {
                    findings.raise(finding);
                }
            }
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (hop, anomaly, sights) in &self.groups {
            if let Some(finding) = render(*hop, *anomaly, sights, view) {
                findings.report(finding);
            }
        }
    }
}

/// How surely two readers differ over it; `None` for what has nothing to do with the end of messages.
const fn doubt(anomaly: Anomaly) -> Option<Confidence> {
    match anomaly {
        Anomaly::LengthAndTransferEncoding | Anomaly::ConflictingLengths | Anomaly::InvalidTransferEncoding => Some(Confidence::Strong),
        Anomaly::InvalidLength
        | Anomaly::InvalidChunkSize
        | Anomaly::InvalidChunkEnd
        | Anomaly::TransferEncodingInHttp10
        | Anomaly::SpaceBeforeColon
        | Anomaly::ObsoleteFold
        | Anomaly::BareCarriageReturn
        | Anomaly::NulInHead => Some(Confidence::Likely),
        Anomaly::BareLineFeed | Anomaly::ChunkExtension | Anomaly::InvalidHeaderName | Anomaly::LineWithoutColon | Anomaly::OddStartLine => {
            Some(Confidence::Possible)
        }
        _ => None,
    }
}

fn render(hop: HopId, anomaly: Anomaly, sights: &Sights, view: &View<'_>) -> Option<Finding> {
    let message = format!(
        "{} on {} with {}: two readers may cut it at different places.",
        counted(sights.count, "exchange", "exchanges"),
        view.hop_name(hop),
        anomaly.name()
    );
    let finding = Finding::new(&RULE, doubt(anomaly)?, Some(hop), sights.count, message)
        .about("anomaly", anomaly.name())
        .shown_by(sights.evidence())
        .fixed_by(Fix::untested("let the proxy refuse messages whose end is ambiguous", ""));
    Some(finding)
}
