//! `hopwire compare`: two recordings of the same job in, what differs and why out.

use std::io::{BufWriter, Write as _};

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::recorded::{Reading, read_nearest};
use crate::compare::{CallRecord, Comparison, Mapping, Noise, Options, Run, compare, render};

/// The arguments of `compare`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The recording that things are compared with: a capture or a session
    before: String,
    /// The other recording of the same job
    after: String,
    /// A second recording of the job as in BEFORE: what these two differ in is left out
    #[arg(long, value_name = "THIRD")]
    noise: Option<String>,
    /// A bucket that has another name in AFTER
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_pair)]
    bucket_map: Vec<(String, String)>,
    /// A prefix of keys that is another one in AFTER
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_pair)]
    prefix_map: Vec<(String, String)>,
    #[command(flatten)]
    reading: Reading,
    /// How to report [default: table, or by the suffix of -o]
    #[arg(long, value_enum)]
    format: Option<ComparisonFormat>,
    /// Writes the report to a file that only you can read
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Shows every difference with its calls
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// How a comparison is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ComparisonFormat {
    /// Text for people
    Table,
    /// One JSON object, schema hopwire.comparison/1
    Json,
}

/// `OLD=NEW`
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("give OLD=NEW".to_owned()),
    }
}

/// Reads both recordings and reports what differs.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let before = arguments.read(&arguments.before)?;
    let after = arguments.read(&arguments.after)?;
    let mapping = Mapping { buckets: arguments.bucket_map.clone(), prefixes: arguments.prefix_map.clone() };
    let noise = match &arguments.noise {
        Some(third) => Noise::of(&compare(&before, &arguments.read(third)?, &Options::default())),
        None => Noise::default(),
    };
    let comparison = compare(&before, &after, &Options { mapping, noise });
    arguments.report(&comparison)?;
    Ok(if comparison.is_equal() { Exit::Done } else { Exit::Findings })
}

impl Arguments {
    fn read(&self, file: &str) -> Result<Run, Failure> {
        let (calls, _) = read_nearest(&[file.to_owned()], &self.reading, None, |call, hop| Some(CallRecord::of(call, hop)))?;
        if calls.is_empty() {
            return Err(Failure::not_judged(
                format!("{file} holds no decoded S3 call"),
                "give the key log of one end with --keylog FILE, or check the file with `hopwire analyze`",
            ));
        }
        Ok(Run { calls })
    }

    fn report(&self, comparison: &Comparison) -> Result<(), Failure> {
        let by_suffix = self.output.as_deref().is_some_and(|name| name.ends_with(".json"));
        let format = self.format.unwrap_or(if by_suffix { ComparisonFormat::Json } else { ComparisonFormat::Table });
        let inputs = [self.before.clone(), self.after.clone()];
        let output = output::open(self.output.as_deref(), &inputs)?;
        let mut out = BufWriter::new(output.stream);
        let files = [self.before.as_str(), self.after.as_str()];
        let written = match format {
            ComparisonFormat::Table => render::table(comparison, files, self.verbose > 0, &mut out),
            ComparisonFormat::Json => render::json(comparison, files, &mut out),
        };
        written.and_then(|()| out.flush()).map_err(|error| Failure::unwritable(error, format!("cannot write to {}", output.name)))
    }
}
