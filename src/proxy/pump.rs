//! One direction of a relayed connection: bytes are read, looked at, and written as they came.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::proxy::stream::Stream;

/// What one direction holds between reads: nothing in most cases.
#[derive(Default)]
pub(super) struct Pump {
    /// Bytes that may not be forwarded yet: the start of a head or a chunk size.
    held: Vec<u8>,
    /// Bytes that the other side did not take yet.
    unsent: Vec<u8>,
    sent: usize,
    /// Whether the writer may still hold bytes (TLS does).
    is_flush_due: bool,
    /// The reader's stream has ended.
    pub(super) has_ended: bool,
    /// Bytes that passed.
    pub(super) passed: u64,
}

/// What looking at bytes gives.
pub(super) struct Looked {
    /// So many of the bytes are dealt with.
    pub(super) used: usize,
    /// What to send in their place, where that is not themselves, and what the recording says of it.
    pub(super) instead: Option<(Vec<u8>, String)>,
}

/// Why a direction does not go on.
pub(super) enum Stopped<E> {
    /// Reading failed: the sender broke off.
    Read,
    /// Writing failed: the receiver takes no more.
    Write,
    /// What was read shall not pass.
    Look(E),
}

impl Pump {
    /// Whether bytes wait until more come.
    pub(super) const fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether bytes wait for the other side to take them.
    pub(super) const fn is_blocked(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Whether nothing is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        !self.holds() && !self.is_blocked() && !self.is_flush_due
    }

    /// Queues bytes to be written before anything else.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Keeps bytes that were read but may not be forwarded yet.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Gives what is held away.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Forgets what was sent, to send it again to another reader; what is held stays.
    pub(super) fn restart(&mut self) {
        *self = Self { held: self.take_held(), has_ended: self.has_ended, ..Self::default() };
    }

    /// Moves on as far as possible; ready once the stream has ended and everything before is handed on.
    pub(super) fn poll<E>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        mut look: impl FnMut(&[u8]) -> Result<Looked, E>,
    ) -> Poll<Result<(), Stopped<E>>> {
        loop {
            ready!(self.poll_send(cx, to)).map_err(|_| Stopped::Write)?;
            if self.holds() {
                // What was held may be let go by what the other side sent.
                self.look_at_held(to, &mut look)?;
                if self.is_blocked() {
                    continue;
                }
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            if self.held.len() >= HELD_BYTES_MAX {
                return Poll::Pending;
            }
            ready!(self.poll_receive(cx, from, to, &mut look))?;
        }
    }

    /// Writes what is unsent.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
            self.passed += count as u64;
            self.is_flush_due = true;
        }
        if !self.unsent.is_empty() {
            self.sent = 0;
            // Buffers of idle connections hold no memory.
            self.unsent = Vec::new();
        }
        if self.is_flush_due {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.is_flush_due = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive<E>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        look: &mut impl FnMut(&[u8]) -> Result<Looked, E>,
    ) -> Poll<Result<(), Stopped<E>>> {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.is_empty() {
                scratch.resize(SCRATCH_BYTES, 0);
            }
            let mut buffer = ReadBuf::new(scratch);
            match ready!(Pin::new(from).poll_read(cx, &mut buffer)) {
                Ok(()) => {}
                // TLS without its own end: as many clients close.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.has_ended = true,
                Err(_) => return Poll::Ready(Err(Stopped::Read)),
            }
            let data = buffer.filled();
            if data.is_empty() {
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            if self.holds() {
                self.held.extend_from_slice(data);
                return Poll::Ready(self.look_at_held(to, look));
            }
            let Looked { used, instead } = match look(data) {
                Ok(looked) => looked,
                Err(stop) => {
                    // Who deals with it may need what it is about.
                    self.held.extend_from_slice(data);
                    return Poll::Ready(Err(Stopped::Look(stop)));
                }
            };
            self.held.extend_from_slice(data.get(used..).unwrap_or_default());
            let ready = match &instead {
                Some((bytes, note)) => {
                    to.tap().flow().comment(note);
                    bytes.as_slice()
                }
                None => data.get(..used).unwrap_or(data),
            };
            let mut sent = 0;
            if !ready.is_empty() {
                self.is_flush_due = true;
                match Pin::new(to).poll_write(cx, ready) {
                    Poll::Ready(Ok(count)) => sent = count,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Stopped::Write)),
                    Poll::Pending => {}
                }
            }
            self.passed += sent as u64;
            self.unsent.extend_from_slice(ready.get(sent..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    fn look_at_held<E>(&mut self, to: &mut Stream, look: &mut impl FnMut(&[u8]) -> Result<Looked, E>) -> Result<(), Stopped<E>> {
        let held = std::mem::take(&mut self.held);
        let Looked { used, instead } = match look(&held) {
            Ok(looked) => looked,
            Err(stop) => {
                self.held = held;
                return Err(Stopped::Look(stop));
            }
        };
        match instead {
            Some((bytes, note)) => {
                to.tap().flow().comment(&note);
                self.unsent.extend_from_slice(&bytes);
            }
            None => self.unsent.extend_from_slice(held.get(..used).unwrap_or(&held)),
        }
        if used == 0 {
            self.held = held;
        } else {
            self.held = held.get(used..).unwrap_or_default().to_vec();
        }
        Ok(())
    }
}

thread_local! {
    /// All connections of a thread read into the same buffer.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One read takes at most so much.
const SCRATCH_BYTES: usize = 64 << 10;

/// With so much held nothing more is read; a head that is longer is refused before.
const HELD_BYTES_MAX: usize = 128 << 10;
