//! The connection: both directions of one flow in, exchanges and losses out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::decode::http1::body::{self, Bounds, Progress, Step};
use crate::decode::http1::config::Config;
use crate::decode::http1::loss::Losses;
use crate::decode::http1::notes::Notes;
use crate::decode::http1::observe::{Observer, Watcher};
use crate::decode::http1::pending::{Answer, Message, Pending};
use crate::decode::http1::reader::{Reader, State};
use crate::decode::http1::start::{Probe, is_start};
use crate::model::{
    Anomaly, Close, Ending, Endpoints, Exchange, ExchangeId, FlowId, Framing, HeaderName, Loss, LossReason, Outcome, Side, Stamp,
    Timestamp, Transport,
};

/// An HTTP/1 connection as seen by a third party. It takes what each side sent, in order, and gives exchanges in the order of
/// their requests. It needs no input beyond the two streams, never fails, and holds bodies only where they are kept.
///
/// The order of calls: [`new`](Self::new), and [`observed`](Self::observed) where somebody watches; then for each side its bytes
/// by `handle_data` (or `handle_skip` as far as [`skippable`](Self::skippable) allows, or `handle_gap`), in the order of its
/// stream, and `handle_close` once; after any of them [`poll`](Self::poll) and [`poll_loss`](Self::poll_loss) until they give
/// `None`. [`state`](Self::state) holds as of the last byte given. Who forwards bytes gives them before forwarding them, so that
/// a request is known before its response can come.
///
/// Octets of the server are expected after those of the client that they answer. Where that does not hold after a loss,
/// pairing goes by the evidence at hand: gaps, times of capture, and whether this client pipelines.
pub struct Connection {
    pub(super) flow: FlowId,
    pub(super) endpoints: Endpoints,
    transport: Transport,
    pub(super) config: Arc<Config>,
    pub(super) observer: Option<Box<dyn Observer>>,
    pub(super) client: Reader,
    pub(super) server: Reader,
    pub(super) pending: VecDeque<Pending>,
    done: VecDeque<Pending>,
    pub(super) losses: Losses,
    /// Anomalies that came while no exchange was in progress.
    pub(super) carried: Notes,
    emitted: u32,
    /// Octets of heads, and of what was kept of ended bodies, in the exchanges in progress.
    pub(super) weight: usize,
    /// Requests given up because too many waited: their answers may still come.
    pub(super) given_up: u32,
    /// How the first side to end it ended, and the packet that showed it.
    end: Option<(Side, Close, Stamp)>,
    /// When the response polled last ended.
    idle_since: Option<Timestamp>,
    /// Whether this client sent a request before the response to the one before.
    pub(super) pipelines: bool,
    /// Whether the last response answered HEAD, so that content behind it belongs to it.
    pub(super) after_head: bool,
    /// Whether an upgrade or CONNECT was agreed to.
    pub(super) tunnel: bool,
    /// The target of that CONNECT.
    pub(super) tunnel_target: Option<Arc<str>>,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(flow: FlowId, endpoints: Endpoints, transport: Transport, config: &Arc<Config>) -> Self {
        Self {
            flow,
            endpoints,
            transport,
            observer: config.observe.as_ref().and_then(|observe| observe.observe(flow, &endpoints)),
            config: Arc::clone(config),
            client: Reader::default(),
            server: Reader::default(),
            pending: VecDeque::new(),
            done: VecDeque::new(),
            losses: Losses::default(),
            carried: Notes::default(),
            emitted: 0,
            weight: 0,
            given_up: 0,
            end: None,
            idle_since: None,
            pipelines: false,
            after_head: false,
            tunnel: false,
            tunnel_target: None,
        }
    }

    /// The same, watched by `observer`, which decides what is kept of bodies.
    #[must_use]
    pub fn observed(mut self, observer: Box<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The same, where both sides have ended after so many exchanges, and something comes all the same: it is counted as lost.
    #[must_use]
    pub fn after(mut self, exchanges: u32) -> Self {
        self.emitted = exchanges;
        for reader in [&mut self.client, &mut self.server] {
            reader.closed = Some(Close::Finished);
            reader.state = State::Sink(LossReason::NotHttp);
        }
        self.end = Some((Side::Client, Close::Finished, Stamp::default()));
        self
    }

    /// How many exchanges were polled, where nothing else waits to be and [`Connection::after`] can go on for it.
    pub fn given_out(&self) -> Option<u32> {
        let waits = !self.pending.is_empty() || !self.done.is_empty() || !self.losses.is_empty();
        let is_at_end = |reader: &Reader| matches!(reader.state, State::Sink(LossReason::NotHttp)) && reader.passed.is_none();
        let is_plain = is_at_end(&self.client) && is_at_end(&self.server) && !self.tunnel && self.carried == Notes::default();
        (!waits && is_plain).then_some(self.emitted)
    }

    /// Whether an upgrade or a CONNECT was agreed to, so that what comes next is of another protocol.
    #[inline]
    pub const fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// The target of the CONNECT that was agreed to (`host:port`; wire text).
    pub const fn tunnel_target(&self) -> Option<&Arc<str>> {
        self.tunnel_target.as_ref()
    }

    /// How many exchanges began.
    pub fn begun(&self) -> u32 {
        self.emitted.saturating_add(u32::try_from(self.pending.len() + self.done.len()).unwrap_or(u32::MAX))
    }

    /// Takes the next octets of one side.
    pub fn handle_data(&mut self, from: Side, stamp: Stamp, data: &[u8]) {
        if from == Side::Server && matches!(self.client.state, State::Head) {
            self.answer_open_head();
        }
        self.feed(from, stamp, data);
    }

    /// Takes `length` octets of one side that are in the capture but not given, as [`Connection::skippable`] allowed.
    /// Octets beyond that can not be decoded: they are counted as a loss.
    pub fn handle_skip(&mut self, from: Side, stamp: Stamp, length: u64) {
        let inside = self.skippable(from).min(length);
        self.skip(from, stamp, inside);
        let rest = length - inside;
        if rest > 0 {
            self.pass_unread(from, stamp, rest);
        }
    }

    /// Takes a gap: `length` octets of one side that the capture lacks.
    pub fn handle_gap(&mut self, from: Side, stamp: Stamp, length: u64) {
        if length > 0 {
            self.gap(from, stamp, length);
        }
    }

    /// Takes the end of one side. The connection gives everything it holds once both sides have ended; [`Close::Unseen`] for
    /// both means that the capture ended.
    pub fn handle_close(&mut self, from: Side, stamp: Stamp, how: Close) {
        if self.reader(from).closed.is_none() {
            // The message first: what was cut off may still be the answer to a request that waits.
            self.close_message(from, stamp, how);
            self.note_close(from, stamp, how);
        }
        let flow = self.flow;
        self.losses.flush(flow, &mut self.client);
        self.losses.flush(flow, &mut self.server);
        if self.client.closed.is_some() && self.server.closed.is_some() {
            for pending in &mut self.pending {
                pending.request_ended = true;
                pending.response_ended |= pending.is_answered();
            }
        }
        self.advance();
    }

    /// Attaches an anomaly of the stream to the exchange in progress, or to the next one.
    pub fn handle_anomaly(&mut self, from: Side, anomaly: Anomaly) {
        let open = self.pending.iter().position(|pending| pending.is_open(from));
        match self.pending.get_mut(open.unwrap_or(self.pending.len().saturating_sub(1))) {
            Some(pending) => pending.notes.add(anomaly),
            None => self.carried.add(anomaly),
        }
    }

    /// How many of the next octets of this side need not be given: they are content of a body that is neither kept nor
    /// hashed, or nothing that is decoded.
    #[inline]
    pub fn skippable(&self, from: Side) -> u64 {
        let reader = self.reader(from);
        let wanted = reader.keep_left > 0 || reader.digest.is_some() || self.watches_body(from);
        match reader.state {
            State::Sink(_) => u64::MAX,
            State::Body(_) if wanted => 0,
            State::Body(Progress::Length(left) | Progress::Chunk(body::Chunk::Content(left))) => left,
            State::Body(Progress::UntilClose) => u64::MAX,
            State::Body(Progress::Chunk(_)) | State::Start | State::Head | State::Seek { .. } => 0,
        }
    }

    /// Octets that it holds: of the exchanges in progress, and of what waits for the rest of its line or head.
    pub fn held_bytes(&self) -> usize {
        let gathered = |reader: &Reader| reader.gather.as_ref().map_or(0, |gather| gather.text.len());
        let request = self.pending.back().filter(|pending| !pending.request_ended);
        let response = self.pending.front().filter(|pending| !pending.response_ended);
        let response = response.and_then(Pending::response);
        self.weight
            + gathered(&self.client)
            + gathered(&self.server)
            + request.map_or(0, |pending| body::weight(&pending.request().body))
            + response.map_or(0, |response| body::weight(&response.body))
            + self.observer.as_ref().map_or(0, |observer| observer.held_bytes())
    }

    /// Whether an exchange or a loss can be polled.
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.done.is_empty() || !self.losses.is_empty()
    }

    /// The next exchange of which nothing more can come.
    pub fn poll(&mut self) -> Option<Box<Exchange>> {
        let pending = self.done.pop_front()?;
        self.weight = self.weight.saturating_sub(pending.weight());
        self.emitted = self.emitted.saturating_add(1);
        let mut exchange = pending.exchange;
        exchange.id = ExchangeId { flow: self.flow, ordinal: self.emitted };
        exchange.transport = self.transport.clone();
        exchange.anomalies = pending.notes.list();
        if let (Outcome::Unanswered, Answer::Due) = (&exchange.outcome, pending.answer) {
            exchange.outcome = match self.end {
                Some((by, Close::Finished, _)) => Outcome::ClosedEarly { by },
                Some((by, Close::Reset, _)) => Outcome::Reset { by },
                Some((_, Close::Unseen, _)) | None => Outcome::Unanswered,
            };
        }
        exchange.ending = self.ending_of(&exchange);
        if let Some(response) = exchange.response() {
            self.idle_since = response.end;
        }
        Some(exchange)
    }

    /// The end of the connection, where it cut an exchange short or came before its response.
    fn ending_of(&self, exchange: &Exchange) -> Option<Box<Ending>> {
        let (by, how, stamp) = self.end.filter(|(_, how, _)| *how != Close::Unseen)?;
        let is_cut = match &exchange.outcome {
            Outcome::Answered(response) => {
                let is_late = by == Side::Client && stamp.at < response.start;
                is_late || !response.body.complete || !exchange.request.body.complete
            }
            Outcome::ClosedEarly { .. } | Outcome::Reset { .. } => true,
            Outcome::Unanswered => false,
        };
        is_cut.then(|| Box::new(Ending { by, how, stamp, idle_since: self.idle_since }))
    }

    /// The next run of octets that belong to no exchange.
    pub fn poll_loss(&mut self) -> Option<Loss> {
        self.losses.poll()
    }

    /// Says how the octets travel, where that becomes known later or changes. It holds for all exchanges not yet polled.
    pub fn set_transport(&mut self, transport: Transport) {
        self.transport = transport;
    }

    pub(super) fn feed(&mut self, from: Side, stamp: Stamp, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let used = match self.reader(from).state {
                State::Start => self.feed_start(from, stamp, rest),
                State::Head => self.feed_head(from, stamp, rest),
                State::Body(progress) => self.feed_body(from, stamp, rest, progress),
                State::Seek { reason, after_gap, refused } => self.feed_seek(from, stamp, rest, (reason, after_gap, refused)),
                State::Sink(reason) => {
                    self.pass(from, stamp, rest.len() as u64, reason);
                    rest.len()
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    fn feed_body(&mut self, from: Side, stamp: Stamp, data: &[u8], progress: Progress) -> usize {
        if self.watches_body(from) && is_start(from, data) == Probe::Yes {
            // The message that seemed to have a body has none (or, until close, no more): here is the next one.
            self.end_undeclared(from, progress);
            return 0;
        }
        self.note_body_start(from, stamp);
        let bounds = Bounds { head_bytes_max: self.config.head_bytes_max as usize, fields_max: self.config.fields_max as usize };
        let (reader, message) = self.reading(from);
        let Some(mut message) = message else {
            reader.seek(LossReason::NotHttp, false, false);
            return 0;
        };
        match body::feed(progress, data, stamp, reader, &mut message, bounds) {
            Step::Used(used, progress) => {
                reader.state = State::Body(progress);
                used
            }
            Step::Ended(used) => {
                self.end_message(from, true);
                used
            }
            Step::Broken(used, line) => {
                if from == Side::Server && reader.body_fresh {
                    // Chunked in name only: everything up to the close is content.
                    message.body.framing = Framing::UntilClose;
                    reader.state = State::Body(Progress::UntilClose);
                    body::add(&line, reader, &mut message);
                } else {
                    self.end_message(from, false);
                    self.reader_mut(from).seek(LossReason::NotHttp, false, true);
                    self.feed(from, stamp, &line);
                }
                used
            }
        }
    }

    /// The body of a request begins: when that was matters where the client waited for `100 Continue`.
    pub(super) fn note_body_start(&mut self, from: Side, stamp: Stamp) {
        if from == Side::Client
            && self.client.body_fresh
            && let (_, Some(pending), _) = self.split(from)
            && pending.request().headers.has(HeaderName::Expect)
        {
            pending.exchange.request.body_start = Some(stamp.at);
        }
    }

    /// Whether the next octets of a body have to be looked at, since they may start the next message: the body of a request
    /// that was answered without it, of a response that may answer HEAD, or one until close while another answer is due.
    fn watches_body(&self, from: Side) -> bool {
        let reader = self.reader(from);
        let until_close = matches!(reader.state, State::Body(Progress::UntilClose));
        match from {
            Side::Client => reader.body_fresh && self.open(from).is_some_and(|pending| pending.is_answered()),
            Side::Server => (reader.body_fresh && reader.body_doubtful) || (until_close && self.pending.len() > 1),
        }
    }

    fn end_undeclared(&mut self, from: Side, progress: Progress) {
        let until_close = matches!(progress, Progress::UntilClose);
        if let Some(message) = self.reading(from).1 {
            match from {
                Side::Client => message.notes.add(Anomaly::BodyCutShort),
                Side::Server if message.body.length == 0 => message.body.framing = Framing::None,
                Side::Server => {}
            }
        }
        self.reader_mut(from).gather = None;
        self.end_message(from, from == Side::Server || until_close);
    }

    fn note_close(&mut self, from: Side, stamp: Stamp, how: Close) {
        self.reader_mut(from).closed = Some(how);
        self.end = match (self.end, how) {
            (None | Some((_, Close::Unseen, _)), how) => Some((from, how, stamp)),
            // A client may end its side in good order and still wait: then it is the server that breaks off.
            (Some((Side::Client, Close::Finished, _)), Close::Reset) if from == Side::Server => Some((from, how, stamp)),
            (end, _) => end,
        };
    }

    /// Ends the message of a side that is being read, and reports the exchanges that this completes.
    pub(super) fn end_message(&mut self, from: Side, complete: bool) {
        let (reader, pending, observer) = self.split(from);
        let digest = reader.digest.take();
        (reader.state, reader.keep_left, reader.body_fresh) = (State::Start, 0, false);
        let mut weight = 0;
        if let Some(pending) = pending {
            if let Some(message) = pending.message(from, observer) {
                weight = message.finish(complete, digest);
            }
            match from {
                Side::Client => pending.request_ended = true,
                Side::Server => pending.response_ended = true,
            }
        }
        self.weight += weight;
        self.advance();
    }

    /// What is left of the message of a side that is being read will not be looked at.
    pub(super) fn cut_message(&mut self, from: Side) {
        let (reader, message) = self.reading(from);
        (reader.digest, reader.keep_left, reader.body_fresh) = (None, 0, false);
        let weight = message.map_or(0, |message| message.finish(false, None));
        self.weight += weight;
    }

    /// Moves exchanges that are ended from the front of those in progress to those that are done.
    pub(super) fn advance(&mut self) {
        let no_more_answers = self.server.closed.is_some();
        while let Some(front) = self.pending.front() {
            let unanswered = no_more_answers && front.request_ended && !front.is_answered();
            if !front.is_ended() && !unanswered {
                break;
            }
            let ended = self.pending.pop_front();
            room_for_one(&mut self.done);
            self.done.extend(ended);
        }
    }

    /// A request begins to wait for its answer.
    pub(super) fn wait_for(&mut self, pending: Pending) {
        room_for_one(&mut self.pending);
        self.pending.push_back(pending);
    }

    /// Counts octets of a side that belong to no exchange.
    pub(super) fn pass(&mut self, from: Side, stamp: Stamp, bytes: u64, reason: LossReason) {
        let is_after_head = from == Side::Server && self.after_head && reason == LossReason::NotHttp;
        let reason = if is_after_head { LossReason::BodyAfterHead } else { reason };
        let reader = match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        self.losses.pass(self.flow, reader, stamp, bytes, reason);
        if reader.closed.is_some() {
            self.losses.flush(self.flow, reader);
        }
    }

    /// The reader of a side, and the message that it is reading.
    pub(super) fn reading(&mut self, from: Side) -> (&mut Reader, Option<Message<'_>>) {
        let (reader, pending, observer) = self.split(from);
        (reader, pending.and_then(|pending| pending.message(from, observer)))
    }

    /// The reader of a side, the exchange whose message it is reading, and who watches.
    #[inline]
    fn split(&mut self, from: Side) -> (&mut Reader, Option<&mut Pending>, Watcher<'_>) {
        let reader = match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        let mut all = self.pending.iter_mut();
        let open = match from {
            Side::Client => all.rfind(|pending| pending.is_open(from)),
            Side::Server => all.find(|pending| pending.is_open(from)),
        };
        (reader, open, self.observer.as_deref_mut())
    }

    fn open(&self, from: Side) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.is_open(from))
    }

    pub(super) const fn reader(&self, from: Side) -> &Reader {
        match from {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) const fn reader_mut(&mut self, from: Side) -> &mut Reader {
        match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// Most connections never have more than one exchange in progress, and there can be many connections.
fn room_for_one(queue: &mut VecDeque<Pending>) {
    if queue.capacity() == 0 {
        queue.reserve_exact(1);
    }
}
