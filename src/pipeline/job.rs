//! One batch of packets on its way: dissected, dealt out to shards, and the events each shard made of it.

use std::sync::Mutex;

use crate::analysis::Counts;
use crate::capture::Batch;
use crate::decode::fragment::{Defragmenter, Fragment};
use crate::decode::segment::{Dissected, Segment, dissect_any, dissect_datagram, plain_segment};
use crate::decode::{Flows, Incoming};
use crate::model::{Endpoint, Event, ReadTail, Stamp, Timestamp};
use crate::pipeline::lock;

/// Into how many shards the flows are dealt. Fixed, so that limits act alike for any number of threads.
pub(super) const SHARDS: usize = 4;

/// A batch and what was made of it.
pub(super) struct Job {
    pub(super) batch: Batch,
    /// Payloads of datagrams that came in fragments.
    datagrams: Vec<Vec<u8>>,
    fragments: Vec<(u32, Fragment)>,
    pub(super) shares: [Mutex<Share>; SHARDS],
    pub(super) counts: Counts,
    latest: Timestamp,
    pub(super) last_ordinal: u64,
}

/// One shard's part of a batch.
#[derive(Default)]
pub(super) struct Share {
    segments: Vec<Placed>,
    pub(super) events: Vec<(u64, Event)>,
}

/// A segment and where its bytes are.
struct Placed {
    segment: Segment,
    packet: u32,
    datagram: Option<u32>,
}

impl Job {
    pub(super) fn new() -> Self {
        Self {
            batch: Batch::new(),
            datagrams: Vec::new(),
            fragments: Vec::new(),
            shares: Default::default(),
            counts: Counts::default(),
            latest: Timestamp::EPOCH,
            last_ordinal: 0,
        }
    }

    /// Dissects the packets of a fresh batch and deals the segments out.
    #[inline(never)] // As a part of a larger function its loop would keep little in registers.
    pub(super) fn dissect(&mut self, nesting_max: usize) {
        self.counts = Counts::default();
        self.datagrams.clear();
        self.fragments.clear();
        let mut shares = self.shares.each_mut().map(|share| share.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner));
        for share in &mut shares {
            share.segments.clear();
            share.events.clear();
        }
        let (mut truncated, mut latest) = (0, Timestamp::from_nanos(i64::MIN));
        for (index, packet) in (0..).zip(self.batch.packets()) {
            truncated += u64::from(packet.captured < packet.original);
            latest = latest.max(packet.at);
            let mut place = |segment: Segment| {
                if let Some(share) = shares.get_mut(shard(&segment)) {
                    share.segments.push(Placed { segment, packet: index, datagram: None });
                }
            };
            // Nearly all are plain: those go straight to their place.
            if let Some(segment) = plain_segment(&packet) {
                place(segment);
                continue;
            }
            match dissect_any(&packet, nesting_max) {
                Dissected::Segment(segment) => place(segment),
                Dissected::Fragment(fragment) => self.fragments.push((index, fragment)),
                Dissected::NotTcp => {}
                Dissected::Lost(reason) => self.counts.losses.add(reason, 1),
            }
        }
        (self.counts.packets, self.counts.packets_truncated) = (self.batch.len() as u64, truncated);
        self.latest = latest;
        self.last_ordinal = self.batch.last_ordinal().unwrap_or(self.last_ordinal);
    }

    /// Puts fragments together; called in order of batches.
    pub(super) fn defragment(&mut self, table: &mut Defragmenter, nesting_max: usize) {
        let mut touched = false;
        for (index, fragment) in std::mem::take(&mut self.fragments) {
            let mut whole = Vec::new();
            self.batch.read_tail(index as usize, 0, &mut whole);
            let Some(datagram) = table.handle_fragment(&fragment, &whole) else { continue };
            if let Dissected::Segment(segment) = dissect_datagram(&fragment.key, &datagram, nesting_max) {
                let place = u32::try_from(self.datagrams.len()).unwrap_or(u32::MAX);
                self.datagrams.push(datagram);
                if let Some(share) = self.shares.get_mut(shard(&segment)) {
                    let share = share.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
                    share.segments.push(Placed { segment, packet: index, datagram: Some(place) });
                    touched = true;
                }
            }
        }
        if touched {
            for share in &mut self.shares {
                let share = share.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
                share.segments.sort_by_key(|placed| placed.packet);
            }
        }
    }

    /// Whether some packet was a fragment.
    pub(super) const fn has_fragments(&self) -> bool {
        !self.fragments.is_empty()
    }

    /// Works off one shard's share.
    #[inline(never)]
    pub(super) fn run_shard(&self, shard: usize, flows: &mut Flows) {
        let Some(share) = self.shares.get(shard) else { return };
        let mut share = lock(share);
        for secret in self.batch.secrets() {
            flows.handle_secret(secret);
        }
        for placed in &share.segments {
            let packet = self.batch.packet(placed.packet as usize);
            let segment = &placed.segment;
            let (payload, captured) = match placed.datagram.and_then(|place| self.datagrams.get(place as usize)) {
                Some(datagram) => (segment.payload(datagram), segment.payload(datagram).len()),
                None => {
                    let held = (packet.captured as usize).saturating_sub(segment.payload_start as usize);
                    (segment.payload(packet.bytes), held.min(segment.payload_length as usize))
                }
            };
            let tail = Tail { batch: &self.batch, packet: placed.packet as usize, start: segment.payload_start };
            flows.handle_segment(&Incoming {
                ordinal: packet.ordinal,
                stamp: Stamp { at: packet.at, frame: packet.frame },
                segment,
                payload,
                captured: u32::try_from(captured).unwrap_or(u32::MAX),
                tail: &tail,
            });
        }
        flows.handle_time(self.latest, self.last_ordinal);
        flows.take_events(&mut share.events);
    }
}

/// The octets of a payload that the reader left in the file.
struct Tail<'a> {
    batch: &'a Batch,
    packet: usize,
    start: u32,
}

impl ReadTail for Tail<'_> {
    fn read_tail(&self, offset: u32, buffer: &mut Vec<u8>) -> usize {
        self.batch.read_tail(self.packet, self.start.saturating_add(offset), buffer)
    }
}

/// Which shard a segment belongs to: the same for both directions, and not chosen by a per-run seed, so that a run can be
/// repeated.
fn shard(segment: &Segment) -> usize {
    (mix(&segment.source) ^ mix(&segment.destination)) as usize % SHARDS
}

fn mix(end: &Endpoint) -> u64 {
    let ip = match end.ip {
        std::net::IpAddr::V4(ip) => u64::from(ip.to_bits()),
        std::net::IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ ip.to_bits() as u64,
    };
    let mixed = (ip ^ (u64::from(end.port) << 32) ^ u64::from(end.port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
