//! Exchanges and losses in, lines of JSON out.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::HeaderName;
use crate::model::{
    Body, BodyCheck, ChunkRun, Chunks, Close, Ending, Exchange, ExchangeId, FieldValue, FlowClosed, FlowOpened, Frames, Framing,
    Headers, Loss, Outcome, Response, SealedExchange, SealedPartner, Side, Timestamp, TlsView, Transport,
};
use crate::s3::Call;
use crate::session::json_text::JsonText;
use crate::session::jsonl::call::write_call;
use crate::session::jsonl::flow::{write_flow, write_opened};
use crate::session::jsonl::sealed::write_sealed;
use crate::session::redact::Redactor;

/// Writes a session. Lines are collected and handed on in blocks.
pub struct Writer<W: Write> {
    out: W,
    json: JsonText,
    /// The place of the next line in the order of what happened, where it is known.
    turn: Option<u64>,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, which needs no buffer of its own.
    pub fn new(out: W) -> Self {
        Self { out, json: JsonText::default(), turn: None }
    }

    /// Gives the next line its place in the order of what happened, from 1: a line that is written late is read in its turn.
    pub const fn at(&mut self, turn: u64) -> &mut Self {
        self.turn = Some(turn);
        self
    }

    /// Writes one exchange with what is known of it.
    pub fn write_exchange(
        &mut self,
        exchange: &Exchange,
        call: Option<&Call<'_>>,
        hop: &str,
        trace: Option<ExchangeId>,
        redactor: &Redactor,
    ) -> io::Result<()> {
        let json = &mut self.json;
        begin(json, "exchange");
        json.key("id");
        json.display(exchange.id);
        json.key("flow");
        json.number(exchange.id.flow.0);
        json.key("hop");
        json.string(hop);
        json.key("client");
        json.display(exchange.endpoints.client);
        json.key("server");
        json.display(exchange.endpoints.server);
        write_transport(json, &exchange.transport, redactor);
        if let Some(target) = &exchange.tunnel {
            json.key("tunnel");
            json.string(&redactor.scrub_text(target));
        }
        write_times(json, exchange);
        write_request(json, exchange, call, redactor);
        json.key("interim");
        json.open(b'[');
        for interim in &exchange.interim {
            json.open(b'{');
            json.key("status");
            json.number(interim.status.into());
            json.key("time");
            json.time(interim.at);
            json.close(b'}');
        }
        json.close(b']');
        json.key("response");
        match exchange.response() {
            Some(response) => write_response(json, response, call, redactor),
            None => json.null(),
        }
        write_outcome(json, &exchange.outcome);
        write_ending(json, exchange.ending.as_deref());
        json.key("s3");
        match call {
            Some(call) => write_call(json, call, redactor),
            None => json.null(),
        }
        json.key("trace");
        match trace {
            Some(trace) => json.display(trace),
            None => json.null(),
        }
        json.key("anomalies");
        json.open(b'[');
        for anomaly in &exchange.anomalies {
            json.string(anomaly.name());
        }
        json.close(b']');
        self.end()
    }

    /// Writes the first packet of a connection.
    pub fn write_opened(&mut self, opened: &FlowOpened) -> io::Result<()> {
        begin(&mut self.json, "opened");
        write_opened(&mut self.json, opened);
        self.end()
    }

    /// Writes a connection at its end.
    pub fn write_flow(&mut self, closed: &FlowClosed, hop: Option<&str>, redactor: &Redactor) -> io::Result<()> {
        begin(&mut self.json, "flow");
        write_flow(&mut self.json, closed, hop, redactor);
        self.end()
    }

    /// Writes an exchange that stayed shut, with the exchange that is held to have led to it, and how surely.
    pub fn write_sealed(
        &mut self,
        sealed: &SealedExchange,
        hop: &str,
        partner: Option<(SealedPartner, &'static str)>,
    ) -> io::Result<()> {
        begin(&mut self.json, "sealed");
        write_sealed(&mut self.json, sealed, hop, partner);
        self.end()
    }

    /// Writes something that was not decoded.
    pub fn write_loss(&mut self, loss: &Loss) -> io::Result<()> {
        let json = &mut self.json;
        begin(json, "loss");
        json.key("reason");
        json.string(loss.reason.label());
        json.key("flow");
        optional_number(json, loss.flow.map(|flow| flow.0));
        json.key("bytes");
        json.number(loss.bytes);
        json.key("time");
        json.time(loss.stamp.at);
        json.key("file");
        json.number(loss.stamp.frame.file().into());
        json.key("frame");
        json.number(loss.stamp.frame.number());
        self.end()
    }

    /// Writes a record of another type: `record` becomes the members after `type`. It must serialise as an object.
    pub fn write_record(&mut self, kind: &'static str, record: &impl Serialize) -> io::Result<()> {
        let object = serde_json::to_vec(record)?;
        begin(&mut self.json, kind);
        if let Some(members) = object.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"))
            && !members.is_empty()
        {
            self.json.raw(members);
        }
        self.end()
    }

    /// Hands on the lines so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(self.json.text())?;
        self.json.clear();
        self.out.flush()
    }

    /// Hands everything on and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.out)
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(turn) = self.turn.take() {
            self.json.key("turn");
            self.json.number(turn);
        }
        self.json.close(b'}');
        self.json.line_end();
        if self.json.text().len() >= BLOCK_BYTES {
            self.out.write_all(self.json.text())?;
            self.json.clear();
        }
        Ok(())
    }
}

fn begin(json: &mut JsonText, kind: &'static str) {
    json.open(b'{');
    json.key("type");
    json.string(kind);
}

fn write_transport(json: &mut JsonText, transport: &Transport, redactor: &Redactor) {
    json.key("transport");
    json.string(transport.label());
    if let Transport::Tls(view) = transport {
        write_tls(json, view, redactor);
    }
}

pub(super) fn write_tls(json: &mut JsonText, view: &TlsView, redactor: &Redactor) {
    json.key("tls");
    json.open(b'{');
    json.key("suite");
    optional_number(json, view.suite.map(u64::from));
    for (name, text) in [("sni", &view.sni), ("alpn", &view.alpn)] {
        json.key(name);
        match text {
            Some(text) => json.string(&redactor.scrub_text(text)),
            None => json.null(),
        }
    }
    json.key("skipped");
    json.boolean(view.skipped);
    if view.is_readable {
        json.key("readable");
        json.boolean(true);
    }
    json.close(b'}');
}

fn write_times(json: &mut JsonText, exchange: &Exchange) {
    let response = exchange.response();
    json.key("time");
    json.open(b'{');
    json.key("start");
    optional_time(json, Some(exchange.request.start).filter(|start| !exchange.request.is_unseen() || *start != Timestamp::EPOCH));
    json.key("request_end");
    optional_time(json, exchange.request.end);
    if exchange.request.body_start.is_some() {
        json.key("body_start");
        optional_time(json, exchange.request.body_start);
    }
    json.key("first_byte");
    optional_time(json, response.map(|response| response.start));
    json.key("end");
    optional_time(json, response.and_then(|response| response.end));
    json.close(b'}');
}

fn write_request(json: &mut JsonText, exchange: &Exchange, call: Option<&Call<'_>>, redactor: &Redactor) {
    let request = &exchange.request;
    json.key("request");
    json.open(b'{');
    json.key("method");
    json.bytes(&redactor.scrub(request.method()));
    json.key("target");
    json.shown(&redactor.target(FieldValue::new(request.target(), request.is_target_redacted)));
    json.key("host");
    match request.headers.values().find(|(known, ..)| *known == HeaderName::Host) {
        Some((.., host)) => json.shown(&redactor.header(HeaderName::Host, b"host", host)),
        None => json.null(),
    }
    json.key("version");
    json.string(request.version.label());
    write_headers(json, "headers", &request.headers, redactor);
    // Bodies of requests are kept out: they are the users' data. The few that rules read are small and S3's own.
    let shown = call.is_some_and(|call| {
        call.operation.is_sts() || matches!(call.operation.name(), "DeleteObjects" | "CompleteMultipartUpload")
    });
    write_body(json, &request.body, shown, request.body.md5.as_deref().copied(), redactor);
    write_frames(json, &request.frames);
    json.close(b'}');
}

fn write_response(json: &mut JsonText, response: &Response, call: Option<&Call<'_>>, redactor: &Redactor) {
    json.open(b'{');
    json.key("status");
    json.number(response.status.into());
    json.key("reason");
    json.bytes(&redactor.scrub(response.reason()));
    json.key("version");
    json.string(response.version.label());
    write_headers(json, "headers", &response.headers, redactor);
    let object = call.is_none_or(|call| matches!(call.operation.name(), "GetObject" | "SelectObjectContent"));
    write_body(json, &response.body, !object || response.status >= 300, None, redactor);
    write_frames(json, &response.frames);
    json.close(b'}');
}

fn write_headers(json: &mut JsonText, name: &'static str, headers: &Headers, redactor: &Redactor) {
    json.key(name);
    json.open(b'[');
    for (known, name, value) in headers.values() {
        json.open(b'[');
        match known {
            HeaderName::Other => json.bytes(&redactor.name(known, name)),
            _ => json.plain(name),
        }
        json.shown(&redactor.header(known, name, value));
        json.close(b']');
    }
    json.close(b']');
}

fn write_body(json: &mut JsonText, body: &Body, shown: bool, md5: Option<[u8; 16]>, redactor: &Redactor) {
    json.key("body");
    json.open(b'{');
    json.key("length");
    json.number(body.length);
    json.key("missing");
    json.number(body.missing_bytes());
    json.key("sha256");
    match body.sha256.as_deref() {
        Some(digest) => json.display(Hex(digest)),
        None => json.null(),
    }
    if let Some(digest) = &md5 {
        json.key("md5");
        json.display(Hex(digest));
    }
    if let Some(check) = body.check.as_deref() {
        write_check(json, check, redactor);
    }
    json.key("complete");
    json.boolean(body.complete);
    json.key("framing");
    json.string(framing_label(body.framing));
    if let Framing::Length(declared) = body.framing {
        json.key("declared");
        json.number(declared);
    }
    if !body.missing.is_empty() {
        json.key("missing_ranges");
        json.open(b'[');
        for range in &body.missing {
            json.open(b'[');
            json.number(range.start);
            json.number(range.end);
            json.close(b']');
        }
        json.close(b']');
    }
    if let Some(trailers) = body.trailers.as_deref().filter(|trailers| !trailers.is_empty()) {
        write_headers(json, "trailers", trailers, redactor);
    }
    if body.stored && body.sha256.is_some() {
        json.key("blob");
        json.boolean(true);
    }
    if let Some(runs) = body.chunks.as_deref().and_then(Chunks::runs) {
        write_chunks(json, runs, redactor);
    }
    if shown && !body.kept.is_empty() {
        let kept = body.kept.get(..KEPT_BYTES_MAX).unwrap_or(&body.kept);
        json.key("kept");
        json.shown(&redactor.body(FieldValue::new(kept, body.is_redacted)));
    }
    json.close(b'}');
}

/// How the content was cut: for chunks in a row that began with the same line their size, how many there are, and the line where
/// it is not the size in plain lower-case hexadecimal.
fn write_chunks(json: &mut JsonText, runs: &[ChunkRun], redactor: &Redactor) {
    json.key("chunks");
    json.open(b'[');
    for run in runs {
        json.open(b'[');
        json.number(run.size);
        json.number(run.count);
        if let Some(line) = &run.line {
            json.bytes(&redactor.scrub(line));
        }
        json.close(b']');
    }
    json.close(b']');
}

/// What the content was compared with.
fn write_check(json: &mut JsonText, check: &BodyCheck, redactor: &Redactor) {
    json.key("check");
    json.open(b'{');
    json.key("object_bytes");
    json.number(check.object_bytes);
    json.key("md5");
    json.display(Hex(&check.md5));
    if let Some(md5) = &check.framed_md5 {
        json.key("framed_md5");
        json.display(Hex(md5));
    }
    json.key("matched");
    json.open(b'[');
    check.matched.iter().for_each(|name| json.string(name.label()));
    json.close(b']');
    json.key("mismatched");
    json.open(b'[');
    for mismatch in &check.mismatched {
        json.open(b'[');
        json.string(mismatch.name.label());
        json.bytes(&redactor.scrub(mismatch.announced.as_bytes()));
        json.string(&mismatch.computed);
        json.close(b']');
    }
    json.close(b']');
    json.close(b'}');
}

/// Frame numbers; the files they are in stand beside them only where there are several.
fn write_frames(json: &mut JsonText, frames: &Frames) {
    json.key("frames");
    json.open(b'[');
    for frame in frames.iter().filter(|frame| frame.number() > 0) {
        json.number(frame.number());
    }
    json.close(b']');
    if frames.iter().any(|frame| frame.file() > 0) {
        json.key("files");
        json.open(b'[');
        for frame in frames.iter().filter(|frame| frame.number() > 0) {
            json.number(frame.file().into());
        }
        json.close(b']');
    }
    if frames.count() > Frames::KEPT_MAX as u64 {
        json.key("frames_count");
        json.number(frames.count());
    }
}

fn write_outcome(json: &mut JsonText, outcome: &Outcome) {
    let (label, by) = match outcome {
        Outcome::Answered(_) => ("answered", None),
        Outcome::ClosedEarly { by } => ("closed-early", Some(*by)),
        Outcome::Reset { by } => ("reset", Some(*by)),
        Outcome::Unanswered => ("unanswered", None),
    };
    json.key("outcome");
    json.string(label);
    if let Some(by) = by {
        json.key("by");
        json.string(side_label(by));
    }
}

/// How the connection ended, where that cut the exchange short.
fn write_ending(json: &mut JsonText, ending: Option<&Ending>) {
    let Some(ending) = ending else { return };
    json.key("ending");
    json.open(b'{');
    json.key("by");
    json.string(side_label(ending.by));
    json.key("how");
    json.string(if ending.how == Close::Reset { "reset" } else { "closed" });
    json.key("time");
    json.time(ending.stamp.at);
    write_frames(json, &std::iter::once(ending.stamp.frame).collect());
    json.key("idle_since");
    optional_time(json, ending.idle_since);
    json.close(b'}');
}

const fn side_label(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

pub(super) fn optional_number(json: &mut JsonText, value: Option<u64>) {
    match value {
        Some(value) => json.number(value),
        None => json.null(),
    }
}

fn optional_time(json: &mut JsonText, time: Option<Timestamp>) {
    match time {
        Some(time) => json.time(time),
        None => json.null(),
    }
}

const fn framing_label(framing: Framing) -> &'static str {
    match framing {
        Framing::None => "none",
        Framing::Length(_) => "length",
        Framing::Chunked => "chunked",
        Framing::UntilClose => "until-close",
        Framing::Tunnel => "tunnel",
    }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Lines are handed on in blocks of about this size.
const BLOCK_BYTES: usize = 256 << 10;
/// Octets of a kept body that a line shows: all that the decoder keeps, so that lists of deleted keys are whole.
const KEPT_BYTES_MAX: usize = 64 << 10;
