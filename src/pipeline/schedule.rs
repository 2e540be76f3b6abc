//! Who does what next: one lock over small states, held only to choose and to report.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::capture::{CaptureError, PacketSource};
use crate::decode::shards::SHARDS;
use crate::decode::{Dissector, Flows, Limits};
use crate::pipeline::job::Job;
use crate::pipeline::{Judge, lock};

/// The shared state of the workers.
pub(super) struct Schedule<'a, 'j> {
    source: Mutex<&'a mut dyn PacketSource>,
    shards: &'a [Mutex<Flows>],
    judge: &'a Mutex<Judge<'j>>,
    nesting_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Batches on their way, oldest first.
    ring: std::collections::VecDeque<Slot>,
    /// The number of the oldest batch in the ring.
    oldest: u64,
    slots_max: usize,
    /// Workers that wait for something to do: only then is anybody woken, since each call costs more than a small task.
    waiting: usize,
    spare: Vec<Job>,
    reading: bool,
    judging: bool,
    ended: bool,
    failure: Option<CaptureError>,
    /// The next batch to be put in order.
    admit: u64,
    dissector: Dissector,
    /// The next batch of each shard, and whether a thread is at it.
    shard_next: [u64; SHARDS],
    shard_busy: [bool; SHARDS],
    last_ordinal: u64,
}

enum Slot {
    /// Being read or dissected.
    Reading,
    /// Dissected, waiting for its turn.
    Dissected(Box<Job>),
    /// Open to the shards; counts those that are done.
    Open(Arc<Job>, usize),
    /// Being judged.
    Judging,
}

enum Task {
    Judge(Arc<Job>),
    Shard(usize, Arc<Job>),
    Read(u64, Box<Job>),
    Finish,
}

impl<'a, 'j> Schedule<'a, 'j> {
    pub(super) fn new(
        threads: usize,
        source: &'a mut dyn PacketSource,
        shards: &'a [Mutex<Flows>],
        judge: &'a Mutex<Judge<'j>>,
        limits: &Limits,
    ) -> Self {
        let state = State {
            ring: std::collections::VecDeque::new(),
            oldest: 0,
            slots_max: 2 * threads + 1,
            waiting: 0,
            spare: Vec::new(),
            reading: false,
            judging: false,
            ended: false,
            failure: None,
            admit: 0,
            dissector: Dissector::new(limits),
            shard_next: [0; SHARDS],
            shard_busy: [false; SHARDS],
            last_ordinal: 0,
        };
        Self {
            source: Mutex::new(source),
            shards,
            judge,
            nesting_max: limits.nesting_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// One worker: does what can be done until nothing is left.
    pub(super) fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            let Some(task) = state.next_task() else {
                state.waiting += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
                continue;
            };
            // Who takes a task wakes another worker if there is a second one to do.
            if state.waiting > 0 && state.has_task() {
                self.changed.notify_one();
            }
            drop(state);
            match task {
                Task::Finish => {
                    self.changed.notify_all();
                    return;
                }
                Task::Judge(job) => self.judge(job),
                Task::Shard(shard, job) => {
                    if let Some(flows) = self.shards.get(shard) {
                        job.run_shard(shard, &mut lock(flows));
                    }
                    drop(job);
                    lock(&self.state).finish_shard(shard);
                }
                Task::Read(number, job) => self.read(number, job),
            }
            state = lock(&self.state);
        }
    }

    fn judge(&self, job: Arc<Job>) {
        let mut judge = lock(self.judge);
        for (ip, name) in job.batch.names() {
            judge.receiver.name(*ip, name);
        }
        for (server, name) in job.batch.hop_names() {
            judge.receiver.hop_name(*server, name);
        }
        judge.counts.packets += job.batch.len() as u64;
        judge.counts.packets_truncated += job.packets_truncated;
        judge.counts.packets_undecodable = job.packets_lost;
        [judge.counts.packets_quic, judge.counts.packets_encrypted] = job.packets_encrypted;
        judge.pass_counts();
        judge.events.extend_from_slice(&job.losses);
        for share in &job.shares {
            judge.events.append(&mut lock(share).events);
        }
        judge.pass_events();
        if let Some(now) = job.batch.now() {
            judge.receiver.time(now);
        }
        drop(judge);
        let mut state = lock(&self.state);
        state.judging = false;
        state.ring.pop_front();
        state.oldest += 1;
        // Nobody else holds it by now, so its buffers serve again.
        state.spare.extend(Arc::try_unwrap(job));
    }

    fn read(&self, number: u64, mut job: Box<Job>) {
        let result = lock(&self.source).read_batch(&mut job.batch);
        {
            let mut state = lock(&self.state);
            state.reading = false;
            match result {
                Ok(more) => state.ended |= !more,
                Err(error) => {
                    state.ended = true;
                    state.failure = Some(error);
                }
            }
            if state.waiting > 0 && state.has_task() {
                self.changed.notify_one();
            }
        }
        job.dissect(self.nesting_max);
        let mut state = lock(&self.state);
        state.last_ordinal = state.last_ordinal.max(job.last_ordinal);
        let index = usize::try_from(number - state.oldest).unwrap_or(usize::MAX);
        if let Some(slot) = state.ring.get_mut(index) {
            *slot = Slot::Dissected(job);
        }
        state.admit();
    }

    /// The end: why reading stopped, the last packet's ordinal, and the dissector, which may hold incomplete datagrams.
    pub(super) fn into_end(self) -> (Option<CaptureError>, u64, Dissector) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.failure, state.last_ordinal, state.dissector)
    }
}

impl State {
    fn next_task(&mut self) -> Option<Task> {
        if let Some(job) = self.finished_job() {
            self.judging = true;
            return Some(Task::Judge(job));
        }
        for shard in 0..SHARDS {
            if let Some(job) = self.shard_job(shard) {
                return Some(Task::Shard(shard, job));
            }
        }
        if !self.reading && !self.ended && self.ring.len() < self.slots_max {
            self.reading = true;
            let number = self.oldest + self.ring.len() as u64;
            self.ring.push_back(Slot::Reading);
            return Some(Task::Read(number, Box::new(self.spare.pop().unwrap_or_else(Job::new))));
        }
        (self.ended && self.ring.is_empty() && !self.reading).then_some(Task::Finish)
    }

    /// Whether there is a task for another worker.
    fn has_task(&self) -> bool {
        let is_judged_next = !self.judging && matches!(self.ring.front(), Some(Slot::Open(_, SHARDS)));
        let may_read = !self.reading && !self.ended && self.ring.len() < self.slots_max;
        let is_over = self.ended && self.ring.is_empty() && !self.reading;
        is_judged_next || may_read || is_over || (0..SHARDS).any(|shard| self.open_job(shard).is_some())
    }

    fn finished_job(&mut self) -> Option<Arc<Job>> {
        if self.judging {
            return None;
        }
        match self.ring.front() {
            Some(Slot::Open(_, SHARDS)) => {}
            _ => return None,
        }
        match std::mem::replace(self.ring.front_mut()?, Slot::Judging) {
            Slot::Open(job, _) => Some(job),
            _ => None,
        }
    }

    fn shard_job(&mut self, shard: usize) -> Option<Arc<Job>> {
        let job = Arc::clone(self.open_job(shard)?);
        *self.shard_busy.get_mut(shard)? = true;
        Some(job)
    }

    /// The batch that a shard can go on with, where no worker is at it.
    fn open_job(&self, shard: usize) -> Option<&Arc<Job>> {
        if *self.shard_busy.get(shard)? {
            return None;
        }
        let index = self.shard_next.get(shard)?.checked_sub(self.oldest)?;
        match self.ring.get(usize::try_from(index).ok()?) {
            Some(Slot::Open(job, _)) => Some(job),
            _ => None,
        }
    }

    fn finish_shard(&mut self, shard: usize) {
        let (Some(busy), Some(next)) = (self.shard_busy.get_mut(shard), self.shard_next.get_mut(shard)) else { return };
        *busy = false;
        let index = usize::try_from(*next - self.oldest).unwrap_or(usize::MAX);
        *next += 1;
        if let Some(Slot::Open(_, done)) = self.ring.get_mut(index) {
            *done += 1;
        }
    }

    /// Opens dissected batches to the shards, in order; fragments are put together here because their order matters.
    fn admit(&mut self) {
        while let Some(slot) = self.ring.get_mut(usize::try_from(self.admit - self.oldest).unwrap_or(usize::MAX)) {
            match std::mem::replace(slot, Slot::Judging) {
                Slot::Dissected(mut job) => {
                    job.order(&mut self.dissector);
                    *slot = Slot::Open(Arc::new(*job), 0);
                    self.admit += 1;
                }
                other => {
                    *slot = other;
                    return;
                }
            }
        }
    }
}
