//! Takes the secrets out of packets, in place and at equal length.

use std::collections::BTreeMap;

use crate::capture::{Batch, PacketSource as _};
use crate::convert::checksum::mend;
use crate::convert::directions::{Life, Place};
use crate::convert::finder::{Carry, Finder, Hit};
use crate::convert::learn::Learner;
use crate::convert::masks::{Masks, blot};
use crate::convert::scanner::{Scanner, Take};
use crate::convert::walk::{Seen, Walk};
use crate::convert::{ConvertError, Open};
use crate::decode::segment::Segment;
use crate::session::Kind;

/// What was masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masked {
    /// A secret.
    Secret(Kind),
    /// Text next to octets that the capture lacks: it may be the rest of a secret.
    TornLine,
}

impl Masked {
    /// The word used in messages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Secret(kind) => kind.label(),
            Self::TornLine => "torn-line",
        }
    }
}

/// Knows all secrets of a capture and where they stand.
pub(super) struct Scrubber {
    masks: Masks,
    pub(super) finder: Finder,
    /// How many places are masked, by what they hold.
    pub(super) counts: BTreeMap<Masked, u64>,
}

impl Scrubber {
    /// Reads the capture again, to find by value what was learnt by name.
    pub(super) fn find(open: &mut Open<'_>, learner: Learner) -> Result<Self, ConvertError> {
        let Learner { finder, masks, .. } = learner;
        let mut search = Search { finder, masks, hits: Vec::new(), failure: None };
        search.run(open)?;
        let Search { finder, mut masks, .. } = search;
        let counts = masks.settle();
        Ok(Self { masks, finder, counts })
    }

    /// Masks the secrets of a segment in the bytes it was dissected from; tells whether there were any.
    pub(super) fn scrub_segment(&self, bytes: &mut [u8], segment: &Segment, place: Place) -> bool {
        let before = bytes.to_vec();
        let start = (segment.payload_start as usize).min(bytes.len());
        let end = (start + segment.payload_length as usize).min(bytes.len());
        let mut changed = self.masks.apply(place.life, place.offset, bytes.get_mut(start..end).unwrap_or_default());
        // What another packet replaced in the stream was not read, and is looked for here.
        for hit in self.strays(bytes.get(start..end).unwrap_or_default()) {
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
        if !self.finder.is_empty() {
            self.finder.feed(&mut Carry::default(), 0, bytes, &mut hits);
        }
        hits
    }
}

/// Looks for known values in all streams.
struct Search {
    finder: Finder,
    masks: Masks,
    hits: Vec<Hit>,
    failure: Option<ConvertError>,
}

impl Search {
    fn run(&mut self, open: &mut Open<'_>) -> Result<(), ConvertError> {
        if self.finder.is_empty() {
            return Ok(());
        }
        let mut capture = open()?;
        let mut batch = Batch::new();
        let (mut walk, mut scanner) = (Walk::new(), Scanner::new());
        while capture.read_batch(&mut batch)? {
            for packet in batch.packets() {
                match walk.handle_packet(&packet) {
                    Seen::Segment(segment, place) => {
                        scanner.handle_segment(&segment, place, segment.payload(packet.bytes), self);
                    }
                    Seen::Datagram(datagram, place) => {
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
            if let Err(error) = self.masks.add(life, hit.start, hit.length, hit.what) {
                self.failure.get_or_insert(error);
            }
        }
    }
}

impl Take for Search {
    type State = Carry;

    fn data(&mut self, life: Life, carry: &mut Carry, offset: u64, data: &[u8]) {
        self.finder.feed(carry, offset, data, &mut self.hits);
        self.add_hits(life);
    }

    fn gap(&mut self, life: Life, carry: &mut Carry, before: u64) {
        Finder::finish(carry, before, &mut self.hits);
        self.add_hits(life);
    }
}
