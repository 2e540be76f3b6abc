//! One batch of packets on its way: dissected, dealt out to shards, and the events each shard made of it.

use std::sync::{Mutex, PoisonError};

use crate::capture::Batch;
use crate::decode::dissector::{Clock, Datagram, Dissection};
use crate::decode::segment::{Dissected, Segment, dissect_any, plain_segment};
use crate::decode::shards::{SHARDS, shard_of};
use crate::decode::{Dissector, Flows, Incoming};
use crate::model::{Event, Timestamp};
use crate::pipeline::lock;

/// A batch and what was made of it.
pub(super) struct Job {
    pub(super) batch: Batch,
    /// Packets that hold no segment of their own: their order counts.
    rest: Vec<(u32, Dissected)>,
    /// Packets with which capture time enters a new step.
    ticks: Vec<(u32, Timestamp)>,
    /// Segments that came in fragments.
    datagrams: Vec<Datagram>,
    pub(super) losses: Vec<(u64, Event)>,
    pub(super) shares: [Mutex<Share>; SHARDS],
    pub(super) packets_truncated: u64,
    /// Packets that were not decoded, up to the end of this batch.
    pub(super) packets_lost: u64,
    /// QUIC packets and those of other encrypted protocols, up to the end of this batch.
    pub(super) packets_encrypted: [u64; 2],
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
            rest: Vec::new(),
            ticks: Vec::new(),
            datagrams: Vec::new(),
            losses: Vec::new(),
            shares: Default::default(),
            packets_truncated: 0,
            packets_lost: 0,
            packets_encrypted: [0; 2],
            last_ordinal: 0,
        }
    }

    /// Dissects the packets of a fresh batch and deals the segments out.
    #[inline(never)] // As a part of a larger function its loop would keep little in registers.
    pub(super) fn dissect(&mut self, nesting_max: usize) {
        self.rest.clear();
        self.ticks.clear();
        self.datagrams.clear();
        self.losses.clear();
        let mut shares = self.shares.each_mut().map(|share| share.get_mut().unwrap_or_else(PoisonError::into_inner));
        for share in &mut shares {
            share.segments.clear();
            share.events.clear();
        }
        let (mut truncated, mut clock) = (0, Clock::default());
        for (index, packet) in (0..).zip(self.batch.packets()) {
            truncated += u64::from(packet.captured < packet.original);
            if clock.tick(packet.at) {
                self.ticks.push((index, packet.at));
            }
            let mut place = |segment: Segment| {
                if let Some(share) = shares.get_mut(shard_of(&segment)) {
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
                Dissected::NotTcp => {}
                other => self.rest.push((index, other)),
            }
        }
        self.packets_truncated = truncated;
        self.last_ordinal = self.batch.last_ordinal().unwrap_or(self.last_ordinal);
    }

    /// The part of dissecting in which order counts; called in order of batches.
    pub(super) fn order(&mut self, dissector: &mut Dissector) {
        self.ticks.retain(|(_, at)| dissector.tick(*at));
        let mut touched = false;
        for (index, dissected) in std::mem::take(&mut self.rest) {
            let packet = self.batch.packet(index as usize);
            let dissection = dissector.handle_rest(&packet, dissected);
            self.losses.extend(std::iter::from_fn(|| dissector.poll_loss()).map(|loss| (packet.ordinal, Event::Lost(loss))));
            let (segment, datagram) = match dissection {
                Dissection::Segment(segment) => (segment, None),
                Dissection::Datagram(datagram) => {
                    let place = u32::try_from(self.datagrams.len()).ok();
                    let segment = datagram.segment;
                    self.datagrams.push(*datagram);
                    (segment, place)
                }
                Dissection::Fragment(_) | Dissection::NotTcp | Dissection::Lost => continue,
            };
            if let Some(share) = self.shares.get_mut(shard_of(&segment)) {
                let share = share.get_mut().unwrap_or_else(PoisonError::into_inner);
                share.segments.push(Placed { segment, packet: index, datagram });
                touched = true;
            }
        }
        self.packets_lost = dissector.packets_lost();
        self.packets_encrypted = dissector.packets_encrypted();
        if touched {
            for share in &mut self.shares {
                let share = share.get_mut().unwrap_or_else(PoisonError::into_inner);
                share.segments.sort_by_key(|placed| placed.packet);
            }
        }
    }

    /// Works off one shard's share.
    #[inline(never)]
    pub(super) fn run_shard(&self, shard: usize, flows: &mut Flows) {
        let Some(share) = self.shares.get(shard) else { return };
        let mut share = lock(share);
        for secret in self.batch.secrets() {
            flows.handle_secret(secret);
        }
        let mut ticks = self.ticks.iter();
        let mut next_tick = ticks.next();
        for placed in &share.segments {
            while let Some((index, at)) = next_tick.filter(|(index, _)| *index <= placed.packet) {
                flows.handle_time(*at, self.batch.ordinal(*index as usize));
                next_tick = ticks.next();
            }
            let packet = self.batch.packet(placed.packet as usize);
            match placed.datagram.and_then(|place| self.datagrams.get(place as usize)) {
                Some(datagram) => flows.handle_segment(&Incoming::of_datagram(&packet, datagram)),
                None => flows.handle_segment(&Incoming::of_packet(&packet, &placed.segment)),
            }
        }
        while let Some((index, at)) = next_tick {
            flows.handle_time(*at, self.batch.ordinal(*index as usize));
            next_tick = ticks.next();
        }
        flows.take_events(&mut share.events);
    }
}
