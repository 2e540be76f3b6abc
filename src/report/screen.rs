//! The sheet that the report for people is written on: lines of at most [`WIDTH`] columns, in colours where asked for,
//! and no text from the wire unescaped.

use std::io::{self, Write};

use crate::model::Untrusted;
use crate::report::text::{frames, wrap};
use crate::report::{Report, Style};
use crate::rules::Evidence;

/// Columns of the report.
pub(super) const WIDTH: usize = 100;

/// Where a report is written.
pub(super) struct Screen<'a, 'o> {
    pub(super) report: &'a Report<'a>,
    pub(super) style: Style,
    pub(super) out: &'o mut dyn Write,
}

/// Numbers of ECMA-48 SGR.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Bold = 1,
    Faint = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

impl Screen<'_, '_> {
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(Colour::Bold, text);
        writeln!(self.out, "\n{text}")
    }

    pub(super) fn paragraph(&mut self, first: &str, other: &str, text: &str) -> io::Result<()> {
        for (at, line) in wrap(text, WIDTH - columns(other).max(columns(first))).iter().enumerate() {
            writeln!(self.out, "{}{line}", if at == 0 { first } else { other })?;
        }
        Ok(())
    }

    /// A paragraph whose last words, the places that show it, stand back.
    pub(super) fn shown(&mut self, first: &str, other: &str, text: &str, places: &str) -> io::Result<()> {
        if places.is_empty() {
            return self.paragraph(first, other, text);
        }
        // Blanks inside the places become one letter, so that colour starts and ends within a line.
        let glued = format!("[{}]", places.replace(' ', GLUE));
        let width = WIDTH - columns(other).max(columns(first));
        let lines = if columns(&glued) <= width {
            wrap(&format!("{text} {glued}"), width)
        } else {
            wrap(&format!("{text} [{places}]"), width)
        };
        for (at, line) in lines.iter().enumerate() {
            let line = match line.split_once('[').filter(|_| line.contains(GLUE)) {
                Some((words, rest)) => format!("{words}{}", self.paint(Colour::Faint, &format!("[{}", rest.replace(GLUE, " ")))),
                None => line.clone(),
            };
            writeln!(self.out, "{}{line}", if at == 0 { first } else { other })?;
        }
        Ok(())
    }

    pub(super) fn paint(&self, colour: Colour, text: &str) -> String {
        if self.style.colour { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }

    /// Text without secrets and without anything that steers a terminal. Messages of rules are escaped already, and text
    /// that is escaped passes unchanged.
    pub(super) fn clean(&self, text: &str) -> String {
        Untrusted::text(&self.report.clean(text)).to_string()
    }

    /// Frames and log lines that show a claim made of `count` things.
    pub(super) fn places(&self, all: &[Evidence], count: u64, shown_max: usize) -> String {
        let mut by_file: Vec<(u16, Vec<u64>)> = Vec::new();
        for (file, mut numbers) in all.iter().flat_map(|one| self.report.frames_by_file(one)) {
            match by_file.iter_mut().find(|(have, _)| *have == file) {
                Some((_, have)) => have.append(&mut numbers),
                None => by_file.push((file, numbers)),
            }
        }
        let is_cut = count > all.len() as u64;
        let several = self.report.sources.len() > 1;
        let mut parts: Vec<_> = by_file
            .iter()
            .map(|(file, numbers)| {
                let name = self
                    .report
                    .file(*file)
                    .filter(|_| several)
                    .map(|name| format!(" of {}", Untrusted::text(name)))
                    .unwrap_or_default();
                format!("{}{name}", frames(numbers, shown_max, is_cut))
            })
            .collect();
        let logs: Vec<_> = all.iter().filter_map(|one| one.log_line.as_ref()).collect();
        parts.extend(logs.iter().take(2).map(|(file, line)| format!("{} line {line}", Untrusted::text(file))));
        if logs.len() > 2 {
            parts.push(format!("{} more log lines", logs.len() - 2));
        }
        parts.join("; ")
    }
}

/// Stands for a blank where a line must not be broken. No text has it, since control characters are escaped.
const GLUE: &str = "\u{1}";

/// How many columns a text takes, colours aside.
fn columns(text: &str) -> usize {
    text.chars().count()
}
