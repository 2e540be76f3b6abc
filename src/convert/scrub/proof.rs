//! Reads a scrubbed capture and proves that none of the secrets is in it.
//!
//! The search is not the one that scrubbed: it takes the bytes as they are, looks for each spelling by itself (`spellings`), and
//! compares backwards from the end of each.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Bound;

use crate::capture::{Batch, PacketSource as _, SavedCapture};
use crate::convert::directions::Life;
use crate::convert::scanner::{Scanner, Take};
use crate::convert::scrub::collect::Collector;
use crate::convert::scrub::spellings::{few_spellings, spellings};
use crate::convert::walk::{Seen, Walk};
use crate::convert::{ConvertError, Masked};
use crate::decode::segment::Segment;
use crate::decode::{Decoder, Limits};
use crate::model::Event;
use crate::session::Kind;

/// The secrets that were masked, for the proof. It has no `Debug`, since it remembers them.
#[derive(Default)]
pub(in crate::convert) struct Values {
    all: Vec<(Kind, Box<[u8]>)>,
}

/// What has to be shown to be absent. It has no `Debug`, since it remembers the secrets.
pub struct Proof {
    /// By the spelling read backwards.
    spelled: BTreeMap<Box<[u8]>, Kind>,
    /// One bit for each hash of the last bytes of a spelling.
    ends: Vec<u64>,
    longest: usize,
}

impl Values {
    pub(in crate::convert) fn add(&mut self, kind: Kind, value: &[u8]) {
        self.all.push((kind, value.into()));
    }
}

impl Proof {
    pub(in crate::convert) fn new(values: &Values) -> Self {
        let mut proof = Self { spelled: BTreeMap::new(), ends: vec![0; END_BITS / 64], longest: 0 };
        for (kind, value) in &values.all {
            let all = if kind.is_lasting() { spellings(value) } else { few_spellings(value) };
            for spelling in all {
                proof.add(&spelling, *kind);
            }
        }
        proof
    }

    fn add(&mut self, spelling: &[u8], kind: Kind) {
        let end = spelling.get(spelling.len().saturating_sub(SPELLING_BYTES_MAX)..).unwrap_or(spelling);
        let mut letters = end.to_vec();
        letters.sort_unstable();
        letters.dedup();
        if end.len() < END_BYTES || letters.len() < LETTERS_MIN {
            return;
        }
        let backwards: Box<[u8]> = end.iter().rev().copied().collect();
        self.longest = self.longest.max(backwards.len());
        if let Some(last) = end.last_chunk::<END_BYTES>() {
            let bit = hash(*last);
            if let Some(word) = self.ends.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
        self.spelled.insert(backwards, kind);
    }

    /// The kind of a secret that ends in `data`; `history` is what was before it.
    fn search(&self, history: &mut Vec<u8>, data: &[u8]) -> Option<Kind> {
        let fresh = history.len();
        history.extend_from_slice(data);
        let first = (fresh + 1).max(END_BYTES);
        let found = (first..=history.len()).find_map(|end| {
            let last = history.get(..end)?.last_chunk::<END_BYTES>()?;
            let bit = hash(*last);
            let may_end = self.ends.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0);
            if may_end { self.spelled_before(history.get(..end)?) } else { None }
        });
        let kept = history.len().saturating_sub(self.longest);
        history.drain(..kept);
        found
    }

    /// The spelling that ends where `text` ends.
    fn spelled_before(&self, text: &[u8]) -> Option<Kind> {
        let backwards: Vec<u8> = text.iter().rev().take(self.longest).copied().collect();
        let mut bound = backwards.as_slice();
        while bound.len() >= END_BYTES {
            let (have, kind) = self.spelled.range::<[u8], _>((Bound::Unbounded, Bound::Included(bound))).next_back()?;
            let same = have.iter().zip(bound).take_while(|(one, other)| one == other).count();
            if same == have.len() {
                return Some(*kind);
            }
            bound = bound.get(..same)?;
        }
        None
    }
}

/// Reads what was written, as plain bytes and as a capture. No secret may be in it in any of its spellings, also across the
/// bounds of packets, and none may be where names tell of one.
///
/// # Errors
/// [`ConvertError::NotFree`], or what reading gives.
pub fn prove(proof: &Proof, mut file: impl Read, mut capture: SavedCapture) -> Result<(), ConvertError> {
    let mut history = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = file.read(&mut block).map_err(ConvertError::Unopened)?;
        if count == 0 {
            break;
        }
        free(proof.search(&mut history, block.get(..count).unwrap_or_default()), "its bytes")?;
    }
    let mut streams = Streams { proof, found: None };
    let mut collector = Collector::new();
    let mut decoder = Decoder::new(Limits::default());
    let mut walk = Walk::new();
    let (mut search, mut read) = (Scanner::new(), Scanner::new());
    let mut batch = Batch::new();
    while capture.read_batch(&mut batch)? {
        for packet in batch.packets() {
            decoder.handle_packet(&packet);
            collect(&mut decoder, &mut collector);
            let (segment, place, payload);
            let seen = walk.handle_packet(&packet);
            match &seen {
                Seen::Segment(seen, at) => (segment, place, payload) = (*seen, *at, seen.payload(packet.bytes)),
                Seen::Datagram(whole, at) => {
                    (segment, place, payload) = (whole.segment, *at, whole.segment.payload(&whole.bytes));
                }
                Seen::Fragment(_) | Seen::Other | Seen::Unknown => continue,
            }
            let segment: &Segment = &segment;
            search.handle_segment(segment, place, payload, &mut streams);
            read.handle_segment(segment, place, payload, &mut collector);
        }
        free(streams.found, "a stream")?;
    }
    decoder.handle_end();
    collect(&mut decoder, &mut collector);
    search.finish(&mut streams);
    read.finish(&mut collector);
    free(streams.found, "a stream")?;
    match collector.exposed {
        Some(what) => Err(ConvertError::NotFree { kind: what.label(), place: "an exchange" }),
        None => collector.check(),
    }
}

fn collect(decoder: &mut Decoder, collector: &mut Collector) {
    while let Some(event) = decoder.poll() {
        if let Event::Exchange(exchange) = event {
            collector.handle_exchange(&exchange);
        }
    }
}

fn free(found: Option<Kind>, place: &'static str) -> Result<(), ConvertError> {
    found.map_or(Ok(()), |kind| Err(ConvertError::NotFree { kind: Masked::Secret(kind).label(), place }))
}

/// Looks for whole values; beginnings before a hole are no secret.
struct Streams<'a> {
    proof: &'a Proof,
    found: Option<Kind>,
}

impl Take for Streams<'_> {
    type State = Vec<u8>;

    fn data(&mut self, _: Life, history: &mut Vec<u8>, _: u64, data: &[u8]) {
        let found = self.proof.search(history, data);
        self.found = self.found.or(found);
    }

    fn gap(&mut self, _: Life, history: &mut Vec<u8>, _: u64) {
        history.clear();
    }
}

fn hash(last: [u8; END_BYTES]) -> usize {
    (u64::from_le_bytes(last).wrapping_mul(0xd6e8_feb8_6659_fd93) >> (64 - END_BITS.trailing_zeros())) as usize
}

const BLOCK_BYTES: usize = 1 << 20;
/// Shorter spellings would be found by chance, and so would those of few distinct letters.
const END_BYTES: usize = 8;
const LETTERS_MIN: usize = 4;
/// Of longer spellings the end is looked for.
const SPELLING_BYTES_MAX: usize = 1024;
const END_BITS: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proof(values: &[Vec<u8>]) -> Proof {
        let mut all = Values::default();
        for value in values {
            all.add(Kind::Signature, value);
        }
        Proof::new(&all)
    }

    proptest! {
        #[test]
        fn any_cutting_finds_what_is_there_and_nothing_else(
            values in prop::collection::vec(prop::collection::vec(97u8..102, 8..20), 1..5),
            text in prop::collection::vec(97u8..102, 0..200),
            planted in prop::option::of((0usize..200, 0usize..5)),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut text = text;
            if let Some((at, which)) = planted {
                let at = at.min(text.len());
                text.splice(at..at, values[which % values.len()].iter().copied());
            }
            let is_there = values.iter().any(|value| {
                let mut letters = value.clone();
                letters.sort_unstable();
                letters.dedup();
                letters.len() >= LETTERS_MIN && text.windows(value.len()).any(|window| window == value)
            });
            let proof = proof(&values);
            let (mut history, mut found, mut at) = (Vec::new(), None, 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(text.len());
                found = found.or(proof.search(&mut history, &text[at..end]));
                at = end;
                if at == text.len() {
                    break;
                }
            }
            prop_assert_eq!(found.is_some(), is_there);
        }
    }
}
