//! Packets in, in order; TCP segments with their bytes, the steps of capture time, and losses out. The decoder, the pipeline and
//! the conversion of captures all take packets apart here, so that none of them sees what another does not.

use std::collections::VecDeque;

use crate::decode::flows::Incoming;
use crate::decode::fragment::{Defragmenter, Fragment, Part};
use crate::decode::limits::Limits;
use crate::decode::segment::{Dissected, Segment, dissect, dissect_datagram};
use crate::model::{Loss, LossReason, Packet, Stamp, Tail, Timestamp};

/// Takes packets apart and puts fragments together.
///
/// Packets come in order, each through [`Dissector::handle_packet`]. Whoever dissects packets on several threads calls
/// [`dissect`] there, and then [`Dissector::handle_rest`] in order for those that hold no segment. After either, losses
/// are taken from [`Dissector::poll_loss`].
pub struct Dissector {
    nesting_max: usize,
    defragmenter: Defragmenter,
    clock: Clock,
    losses: VecDeque<Loss>,
    packets_lost: u64,
    /// QUIC packets, and those of other encrypted protocols: they are many, and counted only.
    packets_encrypted: [u64; 2],
    whole: Vec<u8>,
}

/// What a packet is, where its order counts.
#[derive(Debug)]
pub enum Dissection {
    /// A TCP segment. Its payload is a range of the packet's captured bytes, of which the last may still be in the file.
    Segment(Segment),
    /// The last fragment to come of a datagram that holds a TCP segment.
    Datagram(Box<Datagram>),
    /// A fragment of a datagram that is not complete, or that holds no TCP segment.
    Fragment(Fragment),
    /// Something that is decoded and is not TCP.
    NotTcp,
    /// Not decoded; [`Dissector::poll_loss`] says why.
    Lost,
}

/// A TCP segment that came in fragments.
#[derive(Debug)]
pub struct Datagram {
    /// The segment.
    pub segment: Segment,
    /// What its payload is a range of.
    pub bytes: Vec<u8>,
    /// The fragments it came in, in order of packets.
    pub parts: Vec<Part>,
    /// The fragment that completed it.
    pub last: Fragment,
}

impl Dissector {
    /// A dissector that has seen nothing.
    pub fn new(limits: &Limits) -> Self {
        Self {
            nesting_max: limits.nesting_max,
            defragmenter: Defragmenter::new(limits.datagrams_max, limits.fragment_bytes_max),
            clock: Clock::default(),
            losses: VecDeque::new(),
            packets_lost: 0,
            packets_encrypted: [0; 2],
            whole: Vec::new(),
        }
    }

    /// Takes the next packet.
    pub fn handle_packet(&mut self, packet: &Packet<'_>) -> Dissection {
        match dissect(packet, self.nesting_max) {
            Dissected::Segment(segment) => Dissection::Segment(segment),
            other => self.handle_rest(packet, other),
        }
    }

    /// Takes what [`dissect`] made of the next packet that holds no segment of its own.
    pub fn handle_rest(&mut self, packet: &Packet<'_>, dissected: Dissected) -> Dissection {
        match dissected {
            Dissected::Segment(segment) => Dissection::Segment(segment),
            Dissected::Fragment(fragment) => self.handle_fragment(packet, fragment),
            Dissected::NotTcp => Dissection::NotTcp,
            Dissected::Lost(reason) if reason.is_encrypted() => self.count_encrypted(reason, 1),
            Dissected::Lost(reason) if packet.is_whole() => self.lose_packet(packet, reason),
            Dissected::Lost(_) => self.handle_whole(packet),
        }
    }

    /// Dissects a packet again whose headers end behind the bytes that the reader took from the file.
    fn handle_whole(&mut self, packet: &Packet<'_>) -> Dissection {
        let mut whole = std::mem::take(&mut self.whole);
        let bytes = packet.whole(&mut whole);
        let dissected = dissect(&Packet { bytes, ..*packet }, self.nesting_max);
        self.whole = whole;
        match dissected {
            Dissected::Lost(reason) => self.lose_packet(packet, reason),
            other => self.handle_rest(packet, other),
        }
    }

    fn lose_packet(&mut self, packet: &Packet<'_>, reason: LossReason) -> Dissection {
        self.lose(reason, u64::from(packet.captured), 1, stamp(packet));
        Dissection::Lost
    }

    /// The time of the next packet; whether capture time enters a new step with it. Flows wait for time by these steps, so that
    /// what becomes of one does not depend on the packets of others.
    #[inline]
    pub fn tick(&mut self, at: Timestamp) -> bool {
        self.clock.tick(at)
    }

    /// The capture ended: datagrams that are not complete are losses.
    pub fn handle_end(&mut self) {
        self.defragmenter.handle_end();
        self.collect();
    }

    /// The next loss. Those of one packet come after it, in order.
    pub fn poll_loss(&mut self) -> Option<Loss> {
        self.losses.pop_front()
    }

    fn count_encrypted(&mut self, reason: LossReason, packets: u64) -> Dissection {
        let [quic, others] = &mut self.packets_encrypted;
        *(if reason == LossReason::Quic { quic } else { others }) += packets;
        Dissection::NotTcp
    }

    /// QUIC packets, and packets of other encrypted protocols, so far.
    pub const fn packets_encrypted(&self) -> [u64; 2] {
        self.packets_encrypted
    }

    /// Packets that were not decoded, so far.
    pub const fn packets_lost(&self) -> u64 {
        self.packets_lost
    }

    fn handle_fragment(&mut self, packet: &Packet<'_>, fragment: Fragment) -> Dissection {
        let bytes = packet.whole(&mut self.whole);
        let whole = self.defragmenter.handle_fragment(&fragment, bytes, packet.ordinal, stamp(packet));
        self.collect();
        let Some(whole) = whole else { return Dissection::Fragment(fragment) };
        let reason = match dissect_datagram(&fragment.key, &whole.bytes, self.nesting_max) {
            Dissected::Segment(segment) => {
                let (bytes, parts) = (whole.bytes, whole.parts);
                return Dissection::Datagram(Box::new(Datagram { segment, bytes, parts, last: fragment }));
            }
            Dissected::NotTcp => return Dissection::Fragment(fragment),
            // A datagram that came in fragments and is a fragment of another one: nobody sends that, so it is not put together.
            Dissected::Fragment(_) => LossReason::Fragment,
            Dissected::Lost(reason) if reason.is_encrypted() => return self.count_encrypted(reason, whole.parts.len() as u64),
            Dissected::Lost(reason) => reason,
        };
        self.lose(reason, whole.bytes.len() as u64, whole.parts.len() as u64, stamp(packet));
        Dissection::Lost
    }

    fn collect(&mut self) {
        while let Some(given_up) = self.defragmenter.poll_incomplete() {
            self.lose(LossReason::Fragment, given_up.bytes, given_up.packets, given_up.stamp);
        }
    }

    fn lose(&mut self, reason: LossReason, bytes: u64, packets: u64, stamp: Stamp) {
        self.packets_lost += packets;
        self.losses.push_back(Loss { reason, flow: None, bytes, stamp });
    }
}

impl<'a> Incoming<'a> {
    /// The segment of a packet.
    #[inline]
    pub fn of_packet(packet: &Packet<'a>, segment: &'a Segment) -> Self {
        let held = packet.captured.saturating_sub(segment.payload_start);
        Self {
            ordinal: packet.ordinal,
            stamp: stamp(packet),
            segment,
            payload: segment.payload(packet.bytes),
            captured: held.min(segment.payload_length),
            tail: packet.tail,
        }
    }

    /// The segment of a datagram that this packet completed.
    pub fn of_datagram(packet: &Packet<'a>, datagram: &'a Datagram) -> Self {
        let payload = datagram.segment.payload(&datagram.bytes);
        Self {
            ordinal: packet.ordinal,
            stamp: stamp(packet),
            segment: &datagram.segment,
            payload,
            captured: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            tail: Tail::NONE,
        }
    }
}

/// Capture time in steps of about 67 ms, for who dissects on several threads. The time of a packet that is behind an earlier one is no step.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    step: i64,
}

/// A step is this power of two of nanoseconds.
const STEP_BITS: u32 = 26;

impl Default for Clock {
    fn default() -> Self {
        Self { step: i64::MIN }
    }
}

impl Clock {
    /// Whether a packet of this time, which comes next, begins a new step.
    #[inline]
    pub const fn tick(&mut self, at: Timestamp) -> bool {
        let step = at.as_nanos() >> STEP_BITS;
        let is_new = step > self.step;
        if is_new {
            self.step = step;
        }
        is_new
    }
}

const fn stamp(packet: &Packet<'_>) -> Stamp {
    Stamp { at: packet.at, frame: packet.frame }
}
