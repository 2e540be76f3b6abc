//! A run on its way into a session: what is judged is recorded, and at the end the findings and the summary.

use std::io::{self, Write};

use crate::analysis::{Judged, JudgedSealed, Sink, Summary};
use crate::model::{ExchangeId, FlowClosed, FlowOpened, Loss};
use crate::report::{Report, json};
use crate::session::record;
use crate::session::redact::Redactor;
use crate::session::source::Source;

/// A sink that records, and keeps no exchange.
pub struct Recorder<W: Write>(record::Recorder<W>);

impl<W: Write> Recorder<W> {
    /// Learns the secrets only.
    pub fn new(redactor: Redactor) -> Self {
        Self(record::Recorder::new(redactor))
    }

    /// Learns, and writes a session to `out`.
    pub fn writing(redactor: Redactor, out: W) -> Self {
        Self(record::Recorder::writing(redactor, out))
    }

    /// What keeps the secrets.
    pub const fn redactor(&self) -> &Redactor {
        self.0.redactor()
    }

    /// Exchanges so far.
    pub const fn exchanges(&self) -> u64 {
        self.0.exchanges()
    }

    /// S3 calls so far.
    pub const fn calls(&self) -> u64 {
        self.0.calls()
    }

    /// Writes what belongs at the end of a session: sources, findings and the summary.
    ///
    /// # Errors
    /// The first failure to write, also of earlier lines.
    pub fn finish(mut self, sources: &[Source], summary: &Summary) -> io::Result<()> {
        sources.iter().for_each(|source| self.0.source(source));
        self.0.write(|writer, redactor| {
            let report = Report { sources, summary, redactor };
            for finding in &summary.findings {
                writer.write_record("finding", &json::finding(&report, finding))?;
            }
            writer.write_record("summary", &json::summary_line(&report))
        });
        self.0.finish()
    }
}

impl<W: Write> Sink for Recorder<W> {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.0.exchange(record.exchange, record.call, record.hop, record.trace, record.secrets);
    }

    fn deferred(&mut self, id: ExchangeId) {
        self.0.defer(id);
    }

    fn flow_opened(&mut self, opened: &FlowOpened) {
        self.0.opened(opened);
    }

    fn sealed(&mut self, record: &JudgedSealed<'_>) {
        self.0.sealed(record.exchange, record.hop, record.partner);
    }

    fn flow_closed(&mut self, closed: &FlowClosed, hop: Option<&str>) {
        self.0.flow(closed, hop);
    }

    fn loss(&mut self, loss: &Loss) {
        self.0.loss(loss);
    }
}
