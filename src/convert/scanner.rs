//! Segments in any order in, the octets of each stream in order out, with the holes told: every captured octet is given once.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::convert::directions::{Life, Place};
use crate::decode::segment::Segment;

/// Takes the octets of streams.
pub(super) trait Take {
    /// What has to be remembered of each stream.
    type State: Default;

    /// The next octets.
    fn data(&mut self, life: Life, state: &mut Self::State, offset: u64, data: &[u8]);

    /// Octets are missing before `offset`: `before` is where the last ones given ended.
    fn gap(&mut self, life: Life, state: &mut Self::State, before: u64);
}

/// Puts the segments of all streams in order.
pub(super) struct Scanner<S> {
    streams: HashMap<Life, Stream<S>, RandomState>,
}

struct Stream<S> {
    state: S,
    next: u64,
    /// Segments that wait for octets before them.
    held: BTreeMap<u64, Vec<u8>>,
    held_bytes: usize,
    /// Holes that were given up, and the room before the first octet: what comes for them late is read by itself.
    holes: Vec<(u64, u64)>,
}

impl<S: Default> Scanner<S> {
    pub(super) fn new() -> Self {
        Self { streams: HashMap::default() }
    }

    /// Takes a segment and what the capture holds of its payload.
    pub(super) fn handle_segment<T: Take<State = S>>(&mut self, segment: &Segment, place: Place, payload: &[u8], take: &mut T) {
        if let Some(ended) = place.ended
            && let Some(stream) = self.streams.remove(&ended)
        {
            stream.finish(ended, take);
        }
        let life = place.life;
        if payload.is_empty() && !place.is_start && !segment.flags.fin() {
            return;
        }
        let stream = self.streams.entry(life).or_insert_with(|| Stream::begin(life, place, take));
        if !payload.is_empty() {
            stream.handle_data(life, place.offset, payload, take);
        }
        // What the snap length cut off is a hole.
        let captured_end = place.offset + payload.len() as u64;
        let end = place.offset + u64::from(segment.payload_length);
        if end > captured_end && stream.next == captured_end {
            take.gap(life, &mut stream.state, captured_end);
            stream.holes.push((captured_end, end));
            stream.next = end;
            stream.deliver_held(life, take);
        }
        if segment.flags.fin()
            && stream.next == end
            && stream.held.is_empty()
            && let Some(stream) = self.streams.remove(&life)
        {
            stream.finish(life, take);
        }
    }

    /// The capture ended.
    pub(super) fn finish<T: Take<State = S>>(&mut self, take: &mut T) {
        for (life, stream) in std::mem::take(&mut self.streams) {
            stream.finish(life, take);
        }
    }
}

impl<S: Default> Stream<S> {
    fn begin<T: Take<State = S>>(life: Life, place: Place, take: &mut T) -> Self {
        let mut state = S::default();
        if !place.is_start {
            take.gap(life, &mut state, place.offset);
        }
        Self { state, next: place.offset, held: BTreeMap::new(), held_bytes: 0, holes: vec![(0, place.offset)] }
    }

    fn handle_data<T: Take<State = S>>(&mut self, life: Life, offset: u64, data: &[u8], take: &mut T) {
        if offset > self.next {
            let known = self.held.get(&offset).map_or(0, Vec::len);
            if data.len() > known {
                self.held_bytes += data.len() - known;
                self.held.insert(offset, data.to_vec());
            }
            while self.held_bytes > HELD_BYTES_MAX {
                self.give_up(life, take);
            }
            return;
        }
        let behind = usize::try_from(self.next - offset).unwrap_or(usize::MAX).min(data.len());
        let (late, fresh) = data.split_at_checked(behind).unwrap_or((data, &[]));
        if !late.is_empty() {
            self.handle_late(life, offset, late, take);
        }
        if !fresh.is_empty() {
            take.data(life, &mut self.state, self.next, fresh);
            self.next += fresh.len() as u64;
        }
        self.deliver_held(life, take);
    }

    /// Octets that were given already, or belong into a hole that was given up.
    fn handle_late<T: Take<State = S>>(&self, life: Life, offset: u64, data: &[u8], take: &mut T) {
        let end = offset + data.len() as u64;
        let fills = self.holes.len() > HOLES_MAX || self.holes.iter().any(|(from, to)| *from < end && offset < *to);
        if fills {
            let mut state = S::default();
            take.gap(life, &mut state, offset);
            take.data(life, &mut state, offset, data);
            take.gap(life, &mut state, end);
        }
    }

    fn deliver_held<T: Take<State = S>>(&mut self, life: Life, take: &mut T) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > self.next {
                return;
            }
            let (offset, data) = entry.remove_entry();
            self.held_bytes = self.held_bytes.saturating_sub(data.len());
            let known = usize::try_from(self.next - offset).unwrap_or(usize::MAX);
            if let Some(fresh) = data.get(known..).filter(|fresh| !fresh.is_empty()) {
                take.data(life, &mut self.state, self.next, fresh);
                self.next += fresh.len() as u64;
            }
        }
    }

    /// Gives up the octets before the first segment that waits.
    fn give_up<T: Take<State = S>>(&mut self, life: Life, take: &mut T) {
        let Some(first) = self.held.keys().next().copied() else { return };
        take.gap(life, &mut self.state, self.next);
        if self.holes.len() <= HOLES_MAX {
            self.holes.push((self.next, first));
        }
        self.next = first;
        self.deliver_held(life, take);
    }

    fn finish<T: Take<State = S>>(mut self, life: Life, take: &mut T) {
        while !self.held.is_empty() {
            self.give_up(life, take);
        }
        take.gap(life, &mut self.state, self.next);
    }
}

/// Octets of one stream that wait for those before them.
const HELD_BYTES_MAX: usize = 1 << 20;
/// With more holes in a stream, everything late is read.
const HOLES_MAX: usize = 64;
