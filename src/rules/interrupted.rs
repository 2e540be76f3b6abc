//! Exchanges that their peers ended before they were complete, with nothing of the capture missing.

use std::time::Duration;

use crate::hops::{ClientId, HopId};
use crate::model::{Anomaly, Body, Close, Ending, Exchange, FlowClosed, Framing, Outcome, Side, Timestamp};
use crate::rules::same_call::same_call_key;
use crate::rules::sight::Sight;
use crate::s3::{Call, Operation};

/// An exchange that its peers ended before it was complete. Whether they did, or the capture lacks its end, is known when its
/// connection ends.
#[derive(Clone, Debug)]
pub struct Interrupted {
    /// The hop it was seen on.
    pub hop: HopId,
    /// Who sent it.
    pub client: ClientId,
    /// What was asked for.
    pub operation: Operation,
    /// What is missing of it.
    pub part: MissingPart,
    /// Whether it is counted as an error by its status.
    pub has_error_status: bool,
    pub(super) sight: Sight,
    pub(super) ending: Option<Ending>,
    /// When its request began, and when the last byte of it was sent.
    start: Timestamp,
    pub(super) request_end: Timestamp,
    /// The status that came, and when it began.
    pub(super) response: Option<(u16, Timestamp)>,
    /// Which later calls are the same.
    pub(super) key: u64,
}

/// What an interrupted exchange lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingPart {
    /// The response.
    Response,
    /// The response came after the client had ended the connection.
    Receiver,
    /// The end of the response's body.
    ResponseBody(BodyCut),
    /// The response, and the end of the request's body.
    RequestBody(BodyCut),
}

/// How much of a body passed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCut {
    /// Bytes of content that passed.
    pub passed: u64,
    /// Bytes that the head announced, where it did.
    pub declared: Option<u64>,
}

/// How far an exchange was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// From its first to its last byte, or as far as its peers let it come.
    Whole,
    /// A part is not in the capture.
    Part,
    /// Its peers ended it, unless its connection turns out to lack bytes.
    Interrupted(MissingPart),
    /// It is a response without a request: unasked for, unless its connection turns out to lack bytes.
    Unasked,
}

impl Extent {
    /// How far an exchange was seen.
    pub fn of(exchange: &Exchange) -> Self {
        if exchange.ending.is_none() && exchange.is_complete() {
            return Self::Whole;
        }
        let request = &exchange.request;
        let has_gap = |body: &Body| !body.missing.is_empty();
        let lost = [Anomaly::GapInHead, Anomaly::GapInBody];
        let response = exchange.response();
        if has_gap(&request.body)
            || response.is_some_and(|response| has_gap(&response.body))
            || exchange.anomalies.iter().any(|anomaly| lost.contains(anomaly))
        {
            return Self::Part;
        }
        let is_ended = exchange.ending.is_some();
        match (&exchange.outcome, response) {
            (Outcome::Unanswered, _) => Self::Part,
            (_, Some(response)) if !response.body.complete => {
                let is_broken = exchange.anomalies.contains(&Anomaly::InvalidChunkSize);
                match is_ended {
                    true => Self::Interrupted(MissingPart::ResponseBody(BodyCut::of(&response.body))),
                    false if is_broken => Self::Whole,
                    false => Self::Part,
                }
            }
            _ if request.is_unseen() => Self::Unasked,
            (_, Some(_)) if exchange.is_abandoned() => Self::Interrupted(MissingPart::Receiver),
            // A server may respond before it has the body, and the client then keeps the rest of it back.
            (_, Some(_)) => Self::Whole,
            (_, None) if !request.body.complete => Self::Interrupted(MissingPart::RequestBody(BodyCut::of(&request.body))),
            (_, None) => Self::Interrupted(MissingPart::Response),
        }
    }

    /// Whether a part of the exchange is not in the capture, now that its connection has ended.
    pub fn is_part_of(self, closed: &FlowClosed) -> bool {
        let lacks_bytes = !closed.both_sides || closed.client.missing > 0 || closed.server.missing > 0;
        match self {
            Self::Whole => false,
            Self::Part => true,
            Self::Interrupted(_) => lacks_bytes,
            Self::Unasked => lacks_bytes || !closed.has_start,
        }
    }
}

impl BodyCut {
    const fn of(body: &Body) -> Self {
        let declared = match body.framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked | Framing::UntilClose | Framing::Tunnel => None,
        };
        Self { passed: body.length, declared }
    }
}

impl Interrupted {
    /// Takes down what rules need of an interrupted call.
    pub fn of(call: &Call<'_>, hop: HopId, client: ClientId, part: MissingPart) -> Self {
        let exchange = call.exchange;
        let request = &exchange.request;
        let ending = exchange.ending.as_deref().copied();
        Self {
            hop,
            client,
            operation: call.operation,
            part,
            has_error_status: exchange.status().is_some_and(|status| status >= 400),
            sight: Sight::of_ending(exchange, ending.map(|ending| ending.stamp.frame)),
            ending,
            start: request.start,
            request_end: request.end.unwrap_or(request.start),
            response: exchange.response().map(|response| (response.status, response.start)),
            key: same_call_key(call, exchange.endpoints.client.ip),
        }
    }

    /// When its request began.
    pub const fn started(&self) -> Timestamp {
        self.start
    }

    /// Whether the client received the response after all: it acknowledged all bytes that the server sent.
    pub fn was_received(&self, closed: &FlowClosed) -> bool {
        self.part == MissingPart::Receiver && closed.server.acknowledged >= closed.server.delivered
    }

    /// Who ended the connection first, as far as it is known.
    pub(super) fn by(&self) -> Side {
        self.ending.map_or(Side::Server, |ending| ending.by)
    }

    /// `closed` or `reset`.
    pub(super) fn verb(&self) -> &'static str {
        if self.ending.is_some_and(|ending| ending.how == Close::Reset) { "reset" } else { "closed" }
    }

    /// Whether the server ended an idle connection before the request began.
    pub(super) fn is_idle_close(&self) -> bool {
        self.part != MissingPart::Receiver
            && self
                .ending
                .is_some_and(|ending| ending.by == Side::Server && ending.stamp.at <= self.start && ending.idle_since.is_some())
    }

    /// How long the connection was idle when it was ended.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.ending.and_then(|ending| Some(ending.stamp.at.since(ending.idle_since?)))
    }

    /// How long after the last byte of the request the connection was ended.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.ending.map(|ending| ending.stamp.at.since(self.request_end))
    }
}
