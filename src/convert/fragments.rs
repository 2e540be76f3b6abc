//! What to do with the fragments of datagrams whose segments hold secrets: known only when all of a datagram was seen, so
//! it takes a reading of its own.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::capture::{Batch, PacketSource as _};
use crate::convert::choice::Flows;
use crate::convert::copy::Cuts;
use crate::convert::directions::Place;
use crate::convert::scrub::Scrubber;
use crate::convert::walk::{Seen, Walk};
use crate::convert::{ConvertError, Open};
use crate::decode::dissector::Datagram;
use crate::decode::fragment::Fragment;

/// What becomes of fragments, by the ordinal of their packets.
#[derive(Default)]
pub(super) struct Fragments {
    plans: HashMap<u64, Plan, RandomState>,
}

/// What becomes of one fragment.
pub(super) enum Plan {
    /// It is written as it is.
    Keep,
    /// Its payload is replaced.
    Replace(Box<[u8]>),
    /// Its payload is cut off.
    Cut,
    /// It belongs to a flow that is not kept.
    Drop,
}

impl Fragments {
    /// Reads the capture and makes the plans.
    pub(super) fn plan(
        open: &mut Open<'_>,
        flows: &Flows,
        scrubber: Option<&Scrubber>,
        cuts: Cuts,
    ) -> Result<Self, ConvertError> {
        let mut capture = open()?;
        let mut batch = Batch::new();
        let mut walk = Walk::new();
        let mut fragments = Self::default();
        while capture.read_batch(&mut batch)? {
            for packet in batch.packets() {
                if let Seen::Datagram(datagram, place) = walk.handle_packet(&packet) {
                    let frame = packet.frame.number();
                    fragments.add((&datagram, place), (packet.ordinal, frame), flows, scrubber, cuts);
                }
            }
        }
        Ok(fragments)
    }

    /// What becomes of the fragment of a packet; `None` where it is of no datagram that became whole.
    pub(super) fn plan_of(&self, ordinal: u64) -> Option<&Plan> {
        self.plans.get(&ordinal)
    }

    fn add(
        &mut self,
        (datagram, place): (&Datagram, Place),
        at: (u64, u64),
        flows: &Flows,
        scrubber: Option<&Scrubber>,
        cuts: Cuts,
    ) {
        let (ordinal, frame) = at;
        let segment = &datagram.segment;
        let is_kept = flows.keeps(segment, ordinal, frame);
        let is_cut = flows.cuts(segment, ordinal, cuts);
        let mut bytes = datagram.bytes.clone();
        if let Some(scrubber) = scrubber {
            scrubber.scrub_segment(&mut bytes, segment, place);
        }
        for part in &datagram.parts {
            let plan = match (is_kept, is_cut) {
                (false, _) => Plan::Drop,
                (true, true) => Plan::Cut,
                (true, false) => replacement(&part.fragment, &datagram.bytes, &bytes),
            };
            self.plans.insert(part.ordinal, plan);
        }
    }
}

fn replacement(fragment: &Fragment, before: &[u8], now: &[u8]) -> Plan {
    let start = fragment.offset as usize;
    let range = start..start + fragment.length as usize;
    match (before.get(range.clone()), now.get(range)) {
        (Some(before), Some(now)) if before != now => Plan::Replace(now.into()),
        (Some(_), Some(_)) => Plan::Keep,
        _ => Plan::Cut,
    }
}
