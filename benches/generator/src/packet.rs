//! Builds the headers of one TCP segment: link layer, IP, TCP with options.

use std::net::IpAddr;

use crate::options::Options;

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
}

/// `ip:port`, IPv6 in brackets
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// One TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Who sends it.
    pub from: Endpoint,
    /// Who shall get it.
    pub to: Endpoint,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// What its sender expects next.
    pub ack: u32,
    /// The TCP flags.
    pub flags: u8,
    /// Timestamp value and echo (RFC 7323).
    pub stamps: (u32, u32),
    /// A block received out of order (RFC 2018).
    pub sack: Option<(u32, u32)>,
    /// Its payload.
    pub payload: &'a [u8],
}

/// FIN
pub const FIN: u8 = 0x01;
/// SYN
pub const SYN: u8 = 0x02;
/// PSH
pub const PSH: u8 = 0x08;
/// ACK
pub const ACK: u8 = 0x10;

impl Segment<'_> {
    /// Writes all headers of the segment to `out`.
    pub fn headers(&self, options: &Options, ip_id: u16, out: &mut Vec<u8>) {
        out.clear();
        let mut tcp_options = [0; 24];
        let tcp_options_len = self.tcp_options(&mut tcp_options);
        let tcp_options = &tcp_options[..tcp_options_len];
        let tcp_bytes = 20 + tcp_options.len();
        self.link(options, out);
        self.ip(ip_id, tcp_bytes + self.payload.len(), out);
        let tcp_at = out.len();
        out.extend(self.from.port.to_be_bytes());
        out.extend(self.to.port.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.push((tcp_bytes as u8 / 4) << 4);
        out.push(self.flags);
        out.extend(502_u16.to_be_bytes());
        out.extend([0; 4]);
        out.extend_from_slice(tcp_options);
        if options.checksums {
            let sum = self.tcp_checksum(&out[tcp_at..]);
            out[tcp_at + 16..tcp_at + 18].copy_from_slice(&sum.to_be_bytes());
        }
    }

    fn link(&self, options: &Options, out: &mut Vec<u8>) {
        let ether_type: [u8; 2] = if self.from.ip.is_ipv6() { [0x86, 0xdd] } else { [0x08, 0x00] };
        if options.sll2 {
            out.extend(ether_type);
            out.extend([0, 0, 0, 0, 0, 3, 0, 1, 0, 6]);
            out.extend(mac(self.from.ip));
            out.extend([0, 0]);
            return;
        }
        out.extend(mac(self.to.ip));
        out.extend(mac(self.from.ip));
        if options.vlan {
            out.extend([0x81, 0x00, 0x00, 42]);
        }
        out.extend(ether_type);
    }

    fn ip(&self, ip_id: u16, content_bytes: usize, out: &mut Vec<u8>) {
        match (self.from.ip, self.to.ip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let at = out.len();
                out.extend([0x45, 0]);
                out.extend(((20 + content_bytes) as u16).to_be_bytes());
                out.extend(ip_id.to_be_bytes());
                out.extend([0x40, 0, 64, 6, 0, 0]);
                out.extend(from.octets());
                out.extend(to.octets());
                let sum = fold(sum_words(&out[at..]));
                out[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                out.extend([0x60, 0, 0, 0]);
                out.extend((content_bytes as u16).to_be_bytes());
                out.extend([6, 64]);
                out.extend(from.octets());
                out.extend(to.octets());
            }
            // Both ends of a connection are always made of one family.
            _ => {}
        }
    }

    fn tcp_options(&self, out: &mut [u8; 24]) -> usize {
        let (value, echo) = (self.stamps.0.to_be_bytes(), self.stamps.1.to_be_bytes());
        if self.flags & SYN != 0 {
            // MSS 1460, SACK permitted, timestamps, window scale 7, in the order of Linux.
            out[..8].copy_from_slice(&[2, 4, 0x05, 0xb4, 4, 2, 8, 10]);
            out[8..12].copy_from_slice(&value);
            out[12..16].copy_from_slice(&echo);
            out[16..20].copy_from_slice(&[1, 3, 3, 7]);
            return 20;
        }
        out[..4].copy_from_slice(&[1, 1, 8, 10]);
        out[4..8].copy_from_slice(&value);
        out[8..12].copy_from_slice(&echo);
        let Some((start, end)) = self.sack else { return 12 };
        out[12..16].copy_from_slice(&[1, 1, 5, 10]);
        out[16..20].copy_from_slice(&start.to_be_bytes());
        out[20..].copy_from_slice(&end.to_be_bytes());
        24
    }

    fn tcp_checksum(&self, header: &[u8]) -> u16 {
        let addresses = match (self.from.ip, self.to.ip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => sum_words(&from.octets()) + sum_words(&to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => sum_words(&from.octets()) + sum_words(&to.octets()),
            _ => 0,
        };
        let length = (header.len() + self.payload.len()) as u64;
        fold(addresses + 6 + length + sum_words(header) + sum_words(self.payload))
    }
}

// Docker's bridge makes the MAC address of the IPv4 address; the last four bytes of an IPv6 address serve alike.
fn mac(ip: IpAddr) -> [u8; 6] {
    let last = match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => [ip.octets()[12], ip.octets()[13], ip.octets()[14], ip.octets()[15]],
    };
    [0x02, 0x42, last[0], last[1], last[2], last[3]]
}

fn sum_words(bytes: &[u8]) -> u64 {
    let mut pairs = bytes.chunks_exact(2);
    let sum: u64 = pairs.by_ref().map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    sum + pairs.remainder().first().map_or(0, |&byte| u64::from(byte) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
