//! An exchange inside TLS that stayed shut: when its records passed, and how long they were.

use std::ops::RangeInclusive;

use crate::model::{Endpoints, ExchangeId, Frame, Stamp, Timestamp};

/// A request and its answer, seen from outside their TLS.
///
/// What was asked and answered is not known; not even whether it was HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedExchange {
    /// The flow, and the number of the request on it, from 1. Where the capture begins within the flow, the number counts from
    /// there.
    pub id: ExchangeId,
    /// Who talked to whom.
    pub endpoints: Endpoints,
    /// The records of the client, and those of its body after an interim answer.
    pub request: SealedMessage,
    /// The records of the server's last answer.
    pub response: SealedMessage,
}

/// The records of one side, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedMessage {
    /// Octets of content, from the least to the most that the records can hold: one number where the cipher adds a fixed length.
    /// Padding of TLS 1.3 (RFC 8446 section 5.4) counts as content: the Java runtime adds 16 octets to each record.
    pub octets: RangeInclusive<u64>,
    /// Records.
    pub records: u32,
    /// When the first record was whole.
    pub start: Timestamp,
    /// When the last record was whole.
    pub end: Timestamp,
    /// The frames that completed the first and the last record.
    pub frames: [Frame; 2],
}

impl SealedMessage {
    /// A message of which nothing but the first record has come.
    pub fn begin(octets: RangeInclusive<u64>, stamp: Stamp) -> Self {
        Self { octets, records: 1, start: stamp.at, end: stamp.at, frames: [stamp.frame; 2] }
    }

    /// Adds a record.
    pub fn add(&mut self, octets: &RangeInclusive<u64>, stamp: Stamp) {
        let sum = |one: &u64, other: &u64| one.saturating_add(*other);
        self.octets = sum(self.octets.start(), octets.start())..=sum(self.octets.end(), octets.end());
        self.records = self.records.saturating_add(1);
        self.end = stamp.at;
        let [_, last] = &mut self.frames;
        *last = stamp.frame;
    }
}

/// Which exchange a sealed one is held to be the next leg of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPartner {
    /// The trace of that exchange: the exchange nearest the client of the same call.
    pub trace: ExchangeId,
    /// The exchange on the hop before.
    pub downstream: ExchangeId,
    /// Whether no other exchange could have been meant.
    pub is_sole: bool,
}
