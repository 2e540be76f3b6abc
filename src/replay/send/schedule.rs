//! Which step is next: due, and with all done that it has to wait for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

use crate::replay::plan::Plan;

/// The steps that are left.
pub(super) struct Schedule {
    /// How many steps each has to wait for.
    waits: Vec<u32>,
    dependents: Vec<Vec<usize>>,
    due: Vec<Duration>,
    ready: BinaryHeap<Reverse<(Duration, usize)>>,
    left: usize,
    is_stopped: bool,
    /// Whether one worker sleeps until the first step is due: the others need not.
    has_sleeper: bool,
}

/// What a worker does next.
pub(super) enum Next {
    /// This step.
    Step(usize),
    /// Nothing before so much time has passed.
    Wait(Duration),
    /// Nothing before another step is done.
    Idle,
    /// Nothing any more.
    End,
}

impl Schedule {
    pub(super) fn new(plan: &Plan, skip: &HashSet<usize>) -> Self {
        let count = plan.steps.len();
        let mut schedule = Self {
            waits: vec![0; count],
            dependents: vec![Vec::new(); count],
            due: plan.steps.iter().map(|step| step.due).collect(),
            ready: BinaryHeap::new(),
            left: 0,
            is_stopped: false,
            has_sleeper: false,
        };
        for step in plan.steps.iter().filter(|step| !skip.contains(&step.number)) {
            schedule.left += 1;
            for before in step.after.iter().filter(|before| !skip.contains(before)) {
                if let Some(list) = schedule.dependents.get_mut(*before) {
                    list.push(step.number);
                    if let Some(waits) = schedule.waits.get_mut(step.number) {
                        *waits += 1;
                    }
                }
            }
        }
        for step in plan.steps.iter().filter(|step| !skip.contains(&step.number)) {
            if schedule.waits.get(step.number) == Some(&0) {
                schedule.ready.push(Reverse((step.due, step.number)));
            }
        }
        schedule
    }

    pub(super) fn next(&mut self, now: Duration) -> Next {
        if self.is_over() {
            return Next::End;
        }
        match self.ready.peek() {
            Some(Reverse((due, number))) if *due <= now => {
                let number = *number;
                self.ready.pop();
                Next::Step(number)
            }
            Some(Reverse((due, _))) if !self.has_sleeper => {
                self.has_sleeper = true;
                Next::Wait(due.saturating_sub(now))
            }
            _ => Next::Idle,
        }
    }

    /// The sleeper is awake.
    pub(super) const fn wake(&mut self) {
        self.has_sleeper = false;
    }

    /// A step is done. Gives how many workers have something to do by that.
    pub(super) fn finish(&mut self, number: usize) -> usize {
        self.left = self.left.saturating_sub(1);
        let mut news = 0;
        for dependent in self.dependents.get_mut(number).map(std::mem::take).unwrap_or_default() {
            if let Some(waits) = self.waits.get_mut(dependent) {
                *waits = waits.saturating_sub(1);
                if *waits == 0 {
                    let due = self.due.get(dependent).copied().unwrap_or_default();
                    self.ready.push(Reverse((due, dependent)));
                    news += 1;
                }
            }
        }
        news
    }

    /// Takes nothing on any more.
    pub(super) const fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_stopped || self.left == 0
    }
}
