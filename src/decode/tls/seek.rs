//! Finding the place again after lost octets: what can be a record header is tried with the record numbers that may have
//! come, and a tag or MAC that agrees proves both.

use crate::decode::tls::Plain;
use crate::decode::tls::cipher::{Epoch, Opener};
use crate::decode::tls::connection::{Connection, Turn};
use crate::decode::tls::direction::{Cover, Direction};
use crate::decode::tls::handshake::Messages;
use crate::decode::tls::record::{Header, LENGTH_MAX};
use crate::model::Shut;

/// The search of one direction.
pub(super) struct Seek {
    /// Octets from the start of the first record that was not taken to the start of `octets`.
    lost: u64,
    /// What came after.
    octets: Vec<u8>,
    /// Where to go on looking.
    place: usize,
    /// Octets that may still be decrypted in vain.
    work_left: usize,
}

/// A record that was found.
struct Found {
    opener: Opener,
    /// Plaintext octets that are missing before it.
    missing: u64,
}

impl Connection {
    /// Takes note that the place of the next record is not known any more.
    pub(super) fn lose_place(&mut self, length: u64, turn: &mut Turn<'_, '_>) {
        let has_suite = self.view.suite.is_some();
        let waiting_reason = self.waiting_reason();
        let direction = self.direction_mut(turn.from);
        if let Some(seek) = &mut direction.seek {
            seek.lost = seek.lost.saturating_add(seek.octets.len() as u64).saturating_add(length);
            seek.octets.clear();
            seek.place = 0;
            return;
        }
        let can_seek = match &direction.cover {
            Cover::Sealed(openers) => openers.first().is_some_and(Opener::can_lose_records),
            Cover::Clear | Cover::Waiting => false,
        };
        if !can_seek {
            let record = direction.records;
            direction.shut(match &direction.cover {
                Cover::Waiting => waiting_reason.clone(),
                _ if has_suite => Shut::PacketMissing(record),
                _ => Shut::HandshakeNotCaptured,
            });
            return;
        }
        let taken = match direction.current.take() {
            Some(current) => Header::BYTES + current.taken,
            None => direction.partial.len(),
        };
        direction.partial.clear();
        let lost = length.saturating_add(taken as u64);
        direction.seek = Some(Box::new(Seek { lost, octets: Vec::new(), place: 0, work_left: WORK_BYTES_MAX }));
    }

    /// Looks for a record in what has come since the loss, and goes on from there.
    pub(super) fn seek(&mut self, data: &[u8], turn: &mut Turn<'_, '_>) {
        let later = self.later_openers(turn);
        let direction = self.direction_mut(turn.from);
        let Some(mut seek) = direction.seek.take() else { return };
        seek.octets.extend_from_slice(data);
        if let Some(found) = seek.find(direction, later) {
            direction.messages = Messages::default();
            direction.has_lost_messages = found.opener.epoch() == Some(Epoch::Handshake);
            direction.epoch = found.opener.epoch();
            direction.cover = Cover::Sealed(vec![found.opener]);
            self.gap(found.missing, turn);
            let mut rest = seek.octets.get(seek.place..).unwrap_or_default();
            while !rest.is_empty() {
                rest = self.step(rest, turn);
            }
        } else if seek.octets.len() >= SEEK_BYTES_MAX || seek.work_left == 0 {
            let record = direction.records;
            direction.shut(Shut::PacketMissing(record));
            self.sealed_bytes = self.sealed_bytes.saturating_add(seek.octets.len() as u64);
        } else {
            direction.seek = Some(seek);
        }
    }

    /// Ends the search at the end of the stream: all that came since the loss is missing.
    pub(super) fn end_seek(&mut self, turn: &mut Turn<'_, '_>) {
        let direction = self.direction_mut(turn.from);
        if let Some(seek) = direction.seek.take() {
            let overhead = direction.proven().map_or(0, |opener| opener.overhead() + Header::BYTES) as u64;
            let total = seek.lost.saturating_add(seek.octets.len() as u64);
            self.gap(total.saturating_sub(overhead), turn);
        }
    }

    fn gap(&self, length: u64, turn: &mut Turn<'_, '_>) {
        if length > 0 {
            turn.sink.plain(Plain::Gap { from: turn.from, stamp: turn.stamp, length });
        }
    }

    /// Keys that may have come into use within what was lost: the next epoch's, or those after a KeyUpdate.
    fn later_openers(&mut self, turn: &Turn<'_, '_>) -> Vec<Opener> {
        let from = turn.from;
        match self.direction(from).epoch {
            Some(Epoch::Early | Epoch::Handshake) => self.openers13(from, Epoch::Application, turn.secrets),
            _ => self.direction_mut(from).proven().and_then(|opener| opener.next_generation()).into_iter().collect(),
        }
    }
}

impl Seek {
    /// Finds the next record that opens. Afterwards `place` is where it starts, or where to go on.
    fn find(&mut self, direction: &mut Direction, later: Vec<Opener>) -> Option<Found> {
        let Cover::Sealed(current) = &mut direction.cover else { return None };
        let mut openers = std::mem::take(current);
        let current_count = openers.len();
        openers.extend(later);
        let found = self.find_with(&mut openers);
        let Some((index, number)) = found else {
            openers.truncate(current_count);
            *current = openers;
            return None;
        };
        let is_later = index >= current_count;
        let mut opener = openers.swap_remove(index);
        let total = self.lost.saturating_add(self.place as u64);
        let lost_records = number.saturating_sub(opener.sequence).saturating_add(u64::from(is_later));
        let overhead = (Header::BYTES + opener.overhead()) as u64;
        let is_first = is_later && number == 0 && opener.epoch() == Some(Epoch::Application);
        let missing = if is_first { 0 } else { total.saturating_sub(lost_records.saturating_mul(overhead)) };
        opener.sequence = number;
        opener.is_proven = true;
        Some(Found { opener, missing })
    }

    /// The first place at which one of the openers opens a record, as the opener's index and the record's number.
    fn find_with(&mut self, openers: &mut [Opener]) -> Option<(usize, u64)> {
        while let Some(start) = self.octets.get(self.place..).filter(|start| start.len() >= Header::BYTES) {
            if let Some(header) = Header::read(start).filter(|header| matches!(header.version, [3, 1..=3])) {
                let total = self.lost.saturating_add(self.place as u64);
                // A record that is not whole yet may be the one: what comes decides.
                let body = start.get(Header::BYTES..header.total())?;
                for (index, opener) in openers.iter_mut().enumerate() {
                    if let Some(number) = number_of(opener, header, body, total, &mut self.work_left) {
                        return Some((index, number));
                    }
                }
            }
            self.place += 1;
        }
        None
    }
}

/// The number under which a record opens, of those that are possible when `total` octets were lost before it.
fn number_of(opener: &mut Opener, header: Header, body: &[u8], total: u64, work_left: &mut usize) -> Option<u64> {
    let smallest = (Header::BYTES + opener.overhead()) as u64;
    let last = opener.sequence.saturating_add((total / smallest).min(NUMBERS_MAX));
    let first = opener.sequence.saturating_add(total / (Header::BYTES as u64 + u64::from(LENGTH_MAX))).min(last);
    // Where the nonce is sent it is the record number with most implementations.
    let named = opener.explicit_number(body).filter(|number| (first..=last).contains(number));
    let mut copy = Vec::with_capacity(body.len());
    named.into_iter().chain(first..=last).find(|&number| {
        let is_allowed = *work_left >= body.len();
        *work_left = if is_allowed { *work_left - body.len() } else { 0 };
        copy.clear();
        copy.extend_from_slice(body);
        is_allowed && opener.open_numbered(header, number, &mut copy).is_some()
    })
}

/// Octets that are searched; three records at least, so that one false header does no harm.
const SEEK_BYTES_MAX: usize = 64 << 10;

/// Octets that are decrypted in vain after one loss: some milliseconds.
const WORK_BYTES_MAX: usize = 32 << 20;

/// Record numbers that are tried.
const NUMBERS_MAX: u64 = 1 << 16;
