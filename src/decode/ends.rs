//! The two ends of a flow as one key: packed so that looking a flow up compares and hashes a few words.

use std::net::IpAddr;

use crate::decode::segment::Segment;
use crate::model::Endpoint;

/// The ends of a flow in a fixed order, the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    first: Packed,
    second: Packed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Packed {
    high: u64,
    low: u64,
    /// The port, and above it whether the address is IPv6, so that a mapped address is not taken for an IPv4 one.
    port: u32,
}

impl Ends {
    /// The key of two ends, and whether they were given in its order.
    pub(super) fn of(source: &Endpoint, destination: &Endpoint) -> (Self, bool) {
        let (source, destination) = (Packed::of(source), Packed::of(destination));
        if source <= destination {
            (Self { first: source, second: destination }, true)
        } else {
            (Self { first: destination, second: source }, false)
        }
    }

    /// The key of a segment's flow, and which direction of it the segment goes: 0 from the first end to the second.
    pub(super) fn of_segment(segment: &Segment) -> (Self, usize) {
        let (ends, in_order) = Self::of(&segment.source, &segment.destination);
        (ends, usize::from(!in_order))
    }
}

impl Packed {
    fn of(end: &Endpoint) -> Self {
        match end.ip {
            IpAddr::V4(ip) => Self { high: 0, low: u64::from(ip.to_bits()), port: u32::from(end.port) },
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                Self { high: (bits >> 64) as u64, low: bits as u64, port: 1 << 16 | u32::from(end.port) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key_and_families_do_not_mix() {
        let end = |ip: &str, port| Endpoint::new(ip.parse().unwrap(), port);
        let (a, b) = (end("10.0.0.1", 80), end("10.0.0.2", 5000));
        assert_eq!(Ends::of(&a, &b).0, Ends::of(&b, &a).0);
        assert_ne!(Ends::of(&a, &b).1, Ends::of(&b, &a).1);
        assert_ne!(Ends::of(&a, &b).0, Ends::of(&end("::10.0.0.1", 80), &end("::10.0.0.2", 5000)).0);
    }
}
