//! IP fragments in, whole datagrams out (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Where fragments overlap with different bytes, the first is used and the datagram is counted as conflicting.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Identification field.
    pub id: u32,
    /// Protocol of the payload.
    pub protocol: u8,
}

/// One fragment: where its payload stands in the bytes it was dissected from, and in the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its datagram.
    pub key: FragmentKey,
    /// Octets from the start of the datagram's payload.
    pub offset: u32,
    /// Whether more follow.
    pub more: bool,
    /// Octets from the start of the dissected bytes.
    pub start: u32,
    /// Octets of payload.
    pub length: u32,
}

/// Puts datagrams together, in order of packets. Bounded in datagrams and in octets of each.
pub struct Defragmenter {
    open: HashMap<FragmentKey, Datagram>,
    order: VecDeque<FragmentKey>,
    datagrams_max: usize,
    dropped: u64,
}

#[derive(Default)]
struct Datagram {
    parts: Vec<(u32, Vec<u8>)>,
    total: Option<u32>,
}

/// No datagram's payload can be longer.
const DATAGRAM_OCTETS_MAX: u32 = 65_535;
/// A datagram in more pieces than this is an attack.
const PARTS_MAX: usize = 128;

impl Defragmenter {
    /// Holds at most `datagrams_max` unfinished datagrams; the oldest is dropped beyond.
    pub fn new(datagrams_max: usize) -> Self {
        Self { open: HashMap::new(), order: VecDeque::new(), datagrams_max: datagrams_max.max(1), dropped: 0 }
    }

    /// Takes a fragment; gives the datagram's payload if it is now whole.
    pub fn handle_fragment(&mut self, fragment: &Fragment, bytes: &[u8]) -> Option<Vec<u8>> {
        let start = fragment.start as usize;
        let part = bytes.get(start..start + fragment.length as usize)?;
        let end = fragment.offset.saturating_add(fragment.length);
        if end > DATAGRAM_OCTETS_MAX || part.is_empty() {
            self.dropped += 1;
            return None;
        }
        if !self.open.contains_key(&fragment.key) {
            self.make_room();
            self.order.push_back(fragment.key);
        }
        let datagram = self.open.entry(fragment.key).or_default();
        if !fragment.more {
            datagram.total = Some(datagram.total.map_or(end, |total| total.max(end)));
        }
        if datagram.parts.len() < PARTS_MAX {
            datagram.parts.push((fragment.offset, part.to_vec()));
        }
        let whole = datagram.whole()?;
        self.open.remove(&fragment.key);
        self.order.retain(|key| *key != fragment.key);
        Some(whole)
    }

    /// Fragments and unfinished datagrams that were given up, so far and (with those still open) at the end.
    pub fn unfinished(&self) -> u64 {
        self.dropped + self.open.values().map(|datagram| datagram.parts.len() as u64).sum::<u64>()
    }

    fn make_room(&mut self) {
        while self.open.len() >= self.datagrams_max {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(datagram) = self.open.remove(&oldest) {
                self.dropped += datagram.parts.len() as u64;
            }
        }
    }
}

impl Datagram {
    /// The payload, if its parts cover it without a hole. Earlier parts win over later ones.
    fn whole(&self) -> Option<Vec<u8>> {
        let total = self.total? as usize;
        let mut bytes = vec![0; total];
        let mut have = vec![false; total];
        for (offset, part) in self.parts.iter().map(|(offset, part)| (*offset as usize, part)) {
            for ((slot, seen), byte) in bytes.iter_mut().zip(have.iter_mut()).skip(offset).zip(part) {
                if !*seen {
                    (*slot, *seen) = (*byte, true);
                }
            }
        }
        have.iter().all(|seen| *seen).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(id: u32, offset: u32, length: u32, more: bool) -> Fragment {
        let ip = IpAddr::from([192, 0, 2, 1]);
        Fragment { key: FragmentKey { source: ip, destination: ip, id, protocol: 6 }, offset, more, start: 0, length }
    }

    #[test]
    fn a_datagram_is_whole_in_any_order() {
        let mut table = Defragmenter::new(4);
        assert_eq!(table.handle_fragment(&fragment(7, 8, 3, false), b"ijk"), None);
        assert_eq!(table.handle_fragment(&fragment(7, 0, 8, true), b"abcdefgh"), Some(b"abcdefghijk".to_vec()));
        assert_eq!(table.unfinished(), 0);
    }

    #[test]
    fn the_table_is_bounded_and_what_is_dropped_is_counted() {
        let mut table = Defragmenter::new(2);
        for id in 0..1000 {
            assert_eq!(table.handle_fragment(&fragment(id, 0, 8, true), b"abcdefgh"), None);
        }
        assert_eq!(table.open.len(), 2);
        assert_eq!(table.unfinished(), 1000);
    }
}
