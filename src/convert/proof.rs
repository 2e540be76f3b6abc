//! Reads a scrubbed capture and proves that none of the secrets is in it.

use std::io::Read;

use crate::capture::{Batch, PacketSource as _, SavedCapture};
use crate::convert::ConvertError;
use crate::convert::directions::Life;
use crate::convert::finder::{Carry, Finder, Hit};
use crate::convert::learn::Learner;
use crate::convert::scanner::{Scanner, Take};
use crate::convert::walk::{Seen, Walk};
use crate::decode::segment::Segment;
use crate::decode::{Decoder, Limits};
use crate::model::Event;

/// The secrets that were masked. It has no `Debug`, since it remembers them.
pub struct Proof {
    finder: Finder,
}

impl Proof {
    pub(super) const fn new(finder: Finder) -> Self {
        Self { finder }
    }
}

/// Reads what was written, as plain octets and as a capture. No secret may be in it in any of its forms, also across the
/// bounds of packets, and none may stand where names tell of one.
///
/// # Errors
/// [`ConvertError::NotFree`], or what reading gives.
pub fn prove(proof: &Proof, mut file: impl Read, mut capture: SavedCapture) -> Result<(), ConvertError> {
    let mut carry = Carry::default();
    let mut hits = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut offset = 0;
    loop {
        let count = file.read(&mut block).map_err(ConvertError::Unopened)?;
        if count == 0 {
            break;
        }
        proof.finder.feed(&mut carry, offset, block.get(..count).unwrap_or_default(), &mut hits);
        free(&hits, "its octets")?;
        offset += count as u64;
    }
    let mut streams = Streams { finder: &proof.finder, hits: Vec::new() };
    let mut learner = Learner::new();
    let mut decoder = Decoder::new(Limits::default());
    let mut walk = Walk::new();
    let (mut search, mut read) = (Scanner::new(), Scanner::new());
    let mut batch = Batch::new();
    while capture.read_batch(&mut batch)? {
        for packet in batch.packets() {
            decoder.handle_packet(&packet);
            learn(&mut decoder, &mut learner);
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
            read.handle_segment(segment, place, payload, &mut learner);
        }
        free(&streams.hits, "a stream")?;
    }
    decoder.handle_end();
    learn(&mut decoder, &mut learner);
    search.finish(&mut streams);
    read.finish(&mut learner);
    free(&streams.hits, "a stream")?;
    match learner.exposed {
        Some(what) => Err(ConvertError::NotFree { kind: what.label(), place: "an exchange" }),
        None => learner.check(),
    }
}

fn learn(decoder: &mut Decoder, learner: &mut Learner) {
    while let Some(event) = decoder.poll() {
        if let Event::Exchange(exchange) = event {
            learner.learn(&exchange);
        }
    }
}

fn free(hits: &[Hit], place: &'static str) -> Result<(), ConvertError> {
    hits.first().map_or(Ok(()), |hit| Err(ConvertError::NotFree { kind: hit.what.label(), place }))
}

/// Looks for whole values; beginnings before a hole are no secret.
struct Streams<'a> {
    finder: &'a Finder,
    hits: Vec<Hit>,
}

impl Take for Streams<'_> {
    type State = Carry;

    fn data(&mut self, _: Life, carry: &mut Carry, offset: u64, data: &[u8]) {
        self.finder.feed(carry, offset, data, &mut self.hits);
    }

    fn gap(&mut self, _: Life, carry: &mut Carry, _: u64) {
        *carry = Carry::default();
    }
}

const BLOCK_BYTES: usize = 1 << 20;
