//! Looking at bytes in passing: how many may go on, and what experiments make of them.

use std::time::Duration;

use crate::proxy::experiment::{Edited, Fate, Trials};
use crate::proxy::gate::{Gate, Step};
use crate::proxy::goal::Ask;
use crate::proxy::pump::Looked;
use crate::proxy::refusal::Refusal;

/// The messages of one connection, as far as relaying needs to know them.
pub(super) struct Lookout {
    pub(super) gate: Gate,
    pub(super) trials: Trials,
    pub(super) forwards_ambiguous: bool,
    /// Where the requests of a forward proxy's client go; other ones need another connection.
    pub(super) asked: Option<Ask>,
    /// A response is to wait.
    pub(super) pause: Option<Duration>,
    /// The response is cut off here.
    pub(super) is_cut: bool,
    /// Experiments that took effect and were not reported yet.
    pub(super) effects: Vec<String>,
}

/// Why bytes do not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Refused(Refusal),
    /// An experiment answers the request.
    Fault(u16, String),
    /// The next request goes elsewhere.
    Switch,
}

impl Lookout {
    pub(super) const fn new(trials: Trials, forwards_ambiguous: bool, asked: Option<Ask>) -> Self {
        let gate = Gate::new();
        Self { gate, trials, forwards_ambiguous, asked, pause: None, is_cut: false, effects: Vec::new() }
    }

    /// How many bytes of requests may be forwarded.
    pub(super) fn requests(&mut self, data: &[u8]) -> Result<Looked, Stop> {
        let mut used = 0;
        while used < data.len() {
            let rest = data.get(used..).unwrap_or_default();
            if self.goes_elsewhere(rest) {
                match used == 0 && self.gate.is_idle() {
                    true => return Err(Stop::Switch),
                    // First what is in progress.
                    false => break,
                }
            }
            match self.gate.request(rest) {
                Ok(Step::Head(count)) => {
                    self.try_request(rest.get(..count).unwrap_or(rest))?;
                    used += count;
                }
                Ok(Step::Body(count)) => used += count,
                Ok(Step::Wait) => break,
                Err(refusal) if self.forwards_ambiguous && refusal.is_ambiguous() => self.gate.open(),
                Err(refusal) => return Err(Stop::Refused(refusal)),
            }
        }
        Ok(Looked { used, instead: None })
    }

    /// How many bytes of responses may be forwarded, or what in their place.
    pub(super) fn responses(&mut self, data: &[u8]) -> Result<Looked, Stop> {
        let mut used = 0;
        let mut instead: Option<(Vec<u8>, String)> = None;
        while used < data.len() {
            let rest = data.get(used..).unwrap_or_default();
            let count = match self.gate.response(rest) {
                Ok((Step::Head(count), told)) => {
                    let head = rest.get(..count).unwrap_or(rest);
                    let edited = told
                        .filter(|_| !self.trials.are_off())
                        .and_then(|told| self.trials.response(head, told.request, !matches!(told.status, 100 | 102..200)));
                    if let Some(Edited { head, note }) = edited {
                        self.effects.push(note.clone());
                        let so_far =
                            instead.take().map_or_else(|| data.get(..used).unwrap_or_default().to_vec(), |(bytes, _)| bytes);
                        instead = Some(([so_far, head].concat(), format!("changed by hopwire: {note}")));
                        used += count;
                        continue;
                    }
                    count
                }
                Ok((Step::Body(count), _)) => count,
                Ok((Step::Wait, _)) => break,
                Err(refusal) if self.forwards_ambiguous && refusal.is_ambiguous() => {
                    self.gate.open();
                    continue;
                }
                Err(refusal) => return Err(Stop::Refused(refusal)),
            };
            if let Some((bytes, _)) = &mut instead {
                bytes.extend_from_slice(rest.get(..count).unwrap_or(rest));
            }
            used += count;
        }
        Ok(self.cut(Looked { used, instead }, data))
    }

    /// Whether the request at the start of `data` goes to another place than those before.
    fn goes_elsewhere(&self, data: &[u8]) -> bool {
        let Some(asked) = &self.asked else { return false };
        if !self.gate.awaits_head() || memchr::memmem::find(data, b"\r\n\r\n").is_none() {
            return false;
        }
        Ask::read(data).is_some_and(|ask| ask != *asked)
    }

    fn try_request(&mut self, head: &[u8]) -> Result<(), Stop> {
        if self.trials.are_off() {
            return Ok(());
        }
        let (fate, note) = self.trials.request(head, self.gate.requests());
        self.effects.extend(note.clone());
        match fate {
            Fate::Forwarded => Ok(()),
            Fate::Delayed(span) => {
                self.pause = Some(span);
                Ok(())
            }
            Fate::Answered(status) => Err(Stop::Fault(status, note.unwrap_or_default())),
        }
    }

    /// Lets only so much of a response pass as an experiment says.
    fn cut(&mut self, looked: Looked, data: &[u8]) -> Looked {
        let Some(left) = self.trials.cut_after else { return looked };
        let Looked { used, instead } = looked;
        let (mut bytes, note) =
            instead.unwrap_or_else(|| (data.get(..used).unwrap_or(data).to_vec(), "cut off by hopwire".to_owned()));
        if (bytes.len() as u64) < left {
            self.trials.cut_after = Some(left - bytes.len() as u64);
        } else {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.trials.cut_after = Some(0);
            self.is_cut = true;
        }
        Looked { used, instead: Some((bytes, note)) }
    }
}
