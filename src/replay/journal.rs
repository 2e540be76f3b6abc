//! The journal of a replay: one line before a step is sent, one when its response is there. A replay that broke off goes on
//! from it without sending anything twice.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::replay::ids::{IdKind, Ids};

/// What a journal says of earlier runs of a replay.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Steps that got a response.
    pub done: Vec<usize>,
    /// Steps that were sent and got none: whether the store took them is not known.
    pub unknown: Vec<usize>,
    /// The ids that were learnt.
    pub ids: Ids,
    /// What identifies the plan.
    pub plan: Option<String>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line is not one of a journal. The last line may be cut.
    #[error("line {0} is not a line of a journal")]
    Line(usize),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Plan(String),
    Sent(usize),
    Done(usize, Vec<(String, Vec<u8>, Vec<u8>)>),
}

impl Journal {
    /// Reads a journal; a cut last line counts as not written.
    ///
    /// # Errors
    /// Where it cannot be read, or is none.
    pub fn read(input: impl BufRead) -> Result<Self, JournalError> {
        let mut journal = Self::default();
        let lines: Vec<String> = input.lines().collect::<Result<_, _>>()?;
        for (at, text) in lines.iter().enumerate() {
            match serde_json::from_str(text) {
                Ok(Line::Plan(plan)) => journal.plan = Some(plan),
                Ok(Line::Sent(step)) => journal.unknown.push(step),
                Ok(Line::Done(step, pairs)) => {
                    journal.unknown.retain(|one| *one != step);
                    journal.done.push(step);
                    for (kind, old, new) in pairs {
                        if let Some(kind) = IdKind::of_label(&kind) {
                            journal.ids.add(kind, old, new);
                        }
                    }
                }
                Err(_) if at + 1 == lines.len() => {}
                Err(_) => return Err(JournalError::Line(at + 1)),
            }
        }
        journal.ids.take_fresh();
        Ok(journal)
    }

    /// Writes the line that names the plan.
    ///
    /// # Errors
    /// Where `out` fails.
    pub fn write_plan(out: &mut dyn Write, plan: &str) -> std::io::Result<()> {
        write(out, &Line::Plan(plan.to_owned()))
    }

    /// Writes that a step is about to be sent.
    ///
    /// # Errors
    /// Where `out` fails.
    pub fn write_sent(out: &mut dyn Write, step: usize) -> std::io::Result<()> {
        write(out, &Line::Sent(step))
    }

    /// Writes that a step has its response, and what was learnt from it.
    ///
    /// # Errors
    /// Where `out` fails.
    pub fn write_done(out: &mut dyn Write, step: usize, ids: &mut Ids) -> std::io::Result<()> {
        let pairs = ids.take_fresh().into_iter().map(|(kind, old, new)| (kind.label().to_owned(), old, new)).collect();
        write(out, &Line::Done(step, pairs))
    }
}

fn write(out: &mut dyn Write, line: &Line) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_journal_keeps_what_is_whole_and_tells_what_is_unknown() {
        let mut out = Vec::new();
        let mut ids = Ids::default();
        Journal::write_plan(&mut out, "p").unwrap();
        Journal::write_sent(&mut out, 0).unwrap();
        ids.add(IdKind::Upload, b"old".to_vec(), b"new".to_vec());
        Journal::write_done(&mut out, 0, &mut ids).unwrap();
        Journal::write_sent(&mut out, 1).unwrap();
        out.extend(b"{\"don");
        let journal = Journal::read(out.as_slice()).unwrap();
        assert_eq!((journal.done, journal.unknown), (vec![0], vec![1]));
        assert_eq!(journal.ids.find(IdKind::Upload, b"old"), Some(&b"new"[..]));
        assert!(matches!(Journal::read(b"x\n{}\n".as_slice()), Err(JournalError::Line(1))));
    }
}
