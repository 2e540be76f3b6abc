//! What is remembered of one direction of a connection.

use crate::decode::tls::cipher::{Epoch, Opener};
use crate::decode::tls::follow::Follow;
use crate::decode::tls::handshake::Messages;
use crate::decode::tls::record::{APPLICATION_DATA, Header};
use crate::decode::tls::seek::Seek;
use crate::model::Shut;

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Direction {
    /// The octets of the current record that are kept, or of its header while that is not whole.
    pub(super) partial: Vec<u8>,
    /// The record whose header has been read.
    pub(super) current: Option<Current>,
    /// The search for the next record, after octets were lost.
    pub(super) seek: Option<Box<Seek>>,
    /// What protects the records.
    pub(super) cover: Cover,
    /// The TLS 1.3 keys that come next, or are in force.
    pub(super) epoch: Option<Epoch>,
    /// Handshake messages that are not whole.
    pub(super) messages: Messages,
    /// Whether handshake messages are missing, so that what follows cannot be told apart until the keys change.
    pub(super) has_lost_messages: bool,
    /// Records seen.
    pub(super) records: u64,
    /// Records in a row that should have opened and did not.
    pub(super) failures: u8,
    /// Records passed over that no known key opens.
    pub(super) passed_over: u16,
    /// Whether the side has said that it sends no more.
    pub(super) is_closed: bool,
    /// Why nothing more is opened.
    pub(super) shut: Option<Shut>,
    /// Whether some record was opened.
    pub(super) has_opened: bool,
    /// The place among the records once it is shut, as long as it is known and of use.
    pub(super) follow: Option<Follow>,
}

/// What protects the records of a direction.
#[derive(Default)]
pub(super) enum Cover {
    /// Nothing yet.
    #[default]
    Clear,
    /// Keys that are not known so far.
    Waiting,
    /// Keys: the right ones, or all that may be.
    Sealed(Vec<Opener>),
}

/// A record whose header has been read.
pub(super) struct Current {
    pub(super) header: Header,
    /// Octets of its body that have been taken.
    pub(super) taken: usize,
    pub(super) purpose: Purpose,
}

/// What is done with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its body is kept, to be opened.
    Open,
    /// Only its body from this octet on is kept, to look at its end.
    Pass { kept_from: usize },
    /// Octets of it are missing, so that it cannot be opened.
    Lost,
}

impl Current {
    /// Octets of the body that are still to come.
    pub(super) fn remaining(&self) -> usize {
        usize::from(self.header.length).saturating_sub(self.taken)
    }

    /// How many of the next octets need not be given.
    pub(super) fn skippable(&self) -> usize {
        match self.purpose {
            Purpose::Open => 0,
            Purpose::Pass { kept_from } => kept_from.saturating_sub(self.taken),
            Purpose::Lost => self.remaining(),
        }
    }
}

impl Direction {
    /// Octets of memory in which records and messages wait for their rest.
    pub(super) const fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.messages.held_bytes()
    }

    /// The only opener, if it has opened a record.
    pub(super) fn proven(&mut self) -> Option<&mut Opener> {
        match &mut self.cover {
            Cover::Sealed(openers) => match openers.as_mut_slice() {
                [opener] if opener.is_proven => Some(opener),
                _ => None,
            },
            _ => None,
        }
    }

    /// Stops opening.
    pub(super) fn shut(&mut self, reason: Shut) {
        if self.shut.is_none() {
            self.shut = Some(reason);
            self.follow = Some(Follow::from_place(self.current.as_ref(), &self.partial)).filter(|_| !self.has_opened);
            self.cover = Cover::Clear;
            self.partial = Vec::new();
            self.current = None;
            self.seek = None;
            self.messages = Messages::default();
        }
    }

    /// What to do with the record that begins, if the reader needs none of the next `skippable` octets of plaintext.
    pub(super) fn purpose(&mut self, header: Header, skippable: u64) -> Purpose {
        let length = usize::from(header.length);
        let Some(opener) = self.proven() else { return Purpose::Open };
        let content_length = length.saturating_sub(opener.overhead());
        let is_worth_it = length >= PASSED_BYTES_MIN && header.kind == APPLICATION_DATA && opener.can_pass();
        let is_after_handshake = matches!(opener.epoch(), None | Some(Epoch::Application));
        if !is_worth_it || !is_after_handshake || u64::try_from(content_length).is_ok_and(|content| content > skippable) {
            return Purpose::Open;
        }
        Purpose::Pass { kept_from: if opener.hides_type() { opener.peek_start(length) } else { length } }
    }

    /// Gives memory back while nothing is under way.
    pub(super) fn rest(&mut self) {
        if self.partial.is_empty() && self.partial.capacity() > IDLE_BYTES_MAX {
            self.partial = Vec::new();
        }
    }
}

/// Records shorter than this are always opened: it costs about as much as looking at their end.
const PASSED_BYTES_MIN: usize = 512;

/// Octets of buffer that an idle direction keeps.
const IDLE_BYTES_MAX: usize = 128;
