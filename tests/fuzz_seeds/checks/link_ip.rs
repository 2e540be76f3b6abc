//! Packets of any link type: every range that comes out lies within the packet, what the first octets tell is what the whole
//! packet tells, and fragments come together as a simple reader puts them together.

use std::collections::HashMap;

use hopwire::decode::fragment::{Defragmenter, Fragment, FragmentKey};
use hopwire::decode::segment::{Dissected, Segment, dissect, dissect_datagram};
use hopwire::model::{Frame, LinkType, Packet, Stamp, Tail, Timestamp};

use super::bytes::Bytes;

/// The input is a number of packets: link type (an index), how much longer the packet was on the wire, length, octets.
pub fn link_ip(input: &[u8]) {
    let mut input = Bytes(input);
    let mut table = Defragmenter::new(DATAGRAMS_MAX, usize::MAX);
    let mut model = Model::default();
    while !input.is_empty() {
        let link = LINKS[usize::from(input.byte()) % LINKS.len()];
        let cut = u32::from(input.byte());
        let length = usize::from(input.half());
        let bytes = input.take(length);
        let packet = packet(link, bytes, bytes.len(), cut);
        let whole = dissect(&packet, NESTING_MAX);
        check_prefixes(&packet, &whole);
        match &whole {
            Dissected::Segment(segment) => check_segment(segment, bytes),
            Dissected::Fragment(fragment) => {
                let end = fragment.start as usize + fragment.length as usize;
                assert!(end <= bytes.len(), "a fragment up to {end} in {} octets", bytes.len());
                let datagram = table.handle_fragment(fragment, bytes, 1, Stamp::default()).map(|whole| whole.bytes);
                assert!(datagram == model.handle_fragment(fragment, bytes), "the datagram differs from that of a simple reader");
                if let Some(datagram) = datagram {
                    match dissect_datagram(&fragment.key, &datagram, NESTING_MAX) {
                        Dissected::Segment(segment) => check_segment(&segment, &datagram),
                        Dissected::Fragment(inner) => assert!((inner.start + inner.length) as usize <= datagram.len()),
                        Dissected::NotTcp | Dissected::Lost(_) => {}
                    }
                }
            }
            Dissected::NotTcp | Dissected::Lost(_) => {}
        }
    }
}

fn packet(link: u32, bytes: &[u8], captured: usize, cut: u32) -> Packet<'_> {
    let captured = captured as u32;
    let frame = Frame::new(0, 1);
    let (at, link) = (Timestamp::EPOCH, LinkType(link));
    Packet { ordinal: 1, frame, at, link, bytes, captured, original: captured + cut, tail: Tail::NONE }
}

fn check_segment(segment: &Segment, bytes: &[u8]) {
    let payload = segment.payload(bytes);
    assert!(segment.payload_start as usize <= bytes.len(), "a payload from {} in {} octets", segment.payload_start, bytes.len());
    assert!(payload.len() <= segment.payload_length as usize);
}

/// The reader may leave the end of a packet in the file: the segment must not depend on that.
fn check_prefixes(packet: &Packet<'_>, whole: &Dissected) {
    for held in [packet.bytes.len() / 2, packet.bytes.len() * 3 / 4, packet.bytes.len().saturating_sub(1)] {
        let part = Packet { bytes: &packet.bytes[..held], ..*packet };
        let seen = dissect(&part, NESTING_MAX);
        if matches!(seen, Dissected::Segment(_) | Dissected::Fragment(_)) {
            assert_eq!(seen, *whole, "with {held} of {} octets at hand", packet.bytes.len());
        }
    }
}

/// Where a fragment begins, what it holds, and where the datagram ends if it is the last.
type Part = (usize, Vec<u8>, Option<usize>);

/// Fragments in order of arrival; the first octet of those at one place counts.
#[derive(Default)]
struct Model {
    open: HashMap<FragmentKey, Vec<Part>>,
    order: Vec<FragmentKey>,
}

impl Model {
    fn handle_fragment(&mut self, fragment: &Fragment, bytes: &[u8]) -> Option<Vec<u8>> {
        let start = fragment.start as usize;
        let part = bytes[start..start + fragment.length as usize].to_vec();
        let offset = fragment.offset as usize;
        if part.is_empty() || offset + part.len() > 65_535 {
            return None;
        }
        if !self.open.contains_key(&fragment.key) {
            if self.open.len() == DATAGRAMS_MAX {
                let oldest = self.order.remove(0);
                self.open.remove(&oldest);
            }
            self.order.push(fragment.key);
        }
        let parts = self.open.entry(fragment.key).or_default();
        // Of more parts than anybody sends, only the end that they announce counts.
        let part_end = if fragment.more { None } else { Some(offset + part.len()) };
        let kept = parts.len() < PARTS_MAX;
        parts.push((offset, if kept { part } else { Vec::new() }, part_end));
        let total = parts.iter().filter_map(|(.., end)| *end).max()?;
        let octet = |at: usize| parts.iter().find_map(|(offset, part, _)| part.get(at.checked_sub(*offset)?).copied());
        let datagram: Option<Vec<u8>> = (0..total).map(octet).collect();
        if datagram.is_some() {
            self.open.remove(&fragment.key);
            self.order.retain(|key| *key != fragment.key);
        }
        datagram
    }
}

/// All that are decoded, and two that are not.
const LINKS: &[u32] =
    &[1, 0, 108, 8, 9, 50, 51, 12, 14, 101, 228, 229, 104, 107, 100, 106, 123, 113, 276, 239, 253, 109, 137, 147];
const NESTING_MAX: usize = 8;
const DATAGRAMS_MAX: usize = 4;
const PARTS_MAX: usize = 128;
