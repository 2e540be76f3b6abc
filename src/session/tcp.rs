//! TCP connections as packets: bytes of a side in, IP packets with correct numbers and checksums out, for captures that nobody sniffed.
//!
//! Packets start with the IP header (link type 101, `LINKTYPE_RAW`).

use std::net::{IpAddr, Ipv6Addr};

use crate::model::{Endpoints, LinkType, Side};

/// The link type of the packets: IPv4 or IPv6 without a link header.
pub const RAW_IP: LinkType = LinkType(101);

/// TCP flags (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// Opens a connection.
    pub const SYN: Self = Self(2);
    /// Accepts it.
    pub const SYN_ACK: Self = Self(2 | 16);
    /// Acknowledges.
    pub const ACK: Self = Self(16);
    /// Carries data.
    pub const PSH_ACK: Self = Self(8 | 16);
    /// Ends a side.
    pub const FIN_ACK: Self = Self(1 | 16);
    /// Breaks the connection off.
    pub const RST_ACK: Self = Self(4 | 16);
}

/// The sequence numbers of one connection, and how its packets are built.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    ends: Endpoints,
    client_next: u32,
    server_next: u32,
}

impl Lane {
    /// Bytes that one packet carries at most: an IP packet is shorter than 64 KiB.
    pub const SEGMENT_BYTES_MAX: usize = 60 << 10;

    /// A connection before its first packet. Where ports are used again, connections are told apart by their first numbers.
    pub const fn new(ends: Endpoints, first: u32) -> Self {
        Self { ends, client_next: first, server_next: first.wrapping_add(1 << 31) }
    }

    /// Its two ends.
    pub const fn ends(&self) -> Endpoints {
        self.ends
    }

    /// Counts what a side sent: bytes, and one for SYN and FIN each.
    pub const fn advance(&mut self, side: Side, by: u32) {
        match side {
            Side::Client => self.client_next = self.client_next.wrapping_add(by),
            Side::Server => self.server_next = self.server_next.wrapping_add(by),
        }
    }

    /// Appends one packet to `out`. `payload` comes in pieces that are sent as one.
    pub fn write_packet(&self, side: Side, flags: TcpFlags, payload: &[&[u8]], out: &mut Vec<u8>) {
        let length: usize = payload.iter().map(|piece| piece.len()).sum();
        let options: &[u8] = if flags.0 & TcpFlags::SYN.0 == 0 { &[] } else { &SYN_OPTIONS };
        let header_bytes = TCP_BYTES + options.len();
        let (from, to, seq, ack) = match side {
            Side::Client => (self.ends.client, self.ends.server, self.client_next, self.server_next),
            Side::Server => (self.ends.server, self.ends.client, self.server_next, self.client_next),
        };
        let start = out.len();
        let pseudo = write_ip_header(from.ip, to.ip, header_bytes + length, out);
        let tcp = out.len();
        out.extend_from_slice(&from.port.to_be_bytes());
        out.extend_from_slice(&to.port.to_be_bytes());
        out.extend_from_slice(&seq.to_be_bytes());
        let ack = if flags.0 & TcpFlags::ACK.0 == 0 { 0 } else { ack };
        out.extend_from_slice(&ack.to_be_bytes());
        out.extend_from_slice(&[(header_bytes as u8 / 4) << 4, flags.0, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend_from_slice(options);
        for piece in payload {
            out.extend_from_slice(piece);
        }
        let sum = !fold(pseudo + sum(out.get(tcp..).unwrap_or_default()));
        if let Some(place) = out.get_mut(tcp + 16..tcp + 18) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        debug_assert!(out.len() - start < 1 << 16);
    }
}

/// Appends the IP header; gives the sum of the pseudo header for the checksum of TCP.
fn write_ip_header(from: IpAddr, to: IpAddr, length: usize, out: &mut Vec<u8>) -> u64 {
    let start = out.len();
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) {
        let total = u16::try_from(IPV4_BYTES + length).unwrap_or(u16::MAX).to_be_bytes();
        // No options, do not fragment, TTL 64, TCP.
        out.extend_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0]);
        out.extend_from_slice(&from.octets());
        out.extend_from_slice(&to.octets());
        let header = !fold(sum(out.get(start..).unwrap_or_default()));
        if let Some(place) = out.get_mut(start + 10..start + 12) {
            place.copy_from_slice(&header.to_be_bytes());
        }
        return sum(&from.octets()) + sum(&to.octets()) + 6 + length as u64;
    }
    let payload = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[0x60, 0, 0, 0, payload[0], payload[1], 6, 64]);
    let (from, to) = (wide(from), wide(to));
    out.extend_from_slice(&from.octets());
    out.extend_from_slice(&to.octets());
    sum(&from.octets()) + sum(&to.octets()) + 6 + length as u64
}

/// An address as IPv6; where the two ends are of different families both are written so.
const fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The sum of 16-bit words that the internet checksum is made of. It does not depend on the order of bytes but for a swap at
/// the end (RFC 1071 section 2).
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
    for (index, byte) in rest.iter().enumerate() {
        total += u64::from(*byte) << (8 * index);
    }
    u64::from(fold(total).swap_bytes())
}

const fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

const IPV4_BYTES: usize = 20;
const TCP_BYTES: usize = 20;

/// A segment size of 65,495 bytes, and a window scale of 14: one window takes 1 GiB.
const SYN_OPTIONS: [u8; 8] = [2, 4, 0xff, 0xd7, 3, 3, 14, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn lane(client: &str, server: &str) -> Lane {
        let end = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
        Lane::new(Endpoints { client: end(client, 40_000), server: end(server, 9000) }, 7)
    }

    #[test]
    fn checksums_of_ip_and_tcp_add_up() {
        for (client, server) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "::1"), ("10.0.0.1", "::1")] {
            for length in 0..9_u8 {
                let payload: Vec<u8> = (1..=length).collect();
                let (one, other) = payload.split_at(payload.len() / 2);
                let mut packet = Vec::new();
                lane(client, server).write_packet(Side::Server, TcpFlags::PSH_ACK, &[one, other], &mut packet);
                let parsed = etherparse::SlicedPacket::from_ip(&packet).unwrap();
                let Some(etherparse::TransportSlice::Tcp(tcp)) = parsed.transport else { panic!("no TCP") };
                let expected = match parsed.net.unwrap() {
                    etherparse::NetSlice::Ipv4(ip) => {
                        let header = ip.header().to_header();
                        assert_eq!(header.calc_header_checksum(), header.header_checksum);
                        tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap()
                    }
                    etherparse::NetSlice::Ipv6(ip) => {
                        tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).unwrap()
                    }
                    _ => panic!("no IP"),
                };
                assert_eq!(tcp.checksum(), expected, "{client} {length}");
                assert_eq!((tcp.source_port(), tcp.payload()), (9000, payload.as_slice()));
            }
        }
    }

    #[test]
    fn a_connection_opens_with_options_that_a_reader_understands() {
        let mut packet = Vec::new();
        lane("10.0.0.1", "10.0.0.2").write_packet(Side::Client, TcpFlags::SYN, &[], &mut packet);
        let parsed = etherparse::SlicedPacket::from_ip(&packet).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = parsed.transport else { panic!("no TCP") };
        let options: Vec<_> = tcp.options_iterator().map(Result::unwrap).collect();
        use etherparse::TcpOptionElement::{MaximumSegmentSize, WindowScale};
        assert_eq!(options, [MaximumSegmentSize(65_495), WindowScale(14)]);
        assert!(tcp.syn() && !tcp.ack() && tcp.acknowledgment_number() == 0);
    }
}
