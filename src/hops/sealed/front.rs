//! A call as it is remembered until the sealed exchanges behind its proxy are told: its times, its lengths and its kind.

use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::RangeInclusive;

use crate::hops::HopId;
use crate::model::{Body, Endpoint, Exchange, ExchangeId, Framing, HeaderName, Headers, Timestamp};

/// A call on the hop before one that stays shut.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its name.
    pub id: ExchangeId,
    /// The exchange nearest the client of the same call.
    pub trace: ExchangeId,
    /// Its hop.
    pub hop: HopId,
    /// Who answered it: the proxy.
    pub server: Endpoint,
    /// When its request began.
    pub start: Timestamp,
    /// When its answer began, where there is one.
    pub first_byte: Option<Timestamp>,
    /// When its answer ended.
    pub end: Option<Timestamp>,
    /// Whether it is a further attempt of the client.
    pub is_retry: bool,
    /// Whether a partner was waited for.
    pub has_waited: bool,
    pub(super) request_end: Option<Timestamp>,
    pub(super) asked: Option<Octets>,
    pub(super) answered: Option<Octets>,
}

/// How long a message is as it was sent, and of which kind: messages of one kind become longer by the same in the same proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Octets {
    pub(super) range: RangeInclusive<u64>,
    pub(super) kind: u64,
}

impl Front {
    /// What is remembered of an exchange; `trace` where it is the leg of a call with others.
    pub fn of(exchange: &Exchange, hop: HopId, trace: Option<ExchangeId>) -> Self {
        let request = &exchange.request;
        let response = exchange.response();
        let client = exchange.endpoints.client.ip.to_string().len();
        Self {
            id: exchange.id,
            trace: trace.unwrap_or(exchange.id),
            hop,
            server: exchange.endpoints.server,
            start: request.end.map_or(request.start, |end| end.min(request.start)),
            request_end: request.end,
            first_byte: response.map(|response| response.start),
            end: response.and_then(|response| response.end),
            is_retry: false,
            has_waited: false,
            asked: Octets::of(&request.headers, &request.body, &[request.method(), &[narrow(client)]]),
            answered: response.and_then(|response| {
                Octets::of(&response.headers, &response.body, &[&response.status.to_be_bytes(), request.method()])
            }),
        }
    }

    /// Whether both messages were seen from end to end.
    pub(super) const fn is_whole(&self) -> bool {
        self.asked.is_some() && self.answered.is_some() && self.first_byte.is_some() && self.end.is_some()
    }
}

impl Octets {
    fn of(headers: &Headers, body: &Body, also: &[&[u8]]) -> Option<Self> {
        if !body.complete || headers.text().is_empty() {
            return None;
        }
        let least = body.length.saturating_add(headers.text().len() as u64);
        // How a body is cut into chunks is the sender's choice, and no part of its length.
        let chunks = match body.framing {
            Framing::None | Framing::Length(_) | Framing::UntilClose => 0..=0,
            Framing::Chunked => CHUNK_END_BYTES..=CHUNK_END_BYTES + CHUNK_BYTES_MAX * (1 + body.length / CHUNK_LENGTH_MIN),
            Framing::Tunnel => return None,
        };
        Some(Self {
            range: least.saturating_add(*chunks.start())..=least.saturating_add(*chunks.end()),
            kind: kind_of(headers, also),
        })
    }
}

/// The names of the fields, in order, and what else decides on what a proxy adds: the length of the host, which it may repeat.
fn kind_of(headers: &Headers, also: &[&[u8]]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    for part in also {
        hasher.write(part);
    }
    hasher.write_usize(headers.get(HeaderName::Host).map_or(0, <[u8]>::len));
    for (name, sent, _) in headers.known() {
        match name {
            HeaderName::Other => hasher.write(sent),
            name => hasher.write_u64(name as u64),
        }
    }
    hasher.finish()
}

fn narrow(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// The last chunk.
const CHUNK_END_BYTES: u64 = 5;
/// The length of a chunk and its line ends.
const CHUNK_BYTES_MAX: u64 = 10;
/// Chunks are seldom shorter.
const CHUNK_LENGTH_MIN: u64 = 1024;
