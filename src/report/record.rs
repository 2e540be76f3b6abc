//! Hears a run while it goes on: learns its secrets, and writes its exchanges where a session is wanted.

use std::io::{self, Write};

use crate::analysis::{Judged, JudgedSealed, Sink, Summary};
use crate::model::{FlowClosed, Loss};
use crate::report::{Report, json};
use crate::session::jsonl::Writer;
use crate::session::redact::Redactor;
use crate::session::source::Source;

/// A sink that keeps no exchange: it learns from each, and writes it if there is somewhere to write to.
pub struct Recorder<W: Write> {
    redactor: Redactor,
    writer: Option<Writer<W>>,
    failure: Option<io::Error>,
    exchanges: u64,
    calls: u64,
}

impl<W: Write> Recorder<W> {
    /// Learns only.
    pub const fn new(redactor: Redactor) -> Self {
        Self { redactor, writer: None, failure: None, exchanges: 0, calls: 0 }
    }

    /// Learns, and writes a session to `out`.
    pub fn writing(redactor: Redactor, out: W) -> Self {
        Self { writer: Some(Writer::new(out)), ..Self::new(redactor) }
    }

    /// What keeps the secrets.
    pub const fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Exchanges heard so far.
    pub const fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// S3 calls heard so far.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Writes what belongs at the end of a session: sources, findings and the summary.
    ///
    /// # Errors
    /// The first failure to write, also of earlier lines.
    pub fn finish(self, sources: &[Source], summary: &Summary) -> io::Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Some(mut writer) = self.writer else { return Ok(()) };
        let report = Report { sources, summary, redactor: &self.redactor };
        for source in sources {
            writer.write_record("source", source)?;
        }
        for finding in &summary.findings {
            writer.write_record("finding", &json::finding(&report, finding))?;
        }
        writer.write_record("summary", &json::summary_line(&report))?;
        writer.finish().map(drop)
    }

    fn write(&mut self, line: impl FnOnce(&mut Writer<W>, &Redactor) -> io::Result<()>) {
        // After a failure nothing more is written; the run goes on to its end, and the failure is told there.
        if let Some(writer) = &mut self.writer
            && self.failure.is_none()
        {
            self.failure = line(writer, &self.redactor).err();
        }
    }
}

impl<W: Write> Sink for Recorder<W> {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.exchanges += 1;
        self.calls += u64::from(record.call.is_some());
        self.redactor.learn_secrets(record.secrets);
        self.write(|writer, redactor| writer.write_exchange(record.exchange, record.call, record.hop, record.trace, redactor));
    }

    fn sealed(&mut self, record: &JudgedSealed<'_>) {
        self.write(|writer, _| writer.write_sealed(record.exchange, record.hop, record.partner));
    }

    fn flow_closed(&mut self, closed: &FlowClosed, hop: Option<&str>) {
        self.write(|writer, redactor| writer.write_flow(closed, hop, redactor));
    }

    fn loss(&mut self, loss: &Loss) {
        self.write(|writer, _| writer.write_loss(loss));
    }
}
