//! One recorded TCP connection: what each side sends becomes packets on the tape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::{Endpoints, Side};
use crate::proxy::tape::Tape;
use crate::session::tcp::{Lane, TcpFlags};

/// A connection that is recorded from its first packet to its last.
pub(super) struct Flow {
    tape: Arc<Tape>,
    lane: Lane,
    leg: u16,
    /// Bytes since the other side last acknowledged, by side.
    unacknowledged: BySide<u32>,
    has_ended: BySide<bool>,
    is_broken: bool,
    /// Goes on the next packet of data.
    comment: Option<Box<str>>,
}

impl Flow {
    /// Records that a connection was opened.
    pub(super) fn open(tape: Arc<Tape>, leg: u16, ends: Endpoints) -> Self {
        // Far from each other, as systems choose them.
        let first = OPENED.fetch_add(1, Ordering::Relaxed).wrapping_mul(FIRST_STEP);
        let lane = Lane::new(ends, first);
        let mut flow = Self {
            tape,
            lane,
            leg,
            unacknowledged: BySide::default(),
            has_ended: BySide::default(),
            is_broken: false,
            comment: None,
        };
        flow.packet(Side::Client, TcpFlags::SYN, &[]);
        flow.lane.advance(Side::Client, 1);
        flow.packet(Side::Server, TcpFlags::SYN_ACK, &[]);
        flow.lane.advance(Side::Server, 1);
        flow.packet(Side::Client, TcpFlags::ACK, &[]);
        flow
    }

    pub(super) const fn ends(&self) -> Endpoints {
        self.lane.ends()
    }

    pub(super) fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Puts a comment on the next packet of data.
    pub(super) fn comment(&mut self, text: &str) {
        self.comment = Some(text.into());
    }

    /// Records bytes that a side sent.
    pub(super) fn data(&mut self, from: Side, bytes: &[u8]) {
        *self.unacknowledged.of(from.other()) = 0;
        for piece in bytes.chunks(Lane::SEGMENT_BYTES_MAX) {
            self.packet(from, TcpFlags::PSH_ACK, &[piece]);
            let length = piece.len() as u32;
            self.lane.advance(from, length);
            let unacknowledged = self.unacknowledged.of(from);
            *unacknowledged += length;
            if *unacknowledged >= UNACKNOWLEDGED_BYTES_MAX {
                *unacknowledged = 0;
                self.packet(from.other(), TcpFlags::ACK, &[]);
            }
        }
    }

    /// Records that a side ended its stream.
    pub(super) fn end(&mut self, from: Side) {
        if self.is_broken || std::mem::replace(self.has_ended.of(from), true) {
            return;
        }
        self.packet(from, TcpFlags::FIN_ACK, &[]);
        self.lane.advance(from, 1);
        self.packet(from.other(), TcpFlags::ACK, &[]);
    }

    /// Records that a side broke the connection off.
    pub(super) fn reset(&mut self, from: Side) {
        let has_ended = self.has_ended.client && self.has_ended.server;
        if !self.is_broken && !has_ended {
            self.is_broken = true;
            self.packet(from, TcpFlags::RST_ACK, &[]);
        }
    }

    fn packet(&mut self, from: Side, flags: TcpFlags, payload: &[&[u8]]) {
        let is_marked = !payload.is_empty() || flags == TcpFlags::RST_ACK;
        let comment = if is_marked { self.comment.take() } else { None };
        let lane = &self.lane;
        self.tape.add_packet(self.leg, comment, |out| lane.write_packet(from, flags, payload, out));
    }
}

/// Something for each side.
#[derive(Default)]
struct BySide<T> {
    client: T,
    server: T,
}

impl<T> BySide<T> {
    const fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// Connections opened so far, in all proxies of this process.
static OPENED: AtomicU32 = AtomicU32::new(1);

/// The odd number next to 2^32 divided by the golden ratio.
const FIRST_STEP: u32 = 0x9e37_79b9;

/// A reader of packets expects to see acknowledgments within a window.
const UNACKNOWLEDGED_BYTES_MAX: u32 = 256 << 10;
