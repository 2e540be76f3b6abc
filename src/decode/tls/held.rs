//! Records that cannot be opened yet: kept in order, within bounds, until a secret or a ServerHello comes.

use crate::decode::tls::connection::{Connection, Turn};
use crate::decode::tls::direction::Cover;
use crate::decode::tls::record::Header;
use crate::decode::tls::{Secrets, Sink};
use crate::model::{Close, Side, Stamp};

/// Records of both sides that wait.
#[derive(Default)]
pub(super) struct Held {
    records: Vec<HeldRecord>,
    octets: Vec<u8>,
    /// The state of the key log when it was last asked.
    generation: u64,
    /// Whether the handshake has gone on since.
    pub(super) is_retry_due: bool,
}

struct HeldRecord {
    from: Side,
    stamp: Stamp,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Record(Header),
    /// A record of which bytes are missing in the capture.
    Lost(Header),
    Close,
}

impl Held {
    /// Keeps the end of a side's stream, if anything waits.
    pub(super) fn add_close(&mut self, from: Side, stamp: Stamp) -> bool {
        let is_waiting = !self.records.is_empty();
        let is_closed = self.records.iter().any(|record| record.from == from && matches!(record.what, What::Close));
        if is_waiting && !is_closed {
            self.records.push(HeldRecord { from, stamp, what: What::Close });
        }
        is_waiting
    }

    /// Takes what waits, to look at it from outside.
    pub(super) fn take_records(&mut self) -> HeldRecords {
        HeldRecords(std::mem::take(self).records)
    }

    /// How many records and ends wait.
    pub(super) const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Octets that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.octets.len()
    }

    /// Keeps the place of a record of which bytes are missing, if records of its side wait: their numbers come before its own.
    pub(super) fn add_lost(&mut self, from: Side, stamp: Stamp, header: Header) -> bool {
        let is_waiting = self.records.iter().any(|record| record.from == from) && self.records.len() < HELD_RECORDS_MAX;
        if is_waiting {
            self.records.push(HeldRecord { from, stamp, what: What::Lost(header) });
        }
        is_waiting
    }

    /// Keeps a record; false if there is no room.
    fn add(&mut self, from: Side, stamp: Stamp, header: Header, body: &[u8], bytes_max: usize) -> bool {
        let has_room = self.octets.len() + body.len() <= bytes_max && self.records.len() < HELD_RECORDS_MAX;
        if has_room {
            self.records.push(HeldRecord { from, stamp, what: What::Record(header) });
            self.octets.extend_from_slice(body);
        }
        has_room
    }
}

/// Records that have waited in vain.
pub(super) struct HeldRecords(Vec<HeldRecord>);

impl HeldRecords {
    /// Their headers, in order of arrival. An end of a side's stream has none, and is counted as one all the same.
    pub(super) fn headers(&self) -> impl Iterator<Item = (Side, Stamp, Header)> + '_ {
        self.0.iter().map(|record| match record.what {
            What::Record(header) | What::Lost(header) => (record.from, record.stamp, header),
            What::Close => (record.from, record.stamp, Header::NONE),
        })
    }
}

impl Connection {
    /// Keeps a record for later; false where there is no room: then what waits is given up, and the record is still to be handled.
    pub(super) fn hold(&mut self, header: Header, body: &[u8], turn: &mut Turn<'_, '_>) -> bool {
        if self.held.records.is_empty() {
            self.held.generation = turn.secrets.keylog.generation();
        }
        let is_held = self.held.add(turn.from, turn.stamp, header, body, self.held_bytes_max as usize);
        if !is_held {
            self.give_up(turn.secrets, turn.sink);
        }
        is_held
    }

    /// Goes on with the records that wait, if anything has changed since they could not be opened.
    pub(super) fn retry(&mut self, turn: &mut Turn<'_, '_>) {
        let generation = turn.secrets.keylog.generation();
        let is_waiting = !self.held.records.is_empty();
        let is_due = is_waiting && (self.held.is_retry_due || self.held.generation != generation);
        self.held.is_retry_due &= is_waiting;
        if is_due {
            let held = std::mem::take(&mut self.held);
            self.held.generation = generation;
            self.read_held(held, turn.secrets, turn.sink);
        }
    }

    /// Waits no longer: a direction without keys stays encrypted, and what waited of the other for the sake of order is read.
    pub(super) fn give_up(&mut self, secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        let reason = self.waiting_reason();
        for direction in [&mut self.client, &mut self.server] {
            if matches!(direction.cover, Cover::Waiting) {
                direction.shut(reason.clone());
            }
        }
        if [&self.client, &self.server].iter().any(|direction| matches!(direction.cover, Cover::Sealed(_))) {
            let held = std::mem::take(&mut self.held);
            self.read_held(held, secrets, sink);
        }
        let records = self.held.take_records();
        self.see_held(&records);
    }

    fn read_held(&mut self, held: Held, secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        let mut octets = held.octets.as_slice();
        let mut body = Vec::new();
        for record in held.records {
            let mut then = Turn { from: record.from, stamp: record.stamp, secrets: &mut *secrets, sink: &mut *sink };
            match record.what {
                What::Record(header) => {
                    let (now, rest) = octets.split_at(usize::from(header.length).min(octets.len()));
                    octets = rest;
                    body.clear();
                    body.extend_from_slice(now);
                    if matches!(self.direction(record.from).cover, Cover::Waiting) {
                        self.look_for_keys(record.from, then.secrets);
                    }
                    if self.direction(record.from).shut.is_some() {
                        self.see(header, record.from, record.stamp);
                    } else if !self.direction(record.from).is_closed {
                        self.record(header, &mut body, &mut then);
                    }
                }
                What::Lost(header) if self.direction(record.from).shut.is_none() => self.lost_record(header, &mut then),
                What::Lost(_) => self.lose_place_outside(),
                What::Close if self.held.add_close(record.from, record.stamp) => {}
                What::Close => self.close(Close::Finished, &mut then),
            }
        }
    }
}

/// Records that wait for a secret, per connection.
const HELD_RECORDS_MAX: usize = 1024;
