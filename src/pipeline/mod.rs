//! Packets from a source through decoding into the analysis, on as many threads as asked for.
//!
//! All threads are equal. Each takes whatever can be done next: judge the oldest finished batch, work off one shard's share
//! of a batch, or read and dissect a new one. The work is cut by flow into a fixed number of shards, each shard sees its
//! segments in order, and results are judged in order of packets: so nothing depends on how many threads there are.

mod job;
mod schedule;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::analysis::{Analysis, Counts, Sink, Summary};
use crate::capture::{CaptureError, PacketSource, SourceSummary};
use crate::decode::shards::{LastFlows, SHARDS, share_of};
use crate::decode::{Dissector, Flows, Limits};
use crate::model::{Endpoint, Event, Secret, Timestamp};
use crate::pipeline::schedule::Schedule;

/// How to run.
pub struct Options {
    /// Worker threads, at least one.
    pub threads: usize,
    /// The bounds of decoding, for the whole run.
    pub limits: Limits,
    /// TLS secrets known before the first packet.
    pub secrets: Vec<Secret>,
}

/// What came out.
pub struct Outcome {
    /// What was found.
    pub summary: Summary,
    /// What was read.
    pub sources: Vec<SourceSummary>,
    /// Packet counts.
    pub counts: Counts,
    /// Why reading ended early, where it did; everything before is in the summary.
    pub failure: Option<CaptureError>,
}

/// What decoding a source gives, in order.
pub trait Receiver: Send {
    /// An event, in order of packets.
    fn event(&mut self, event: Event);

    /// The name of an address that was found between the packets.
    fn name(&mut self, _address: IpAddr, _name: &str) {}

    /// The name of the hop that leads to a server, which the source knows.
    fn hop_name(&mut self, _server: Endpoint, _name: &str) {}

    /// Totals so far.
    fn counts(&mut self, _counts: &Counts) {}

    /// What time it is, where the source has a clock.
    fn time(&mut self, _now: Timestamp) {}
}

/// What was read, once all of it was decoded.
pub struct Decoded {
    /// What was read.
    pub sources: Vec<SourceSummary>,
    /// Packet counts.
    pub counts: Counts,
    /// Why reading ended early, where it did.
    pub failure: Option<CaptureError>,
}

/// The ordered end of the pipeline.
struct Judge<'a> {
    receiver: &'a mut dyn Receiver,
    counts: Counts,
    events: Vec<(u64, Event)>,
}

/// An analysis with who listens to it.
struct Analyst<'a> {
    analysis: Analysis,
    sink: &'a mut (dyn Sink + Send),
}

/// Runs a source to its end.
pub fn run(source: &mut dyn PacketSource, options: &Options, analysis: Analysis, sink: &mut (dyn Sink + Send)) -> Outcome {
    let mut analyst = Analyst { analysis, sink };
    let Decoded { sources, counts, failure } = decode(source, options, &mut analyst);
    let Analyst { analysis, sink } = analyst;
    Outcome { summary: analysis.finish(sink), sources, counts, failure }
}

/// Decodes a source to its end. The events are those of a [`Decoder`](crate::decode::Decoder).
pub fn decode(source: &mut dyn PacketSource, options: &Options, receiver: &mut dyn Receiver) -> Decoded {
    let share = share_of(&options.limits);
    let shards: Vec<Mutex<Flows>> = (0..SHARDS).map(|_| Mutex::new(Flows::new(share.clone()))).collect();
    for shard in &shards {
        let mut flows = lock(shard);
        for secret in &options.secrets {
            flows.handle_secret(secret);
        }
    }
    let threads = options.threads.max(1);
    let judge = Mutex::new(Judge { receiver, counts: Counts::default(), events: Vec::new() });
    let schedule = Schedule::new(threads, source, &shards, &judge, &options.limits);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| schedule.work());
        }
        schedule.work();
    });
    let (failure, last_ordinal, dissector) = schedule.into_end();
    let mut judge = judge.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sources = source.sources();
    for (places, bytes) in sources.iter().map(SourceSummary::unread) {
        judge.counts.file_places_unread += places;
        judge.counts.file_bytes_unread += bytes;
    }
    judge.counts.packets_dropped = sources.iter().filter_map(SourceSummary::dropped).sum();
    judge.end_dissector(dissector);
    judge.end_flows(&shards, last_ordinal.saturating_add(1));
    Decoded { sources, counts: judge.counts, failure }
}

impl Receiver for Analyst<'_> {
    fn event(&mut self, event: Event) {
        self.analysis.handle_event(event, self.sink);
    }

    fn name(&mut self, address: IpAddr, name: &str) {
        self.analysis.handle_name(address, name);
    }

    fn hop_name(&mut self, server: Endpoint, name: &str) {
        self.analysis.handle_hop_name(server, name);
    }

    fn counts(&mut self, counts: &Counts) {
        self.analysis.handle_counts(counts);
    }

    fn time(&mut self, now: Timestamp) {
        self.analysis.handle_time(now, self.sink);
    }
}

impl Judge<'_> {
    fn pass_counts(&mut self) {
        self.receiver.counts(&self.counts);
    }

    /// Reports the datagrams that are incomplete at the end.
    fn end_dissector(&mut self, mut dissector: Dissector) {
        dissector.handle_end();
        self.counts.packets_undecodable = dissector.packets_lost();
        [self.counts.packets_quic, self.counts.packets_encrypted] = dissector.packets_encrypted();
        self.pass_counts();
        while let Some(loss) = dissector.poll_loss() {
            self.receiver.event(Event::Lost(loss));
        }
    }

    /// Closes the flows that are open at the end, in order of their first packets and some at a time.
    fn end_flows(&mut self, shards: &[Mutex<Flows>], ordinal: u64) {
        let mut last = LastFlows::new(shards.iter().flat_map(|shard| lock(shard).open().collect::<Vec<_>>()));
        while let Some(until) = last.next_part() {
            for shard in shards {
                let mut flows = lock(shard);
                flows.end_until(ordinal, until);
                flows.take_events(&mut self.events);
            }
            self.pass_events();
        }
    }

    /// Hands the collected events on in order of the packets that led to them.
    fn pass_events(&mut self) {
        self.events.sort_by_key(|(ordinal, _)| *ordinal);
        for (_, event) in self.events.drain(..) {
            self.receiver.event(event);
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
