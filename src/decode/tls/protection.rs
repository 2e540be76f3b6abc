//! Records of a connection: in clear, sealed, counted or lost.

use crate::decode::tls::Plain;
use crate::decode::tls::cipher::{Epoch, Opened, Opener, Peeked};
use crate::decode::tls::connection::{Connection, Turn};
use crate::decode::tls::direction::Cover;
use crate::decode::tls::handshake::message;
use crate::decode::tls::hello::Early;
use crate::decode::tls::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Header};
use crate::model::{Close, Shut, Side, TlsVersion};

impl Connection {
    /// Handles a record that is whole.
    pub(super) fn record(&mut self, header: Header, body: &mut [u8], turn: &mut Turn<'_, '_>) {
        if self.held.is_empty() && matches!(self.direction(turn.from).cover, Cover::Waiting) {
            // They may have come since this side was seen to need them.
            self.look_for_keys(turn.from, turn.secrets);
        }
        if self.has_to_wait(header, turn.from) && self.hold(header, body, turn) {
            return;
        }
        match &self.direction(turn.from).cover {
            Cover::Clear => self.clear_record(header, body, turn),
            Cover::Waiting if header.kind == ALERT && self.is_tls13() => self.alert(body, turn),
            Cover::Waiting => {}
            Cover::Sealed(_) => self.sealed_record(header, body, turn),
        }
        if self.direction(turn.from).shut.is_some() {
            self.see(header, turn.from, turn.stamp);
        }
    }

    /// Whether a record cannot be opened yet, or is content that comes after what cannot: secrets come in any order, and a
    /// response must not be read before its request.
    fn has_to_wait(&self, header: Header, from: Side) -> bool {
        match &self.direction(from).cover {
            Cover::Clear => false,
            Cover::Waiting => !(self.is_tls13() && matches!(header.kind, CHANGE_CIPHER_SPEC | ALERT)),
            Cover::Sealed(openers) => {
                !self.held.is_empty() && matches!(openers.first().and_then(Opener::epoch), None | Some(Epoch::Application))
            }
        }
    }

    /// Counts a record of application data that was not kept.
    pub(super) fn passed_record(&mut self, header: Header, tail: &[u8], turn: &mut Turn<'_, '_>) {
        let from = turn.from;
        let Some(opener) = self.direction_mut(from).proven() else { return };
        let mut content_length = usize::from(header.length).saturating_sub(opener.overhead());
        if opener.hides_type() {
            match opener.peek(usize::from(header.length), tail) {
                Peeked::Content { kind: APPLICATION_DATA, length, .. } => content_length = length,
                Peeked::Content { kind: HANDSHAKE, length, last } => {
                    opener.sequence += 1;
                    // A KeyUpdate is the last message of its record (RFC 8446 section 5.1), so that its end shows it.
                    if length >= 5 && matches!(last, [.., message::KEY_UPDATE, 0, 0, 1, 0 | 1]) {
                        self.update_keys(from);
                    }
                    return;
                }
                Peeked::Content { kind: ALERT, length: 2, last: [.., 0] } => return self.close(Close::Finished, turn),
                Peeked::Content { .. } => return self.failed_record(header, turn),
                Peeked::Padded => return self.lost_record(header, turn),
            }
        }
        opener.sequence += 1;
        self.view.skipped = true;
        if content_length > 0 {
            turn.sink.plain(Plain::Skip { from, stamp: turn.stamp, length: content_length as u64 });
        }
    }

    /// Counts a record of which octets are missing, or that does not open.
    pub(super) fn lost_record(&mut self, header: Header, turn: &mut Turn<'_, '_>) {
        if self.held.add_lost(turn.from, turn.stamp, header) {
            return;
        }
        let direction = self.direction_mut(turn.from);
        let Some(opener) = direction.proven() else {
            direction.has_lost_messages = true;
            return;
        };
        opener.sequence += 1;
        let length = usize::from(header.length).saturating_sub(opener.overhead()) as u64;
        let is_after_handshake = matches!(opener.epoch(), None | Some(Epoch::Application));
        direction.has_lost_messages |= !is_after_handshake;
        if header.kind == APPLICATION_DATA && is_after_handshake && length > 0 {
            turn.sink.plain(Plain::Gap { from: turn.from, stamp: turn.stamp, length });
        }
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.is_tls13())
    }

    fn clear_record(&mut self, header: Header, body: &[u8], turn: &mut Turn<'_, '_>) {
        let version = self.hello.as_ref().map(|hello| hello.version());
        let is_tls13 = self.hello.as_ref().is_some_and(|hello| hello.is_tls13() || hello.is_retried);
        match (header.kind, version) {
            (HANDSHAKE, None) if turn.from == Side::Server => {
                // The ClientHello may still come: the two directions are not in step.
                self.show_server_hello(body);
                self.direction_mut(turn.from).cover = Cover::Waiting;
                let _ = self.hold(header, body, turn);
            }
            (HANDSHAKE, _) => self.handshake(body, turn),
            (ALERT, _) => self.alert(body, turn),
            // It only pleases middleboxes (RFC 8446 appendix D.4).
            (CHANGE_CIPHER_SPEC, _) if is_tls13 => {}
            (CHANGE_CIPHER_SPEC, Some(Some(_))) => self.change_keys(turn),
            (CHANGE_CIPHER_SPEC | APPLICATION_DATA, Some(None)) => {
                // So may the ServerHello.
                self.direction_mut(turn.from).cover = Cover::Waiting;
                let _ = self.hold(header, body, turn);
            }
            (CHANGE_CIPHER_SPEC | APPLICATION_DATA, _) => {
                self.direction_mut(turn.from).shut(Shut::HandshakeNotCaptured);
            }
            _ => {}
        }
    }

    fn sealed_record(&mut self, header: Header, body: &mut [u8], turn: &mut Turn<'_, '_>) {
        let direction = self.direction_mut(turn.from);
        let Cover::Sealed(openers) = &mut direction.cover else { return };
        if openers.first().is_some_and(Opener::hides_type) && header.kind != APPLICATION_DATA {
            // TLS 1.3: change_cipher_spec for the sake of middleboxes, or an alert of a side that has no keys.
            if header.kind == ALERT {
                self.alert(body, turn);
            }
            return;
        }
        let opened = match openers.as_mut_slice() {
            [opener] if opener.is_proven && matches!(opener.epoch(), None | Some(Epoch::Application)) => {
                opener.open(header, body)
            }
            _ => self.try_openers(header, body, turn),
        };
        match opened {
            Some(opened) => {
                let direction = self.direction_mut(turn.from);
                (direction.failures, direction.has_opened) = (0, true);
                let content = body.get(opened.content.clone()).unwrap_or_default();
                self.content(&opened, content, turn);
            }
            None => self.not_opened(header, turn),
        }
    }

    /// Tries all keys that may be the right ones, and keeps those that are. The body is opened in place.
    fn try_openers(&mut self, header: Header, body: &mut [u8], turn: &mut Turn<'_, '_>) -> Option<Opened> {
        let sealed = body.to_vec();
        let Cover::Sealed(openers) = &mut self.direction_mut(turn.from).cover else { return None };
        let mut openers = std::mem::take(openers);
        let is_early = openers.first().is_some_and(|opener| opener.epoch() == Some(Epoch::Early));
        let mut found = first_that_opens(&mut openers, header, &sealed, body);
        if found.is_none() && openers.iter().any(|opener| opener.epoch().is_some_and(|epoch| epoch < Epoch::Application)) {
            // Handshake messages may be missing: the keys that follow them prove themselves.
            let epochs: &[Epoch] = if is_early { &[Epoch::Handshake, Epoch::Application] } else { &[Epoch::Application] };
            for &epoch in epochs {
                let mut later = self.openers13(turn.from, epoch, turn.secrets);
                found = found.or_else(|| first_that_opens(&mut later, header, &sealed, body));
            }
        }
        let Some((opener, opened)) = found else {
            self.direction_mut(turn.from).cover = Cover::Sealed(openers);
            return None;
        };
        if let Some(hello) = &mut self.hello {
            if opener.epoch().is_none() {
                hello.handle_proven(opener.origin, turn.secrets);
            }
            if matches!(opener.epoch(), None | Some(Epoch::Application)) {
                hello.handle_use(turn.from);
            }
        }
        let direction = self.direction_mut(turn.from);
        if direction.epoch != opener.epoch() {
            direction.epoch = opener.epoch();
            direction.has_lost_messages = false;
        }
        direction.cover = Cover::Sealed(vec![opener]);
        Some(opened)
    }

    /// Decides what a record means that none of the keys opens.
    fn not_opened(&mut self, header: Header, turn: &mut Turn<'_, '_>) {
        let early = self.hello.as_ref().map_or(Early::NotOffered, |hello| hello.early);
        let is_early = turn.from == Side::Client && early != Early::NotOffered;
        let passed_over_max = if is_early { EARLY_PASSED_OVER_MAX } else { PASSED_OVER_MAX };
        let can_follow = !self.openers13(turn.from, Epoch::Application, turn.secrets).is_empty();
        let direction = self.direction_mut(turn.from);
        let Cover::Sealed(openers) = &mut direction.cover else { return };
        let epoch = openers.first().and_then(Opener::epoch);
        let is_handshake = direction.epoch.is_some_and(|epoch| epoch != Epoch::Application)
            || openers.iter().any(|opener| epoch.is_some() && !opener.is_proven);
        if is_handshake && (can_follow || is_early) && direction.passed_over < passed_over_max {
            direction.passed_over += 1;
            let length = u64::from(header.length).saturating_sub(17);
            if is_early && early == Early::Accepted && length > 0 {
                turn.sink.plain(Plain::Gap { from: turn.from, stamp: turn.stamp, length });
            }
            return;
        }
        self.failed_record(header, turn);
    }

    /// Takes one record that does not open for damaged, and several in a row for a wrong secret.
    fn failed_record(&mut self, header: Header, turn: &mut Turn<'_, '_>) {
        let direction = self.direction_mut(turn.from);
        direction.failures += 1;
        let failures = direction.failures;
        let can_lose = direction.proven().is_some_and(|opener| opener.can_lose_records());
        if can_lose && failures < FAILURES_MAX {
            self.lost_record(header, turn);
        } else {
            direction.shut(Shut::WrongSecret);
        }
    }

    /// Handles the content of a record that was opened.
    fn content(&mut self, opened: &Opened, content: &[u8], turn: &mut Turn<'_, '_>) {
        match opened.kind {
            APPLICATION_DATA if !content.is_empty() => {
                if self.direction(turn.from).epoch == Some(Epoch::Early) {
                    self.has_early_data = true;
                }
                turn.sink.plain(Plain::Data { from: turn.from, stamp: turn.stamp, bytes: content });
            }
            HANDSHAKE => self.handshake(content, turn),
            ALERT => self.alert(content, turn),
            CHANGE_CIPHER_SPEC => self.change_keys(turn),
            _ => {}
        }
    }

    fn alert(&mut self, content: &[u8], turn: &mut Turn<'_, '_>) {
        let &[level, description] = content else { return };
        if description == CLOSE_NOTIFY {
            return self.close(Close::Finished, turn);
        }
        let is_tls13 = self.view.version == Some(TlsVersion::Tls13);
        self.ending.handle_alert(turn.from, level, description, is_tls13, turn.stamp);
    }
}

fn first_that_opens(openers: &mut Vec<Opener>, header: Header, sealed: &[u8], body: &mut [u8]) -> Option<(Opener, Opened)> {
    let mut place = 0;
    while let Some(opener) = openers.get_mut(place) {
        body.copy_from_slice(sealed);
        if let Some(opened) = opener.open(header, body) {
            return Some((openers.swap_remove(place), opened));
        }
        place += 1;
    }
    None
}

/// The alert that ends a side's data in good order.
const CLOSE_NOTIFY: u8 = 0;

/// Records of a TLS 1.3 handshake that are passed over while looking for the first that the known secrets open.
const PASSED_OVER_MAX: u16 = 64;

/// The same where 0-RTT data may come first that cannot be opened.
const EARLY_PASSED_OVER_MAX: u16 = 4096;

/// Records in a row that do not open, until the secret is held to be wrong.
const FAILURES_MAX: u8 = 3;
