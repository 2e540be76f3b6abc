//! Where one side of a connection stands.

use crate::decode::http1::body::{Digest, Progress};
use crate::decode::http1::gather::Gather;
use crate::model::{Close, LossReason, Stamp};

/// The state of one direction. Small: an idle connection holds two of them and nothing on the heap.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) state: State,
    /// Octets that wait for the rest of their head or line.
    pub(super) gather: Option<Box<Gather>>,
    /// The hash of the body so far.
    pub(super) digest: Option<Box<Digest>>,
    /// Octets passed over that are not yet reported.
    pub(super) passed: Option<Passed>,
    /// How many more octets of the body are kept.
    pub(super) keep_left: u32,
    /// Octets of empty lines before a message.
    pub(super) blank: u32,
    /// How this side ended.
    pub(super) closed: Option<Close>,
    /// Whether no octet of the current body has come.
    pub(super) body_fresh: bool,
    /// Whether the current body may not exist, since the method of its request is not known.
    pub(super) body_doubtful: bool,
    /// Whether its last message said that none follows.
    pub(super) is_last: bool,
    /// Whether a message was seen.
    pub(super) has_message: bool,
    /// Whether there was a gap outside known bodies since the last head.
    pub(super) gap: bool,
    /// Whether there ever was one.
    pub(super) gap_ever: bool,
}

/// What the next octets of a side are.
#[derive(Clone, Copy, Default)]
pub(super) enum State {
    /// The start of a message.
    #[default]
    Start,
    /// More of a head.
    Head,
    /// More of a body.
    Body(Progress),
    /// Anything: the next message is looked for.
    Seek {
        /// What is passed over is counted as this.
        reason: LossReason,
        /// Whether the next octet comes right after a gap.
        after_gap: bool,
        /// Whether the next octet is known not to start a message.
        refused: bool,
    },
    /// Nothing that is decoded.
    Sink(LossReason),
}

/// Octets passed over.
#[derive(Clone, Copy)]
pub(super) struct Passed {
    pub(super) reason: LossReason,
    pub(super) bytes: u64,
    pub(super) stamp: Stamp,
}

impl Reader {
    /// Begins to look for the next message.
    pub(super) fn seek(&mut self, reason: LossReason, after_gap: bool, refused: bool) {
        self.state = State::Seek { reason, after_gap, refused };
    }
}
