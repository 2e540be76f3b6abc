//! Passive TLS: the records of one flow and the secrets of a key log in, plaintext out.
//!
//! Nothing is given out whose tag or MAC does not agree, except that records inside a part the reader does not need may be
//! counted by their length without opening them ([`TlsView::skipped`](crate::model::TlsView)).

mod cbc;
mod ccm;
mod cipher;
mod connection;
mod direction;
mod ending;
mod follow;
mod handshake;
mod held;
mod hello;
mod keylog;
mod negotiation;
mod protection;
mod record;
mod schedule;
mod sealed;
mod seek;
mod sessions;
mod sslv2;
mod stream;
mod suite;

use crate::decode::tls::record::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Header};
use crate::model::{Close, Side, Stamp};

pub use connection::Connection;
pub use keylog::{KeyLog, KeyLogCount};
pub use sealed::SealedPair;
pub use sessions::Sessions;
pub use suite::suite_name;

/// What the flows of one thread share.
pub struct Secrets<'a> {
    /// The key log, which may grow between two calls.
    pub keylog: &'a KeyLog,
    /// The sessions seen so far, for resumption.
    pub sessions: &'a mut Sessions,
    /// Where records are opened. It is the caller's, so that an idle connection holds no such buffer.
    pub buffer: &'a mut Vec<u8>,
}

/// A piece of plaintext, or what is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// Octets that were opened and verified.
    Data {
        /// Who sent them.
        from: Side,
        /// The frame that completed their record.
        stamp: Stamp,
        /// The octets.
        bytes: &'a [u8],
    },
    /// Octets that were counted without opening them.
    Skip {
        /// Who sent them.
        from: Side,
        /// The frame that completed their record.
        stamp: Stamp,
        /// How many.
        length: u64,
    },
    /// Octets that are missing.
    Gap {
        /// Who sent them.
        from: Side,
        /// The frame that showed it.
        stamp: Stamp,
        /// How many: exact unless records of other types, or padding, are among what is missing.
        length: u64,
    },
    /// The end of what one side sends.
    Close {
        /// The side.
        from: Side,
        /// The frame.
        stamp: Stamp,
        /// How it ended.
        how: Close,
    },
}

/// Takes the plaintext of a connection.
pub trait Sink {
    /// Takes the next piece.
    fn plain(&mut self, plain: Plain<'_>);

    /// How many of the next plaintext octets of a side are not needed.
    fn skippable(&self, from: Side) -> u64;
}

/// Whether a stream is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is.
    Yes,
    /// More octets are needed.
    Unsure,
    /// It is not.
    No,
}

/// Looks at the first octets of a stream, of either side: a ClientHello, a ServerHello, or records of a connection whose start
/// was not captured.
pub fn probe(start: &[u8]) -> Probe {
    let plausible = [0, 3, 0, 0, 1];
    let padded: [u8; 5] = std::array::from_fn(|at| start.get(at).or(plausible.get(at)).copied().unwrap_or(0));
    let padded = if start.is_empty() { [HANDSHAKE, 3, 1, 0, 1] } else { padded };
    if let found @ (Probe::Yes | Probe::Unsure) = sslv2::probe(start) {
        return found;
    }
    let Some(header) = Header::read(&padded).filter(|header| header.length > 0) else { return Probe::No };
    if start.len() < Header::BYTES {
        return Probe::Unsure;
    }
    match (header.kind, start.get(Header::BYTES..).unwrap_or_default()) {
        (HANDSHAKE, []) => Probe::Unsure,
        (HANDSHAKE, [kind, ..]) => {
            if matches!(kind, 1 | 2) {
                Probe::Yes
            } else {
                Probe::No
            }
        }
        (CHANGE_CIPHER_SPEC, []) => Probe::Unsure,
        (CHANGE_CIPHER_SPEC, [octet, ..]) => {
            if *octet == 1 && header.length == 1 {
                Probe::Yes
            } else {
                Probe::No
            }
        }
        (APPLICATION_DATA, body) => probe_next(header, body),
        _ => Probe::No,
    }
}

/// Whether bytes can be the start of a record of TLS or of a response of SSL 2.0; those that are too few can.
pub fn may_be_record(start: &[u8]) -> bool {
    start.len() < Header::BYTES || Header::read(start).is_some() || sslv2::is_server_hello(start)
}

/// Application data can start with any octets, so that the header after it has to fit too, where it was captured.
fn probe_next(header: Header, body: &[u8]) -> Probe {
    let is_version_usual = matches!(header.version, [3, 1..=3]);
    match body.get(usize::from(header.length)..) {
        _ if !is_version_usual => Probe::No,
        Some(next) if next.len() >= Header::BYTES && Header::read(next).is_none() => Probe::No,
        _ => Probe::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_and_later_records_are_told_from_other_protocols() {
        for (start, expected) in [
            (b"".as_slice(), Probe::Unsure),
            (b"\x16", Probe::Unsure),
            (b"\x16\x03\x01\x02", Probe::Unsure),
            (b"\x16\x03\x01\x02\x00\x01", Probe::Yes),
            (b"\x16\x03\x03\x00\x7a\x02\x00", Probe::Yes),
            (b"\x16\x03\x03\x00\x7a\x0b\x00", Probe::No),
            (b"\x17\x03\x03\x00\x7a\x99", Probe::Yes),
            (b"\x17\x03\x03\x00\x01\x99GET /", Probe::No),
            (b"\x17\x03\x03\x00\x01\x99\x17\x03\x03\x10\x00", Probe::Yes),
            (b"\x14\x03\x03\x00\x01\x01", Probe::Yes),
            (b"GET / HTTP/1.1\r\n", Probe::No),
            (b"\x16\x03\x01\xff\xff\x01", Probe::No),
            (b"\x17\x05", Probe::No),
            (b"\x16\x03\x01\x00\x00\x01", Probe::No),
        ] {
            assert_eq!(probe(start), expected, "{start:?}");
        }
    }
}
