//! What passed, on its way to whoever records and judges it: connections append packets and secrets, one reader takes them.
//!
//! One lock orders all packets, and their time is taken inside it: so times never run backwards. Nothing is dropped: where
//! the reader is slow, connections wait until there is room.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::capture::write::pcapng::{InterfaceId, PacketRecord, Writer};
use crate::model::{Endpoint, Secret, Timestamp};

/// Packets and secrets between the connections and the reader. At most about `room_bytes` wait at a time, and two sets of
/// them are in memory: one that is filled, one that is read.
pub struct Tape {
    state: Mutex<State>,
    changed: Condvar,
    is_full: AtomicBool,
    room_bytes: usize,
}

struct State {
    reel: Reel,
    waiting: Vec<Waker>,
    last: Timestamp,
    is_closed: bool,
}

/// A stretch of the tape: what was recorded, in order.
#[derive(Default)]
pub struct Reel {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// One thing that was recorded.
pub enum Entry {
    /// A packet that starts with its IP header.
    Packet {
        /// When it crossed.
        at: Timestamp,
        /// The leg it crossed on: its place in the legs of the run.
        leg: u16,
        /// Where its bytes end in the reel; they begin where those of the packet before end.
        end: usize,
        /// What has to be known about it, as that hopwire made it.
        comment: Option<Box<str>>,
    },
    /// Lines of a key log; they open packets that come after.
    Secret(Secret),
    /// The server of a leg is known.
    Server {
        /// The leg.
        leg: u16,
        /// Where its connections end.
        server: Endpoint,
    },
}

impl Tape {
    /// A tape on which about so many bytes may wait to be read.
    pub fn new(room_bytes: usize) -> Self {
        let state = State { reel: Reel::default(), waiting: Vec::new(), last: Timestamp::EPOCH, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), is_full: AtomicBool::new(false), room_bytes }
    }

    /// Appends a packet, which `write` appends to the bytes it is given.
    pub(super) fn add_packet(&self, leg: u16, comment: Option<Box<str>>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let at = clock().max(state.last);
        state.last = at;
        write(&mut state.reel.bytes);
        let end = state.reel.bytes.len();
        state.reel.entries.push(Entry::Packet { at, leg, end, comment });
        let is_due = end >= DUE_BYTES;
        if end >= self.room_bytes {
            self.is_full.store(true, Ordering::Relaxed);
        }
        drop(state);
        if is_due {
            self.changed.notify_one();
        }
    }

    pub(super) fn add_secret(&self, secret: Secret) {
        self.lock().reel.entries.push(Entry::Secret(secret));
    }

    pub(super) fn add_server(&self, leg: u16, server: Endpoint) {
        self.lock().reel.entries.push(Entry::Server { leg, server });
    }

    /// Whether there is no room; `waker` is woken when there is again.
    pub(super) fn is_full(&self, waker: &Waker) -> bool {
        if !self.is_full.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.lock();
        let is_full = self.is_full.load(Ordering::Relaxed);
        if is_full {
            state.waiting.push(waker.clone());
        }
        is_full
    }

    /// Nothing more will be recorded.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Replaces `reel` by all that was recorded since the last call; waits up to `wait` until it is worth it. `false` where
    /// nothing more can come.
    pub fn take(&self, reel: &mut Reel, wait: Duration) -> bool {
        reel.clear();
        let state = self.lock();
        let is_idle = |state: &mut State| !state.is_closed && state.reel.bytes.len() < DUE_BYTES;
        let (mut state, _) = self.changed.wait_timeout_while(state, wait, is_idle).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.reel, reel);
        self.is_full.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut state.waiting);
        let goes_on = !state.is_closed || !reel.entries.is_empty();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        goes_on
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reel {
    /// What was recorded, in order, with the bytes of packets.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| match entry {
            Entry::Packet { end, .. } => {
                let bytes = self.bytes.get(start..*end).unwrap_or_default();
                start = *end;
                (entry, bytes)
            }
            Entry::Secret(_) | Entry::Server { .. } => (entry, [].as_slice()),
        })
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was recorded.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes all of it; `interfaces` are those of the legs.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn write<W: Write>(&self, writer: &mut Writer<W>, interfaces: &[InterfaceId]) -> io::Result<()> {
        for (entry, bytes) in self.entries() {
            match entry {
                Entry::Packet { at, leg, comment, .. } => {
                    let Some(interface) = interfaces.get(usize::from(*leg)) else { continue };
                    let comments: Vec<&str> = comment.as_deref().into_iter().collect();
                    let original = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    writer.write_packet(*interface, &PacketRecord { at: *at, bytes, original, comments: &comments })?;
                }
                Entry::Secret(secret) => writer.write_secret(secret)?,
                Entry::Server { .. } => {}
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        // A burst is no reason to keep its memory.
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.shrink_to(KEPT_ENTRIES);
    }
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// With so much recorded the reader is woken at once.
const DUE_BYTES: usize = 256 << 10;

/// Memory that a reel keeps between uses.
const KEPT_BYTES: usize = 4 << 20;
const KEPT_ENTRIES: usize = 32 << 10;
