//! Tunnels: the header of one in, the place of the packet inside out, or why it is not decoded.

use crate::decode::link::{self, Link, Next};
use crate::decode::segment::{EXTENSION_HEADERS_MAX, PROTOCOL_IPV4, PROTOCOL_IPV6};
use crate::model::LossReason;

/// What the header of a tunnel, or what stands in its place, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// It carries this from this offset on.
    Carries(Next, usize),
    /// It carries what a link-layer header says.
    Link(Link),
    /// It carries no packet.
    Nothing,
    /// It carries a packet that is not decoded.
    Lost(LossReason),
    /// The header is cut or nonsense.
    Broken,
}

const ETHERTYPE_MPLS: u16 = 0x8847;

/// What an EtherType that is neither IP nor a header known to `link` stands for.
pub(super) const fn over_link(ether_type: u16) -> Tunnel {
    match ether_type {
        // NSH (RFC 8300), TRILL (RFC 6325), batman-adv, the Cisco fabric path: whole frames are inside.
        0x894f | 0x22f3 | 0x4305 | 0x8903 => Tunnel::Lost(LossReason::Encapsulation),
        // MACsec (IEEE 802.1AE).
        0x88e5 => Tunnel::Lost(LossReason::Encrypted),
        _ => Tunnel::Nothing,
    }
}

/// What an IP protocol that is neither TCP nor UDP nor an extension header stands for.
pub(super) const fn over_ip(protocol: u8, at: usize) -> Tunnel {
    match protocol {
        // MPLS (RFC 4023).
        137 => Tunnel::Carries(Next::EtherType(ETHERTYPE_MPLS), at),
        // ESP (RFC 4303).
        50 => Tunnel::Lost(LossReason::Encrypted),
        // Minimal encapsulation (RFC 2004), IPComp (RFC 3173), L2TPv3 (RFC 3931), whose cookie has a length that only its two
        // ends know.
        55 | 108 | 115 => Tunnel::Lost(LossReason::Encapsulation),
        _ => Tunnel::Nothing,
    }
}

/// GRE (RFC 1701, 2784, 2890), the enhanced form of PPTP (RFC 2637) and what vendors carry in it.
pub(super) fn gre(bytes: &[u8], at: usize) -> Tunnel {
    let Some(&[flags, version, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Tunnel::Broken;
    };
    let optional = |bits: u8, size: usize| if flags & bits != 0 { size } else { 0 };
    let is_routed = flags & GRE_ROUTING != 0;
    let mut start = at + 4 + optional(GRE_CHECKSUM | GRE_ROUTING, 4) + optional(GRE_KEY, 4) + optional(GRE_SEQUENCE, 4);
    match (version & 7, u16::from_be_bytes([high, low])) {
        // EoIP (MikroTik) takes the enhanced form, with the length of the frame and the number of the tunnel for a key.
        (1, 0x6400) => return Tunnel::Carries(Next::Ethernet, at + 8),
        (1, _) => {
            start += if version & 0x80 != 0 { 4 } else { 0 };
            return Tunnel::Link(link::ppp(bytes, start));
        }
        (2.., _) => return Tunnel::Lost(LossReason::Encapsulation),
        (0, _) => {}
    }
    if is_routed {
        match after_routing(bytes, start) {
            Some(after) => start = after,
            None => return Tunnel::Broken,
        }
    }
    match u16::from_be_bytes([high, low]) {
        // ERSPAN: type II has a header of its own where GRE has a sequence number, type I has none.
        0x88be => Tunnel::Carries(Next::Ethernet, if flags & GRE_SEQUENCE != 0 { start + 8 } else { start }),
        // ERSPAN type III: five bits tell the type of frame, the last bit whether a platform header follows.
        0x22eb => match bytes.get(start + 10..start + 12) {
            Some(&[kind, last]) => {
                let next = if (kind >> 2) & 0x1f == 2 { Next::Ip } else { Next::Ethernet };
                Tunnel::Carries(next, start + if last & 1 != 0 { 20 } else { 12 })
            }
            _ => Tunnel::Broken,
        },
        // WCCP: version 2 puts a redirect header of four bytes before the IP header, version 1 none.
        0x883e => match bytes.get(start).map(|first| first >> 4) {
            Some(4) => Tunnel::Carries(Next::Ip, start),
            Some(_) => Tunnel::Carries(Next::Ip, start + 4),
            None => Tunnel::Broken,
        },
        // PPP (RFC 1701), and the keep-alive of routers, which carries nothing to read.
        0x880b => Tunnel::Link(link::ppp(bytes, start)),
        0 if bytes.get(start).is_none() => Tunnel::Nothing,
        other if is_carried(other) || matches!(link::unwrap(other, bytes, start), Some(Link::Carries(..))) => {
            Tunnel::Carries(Next::EtherType(other), start)
        }
        // ARP, LLDP and others without TCP inside.
        0x0806 | 0x8035 | 0x88cc | 0x9000 => Tunnel::Nothing,
        _ => Tunnel::Lost(LossReason::Encapsulation),
    }
}

const GRE_CHECKSUM: u8 = 0x80;
const GRE_ROUTING: u8 = 0x40;
const GRE_KEY: u8 = 0x20;
const GRE_SEQUENCE: u8 = 0x10;

/// Where the list of source routes ends (RFC 1701): an entry without an address family and without a length.
fn after_routing(bytes: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..EXTENSION_HEADERS_MAX {
        let [family_high, family_low, _, length] = *bytes.get(at..)?.first_chunk::<4>()?;
        at += 4 + usize::from(length);
        if [family_high, family_low, length] == [0; 3] {
            return Some(at);
        }
    }
    None
}

const fn is_carried(ether_type: u16) -> bool {
    matches!(ether_type, 0x0800 | 0x86dd)
}

/// Tunnels over UDP, known by their port: what container and mobile networks wrap packets in; and QUIC, by its headers.
pub(super) fn udp(bytes: &[u8], at: usize) -> Tunnel {
    let Some(&[a, b, c, d, ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { return Tunnel::Broken };
    let inner = at + 8;
    let byte = |offset: usize| bytes.get(inner + offset).copied();
    let lost = Tunnel::Lost(LossReason::Encapsulation);
    match (u16::from_be_bytes([c, d]), u16::from_be_bytes([a, b])) {
        // VXLAN (RFC 7348): the I flag must be set. 8472 is Linux's old port.
        (4789 | 8472, _) if byte(0).is_some_and(|flags| flags & 0x08 != 0) => Tunnel::Carries(Next::Ethernet, inner + 8),
        (4789 | 8472, _) => lost,
        // Geneve (RFC 8926): option length in 4 bytes, then the protocol.
        (6081, _) => match (byte(0), byte(2), byte(3)) {
            (Some(first), Some(high), Some(low)) if first >> 6 == 0 => {
                Tunnel::Carries(Next::EtherType(u16::from_be_bytes([high, low])), inner + 8 + usize::from(first & 0x3f) * 4)
            }
            _ => lost,
        },
        // VXLAN-GPE: with the P flag, the last byte of the first word says what follows.
        (4790, _) if byte(0).is_some_and(|flags| flags & 0x08 != 0) => match (byte(0).unwrap_or(0) & 0x04 != 0, byte(3)) {
            (false, _) | (true, Some(3)) => Tunnel::Carries(Next::Ethernet, inner + 8),
            (true, Some(1 | 2)) => Tunnel::Carries(Next::Ip, inner + 8),
            (true, Some(5)) => Tunnel::Carries(Next::EtherType(ETHERTYPE_MPLS), inner + 8),
            (true, _) => lost,
        },
        // GRE (RFC 8086) and MPLS (RFC 7510).
        (4754, _) => gre(bytes, inner),
        (6635, _) => Tunnel::Carries(Next::EtherType(ETHERTYPE_MPLS), inner),
        (1701, _) | (_, 1701) => l2tp(bytes, inner),
        (5072, _) | (_, 5072) => ayiya(bytes, inner),
        (2152, _) | (_, 2152) => gtp(bytes, inner),
        // Teredo (RFC 4380): IPv6 directly, or after an authentication or origin header.
        (3544, _) | (_, 3544) => match (byte(0), byte(1)) {
            (Some(first), _) if first >> 4 == 6 => Tunnel::Carries(Next::Ip, inner),
            (Some(0), Some(0)) => Tunnel::Carries(Next::Ip, inner + 8),
            _ => Tunnel::Nothing,
        },
        // ESP behind NAT (RFC 3948); four bytes of zero mark the key exchange.
        (4500, _) | (_, 4500) if bytes.get(inner..inner + 4).is_some_and(|spi| spi != [0; 4]) => {
            Tunnel::Lost(LossReason::Encrypted)
        }
        // WireGuard's transport data.
        (51_820, _) | (_, 51_820) if bytes.get(inner..inner + 4) == Some(&[4, 0, 0, 0]) => Tunnel::Lost(LossReason::Encrypted),
        (to, from) if is_quic(bytes.get(inner..).unwrap_or_default(), to == 443 || from == 443) => Tunnel::Lost(LossReason::Quic),
        _ => Tunnel::Nothing,
    }
}

/// Whether a datagram is QUIC: a long header (RFC 9000 section 17.2) of a known version on any port, or a short one on the port
/// of HTTP/3.
fn is_quic(datagram: &[u8], is_usual_port: bool) -> bool {
    let Some(&[first, v0, v1, v2, v3, connection_id_length, ..]) = datagram.first_chunk::<6>() else { return false };
    if first & 0xc0 == 0x40 {
        return is_usual_port;
    }
    let is_known_version = match u32::from_be_bytes([v0, v1, v2, v3]) {
        // Version negotiation, versions 1 and 2 (RFC 9369), the drafts, and those of Google before them.
        0 => is_usual_port,
        1 | 0x6b33_43cf | 0xff00_0000..=0xff00_00ff => true,
        version => version >> 24 == u32::from(b'Q') && version >> 16 & 0xff == u32::from(b'0'),
    };
    first & 0xc0 == 0xc0 && is_known_version && connection_id_length <= 20
}

/// L2TP (RFC 2661): PPP behind optional lengths, numbers and padding. Version 3 carries no mark of what is inside.
fn l2tp(bytes: &[u8], at: usize) -> Tunnel {
    let Some(&[flags, version]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return Tunnel::Broken };
    match (flags & 0x80 != 0, version & 0x0f) {
        (true, _) => Tunnel::Nothing,
        (false, 2) => {
            let optional = |bit: u8, size: usize| if flags & bit != 0 { size } else { 0 };
            let mut start = at + 2 + optional(0x40, 2) + 4 + optional(0x08, 4);
            if flags & 0x02 != 0 {
                let Some(&[high, low]) = bytes.get(start..).and_then(|rest| rest.first_chunk::<2>()) else {
                    return Tunnel::Broken;
                };
                start += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
            Tunnel::Link(link::ppp(bytes, start))
        }
        (false, _) => Tunnel::Lost(LossReason::Encapsulation),
    }
}

/// AYIYA (draft-massar-v6ops-ayiya): lengths of identity (as a power of two) and signature (in words), then opcode 1,
/// forward, and an IP protocol number.
fn ayiya(bytes: &[u8], at: usize) -> Tunnel {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(&[identity, signature, operation, PROTOCOL_IPV4 | PROTOCOL_IPV6]) if operation & 0x0f == 1 => {
            let optional = (1usize << (identity >> 4)) + usize::from(signature >> 4) * 4;
            Tunnel::Carries(Next::Ip, at + 8 + optional)
        }
        _ => Tunnel::Nothing,
    }
}

/// GTP-U (3GPP TS 29.281), message type 255: a user packet.
fn gtp(bytes: &[u8], at: usize) -> Tunnel {
    let (Some(&flags), Some(255)) = (bytes.get(at), bytes.get(at + 1)) else { return Tunnel::Nothing };
    let mut start = at + 8;
    if flags & 0x07 != 0 {
        start += 4;
        let mut following = bytes.get(start - 1).copied().unwrap_or(0);
        for _ in 0..EXTENSION_HEADERS_MAX {
            if following == 0 || flags & 0x04 == 0 {
                break;
            }
            let size = usize::from(bytes.get(start).copied().unwrap_or(0)) * 4;
            if size == 0 {
                return Tunnel::Broken;
            }
            start += size;
            following = bytes.get(start - 1).copied().unwrap_or(0);
        }
    }
    Tunnel::Carries(Next::Ip, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Tunnel = Tunnel::Lost(LossReason::Encapsulation);

    #[test]
    fn gre_is_decoded_in_its_variants_and_what_is_not_decoded_is_lost_by_name() {
        let ip = Tunnel::Carries(Next::EtherType(0x0800), 4);
        let cases: &[(&[u8], Tunnel)] = &[
            (&[0, 0, 8, 0, 0x45], ip),
            (&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0, 9], Tunnel::Carries(Next::EtherType(0x6558), 8)),
            (
                &[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0x45],
                Tunnel::Carries(Next::EtherType(0x0800), 20),
            ),
            (&[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4], Tunnel::Broken),
            (&[0, 0, 0x88, 0x3e, 0, 0, 0, 0, 0x45], Tunnel::Carries(Next::Ip, 8)),
            (&[0, 0, 0x88, 0x3e, 0x45], Tunnel::Carries(Next::Ip, 4)),
            (&[0x20, 1, 0x64, 0, 0, 60, 7, 0, 9], Tunnel::Carries(Next::Ethernet, 8)),
            (&[0, 0, 0x82, 0x00, 9], LOST),
            (&[0, 0, 0x89, 0x4f, 9], LOST),
            (&[0, 2, 8, 0, 0x45], LOST),
            (&[0, 0, 8, 6, 0, 1], Tunnel::Nothing),
            (&[0, 0, 0, 0], Tunnel::Nothing),
            (&[0, 0, 8], Tunnel::Broken),
        ];
        for (bytes, expected) in cases {
            assert_eq!(gre(bytes, 0), *expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn udp_carries_tunnels_and_quic_and_else_nothing() {
        let datagram = |to: u16, payload: &[u8]| [&[0x9c, 0x40][..], &to.to_be_bytes(), &[0; 4], payload].concat();
        let quic = Tunnel::Lost(LossReason::Quic);
        let cases: &[(u16, &[u8], Tunnel)] = &[
            (4789, &[8, 0, 0, 0, 0, 0, 1, 0], Tunnel::Carries(Next::Ethernet, 16)),
            (4789, &[0; 8], LOST),
            (1701, &[0, 2, 0, 7, 0, 9, 0xff, 3, 0, 0x21], Tunnel::Link(Link::Carries(Next::Ip, 18))),
            (1701, &[0xc8, 2, 0, 12], Tunnel::Nothing),
            (1701, &[0, 3, 0, 0], LOST),
            (4500, &[1, 2, 3, 4, 5], Tunnel::Lost(LossReason::Encrypted)),
            (4500, &[0, 0, 0, 0, 5], Tunnel::Nothing),
            (51_820, &[4, 0, 0, 0, 5], Tunnel::Lost(LossReason::Encrypted)),
            (443, &[0xc3, 0, 0, 0, 1, 8, 1], quic),
            (8443, &[0xc3, 0, 0, 0, 1, 8, 1], quic),
            (443, &[0x43, 9, 9, 9, 9, 9, 9], quic),
            (8443, &[0x43, 9, 9, 9, 9, 9, 9], Tunnel::Nothing),
            (53, &[0x12, 0x34, 1, 0, 0, 1, 0, 0], Tunnel::Nothing),
        ];
        for (to, payload, expected) in cases {
            assert_eq!(udp(&datagram(*to, payload), 0), *expected, "{to} {payload:02x?}");
        }
    }
}
