//! Reports: the sources and the summary of a run in, text for people or programs out. One file per format.

#[cfg(feature = "cli")]
mod brief;
#[cfg(feature = "cli")]
mod findings;
#[cfg(feature = "cli")]
mod grid;
mod html;
#[cfg(feature = "cli")]
mod joins;
pub mod json;
mod junit;
#[cfg(feature = "cli")]
mod lead;
mod markup;
mod prometheus;
mod record;
mod sarif;
#[cfg(feature = "cli")]
mod screen;
#[cfg(feature = "cli")]
mod table;
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the table uses most of it"))]
mod text;

use std::io::{self, Write};

use crate::analysis::Summary;
use crate::hops::HopId;
use crate::rules::{Evidence, Severity};
use crate::session::redact::Redactor;
use crate::session::source::Source;

pub use record::Recorder;

/// What there is to report.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The inputs, in the order that [`Frame::file`](crate::model::Frame::file) counts.
    pub sources: &'a [Source],
    /// What the run amounts to.
    pub summary: &'a Summary,
    /// Keeps secrets out.
    pub redactor: &'a Redactor,
}

/// A format that is rendered at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people at a terminal.
    #[cfg(feature = "cli")]
    Table,
    /// One JSON object.
    Json,
    /// A static page.
    Html,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// JUnit XML, for CI systems.
    Junit,
    /// Prometheus text exposition.
    Prometheus,
}

/// How to render.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether to colour the table.
    pub colour: bool,
    /// Whether the table gives every finding in full.
    pub verbose: bool,
    /// What counts as failed in JUnit; `None` for nothing.
    pub fail_on: Option<Severity>,
}

/// Writes the report to `out`.
pub fn render(format: Format, report: &Report<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    match format {
        #[cfg(feature = "cli")]
        Format::Table => table::render(report, style, out),
        Format::Json => json::render(report, out),
        Format::Html => html::render(report, out),
        Format::Sarif => sarif::render(report, out),
        Format::Junit => junit::render(report, style.fail_on, out),
        Format::Prometheus => prometheus::render(report, out),
    }
}

impl<'a> Report<'a> {
    /// The name of a hop.
    fn hop(&self, id: HopId) -> &'a str {
        self.summary.hops.iter().find(|hop| hop.id == id).map_or("?", |hop| hop.name.as_str())
    }

    /// The name of a source.
    fn file(&self, index: u16) -> Option<&'a str> {
        self.sources.get(usize::from(index)).map(|source| source.file.as_str())
    }

    /// Text without secrets. What it shows on a terminal is a matter of [`Untrusted`](crate::model::Untrusted).
    fn clean(&self, text: &str) -> String {
        self.redactor.sentence(text).into_owned()
    }

    /// The finding that decided the verdict.
    #[cfg(feature = "cli")]
    fn deciding(&self) -> Option<&'a crate::rules::Finding> {
        let rule = self.summary.verdict.rule?;
        self.summary.findings.iter().find(|finding| finding.rule.name == rule)
    }

    /// The finding that tells what made the job fail.
    #[cfg(feature = "cli")]
    fn failing(&self) -> Option<&'a crate::rules::Finding> {
        let rule = self.summary.verdict.failure.as_ref()?.rule;
        self.summary.findings.iter().find(|finding| finding.rule.name == rule)
    }

    /// Frames by file: evidence may span the files of a rotated capture.
    fn frames_by_file(&self, evidence: &Evidence) -> Vec<(u16, Vec<u64>)> {
        let mut files: Vec<(u16, Vec<u64>)> = Vec::new();
        for frame in evidence.frames.iter().filter(|frame| frame.number() > 0) {
            match files.last_mut() {
                Some((file, numbers)) if *file == frame.file() => numbers.push(frame.number()),
                _ => files.push((frame.file(), vec![frame.number()])),
            }
        }
        files
    }
}
