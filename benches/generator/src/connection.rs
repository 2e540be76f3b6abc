//! One TCP connection seen from the middle: both ends' sequence numbers, acknowledgements and closing.

use crate::packet::{ACK, Endpoint, FIN, PSH, SYN, Segment};
use crate::tls::Session;
use crate::wire::Wire;

/// The side that opened the connection, or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opened it.
    Client = 0,
    /// Accepted it.
    Server = 1,
}

impl Side {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One TCP connection.
pub struct Connection {
    /// Its TLS, where it has any.
    pub tls: Option<Session>,
    /// Requests sent so far.
    pub requests: u32,
    /// Requests that it may still carry.
    pub requests_left: u32,
    peers: [Peer; 2],
    spurious: Vec<Spurious>,
}

struct Peer {
    endpoint: Endpoint,
    next_seq: u32,
    received_to: u32,
    early: Vec<(u32, u32)>,
    unacknowledged: u8,
    stamp_base: u32,
}

// A segment that arrived and is nevertheless sent again, long after.
struct Spurious {
    wait_segments: u32,
    side: Side,
    seq: u32,
    payload: Vec<u8>,
}

impl Connection {
    /// A connection that is not open yet.
    pub fn new(client: Endpoint, server: Endpoint, requests_left: u32, tls: Option<Session>, wire: &mut Wire) -> Self {
        let isn = [wire.random.bits() as u32, wire.random.bits() as u32];
        let peer = |endpoint, own: usize, wire: &mut Wire| Peer {
            endpoint,
            next_seq: isn[own].wrapping_add(1),
            received_to: isn[1 - own].wrapping_add(1),
            early: Vec::new(),
            unacknowledged: 0,
            stamp_base: wire.random.bits() as u32,
        };
        let peers = [peer(client, 0, wire), peer(server, 1, wire)];
        Self { tls, requests: 0, requests_left, peers, spurious: Vec::new() }
    }

    /// `client>server`, as the truth names a connection.
    pub fn name(&self) -> String {
        format!("{}>{}", self.peers[0].endpoint, self.peers[1].endpoint)
    }

    /// The client's endpoint.
    pub const fn client(&self) -> Endpoint {
        self.peers[0].endpoint
    }

    /// The three-way handshake.
    pub fn open(&mut self, wire: &mut Wire) {
        wire.truth.connections += 1;
        for peer in &mut self.peers {
            peer.next_seq = peer.next_seq.wrapping_sub(1);
        }
        self.control(Side::Client, SYN, wire);
        self.control(Side::Server, SYN | ACK, wire);
        for peer in &mut self.peers {
            peer.next_seq = peer.next_seq.wrapping_add(1);
        }
        self.control(Side::Client, ACK, wire);
    }

    /// FIN both ways.
    pub fn close(&mut self, wire: &mut Wire) {
        for side in [Side::Client, Side::Server] {
            self.control(side, FIN | ACK, wire);
            self.peers[side as usize].next_seq = self.peers[side as usize].next_seq.wrapping_add(1);
            self.peers[side.other() as usize].received_to = self.peers[side as usize].next_seq;
        }
        self.control(Side::Client, ACK, wire);
    }

    /// Reserves the sequence numbers of `len` bytes from a side; gives the first.
    pub const fn reserve(&mut self, side: Side, len: u32) -> u32 {
        let peer = &mut self.peers[side as usize];
        let seq = peer.next_seq;
        peer.next_seq = seq.wrapping_add(len);
        seq
    }

    /// Sends a data segment, and the acknowledgements and duplicates that it calls for.
    pub fn send(&mut self, side: Side, seq: u32, payload: &[u8], push: bool, wire: &mut Wire) {
        wire.truth.payload_bytes += payload.len() as u64;
        wire.outstanding_bytes = wire.outstanding_bytes.saturating_sub(payload.len() as u64);
        wire.truth.data_segments += 1;
        self.data(side, seq, payload, push, wire);
        if wire.options.retransmit > 0 && wire.random.chance(wire.options.retransmit) {
            wire.truth.retransmitted += 1;
            self.data(side, seq, payload, push, wire);
        }
        self.receive(side.other(), seq, seq.wrapping_add(payload.len() as u32), wire);
        self.send_spurious(wire);
    }

    /// Has a segment sent once more, some segments later.
    pub fn repeat_later(&mut self, side: Side, seq: u32, payload: &[u8], wire: &mut Wire) {
        let wait_segments = wire.random.within(5..=60) as u32;
        self.spurious.push(Spurious { wait_segments, side, seq, payload: payload.to_vec() });
    }

    fn send_spurious(&mut self, wire: &mut Wire) {
        for spurious in &mut self.spurious {
            spurious.wait_segments -= 1;
        }
        while let Some(at) = self.spurious.iter().position(|spurious| spurious.wait_segments == 0) {
            let Spurious { side, seq, payload, .. } = self.spurious.swap_remove(at);
            wire.truth.retransmitted += 1;
            wire.truth.retransmitted_late += 1;
            self.data(side, seq, &payload, true, wire);
            self.control(side.other(), ACK, wire);
        }
    }

    fn data(&self, side: Side, seq: u32, payload: &[u8], push: bool, wire: &mut Wire) {
        let segment = Segment { seq, payload, flags: if push { PSH | ACK } else { ACK }, ..self.empty(side, wire) };
        wire.emit(&segment);
    }

    fn control(&self, side: Side, flags: u8, wire: &mut Wire) {
        let mut segment = Segment { flags, ..self.empty(side, wire) };
        if flags == SYN {
            segment.ack = 0;
            segment.stamps.1 = 0;
        }
        wire.emit(&segment);
    }

    fn empty(&self, side: Side, wire: &Wire) -> Segment<'static> {
        let (own, other) = (&self.peers[side as usize], &self.peers[side.other() as usize]);
        let now = wire.clock.tcp_millis();
        Segment {
            from: own.endpoint,
            to: other.endpoint,
            seq: own.next_seq,
            ack: own.received_to,
            flags: ACK,
            stamps: (now.wrapping_add(own.stamp_base), now.wrapping_add(other.stamp_base)),
            sack: None,
            payload: &[],
        }
    }

    fn receive(&mut self, side: Side, start: u32, end: u32, wire: &mut Wire) {
        let peer = &mut self.peers[side as usize];
        if start != peer.received_to {
            peer.early.push((start, end));
            if wire.options.sack {
                wire.truth.duplicate_acks += 1;
                let segment = Segment { sack: Some((start, end)), ..self.empty(side, wire) };
                wire.emit(&segment);
            }
            return;
        }
        peer.received_to = end;
        while let Some(at) = peer.early.iter().position(|&(start, _)| start == peer.received_to) {
            peer.received_to = peer.early.swap_remove(at).1;
        }
        peer.unacknowledged += 1;
        let every = if wire.options.kind == crate::options::Kind::Offload { 1 } else { 2 };
        if peer.unacknowledged >= every {
            peer.unacknowledged = 0;
            self.control(side, ACK, wire);
        }
    }
}
