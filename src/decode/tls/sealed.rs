//! What a connection that stays shut shows all the same: which records of the client were answered with which of the server.
//!
//! Nothing is given out before it is certain that no secret comes any more: records that wait for one are looked at when they
//! are given up, or when the flow ends. Whether a record holds a message is told by its place and length: of the records of
//! TLS 1.3 the client's are its handshake up to a Finished (RFC 8446 section 4.4.4), the server's are its own before that, and
//! tickets (section 4.6.1) until the client speaks.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::decode::tls::connection::Connection;
use crate::decode::tls::follow::Lost;
use crate::decode::tls::held::HeldRecords;
use crate::decode::tls::hello::Early;
use crate::decode::tls::record::{APPLICATION_DATA, Header};
use crate::decode::tls::suite::{Bulk, Suite};
use crate::decode::tls::{Secrets, Sink};
use crate::model::{SealedMessage, Shut, Side, Stamp, TlsVersion, TlsView};

/// A request and its answer, from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPair {
    /// The number of the request on the connection, from 1.
    pub ordinal: u32,
    /// The client's records.
    pub request: SealedMessage,
    /// The server's records.
    pub response: SealedMessage,
}

/// The outside of a connection, as far as it was looked at.
#[derive(Default)]
pub(super) struct Outside {
    seals: Option<Box<Seals>>,
    /// How many of the records that wait came before something was lost, where something was.
    held_whole: Option<usize>,
    /// Whether nothing more can be told apart.
    is_over: bool,
}

/// Tells the exchanges of one connection apart.
struct Seals {
    stage: Stage,
    is_tls13: bool,
    /// Octets by which a record is longer than its content.
    overhead: RangeInclusive<u16>,
    ordinal: u32,
    request: Option<SealedMessage>,
    answer: Option<Answer>,
    /// Records that may be an alert at the end.
    alerts: [Option<(Stamp, u64)>; 2],
    /// Whether the server has sent its tickets, if it sends any.
    has_tickets: bool,
    ready: VecDeque<SealedPair>,
}

struct Answer {
    message: SealedMessage,
    /// Octets of the first records, if they can be tickets.
    doubtful: u64,
    doubtful_records: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS 1.3, before the client's Finished of that many octets; records passed over.
    Handshake { finished: u64, passed: u8 },
    /// The next record of the client begins a request.
    Ready,
    /// The start was not seen: once the server has sent something, the next record of the client begins a request.
    Unknown { has_answer: bool },
}

impl Connection {
    /// The next exchange of a connection that stays shut.
    pub fn poll_sealed(&mut self) -> Option<SealedPair> {
        self.outside.seals.as_mut()?.ready.pop_front()
    }

    /// Takes note that nothing more comes: what waits for a secret stays encrypted.
    pub fn handle_end(&mut self, secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        self.give_up(secrets, sink);
        if let Some(seals) = self.outside.seals.as_mut().filter(|_| !self.outside.is_over) {
            seals.finish_exchange();
        }
    }

    /// Looks at the headers of a side that is shut.
    pub(super) fn follow(&mut self, data: &[u8], from: Side, stamp: Stamp) {
        let mut rest = data;
        while !rest.is_empty() {
            let Some(follow) = self.direction_mut(from).follow.as_mut() else { return };
            match follow.take(rest) {
                Ok((header, left)) => {
                    rest = left;
                    header.into_iter().for_each(|header| self.see(header, from, stamp));
                }
                Err(Lost) => return self.lose_outside(),
            }
        }
    }

    /// Passes over octets of a side that is shut; whether the capture lacks them does not matter inside a record.
    pub(super) fn follow_skip(&mut self, length: u64, from: Side, stamp: Stamp) {
        let Some(follow) = self.direction_mut(from).follow.as_mut() else { return };
        match follow.skip(length) {
            Ok(header) => header.into_iter().for_each(|header| self.see(header, from, stamp)),
            Err(Lost) => self.lose_outside(),
        }
    }

    /// Looks at the records that have waited in vain.
    pub(super) fn see_held(&mut self, records: &HeldRecords) {
        let count = self.outside.held_whole.take();
        for (from, stamp, header) in records.headers().take(count.unwrap_or(usize::MAX)) {
            self.see(header, from, stamp);
        }
        if count.is_some() {
            self.lose_outside();
        }
    }

    /// Looks at a record that stays shut.
    pub(super) fn see(&mut self, header: Header, from: Side, stamp: Stamp) {
        // What is held came before: seen after it, it would be told of the wrong message.
        if self.client.has_opened || self.server.has_opened || self.is_doubtful() || !self.held.is_empty() {
            self.lose_outside();
        }
        if self.outside.is_over || header.kind != APPLICATION_DATA {
            return;
        }
        let seals = self.outside.seals.get_or_insert_with(|| Box::new(Seals::new(&self.view)));
        if !seals.handle_record(from, stamp, header.length) {
            self.lose_outside();
        }
    }

    /// Takes note that the place of the next record of a side is not known.
    pub(super) fn lose_place_outside(&mut self) {
        if self.held.is_empty() {
            self.lose_outside();
        } else {
            self.outside.held_whole.get_or_insert(self.held.len());
        }
    }

    fn lose_outside(&mut self) {
        self.outside.is_over = true;
        self.client.follow = None;
        self.server.follow = None;
    }

    /// Whether more than a missing secret keeps it shut, or its records may be 0-RTT data.
    fn is_doubtful(&self) -> bool {
        let is_damaged = |shut: &Option<Shut>| matches!(shut, Some(Shut::WrongSecret | Shut::PacketMissing(_) | Shut::Malformed));
        let has_early = self.hello.as_ref().is_some_and(|hello| hello.early != Early::NotOffered);
        is_damaged(&self.client.shut) || is_damaged(&self.server.shut) || has_early
    }
}

impl Seals {
    fn new(view: &TlsView) -> Self {
        let suite = view.suite.and_then(Suite::find);
        let stage = match (view.version, suite) {
            (None, _) => Stage::Unknown { has_answer: false },
            (Some(TlsVersion::Tls13), suite) => {
                let hash = suite.map_or(32, |suite| suite.prf.length());
                Stage::Handshake { finished: (MESSAGE_HEADER_BYTES + hash) as u64, passed: 0 }
            }
            (Some(_), _) => Stage::Ready,
        };
        Self {
            stage,
            is_tls13: view.version == Some(TlsVersion::Tls13),
            overhead: overhead_of(view.version, suite),
            ordinal: 0,
            request: None,
            answer: None,
            alerts: [None; 2],
            has_tickets: false,
            ready: VecDeque::new(),
        }
    }

    /// Takes a record of application data, of which `length` octets follow its header; false if nothing can be told apart.
    fn handle_record(&mut self, from: Side, stamp: Stamp, length: u16) -> bool {
        let content = |overhead: &u16| u64::from(length.saturating_sub(*overhead));
        let octets = content(self.overhead.end())..=content(self.overhead.start());
        if let Stage::Handshake { finished, passed } = self.stage {
            if from == Side::Client {
                let is_finished = octets.contains(&finished) || octets.contains(&(finished + PADDING_BYTES));
                self.stage = if is_finished { Stage::Ready } else { Stage::Handshake { finished, passed: passed + 1 } };
            }
            return passed < HANDSHAKE_RECORDS_MAX;
        }
        let [client_alert, server_alert] = &mut self.alerts;
        let alert = if from == Side::Client { client_alert } else { server_alert };
        // An alert ends what a side sends: what is followed by more was none.
        if let Some((stamp, octets)) = alert.take() {
            self.add(from, stamp, &(octets..=octets));
        }
        if self.is_of_length(&octets, ALERT_BYTES) {
            let [client_alert, server_alert] = &mut self.alerts;
            *(if from == Side::Client { client_alert } else { server_alert }) = Some((stamp, *octets.start()));
        } else {
            self.add(from, stamp, &octets);
        }
        true
    }

    fn add(&mut self, from: Side, stamp: Stamp, octets: &RangeInclusive<u64>) {
        match from {
            Side::Client => self.add_asked(stamp, octets),
            Side::Server => self.add_answered(stamp, octets),
        }
    }

    fn add_asked(&mut self, stamp: Stamp, octets: &RangeInclusive<u64>) {
        if let Stage::Unknown { has_answer } = self.stage {
            if !has_answer {
                return;
            }
            self.stage = Stage::Ready;
        }
        let is_between = self.request.is_none() || self.answer.is_some();
        if is_between && self.is_of_length(octets, KEY_UPDATE_BYTES) {
            return;
        }
        if self.answer.as_ref().is_some_and(Answer::is_interim) {
            self.answer = None;
        } else if self.answer.is_some() {
            self.finish_exchange();
        }
        match &mut self.request {
            Some(request) => request.add(octets, stamp),
            None => {
                self.ordinal = self.ordinal.saturating_add(1);
                self.request = Some(SealedMessage::begin(octets.clone(), stamp));
            }
        }
    }

    fn add_answered(&mut self, stamp: Stamp, octets: &RangeInclusive<u64>) {
        if let Stage::Unknown { has_answer } = &mut self.stage {
            *has_answer = true;
        }
        if self.request.is_none() {
            // A ticket, or the end of an answer whose request was not seen.
            self.has_tickets = true;
            return;
        }
        let is_doubtful = self.is_tls13 && !self.has_tickets;
        let is_key_update = self.is_of_length(octets, KEY_UPDATE_BYTES);
        match &mut self.answer {
            Some(answer) => {
                if is_doubtful && answer.doubtful_records < TICKETS_MAX {
                    // What came before this one can be tickets, this one can be the answer.
                    answer.doubtful = *answer.message.octets.start();
                    answer.doubtful_records += 1;
                }
                answer.message.add(octets, stamp);
            }
            None if is_key_update => {}
            None => {
                let message = SealedMessage::begin(octets.clone(), stamp);
                self.answer = Some(Answer { message, doubtful: 0, doubtful_records: 0 });
            }
        }
    }

    /// Ends the exchange under way, and gives it out if it was answered.
    fn finish_exchange(&mut self) {
        let (request, answer) = (self.request.take(), self.answer.take());
        if let (Some(request), Some(answer)) = (request, answer)
            && !answer.is_interim()
        {
            let mut response = answer.message;
            let (least, most) = (*response.octets.start(), *response.octets.end());
            response.octets = least.saturating_sub(answer.doubtful)..=most;
            self.has_tickets = true;
            self.ready.push_back(SealedPair { ordinal: self.ordinal, request, response });
        }
    }

    /// Whether a record is as long as one that is no application data, whose type TLS 1.3 hides: an alert, or where a message
    /// would begin a KeyUpdate (RFC 8446 section 4.6.3).
    fn is_of_length(&self, octets: &RangeInclusive<u64>, length: u64) -> bool {
        self.is_tls13 && [length, length + PADDING_BYTES].iter().any(|length| octets == &(*length..=*length))
    }
}

impl Answer {
    /// Whether it is as long as `HTTP/1.1 100 Continue` and two line ends: no final answer of a store is so short.
    fn is_interim(&self) -> bool {
        self.message.records == 1 && self.message.octets.contains(&CONTINUE_BYTES)
    }
}

/// Octets by which a record body is longer than its content, for what is known of the connection.
fn overhead_of(version: Option<TlsVersion>, suite: Option<Suite>) -> RangeInclusive<u16> {
    let narrow = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    let fixed = |length: usize| narrow(length)..=narrow(length);
    let (Some(version), Some(suite)) = (version, suite) else {
        return match version {
            Some(TlsVersion::Tls13) => fixed(TAG_BYTES + 1),
            // A suite that is not known, or a connection whose start was not seen: what AEADs add at least, and at most.
            Some(_) => narrow(TAG_BYTES)..=narrow(UNKNOWN_BYTES_MAX),
            None => narrow(TAG_BYTES)..=narrow(TAG_BYTES + NONCE_BYTES),
        };
    };
    // TLS 1.3 hides the type in the content; TLS 1.2 sends the nonce of some suites (RFC 5288, RFC 6655).
    let (hidden, nonce) = if version == TlsVersion::Tls13 { (1, 0) } else { (0, NONCE_BYTES) };
    match suite.bulk {
        Bulk::AesGcm(_) => fixed(hidden + nonce + TAG_BYTES),
        Bulk::AesCcm(_, tag) => fixed(hidden + nonce + tag),
        Bulk::ChaCha20Poly1305 => fixed(hidden + TAG_BYTES),
        Bulk::Null | Bulk::Rc4 => fixed(suite.mac.length()),
        Bulk::AesCbc(_) => {
            let iv = if version > TlsVersion::Tls10 { BLOCK_BYTES } else { 0 };
            narrow(iv + suite.mac.length() + 1)..=narrow(iv + suite.mac.length() + BLOCK_BYTES)
        }
    }
}

const MESSAGE_HEADER_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 8;
const BLOCK_BYTES: usize = 16;
/// IV, MAC of SHA-384 and padding of a block.
const UNKNOWN_BYTES_MAX: usize = 80;
/// With so much the Java runtime pads each record.
const PADDING_BYTES: u64 = 16;
const ALERT_BYTES: u64 = 2;
const KEY_UPDATE_BYTES: u64 = 5;
const CONTINUE_BYTES: u64 = 25;
/// OpenSSL sends two tickets, others one.
const TICKETS_MAX: u32 = 2;
/// Records with a client's certificate before its Finished.
const HANDSHAKE_RECORDS_MAX: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Frame, Timestamp};

    /// Runs records of TLS 1.3 with AES-128-GCM after the handshake: `>` and `<` with octets of content each. Gives ordinal, and
    /// octets of request and answer.
    fn run(records: &str) -> Vec<(u32, RangeInclusive<u64>, RangeInclusive<u64>)> {
        run_with(records, Some(TlsVersion::Tls13), Some(0x1301), 17)
    }

    fn run_with(
        records: &str,
        version: Option<TlsVersion>,
        suite: Option<u16>,
        overhead: u16,
    ) -> Vec<(u32, RangeInclusive<u64>, RangeInclusive<u64>)> {
        let mut seals = Seals::new(&TlsView { version, suite, ..TlsView::default() });
        for (record, number) in records.split_ascii_whitespace().zip(1..) {
            let (side, content) = record.split_at(1);
            let from = if side == ">" { Side::Client } else { Side::Server };
            let stamp = Stamp { at: Timestamp::from_nanos(number), frame: Frame::new(0, 1) };
            if !seals.handle_record(from, stamp, content.parse::<u16>().unwrap() + overhead) {
                return Vec::new();
            }
        }
        seals.finish_exchange();
        seals.ready.drain(..).map(|pair| (pair.ordinal, pair.request.octets, pair.response.octets)).collect()
    }

    #[test]
    fn the_handshake_and_tickets_of_tls13_are_no_exchange() {
        // The server's flight, the client's Finished, a ticket, and two exchanges.
        assert_eq!(run("<1200 <36 >36 <230 >900 <400 >800 >50 <300 <70"), [(1, 900..=900, 400..=400), (2, 850..=850, 370..=370)]);
        // A client certificate comes before the Finished; without a Finished nothing is told apart.
        assert_eq!(run("<1200 >900 >264 >36 <230 >900 <400"), [(1, 900..=900, 400..=400)]);
        assert_eq!(run("<1200 >52 <230 >900 <400 >18 <18"), [(1, 900..=900, 400..=400)], "padded by the Java runtime");
        assert_eq!(run("<1200 >900 >900 >900 >900 >900 >900 >900 >900 >900 >36 >900 <400"), []);
    }

    #[test]
    fn tickets_that_may_stand_before_the_first_answer_leave_its_length_open() {
        assert_eq!(run(">36 >900 <230 <400 >900 <400"), [(1, 900..=900, 400..=630), (2, 900..=900, 400..=400)]);
        assert_eq!(run(">36 >900 <230 <230 <400 <9"), [(1, 900..=900, 409..=869)]);
        assert_eq!(run(">36 >900 <400"), [(1, 900..=900, 400..=400)]);
    }

    #[test]
    fn an_interim_answer_does_not_end_an_exchange() {
        assert_eq!(run(">36 <230 >900 <25 >5000 <400 >900 <300"), [(1, 5900..=5900, 400..=400), (2, 900..=900, 300..=300)]);
        // What was never answered otherwise is no exchange, but has its number.
        assert_eq!(run(">36 <230 >900 <25"), []);
    }

    #[test]
    fn alerts_and_key_updates_are_no_messages_and_short_ends_of_bodies_are_counted() {
        assert_eq!(run(">36 <230 >900 <400 <5 >5 >800 <300 >2 <2"), [(1, 900..=900, 405..=405), (2, 800..=800, 300..=300)]);
        assert_eq!(run(">36 <230 >900 <400 <2 <5 >900 <400"), [(1, 900..=900, 407..=407), (2, 900..=900, 400..=400)]);
    }

    #[test]
    fn without_its_start_a_connection_is_told_apart_after_the_first_answer() {
        let found = run_with(">900 <400 <10 >900 <400", None, None, 24);
        assert_eq!(found, [(1, 900..=908, 400..=408)]);
    }

    #[test]
    fn a_block_cipher_leaves_as_much_open_as_its_padding() {
        // TLS_RSA_WITH_AES_128_CBC_SHA: IV, MAC and at least an octet of padding.
        let found = run_with(">900 <400", Some(TlsVersion::Tls12), Some(0x002f), 37);
        assert_eq!(found, [(1, 885..=900, 385..=400)]);
        assert_eq!(run_with(">900 <400", Some(TlsVersion::Tls12), Some(0xc02f), 24), [(1, 900..=900, 400..=400)]);
    }
}
