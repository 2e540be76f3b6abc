//! Takes the secrets out of packets, in place and at equal length.

mod collect;
mod lines;
mod other;
mod proof;
mod ranges;
mod spellings;
mod undecoded;

pub(super) use collect::Collector;
pub(super) use lines::Lines;
pub(super) use other::kept_bytes;
pub use proof::{Proof, prove};
pub(super) use undecoded::Undecoded;

use std::collections::BTreeMap;

use crate::capture::{Batch, PacketSource as _};
use crate::convert::checksum::mend;
use crate::convert::directions::{Life, Place};
use crate::convert::scanner::{Scanner, Take};
use crate::convert::scrub::collect::kind_of;
use crate::convert::scrub::proof::Values;
use crate::convert::scrub::ranges::{Ranges, blot};
use crate::convert::walk::{Seen, Walk};
use crate::convert::{ConvertError, Open};
use crate::decode::segment::Segment;
use crate::session::Kind;
use crate::session::secrets::{Carry, Hit, Matcher};

/// What was masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masked {
    /// A secret.
    Secret(Kind),
    /// Text next to bytes that the capture lacks: it may be the rest of a secret.
    TornLine,
    /// Plaintext that was not decoded: nobody knows what is in it.
    Undecoded,
}

impl Masked {
    /// The word used in messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Secret(kind) => kind.label(),
            Self::TornLine => "torn-line",
            Self::Undecoded => "undecoded",
        }
    }
}

/// Knows all secrets of a capture and where they are.
pub(super) struct Scrubber {
    ranges: Ranges,
    matcher: Matcher,
    values: Values,
    /// How many places are masked, by what they hold.
    pub(super) counts: BTreeMap<Masked, u64>,
    /// Bytes of undecoded plaintext in streams that are decoded otherwise.
    pub(super) undecoded_bytes: u64,
}

impl Scrubber {
    /// Reads the capture again, to find by value what was learnt by name, and where undecoded plaintext is.
    pub(super) fn find(open: &mut Open<'_>, collector: Collector, undecoded: Undecoded) -> Result<Self, ConvertError> {
        let Collector { matcher, ranges, values, .. } = collector;
        let mut search = Search { matcher, ranges, undecoded, hits: Vec::new(), failure: None };
        search.run(open)?;
        let Search { matcher, mut ranges, undecoded, .. } = search;
        let counts = ranges.settle();
        Ok(Self { ranges, matcher, values, counts, undecoded_bytes: undecoded.masked_bytes })
    }

    /// What has to be shown of what was written.
    pub(super) fn proof(&self) -> Proof {
        Proof::new(&self.values)
    }

    /// Masks the secrets of a segment in the bytes it was dissected from; returns whether there were any.
    pub(super) fn scrub_segment(&self, bytes: &mut [u8], segment: &Segment, place: Place) -> bool {
        let start = (segment.payload_start as usize).min(bytes.len());
        let end = (start + segment.payload_length as usize).min(bytes.len());
        let strays = self.strays(bytes.get(start..end).unwrap_or_default());
        if strays.is_empty() && !self.ranges.touch(place.life, place.offset, end - start) {
            return false;
        }
        let before = bytes.to_vec();
        let mut changed = self.ranges.apply(place.life, place.offset, bytes.get_mut(start..end).unwrap_or_default());
        // What another packet replaced in the stream was not read, and is searched for here.
        for hit in strays {
            let from = start + hit.start as usize;
            changed |= blot(bytes.get_mut(from..(from + hit.length).min(end)).unwrap_or_default());
        }
        if changed {
            mend(bytes, &before, segment);
        }
        changed
    }

    /// Where a secret begins in bytes that are no stream.
    pub(super) fn first_stray(&self, bytes: &[u8]) -> Option<usize> {
        self.strays(bytes).iter().map(|hit| hit.start as usize).min()
    }

    fn strays(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        if !self.matcher.is_empty() {
            self.matcher.feed(&mut Carry::default(), 0, bytes, &mut hits);
        }
        hits
    }
}

/// Searches for known values in all streams.
struct Search {
    matcher: Matcher,
    ranges: Ranges,
    undecoded: Undecoded,
    hits: Vec<Hit>,
    failure: Option<ConvertError>,
}

impl Search {
    fn run(&mut self, open: &mut Open<'_>) -> Result<(), ConvertError> {
        if self.matcher.is_empty() && self.undecoded.is_empty() {
            return Ok(());
        }
        let mut capture = open()?;
        let mut batch = Batch::new();
        let (mut walk, mut scanner) = (Walk::new(), Scanner::new());
        while capture.read_batch(&mut batch)? {
            for packet in batch.packets() {
                let frame = packet.frame;
                match walk.handle_packet(&packet) {
                    Seen::Segment(segment, place) => {
                        self.undecoded.mask(frame, &segment, place, &mut self.ranges)?;
                        scanner.handle_segment(&segment, place, segment.payload(packet.bytes), self);
                    }
                    Seen::Datagram(datagram, place) => {
                        self.undecoded.mask(frame, &datagram.segment, place, &mut self.ranges)?;
                        let payload = datagram.segment.payload(&datagram.bytes);
                        scanner.handle_segment(&datagram.segment, place, payload, self);
                    }
                    Seen::Fragment(_) | Seen::Other | Seen::Unknown => {}
                }
            }
            self.failure.take().map_or(Ok(()), Err)?;
        }
        scanner.finish(self);
        self.failure.take().map_or(Ok(()), Err)
    }

    fn add_hits(&mut self, life: Life) {
        for hit in self.hits.drain(..) {
            let what = Masked::Secret(kind_of(hit.mark));
            if let Err(error) = self.ranges.add(life, hit.start, hit.length, what) {
                self.failure.get_or_insert(error);
            }
        }
    }
}

impl Take for Search {
    type State = Carry;

    fn data(&mut self, life: Life, carry: &mut Carry, offset: u64, data: &[u8]) {
        self.matcher.feed(carry, offset, data, &mut self.hits);
        self.add_hits(life);
    }

    fn gap(&mut self, life: Life, carry: &mut Carry, _: u64) {
        self.matcher.finish(carry, &mut self.hits);
        self.add_hits(life);
    }
}
