//! What passed, on its way to whoever records and judges it: connections append packets and secrets, one reader takes them.
//!
//! One lock orders all packets, and their time is taken inside it: so times never run backwards. Nothing is dropped: where
//! the reader is slow, connections wait until there is room. Reels go round: those that were read are filled again.

use std::collections::VecDeque;
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
    /// Full reels that may wait.
    reels_max: usize,
}

struct State {
    /// The one that is being filled.
    reel: Reel,
    /// Those that are full, oldest first.
    full: VecDeque<Reel>,
    /// Those that were read.
    spare: Vec<Reel>,
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
        let state = State {
            reel: Reel::default(),
            full: VecDeque::new(),
            spare: Vec::new(),
            waiting: Vec::new(),
            last: Timestamp::EPOCH,
            is_closed: false,
        };
        let reels_max = (room_bytes / REEL_BYTES).max(1);
        Self { state: Mutex::new(state), changed: Condvar::new(), is_full: AtomicBool::new(false), reels_max }
    }

    /// Appends a packet, which `write` appends to the bytes it is given.
    pub(super) fn add_packet(&self, leg: u16, comment: Option<Box<str>>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let at = clock().max(state.last);
        state.last = at;
        write(&mut state.reel.bytes);
        let end = state.reel.bytes.len();
        state.reel.entries.push(Entry::Packet { at, leg, end, comment });
        let is_due = end >= REEL_BYTES;
        if is_due {
            let spare = state.spare.pop().unwrap_or_default();
            let full = std::mem::replace(&mut state.reel, spare);
            state.full.push_back(full);
            if state.full.len() >= self.reels_max {
                self.is_full.store(true, Ordering::Relaxed);
            }
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

    /// Replaces `reel` by what was recorded next; waits up to `wait` until it is worth it. `false` where nothing more can come.
    pub fn take(&self, reel: &mut Reel, wait: Duration) -> bool {
        reel.clear();
        let state = self.lock();
        let is_idle = |state: &mut State| !state.is_closed && state.full.is_empty();
        let (mut state, _) = self.changed.wait_timeout_while(state, wait, is_idle).unwrap_or_else(PoisonError::into_inner);
        let next = match state.full.pop_front() {
            Some(full) => full,
            None => {
                let spare = state.spare.pop().unwrap_or_default();
                std::mem::replace(&mut state.reel, spare)
            }
        };
        let read = std::mem::replace(reel, next);
        if state.spare.len() < SPARE_MAX {
            state.spare.push(read);
        }
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

    /// Gives access to the bytes of all packets, one after the other, so that others may take them; what is put in their place
    /// is filled again.
    pub fn with_bytes(&mut self, act: impl FnOnce(&mut Vec<u8>)) {
        act(&mut self.bytes);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        if self.bytes.capacity() < REEL_BYTES {
            // Room for the packet that makes it full.
            self.bytes.reserve_exact(REEL_BYTES + (1 << 16));
        }
    }
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A reel is full with so much; then the reader is woken at once.
const REEL_BYTES: usize = 1 << 20;

/// Reels that are kept to be filled again.
const SPARE_MAX: usize = 4;
