//! TLS 1.2 sessions that can be resumed: the master secret by session id or ticket, shared by the flows of one thread.

use std::collections::HashMap;
use std::hint::black_box;

use foldhash::quality::RandomState;
use sha2::{Digest as _, Sha256};

/// Names a session: a session id, or a ticket, by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionName([u8; 32]);

impl SessionName {
    /// The name of a session that the server keeps; `None` for the empty id, which names none.
    pub(super) fn of_id(id: &[u8]) -> Option<Self> {
        (!id.is_empty()).then(|| Self::of(b"id", id))
    }

    /// The name of a session that the client keeps as a ticket.
    pub(super) fn of_ticket(ticket: &[u8]) -> Option<Self> {
        (!ticket.is_empty()).then(|| Self::of(b"ticket", ticket))
    }

    fn of(kind: &[u8], octets: &[u8]) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update(octets).finalize().into())
    }
}

/// The master secrets of sessions seen. Bounded: when [`Sessions::KEPT_MAX`] new ones have come, those that were not used
/// since the last such turn are forgotten.
#[derive(Default)]
pub struct Sessions {
    recent: HashMap<SessionName, [u8; 48], RandomState>,
    older: HashMap<SessionName, [u8; 48], RandomState>,
}

impl Sessions {
    /// How many sessions are kept in each of two halves.
    pub const KEPT_MAX: usize = 1 << 14;

    /// A table without sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The master secret of a session, which counts as a use of it.
    pub(super) fn find(&mut self, name: SessionName) -> Option<[u8; 48]> {
        if let Some(master) = self.recent.get(&name) {
            return Some(*master);
        }
        let master = self.older.remove(&name)?;
        self.add(name, master);
        Some(master)
    }

    /// Remembers a session.
    pub(super) fn add(&mut self, name: SessionName, master: [u8; 48]) {
        if self.recent.len() >= Self::KEPT_MAX {
            erase(&mut self.older);
            std::mem::swap(&mut self.recent, &mut self.older);
        }
        self.recent.insert(name, master);
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        erase(&mut self.recent);
        erase(&mut self.older);
    }
}

/// Overwrites the secrets and empties the table.
fn erase(sessions: &mut HashMap<SessionName, [u8; 48], RandomState>) {
    sessions.values_mut().for_each(|master| master.fill(0));
    black_box(&*sessions);
    sessions.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_sessions_go_and_used_ones_stay() {
        let name = |number: usize| SessionName::of_id(&number.to_be_bytes()).unwrap();
        let mut sessions = Sessions::new();
        for number in 0..3 * Sessions::KEPT_MAX {
            sessions.add(name(number), [1; 48]);
            assert!(sessions.find(name(0)).is_some());
        }
        assert!(sessions.find(name(1)).is_none());
        assert!(sessions.recent.len() + sessions.older.len() <= 2 * Sessions::KEPT_MAX);
    }

    #[test]
    fn an_id_and_a_ticket_of_equal_octets_are_two_sessions() {
        let mut sessions = Sessions::new();
        sessions.add(SessionName::of_id(b"abc").unwrap(), [1; 48]);
        assert!(sessions.find(SessionName::of_ticket(b"abc").unwrap()).is_none());
        assert!(SessionName::of_id(b"").is_none());
    }
}
