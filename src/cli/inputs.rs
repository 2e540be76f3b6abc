//! Inputs: files and stdin, opened and told apart by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::analysis::{Analysis, Sink, Summary};
use crate::capture::{Input, Kind, OpenedFile, open_file, sniff};
use crate::cli::failure::{Failure, say};
use crate::cli::interrupt::Stop;
use crate::cli::output::is_same_file;
use crate::model::Untrusted;
use crate::session::jsonl::Record;
use crate::session::merged::{MergeError, Merged, Origin};
use crate::session::source::Source;

/// What was given: captures, or sessions.
pub(super) enum Inputs {
    /// Files of packets.
    Packets(Vec<Input>),
    /// Recorded exchanges.
    Sessions(Sessions),
}

/// Recordings that are read as one session.
pub(super) type Sessions = Merged<BufReader<Box<dyn Read + Send>>>;

/// What an analysis gives.
pub(super) struct Ran {
    pub(super) summary: Summary,
    pub(super) sources: Vec<Source>,
}

/// Opens everything that was named.
pub(super) fn open(names: &[String], stop: &Stop) -> Result<Inputs, Failure> {
    if names.iter().filter(|name| *name == "-").count() > 1 {
        return Err(Failure::usage("stdin is named twice", "name - only once"));
    }
    for (at, name) in names.iter().enumerate() {
        if let Some(same) = names.iter().take(at).find(|other| is_same_file(other, name)) {
            return Err(Failure::usage(
                format!("{same} and {name} are the same file"),
                "name each file once: its packets would count twice",
            ));
        }
    }
    let mut packets = Vec::new();
    let mut sessions = Vec::new();
    for name in names {
        let (kind, mut input) = open_one(name, stop)?;
        input.stream = stop.over(input.stream);
        if kind == Kind::JsonLines {
            sessions.push((input.name, input.stream));
        } else {
            packets.push(input);
        }
    }
    match (packets.is_empty(), sessions.is_empty()) {
        (false, false) => Err(Failure::usage("captures and recorded sessions are mixed", "analyze them in separate runs")),
        (true, _) => Ok(Inputs::Sessions(self::sessions(sessions))),
        (false, true) => Ok(Inputs::Packets(packets)),
    }
}

/// Reads a small text file that a flag names, such as a key log.
pub(super) fn read_whole(path: &str, what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(WHOLE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| Failure::unreadable(error, format!("cannot read the {what} {path}"), CHECK_FILE))?;
    Ok(bytes)
}

/// Opens a file that a flag names, to read it piece by piece.
pub(super) fn open_text(path: &str, what: &str) -> Result<impl Read + use<>, Failure> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|error| Failure::unreadable(error, format!("cannot read the {what} {path}"), CHECK_FILE))
}

/// Runs recordings through the analysis. `keep` may change a record or leave it out.
pub(super) fn analyze_sessions(
    mut sessions: Sessions,
    mut analysis: Analysis,
    sink: &mut dyn Sink,
    keep: &mut dyn FnMut(&mut Record) -> Result<bool, Failure>,
) -> Result<Ran, Failure> {
    while let Some(mut record) = sessions.read().map_err(unreadable_session)? {
        if keep(&mut record)? {
            analysis.handle_record(record, sink);
        }
    }
    let Origin { sources, totals, torn } = sessions.finish();
    for (name, line) in torn {
        say(format_args!("warning: {}: its last line {line} is cut; what is before it was read", Untrusted::text(&name)));
    }
    analysis.handle_totals(&totals);
    Ok(Ran { summary: analysis.finish(sink), sources })
}

/// Recordings as one session.
pub(super) fn sessions(inputs: impl IntoIterator<Item = (String, Box<dyn Read + Send>)>) -> Sessions {
    Merged::new(inputs.into_iter().map(|(name, stream)| (name, BufReader::with_capacity(1 << 20, stream))))
}

/// A recording that cannot be read on.
pub(super) fn unreadable_session(error: MergeError) -> Failure {
    let what = format!("cannot read {}", Untrusted::text(&error.name));
    Failure::unreadable(error.source, what, "a session is written by hopwire with --format jsonl")
}

fn open_one(name: &str, stop: &Stop) -> Result<(Kind, Input), Failure> {
    let cannot = |error: io::Error| Failure::unreadable(error, format!("cannot read {name}"), CHECK_FILE);
    if name == "-" {
        let mut stdin = BufReader::with_capacity(SNIFF_BYTES, stop.over_stdin().map_err(cannot)?);
        let first = stdin.fill_buf().map_err(cannot)?.to_vec();
        return Ok((sniff_input(&first), Input { name: name.to_owned(), stream: Box::new(stdin), positioned: None }));
    }
    if Path::new(name).is_dir() {
        let error = anyhow::anyhow!("it is a directory");
        return Err(Failure::unreadable(
            error,
            format!("cannot read {name}"),
            format!("name the files in it, as in {}/*.pcapng", name.trim_end_matches('/')),
        ));
    }
    let OpenedFile { kind, input } = open_file(Path::new(name)).map_err(cannot)?;
    Ok((kind, input))
}

/// A session of a single line looks like one JSON document.
fn sniff_input(first: &[u8]) -> Kind {
    match sniff(first) {
        Kind::Json if first.starts_with(b"{\"type\":") => Kind::JsonLines,
        kind => kind,
    }
}

const CHECK_FILE: &str = "check the name, and that you may read it";
/// Enough to tell what a file is.
const SNIFF_BYTES: usize = 4096;
/// Key logs are far smaller; what is larger is something else.
const WHOLE_BYTES_MAX: u64 = 256 << 20;
