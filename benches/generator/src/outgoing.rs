//! What one side sends next: pieces of a message become wire bytes (inside TLS or not), then segments, then packets out of order.

use std::collections::VecDeque;

use crate::connection::{Connection, Side};
use crate::options::Kind;
use crate::wire::{NOISE_READ_MAX, Wire};

/// A piece of a message.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes of the application.
    Bytes(Vec<u8>),
    /// Object bytes: where in the noise, and how many.
    Noise(usize, usize),
    /// Bytes that are TLS records already.
    Records(Vec<u8>),
    /// What follows stands in another segment.
    Flush,
}

/// A message on its way.
pub struct Outgoing {
    side: Side,
    pieces: VecDeque<Piece>,
    wire_bytes: Vec<u8>,
    // Offset in the message of `wire_bytes[0]`.
    wire_start: u64,
    // Offset in the message up to which segments are planned.
    planned_to: u64,
    planned: VecDeque<Planned>,
    held: Vec<Held>,
}

#[derive(Clone, Copy)]
struct Planned {
    start: u64,
    seq: u32,
    len: usize,
    moved: bool,
}

// A segment whose first copy was lost before it could be captured: it comes after later ones.
struct Held {
    wait_segments: u32,
    seq: u32,
    payload: Vec<u8>,
}

impl Outgoing {
    /// A message from a side.
    pub fn new(side: Side, pieces: Vec<Piece>) -> Self {
        Self {
            side,
            pieces: pieces.into(),
            wire_bytes: Vec::new(),
            wire_start: 0,
            planned_to: 0,
            planned: VecDeque::with_capacity(PLAN_AHEAD),
            held: Vec::new(),
        }
    }

    /// Sends one segment; false when nothing is left.
    pub fn send_one(&mut self, connection: &mut Connection, wire: &mut Wire) -> bool {
        self.plan(connection, wire);
        for held in &mut self.held {
            held.wait_segments = held.wait_segments.saturating_sub(1);
        }
        let is_last = self.planned.is_empty();
        if let Some(at) = self.held.iter().position(|held| held.wait_segments == 0 || is_last) {
            let Held { seq, payload, .. } = self.held.remove(at);
            connection.send(self.side, seq, &payload, true, wire);
            return true;
        }
        self.swap(wire);
        let Some(segment) = self.planned.pop_front() else { return false };
        let at = (segment.start - self.wire_start) as usize;
        let payload = &self.wire_bytes[at..at + segment.len];
        let push = self.planned.is_empty();
        if wire.options.late > 0 && wire.random.chance(wire.options.late) {
            if wire.random.chance(500) && !push {
                wire.truth.late += 1;
                let wait_segments = wire.random.within(5..=60) as u32;
                self.held.push(Held { wait_segments, seq: segment.seq, payload: payload.to_vec() });
                return true;
            }
            connection.repeat_later(self.side, segment.seq, payload, wire);
        }
        connection.send(self.side, segment.seq, payload, push, wire);
        true
    }

    // Swaps the next segment with one at most four later, as often as asked for.
    fn swap(&mut self, wire: &mut Wire) {
        let quota = wire.truth.data_segments * u64::from(wire.options.reorder);
        if self.planned.len() < 2 || wire.truth.reordered * 1000 >= quota || !wire.random.chance(250) {
            return;
        }
        let other = 1 + wire.random.index(self.planned.len() - 1).min(SWAP_DISTANCE_MAX - 1);
        if self.planned[0].moved || self.planned[other].moved {
            return;
        }
        self.planned.swap(0, other);
        self.planned[0].moved = true;
        self.planned[other].moved = true;
        wire.truth.reordered += 2;
    }

    fn plan(&mut self, connection: &mut Connection, wire: &mut Wire) {
        while self.planned.len() < PLAN_AHEAD {
            let want = segment_bytes(wire);
            self.refill(want, connection, wire);
            let len = self.available().min(want);
            if len == 0 {
                return;
            }
            let seq = connection.reserve(self.side, len as u32);
            self.planned.push_back(Planned { start: self.planned_to, seq, len, moved: false });
            self.planned_to += len as u64;
        }
    }

    const fn available(&self) -> usize {
        self.wire_bytes.len() - (self.planned_to - self.wire_start) as usize
    }

    fn refill(&mut self, want: usize, connection: &mut Connection, wire: &mut Wire) {
        self.forget_sent();
        while self.available() < want {
            match self.pieces.pop_front() {
                None => return,
                Some(Piece::Flush) if self.available() == 0 => {}
                Some(Piece::Flush) => {
                    self.pieces.push_front(Piece::Flush);
                    return;
                }
                Some(Piece::Records(records)) => self.wire_bytes.extend(records),
                Some(Piece::Bytes(bytes)) => {
                    for record in bytes.chunks(RECORD_BYTES_MAX) {
                        self.put(record, connection, wire.options.key_updates && wire.random.chance(20));
                    }
                }
                Some(Piece::Noise(at, len)) => {
                    let now = len.min(NOISE_READ_MAX);
                    if len > now {
                        self.pieces.push_front(Piece::Noise(at + now, len - now));
                    }
                    let update_key = wire.options.key_updates && wire.random.chance(20);
                    self.put(wire.noise(at, now), connection, update_key);
                }
            }
        }
    }

    fn put(&mut self, bytes: &[u8], connection: &mut Connection, update_key: bool) {
        let Some(tls) = &mut connection.tls else {
            self.wire_bytes.extend_from_slice(bytes);
            return;
        };
        tls.seal(self.side, bytes, &mut self.wire_bytes);
        if update_key {
            tls.update_key(self.side, &mut self.wire_bytes);
        }
    }

    fn forget_sent(&mut self) {
        let needed = self.planned.iter().map(|segment| segment.start).min().unwrap_or(self.planned_to);
        let sent = (needed - self.wire_start) as usize;
        if sent > FORGET_BYTES {
            self.wire_bytes.drain(..sent);
            self.wire_start = needed;
        }
    }
}

const PLAN_AHEAD: usize = 5;
const SWAP_DISTANCE_MAX: usize = 4;
const RECORD_BYTES_MAX: usize = 16_384;
const FORGET_BYTES: usize = 1 << 18;
/// TCP payload of a full segment: 1,500 less IPv4, TCP and timestamps.
const MSS_BYTES: usize = 1_448;

fn segment_bytes(wire: &mut Wire) -> usize {
    if wire.options.kind == Kind::Offload {
        return wire.random.within(12..=45) as usize * MSS_BYTES;
    }
    if wire.options.ipv6 { MSS_BYTES - 20 } else { MSS_BYTES }
}
