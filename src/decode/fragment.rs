//! IP fragments in, whole datagrams out (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Where fragments overlap with different bytes, the first is used and the datagram is counted as conflicting.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::model::Stamp;

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
    /// Bytes from the start of the datagram's payload.
    pub offset: u32,
    /// Whether more follow.
    pub more: bool,
    /// Bytes from the start of the dissected bytes.
    pub start: u32,
    /// Bytes of payload.
    pub length: u32,
}

/// A fragment of a datagram, and the packet it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The ordinal of its packet.
    pub ordinal: u64,
    /// The fragment.
    pub fragment: Fragment,
}

/// A datagram that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its payload.
    pub bytes: Vec<u8>,
    /// The fragments it came in, in order of packets.
    pub parts: Vec<Part>,
}

/// A datagram that was given up, or a fragment that no datagram can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Its first fragment.
    pub stamp: Stamp,
    /// Its fragments.
    pub packets: u64,
    /// Bytes of their payload.
    pub bytes: u64,
}

/// Puts datagrams together, in order of packets. Bounded in datagrams, in bytes of each and in bytes of all.
pub struct Defragmenter {
    open: HashMap<FragmentKey, Datagram>,
    order: VecDeque<FragmentKey>,
    datagrams_max: usize,
    bytes_max: usize,
    held_bytes: usize,
    incomplete: VecDeque<Incomplete>,
}

#[derive(Default)]
struct Datagram {
    stamp: Stamp,
    packets: u64,
    bytes: u64,
    parts: Vec<(Part, Vec<u8>)>,
    total: Option<u32>,
}

/// No datagram's payload can be longer.
const DATAGRAM_BYTES_MAX: u32 = 65_535;
/// A datagram in more pieces than this is an attack.
const PARTS_MAX: usize = 128;

impl Defragmenter {
    /// Holds at most `datagrams_max` unfinished datagrams, and at most `bytes_max` bytes of all their fragments; the oldest is
    /// given up beyond.
    pub fn new(datagrams_max: usize, bytes_max: usize) -> Self {
        Self {
            open: HashMap::new(),
            order: VecDeque::new(),
            datagrams_max: datagrams_max.max(1),
            bytes_max,
            held_bytes: 0,
            incomplete: VecDeque::new(),
        }
    }

    /// Takes a fragment of the packet with this ordinal; gives the datagram if it is now whole. `bytes` are what the fragment was
    /// dissected from.
    pub fn handle_fragment(&mut self, fragment: &Fragment, bytes: &[u8], ordinal: u64, stamp: Stamp) -> Option<Whole> {
        let start = fragment.start as usize;
        let part = bytes.get(start..start.saturating_add(fragment.length as usize)).unwrap_or_default();
        let end = fragment.offset.saturating_add(fragment.length);
        if end > DATAGRAM_BYTES_MAX || part.is_empty() {
            self.incomplete.push_back(Incomplete { stamp, packets: 1, bytes: part.len() as u64 });
            return None;
        }
        self.make_room(&fragment.key, part.len());
        let datagram = self.open.entry(fragment.key).or_insert_with(|| {
            self.order.push_back(fragment.key);
            Datagram { stamp, ..Datagram::default() }
        });
        datagram.packets += 1;
        datagram.bytes += part.len() as u64;
        if !fragment.more {
            datagram.total = Some(datagram.total.map_or(end, |total| total.max(end)));
        }
        if datagram.parts.len() < PARTS_MAX {
            datagram.parts.push((Part { ordinal, fragment: *fragment }, part.to_vec()));
            self.held_bytes += part.len();
        }
        let bytes = datagram.whole()?;
        let datagram = self.remove(&fragment.key)?;
        Some(Whole { bytes, parts: datagram.parts.into_iter().map(|(part, _)| part).collect() })
    }

    /// The end of the capture: what is unfinished is given up.
    pub fn handle_end(&mut self) {
        while self.drop_oldest() {}
    }

    /// The next datagram that was given up, in the order in which they were.
    pub fn poll_incomplete(&mut self) -> Option<Incomplete> {
        self.incomplete.pop_front()
    }

    fn make_room(&mut self, key: &FragmentKey, bytes: usize) {
        let is_full = |table: &Self| {
            let is_over = table.held_bytes.saturating_add(bytes) > table.bytes_max;
            is_over || (table.open.len() >= table.datagrams_max && !table.open.contains_key(key))
        };
        while is_full(self) && self.drop_oldest() {}
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.order.front().copied() else { return false };
        if let Some(Datagram { stamp, packets, bytes, .. }) = self.remove(&oldest) {
            self.incomplete.push_back(Incomplete { stamp, packets, bytes });
        }
        true
    }

    fn remove(&mut self, key: &FragmentKey) -> Option<Datagram> {
        self.order.retain(|open| open != key);
        let datagram = self.open.remove(key)?;
        let bytes: usize = datagram.parts.iter().map(|(_, bytes)| bytes.len()).sum();
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        Some(datagram)
    }
}

impl Datagram {
    /// The payload, if its parts cover it without a hole. Earlier parts win over later ones.
    fn whole(&self) -> Option<Vec<u8>> {
        let total = self.total? as usize;
        let mut bytes = vec![0; total];
        let mut have = vec![false; total];
        for (offset, part) in self.parts.iter().map(|(part, bytes)| (part.fragment.offset as usize, bytes)) {
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
    use crate::model::Frame;

    fn fragment(id: u32, offset: u32, length: u32, more: bool) -> Fragment {
        let ip = IpAddr::from([192, 0, 2, 1]);
        Fragment { key: FragmentKey { source: ip, destination: ip, id, protocol: 6 }, offset, more, start: 0, length }
    }

    fn stamp(frame: u64) -> Stamp {
        Stamp { frame: Frame::new(0, frame), ..Stamp::default() }
    }

    fn given_up(table: &mut Defragmenter) -> Vec<Incomplete> {
        std::iter::from_fn(|| table.poll_incomplete()).collect()
    }

    #[test]
    fn a_datagram_is_whole_in_any_order() {
        let mut table = Defragmenter::new(4, 1000);
        let (last, first) = (fragment(7, 8, 3, false), fragment(7, 0, 8, true));
        assert_eq!(table.handle_fragment(&last, b"ijk", 1, stamp(1)), None);
        let parts = vec![Part { ordinal: 1, fragment: last }, Part { ordinal: 2, fragment: first }];
        let whole = Whole { bytes: b"abcdefghijk".to_vec(), parts };
        assert_eq!(table.handle_fragment(&first, b"abcdefgh", 2, stamp(2)), Some(whole));
        table.handle_end();
        assert_eq!((given_up(&mut table), table.held_bytes), (Vec::new(), 0));
    }

    #[test]
    fn the_table_is_bounded_and_what_is_given_up_is_reported() {
        let mut table = Defragmenter::new(2, 1000);
        for id in 0..1000 {
            assert_eq!(table.handle_fragment(&fragment(id, 0, 8, true), b"abcdefgh", 1, stamp(u64::from(id))), None);
        }
        assert_eq!((table.open.len(), table.held_bytes), (2, 16));
        table.handle_end();
        let incomplete = |id| Incomplete { stamp: stamp(id), packets: 1, bytes: 8 };
        assert_eq!(given_up(&mut table), (0..1000).map(incomplete).collect::<Vec<_>>());
    }

    #[test]
    fn the_bytes_of_all_datagrams_are_bounded_also_those_sent_again_and_again() {
        let mut table = Defragmenter::new(100, 50);
        for ordinal in 0..1000 {
            let id = if ordinal % 2 == 0 { 7 } else { ordinal as u32 };
            table.handle_fragment(&fragment(id, 0, 8, true), b"abcdefgh", ordinal, stamp(ordinal));
            assert!(table.held_bytes <= 50 && table.open.len() <= 6, "{}", table.held_bytes);
        }
        table.handle_end();
        let given_up = given_up(&mut table);
        assert_eq!(given_up.iter().map(|datagram| datagram.packets).sum::<u64>(), 1000);
        assert_eq!(given_up.iter().map(|datagram| datagram.bytes).sum::<u64>(), 8000);
    }

    #[test]
    fn a_fragment_that_no_datagram_can_have_is_reported() {
        let mut table = Defragmenter::new(4, 1000);
        assert_eq!(table.handle_fragment(&fragment(7, 65_528, 8, true), b"abcdefgh", 1, stamp(1)), None);
        assert_eq!(table.handle_fragment(&fragment(7, 0, 0, true), b"", 2, stamp(2)), None);
        let incomplete = |frame, bytes| Incomplete { stamp: stamp(frame), packets: 1, bytes };
        assert_eq!(given_up(&mut table), [incomplete(1, 8), incomplete(2, 0)]);
    }
}
