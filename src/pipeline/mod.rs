//! Packets from a source through decoding into the analysis, on as many threads as asked for.
//!
//! All threads are equal. Each takes whatever can be done next: judge the oldest finished batch, work off one shard's share
//! of a batch, or read and dissect a new one. The work is cut by flow into a fixed number of shards, each shard sees its
//! segments in order, and results are judged in order of packets: so nothing depends on how many threads there are.

mod job;
mod schedule;

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::analysis::{Analysis, Counts, Sink, Summary};
use crate::capture::{CaptureError, PacketSource, SourceSummary};
use crate::decode::{Flows, Limits};
use crate::model::{Event, FlowId, LossReason, Secret, Timestamp};
use crate::pipeline::job::SHARDS;
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

/// The ordered end of the pipeline.
struct Judge<'a> {
    analysis: Analysis,
    sink: &'a mut (dyn Sink + Send),
    counts: Counts,
    events: Vec<(u64, Event)>,
}

/// Runs a source to its end.
pub fn run(source: &mut dyn PacketSource, options: &Options, analysis: Analysis, sink: &mut (dyn Sink + Send)) -> Outcome {
    let share = share_of(&options.limits);
    let shards: Vec<Mutex<Flows>> = (0..SHARDS).map(|_| Mutex::new(Flows::new(share.clone()))).collect();
    for shard in &shards {
        let mut flows = lock(shard);
        for secret in &options.secrets {
            flows.handle_secret(secret);
        }
    }
    let threads = options.threads.max(1);
    let judge = Mutex::new(Judge { analysis, sink, counts: Counts::default(), events: Vec::new() });
    let schedule = Schedule::new(threads, source, &shards, &judge, &options.limits);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| schedule.work());
        }
        schedule.work();
    });
    let (failure, last_ordinal, fragments) = schedule.into_end();
    let sources = source.sources();
    let mut judge = judge.into_inner().unwrap_or_else(PoisonError::into_inner);
    judge.counts.losses.add(LossReason::Fragment, fragments);
    judge.counts.packets_undecodable = judge.counts.losses.undecodable();
    for (places, bytes) in sources.iter().map(SourceSummary::unread) {
        judge.counts.file_places_unread += places;
        judge.counts.file_bytes_unread += bytes;
    }
    judge.counts.packets_dropped = sources.iter().filter_map(SourceSummary::dropped).sum();
    judge.analysis.handle_counts(&judge.counts);
    judge.end_flows(&shards, last_ordinal.saturating_add(1));
    let Judge { analysis, sink, counts, .. } = judge;
    Outcome { summary: analysis.finish(sink), sources, counts, failure }
}

impl Judge<'_> {
    /// Tells the analysis what time it is, where the source has a clock.
    fn pass_time(&mut self, now: Timestamp) {
        self.analysis.handle_time(now, self.sink);
    }

    /// Closes the flows that are open at the end, in order of their first packets and some at a time.
    fn end_flows(&mut self, shards: &[Mutex<Flows>], ordinal: u64) {
        let mut open: Vec<FlowId> = shards.iter().flat_map(|shard| lock(shard).open().collect::<Vec<_>>()).collect();
        open.sort_unstable();
        for part in open.chunks(FLOWS_ENDED_AT_ONCE) {
            let Some(last) = part.last() else { return };
            for shard in shards {
                let mut flows = lock(shard);
                flows.end_until(ordinal, *last);
                flows.take_events(&mut self.events);
            }
            self.pass_events();
        }
    }

    /// Hands the collected events on in order of the packets that led to them.
    fn pass_events(&mut self) {
        self.events.sort_by_key(|(ordinal, _)| *ordinal);
        for (_, event) in self.events.drain(..) {
            self.analysis.handle_event(event, self.sink);
        }
    }
}

/// So many flows are closed at a time at the end: what all of them come to can be much.
const FLOWS_ENDED_AT_ONCE: usize = 1024;

/// The limits of one shard: tables and buffers are shared out, bounds of a single flow are not.
fn share_of(limits: &Limits) -> Limits {
    Limits {
        flows_max: (limits.flows_max / SHARDS).max(1),
        pending_bytes_max: (limits.pending_bytes_max / SHARDS).max(limits.pending_bytes_per_stream_max),
        content_bytes_max: limits.content_bytes_max / SHARDS,
        ..limits.clone()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
