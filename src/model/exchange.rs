//! An exchange: one request with what became of it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{Anomaly, Body, Close, Endpoints, FlowId, Frames, Headers, Side, Stamp, Timestamp, Transport};

/// Names an exchange: its flow and its number on that flow, from 1. Stable for the same capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId {
    /// The flow.
    pub flow: FlowId,
    /// The number on the flow, from 1.
    pub ordinal: u32,
}

/// `FLOW.ORDINAL`
impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.flow, self.ordinal)
    }
}

/// The HTTP version of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// A request or response without a version.
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and what other 1.x there is.
    #[default]
    Http11,
}

impl Version {
    /// `HTTP/1.1`
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name.
    pub id: ExchangeId,
    /// Who talked to whom.
    pub endpoints: Endpoints,
    /// In clear or inside TLS.
    pub transport: Transport,
    /// The target that a CONNECT named (`host:port`; wire text), where it passed inside that tunnel. The server of
    /// `endpoints` is then the proxy.
    pub tunnel: Option<Arc<str>>,
    /// The request.
    pub request: Request,
    /// Interim (1xx) responses, in order; capped, the rest are an anomaly.
    pub interim: Vec<Interim>,
    /// What became of it.
    pub outcome: Outcome,
    /// How the connection ended, where that cut the exchange short. Boxed, since few have it.
    pub ending: Option<Box<Ending>>,
    /// What is odd about it.
    pub anomalies: Vec<Anomaly>,
}

/// The first end of a connection that came before an exchange on it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The side that closed or reset first.
    pub by: Side,
    /// FIN or RST, never [`Close::Unseen`].
    pub how: Close,
    /// The packet that showed it.
    pub stamp: Stamp,
    /// When the response to the request before ended: the connection was idle since. `None` for the first exchange.
    pub idle_since: Option<Timestamp>,
}

impl Exchange {
    /// The response, where one was seen.
    pub const fn response(&self) -> Option<&Response> {
        match &self.outcome {
            Outcome::Answered(response) => Some(response),
            Outcome::ClosedEarly { .. } | Outcome::Reset { .. } | Outcome::Unanswered => None,
        }
    }

    /// The bodies of both messages, as far as they were seen.
    pub fn bodies(&self) -> impl Iterator<Item = &Body> {
        let response = self.response().map(|response| &response.body);
        [Some(&self.request.body), response].into_iter().flatten()
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> impl Iterator<Item = &mut Body> {
        let response = match &mut self.outcome {
            Outcome::Answered(response) => Some(&mut response.body),
            Outcome::ClosedEarly { .. } | Outcome::Reset { .. } | Outcome::Unanswered => None,
        };
        [Some(&mut self.request.body), response].into_iter().flatten()
    }

    /// The response, where one was seen, to add to it.
    pub const fn response_mut(&mut self) -> Option<&mut Response> {
        match &mut self.outcome {
            Outcome::Answered(response) => Some(response),
            Outcome::ClosedEarly { .. } | Outcome::Reset { .. } | Outcome::Unanswered => None,
        }
    }

    /// The status of the response, where one was seen.
    pub fn status(&self) -> Option<u16> {
        self.response().map(|response| response.status)
    }

    /// Whether the client had ended the connection before the response began: then the response did not reach it.
    pub fn is_abandoned(&self) -> bool {
        let Some(ending) = self.ending.as_deref().filter(|ending| ending.by == Side::Client) else { return false };
        self.response().is_none_or(|response| ending.stamp.at < response.start)
    }

    /// Whether both messages were seen from first to last byte.
    pub fn is_complete(&self) -> bool {
        let whole = |body: &Body| body.complete && body.missing.is_empty();
        whole(&self.request.body) && self.response().is_some_and(|response| whole(&response.body))
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A final response began (its body may be incomplete: see [`Body::complete`]).
    Answered(Box<Response>),
    /// The connection was closed in order before a final response.
    ClosedEarly {
        /// The side that closed first.
        by: Side,
    },
    /// The connection was reset before a final response.
    Reset {
        /// The side that sent the RST.
        by: Side,
    },
    /// The capture (or the view of it) ended before a final response.
    Unanswered,
}

/// A request. Method and target are ranges of the head's text.
#[derive(Clone, Debug, Default)]
pub struct Request {
    method: (u32, u32),
    target: (u32, u32),
    /// Whether a recording replaced secrets in the target.
    pub is_target_redacted: bool,
    /// The version.
    pub version: Version,
    /// The header fields, over the head as sent.
    pub headers: Headers,
    /// The body.
    pub body: Body,
    /// The frames that carried it.
    pub frames: Frames,
    /// Time of its first byte.
    pub start: Timestamp,
    /// Time of its last byte, where it was seen.
    pub end: Option<Timestamp>,
    /// Time of the first byte of its body; only noted for requests with `Expect`.
    pub body_start: Option<Timestamp>,
}

impl Request {
    /// A request over a decoded head; `method` and `target` are ranges of `headers.text()`.
    pub fn over(headers: Headers, method: Range<usize>, target: Range<usize>, version: Version) -> Self {
        Self { method: span(&method), target: span(&target), version, headers, ..Self::default() }
    }

    /// A request from parts, for sessions that were not decoded from packets; headers are added with `headers.append`.
    pub fn from_parts(method: &[u8], target: &[u8], version: Version) -> Self {
        let text = [method, b" ", target].concat();
        let start = method.len() + 1;
        let end = text.len();
        Self::over(Headers::over(text, 0), 0..method.len(), start..end, version)
    }

    /// The method as sent.
    pub fn method(&self) -> &[u8] {
        part(&self.headers, self.method)
    }

    /// Whether the capture holds only the response: then there is no time of the request either.
    pub fn is_unseen(&self) -> bool {
        self.method().is_empty()
    }

    /// What of the head a recording replaced, so that it cannot be sent: `request target`, or the name of the first such field.
    pub fn first_redacted(&self) -> Option<&[u8]> {
        if self.is_target_redacted { Some(b"request target") } else { self.headers.first_redacted() }
    }

    /// The request target as sent (RFC 9112 section 3.2).
    pub fn target(&self) -> &[u8] {
        part(&self.headers, self.target)
    }
}

/// A final response. The reason phrase is a range of the head's text.
#[derive(Clone, Debug, Default)]
pub struct Response {
    reason: (u32, u32),
    /// The status code.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// The header fields, over the head as sent.
    pub headers: Headers,
    /// The body.
    pub body: Body,
    /// The frames that carried it.
    pub frames: Frames,
    /// Time of its first byte.
    pub start: Timestamp,
    /// Time of its last byte, where it was seen.
    pub end: Option<Timestamp>,
}

impl Response {
    /// A response over a decoded head; `reason` is a range of `headers.text()`.
    pub fn over(headers: Headers, status: u16, reason: Range<usize>, version: Version) -> Self {
        Self { reason: span(&reason), status, version, headers, ..Self::default() }
    }

    /// A response from parts, for sessions that were not decoded from packets.
    pub fn from_parts(status: u16, reason: &[u8], version: Version) -> Self {
        Self::over(Headers::over(reason.to_vec(), 0), status, 0..reason.len(), version)
    }

    /// The reason phrase as sent.
    pub fn reason(&self) -> &[u8] {
        part(&self.headers, self.reason)
    }
}

/// An interim (1xx) response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interim {
    /// The status code.
    pub status: u16,
    /// When it came.
    pub at: Timestamp,
}

fn span(range: &Range<usize>) -> (u32, u32) {
    let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    (narrow(range.start), narrow(range.end))
}

fn part(headers: &Headers, (start, end): (u32, u32)) -> &[u8] {
    headers.text().get(start as usize..end as usize).unwrap_or_default()
}
