//! Messages that two readers would cut differently.

use crate::hops::HopId;
use crate::model::{Anomaly, Exchange, Framing, HeaderName, Headers};
use crate::rules::quote::{counted, quote};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Finding, Findings, Fix, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Messages whose end two readers may find at different places: `Content-Length` beside `Transfer-Encoding`, lengths that
    /// differ, transfer codings and chunk sizes that are misspelt, header lines that only lenient readers accept. It is
    /// reported on any decoded hop, in clear or TLS, and for any HTTP, S3 or not. Both readings are told: the one that hopwire
    /// took, and the one that another reader may take.
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
    groups: Vec<Group>,
}

/// Exchanges of one hop with the same oddity.
struct Group {
    hop: HopId,
    anomaly: Anomaly,
    sights: Sights,
    /// How the first of them can be read.
    readings: String,
}

impl Watch for State {
    fn handle_exchange(&mut self, exchange: &Exchange, hop: HopId, view: &View<'_>, findings: &mut Findings) {
        for anomaly in exchange.anomalies.iter().copied().filter(|anomaly| doubt(*anomaly).is_some()) {
            let known = self.groups.iter().position(|group| group.hop == hop && group.anomaly == anomaly);
            if known.is_none() && self.groups.len() < GROUPS_MAX {
                self.groups.push(Group { hop, anomaly, sights: Sights::default(), readings: readings(exchange, anomaly) });
            }
            let group = match known {
                Some(index) => self.groups.get_mut(index),
                None => self.groups.last_mut().filter(|group| group.sights.count == 0),
            };
            let Some(group) = group else { continue };
            group.sights.add(Sight::of_both(exchange));
            if known.is_none()
                && let Some(finding) = render(group, view)
            {
                findings.raise(finding);
            }
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for finding in self.groups.iter().filter_map(|group| render(group, view)) {
            findings.report(finding);
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

fn render(group: &Group, view: &View<'_>) -> Option<Finding> {
    let Group { hop, anomaly, sights, readings } = group;
    let message = format!(
        "{} on {} with {}: two readers may cut it at different places.{readings}",
        counted(sights.count, "exchange", "exchanges"),
        view.hop_name(*hop),
        anomaly.name()
    );
    let finding = Finding::new(&RULE, doubt(*anomaly)?, Some(*hop), sights.count, message)
        .about("anomaly", anomaly.name())
        .shown_by(sights.evidence())
        .fixed_by(Fix::untested("let the proxy refuse messages whose end is ambiguous", ""));
    Some(finding)
}

/// Both readings of the message that shows the oddity: the one taken here, and the one that another reader may take.
fn readings(exchange: &Exchange, anomaly: Anomaly) -> String {
    let request = Fields::of(&exchange.request.headers);
    let response = exchange.response().map(|response| (Fields::of(&response.headers), &response.body));
    let (what, fields, body) = match response {
        Some((fields, body)) if !request.shows(anomaly) && fields.shows(anomaly) => ("response", fields, body),
        _ => ("request", request, &exchange.request.body),
    };
    let taken = match body.framing {
        Framing::None => "no body".to_owned(),
        Framing::Length(length) => format!("a body of {length} bytes by its Content-Length"),
        Framing::Chunked => format!("a chunked body of {} bytes", body.length),
        Framing::UntilClose => "a body up to the end of the connection".to_owned(),
        Framing::Tunnel => "a tunnel".to_owned(),
    };
    match fields.other_reading(anomaly, body.framing) {
        Some(other) => format!(" In {} the {what} is read here with {taken}; another reader may see {other}.", exchange.id),
        None => format!(" In {} one message is read here with {taken}.", exchange.id),
    }
}

/// The fields of a head that tell where its message ends.
#[derive(Default)]
struct Fields<'a> {
    lengths: Vec<&'a [u8]>,
    codings: Vec<&'a [u8]>,
}

/// Values of one name that are looked at.
const VALUES_MAX: usize = 4;

impl<'a> Fields<'a> {
    fn of(headers: &'a Headers) -> Self {
        let mut fields = Self::default();
        for (name, _, value) in headers.known() {
            let values = match name {
                HeaderName::ContentLength => &mut fields.lengths,
                HeaderName::TransferEncoding => &mut fields.codings,
                _ => continue,
            };
            if values.len() < VALUES_MAX {
                values.push(value);
            }
        }
        fields
    }

    /// Whether the oddity can be of this head.
    fn shows(&self, anomaly: Anomaly) -> bool {
        let length_is_odd = |value: &&[u8]| !matches!(value, [b'0'] | [b'1'..=b'9', ..]) || value.iter().any(|byte| !byte.is_ascii_digit());
        match anomaly {
            Anomaly::LengthAndTransferEncoding => !self.lengths.is_empty() && !self.codings.is_empty(),
            Anomaly::ConflictingLengths => self.lengths.len() > 1 || self.lengths.iter().any(length_is_odd),
            Anomaly::InvalidLength => self.lengths.iter().any(|value| length_is_odd(value) || value.len() > 18),
            Anomaly::InvalidTransferEncoding => self.codings.len() > 1 || self.codings.iter().any(|value| *value != b"chunked"),
            Anomaly::TransferEncodingInHttp10 | Anomaly::InvalidChunkSize | Anomaly::InvalidChunkEnd | Anomaly::ChunkExtension => {
                !self.codings.is_empty()
            }
            _ => false,
        }
    }

    /// What a reader sees that decides otherwise.
    fn other_reading(&self, anomaly: Anomaly, taken: Framing) -> Option<String> {
        let length = || match self.lengths.as_slice() {
            [] => "none, and take what follows for the next message".to_owned(),
            values => format!("one of Content-Length {}", quoted(values)),
        };
        let coding = || format!("one by Transfer-Encoding {}", quoted(&self.codings));
        match anomaly {
            Anomaly::LengthAndTransferEncoding | Anomaly::InvalidTransferEncoding | Anomaly::TransferEncodingInHttp10 => {
                Some(if taken == Framing::Chunked { length() } else { coding() })
            }
            Anomaly::ConflictingLengths | Anomaly::InvalidLength => Some(length()),
            Anomaly::InvalidChunkSize | Anomaly::InvalidChunkEnd | Anomaly::ChunkExtension => {
                Some("a chunk that ends elsewhere, or refuse it".to_owned())
            }
            Anomaly::SpaceBeforeColon
            | Anomaly::ObsoleteFold
            | Anomaly::BareCarriageReturn
            | Anomaly::NulInHead
            | Anomaly::BareLineFeed
            | Anomaly::InvalidHeaderName
            | Anomaly::LineWithoutColon => Some("other fields, and so another end, or refuse it".to_owned()),
            _ => None,
        }
    }
}

fn quoted(values: &[&[u8]]) -> String {
    values.iter().map(|value| format!("`{}`", quote(value))).collect::<Vec<_>>().join(" or ")
}
