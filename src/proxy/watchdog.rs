//! Bounds of time on a relayed connection, looked after some times within each bound and not at each byte.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::proxy::settings::Bounds;

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// A head.
    Head,
    /// Anything in the middle of an exchange.
    Stall,
    /// The next request.
    Idle,
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes that passed, by direction.
    pub(super) moved: (u64, u64),
    /// The number of the request whose head is not complete.
    pub(super) open_head: Option<u64>,
    /// Whether no message is in progress.
    pub(super) is_idle: bool,
}

/// Looks whether anything moves.
pub(super) struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    every: Duration,
    bounds: [Duration; 3],
    moved: (u64, u64),
    /// The request whose head was incomplete at the last look.
    open_head: Option<u64>,
    quiet: Duration,
    in_head: Duration,
}

impl Watchdog {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let every = bounds.head.min(bounds.stall).min(bounds.idle) / 2;
        Self {
            sleep: Box::pin(sleep(every)),
            every,
            bounds: [bounds.head, bounds.stall, bounds.idle],
            moved: (0, 0),
            open_head: None,
            quiet: Duration::ZERO,
            in_head: Duration::ZERO,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, progress: impl Fn() -> Progress) -> Poll<Late> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            self.sleep.as_mut().reset(Instant::now() + self.every);
            if let Some(late) = self.look(progress()) {
                return Poll::Ready(late);
            }
        }
        Poll::Pending
    }

    fn look(&mut self, progress: Progress) -> Option<Late> {
        let [head, stall, idle] = self.bounds;
        self.quiet = if self.moved == progress.moved { self.quiet + self.every } else { Duration::ZERO };
        self.moved = progress.moved;
        let is_same = progress.open_head.is_some() && progress.open_head == self.open_head;
        self.in_head = if is_same { self.in_head + self.every } else { Duration::ZERO };
        self.open_head = progress.open_head;
        if self.in_head >= head {
            return Some(Late::Head);
        }
        let (bound, late) = if progress.is_idle { (idle, Late::Idle) } else { (stall, Late::Stall) };
        (self.quiet >= bound).then_some(late)
    }
}
