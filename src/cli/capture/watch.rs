//! Hears the judgement while the capture runs: tells of findings at once, and stops where the awaited one comes.

use std::sync::Arc;

use crate::analysis::{Judged, JudgedSealed, Sink};
use crate::capture::LiveState;
use crate::cli::analyze::Out;
use crate::cli::capture::status::Status;
use crate::model::{ExchangeId, FlowClosed, FlowOpened, Loss};
use crate::report::Recorder;
use crate::rules::Finding;

/// A sink that tells, and hands everything on.
pub(super) struct Watch<'r> {
    pub(super) recorder: &'r mut Recorder<Out>,
    pub(super) status: Arc<Status>,
    pub(super) live: Arc<LiveState>,
    pub(super) stop_on: Vec<String>,
    pub(super) is_met: bool,
}

impl Sink for Watch<'_> {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.recorder.exchange(record);
        self.status.count(record.hop);
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
        let age = self.status.age().as_secs_f64();
        self.status.tell_finding(&format!(
            "{age:7.1} s  {} {}: {}",
            finding.severity.label(),
            finding.rule.name,
            finding.message
        ));
        if self.stop_on.iter().any(|rule| rule == finding.rule.name) && !self.is_met {
            self.is_met = true;
            self.live.stop();
        }
    }
}
