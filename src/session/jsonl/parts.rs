//! The members of an exchange line as they are read.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::{
    Anomaly, Body, BodyCheck, ChecksumName, ChunkRun, Chunks, Close, Ending, Endpoint, Endpoints, Exchange, ExchangeId, FlowId,
    Frame, Frames, Framing, Headers, Interim, Mismatch, Outcome, Request, Response, Side, Stamp, Timestamp, TlsVersion, TlsView,
    Transport, Version,
};
use crate::session::jsonl::read::Recorded;
use crate::session::redact::{has_placeholder, placeholder};

/// An exchange line.
#[derive(Deserialize)]
pub(super) struct ExchangeLine<'a> {
    id: String,
    #[serde(default)]
    hop: String,
    client: String,
    server: String,
    transport: String,
    #[serde(default)]
    tls: Option<TlsPart>,
    #[serde(default)]
    tunnel: Option<String>,
    time: TimePart,
    #[serde(borrow)]
    request: RequestPart<'a>,
    #[serde(default)]
    interim: Vec<InterimPart>,
    #[serde(borrow, default)]
    response: Option<ResponsePart<'a>>,
    outcome: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    ending: Option<EndingPart>,
    #[serde(default)]
    trace: Option<String>,
    #[serde(default)]
    anomalies: Vec<String>,
}

impl ExchangeLine<'_> {
    /// The exchange that the line tells of.
    pub(super) fn build(self) -> Result<Recorded, String> {
        let trace = self.trace.as_deref().map(parse_id).transpose()?;
        let outcome = match (self.response, self.outcome.as_str()) {
            (Some(response), _) => Outcome::Answered(Box::new(response.build(&self.time)?)),
            (None, "closed-early") => Outcome::ClosedEarly { by: parse_side(self.by.as_deref()) },
            (None, "reset") => Outcome::Reset { by: parse_side(self.by.as_deref()) },
            (None, "unanswered") => Outcome::Unanswered,
            (None, other) => return Err(format!("no response, and the outcome {other:?}")),
        };
        let interim = self.interim.iter().map(|part| Ok(Interim { status: part.status, at: parse_time(&part.time)? }));
        let exchange = Exchange {
            id: parse_id(&self.id)?,
            tunnel: self.tunnel.map(Arc::from),
            endpoints: Endpoints { client: parse_endpoint(&self.client)?, server: parse_endpoint(&self.server)? },
            transport: parse_transport(&self.transport, self.tls)?,
            request: self.request.build(&self.time)?,
            interim: interim.collect::<Result<_, String>>()?,
            outcome,
            ending: self.ending.map(EndingPart::build).transpose()?.map(Box::new),
            // A name that this version does not know is left out: it changes no message.
            anomalies: self
                .anomalies
                .iter()
                .filter_map(|name| Anomaly::ALL.iter().copied().find(|have| have.name() == name))
                .collect(),
        };
        Ok(Recorded { exchange, hop: self.hop, trace })
    }
}

#[derive(Deserialize)]
pub(super) struct TlsPart {
    #[serde(default)]
    suite: Option<u16>,
    #[serde(default)]
    sni: Option<String>,
    #[serde(default)]
    alpn: Option<String>,
    #[serde(default)]
    skipped: bool,
    #[serde(default)]
    readable: bool,
}

#[derive(Deserialize)]
struct EndingPart {
    by: String,
    how: String,
    time: String,
    #[serde(default)]
    frames: Vec<u64>,
    #[serde(default)]
    files: Vec<u16>,
    #[serde(default)]
    idle_since: Option<String>,
}

impl EndingPart {
    fn build(self) -> Result<Ending, String> {
        let frame = build_frames(self.frames, self.files, 0).first().unwrap_or_default();
        Ok(Ending {
            by: parse_side(Some(&self.by)),
            how: if self.how == "reset" { Close::Reset } else { Close::Finished },
            stamp: Stamp { at: parse_time(&self.time)?, frame },
            idle_since: self.idle_since.as_deref().map(parse_time).transpose()?,
        })
    }
}

#[derive(Deserialize)]
struct TimePart {
    #[serde(default)]
    start: Option<String>,
    #[serde(default)]
    request_end: Option<String>,
    #[serde(default)]
    body_start: Option<String>,
    #[serde(default)]
    first_byte: Option<String>,
    #[serde(default)]
    end: Option<String>,
}

#[derive(Deserialize)]
struct InterimPart {
    status: u16,
    time: String,
}

#[derive(Deserialize)]
struct RequestPart<'a> {
    #[serde(borrow)]
    method: Wire<'a>,
    #[serde(borrow)]
    target: Wire<'a>,
    version: String,
    #[serde(borrow)]
    headers: Vec<(Wire<'a>, Wire<'a>)>,
    #[serde(borrow)]
    body: BodyPart<'a>,
    #[serde(default)]
    frames: Vec<u64>,
    #[serde(default)]
    files: Vec<u16>,
    #[serde(default)]
    frames_count: u64,
}

impl RequestPart<'_> {
    fn build(self, time: &TimePart) -> Result<Request, String> {
        let mut request = Request::from_parts(&self.method.0, &self.target.0, parse_version(&self.version)?);
        request.is_target_redacted = self.method.1 || self.target.1;
        append_all(&mut request.headers, &self.headers);
        request.body = self.body.build()?;
        request.frames = build_frames(self.frames, self.files, self.frames_count);
        request.start = time.start.as_deref().map(parse_time).transpose()?.unwrap_or_default();
        request.end = time.request_end.as_deref().map(parse_time).transpose()?;
        request.body_start = time.body_start.as_deref().map(parse_time).transpose()?;
        Ok(request)
    }
}

#[derive(Deserialize)]
struct ResponsePart<'a> {
    status: u16,
    #[serde(borrow)]
    reason: Wire<'a>,
    version: String,
    #[serde(borrow)]
    headers: Vec<(Wire<'a>, Wire<'a>)>,
    #[serde(borrow)]
    body: BodyPart<'a>,
    #[serde(default)]
    frames: Vec<u64>,
    #[serde(default)]
    files: Vec<u16>,
    #[serde(default)]
    frames_count: u64,
}

impl ResponsePart<'_> {
    fn build(self, time: &TimePart) -> Result<Response, String> {
        let mut response = Response::from_parts(self.status, &self.reason.0, parse_version(&self.version)?);
        append_all(&mut response.headers, &self.headers);
        response.body = self.body.build()?;
        response.frames = build_frames(self.frames, self.files, self.frames_count);
        response.start = time.first_byte.as_deref().map(parse_time).transpose()?.unwrap_or_default();
        response.end = time.end.as_deref().map(parse_time).transpose()?;
        Ok(response)
    }
}

#[derive(Deserialize)]
struct BodyPart<'a> {
    length: u64,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    md5: Option<String>,
    #[serde(default)]
    check: Option<CheckPart>,
    #[serde(default = "yes")]
    complete: bool,
    #[serde(default)]
    framing: Option<String>,
    #[serde(default)]
    declared: Option<u64>,
    #[serde(default)]
    missing_ranges: Vec<(u64, u64)>,
    #[serde(borrow, default)]
    trailers: Vec<(Wire<'a>, Wire<'a>)>,
    #[serde(default)]
    blob: bool,
    #[serde(borrow, default)]
    chunks: Vec<ChunkPart<'a>>,
    #[serde(borrow, default)]
    kept: Option<Wire<'a>>,
}

#[derive(Deserialize)]
struct CheckPart {
    object_bytes: u64,
    md5: String,
    #[serde(default)]
    framed_md5: Option<String>,
    #[serde(default)]
    matched: Vec<String>,
    #[serde(default)]
    mismatched: Vec<(String, String, String)>,
}

impl CheckPart {
    fn build(self) -> Result<BodyCheck, String> {
        // A name that this version does not know is left out.
        let known = |name: &str| ChecksumName::ALL.iter().copied().find(|have| have.label() == name);
        let mismatch =
            |(name, announced, computed): (String, String, String)| Some(Mismatch { name: known(&name)?, announced, computed });
        Ok(BodyCheck {
            object_bytes: self.object_bytes,
            md5: parse_digest(&self.md5)?,
            framed_md5: self.framed_md5.as_deref().map(parse_digest).transpose()?,
            matched: self.matched.iter().filter_map(|name| known(name)).collect(),
            mismatched: self.mismatched.into_iter().filter_map(mismatch).collect(),
        })
    }
}

/// Chunks in a row: with the line that each began with, or without.
#[derive(Deserialize)]
#[serde(untagged)]
enum ChunkPart<'a> {
    Plain(u64, u64),
    Odd(u64, u64, #[serde(borrow)] Wire<'a>),
}

impl ChunkPart<'_> {
    fn build(self) -> ChunkRun {
        let (size, count, line) = match self {
            Self::Plain(size, count) => (size, count, None),
            Self::Odd(size, count, line) => (size, count, Some(line.0.into_owned().into_boxed_slice())),
        };
        ChunkRun { size, count, line }
    }
}

impl BodyPart<'_> {
    fn build(self) -> Result<Body, String> {
        let mut chunks = Chunks::default();
        self.chunks.into_iter().for_each(|part| chunks.push_run(part.build()));
        Ok(Body {
            length: self.length,
            stored: self.blob && self.sha256.is_some(),
            chunks: chunks.runs().is_some().then(|| Box::new(chunks)),
            framing: match self.framing.as_deref() {
                Some("none") => Framing::None,
                Some("chunked") => Framing::Chunked,
                Some("until-close") => Framing::UntilClose,
                Some("tunnel") => Framing::Tunnel,
                Some("length") => Framing::Length(self.declared.unwrap_or(self.length)),
                None if self.length == 0 => Framing::None,
                None => Framing::Length(self.length),
                Some(other) => return Err(format!("unknown framing {other:?}")),
            },
            complete: self.complete,
            is_redacted: self.kept.as_ref().is_some_and(|kept| kept.1),
            kept: self.kept.map(|kept| kept.0.into_owned()).unwrap_or_default(),
            sha256: self.sha256.as_deref().map(parse_digest).transpose()?.map(Box::new),
            md5: self.md5.as_deref().map(parse_digest).transpose()?.map(Box::new),
            check: self.check.map(CheckPart::build).transpose()?.map(Box::new),
            missing: self.missing_ranges.into_iter().map(|(start, end)| Range { start, end }).collect(),
            trailers: (!self.trailers.is_empty()).then(|| {
                let mut trailers = Headers::default();
                append_all(&mut trailers, &self.trailers);
                Box::new(trailers)
            }),
        })
    }
}

/// Wire bytes, and whether secrets were replaced in them: a string, with placeholders or without; `{"base64": …}`, which has some
/// where `placeholders` says so; or
/// `{"redacted": …, "id": …}`, which becomes one.
struct Wire<'a>(Cow<'a, [u8]>, bool);

impl<'de: 'a, 'a> Deserialize<'de> for Wire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, {\"base64\": …} or {\"redacted\": …, \"id\": …}")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Wire(Cow::Borrowed(text.as_bytes()), has_placeholder(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Wire(Cow::Owned(text.as_bytes().to_vec()), has_placeholder(text.as_bytes())))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut base64, mut kind, mut id, mut has_placeholders) = (None::<String>, None::<String>, None::<String>, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "base64" => base64 = Some(map.next_value()?),
                "redacted" => kind = Some(map.next_value()?),
                "id" => id = Some(map.next_value()?),
                "placeholders" => has_placeholders = map.next_value()?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        match (base64, kind, id) {
            (Some(text), ..) => {
                STANDARD.decode(text).map(|bytes| Wire(Cow::Owned(bytes), has_placeholders)).map_err(M::Error::custom)
            }
            (None, Some(kind), Some(id)) => Ok(Wire(Cow::Owned(placeholder(&kind, &id).into_bytes()), true)),
            _ => Err(M::Error::custom("neither base64 nor redacted with an id")),
        }
    }
}

fn build_frames(numbers: Vec<u64>, files: Vec<u16>, count: u64) -> Frames {
    let files = files.into_iter().chain(std::iter::repeat(0));
    let kept: Frames = numbers.into_iter().zip(files).map(|(number, file)| Frame::new(file, number)).collect();
    kept.with_count(count)
}

fn append_all(headers: &mut Headers, fields: &[(Wire<'_>, Wire<'_>)]) {
    for (name, value) in fields {
        headers.append(&name.0, &value.0);
        if name.1 || value.1 {
            headers.mark_redacted();
        }
    }
}

/// Reads an RFC 3339 time.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("{text:?} is no RFC 3339 time"))?;
    i64::try_from(time.as_nanosecond()).map(Timestamp::from_nanos).map_err(|_| format!("the time {text:?} is out of range"))
}

pub(super) fn parse_id(text: &str) -> Result<ExchangeId, String> {
    let parts = text.split_once('.').and_then(|(flow, ordinal)| Some((flow.parse().ok()?, ordinal.parse().ok()?)));
    let (flow, ordinal) = parts.ok_or_else(|| format!("{text:?} is no id of the form FLOW.ORDINAL"))?;
    Ok(ExchangeId { flow: FlowId(flow), ordinal })
}

pub(super) fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let address: SocketAddr = text.parse().map_err(|_| format!("{text:?} is no address of the form IP:PORT"))?;
    Ok(Endpoint::new(address.ip(), address.port()))
}

pub(super) fn parse_transport(label: &str, part: Option<TlsPart>) -> Result<Transport, String> {
    const VERSIONS: [TlsVersion; 6] =
        [TlsVersion::Ssl20, TlsVersion::Ssl30, TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13];
    let version = match label {
        "clear" => return Ok(Transport::Clear),
        "tls" => None,
        _ => Some(
            *VERSIONS.iter().find(|version| version.label() == label).ok_or_else(|| format!("unknown transport {label:?}"))?,
        ),
    };
    let view = part.map_or_else(TlsView::default, |part| TlsView {
        version: None,
        suite: part.suite,
        sni: part.sni,
        alpn: part.alpn,
        skipped: part.skipped,
        is_readable: part.readable,
    });
    Ok(Transport::Tls(Arc::new(TlsView { version, ..view })))
}

fn parse_version(label: &str) -> Result<Version, String> {
    let known = [Version::Http09, Version::Http10, Version::Http11];
    known.into_iter().find(|version| version.label() == label).ok_or_else(|| format!("unknown HTTP version {label:?}"))
}

fn parse_side(label: Option<&str>) -> Side {
    if label == Some("client") { Side::Client } else { Side::Server }
}

fn parse_digest<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], String> {
    let mut digest = [0; BYTES];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if pairs.len() != digest.len() || !rest.is_empty() {
        return Err(format!("{text:?} is no digest"));
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(format!("{text:?} is no digest")) };
        *byte = high << 4 | low;
    }
    Ok(digest)
}

const fn yes() -> bool {
    true
}
