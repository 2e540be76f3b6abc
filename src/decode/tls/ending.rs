//! Whether a handshake was finished, and what ended a connection that failed: records and alerts in, one answer out.

use crate::decode::tls::connection::Connection;
use crate::decode::tls::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Header};
use crate::model::{Close, Handshake, Side, Stamp, TlsFailure, TlsFailureKind, TlsVersion};

/// What was seen of the handshake of a connection, and of its end.
#[derive(Default)]
pub(super) struct Ending {
    client: Progress,
    server: Progress,
    /// The first alert that ends the connection.
    alert: Option<(Side, u8, Stamp)>,
    /// The side that ended its stream first.
    closed: Option<(Side, Stamp)>,
    /// Set once nothing more is to be learnt from records.
    is_settled: bool,
}

/// What one side has sent.
#[derive(Clone, Copy, Default)]
struct Progress {
    has_changed_keys: bool,
    has_finished: bool,
    /// Records of hidden type (TLS 1.3) after its Finished, and those of application data (TLS 1.2).
    data_records: u32,
    /// The last record, if it has the length of an encrypted alert.
    alert: Option<Stamp>,
}

impl Ending {
    fn of(&mut self, side: Side) -> &mut Progress {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// A record came. Its content is not needed.
    pub(super) fn handle_record(&mut self, version: Option<TlsVersion>, header: Header, from: Side, stamp: Stamp) {
        if self.is_settled {
            return;
        }
        let is_tls13 = version == Some(TlsVersion::Tls13);
        let has_client_finished = self.client.has_finished;
        let one = self.of(from);
        match header.kind {
            CHANGE_CIPHER_SPEC => one.has_changed_keys = true,
            HANDSHAKE if !is_tls13 && one.has_changed_keys => one.has_finished = true,
            ALERT if !is_tls13 && one.has_changed_keys && header.length > PLAIN_ALERT_BYTES => one.alert = Some(stamp),
            APPLICATION_DATA if !is_tls13 => one.data_records += 1,
            APPLICATION_DATA => {
                one.alert = (header.length < FINISHED_RECORD_BYTES_MIN).then_some(stamp);
                match from {
                    Side::Client if !one.has_finished => one.has_finished = one.alert.is_none(),
                    // The flight of the server comes before the client's Finished.
                    Side::Server if !has_client_finished => one.has_finished = true,
                    Side::Client | Side::Server => one.data_records += 1,
                }
            }
            _ => {}
        }
        self.is_settled = self.client.data_records > 0 && self.server.data_records > 1;
    }

    /// A side's Finished was decrypted.
    pub(super) fn handle_finished(&mut self, from: Side) {
        self.of(from).has_finished = true;
    }

    /// An alert was read.
    pub(super) fn handle_alert(&mut self, from: Side, level: u8, description: u8, is_tls13: bool, stamp: Stamp) {
        let ends = (level == FATAL || is_tls13) && !matches!(description, CLOSE_NOTIFY | USER_CANCELED);
        if ends {
            self.alert.get_or_insert((from, description, stamp));
        }
    }

    /// A side ended its stream.
    pub(super) fn handle_close(&mut self, from: Side, how: Close, stamp: Stamp) {
        if how != Close::Unseen {
            self.closed.get_or_insert((from, stamp));
        }
    }

    /// What came of the handshake. `has_hello`: whether the ClientHello was seen.
    pub(super) fn handshake(&self, version: Option<TlsVersion>, has_hello: bool) -> Handshake {
        let failed = |kind, from, stamp: Stamp| Handshake::Failed(TlsFailure { kind, from, stamp });
        let is_established = self.client.has_finished && self.server.has_finished;
        let is_tls13 = version == Some(TlsVersion::Tls13);
        if let Some((from, description, stamp)) = self.alert
            && !(is_established && self.server.data_records > u32::from(is_tls13))
        {
            return failed(TlsFailureKind::Alert(description), from, stamp);
        }
        if is_established {
            // In TLS 1.3 the server judges the client's certificate after the client's Finished: then its alert, which is encrypted
            // like everything else, comes in place of a response.
            return match self.server.alert {
                Some(stamp) if is_tls13 && self.client.data_records > 0 && self.server.data_records == 1 => {
                    failed(TlsFailureKind::EncryptedAlert, Side::Server, stamp)
                }
                _ => Handshake::Established,
            };
        }
        let encrypted = [(Side::Client, self.client), (Side::Server, self.server)];
        if let Some((from, stamp)) = encrypted.iter().find_map(|(side, one)| Some((*side, one.alert?))) {
            return failed(TlsFailureKind::EncryptedAlert, from, stamp);
        }
        match self.closed {
            Some((from, stamp)) if has_hello => failed(TlsFailureKind::Closed, from, stamp),
            _ => Handshake::Open,
        }
    }
}

impl Connection {
    /// Whether the ClientHello was seen.
    pub fn has_client_hello(&self) -> bool {
        self.has_client_hello
    }

    /// What came of the handshake, so far.
    pub fn handshake_state(&self) -> Handshake {
        self.ending.handshake(self.view.version, self.has_client_hello)
    }
}

/// An alert that is not encrypted: its level and its description (RFC 8446 section 6).
const PLAIN_ALERT_BYTES: u16 = 2;
/// A record of TLS 1.3 with a Finished is at least so long: header, 32 bytes of verify data, the type, a tag of 8. One with an
/// alert is at most 35 bytes: with the padding of 16 that the Java runtime adds.
const FINISHED_RECORD_BYTES_MIN: u16 = 4 + 32 + 1 + 8;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

#[cfg(test)]
mod tests {
    use super::*;

    const C: Side = Side::Client;
    const S: Side = Side::Server;

    fn outcome(version: TlsVersion, records: &[(Side, u8, u16)], closed: Option<Side>) -> Handshake {
        let mut ending = Ending::default();
        for (from, kind, length) in records {
            ending.handle_record(
                Some(version),
                Header { kind: *kind, version: [3, 3], length: *length },
                *from,
                Stamp::default(),
            );
        }
        if let Some(side) = closed {
            ending.handle_close(side, Close::Finished, Stamp::default());
        }
        ending.handshake(Some(version), true)
    }

    fn failed(kind: TlsFailureKind, from: Side) -> Handshake {
        Handshake::Failed(TlsFailure { kind, from, stamp: Stamp::default() })
    }

    #[test]
    fn records_alone_tell_whether_a_handshake_was_finished() {
        use TlsVersion::{Tls12, Tls13};
        let flight = [(C, 22, 250), (S, 22, 122), (S, 20, 1), (S, 23, 900), (C, 20, 1)];
        let with = |more: &[(Side, u8, u16)]| [&flight[..], more].concat();
        let encrypted = |from| failed(TlsFailureKind::EncryptedAlert, from);
        assert_eq!(outcome(Tls13, &with(&[(C, 23, 53)]), Some(C)), Handshake::Established);
        assert_eq!(outcome(Tls13, &with(&[(C, 23, 19)]), Some(C)), encrypted(C));
        assert_eq!(outcome(Tls13, &with(&[(C, 23, 35)]), Some(C)), encrypted(C));
        assert_eq!(outcome(Tls13, &with(&[(C, 23, 53), (C, 23, 400), (S, 23, 19)]), Some(S)), encrypted(S));
        // With tickets before it, it is the orderly end of an idle connection.
        assert_eq!(
            outcome(Tls13, &with(&[(C, 23, 53), (S, 23, 250), (C, 23, 400), (S, 23, 19)]), Some(S)),
            Handshake::Established
        );
        assert_eq!(outcome(Tls13, &with(&[(C, 23, 53), (S, 23, 19)]), Some(S)), Handshake::Established);
        assert_eq!(outcome(Tls13, &flight, Some(C)), failed(TlsFailureKind::Closed, C));
        assert_eq!(outcome(Tls13, &flight, None), Handshake::Open);
        let hellos = [(C, 22, 250), (S, 22, 2000), (C, 22, 70), (C, 20, 1), (C, 22, 40)];
        let with = |more: &[(Side, u8, u16)]| [&hellos[..], more].concat();
        assert_eq!(outcome(Tls12, &with(&[(S, 20, 1), (S, 22, 40)]), Some(C)), Handshake::Established);
        assert_eq!(outcome(Tls12, &with(&[(S, 20, 1), (S, 22, 40), (C, 21, 26)]), Some(C)), Handshake::Established);
        assert_eq!(outcome(Tls12, &with(&[(C, 21, 26)]), Some(C)), encrypted(C));
        assert_eq!(outcome(Tls12, &hellos, Some(S)), failed(TlsFailureKind::Closed, S));
    }

    #[test]
    fn the_first_alert_that_ends_a_connection_is_the_reason() {
        let mut ending = Ending::default();
        ending.handle_alert(C, 1, 90, false, Stamp::default());
        ending.handle_alert(C, 1, 0, false, Stamp::default());
        assert_eq!(ending.handshake(None, true), Handshake::Open);
        ending.handle_alert(C, 2, 48, false, Stamp::default());
        ending.handle_alert(S, 2, 40, false, Stamp::default());
        ending.handle_close(S, Close::Reset, Stamp::default());
        assert_eq!(ending.handshake(None, true), failed(TlsFailureKind::Alert(48), C));
    }
}
