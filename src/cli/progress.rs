//! Signs of life on stderr, on a terminal, for runs that take longer than a second.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::analysis::{Judged, JudgedSealed, Sink};
use crate::model::{ExchangeId, FlowClosed, FlowOpened, Loss};
use crate::report::Recorder;

/// A sink that tells how far the run is, and hands everything on.
pub(super) struct Progress<'r, W: io::Write> {
    recorder: &'r mut Recorder<W>,
    next: Option<Instant>,
    shown: bool,
}

impl<'r, W: io::Write> Progress<'r, W> {
    /// Shows nothing where `quiet`, or where stderr is no terminal.
    pub(super) fn new(recorder: &'r mut Recorder<W>, quiet: bool) -> Self {
        let next = (!quiet && io::stderr().is_terminal()).then(|| Instant::now() + FIRST);
        Self { recorder, next, shown: false }
    }

    fn show(&mut self) {
        let Some(next) = self.next else { return };
        let now = Instant::now();
        if now >= next {
            // Where nobody listens there is nobody to tell.
            let _ = write!(io::stderr(), "\r{} exchanges, {} S3 calls ", self.recorder.exchanges(), self.recorder.calls());
            self.next = Some(now + LATER);
            self.shown = true;
        }
    }
}

impl<W: io::Write> Sink for Progress<'_, W> {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.recorder.exchange(record);
        if self.recorder.exchanges().is_multiple_of(EVERY) {
            self.show();
        }
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
}

impl<W: io::Write> Drop for Progress<'_, W> {
    fn drop(&mut self) {
        if self.shown {
            // Clears the line for what follows.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

const FIRST: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_millis(250);
/// Asking the clock for every exchange would cost more than most exchanges do.
const EVERY: u64 = 256;
