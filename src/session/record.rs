//! Writes a session while exchanges come: learns the secrets of each, and writes every line redacted.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::model::{Exchange, ExchangeId, FlowClosed, FlowOpened, Loss, SealedExchange, SealedPartner};
use crate::s3::{Call, Domains};
use crate::session::jsonl::Writer;
use crate::session::redact::Redactor;
use crate::session::secrets::{Exposed, in_exchange};
use crate::session::source::Source;

/// Records what comes, and keeps none of it. It writes if there is somewhere to write to.
///
/// After a failure nothing more is written: the run that is recorded goes on, and [`Recorder::finish`] gives the failure.
pub struct Recorder<W: Write> {
    redactor: Redactor,
    writer: Option<Writer<W>>,
    failure: Option<io::Error>,
    exchanges: u64,
    calls: u64,
    /// The turn of the next line.
    turn: u64,
    /// The turns of exchanges that are recorded later.
    deferred: HashMap<ExchangeId, u64>,
}

impl<W: Write> Recorder<W> {
    /// Learns only.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, writer: None, failure: None, exchanges: 0, calls: 0, turn: 0, deferred: HashMap::new() }
    }

    /// Learns, and writes a session to `out`.
    pub fn writing(redactor: Redactor, out: W) -> Self {
        Self { writer: Some(Writer::new(out)), ..Self::new(redactor) }
    }

    /// What keeps the secrets.
    pub const fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Exchanges so far.
    pub const fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// S3 calls so far.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Records an exchange of which nothing is known but its hop.
    pub fn exchange_of(&mut self, hop: &str, exchange: &Exchange, domains: &Domains) {
        let call = Call::read(exchange, domains);
        let mut secrets = Vec::new();
        in_exchange(exchange, [true, true], &mut secrets);
        self.exchange(exchange, call.as_ref(), hop, None, &secrets);
    }

    /// Records an exchange of a hop, with what it means in S3 and the secrets that are in it; `trace` is the exchange nearest the client
    /// of the same call, where that is known.
    pub fn exchange(
        &mut self,
        exchange: &Exchange,
        call: Option<&Call<'_>>,
        hop: &str,
        trace: Option<ExchangeId>,
        secrets: &[Exposed<'_>],
    ) {
        self.exchanges += 1;
        self.calls += u64::from(call.is_some());
        self.redactor.learn_secrets(secrets);
        let turn = self.deferred.remove(&exchange.id).unwrap_or_else(|| self.next_turn());
        self.write(|writer, redactor| writer.at(turn).write_exchange(exchange, call, hop, trace, redactor));
    }

    /// An exchange came whose line is written later, when its partners are known: it keeps its place in the order.
    pub fn defer(&mut self, id: ExchangeId) {
        if self.writer.is_some() {
            let turn = self.next_turn();
            self.deferred.insert(id, turn);
        }
    }

    /// Records an exchange inside TLS that was not decrypted, with the exchange that is held to have led to it, and how surely.
    pub fn sealed(&mut self, sealed: &SealedExchange, hop: &str, partner: Option<(SealedPartner, &'static str)>) {
        let turn = self.next_turn();
        self.write(|writer, _| writer.at(turn).write_sealed(sealed, hop, partner));
    }

    /// Records the first packet of a connection.
    pub fn opened(&mut self, opened: &FlowOpened) {
        let turn = self.next_turn();
        self.write(|writer, _| writer.at(turn).write_opened(opened));
    }

    /// Records a connection at its end.
    pub fn flow(&mut self, closed: &FlowClosed, hop: Option<&str>) {
        let turn = self.next_turn();
        self.write(|writer, redactor| writer.at(turn).write_flow(closed, hop, redactor));
    }

    /// Records something that was not decoded.
    pub fn loss(&mut self, loss: &Loss) {
        let turn = self.next_turn();
        self.write(|writer, _| writer.at(turn).write_loss(loss));
    }

    /// Records where the exchanges came from.
    pub fn source(&mut self, source: &Source) {
        self.write(|writer, _| writer.write_record("source", source));
    }

    /// Hands on what was collected, so that a reader of the unfinished session sees it.
    pub fn flush(&mut self) {
        self.write(|writer, _| writer.flush());
    }

    /// Ends the session.
    ///
    /// # Errors
    /// The first failure to write, also of earlier lines.
    pub fn finish(self) -> io::Result<()> {
        match (self.failure, self.writer) {
            (Some(failure), _) => Err(failure),
            (None, Some(writer)) => writer.finish().map(drop),
            (None, None) => Ok(()),
        }
    }

    const fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Lets `line` write, where there is somewhere to write to and nothing failed before.
    pub fn write(&mut self, line: impl FnOnce(&mut Writer<W>, &Redactor) -> io::Result<()>) {
        if let Some(writer) = &mut self.writer
            && self.failure.is_none()
        {
            self.failure = line(writer, &self.redactor).err();
        }
    }
}
