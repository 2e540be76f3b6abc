//! A connection as a line of a session, written and read: what it carried, and what of it stayed shut or is missing.

use std::sync::Arc;

use serde::Deserialize;

use crate::model::{
    Anomaly, Close, Endpoints, FlowClosed, FlowId, FlowOpened, Frame, Handshake, LossReason, Protocol, Proxied, ProxyHeader,
    Shut, Side, Stamp, StreamCount, TlsFailure, TlsFailureKind, Transport, Undecoded,
};
use crate::session::json_text::JsonText;
use crate::session::jsonl::parts::{TlsPart, parse_endpoint, parse_time, parse_transport};
use crate::session::jsonl::read::RecordedFlow;
use crate::session::jsonl::write::{optional_number, write_tls};
use crate::session::redact::Redactor;

/// Writes the members of an opened line after its type.
pub(super) fn write_opened(json: &mut JsonText, opened: &FlowOpened) {
    json.key("flow");
    json.number(opened.flow.0);
    json.key("client");
    json.display(opened.endpoints.client);
    json.key("server");
    json.display(opened.endpoints.server);
    write_stamp(json, "first", Some((opened.first.at, opened.first.frame)));
}

/// Writes the members of a flow line after its type.
pub(super) fn write_flow(json: &mut JsonText, closed: &FlowClosed, hop: Option<&str>, redactor: &Redactor) {
    json.key("flow");
    json.number(closed.flow.0);
    json.key("hop");
    match hop {
        Some(hop) => json.string(hop),
        None => json.null(),
    }
    json.key("client");
    json.display(closed.endpoints.client);
    json.key("server");
    json.display(closed.endpoints.server);
    write_protocol(json, &closed.protocol, redactor);
    write_stamp(json, "first", Some((closed.first.at, closed.first.frame)));
    write_stamp(json, "last", Some((closed.last.at, closed.last.frame)));
    json.key("has_start");
    json.boolean(closed.has_start);
    json.key("both_sides");
    json.boolean(closed.both_sides);
    json.key("close");
    json.string(close_label(closed.close));
    write_count(json, "sent", &closed.client);
    write_count(json, "received", &closed.server);
    json.key("packets");
    json.number(closed.packets);
    json.key("exchanges");
    json.number(closed.exchanges.into());
    json.key("anomalies");
    json.open(b'[');
    for anomaly in &closed.anomalies {
        json.string(anomaly.name());
    }
    json.close(b']');
    json.key("first_gap");
    match closed.first_gap {
        Some(frame) => write_frame(json, frame),
        None => json.null(),
    }
    if let Some(target) = &closed.tunnel {
        json.key("tunnel");
        json.string(&redactor.scrub_text(target));
    }
    if let Some(proxied) = closed.proxied.as_deref() {
        write_proxied(json, proxied);
    }
    json.key("undecoded");
    json.open(b'[');
    for undecoded in &closed.undecoded {
        json.open(b'{');
        json.key("reason");
        json.string(undecoded.reason.label());
        json.key("bytes");
        json.number(undecoded.bytes);
        json.key("first");
        write_frame(json, undecoded.first);
        json.close(b'}');
    }
    json.close(b']');
}

fn write_proxied(json: &mut JsonText, proxied: &Proxied) {
    json.key("proxied");
    json.open(b'{');
    json.key("version");
    json.number(proxied.header.version.into());
    for (name, end) in [("client", proxied.header.client), ("server", proxied.header.server)] {
        json.key(name);
        match end {
            Some(end) => json.display(end),
            None => json.null(),
        }
    }
    json.key("status");
    optional_number(json, proxied.status.map(u64::from));
    json.key("refused");
    json.boolean(proxied.is_refused);
    write_stamp(json, "at", Some((proxied.header.stamp.at, proxied.header.stamp.frame)));
    json.close(b'}');
}

fn write_protocol(json: &mut JsonText, protocol: &Protocol, redactor: &Redactor) {
    json.key("protocol");
    json.string(match protocol {
        Protocol::Silent => "silent",
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
        Protocol::Other => "other",
        Protocol::Tls { .. } => "tls",
    });
    let Protocol::Tls { view, shut, sealed_bytes, handshake } = protocol else {
        return;
    };
    json.key("version");
    match view.version {
        Some(version) => json.string(version.label()),
        None => json.null(),
    }
    write_tls(json, view, redactor);
    json.key("shut");
    match shut {
        Some(shut) => json.string(shut.label()),
        None => json.null(),
    }
    json.key("shut_detail");
    optional_number(
        json,
        match shut {
            Some(Shut::SuiteNotSupported(suite)) => Some(u64::from(*suite)),
            Some(Shut::PacketMissing(record)) => Some(*record),
            _ => None,
        },
    );
    json.key("sealed_bytes");
    json.number(*sealed_bytes);
    json.key("handshake");
    json.string(match handshake {
        Handshake::Open => "open",
        Handshake::Established => "established",
        Handshake::Failed(_) => "failed",
    });
    if let Handshake::Failed(failure) = handshake {
        write_failure(json, failure);
    }
}

fn write_failure(json: &mut JsonText, failure: &TlsFailure) {
    json.key("failure");
    json.open(b'{');
    let (kind, code) = match failure.kind {
        TlsFailureKind::Alert(description) => ("alert", Some(u64::from(description))),
        TlsFailureKind::PlainHttp(status) => ("plaintext-http", Some(u64::from(status))),
        TlsFailureKind::EncryptedAlert => ("encrypted-alert", None),
        TlsFailureKind::Closed => ("closed", None),
        TlsFailureKind::NotTls => ("not-tls", None),
    };
    json.key("kind");
    json.string(kind);
    json.key("code");
    optional_number(json, code);
    json.key("by");
    json.string(if failure.from == Side::Client { "client" } else { "server" });
    write_stamp(json, "at", Some((failure.stamp.at, failure.stamp.frame)));
    json.close(b'}');
}

fn write_stamp(json: &mut JsonText, name: &'static str, stamp: Option<(crate::model::Timestamp, Frame)>) {
    json.key(name);
    match stamp {
        Some((at, frame)) => {
            json.open(b'{');
            json.key("time");
            json.time(at);
            json.key("file");
            json.number(frame.file().into());
            json.key("frame");
            json.number(frame.number());
            json.close(b'}');
        }
        None => json.null(),
    }
}

fn write_frame(json: &mut JsonText, frame: Frame) {
    json.open(b'{');
    json.key("file");
    json.number(frame.file().into());
    json.key("frame");
    json.number(frame.number());
    json.close(b'}');
}

fn write_count(json: &mut JsonText, name: &'static str, count: &StreamCount) {
    json.key(name);
    json.open(b'{');
    for (name, value) in [
        ("delivered", count.delivered),
        ("missing", count.missing),
        ("acknowledged", count.acknowledged),
        ("retransmitted", count.retransmitted),
        ("segments", count.segments),
    ] {
        json.key(name);
        json.number(value);
    }
    json.close(b'}');
}

/// An opened line.
#[derive(Deserialize)]
pub(super) struct OpenedLine {
    flow: u64,
    client: String,
    server: String,
    first: StampPart,
}

impl OpenedLine {
    /// The connection that the line tells of.
    pub(super) fn build(self) -> Result<FlowOpened, String> {
        let endpoints = Endpoints { client: parse_endpoint(&self.client)?, server: parse_endpoint(&self.server)? };
        Ok(FlowOpened { flow: FlowId(self.flow), endpoints, first: self.first.build()?, syn: None })
    }
}

/// A flow line.
#[derive(Deserialize)]
pub(super) struct FlowLine {
    flow: u64,
    #[serde(default)]
    hop: Option<String>,
    client: String,
    server: String,
    protocol: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    tls: Option<TlsPart>,
    #[serde(default)]
    shut: Option<String>,
    #[serde(default)]
    shut_detail: Option<u64>,
    #[serde(default)]
    sealed_bytes: u64,
    #[serde(default)]
    handshake: Option<String>,
    #[serde(default)]
    failure: Option<FailurePart>,
    first: StampPart,
    last: StampPart,
    has_start: bool,
    both_sides: bool,
    close: String,
    #[serde(default)]
    sent: CountPart,
    #[serde(default)]
    received: CountPart,
    #[serde(default)]
    packets: u64,
    #[serde(default)]
    exchanges: u32,
    #[serde(default)]
    anomalies: Vec<String>,
    #[serde(default)]
    first_gap: Option<FramePart>,
    #[serde(default)]
    undecoded: Vec<UndecodedPart>,
    #[serde(default)]
    tunnel: Option<String>,
    #[serde(default)]
    proxied: Option<ProxiedPart>,
}

impl FlowLine {
    /// The connection that the line tells of.
    pub(super) fn build(self) -> Result<RecordedFlow, String> {
        let closed = FlowClosed {
            flow: FlowId(self.flow),
            endpoints: Endpoints { client: parse_endpoint(&self.client)?, server: parse_endpoint(&self.server)? },
            first: self.first.build()?,
            last: self.last.build()?,
            has_start: self.has_start,
            both_sides: self.both_sides,
            close: parse_close(&self.close)?,
            protocol: match self.protocol.as_str() {
                "silent" => Protocol::Silent,
                "http1" => Protocol::Http1,
                "http2" => Protocol::Http2,
                "other" => Protocol::Other,
                "tls" => {
                    let label = self.version.as_deref().unwrap_or("tls");
                    let Transport::Tls(view) = parse_transport(label, self.tls)? else {
                        return Err(format!("{label:?} is no version of TLS"));
                    };
                    let shut = self.shut.as_deref().map(|label| parse_shut(label, self.shut_detail)).transpose()?;
                    let handshake = match (self.handshake.as_deref(), self.failure) {
                        (_, Some(failure)) => Handshake::Failed(failure.build()?),
                        (Some("open"), None) => Handshake::Open,
                        _ => Handshake::Established,
                    };
                    Protocol::Tls { view: Arc::unwrap_or_clone(view), shut, sealed_bytes: self.sealed_bytes, handshake }
                }
                other => return Err(format!("unknown protocol {other:?}")),
            },
            client: self.sent.build(),
            server: self.received.build(),
            packets: self.packets,
            exchanges: self.exchanges,
            anomalies: self
                .anomalies
                .iter()
                .filter_map(|name| Anomaly::ALL.iter().copied().find(|have| have.name() == name))
                .collect(),
            first_gap: self.first_gap.map(|part| Frame::new(part.file, part.frame)),
            undecoded: self.undecoded.into_iter().filter_map(UndecodedPart::build).collect(),
            proxied: self.proxied.map(|part| part.build().map(Box::new)).transpose()?,
            tunnel: self.tunnel.map(Arc::from),
        };
        Ok(RecordedFlow { closed, hop: self.hop })
    }
}

#[derive(Deserialize)]
struct StampPart {
    time: String,
    #[serde(default)]
    file: u16,
    #[serde(default)]
    frame: u64,
}

impl StampPart {
    fn build(&self) -> Result<Stamp, String> {
        Ok(Stamp { at: parse_time(&self.time)?, frame: Frame::new(self.file, self.frame) })
    }
}

#[derive(Deserialize)]
struct FramePart {
    #[serde(default)]
    file: u16,
    frame: u64,
}

#[derive(Deserialize)]
struct FailurePart {
    kind: String,
    #[serde(default)]
    code: Option<u16>,
    by: String,
    at: StampPart,
}

impl FailurePart {
    fn build(&self) -> Result<TlsFailure, String> {
        let code = self.code.unwrap_or_default();
        let kind = match self.kind.as_str() {
            "alert" => TlsFailureKind::Alert(u8::try_from(code).unwrap_or(u8::MAX)),
            "plaintext-http" => TlsFailureKind::PlainHttp(code),
            "encrypted-alert" => TlsFailureKind::EncryptedAlert,
            "closed" => TlsFailureKind::Closed,
            "not-tls" => TlsFailureKind::NotTls,
            other => return Err(format!("unknown failure of TLS {other:?}")),
        };
        let from = if self.by == "client" { Side::Client } else { Side::Server };
        Ok(TlsFailure { kind, from, stamp: self.at.build()? })
    }
}

#[derive(Deserialize)]
struct ProxiedPart {
    version: u8,
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    refused: bool,
    at: StampPart,
}

impl ProxiedPart {
    fn build(&self) -> Result<Proxied, String> {
        let end = |text: &Option<String>| text.as_deref().map(parse_endpoint).transpose();
        let (client, server) = (end(&self.client)?, end(&self.server)?);
        let header = ProxyHeader { version: self.version, client, server, stamp: self.at.build()? };
        Ok(Proxied { header, status: self.status, is_refused: self.refused })
    }
}

#[derive(Deserialize)]
struct UndecodedPart {
    reason: String,
    bytes: u64,
    first: FramePart,
}

impl UndecodedPart {
    /// `None` where the reason is one of a later version.
    fn build(self) -> Option<Undecoded> {
        let reason = LossReason::ALL.iter().copied().find(|reason| reason.label() == self.reason)?;
        Some(Undecoded { reason, bytes: self.bytes, first: Frame::new(self.first.file, self.first.frame) })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountPart {
    delivered: u64,
    missing: u64,
    acknowledged: u64,
    retransmitted: u64,
    segments: u64,
}

impl CountPart {
    const fn build(&self) -> StreamCount {
        StreamCount {
            delivered: self.delivered,
            missing: self.missing,
            acknowledged: self.acknowledged,
            retransmitted: self.retransmitted,
            segments: self.segments,
        }
    }
}

const fn close_label(close: Close) -> &'static str {
    match close {
        Close::Finished => "finished",
        Close::Reset => "reset",
        Close::Unseen => "unseen",
    }
}

fn parse_close(label: &str) -> Result<Close, String> {
    let known = [Close::Finished, Close::Reset, Close::Unseen];
    known.into_iter().find(|close| close_label(*close) == label).ok_or_else(|| format!("unknown close {label:?}"))
}

fn parse_shut(label: &str, detail: Option<u64>) -> Result<Shut, String> {
    let detail = detail.unwrap_or_default();
    let known = [
        Shut::NoSecret,
        Shut::HandshakeNotCaptured,
        Shut::SuiteNotSupported(u16::try_from(detail).unwrap_or_default()),
        Shut::VersionNotSupported,
        Shut::WrongSecret,
        Shut::PacketMissing(detail),
        Shut::Malformed,
        Shut::Compression,
    ];
    known.into_iter().find(|shut| shut.label() == label).ok_or_else(|| format!("unknown reason {label:?} to stay shut"))
}
