//! What a running proxy says on stderr: findings and failed connections as they come.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::analysis::{Judged, JudgedSealed, Sink};
use crate::cli::analyze::Out;
use crate::cli::failure::say;
use crate::model::{ExchangeId, FlowClosed, FlowOpened, Loss, Untrusted};
use crate::proxy::Notice;
use crate::report::Recorder;
use crate::rules::Finding;

/// Lines on stderr. What repeats is said once, and then how often, now and then.
pub(super) struct Notices {
    is_quiet: bool,
    begun: Instant,
    repeated: Mutex<Repeated>,
}

struct Repeated {
    /// Times since it was said, by route and text.
    counts: HashMap<(String, &'static str), (u64, String)>,
    next: Instant,
}

impl Notices {
    pub(super) fn new(is_quiet: bool) -> Self {
        let begun = Instant::now();
        let repeated = Repeated { counts: HashMap::new(), next: begun + REPEAT };
        Self { is_quiet, begun, repeated: Mutex::new(repeated) }
    }

    /// Prints a line, unless quiet was asked for.
    pub(super) fn tell(&self, line: &str) {
        if !self.is_quiet {
            say(Untrusted::text(line));
        }
    }

    /// Reports a failed connection: the first of its cause in full, further ones as a count.
    pub(super) fn tell_notice(&self, notice: &Notice) {
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (notice.route.clone(), notice.cause);
        if let Some((count, _)) = repeated.counts.get_mut(&key) {
            *count += 1;
            return;
        }
        if repeated.counts.len() < CAUSES_MAX {
            repeated.counts.insert(key, (0, notice.what.clone()));
        }
        drop(repeated);
        self.tell(&format!("{:7.1} s  {notice}", self.begun.elapsed().as_secs_f64()));
        if !notice.help.is_empty() {
            self.tell(&format!("           help: {}", notice.help));
        }
    }

    /// Says how often things were repeated, where it is time.
    pub(super) fn tick(&self) {
        let now = Instant::now();
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        if now < repeated.next {
            return;
        }
        repeated.next = now + REPEAT;
        let due = repeated.counts.iter_mut().filter(|(_, (count, _))| *count > 0);
        let lines: Vec<_> =
            due.map(|((route, _), (count, what))| format!("{route}: {} times more: {what}", std::mem::take(count))).collect();
        drop(repeated);
        lines.iter().for_each(|line| self.tell(line));
    }
}

/// A sink that reports findings at once, and hands everything on.
pub(super) struct Watch<'r> {
    pub(super) recorder: &'r mut Recorder<Out>,
    pub(super) notices: std::sync::Arc<Notices>,
}

impl Sink for Watch<'_> {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.recorder.exchange(record);
    }

    fn deferred(&mut self, id: ExchangeId) {
        self.recorder.deferred(id);
    }

    fn flow_opened(&mut self, opened: &FlowOpened) {
        self.recorder.flow_opened(opened);
    }

    fn sealed(&mut self, record: &JudgedSealed<'_>) {
        self.recorder.sealed(record);
    }

    fn flow_closed(&mut self, closed: &FlowClosed, hop: Option<&str>) {
        self.recorder.flow_closed(closed, hop);
    }

    fn loss(&mut self, loss: &Loss) {
        self.recorder.loss(loss);
    }

    fn raised(&mut self, finding: &Finding) {
        self.recorder.raised(finding);
        let age = self.notices.begun.elapsed().as_secs_f64();
        self.notices.tell(&format!("{age:7.1} s  {} {}: {}", finding.severity.label(), finding.rule.name, finding.message));
    }
}

/// How often repetitions are summed up.
const REPEAT: Duration = Duration::from_secs(30);

/// Causes that are told apart.
const CAUSES_MAX: usize = 256;
