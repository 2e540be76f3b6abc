//! Handshake messages of a connection, and the changes of keys that follow from them.

use crate::decode::tls::Secrets;
use crate::decode::tls::cipher::{Epoch, Opener};
use crate::decode::tls::connection::{Connection, Turn};
use crate::decode::tls::direction::Cover;
use crate::decode::tls::handshake::{
    ClientHello, EncryptedExtensions, Messages, ServerHello, Step, TooLong, encrypted_premaster, message, new_ticket,
};
use crate::decode::tls::hello::{Early, Hello};
use crate::decode::tls::suite::{Bulk, Suite};
use crate::model::{Shut, Side, TlsVersion};

impl Connection {
    /// Handles the content of a handshake record.
    pub(super) fn handshake(&mut self, content: &[u8], turn: &mut Turn<'_, '_>) {
        if self.direction(turn.from).has_lost_messages {
            return;
        }
        let keeps_transcript = turn.secrets.keylog.has_premasters();
        let mut messages = std::mem::take(&mut self.direction_mut(turn.from).messages);
        let mut rest = content;
        loop {
            match messages.next(&mut rest) {
                Ok(None) => break,
                Ok(Some(Step::Message(message))) => self.message(message, keeps_transcript, turn),
                Ok(Some(Step::Collected)) => self.message(&messages.whole(), keeps_transcript, turn),
                Ok(Some(Step::Passed(octets))) => self.keep(octets, keeps_transcript),
                Ok(Some(Step::PassedHeader(octets))) => self.keep(&octets, keeps_transcript),
                Err(TooLong) => {
                    self.direction_mut(turn.from).shut(Shut::Malformed);
                    return;
                }
            }
            if self.direction(turn.from).shut.is_some() {
                return;
            }
        }
        self.direction_mut(turn.from).messages = messages;
    }

    /// Uses the next keys of the side (change_cipher_spec of TLS 1.2 and below).
    pub(super) fn change_keys(&mut self, turn: &mut Turn<'_, '_>) {
        let direction = self.direction_mut(turn.from);
        direction.messages = Messages::default();
        direction.has_lost_messages = false;
        direction.cover = Cover::Waiting;
        self.look_for_keys(turn.from, turn.secrets);
    }

    /// Leaves [`Cover::Waiting`] if keys are known now.
    pub(super) fn look_for_keys(&mut self, from: Side, secrets: &mut Secrets<'_>) {
        let epoch = self.direction(from).epoch;
        let openers = match epoch {
            None => self.hello.as_mut().map(|hello| hello.openers12(from, secrets)).unwrap_or_default(),
            Some(epoch) => self.openers_from(from, epoch, secrets),
        };
        if !openers.is_empty() {
            self.direction_mut(from).cover = Cover::Sealed(openers);
        }
    }

    /// Openers for the traffic secrets of one epoch.
    pub(super) fn openers13(&self, from: Side, epoch: Epoch, secrets: &Secrets<'_>) -> Vec<Opener> {
        self.hello.as_ref().map(|hello| hello.openers13(from, epoch, secrets)).unwrap_or_default()
    }

    /// Uses the keys after a KeyUpdate.
    pub(super) fn update_keys(&mut self, from: Side) {
        if let Some(opener) = self.direction_mut(from).proven()
            && let Some(next) = opener.next_generation()
        {
            *opener = next;
        }
    }

    /// Drops the handshake once both sides use its keys.
    pub(super) fn forget_hello(&mut self) {
        let Some(hello) = &self.hello else { return };
        let is_done = |side| hello.is_used_by(side) || self.direction(side).shut.is_some();
        if hello.server.is_some() && is_done(Side::Client) && is_done(Side::Server) {
            self.hello = None;
        }
    }

    /// The openers of an epoch or, where no secret of it is known, of the ones after it.
    fn openers_from(&self, from: Side, epoch: Epoch, secrets: &Secrets<'_>) -> Vec<Opener> {
        let early = self.hello.as_ref().map_or(Early::NotOffered, |hello| hello.early);
        let mut epoch = epoch;
        if from == Side::Client && epoch == Epoch::Early {
            let server_can_tell = matches!(self.server.cover, Cover::Sealed(_)) && self.server.epoch == Some(Epoch::Handshake);
            if early == Early::Offered && server_can_tell && self.server.shut.is_none() {
                return Vec::new();
            }
            if early == Early::Rejected {
                epoch = Epoch::Handshake;
            }
        }
        let epochs = [Epoch::Early, Epoch::Handshake, Epoch::Application].into_iter().filter(|&one| one >= epoch);
        epochs.map(|one| self.openers13(from, one, secrets)).find(|openers| !openers.is_empty()).unwrap_or_default()
    }

    /// Uses the keys of a TLS 1.3 epoch.
    fn enter(&mut self, from: Side, epoch: Epoch, secrets: &mut Secrets<'_>) {
        let direction = self.direction_mut(from);
        direction.epoch = Some(epoch);
        direction.messages = Messages::default();
        direction.has_lost_messages = false;
        direction.cover = Cover::Waiting;
        self.look_for_keys(from, secrets);
    }

    /// Keeps what the extended master secret covers.
    fn keep(&mut self, octets: &[u8], keeps_transcript: bool) {
        if let Some(hello) = self.hello.as_mut().filter(|_| keeps_transcript) {
            hello.record(octets);
        }
    }

    fn message(&mut self, octets: &[u8], keeps_transcript: bool, turn: &mut Turn<'_, '_>) {
        let Some((&[kind, ..], body)) = octets.split_first_chunk::<4>() else { return };
        if kind == message::CLIENT_HELLO && turn.from == Side::Client {
            self.client_hello(body);
        }
        self.keep(octets, keeps_transcript && kind != HELLO_REQUEST);
        let is_tls13 = self.is_tls13();
        if kind == message::FINISHED {
            self.ending.handle_finished(turn.from);
        }
        match (kind, turn.from) {
            (message::SERVER_HELLO | message::HELLO_RETRY_REQUEST, Side::Server) => self.server_hello(kind, body, turn),
            (message::CLIENT_KEY_EXCHANGE, Side::Client) => {
                if let Some(hello) = &mut self.hello {
                    hello.handle_key_exchange(encrypted_premaster(body));
                }
                self.held.is_retry_due = true;
            }
            (message::NEW_SESSION_TICKET, Side::Server) if !is_tls13 => {
                if let Some(hello) = &mut self.hello {
                    hello.new_ticket = new_ticket(body);
                    hello.remember_session(turn.secrets);
                }
            }
            (message::ENCRYPTED_EXTENSIONS, Side::Server) if is_tls13 => self.encrypted_extensions(body),
            (message::END_OF_EARLY_DATA, Side::Client) if is_tls13 => {
                self.enter(Side::Client, Epoch::Handshake, turn.secrets);
            }
            // A Finished after the handshake belongs to a client certificate asked for later, and changes no keys.
            (message::FINISHED, side) if is_tls13 && self.direction(side).epoch < Some(Epoch::Application) => {
                self.enter(side, Epoch::Application, turn.secrets);
            }
            (message::KEY_UPDATE, side) => self.update_keys(side),
            _ => {}
        }
    }

    fn client_hello(&mut self, body: &[u8]) {
        let Some(offer) = ClientHello::read(body) else {
            self.client.shut(Shut::Malformed);
            return;
        };
        self.has_client_hello = true;
        if offer.sni.is_some() {
            self.view.sni = offer.sni.clone();
        }
        if self.view.suite.is_none() {
            self.view.alpn = offer.alpn.clone();
        }
        let is_answer_to_retry = self
            .hello
            .as_ref()
            .is_some_and(|hello| hello.is_retried && hello.server.is_none() && hello.client_random == offer.random);
        if is_answer_to_retry {
            return;
        }
        if self.hello.is_none() && matches!(self.server.cover, Cover::Waiting) {
            self.server.cover = Cover::Clear;
            self.held.is_retry_due = true;
        }
        self.hello = Some(Box::new(Hello::new(&offer)));
    }

    /// Shows what a ServerHello without its ClientHello settles.
    pub(super) fn show_server_hello(&mut self, content: &[u8]) {
        let mut rest = content;
        if let Ok(Some(Step::Message([message::SERVER_HELLO, _, _, _, body @ ..]))) = Messages::default().next(&mut rest)
            && let Some(answer) = ServerHello::read(body)
        {
            self.show(&answer);
        }
    }

    /// Shows what was negotiated; gives the version, if it is one.
    fn show(&mut self, answer: &ServerHello) -> Option<TlsVersion> {
        let version = match answer.version {
            0x0300 => TlsVersion::Ssl30,
            0x0301 => TlsVersion::Tls10,
            0x0302 => TlsVersion::Tls11,
            0x0303 => TlsVersion::Tls12,
            0x0304 | 0x7f00..=0x7fff => TlsVersion::Tls13,
            _ => return None,
        };
        self.view.version = Some(version);
        self.view.suite = Some(answer.suite);
        if version != TlsVersion::Tls13 {
            self.view.alpn.clone_from(&answer.alpn);
        }
        Some(version)
    }

    fn server_hello(&mut self, kind: u8, body: &[u8], turn: &mut Turn<'_, '_>) {
        let Some(answer) = ServerHello::read(body).filter(|_| kind == message::SERVER_HELLO) else {
            let is_retry_of_draft = kind == message::HELLO_RETRY_REQUEST;
            if !is_retry_of_draft {
                self.shut_both(&Shut::Malformed);
            }
            return;
        };
        if answer.is_retry() {
            if let Some(hello) = &mut self.hello {
                hello.handle_retry();
            }
            return;
        }
        let Some(version) = self.show(&answer).filter(|&version| version > TlsVersion::Ssl30) else {
            return self.shut_both(&Shut::VersionNotSupported);
        };
        if answer.has_compression {
            return self.shut_both(&Shut::Compression);
        }
        let Some(suite) = Suite::find(answer.suite).filter(|_| (version == TlsVersion::Tls13) == Suite::is_tls13(answer.suite))
        else {
            return self.shut_both(&Shut::SuiteNotSupported(answer.suite));
        };
        let Some(hello) = &mut self.hello else {
            return self.shut_both(&Shut::HandshakeNotCaptured);
        };
        self.view.is_readable = suite.bulk == Bulk::Null;
        hello.settle(&answer, version, suite);
        let early = hello.early;
        if version == TlsVersion::Tls13 {
            self.enter(Side::Server, Epoch::Handshake, turn.secrets);
            let client_epoch = if early == Early::NotOffered { Epoch::Handshake } else { Epoch::Early };
            self.enter(Side::Client, client_epoch, turn.secrets);
        } else if matches!(self.client.cover, Cover::Waiting) {
            self.client.cover = Cover::Clear;
        }
        self.held.is_retry_due = true;
    }

    fn encrypted_extensions(&mut self, body: &[u8]) {
        let found = EncryptedExtensions::read(body);
        self.view.alpn = found.alpn;
        if let Some(hello) = self.hello.as_mut().filter(|hello| hello.early == Early::Offered) {
            hello.early = if found.has_early_data { Early::Accepted } else { Early::Rejected };
        }
        self.held.is_retry_due = true;
    }

    fn shut_both(&mut self, reason: &Shut) {
        self.client.shut(reason.clone());
        self.server.shut(reason.clone());
    }
}

/// A message that is no part of the handshake hash (RFC 5246 section 7.4.1.1).
const HELLO_REQUEST: u8 = 0;
