//! A packet in, the TCP segment in it out: link-layer, IP and tunnel headers are stripped, with a bound on their nesting.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice};

use crate::decode::fragment::{Fragment, FragmentKey};
use crate::decode::link::{self, Link, Next};
use crate::decode::tunnels::{self, Tunnel};
use crate::model::{Endpoint, LossReason, Packet};

/// TCP flags of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const URG: u8 = 8;

    /// Builds from single flags.
    pub const fn new(fin: bool, syn: bool, rst: bool, urg: bool) -> Self {
        Self((fin as u8) | (syn as u8) << 1 | (rst as u8) << 2 | (urg as u8) << 3)
    }

    /// FIN.
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// SYN.
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }

    /// RST.
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// URG.
    pub const fn urg(self) -> bool {
        self.0 & Self::URG != 0
    }
}

/// A TCP segment. The payload is a range of the bytes it was dissected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub source: Endpoint,
    /// To whom.
    pub destination: Endpoint,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number, where the ACK flag is set.
    pub ack: Option<u32>,
    /// Flags.
    pub flags: Flags,
    /// Where the payload starts, in octets from the start of the dissected bytes.
    pub payload_start: u32,
    /// How long the payload was on the wire; the capture may hold less of it.
    pub payload_length: u32,
}

impl Segment {
    /// The octets of the payload that `bytes` (what it was dissected from) holds.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = (self.payload_start as usize).min(bytes.len());
        let end = (self.payload_start as usize + self.payload_length as usize).clamp(start, bytes.len());
        bytes.get(start..end).unwrap_or_default()
    }
}

/// What a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dissected {
    /// A TCP segment.
    Segment(Segment),
    /// A fragment of an IP datagram.
    Fragment(Fragment),
    /// Something that is decoded and is not TCP.
    NotTcp,
    /// Not decoded, and why.
    Lost(LossReason),
}

/// Strips the headers of a packet. `nesting_max` bounds how many headers may wrap each other.
pub fn dissect(packet: &Packet<'_>, nesting_max: usize) -> Dissected {
    match plain_segment(packet) {
        Some(segment) => Dissected::Segment(segment),
        None => dissect_any(packet, nesting_max),
    }
}

/// The segment of a packet of Ethernet, IPv4 without options and TCP: nearly all of them, read in one step. `None` where there
/// is anything else to it; then the walk over the headers tells.
#[inline]
pub(crate) fn plain_segment(packet: &Packet<'_>) -> Option<Segment> {
    const ETHERNET: u32 = 1;
    const IP_AT: usize = 14;
    const TCP_AT: usize = IP_AT + 20;
    if packet.link.0 != ETHERNET {
        return None;
    }
    let head = packet.bytes.first_chunk::<{ TCP_AT + 20 }>()?;
    let half = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let is_fragment = half(head[IP_AT + 6], head[IP_AT + 7]) & 0x3fff != 0;
    let is_plain = half(head[12], head[13]) == ETHERTYPE_IPV4 && head[IP_AT] == 0x45 && head[IP_AT + 9] == PROTOCOL_TCP;
    let start = TCP_AT + usize::from(head[TCP_AT + 12] >> 4) * 4;
    if !is_plain || is_fragment || start < head.len() || start > packet.bytes.len() {
        return None;
    }
    let captured = (packet.captured as usize).max(packet.bytes.len());
    let end = captured.max(packet.original as usize);
    let end = match usize::from(half(head[IP_AT + 2], head[IP_AT + 3])) {
        0 => end,
        total if total >= TCP_AT - IP_AT => end.min(IP_AT + total),
        _ => return None,
    };
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *head.first_chunk::<TCP_AT>()?;
    let word = |at: usize| Some(u32::from_be_bytes(*head.get(at..)?.first_chunk()?));
    let flags = head[TCP_AT + 13];
    Some(Segment {
        source: Endpoint::new(IpAddr::from([s0, s1, s2, s3]), half(head[TCP_AT], head[TCP_AT + 1])),
        destination: Endpoint::new(IpAddr::from([d0, d1, d2, d3]), half(head[TCP_AT + 2], head[TCP_AT + 3])),
        seq: word(TCP_AT + 4)?,
        ack: if flags & 0x10 != 0 { Some(word(TCP_AT + 8)?) } else { None },
        flags: Flags::new(flags & 0x01 != 0, flags & 0x02 != 0, flags & 0x04 != 0, flags & 0x20 != 0),
        payload_start: narrow(start),
        payload_length: narrow(end.saturating_sub(start)),
    })
}

/// What any other packet holds.
#[inline(never)]
pub(crate) fn dissect_any(packet: &Packet<'_>, nesting_max: usize) -> Dissected {
    let captured = (packet.captured as usize).max(packet.bytes.len());
    let mut walk = Walk { bytes: packet.bytes, captured, end: captured.max(packet.original as usize) };
    match link::read(packet.link, packet.bytes) {
        Link::Carries(next, at) => walk.run(next, at, nesting_max),
        Link::Unknown => Dissected::Lost(LossReason::LinkType),
        Link::Malformed => walk.broken(),
    }
}

/// Dissects the payload of a datagram that was put together from fragments.
pub fn dissect_datagram(key: &FragmentKey, payload: &[u8], nesting_max: usize) -> Dissected {
    let mut walk = Walk { bytes: payload, captured: payload.len(), end: payload.len() };
    match walk.transport(key.protocol, key.source, key.destination, 0) {
        Step::Done(dissected) => dissected,
        Step::Next(next, at) => walk.run(next, at, nesting_max),
    }
}

/// The walk over the headers of one packet: the bytes at hand, how many the capture holds, and where the innermost known
/// length ends, which can lie beyond both.
struct Walk<'a> {
    bytes: &'a [u8],
    captured: usize,
    end: usize,
}

enum Step {
    Next(Next, usize),
    Done(Dissected),
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_HOP_BY_HOP: u8 = 0;
pub(super) const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
pub(super) const PROTOCOL_IPV6: u8 = 41;
const PROTOCOL_ROUTING: u8 = 43;
const PROTOCOL_FRAGMENT: u8 = 44;
const PROTOCOL_GRE: u8 = 47;
const PROTOCOL_AUTHENTICATION: u8 = 51;
const PROTOCOL_DESTINATION: u8 = 60;
const PROTOCOL_ETHERIP: u8 = 97;

impl Walk<'_> {
    fn run(&mut self, mut next: Next, mut at: usize, nesting_max: usize) -> Dissected {
        for _ in 0..=nesting_max {
            match self.step(next, at) {
                Step::Next(following, offset) => (next, at) = (following, offset),
                Step::Done(dissected) => return dissected,
            }
        }
        Dissected::Lost(LossReason::Malformed)
    }

    fn step(&mut self, next: Next, at: usize) -> Step {
        match next {
            Next::EtherType(ETHERTYPE_IPV4) => self.ipv4(at),
            Next::EtherType(ETHERTYPE_IPV6) => self.ipv6(at),
            Next::EtherType(other) => match link::unwrap(other, self.bytes, at) {
                Some(link) => self.follow(link),
                None => self.enter(tunnels::over_link(other)),
            },
            Next::Ethernet => self.follow(link::ethernet(self.bytes, at)),
            Next::Ip => match self.bytes.get(at).map(|first| first >> 4) {
                Some(4) => self.ipv4(at),
                Some(6) => self.ipv6(at),
                Some(_) => Step::Done(Dissected::NotTcp),
                None => Step::Done(self.broken()),
            },
            Next::Nothing => Step::Done(Dissected::NotTcp),
        }
    }

    const fn follow(&self, link: Link) -> Step {
        match link {
            Link::Carries(next, at) => Step::Next(next, at),
            Link::Unknown => Step::Done(Dissected::Lost(LossReason::Encapsulation)),
            Link::Malformed => Step::Done(self.broken()),
        }
    }

    /// A header that does not parse: cut by the snap length, or nonsense.
    const fn broken(&self) -> Dissected {
        Dissected::Lost(if self.captured < self.end { LossReason::Truncated } else { LossReason::Malformed })
    }

    fn ipv4(&mut self, at: usize) -> Step {
        let Ok(header) = Ipv4HeaderSlice::from_slice(self.bytes.get(at..).unwrap_or_default()) else {
            return Step::Done(self.broken());
        };
        let start = at + header.slice().len();
        let total = usize::from(header.total_len());
        // Segmentation offload can leave a total length of zero: then the capture's own length counts.
        if total >= header.slice().len() {
            self.end = (at + total).min(self.end);
        } else if total != 0 {
            return Step::Done(self.broken());
        }
        let (source, destination) = (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()));
        let protocol = header.protocol().0;
        if header.is_fragmenting_payload() {
            let key = FragmentKey { source, destination, id: u32::from(header.identification()), protocol };
            let offset = u32::from(header.fragments_offset().value()) * 8;
            return self.fragment(key, offset, header.more_fragments(), start);
        }
        self.transport(protocol, source, destination, start)
    }

    fn ipv6(&mut self, at: usize) -> Step {
        let Ok(header) = Ipv6HeaderSlice::from_slice(self.bytes.get(at..).unwrap_or_default()) else {
            return Step::Done(self.broken());
        };
        let mut start = at + header.slice().len();
        let length = usize::from(header.payload_length());
        // A length of zero stands for a jumbogram (RFC 2675) or for offload.
        if length != 0 {
            self.end = (start + length).min(self.end);
        }
        let (source, destination) = (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()));
        let mut protocol = header.next_header().0;
        // Extension headers (RFC 8200 section 4); the bound keeps a chain of empty ones from costing time.
        for _ in 0..EXTENSION_HEADERS_MAX {
            let unit = match protocol {
                PROTOCOL_HOP_BY_HOP | PROTOCOL_ROUTING | PROTOCOL_DESTINATION => 8,
                PROTOCOL_AUTHENTICATION => 4,
                PROTOCOL_FRAGMENT => return self.ipv6_fragment(source, destination, start),
                _ => return self.transport(protocol, source, destination, start),
            };
            let Some(&[following, size]) = self.bytes.get(start..start + 2) else {
                return Step::Done(self.broken());
            };
            start += if unit == 8 { (usize::from(size) + 1) * 8 } else { (usize::from(size) + 2) * 4 };
            protocol = following;
        }
        Step::Done(Dissected::Lost(LossReason::Malformed))
    }

    fn ipv6_fragment(&mut self, source: IpAddr, destination: IpAddr, at: usize) -> Step {
        let Some(&[protocol, _, high, low, a, b, c, d]) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return Step::Done(self.broken());
        };
        let word = u16::from_be_bytes([high, low]);
        let (offset, more) = (u32::from(word & !7), word & 1 == 1);
        // An atomic fragment (RFC 6946) is a whole datagram.
        if offset == 0 && !more {
            return self.after_extensions(protocol, source, destination, at + 8);
        }
        let key = FragmentKey { source, destination, id: u32::from_be_bytes([a, b, c, d]), protocol };
        self.fragment(key, offset, more, at + 8)
    }

    /// What follows an atomic fragment header can be an extension header again.
    fn after_extensions(&mut self, mut protocol: u8, source: IpAddr, destination: IpAddr, mut at: usize) -> Step {
        for _ in 0..EXTENSION_HEADERS_MAX {
            if !matches!(protocol, PROTOCOL_HOP_BY_HOP | PROTOCOL_ROUTING | PROTOCOL_DESTINATION) {
                break;
            }
            let Some(&[following, size]) = self.bytes.get(at..at + 2) else {
                return Step::Done(self.broken());
            };
            at += (usize::from(size) + 1) * 8;
            protocol = following;
        }
        self.transport(protocol, source, destination, at)
    }

    fn fragment(&self, key: FragmentKey, offset: u32, more: bool, start: usize) -> Step {
        let length = self.end.saturating_sub(start);
        if self.captured < start + length {
            return Step::Done(Dissected::Lost(LossReason::Truncated));
        }
        Step::Done(Dissected::Fragment(Fragment { key, offset, more, start: narrow(start), length: narrow(length) }))
    }

    fn transport(&mut self, protocol: u8, source: IpAddr, destination: IpAddr, at: usize) -> Step {
        match protocol {
            PROTOCOL_TCP => Step::Done(self.tcp(source, destination, at)),
            PROTOCOL_IPV4 | PROTOCOL_IPV6 => Step::Next(Next::Ip, at),
            PROTOCOL_GRE => self.enter(tunnels::gre(self.bytes, at)),
            PROTOCOL_UDP => self.enter(tunnels::udp(self.bytes, at)),
            PROTOCOL_ETHERIP => Step::Next(Next::Ethernet, at + 2),
            PROTOCOL_AUTHENTICATION => match self.bytes.get(at..at + 2) {
                Some(&[following, size]) => self.transport_behind_authentication(following, source, destination, at, size),
                _ => Step::Done(self.broken()),
            },
            PROTOCOL_HOP_BY_HOP | PROTOCOL_ROUTING | PROTOCOL_DESTINATION => {
                self.after_extensions(protocol, source, destination, at)
            }
            other => self.enter(tunnels::over_ip(other, at)),
        }
    }

    fn transport_behind_authentication(&mut self, protocol: u8, from: IpAddr, to: IpAddr, at: usize, size: u8) -> Step {
        let at = at + (usize::from(size) + 2) * 4;
        match protocol {
            PROTOCOL_TCP => Step::Done(self.tcp(from, to, at)),
            PROTOCOL_IPV4 | PROTOCOL_IPV6 => Step::Next(Next::Ip, at),
            other => self.enter(tunnels::over_ip(other, at)),
        }
    }

    fn tcp(&self, source: IpAddr, destination: IpAddr, at: usize) -> Dissected {
        let Ok(header) = TcpHeaderSlice::from_slice(self.bytes.get(at..).unwrap_or_default()) else {
            return self.broken();
        };
        let start = at + header.slice().len();
        Dissected::Segment(Segment {
            source: Endpoint::new(source, header.source_port()),
            destination: Endpoint::new(destination, header.destination_port()),
            seq: header.sequence_number(),
            ack: header.ack().then(|| header.acknowledgment_number()),
            flags: Flags::new(header.fin(), header.syn(), header.rst(), header.urg()),
            payload_start: narrow(start),
            payload_length: narrow(self.end.saturating_sub(start)),
        })
    }

    /// What a tunnel says of the packet in it.
    const fn enter(&self, tunnel: Tunnel) -> Step {
        match tunnel {
            Tunnel::Carries(next, at) => Step::Next(next, at),
            Tunnel::Link(link) => self.follow(link),
            Tunnel::Nothing => Step::Done(Dissected::NotTcp),
            Tunnel::Lost(reason) => Step::Done(Dissected::Lost(reason)),
            Tunnel::Broken => Step::Done(self.broken()),
        }
    }
}

pub(super) const EXTENSION_HEADERS_MAX: usize = 16;

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Frame, LinkType, Tail, Timestamp};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_in_one_step_is_what_the_walk_reads(
            changes in prop::collection::vec((0..60_usize, any::<u8>()), 0..6),
            length in 50..80_usize,
            captured_more in 0..3_u32,
            original in 0..2000_u32,
            total in prop::sample::select(vec![0_u16, 19, 20, 40, 52, 60, 1500, 65_535]),
        ) {
            let mut bytes = vec![0; length];
            for (at, value) in [(12, 8), (14, 0x45), (20, 0x40), (22, 64), (23, 6), (26, 10), (30, 10), (34, 7), (46, 0x50), (47, 0x18)] {
                bytes[at] = value;
            }
            bytes[16..18].copy_from_slice(&total.to_be_bytes());
            for (at, value) in changes.into_iter().filter(|(at, _)| *at < length) {
                bytes[at] = value;
            }
            let captured = length as u32 + captured_more * 700;
            let packet = Packet {
                ordinal: 1,
                frame: Frame::new(0, 1),
                at: Timestamp::EPOCH,
                link: LinkType(1),
                bytes: &bytes,
                captured,
                original,
                tail: Tail::NONE,
            };
            if let Some(segment) = plain_segment(&packet) {
                prop_assert_eq!(Dissected::Segment(segment), dissect_any(&packet, 8));
            }
        }
    }
}
