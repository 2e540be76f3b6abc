//! Builds packets for tests: conversations over TCP as Ethernet frames, in order, which a test then disturbs.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that use parts of it")]

pub(crate) mod require;

use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Event, Exchange, FlowClosed, Frame, LinkType, Loss, Packet, Tail, Timestamp};

/// A seeded generator (splitmix64): tests are repeatable.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub at_nanos: i64,
    pub bytes: Vec<u8>,
    /// Octets of TCP payload.
    pub payload: usize,
}

/// One TCP connection being written down packet by packet.
pub struct Connection {
    pub client_port: u16,
    client_seq: u32,
    server_seq: u32,
    pub sent: Vec<Sent>,
    now: i64,
    segment_max: usize,
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

impl Connection {
    pub fn open(client_port: u16, start_nanos: i64, segment_max: usize, client_isn: u32, server_isn: u32) -> Self {
        let mut new =
            Self { client_port, client_seq: client_isn, server_seq: server_isn, sent: Vec::new(), now: start_nanos, segment_max };
        new.packet(true, SYN, b"", 0);
        new.client_seq = new.client_seq.wrapping_add(1);
        new.packet(false, SYN | ACK, b"", 0);
        new.server_seq = new.server_seq.wrapping_add(1);
        new.packet(true, ACK, b"", 0);
        new
    }

    pub fn wait(&mut self, nanos: i64) {
        self.now += nanos;
    }

    pub fn client(&mut self, data: &[u8]) {
        self.send(true, data);
    }

    pub fn server(&mut self, data: &[u8]) {
        self.send(false, data);
    }

    fn send(&mut self, from_client: bool, data: &[u8]) {
        for (index, piece) in data.chunks(self.segment_max).enumerate() {
            self.packet(from_client, ACK, piece, 0);
            let seq = if from_client { &mut self.client_seq } else { &mut self.server_seq };
            *seq = seq.wrapping_add(piece.len() as u32);
            if index % 2 == 1 {
                self.packet(!from_client, ACK, b"", 0);
            }
        }
        self.packet(!from_client, ACK, b"", 0);
    }

    pub fn close(&mut self) {
        self.packet(true, FIN | ACK, b"", 0);
        self.client_seq = self.client_seq.wrapping_add(1);
        self.packet(false, FIN | ACK, b"", 0);
        self.server_seq = self.server_seq.wrapping_add(1);
        self.packet(true, ACK, b"", 0);
    }

    pub fn packet(&mut self, from_client: bool, flags: u8, payload: &[u8], seq_offset: u32) {
        let (seq, ack) = if from_client { (self.client_seq, self.server_seq) } else { (self.server_seq, self.client_seq) };
        let ack = if flags & ACK == 0 { 0 } else { ack };
        let bytes = frame(from_client, self.client_port, seq.wrapping_add(seq_offset), ack, flags, payload);
        self.now += 300_000;
        self.sent.push(Sent { at_nanos: self.now, bytes, payload: payload.len() });
    }
}

/// An Ethernet frame with an IPv4 TCP segment; the checksums are left at zero, as offload leaves them wrong.
pub fn frame(from_client: bool, client_port: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ([10, 0, 0, 2u8], [10, 0, 0, 9u8]);
    let (from, to, from_port, to_port) =
        if from_client { (source, destination, client_port, 8091) } else { (destination, source, 8091, client_port) };
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend_from_slice(&[0x45, 0]);
    bytes.extend_from_slice(&((40 + payload.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend_from_slice(&from);
    bytes.extend_from_slice(&to);
    bytes.extend_from_slice(&from_port.to_be_bytes());
    bytes.extend_from_slice(&to_port.to_be_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&ack.to_be_bytes());
    bytes.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

/// What a decoder made of packets.
#[derive(Default)]
pub struct Seen {
    pub exchanges: Vec<Exchange>,
    pub closed: Vec<FlowClosed>,
    pub lost: Vec<Loss>,
}

pub fn decode(packets: &[Sent], limits: Limits) -> Seen {
    let mut decoder = Decoder::new(limits);
    let mut seen = Seen::default();
    for (ordinal, sent) in (1..).zip(packets) {
        decoder.handle_packet(&Packet {
            ordinal,
            frame: Frame::new(0, ordinal),
            at: Timestamp::from_nanos(sent.at_nanos),
            link: LinkType(1),
            bytes: &sent.bytes,
            captured: sent.bytes.len() as u32,
            original: sent.bytes.len() as u32,
            tail: Tail::NONE,
        });
        collect(&mut decoder, &mut seen);
    }
    decoder.handle_end();
    collect(&mut decoder, &mut seen);
    seen
}

fn collect(decoder: &mut Decoder, seen: &mut Seen) {
    while let Some(event) = decoder.poll() {
        match event {
            Event::Exchange(exchange) => seen.exchanges.push(*exchange),
            Event::FlowClosed(closed) => seen.closed.push(*closed),
            Event::Lost(loss) => seen.lost.push(loss),
            Event::FlowOpened(_) | Event::Sealed(_) => {}
        }
    }
}

/// The exchanges as text, without what depends on the order of packets (frames and times), sorted by flow.
pub fn render(exchanges: &[Exchange]) -> Vec<String> {
    let mut lines: Vec<String> = exchanges
        .iter()
        .map(|exchange| {
            let response = exchange.response();
            format!(
                "{} {}.{:04} {} {} -> {:?} {}+{} {:?}",
                exchange.endpoints.client.port,
                exchange.id.ordinal,
                exchange.id.ordinal,
                String::from_utf8_lossy(exchange.request.method()),
                String::from_utf8_lossy(exchange.request.target()),
                exchange.status(),
                exchange.request.body.length,
                response.map_or(0, |response| response.body.length),
                exchange.anomalies
            )
        })
        .collect();
    lines.sort();
    lines
}
