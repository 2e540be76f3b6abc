//! Packets that are no TCP: where the part begins that nobody reads.

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::model::Packet;

/// Up to where a packet is kept whose payload is not decoded: its headers. All of it where it has none, or where what it carries
/// is read here or holds nothing but addresses: ARP, DNS, DHCP, clocks.
pub(in crate::convert) fn kept_bytes(packet: &Packet<'_>) -> usize {
    let bytes = packet.bytes;
    let Some(sliced) = slice(packet) else { return 0 };
    let end_of = |payload: &[u8]| bytes.len() - payload.len().min(bytes.len());
    // What is behind the IP packet (padding of Ethernet) is cut, too: nobody reads it.
    let start_of = |part: &[u8]| (part.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize).unwrap_or(bytes.len());
    match (&sliced.transport, &sliced.net) {
        (Some(TransportSlice::Udp(udp)), _) => {
            let ports = [udp.source_port(), udp.destination_port()];
            if ports.iter().any(|port| PORTS_KEPT.contains(port)) { bytes.len() } else { start_of(udp.payload()) }
        }
        (Some(TransportSlice::Icmpv4(icmp)), _) => start_of(icmp.payload()),
        (Some(TransportSlice::Icmpv6(icmp)), _) => start_of(icmp.payload()),
        (Some(TransportSlice::Tcp(tcp)), _) => start_of(tcp.payload()),
        (Some(TransportSlice::Igmp(_)), _) | (None, Some(LaxNetSlice::Arp(_))) => bytes.len(),
        (None, Some(net)) => net.ip_payload_ref().map_or_else(|| end_of(&[]), |payload| start_of(payload.payload)),
        (None, None) => sliced.link.as_ref().map_or(0, |_| LINK_BYTES.min(bytes.len())),
    }
}

fn slice<'p>(packet: &Packet<'p>) -> Option<LaxSlicedPacket<'p>> {
    let bytes = packet.bytes;
    let by_type = |at: usize, start: usize| {
        let [high, low] = *bytes.get(at..)?.first_chunk()?;
        Some(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes([high, low])), bytes.get(start..)?))
    };
    match packet.link.0 {
        ETHERNET => LaxSlicedPacket::from_ethernet(bytes).ok(),
        RAW_12 | RAW_14 | RAW | IPV4 | IPV6 => LaxSlicedPacket::from_ip(bytes).ok(),
        NULL | LOOP => LaxSlicedPacket::from_ip(bytes.get(4..)?).ok(),
        LINUX_SLL => by_type(14, 16),
        LINUX_SLL2 => by_type(0, 20),
        _ => None,
    }
}

/// DNS, multicast DNS, LLMNR, NTP, DHCP.
const PORTS_KEPT: &[u16] = &[53, 5353, 5355, 123, 67, 68, 546, 547];
const LINK_BYTES: usize = 14;
const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW_12: u32 = 12;
const RAW_14: u32 = 14;
const RAW: u32 = 101;
const LOOP: u32 = 108;
const LINUX_SLL: u32 = 113;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const LINUX_SLL2: u32 = 276;
