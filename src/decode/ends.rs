//! The two ends of a flow as one key: packed so that looking a flow up compares and hashes a few words.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::decode::segment::Segment;
use crate::model::Endpoint;

/// Which way a segment goes between the ends of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the first end to the second.
    Forth,
    /// From the second end to the first.
    Back,
}

impl Way {
    pub(super) const BOTH: [Self; 2] = [Self::Forth, Self::Back];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Forth => Self::Back,
            Self::Back => Self::Forth,
        }
    }
}

/// The ends of a flow in order of address, the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Both are IPv4: each address, and below it the port.
    V4([u64; 2]),
    /// Any others.
    V6([Packed; 2]),
}

/// The ends of a flow as a table keeps them: in little room where both are IPv4.
pub(super) enum KeptEnds {
    V4([u32; 2], [u16; 2]),
    V6(Box<[Packed; 2]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packed {
    high: u64,
    low: u64,
    /// The port, and above it whether the address is IPv6, so that a mapped address is not taken for an IPv4 one.
    port: u32,
}

const IPV6: u32 = 1 << 16;

impl Ends {
    /// The key of two ends, and the way from the one given first to the other.
    #[inline]
    pub(super) fn of(source: &Endpoint, destination: &Endpoint) -> (Self, Way) {
        if let (IpAddr::V4(from), IpAddr::V4(to)) = (source.ip, destination.ip) {
            let pack = |ip: Ipv4Addr, port: u16| u64::from(ip.to_bits()) << 16 | u64::from(port);
            let (source, destination) = (pack(from, source.port), pack(to, destination.port));
            let way = if source <= destination { Way::Forth } else { Way::Back };
            return (Self::V4([source.min(destination), source.max(destination)]), way);
        }
        let (source, destination) = (Packed::of(source), Packed::of(destination));
        let way = if source <= destination { Way::Forth } else { Way::Back };
        (Self::V6([source.min(destination), source.max(destination)]), way)
    }

    /// The key of a segment's flow, and which way it goes.
    #[inline]
    pub(super) fn of_segment(segment: &Segment) -> (Self, Way) {
        Self::of(&segment.source, &segment.destination)
    }

    /// The ends in little room.
    pub(super) fn keep(&self) -> KeptEnds {
        match self {
            Self::V4(ends) => KeptEnds::V4(ends.map(|end| (end >> 16) as u32), ends.map(|end| end as u16)),
            Self::V6(ends) => KeptEnds::V6(Box::new(*ends)),
        }
    }
}

impl Hash for Ends {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::V4([first, second]) => {
                state.write_u64(*first);
                state.write_u64(*second);
            }
            Self::V6(ends) => {
                for Packed { high, low, port } in ends {
                    state.write_u64(*high);
                    state.write_u64(*low);
                    state.write_u32(*port);
                }
            }
        }
    }
}

impl KeptEnds {
    /// Whether this is the key.
    #[inline]
    pub(super) fn are(&self, ends: &Ends) -> bool {
        match (self, ends) {
            (Self::V4(ips, ports), Ends::V4(ends)) => {
                let [first, second] = *ends;
                *ips == [(first >> 16) as u32, (second >> 16) as u32] && *ports == [first as u16, second as u16]
            }
            (Self::V6(kept), Ends::V6(ends)) => **kept == *ends,
            (Self::V4(..), Ends::V6(_)) | (Self::V6(_), Ends::V4(_)) => false,
        }
    }

    /// The key.
    pub(super) fn key(&self) -> Ends {
        match self {
            Self::V4([first, second], [from, to]) => {
                Ends::V4([u64::from(*first) << 16 | u64::from(*from), u64::from(*second) << 16 | u64::from(*to)])
            }
            Self::V6(ends) => Ends::V6(**ends),
        }
    }

    /// The ends in order of address.
    pub(super) fn endpoints(&self) -> [Endpoint; 2] {
        match self {
            Self::V4([first, second], [from, to]) => {
                [(first, from), (second, to)].map(|(ip, port)| Endpoint::new(Ipv4Addr::from_bits(*ip).into(), *port))
            }
            Self::V6(ends) => ends.map(Packed::endpoint),
        }
    }
}

impl Packed {
    fn of(end: &Endpoint) -> Self {
        match end.ip {
            IpAddr::V4(ip) => Self { high: 0, low: u64::from(ip.to_bits()), port: u32::from(end.port) },
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                Self { high: (bits >> 64) as u64, low: bits as u64, port: IPV6 | u32::from(end.port) }
            }
        }
    }

    fn endpoint(self) -> Endpoint {
        let ip = if self.port & IPV6 == 0 {
            IpAddr::V4(Ipv4Addr::from_bits(self.low as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.high) << 64 | u128::from(self.low)))
        };
        Endpoint::new(ip, self.port as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ip: &str, port: u16) -> Endpoint {
        Endpoint::new(ip.parse().unwrap(), port)
    }

    #[test]
    fn both_directions_have_one_key_and_families_do_not_mix() {
        let (a, b) = (end("10.0.0.1", 80), end("10.0.0.2", 5000));
        assert_eq!(Ends::of(&a, &b).0, Ends::of(&b, &a).0);
        assert_ne!(Ends::of(&a, &b).1, Ends::of(&b, &a).1);
        assert_ne!(Ends::of(&a, &b).0, Ends::of(&end("::10.0.0.1", 80), &end("::10.0.0.2", 5000)).0);
        assert_ne!(Ends::of(&a, &b).0, Ends::of(&a, &end("::10.0.0.2", 5000)).0);
    }

    #[test]
    fn what_a_table_keeps_gives_key_and_ends_back() {
        let ends = ["10.0.0.1", "10.255.0.1", "10.0.0.1", "::10.0.0.1", "2001:db8::1"];
        let ends: Vec<Endpoint> = ends.into_iter().zip([65535, 80, 443, 80, 1]).map(|(ip, port)| end(ip, port)).collect();
        for (a, b) in ends.iter().flat_map(|a| ends.iter().map(move |b| (a, b))) {
            let (key, way) = Ends::of(a, b);
            let kept = key.keep();
            assert_eq!(kept.key(), key);
            assert!(kept.are(&key) && !kept.are(&Ends::of(a, &end("10.0.0.9", 7)).0));
            let [first, second] = kept.endpoints();
            assert_eq!(if way == Way::Forth { (*a, *b) } else { (*b, *a) }, (first, second));
        }
    }
}
