//! An exchange in the making.

use crate::decode::http1::body::weight;
use crate::decode::http1::notes::Notes;
use crate::decode::http1::observe::Watcher;
use crate::model::{
    Body, Endpoints, Exchange, ExchangeId, Frames, Headers, Outcome, Request, Response, Side, Stamp, Timestamp, Transport,
};

/// A request (empty where only its response was seen) with what is known of its answer so far.
pub(super) struct Pending {
    /// What is told of it in the end; its outcome is a response or still open.
    pub(super) exchange: Box<Exchange>,
    pub(super) notes: Notes,
    /// Where the request began.
    pub(super) start: Stamp,
    pub(super) request_ended: bool,
    pub(super) response_ended: bool,
    pub(super) answer: Answer,
}

/// What is known of an answer that was not seen.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// It may still come.
    #[default]
    Due,
    /// A gap began where it was due; it may be gone.
    Doubtful,
    /// It is gone: a later request was answered.
    Lost,
}

/// The parts of a message that its body changes, and who watches.
pub(super) struct Message<'a> {
    pub(super) from: Side,
    pub(super) body: &'a mut Body,
    pub(super) frames: &'a mut Frames,
    pub(super) end: &'a mut Option<Timestamp>,
    pub(super) notes: &'a mut Notes,
    pub(super) observer: Watcher<'a>,
}

impl Pending {
    /// A request that began at `start` and was not answered yet.
    pub(super) fn new(endpoints: Endpoints, request: Request, notes: Notes, start: Stamp) -> Self {
        Self {
            exchange: Box::new(Exchange {
                id: ExchangeId::default(),
                endpoints,
                transport: Transport::Clear,
                request,
                interim: Vec::new(),
                outcome: Outcome::Unanswered,
                ending: None,
                tunnel: None,
                anomalies: Vec::new(),
            }),
            notes,
            start,
            request_ended: false,
            response_ended: false,
            answer: Answer::Due,
        }
    }

    /// The request.
    pub(super) const fn request(&self) -> &Request {
        &self.exchange.request
    }

    /// The final response, where one began.
    pub(super) const fn response(&self) -> Option<&Response> {
        self.exchange.response()
    }

    /// Whether a final response began.
    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.exchange.outcome, Outcome::Answered(_))
    }

    /// The final response began.
    pub(super) fn answer(&mut self, response: Response) {
        self.exchange.outcome = Outcome::Answered(Box::new(response));
    }

    /// Whether no final response began, and one may still come.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_answered() && self.answer != Answer::Lost
    }

    /// Whether nothing more can come.
    pub(super) fn is_ended(&self) -> bool {
        self.request_ended && (self.response_ended || self.answer == Answer::Lost)
    }

    /// Whether a side's message is being read.
    pub(super) fn is_open(&self, from: Side) -> bool {
        match from {
            Side::Client => !self.request_ended,
            Side::Server => self.is_answered() && !self.response_ended,
        }
    }

    /// Octets that it holds, once its messages have ended.
    pub(super) fn weight(&self) -> usize {
        let of = |headers: &Headers, body: &Body| headers.text().len() + weight(body);
        of(&self.request().headers, &self.request().body)
            + self.response().map_or(0, |response| of(&response.headers, &response.body))
    }

    /// A side's message.
    pub(super) fn message<'a>(&'a mut self, from: Side, observer: Watcher<'a>) -> Option<Message<'a>> {
        let notes = &mut self.notes;
        Some(match from {
            Side::Client => {
                let Request { body, frames, end, .. } = &mut self.exchange.request;
                Message { from, body, frames, end, notes, observer }
            }
            Side::Server => {
                let Outcome::Answered(response) = &mut self.exchange.outcome else { return None };
                let Response { body, frames, end, .. } = &mut **response;
                Message { from, body, frames, end, notes, observer }
            }
        })
    }
}
