//! What a head means: the exchange it begins or answers, and how its body is framed.

use std::sync::Arc;

use crate::decode::http1::body::{Chunk, Digest, Progress};
use crate::decode::http1::config::Config;
use crate::decode::http1::connection::Connection;
use crate::decode::http1::framing::Facts;
use crate::decode::http1::head::{Head, StartLine};
use crate::decode::http1::observe::Observer;
use crate::decode::http1::pending::{Answer, Pending};
use crate::decode::http1::position::is_last;
use crate::decode::http1::reader::State;
use crate::decode::http1::retain::{MessageHead, Retain, readable_bytes};
use crate::model::{
    Anomaly, Chunks, Frames, Framing, Headers, Interim, LossReason, Request, Response, Side, Stamp, Timestamp, Version,
};

/// How much is known of the message that a head begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The whole head, so where the body ends.
    Known,
    /// The head was cut off: what follows is not known.
    Cut,
}

/// How servers of other protocols begin: SSH, SMTP and FTP, POP3, IMAP, VNC, and TLS, which answers HTTP with an alert.
const GREETINGS: [&[u8]; 7] = [b"SSH-", b"220", b"+OK", b"* OK", b"RFB ", b"\x15\x03", b"\x16\x03"];

/// What is done with the content of a body.
#[derive(Clone, Copy, Default)]
struct Intake {
    /// So many of its first bytes are kept.
    bytes: u32,
    is_hashed: bool,
    /// Whether all of it is wanted.
    is_whole: bool,
    /// Whether the observer is given all of it.
    is_given: bool,
}

impl Intake {
    /// Where the cuts of chunked content are noted, if all of it is wanted.
    fn chunks(self, framing: Framing) -> Option<Box<Chunks>> {
        (self.is_whole && framing == Framing::Chunked).then(Box::default)
    }

    /// What the observer wants done, or else what the configuration says.
    fn choose(observer: &mut Option<Box<dyn Observer>>, config: &Config, head: &MessageHead<'_>) -> Self {
        let retain = match observer {
            Some(observer) => observer.head(head),
            None if head.has_body() => (config.retain)(head),
            None => Retain::Skip,
        };
        match retain {
            Retain::Skip => Self::default(),
            Retain::Hash => Self { is_hashed: true, ..Self::default() },
            Retain::Prefix(bytes) => Self { bytes, ..Self::default() },
            Retain::All => {
                let bytes = readable_bytes(head);
                Self { bytes, is_hashed: true, is_whole: true, is_given: observer.is_some() }
            }
        }
    }
}

/// The target of a CONNECT.
fn connect_target(request: &Request) -> Option<Arc<str>> {
    const TARGET_BYTES_MAX: usize = 256;
    let target = request.target();
    let target = target.get(..TARGET_BYTES_MAX).unwrap_or(target);
    (request.method() == b"CONNECT").then(|| Arc::from(String::from_utf8_lossy(target).as_ref()))
}

impl Connection {
    /// A whole head came; its first octet at `start`, its last at `end`.
    #[inline]
    pub(super) fn begin(&mut self, from: Side, head: Head, start: Stamp, end: Stamp, frames: Frames) {
        self.begin_message(from, head, (start, end), frames, Extent::Known);
    }

    /// A head came that was cut off after its start line.
    pub(super) fn begin_cut(&mut self, from: Side, head: Head, start: Stamp, end: Stamp, frames: Frames) {
        self.begin_message(from, head, (start, end), frames, Extent::Cut);
        self.reader_mut(from).seek(LossReason::NotHttp, false, false);
    }

    fn begin_message(&mut self, from: Side, mut head: Head, (start, end): (Stamp, Stamp), frames: Frames, extent: Extent) {
        let flow = self.flow;
        let reader = match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        reader.state = State::Start;
        if std::mem::take(&mut reader.blank) > 0 {
            head.notes.add(if reader.has_message { Anomaly::BytesAfterEnd } else { Anomaly::OddStartLine });
        }
        if matches!(self.losses.flush(flow, reader), Some(LossReason::NotHttp | LossReason::BodyAfterHead)) {
            head.notes.add(Anomaly::BytesAfterEnd);
        }
        reader.has_message = true;
        head.notes.merge(self.carried.take());
        match head.start {
            StartLine::Request { .. } => self.begin_request(head, start, end, frames, extent),
            StartLine::Status { .. } => self.begin_response(head, (start, end.at), frames, extent),
        }
    }

    fn begin_request(&mut self, head: Head, start: Stamp, end: Stamp, frames: Frames, extent: Extent) {
        let Head { start: line, version, headers, mut notes } = head;
        let StartLine::Request { method, target } = line else { return };
        let facts = Facts::of(&headers, version, &mut notes);
        let mut framing = Framing::None;
        if extent == Extent::Known {
            facts.check_host(version, &mut notes);
            framing = facts.of_request(headers.text().get(method.clone()).unwrap_or_default(), &mut notes);
        }
        self.client.is_last = is_last(version, &headers);
        let mut request = Request::over(headers, method, target, version);
        (request.frames, request.start, request.end) = (frames, start.at, Some(end.at));
        request.body.framing = framing;
        if self.pending.len() >= self.config.pipelined_max as usize {
            self.give_up_oldest();
        }
        let intake = Intake::choose(&mut self.observer, &self.config, &MessageHead::Request(&request));
        request.body.chunks = intake.chunks(framing);
        self.client.gap = false;
        self.weight += request.headers.text().len();
        self.wait_for(Pending::new(self.endpoints, request, notes, start));
        self.begin_body(Side::Client, framing, intake, extent);
    }

    /// Too many requests wait: the oldest is given out unanswered, and its answer will count as one without a request.
    fn give_up_oldest(&mut self) {
        if self.pending.front().is_some_and(|oldest| oldest.is_open(Side::Server)) {
            self.cut_message(Side::Server);
            self.server.seek(LossReason::NotHttp, false, false);
        }
        if let Some(oldest) = self.pending.front_mut() {
            if !oldest.is_answered() {
                self.given_up = self.given_up.saturating_add(1);
            }
            (oldest.request_ended, oldest.response_ended) = (true, oldest.is_answered());
            oldest.answer = Answer::Lost;
        }
        self.advance();
    }

    fn begin_response(&mut self, head: Head, (start, end): (Stamp, Timestamp), frames: Frames, extent: Extent) {
        let Head { start: line, version, headers, mut notes } = head;
        let StartLine::Status { code, reason } = line else { return };
        let at = self.choose_answered(start);
        let interim_max = self.config.interim_max as usize;
        let Some(pending) = self.pending.get_mut(at) else { return };
        if (100..200).contains(&code) && code != 101 {
            pending.notes.merge(notes);
            if pending.exchange.interim.len() < interim_max {
                pending.exchange.interim.push(Interim { status: code, at: start.at });
            } else {
                pending.notes.add(Anomaly::TooManyInterim);
            }
            if let Some(observer) = &mut self.observer {
                observer.interim(code);
            }
            return;
        }
        self.server.gap = false;
        if !pending.request_ended {
            notes.add(Anomaly::ResponseBeforeRequestEnd);
        }
        let method = pending.request().method();
        let facts = Facts::of(&headers, version, &mut notes);
        let framing = if extent == Extent::Known { facts.of_response(method, code, &mut notes) } else { Framing::None };
        let doubtful = method.is_empty();
        self.after_head = method == b"HEAD" && framing == Framing::None;
        self.server.is_last = framing == Framing::UntilClose || is_last(version, &headers);
        let mut response = Response::over(headers, code, reason, version);
        (response.frames, response.start, response.end) = (frames, start.at, Some(end));
        response.body.framing = framing;
        if framing == Framing::Tunnel {
            notes.add(Anomaly::Tunnel);
            self.tunnel = true;
            self.tunnel_target = self.pending.get(at).and_then(|pending| connect_target(pending.request()));
        }
        let mut intake = Intake::default();
        if let Some(pending) = self.pending.get_mut(at) {
            let head = MessageHead::Response { request: pending.request(), response: &response };
            intake = Intake::choose(&mut self.observer, &self.config, &head);
            response.body.chunks = intake.chunks(framing);
            self.weight += response.headers.text().len();
            pending.answer(response);
            pending.notes.merge(notes);
        }
        self.server.body_doubtful = doubtful;
        self.begin_body(Side::Server, framing, intake, extent);
    }

    fn begin_body(&mut self, from: Side, framing: Framing, intake: Intake, extent: Extent) {
        let reader = self.reader_mut(from);
        let progress = match framing {
            _ if extent == Extent::Cut => return self.end_message(from, false),
            Framing::None | Framing::Tunnel => return self.end_message(from, true),
            Framing::Length(length) => Progress::Length(length),
            Framing::Chunked => Progress::Chunk(Chunk::Size),
            Framing::UntilClose => Progress::UntilClose,
        };
        reader.state = State::Body(progress);
        reader.body_fresh = true;
        reader.keep_left = intake.bytes;
        reader.digest = intake.is_hashed.then(|| Digest::new(intake.is_given));
        if framing == Framing::Length(0) {
            self.end_message(from, true);
        }
    }

    /// Whether octets of the server that are no HTTP/1 response may be an HTTP/0.9 one: the first answer on the connection, to
    /// a GET that is whole, and not how another protocol begins.
    pub(super) fn expects_simple_response(&self, data: &[u8]) -> bool {
        let waiting = self.pending.iter().find(|pending| pending.is_waiting());
        !self.server.has_message
            && !self.server.gap_ever
            && waiting.is_some_and(|pending| pending.request_ended && pending.request().method().eq_ignore_ascii_case(b"GET"))
            && !GREETINGS.iter().any(|greeting| data.starts_with(greeting))
    }

    /// An HTTP/0.9 response: nothing but content until close. It stands for success, so it counts as status 200.
    pub(super) fn begin_simple_response(&mut self, stamp: Stamp) {
        let blank = std::mem::take(&mut self.server.blank);
        self.pass(Side::Server, stamp, u64::from(blank), LossReason::NotHttp);
        self.server.has_message = true;
        let at = self.choose_answered(stamp);
        let Some(pending) = self.pending.get_mut(at) else { return };
        let mut response = Response::over(Headers::default(), 200, 0..0, Version::Http09);
        response.start = stamp.at;
        response.body.framing = Framing::UntilClose;
        let head = MessageHead::Response { request: pending.request(), response: &response };
        let intake = Intake::choose(&mut self.observer, &self.config, &head);
        pending.answer(response);
        pending.notes.add(Anomaly::Http09);
        self.server.body_doubtful = false;
        self.server.is_last = true;
        self.begin_body(Side::Server, Framing::UntilClose, intake, Extent::Known);
    }
}
