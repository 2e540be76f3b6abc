//! Where the sides of a connection are, for those who forward it or send on it.

use crate::decode::http1::body::{Chunk, Progress};
use crate::decode::http1::connection::Connection;
use crate::decode::http1::reader::State;
use crate::model::{HeaderName, Headers, LossReason, Side, Version};

/// Where one side of a connection is. The names are those of h11 where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideState {
    /// Before a message: nothing of the next one has come.
    Idle,
    /// In a head.
    Head,
    /// In a body; so many bytes of content are to come at least, where that is known.
    Body {
        /// Bytes left of the body, or of the chunk.
        left: Option<u64>,
    },
    /// Its last message said that none follows (RFC 9112 section 9.3).
    MustClose,
    /// The connection became a tunnel: what comes is not HTTP/1.
    Tunnel,
    /// What came was not a message, or bytes are missing: where the next message starts is not known.
    Lost,
    /// It ended.
    Closed,
}

impl Connection {
    /// Where a side is.
    pub fn state(&self, side: Side) -> SideState {
        let reader = self.reader(side);
        if reader.closed.is_some() {
            return SideState::Closed;
        }
        match reader.state {
            State::Body(Progress::Length(left) | Progress::Chunk(Chunk::Content(left))) => SideState::Body { left: Some(left) },
            State::Body(_) => SideState::Body { left: None },
            State::Head => SideState::Head,
            State::Sink(LossReason::Tunnel) => SideState::Tunnel,
            State::Start if self.tunnel => SideState::Tunnel,
            State::Seek { .. } | State::Sink(_) => SideState::Lost,
            State::Start if reader.is_last => SideState::MustClose,
            State::Start if reader.blank > 0 => SideState::Head,
            State::Start => SideState::Idle,
        }
    }

    /// Requests that wait for the end of their response, or are not whole themselves.
    pub fn in_progress(&self) -> usize {
        self.pending.len()
    }

    /// Whether another request can be sent on the connection: both sides are between messages, every request was answered, and
    /// neither side announced an end.
    pub fn is_reusable(&self) -> bool {
        self.pending.is_empty() && [Side::Client, Side::Server].iter().all(|side| self.state(*side) == SideState::Idle)
    }
}

/// Whether the sender of a message announces that it is its last one on the connection (RFC 9112 section 9.3).
#[inline]
pub(super) fn is_last(version: Version, headers: &Headers) -> bool {
    match version {
        Version::Http11 => headers.has(HeaderName::Connection) && has_option(headers, b"close"),
        Version::Http10 | Version::Http09 => !has_option(headers, b"keep-alive"),
    }
}

fn has_option(headers: &Headers, option: &[u8]) -> bool {
    let options = headers.all(HeaderName::Connection).flat_map(|value| value.split(|byte| *byte == b','));
    options.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(option))
}
