//! Where messages start: at once where one is due, or by searching after a gap or octets that are no message.

use crate::decode::http1::connection::Connection;
use crate::decode::http1::gather::{Gather, Trust};
use crate::decode::http1::head::{Head, Parsed, parse, parse_odd};
use crate::decode::http1::reader::State;
use crate::decode::http1::start::{HTTP2_PREFACE, LINE_MAX, Probe, ends_request_line, is_plain_request, is_start, probe};
use crate::decode::http1::{lenient, plain};
use crate::model::{Anomaly, Frames, LossReason, Side, Stamp, Version};

/// Whether a record of TLS with an alert begins here, which is how a TLS server answers anything else.
fn is_tls_alert(data: &[u8]) -> bool {
    matches!(data, [0x15, 3, 0..=4, 0, 2, ..])
}

/// Octets within which a method and the start of a target are found, if they are known ones.
const OPENING_MAX: usize = 64;

impl Connection {
    /// Octets where a message is due.
    pub(super) fn feed_start(&mut self, from: Side, stamp: Stamp, data: &[u8]) -> usize {
        let blank = data.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            let reader = self.reader_mut(from);
            reader.blank = reader.blank.saturating_add(u32::try_from(blank).unwrap_or(u32::MAX));
            return blank;
        }
        let bytes_max = self.config.head_bytes_max as usize;
        let frames = || Frames::from_iter([stamp.frame]);
        // A plain one is not passed through any other hands: a head is moved at a cost.
        if let Some((head, length)) = plain::read(from, data, self.config.fields_max as usize, &self.config.shapes) {
            if length <= bytes_max {
                self.begin(from, head, stamp, stamp, frames());
                return length;
            }
        } else if let Parsed::Whole(head, length) = parse_odd(from, data, self.config.fields_max as usize)
            && length <= bytes_max
        {
            self.begin(from, head, stamp, stamp, frames());
            return length;
        }
        let trust = match probe(from, data) {
            Probe::Yes => Trust::Known,
            Probe::Unsure => Trust::Due,
            Probe::No => {
                self.refuse(from, stamp, data);
                return 0;
            }
        };
        let reader = self.reader_mut(from);
        reader.gather = Some(Gather::head(stamp, trust));
        reader.state = State::Head;
        0
    }

    /// Octets of a head that did not come in one piece, or that only the lenient reader takes.
    pub(super) fn feed_head(&mut self, from: Side, stamp: Stamp, data: &[u8]) -> usize {
        let bytes_max = self.config.head_bytes_max as usize;
        let reader = self.reader_mut(from);
        let Some(mut gather) = reader.gather.take() else {
            reader.state = State::Start;
            return 0;
        };
        if from == Side::Client && gather.trust != Trust::Known && is_plain_request(data) {
            // What was gathered is the end of something else, such as a body that began before the capture.
            let reason = self.reason_to_seek(from);
            self.pass(from, gather.start, gather.length, reason);
            self.client.state = State::Start;
            return 0;
        }
        let (used, ended) = gather.add(data, stamp.frame, bytes_max);
        if gather.trust != Trust::Known {
            let fresh = data.get(..used).unwrap_or_default();
            let tells = ended
                || gather.text.len() < OPENING_MAX + fresh.len()
                || gather.text.len() >= LINE_MAX
                || fresh.iter().any(|byte| byte.is_ascii_control());
            let verdict = match gather.trust {
                _ if !tells => Probe::Unsure,
                Trust::Sought => is_start(from, &gather.text),
                Trust::Known | Trust::Due => probe(from, &gather.text),
            };
            match verdict {
                Probe::Yes => gather.trust = Trust::Known,
                Probe::Unsure if !ended => {}
                Probe::Unsure | Probe::No => {
                    self.refuse_gathered(from, *gather);
                    return used;
                }
            }
        }
        if ended {
            let head = self.read_gathered(from, &gather);
            self.count_unread_head(from, &head, &gather);
            self.begin(from, head, gather.start, stamp, gather.frames);
        } else {
            self.reader_mut(from).gather = Some(gather);
        }
        used
    }

    /// Octets that may be anything: passes over them up to what looks like the start of a message.
    pub(super) fn feed_seek(&mut self, from: Side, stamp: Stamp, data: &[u8], how: (LossReason, bool, bool)) -> usize {
        let (reason, after_gap, refused) = how;
        if after_gap && from == Side::Client && is_start(from, data) == Probe::No && ends_request_line(data) {
            let mut gather = Gather::head(stamp, Trust::Known);
            gather.start_missing = true;
            self.client.gather = Some(gather);
            self.client.state = State::Head;
            return 0;
        }
        let mut at = 0;
        let mut skip_first = refused;
        loop {
            let rest = data.get(at..).unwrap_or_default();
            if !std::mem::take(&mut skip_first) && !rest.is_empty() {
                let trust = match is_start(from, rest) {
                    Probe::Yes => Some(Trust::Known),
                    Probe::Unsure => Some(Trust::Sought),
                    Probe::No => None,
                };
                if let Some(trust) = trust {
                    self.pass(from, stamp, at as u64, reason);
                    let reader = self.reader_mut(from);
                    reader.gather = Some(Gather::head(stamp, trust));
                    reader.state = State::Head;
                    return at;
                }
            }
            match memchr::memchr(b'\n', rest) {
                Some(found) => at += found + 1,
                None => break,
            }
        }
        self.pass(from, stamp, data.len() as u64, reason);
        self.reader_mut(from).seek(reason, false, false);
        data.len()
    }

    /// What was gathered turned out to start no message: it is looked through for one that starts inside.
    fn refuse_gathered(&mut self, from: Side, gather: Gather) {
        match gather.trust {
            Trust::Sought => {
                let reason = self.reason_to_seek(from);
                self.reader_mut(from).seek(reason, false, true);
            }
            Trust::Known | Trust::Due => self.refuse(from, gather.start, &gather.text),
        }
        self.feed(from, gather.start, &gather.text);
    }

    /// What comes where a message is due is none: says what it is, or begins to look for the next message.
    fn refuse(&mut self, from: Side, stamp: Stamp, data: &[u8]) {
        if self.tunnel {
            self.sink_both(stamp, LossReason::Tunnel);
        } else if from == Side::Client && data.starts_with(HTTP2_PREFACE) {
            self.sink_both(stamp, LossReason::Http2);
        } else if from == Side::Server && self.expects_simple_response(data) {
            self.begin_simple_response(stamp);
        } else if from == Side::Server && is_tls_alert(data) {
            self.handle_anomaly(Side::Server, Anomaly::TlsAnswer);
            self.sink_both(stamp, LossReason::TlsShut);
        } else {
            let reason = self.reason_to_seek(from);
            let blank = std::mem::take(&mut self.reader_mut(from).blank);
            self.pass(from, stamp, u64::from(blank), reason);
            self.reader_mut(from).seek(reason, false, true);
        }
    }

    fn reason_to_seek(&self, from: Side) -> LossReason {
        let reader = self.reader(from);
        match (reader.gap, reader.has_message) {
            (true, _) => LossReason::AfterGap,
            (false, true) => LossReason::NotHttp,
            (false, false) => LossReason::BeforeFirstMessage,
        }
    }

    /// From here on nothing of either side is decoded.
    fn sink_both(&mut self, stamp: Stamp, reason: LossReason) {
        for side in [Side::Client, Side::Server] {
            let reader = self.reader_mut(side);
            if !matches!(reader.state, State::Body(_)) {
                let gathered = reader.gather.take().map_or(0, |gather| gather.length);
                let blank = u64::from(std::mem::take(&mut reader.blank));
                reader.state = State::Sink(reason);
                self.pass(side, stamp, gathered + blank, reason);
            }
        }
    }

    fn read_gathered(&self, from: Side, gather: &Gather) -> Head {
        let fields_max = self.config.fields_max as usize;
        let mut head = match parse(from, &gather.text, fields_max, &self.config.shapes) {
            Parsed::Whole(head, length) if length == gather.text.len() && !gather.start_missing => head,
            _ => lenient::read(from, &gather.text, fields_max, gather.start_missing),
        };
        if gather.is_overlong() {
            head.notes.add(Anomaly::HeadTooLong);
        }
        head
    }

    /// Counts what of a head was not read, since it is longer than the limits.
    fn count_unread_head(&mut self, from: Side, head: &Head, gather: &Gather) {
        let is_full = head.notes.has(Anomaly::TooManyHeaders) && head.headers.len() >= self.config.fields_max as usize;
        let beyond_fields = if is_full { gather.text.len().saturating_sub(head.headers.end_of_last()) } else { 0 };
        let unread = gather.length.saturating_sub(gather.text.len() as u64).saturating_add(beyond_fields as u64);
        if unread > 0 {
            self.pass(from, gather.start, unread, LossReason::HeadLimit);
            let flow = self.flow;
            self.losses.flush(flow, if from == Side::Client { &mut self.client } else { &mut self.server });
        }
    }

    /// Takes what was gathered of a head that will not become whole, where its start line did; else counts it as lost.
    pub(super) fn cut_head(&mut self, from: Side, stamp: Stamp, cut: Anomaly) {
        let Some(mut gather) = self.reader_mut(from).gather.take() else { return };
        let gathered = gather.length;
        let lines = memchr::memrchr(b'\n', &gather.text).map_or(0, |at| at + 1);
        let overlong = gather.is_overlong();
        if gather.trust == Trust::Known
            && lines == 0
            && !overlong
            && let Some(mut head) = lenient::read_cut_line(from, &gather.text)
        {
            head.notes.add(cut);
            return self.begin_cut(from, head, gather.start, stamp, gather.frames);
        }
        gather.text.truncate(lines);
        gather.length = lines as u64 + u64::from(overlong);
        if gather.trust != Trust::Known || lines == 0 {
            let reason = self.reason_to_seek(from);
            self.pass(from, gather.start, gathered, reason);
            return;
        }
        let mut head = self.read_gathered(from, &gather);
        let simple = head.version == Version::Http09 && head.headers.is_empty() && gathered == lines as u64;
        if simple {
            self.begin(from, head, gather.start, stamp, gather.frames);
        } else {
            head.notes.add(cut);
            self.begin_cut(from, head, gather.start, stamp, gather.frames);
        }
    }

    /// The server answers while a request head is not whole: it may be an HTTP/0.9 request, which has no end, or the server
    /// may have lost patience.
    pub(super) fn answer_open_head(&mut self) {
        let waiting = self.pending.iter().any(|pending| pending.is_waiting() || pending.is_open(Side::Server));
        let Some(gather) = &self.client.gather else { return };
        if !waiting && gather.trust == Trust::Known && memchr::memchr(b'\n', &gather.text).is_some() {
            let stamp = gather.start;
            self.cut_head(Side::Client, stamp, Anomaly::HeadCutShort);
            if self.client.closed.is_none() && matches!(self.client.state, State::Head) {
                self.client.state = State::Start;
            }
        }
    }
}
