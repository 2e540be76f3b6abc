//! What the steps of a replay come to: recorded as a session, noted in the journal, and kept for the report.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::analysis::{Analysis, Options, Summary};
use crate::cli::replay::is_watched;
use crate::compare::CallRecord;
use crate::model::{Event, Exchange};
use crate::replay::send::{Outcomes, StepOutcome};
use crate::replay::{Held, Ids, Journal, Step};
use crate::report::Recorder;
use crate::s3::{Call, Domains};
use crate::session::redact::Redactor;
use crate::session::source::Source;

type Out = Box<dyn Write + Send>;

/// A step that got no response.
pub(super) struct FailedStep {
    pub(super) number: usize,
    pub(super) error: String,
    pub(super) is_sent: bool,
}

/// A request that the client never sent, and what the target made of it.
pub(super) struct MadeStep {
    pub(super) operation: &'static str,
    pub(super) target: String,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) transport: &'static str,
}

/// What a replay came to.
pub(super) struct Finished {
    pub(super) pairs: Vec<(CallRecord, CallRecord)>,
    pub(super) failed: Vec<FailedStep>,
    pub(super) held: Vec<(usize, Held)>,
    pub(super) made: Vec<MadeStep>,
    /// Microseconds by which requests were sent late, sorted.
    pub(super) late: Vec<u64>,
    /// Microseconds from when requests were due to their responses, sorted.
    pub(super) took: Vec<u64>,
    pub(super) bytes_sent: u64,
    pub(super) seconds: f64,
    pub(super) summary: Summary,
}

/// Collects while the replay goes on.
pub(super) struct Collect {
    analysis: Analysis,
    recorder: Recorder<Out>,
    journal: File,
    recorded_domains: Domains,
    live_domains: Domains,
    pairs: Vec<(CallRecord, CallRecord)>,
    failed: Vec<FailedStep>,
    held: Vec<(usize, Held)>,
    made: Vec<MadeStep>,
    late: Vec<u64>,
    took: Vec<u64>,
    bytes_sent: u64,
    begin: Instant,
    bar: ProgressBar,
}

impl Collect {
    pub(super) fn new(
        redactor: Redactor,
        [session, journal]: [File; 2],
        domains: Domains,
        live_domains: Vec<String>,
        count: usize,
        quiet: bool,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr_with_hz(4));
        if !is_watched(quiet) {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{pos} of {len} calls, {per_sec}, {eta} left {wide_bar}") {
            bar.set_style(style);
        }
        Self {
            analysis: Analysis::new(Options { domains: live_domains.clone(), ..Options::default() }),
            recorder: Recorder::writing(redactor, Box::new(session)),
            journal,
            recorded_domains: domains,
            live_domains: Domains::new(live_domains),
            pairs: Vec::new(),
            failed: Vec::new(),
            held: Vec::new(),
            made: Vec::new(),
            late: Vec::new(),
            took: Vec::new(),
            bytes_sent: 0,
            begin: Instant::now(),
            bar,
        }
    }

    /// Ends the session of the result.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        self.bar.finish_and_clear();
        let seconds = self.begin.elapsed().as_secs_f64();
        let summary = self.analysis.finish(&mut self.recorder);
        let source = Source { file: "replay".to_owned(), format: "replay".to_owned(), ..Source::default() };
        self.recorder.finish(&[source], &summary)?;
        self.late.sort_unstable();
        self.took.sort_unstable();
        Ok(Finished {
            pairs: self.pairs,
            failed: self.failed,
            held: self.held,
            made: self.made,
            late: self.late,
            took: self.took,
            bytes_sent: self.bytes_sent,
            seconds,
            summary,
        })
    }

    /// Keeps what is compared of an exchange, and hands it on to be judged and written.
    fn keep(&mut self, step: &Step, exchange: Box<Exchange>) {
        self.bytes_sent += exchange.request.body.length;
        let live = Call::read(&exchange, &self.live_domains).map(|call| CallRecord::of(&call, "target"));
        let recorded = Call::read(&step.exchange, &self.recorded_domains).map(|call| CallRecord::of(&call, "recorded"));
        match (recorded, live) {
            (Some(_), Some(live)) if step.is_made => self.made.push(MadeStep {
                operation: step.operation.name(),
                target: format!("{}/{}", live.bucket, live.key),
                status: live.status,
                error: live.error,
                transport: live.transport,
            }),
            (Some(recorded), Some(live)) => self.pairs.push((recorded, live)),
            _ => {}
        }
        self.analysis.handle_event(Event::Exchange(exchange), &mut self.recorder);
    }
}

impl Outcomes for Collect {
    fn before(&mut self, step: &Step) -> io::Result<()> {
        Journal::write_sent(&mut self.journal, step.number)
    }

    fn done(&mut self, step: &Step, outcome: StepOutcome, late: Duration, took: Duration, ids: &mut Ids) -> io::Result<()> {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match outcome {
            StepOutcome::Answered(exchange) => {
                Journal::write_done(&mut self.journal, step.number, ids)?;
                self.late.push(micros(late));
                self.took.push(micros(took));
                self.bar.inc(1);
                self.keep(step, exchange);
            }
            StepOutcome::Failed { exchange, error, is_sent } => {
                self.failed.push(FailedStep { number: step.number, error, is_sent });
                if let Some(exchange) = exchange {
                    self.analysis.handle_event(Event::Exchange(exchange), &mut self.recorder);
                }
            }
            StepOutcome::Held(held) => self.held.push((step.number, held)),
        }
        Ok(())
    }
}
