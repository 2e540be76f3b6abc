//! Link-layer headers in, the type and place of what they carry out.
//!
//! A link type is one arm here; numbers are the `LINKTYPE_` values of the capture formats.

use crate::decode::wireless;
use crate::model::LinkType;

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A protocol named by its EtherType.
    EtherType(u16),
    /// An Ethernet frame.
    Ethernet,
    /// An IP packet whose version stands in its first four bits.
    Ip,
    /// An IP payload of this protocol number (only inside `ip.rs`).
    Nothing,
}

/// What a link-layer header says: what comes next and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It carries this from this offset on.
    Carries(Next, usize),
    /// The link type is not decoded.
    Unknown,
    /// The header is cut or nonsense.
    Malformed,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
const ETHERTYPE_BRIDGING: u16 = 0x6558;
/// Lengths below this are IEEE 802.3 lengths and not EtherTypes.
const ETHERTYPE_MIN: u16 = 0x0600;

/// Reads the link-layer header of a packet.
pub(super) fn read(link: LinkType, bytes: &[u8]) -> Link {
    match link.0 {
        0 | 108 => loopback(bytes),
        1 => ethernet(bytes, 0),
        7 => arcnet(bytes, 2, false),
        129 => arcnet(bytes, 4, true),
        8 => slip(bytes),
        9 | 50 => ppp(bytes, 0),
        51 => pppoe(bytes, 0),
        12 | 14 | 101 | 228 | 229 => Link::Carries(Next::Ip, 0),
        104 => ether_type_at(bytes, 2, 4),
        105 => wireless::frame(bytes, 0, false),
        127 => wireless::radiotap(bytes),
        119 | 163 => wireless::with_length(bytes, 4),
        192 => wireless::per_packet_information(bytes),
        107 => frame_relay(bytes),
        100 | 106 | 123 => llc(bytes, 0),
        113 => cooked(bytes),
        276 => ether_type_at(bytes, 0, 20),
        137 | 178 | 182 | 230 => Link::Unknown,
        239 => nflog(bytes),
        253 => netlink(bytes),
        109 => Link::Carries(Next::Ip, 12),
        _ => Link::Unknown,
    }
}

/// Reads what an EtherType announces, where that is another link-layer header; `None` where it is IP or not decoded.
pub(super) fn unwrap(ether_type: u16, bytes: &[u8], at: usize) -> Option<Link> {
    match ether_type {
        // VLAN tags: IEEE 802.1Q, 802.1ad, and the values used before it.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => Some(ether_type_or_length(bytes, at + 2, at + 4)),
        ETHERTYPE_PPPOE_SESSION => Some(pppoe(bytes, at)),
        0x8847 | 0x8848 => Some(mpls(bytes, at)),
        ETHERTYPE_BRIDGING => Some(Link::Carries(Next::Ethernet, at)),
        // Cisco Metadata: version, length in units of 4 octets, then options and the EtherType.
        0x8909 => {
            let length = usize::from(*bytes.get(at + 1)?) * 4;
            Some(ether_type_at(bytes, at + length.max(2), at + length.max(2) + 2))
        }
        // Provider backbone bridging (802.1ah): 4 octets of tag, then a whole frame.
        0x88e7 => Some(Link::Carries(Next::Ethernet, at + 4)),
        // VN-Tag: 4 octets, then the EtherType.
        0x8926 => Some(ether_type_at(bytes, at + 4, at + 6)),
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => None,
        _ => None,
    }
}

/// An Ethernet II or 802.3 frame that starts at `at`.
pub(super) fn ethernet(bytes: &[u8], at: usize) -> Link {
    ether_type_or_length(bytes, at + 12, at + 14)
}

/// A PPP protocol number, as GRE and L2TP carry it too.
pub(super) fn ppp(bytes: &[u8], at: usize) -> Link {
    let at = if bytes.get(at..at + 2) == Some(&[0xff, 0x03]) { at + 2 } else { at };
    match bytes.get(at).copied() {
        // Protocol field compression: an odd first octet is the whole number (RFC 1661 section 6.5).
        Some(0x21 | 0x57) => Link::Carries(Next::Ip, at + 1),
        Some(0x00) => match bytes.get(at + 1) {
            Some(0x21 | 0x57) => Link::Carries(Next::Ip, at + 2),
            Some(_) => Link::Carries(Next::Nothing, at + 2),
            None => Link::Malformed,
        },
        Some(_) => Link::Carries(Next::Nothing, at + 2),
        None => Link::Malformed,
    }
}

fn pppoe(bytes: &[u8], at: usize) -> Link {
    match bytes.get(at) {
        Some(0x11) => ppp(bytes, at + 6),
        _ => Link::Malformed,
    }
}

fn mpls(bytes: &[u8], mut at: usize) -> Link {
    while let Some(&[_, _, low, _]) = bytes.get(at..at + 4).and_then(|label| label.first_chunk::<4>()) {
        at += 4;
        if low & 1 == 1 {
            return match bytes.get(at).map(|first| first >> 4) {
                Some(4 | 6) => Link::Carries(Next::Ip, at),
                // A pseudowire control word (RFC 4385) starts with a zero nibble and carries Ethernet here.
                Some(0) => Link::Carries(Next::Ethernet, at + 4),
                Some(_) => Link::Carries(Next::Ethernet, at),
                None => Link::Malformed,
            };
        }
    }
    Link::Malformed
}

fn loopback(bytes: &[u8]) -> Link {
    let Some(family) = bytes.first_chunk::<4>() else { return Link::Malformed };
    // The family is in the byte order of the capturing host, so both orders occur; values differ between systems.
    let number = u32::from_le_bytes(*family).min(u32::from_be_bytes(*family));
    match number {
        2 | 10 | 24 | 28 | 30 => Link::Carries(Next::Ip, 4),
        _ => Link::Carries(Next::Nothing, 4),
    }
}

fn slip(bytes: &[u8]) -> Link {
    match bytes.first().map(|first| first >> 4) {
        Some(4 | 6) => Link::Carries(Next::Ip, 0),
        _ => Link::Carries(Next::Ip, 16),
    }
}

/// Linux cooked capture v1: the protocol at 14, payload at 16.
fn cooked(bytes: &[u8]) -> Link {
    ether_type_at(bytes, 14, 16)
}

/// An IEEE 802.2 LLC header, with SNAP or as ATM's and token ring's encapsulation.
pub(super) fn llc(bytes: &[u8], at: usize) -> Link {
    match bytes.get(at..at + 3) {
        Some([0xaa, 0xaa, 0x03]) => ether_type_at(bytes, at + 6, at + 8),
        Some([0x06, 0x06, 0x03]) => Link::Carries(Next::Ip, at + 3),
        Some(_) => match bytes.get(at).map(|first| first >> 4) {
            Some(4) => Link::Carries(Next::Ip, at),
            _ => Link::Carries(Next::Nothing, at),
        },
        None => Link::Malformed,
    }
}

/// ARCnet (RFC 1201), with its packet type at `at`: BSD captures hold exception frames and fragments, Linux captures neither.
fn arcnet(bytes: &[u8], at: usize, whole: bool) -> Link {
    let (Some(&kind), Some(&flag)) = (bytes.get(at), bytes.get(at + 1)) else { return Link::Malformed };
    let (flag, split_at) = match (flag, whole) {
        // An exception frame: four octets of padding, then the flag again.
        (0xff, false) => (bytes.get(at + 5).copied().unwrap_or(0), at + 5),
        _ => (flag, at + 1),
    };
    match kind {
        // IPv4 and IPv6 behind the split flag and a sequence number of two octets.
        0xd4 | 0xc4 if whole || flag == 0 => Link::Carries(Next::Ip, split_at + 3),
        0xd4 | 0xc4 => Link::Unknown,
        // RFC 1051: IPv4 at once.
        0xf0 => Link::Carries(Next::Ip, at + 1),
        _ => Link::Carries(Next::Nothing, at + 1),
    }
}

/// RFC 2427: two octets of address, control 0x03, then NLPID or SNAP.
fn frame_relay(bytes: &[u8]) -> Link {
    match (bytes.get(2), bytes.get(3)) {
        (Some(0x03), Some(0xcc | 0x8e)) => Link::Carries(Next::Ip, 4),
        (Some(0x03), Some(0x00)) if bytes.get(4) == Some(&0x80) => ether_type_at(bytes, 8, 10),
        (Some(_), Some(_)) => ether_type_at(bytes, 2, 4),
        _ => Link::Malformed,
    }
}

/// NFLOG: a header of 4 octets, then attributes; the packet is attribute 9.
fn nflog(bytes: &[u8]) -> Link {
    let mut at = 4;
    while let Some(&[low, high, kind, _]) = bytes.get(at..at + 4).and_then(|head| head.first_chunk::<4>()) {
        let length = usize::from(u16::from_le_bytes([low, high]));
        if kind == 9 {
            return Link::Carries(Next::Ip, at + 4);
        }
        if length < 4 {
            return Link::Malformed;
        }
        at += length.next_multiple_of(4);
    }
    Link::Malformed
}

fn netlink(bytes: &[u8]) -> Link {
    ether_type_at(bytes, 14, 16)
}

fn ether_type_at(bytes: &[u8], at: usize, next: usize) -> Link {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Link::Carries(Next::EtherType(u16::from_be_bytes([high, low])), next),
        _ => Link::Malformed,
    }
}

fn ether_type_or_length(bytes: &[u8], at: usize, next: usize) -> Link {
    match ether_type_at(bytes, at, next) {
        Link::Carries(Next::EtherType(length), next) if length < ETHERTYPE_MIN => llc(bytes, next),
        link => link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_stripped_by_link_type() {
        let ip = Next::EtherType(ETHERTYPE_IPV4);
        let cases: &[(u32, Vec<u8>, Link)] = &[
            (1, [vec![0; 12], vec![0x08, 0]].concat(), Link::Carries(ip, 14)),
            (0, vec![2, 0, 0, 0], Link::Carries(Next::Ip, 4)),
            (108, vec![0, 0, 0, 30], Link::Carries(Next::Ip, 4)),
            (101, vec![0x45], Link::Carries(Next::Ip, 0)),
            (129, vec![1, 2, 6, 0x53, 0xd4, 0, 1, 2, 0x45], Link::Carries(Next::Ip, 8)),
            (129, vec![1, 2, 6, 0x53, 0xf0, 0x45], Link::Carries(Next::Ip, 5)),
            (129, vec![1, 0, 6, 0x53, 0xd5, 0, 1, 2], Link::Carries(Next::Nothing, 5)),
            (129, vec![1, 0, 6, 0x53], Link::Malformed),
            (7, vec![1, 2, 0xd4, 0, 1, 2, 0x45], Link::Carries(Next::Ip, 6)),
            (7, vec![1, 2, 0xd4, 0xff, 0xff, 0xff, 0xff, 0, 1, 2, 0x45], Link::Carries(Next::Ip, 10)),
            (7, vec![1, 2, 0xd4, 3, 1, 2, 0x45], Link::Unknown),
            (
                127,
                [vec![0, 0, 8, 0, 0, 0, 0, 0, 8, 1], vec![0; 22], vec![0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat(),
                Link::Carries(ip, 40),
            ),
            (105, [vec![8, 1], vec![0; 22], vec![0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat(), Link::Carries(ip, 32)),
            (113, [vec![0; 14], vec![0x08, 0]].concat(), Link::Carries(ip, 16)),
            (276, [vec![0x08, 0], vec![0; 18]].concat(), Link::Carries(ip, 20)),
            (9, vec![0xff, 0x03, 0, 0x21], Link::Carries(Next::Ip, 4)),
            (50, vec![0x21], Link::Carries(Next::Ip, 1)),
            (1, [vec![0; 12], vec![0, 60, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat(), Link::Carries(ip, 22)),
            (147, vec![0; 60], Link::Unknown),
            (1, vec![0; 13], Link::Malformed),
        ];
        for (link, bytes, expected) in cases {
            assert_eq!(read(LinkType(*link), bytes), *expected, "link type {link}");
        }
    }

    #[test]
    fn tags_and_labels_are_unwrapped() {
        let vlan = [0x00, 0x05, 0x08, 0x00];
        assert_eq!(unwrap(0x8100, &vlan, 0), Some(Link::Carries(Next::EtherType(0x0800), 4)));
        let labels = [0, 1, 0, 64, 0, 2, 1, 64, 0x45];
        assert_eq!(unwrap(0x8847, &labels, 0), Some(Link::Carries(Next::Ip, 8)));
        let session = [0x11, 0, 0, 1, 0, 2, 0, 0x21, 0x45];
        assert_eq!(unwrap(0x8864, &session, 0), Some(Link::Carries(Next::Ip, 8)));
        assert_eq!(unwrap(0x0806, &[0; 28], 0), None);
    }
}
