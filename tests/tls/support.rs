//! A naive way from a capture file to TLS flows, for the tests of TLS alone: blocks, packets, TCP in order.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::require::{Need, skip};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use hopwire::decode::Limits;
use hopwire::decode::tls::{Connection, KeyLog, Plain, Probe, SealedPair, Secrets, Sessions, Sink, probe};
use hopwire::model::{Close, Frame, Secret, Shut, Side, Stamp, Timestamp, TlsView};

/// Where the captures are that are no part of this project; `None`, and a message, where they are absent.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    skip(Need::Shared, path.display());
    None
}

/// A file of this project.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// What happens to the stream of one side.
#[derive(Clone)]
pub(crate) enum Happening {
    Data(Vec<u8>),
    Gap(u64),
    Close(Close),
}

/// One TCP connection, its happenings in the order of the capture.
pub(crate) struct Flow {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) happenings: Vec<(Side, Stamp, Happening)>,
}

/// A capture file: its packets and the secrets in it.
pub(crate) struct Capture {
    pub(crate) secrets: Vec<u8>,
    packets: Vec<(u32, Vec<u8>)>,
}

impl Capture {
    /// Reads a file: pcap or pcapng, little-endian, plain or gzip.
    pub(crate) fn read(path: &Path) -> Self {
        let mut octets = std::fs::read(path).unwrap();
        if octets.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(octets.as_slice()).read_to_end(&mut plain).unwrap();
            octets = plain;
        }
        if octets.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) { Self::read_pcapng(&octets) } else { Self::read_pcap(&octets) }
    }

    fn read_pcap(octets: &[u8]) -> Self {
        let link = u32_at(octets, 20);
        let mut packets = Vec::new();
        let mut at = 24;
        while at + 16 <= octets.len() {
            let length = u32_at(octets, at + 8) as usize;
            let Some(packet) = octets.get(at + 16..at + 16 + length) else { break };
            packets.push((link, packet.to_vec()));
            at += 16 + length;
        }
        Self { secrets: Vec::new(), packets }
    }

    fn read_pcapng(octets: &[u8]) -> Self {
        let mut capture = Self { secrets: Vec::new(), packets: Vec::new() };
        let mut links = Vec::new();
        let mut at = 0;
        while at + 12 <= octets.len() {
            let (kind, length) = (u32_at(octets, at), u32_at(octets, at + 4) as usize);
            let Some(block) = octets.get(at + 8..at + length.max(12) - 4) else { break };
            match kind {
                1 => links.push(u32::from(u16::from_le_bytes([block[0], block[1]]))),
                6 => {
                    let length = u32_at(block, 12) as usize;
                    capture.packets.push((links[u32_at(block, 0) as usize], block[20..20 + length].to_vec()));
                }
                10 => {
                    capture.secrets.extend_from_slice(&block[8..8 + u32_at(block, 4) as usize]);
                    capture.secrets.push(b'\n');
                }
                _ => {}
            }
            at += length.max(12);
        }
        capture
    }

    /// The TCP connections, each side's octets in order.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        let mut flows: Vec<Flow> = Vec::new();
        let mut open: HashMap<(SocketAddr, SocketAddr), (usize, [Stream; 2])> = HashMap::new();
        for (number, (link, packet)) in (1..).zip(&self.packets) {
            let Some((from, to, segment)) = segment(*link, packet) else { continue };
            let stamp = Stamp { at: Timestamp::from_nanos(number), frame: Frame::new(0, number as u64) };
            let is_syn = segment.flags & 0x12 == 0x02;
            let known = if is_syn { None } else { open.get(&(from, to)).or(open.get(&(to, from))).map(|one| one.0) };
            let index = known.unwrap_or_else(|| {
                // The side with the greater port is taken for the client where the start was not captured.
                let is_client = is_syn || (segment.flags & 0x12 != 0x12 && from.port() >= to.port());
                let (client, server) = if is_client { (from, to) } else { (to, from) };
                flows.push(Flow { client, server, happenings: Vec::new() });
                open.remove(&(server, client));
                open.insert((client, server), (flows.len() - 1, Default::default()));
                flows.len() - 1
            });
            let flow = &mut flows[index];
            let (_, streams) = open.get_mut(&(flow.client, flow.server)).unwrap();
            let side = if from == flow.client { Side::Client } else { Side::Server };
            let stream = &mut streams[usize::from(side == Side::Server)];
            stream.push(segment, |happening| flow.happenings.push((side, stamp, happening)));
        }
        for (index, mut streams) in open.into_values() {
            for (stream, side) in streams.iter_mut().zip([Side::Client, Side::Server]) {
                stream.flush(|happening| flows[index].happenings.push((side, Stamp::default(), happening)));
            }
        }
        flows
    }
}

struct Segment<'a> {
    sequence: u32,
    flags: u8,
    payload: &'a [u8],
}

#[derive(Default)]
struct Stream {
    next: Option<u32>,
    later: BTreeMap<u32, Vec<u8>>,
    is_closed: bool,
}

impl Stream {
    fn push(&mut self, segment: Segment<'_>, mut emit: impl FnMut(Happening)) {
        let is_syn = segment.flags & 0x02 != 0;
        let sequence = segment.sequence.wrapping_add(u32::from(is_syn));
        if is_syn || (self.next.is_none() && !segment.payload.is_empty()) {
            self.next = Some(sequence);
        }
        let Some(next) = self.next else { return };
        if !segment.payload.is_empty() {
            self.later.entry(sequence.wrapping_sub(next)).or_insert_with(|| segment.payload.to_vec());
            self.rebase(next, &mut emit);
        }
        let is_end = segment.flags & 0x05 != 0;
        if is_end && !self.is_closed && self.later.is_empty() {
            self.is_closed = true;
            emit(Happening::Close(if segment.flags & 0x04 != 0 { Close::Reset } else { Close::Finished }));
        }
    }

    /// Gives out what is in order now; keys of `later` are relative to `next`.
    fn rebase(&mut self, next: u32, emit: &mut impl FnMut(Happening)) {
        let mut position = 0u32;
        let mut waiting = BTreeMap::new();
        for (offset, payload) in std::mem::take(&mut self.later) {
            let behind = position.wrapping_sub(offset);
            if behind < 1 << 31 {
                if let Some(fresh) = payload.get(behind as usize..).filter(|fresh| !fresh.is_empty()) {
                    emit(Happening::Data(fresh.to_vec()));
                    position = position.wrapping_add(fresh.len() as u32);
                }
            } else if offset < 1 << 31 {
                waiting.insert(offset, payload);
            }
        }
        self.later = waiting.into_iter().map(|(offset, payload)| (offset.wrapping_sub(position), payload)).collect();
        self.next = Some(next.wrapping_add(position));
    }

    fn flush(&mut self, mut emit: impl FnMut(Happening)) {
        while let Some((&offset, _)) = self.later.first_key_value() {
            emit(Happening::Gap(u64::from(offset)));
            self.later = std::mem::take(&mut self.later).into_iter().map(|(at, payload)| (at - offset, payload)).collect();
            let next = self.next.unwrap_or_default().wrapping_add(offset);
            self.rebase(next, &mut emit);
        }
    }
}

fn segment(link: u32, packet: &[u8]) -> Option<(SocketAddr, SocketAddr, Segment<'_>)> {
    let sliced = match link {
        1 => SlicedPacket::from_ethernet(packet).ok()?,
        113 => SlicedPacket::from_linux_sll(packet).ok()?,
        0 => SlicedPacket::from_ip(packet.get(4..)?).ok()?,
        12 | 14 | 101 | 228 | 229 => SlicedPacket::from_ip(packet).ok()?,
        276 => SlicedPacket::from_ip(packet.get(20..)?).ok()?,
        _ => return None,
    };
    let (source, destination) = match sliced.net? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => {
            (std::net::IpAddr::from(ip.header().source_addr()), std::net::IpAddr::from(ip.header().destination_addr()))
        }
        _ => return None,
    };
    let TransportSlice::Tcp(tcp) = sliced.transport? else { return None };
    let flags = u8::from(tcp.fin()) | u8::from(tcp.syn()) << 1 | u8::from(tcp.rst()) << 2 | u8::from(tcp.ack()) << 4;
    let payload = tcp.payload();
    let from = SocketAddr::new(source, tcp.source_port());
    let to = SocketAddr::new(destination, tcp.destination_port());
    Some((from, to, Segment { sequence: tcp.sequence_number(), flags, payload }))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())
}

/// Collects plaintext.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) client: PlainSide,
    pub(crate) server: PlainSide,
    /// What [`Sink::skippable`] answers.
    pub(crate) skippable: u64,
}

/// The plaintext of one side.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlainSide {
    pub(crate) octets: Vec<u8>,
    pub(crate) skipped: u64,
    pub(crate) gaps: Vec<(usize, u64)>,
    pub(crate) closes: Vec<Close>,
}

impl PlainSide {
    /// Octets of plaintext, however they are known.
    pub(crate) fn length(&self) -> u64 {
        self.octets.len() as u64 + self.skipped + self.gaps.iter().map(|gap| gap.1).sum::<u64>()
    }
}

impl Sink for Collected {
    fn plain(&mut self, plain: Plain<'_>) {
        let (Plain::Data { from, .. } | Plain::Skip { from, .. } | Plain::Gap { from, .. } | Plain::Close { from, .. }) = plain;
        let side = if from == Side::Client { &mut self.client } else { &mut self.server };
        match plain {
            Plain::Data { bytes, .. } => side.octets.extend_from_slice(bytes),
            Plain::Skip { length, .. } => side.skipped += length,
            Plain::Gap { length, .. } => side.gaps.push((side.octets.len(), length)),
            Plain::Close { how, .. } => side.closes.push(how),
        }
    }

    fn skippable(&self, _: Side) -> u64 {
        self.skippable
    }
}

/// What became of a TLS flow.
pub(crate) struct Outcome {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) plain: Collected,
    pub(crate) view: TlsView,
    pub(crate) shut: Option<Shut>,
    pub(crate) sealed_bytes: u64,
    pub(crate) has_early_data: bool,
    /// What it shows from outside.
    pub(crate) sealed: Vec<SealedPair>,
}

/// A key log of these lines.
pub(crate) fn keylog(lines: &[u8]) -> KeyLog {
    let mut keylog = KeyLog::new();
    keylog.add(&Secret::new(lines.to_vec()));
    keylog
}

/// Opens the TLS flows of a capture with the given key-log lines; `piece` cuts the streams, `skippable` is what the sink does
/// not need.
pub(crate) fn open(capture: &Capture, lines: &[u8], piece: usize, skippable: u64) -> Vec<Outcome> {
    let keylog = keylog(lines);
    let mut sessions = Sessions::new();
    let flows = capture.flows();
    let tls = flows.iter().filter(|flow| is_tls(flow));
    tls.map(|flow| open_flow(flow, &keylog, &mut sessions, piece, skippable)).collect()
}

/// Opens one flow.
pub(crate) fn open_flow(flow: &Flow, keylog: &KeyLog, sessions: &mut Sessions, piece: usize, skippable: u64) -> Outcome {
    let mut buffer = Vec::new();
    let mut secrets = Secrets { keylog, sessions, buffer: &mut buffer };
    let mut connection = Connection::new(&Limits::default());
    let mut plain = Collected { skippable, ..Collected::default() };
    for (from, stamp, happening) in &flow.happenings {
        match happening {
            Happening::Data(octets) => {
                let mut octets = octets.as_slice();
                while !octets.is_empty() {
                    let skipped = usize::try_from(connection.skippable(*from)).unwrap_or(usize::MAX).min(octets.len());
                    if skipped > 0 {
                        connection.handle_skip(*from, *stamp, skipped as u64, &mut secrets, &mut plain);
                    }
                    octets = &octets[skipped..];
                    let (now, rest) = octets.split_at(piece.min(octets.len()));
                    connection.handle_data(*from, *stamp, now, &mut secrets, &mut plain);
                    octets = rest;
                }
            }
            Happening::Gap(length) => connection.handle_gap(*from, *stamp, *length, &mut secrets, &mut plain),
            Happening::Close(how) => connection.handle_close(*from, *stamp, *how, &mut secrets, &mut plain),
        }
    }
    connection.handle_end(&mut secrets, &mut plain);
    Outcome {
        sealed: std::iter::from_fn(|| connection.poll_sealed()).collect(),
        client: flow.client,
        server: flow.server,
        plain,
        view: connection.view().clone(),
        shut: connection.shut().cloned(),
        sealed_bytes: connection.sealed_bytes(),
        has_early_data: connection.has_early_data(),
    }
}

fn is_tls(flow: &Flow) -> bool {
    [Side::Client, Side::Server].into_iter().any(|side| {
        let mut octets = Vec::new();
        for (from, _, happening) in &flow.happenings {
            if let (true, Happening::Data(data)) = (*from == side, happening) {
                octets.extend_from_slice(data);
            }
        }
        probe(&octets) == Probe::Yes
    })
}
