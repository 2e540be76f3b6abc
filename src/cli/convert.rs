//! `hopwire convert`: a capture or session in, another one out.

mod bodies;
mod files;
mod sessions;

use std::io::{self, BufWriter};

use clap::{Args, ValueEnum};

use crate::cli::Outcome;
use crate::cli::convert::files::{Input, Target};
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::inputs;
use crate::convert::{Choice, ConvertError, Format, Masked, Options, Report, convert, prove};
use crate::model::{ExchangeId, FlowId, Secret, Untrusted};

/// The arguments of `convert`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A capture (pcap, pcapng, also .gz and .zst) or a recorded session (jsonl); - is stdin
    #[arg(value_name = "IN")]
    input: String,
    /// Where to write: only you can read it; - is stdout
    #[arg(value_name = "OUT")]
    output: String,
    /// What to write [default: by the suffix of OUT]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Embeds the lines of a TLS key log that belong to connections of the capture
    #[arg(long, value_name = "FILE")]
    keylog: Vec<String>,
    /// Leaves out TLS secrets, also those the capture holds
    #[arg(long)]
    strip_secrets: bool,
    /// Keeps these flows only
    #[arg(long, value_name = "ID,…", value_delimiter = ',', value_parser = parse_flow)]
    flow: Vec<FlowId>,
    /// Keeps the packets of these exchanges only (of TLS, the whole flow)
    #[arg(long, value_name = "FLOW.N,…", value_delimiter = ',', value_parser = parse_exchange)]
    exchange: Vec<ExchangeId>,
    /// Makes a capture that can be shared: masks secrets in plaintext, cuts off plaintext that was not decoded, leaves out TLS secrets and comments, and proves the result
    #[arg(long)]
    scrub: bool,
    /// With --scrub: keeps plaintext that could not be decoded, though nobody knows which secrets are in it
    #[arg(long, requires = "scrub")]
    keep_undecoded: bool,
    /// Cuts off the payload of TLS that stays shut (with --scrub: of all TLS), and of what is no HTTP
    #[arg(long)]
    drop_payload_undecrypted: bool,
    /// Leaves out names of addresses
    #[arg(long)]
    drop_names: bool,
    /// Writes bodies too, beside the session: OUT is run.jsonl, they are in run.blobs, as they were sent
    #[arg(long)]
    bodies: bool,
    /// Writes secrets into a session as they were sent: it can be replayed, and must be kept like the keys in it
    #[arg(long)]
    show_secrets: bool,
    /// Leaves out comments
    #[arg(long)]
    drop_comments: bool,
    /// Overwrites OUT
    #[arg(long)]
    force: bool,
    /// Prints nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

/// What `--format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// One link type, no secrets or names
    Pcap,
    /// All there is
    Pcapng,
    /// A session: one exchange per line, redacted
    Jsonl,
}

/// Runs the conversion.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let format = arguments.format()?;
    arguments.check(format)?;
    let input = Input::open(&arguments.input)?;
    match (input.is_session(), format) {
        (true, FormatName::Jsonl) => sessions::rewrite(arguments, input),
        (true, FormatName::Pcap) => sessions::synthesize(arguments, input, Format::Pcap),
        (true, FormatName::Pcapng) => sessions::synthesize(arguments, input, Format::Pcapng),
        (false, FormatName::Jsonl) => sessions::record(arguments, input),
        (false, FormatName::Pcap) => copy(arguments, input, Format::Pcap),
        (false, FormatName::Pcapng) => copy(arguments, input, Format::Pcapng),
    }
}

/// Packets to packets.
fn copy(arguments: &Arguments, mut input: Input, format: Format) -> Outcome {
    let options = arguments.options(format, &input)?;
    if options.once && options.needs_survey() {
        return Err(Failure::usage(
            "stdin can be read once only, and this conversion reads its input several times",
            "write the capture to a file first and name that",
        ));
    }
    let mut target = arguments.target()?;
    let out = BufWriter::with_capacity(1 << 20, target.take_stream());
    let done = convert(&mut || input.capture(), out, &options);
    let (report, out, proof) = done.map_err(|error| arguments.failure(error))?;
    let stream = out.into_inner().map_err(|error| arguments.unwritable(error.into_error()))?;
    drop(stream);
    if let Some(proof) = proof {
        let written = target.read_back().and_then(|(file, capture)| prove(&proof, file, capture));
        // What is not proven does not stay: the target removes what it has not published.
        written.map_err(|error| arguments.failure(error))?;
    }
    target.publish(arguments.force)?;
    warn(&report);
    if !arguments.quiet {
        tell(arguments, &report);
    }
    Ok(Exit::Done)
}

impl Arguments {
    fn format(&self) -> Result<FormatName, Failure> {
        let suffix = self.output.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
        let by_suffix = match suffix.as_deref() {
            Some("pcap" | "cap") => Some(FormatName::Pcap),
            Some("pcapng" | "ntar") => Some(FormatName::Pcapng),
            Some("jsonl" | "ndjson") => Some(FormatName::Jsonl),
            _ => None,
        };
        self.format.or(by_suffix).ok_or_else(|| {
            Failure::usage(
                format!("the name {} does not tell what to write", Untrusted::text(&self.output)),
                "name the output *.pcapng, *.pcap or *.jsonl, or give --format",
            )
        })
    }

    fn check(&self, format: FormatName) -> Result<(), Failure> {
        let rewrites = self.scrub || self.drop_payload_undecrypted;
        if format == FormatName::Jsonl && (rewrites || self.strip_secrets || self.drop_names || self.drop_comments) {
            return Err(Failure::usage(
                "a session holds no packets, names or comments, and its secrets are redacted already",
                "leave out --scrub, --strip-secrets and --drop-…",
            ));
        }
        if format != FormatName::Jsonl && (self.bodies || self.show_secrets) {
            return Err(Failure::usage(
                "only a session has bodies beside it and secrets that are replaced",
                "name the output *.jsonl, or leave out --bodies and --show-secrets",
            ));
        }
        if self.scrub && self.output == "-" {
            return Err(Failure::usage("what --scrub writes is read again to prove it, and stdout cannot be", "name a file"));
        }
        if !self.keylog.is_empty() && (self.strip_secrets || format == FormatName::Pcap) {
            return Err(Failure::usage("the key log has no place in the output", "write pcapng, and leave out --strip-secrets"));
        }
        Ok(())
    }

    fn choice(&self) -> Choice {
        Choice { flows: self.flow.clone(), exchanges: self.exchange.clone() }
    }

    fn keylogs(&self) -> Result<Vec<Secret>, Failure> {
        self.keylog.iter().map(|path| inputs::read_whole(path, "key log").map(Secret::new)).collect()
    }

    fn options(&self, format: Format, input: &Input) -> Result<Options, Failure> {
        Ok(Options {
            format,
            keylogs: self.keylogs()?,
            strip_secrets: self.strip_secrets,
            drop_names: self.drop_names,
            drop_comments: self.drop_comments,
            drop_undecrypted: self.drop_payload_undecrypted,
            scrub: self.scrub,
            keep_undecoded: self.keep_undecoded,
            choice: self.choice(),
            once: !input.is_repeatable(),
        })
    }

    fn target(&self) -> Result<Target, Failure> {
        Target::create(&self.output, &self.input, self.force, self.scrub)
    }

    fn failure(&self, error: ConvertError) -> Failure {
        let what = format!("cannot convert {}", Untrusted::text(&self.input));
        match error {
            ConvertError::Unwritable(error) => self.unwritable(error),
            ConvertError::NotFound(what) => Failure::usage(
                format!("the capture has no {what}"),
                "`hopwire analyze` and its jsonl name flows and exchanges; with another --keylog they are the same",
            ),
            error @ ConvertError::LinkTypes { .. } => {
                Failure::unreadable(error, what, "write pcapng, or choose the flows of one interface with --flow")
            }
            error @ ConvertError::TooManySecrets(_) => {
                Failure::unreadable(error, what, "scrub a part of the capture: choose with --flow, or split the file")
            }
            error @ ConvertError::NotFree { .. } => Failure::unreadable(
                error,
                format!("{} was not written", Untrusted::text(&self.output)),
                "choose the flows that matter with --flow and scrub those, or add --drop-payload-undecrypted",
            ),
            error => Failure::unreadable(error, what, "give a pcap, a pcapng or a session that hopwire wrote"),
        }
    }

    fn unwritable(&self, error: io::Error) -> Failure {
        Failure::unwritable(error, format!("cannot write {}", Untrusted::text(&self.output)))
    }
}

/// What was wrong with the input.
fn warn(report: &Report) {
    for problem in &report.source.problems {
        say(format_args!("warning: {}: {problem}", Untrusted::text(&report.source.name)));
    }
    if report.source.other_blocks > 0 {
        say(format_args!("warning: {} blocks of kinds that are not known here were left out", report.source.other_blocks));
    }
}

/// What was done, on stderr.
fn tell(arguments: &Arguments, report: &Report) {
    let Report { packets_read, packets_written, packets_masked, .. } = report;
    say(format_args!("wrote {}: {packets_written} of {packets_read} packets", Untrusted::text(&arguments.output)));
    let counts = [
        (report.keys_written, "key-log lines embedded before the packets"),
        (report.keys_left_out, "key-log lines left out: their connections are not in the output"),
        (report.secrets_dropped, "blocks of TLS secrets left out"),
        (report.comments_dropped, "comments left out"),
        (report.names_dropped, "names left out"),
        (report.packets_cut, "packets cut short"),
    ];
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        say(format_args!("  {count} {what}"));
    }
    if !arguments.scrub {
        return;
    }
    let is_secret = |what: &&Masked| **what != Masked::Undecoded;
    let places: u64 = report.masked.iter().filter(|(what, _)| is_secret(what)).map(|(_, count)| count).sum();
    let checksums = if *packets_masked > 0 { "; their TCP checksums were computed anew" } else { "" };
    say(format_args!("  {places} secrets masked in {packets_masked} packets{checksums}"));
    for (what, count) in report.masked.iter().filter(|(what, _)| is_secret(what)) {
        say(format_args!("    {count:>6} {}", what.label()));
    }
    if report.undecoded_bytes > 0 && arguments.keep_undecoded {
        say(format_args!(
            "  warning: {} bytes of plaintext that could not be decoded were kept: only secrets seen elsewhere are masked in them",
            report.undecoded_bytes
        ));
    } else if report.undecoded_bytes > 0 {
        say(format_args!(
            "  {} bytes of plaintext that could not be decoded were removed (--keep-undecoded keeps them)",
            report.undecoded_bytes
        ));
    }
    say("  the output was read again with another search: none of these secrets is in it");
}

fn parse_flow(text: &str) -> Result<FlowId, String> {
    text.trim().parse().map(FlowId).map_err(|_| format!("{text:?} names no flow; expected a number, as in 17"))
}

fn parse_exchange(text: &str) -> Result<ExchangeId, String> {
    let parse = || {
        let (flow, ordinal) = text.trim().split_once('.')?;
        Some(ExchangeId { flow: FlowId(flow.parse().ok()?), ordinal: ordinal.parse().ok()? })
    };
    parse().ok_or_else(|| format!("{text:?} names no exchange; expected FLOW.N, as in 17.2"))
}

const EXAMPLES: &str = "\
Examples:
  hopwire convert run.pcap run.pcapng --keylog keys.txt      one file that Wireshark opens
  hopwire convert run.pcapng share.pcapng --scrub            a capture to attach to a ticket
  hopwire convert run.pcapng one.pcapng --exchange 17.2      the packets of one exchange
  hopwire convert run.pcapng run.jsonl                       the exchanges, redacted
  hopwire convert run.pcapng run.jsonl --bodies              the same, with the bodies in run.blobs
  hopwire convert run.jsonl run.pcapng                       packets again, in clear";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_and_exchanges_are_named_by_numbers() {
        assert_eq!(parse_flow(" 17"), Ok(FlowId(17)));
        assert_eq!(parse_exchange("17.2"), Ok(ExchangeId { flow: FlowId(17), ordinal: 2 }));
        for wrong in ["", "a", "17.2"] {
            assert!(parse_flow(wrong).is_err(), "{wrong}");
        }
        for wrong in ["17", "17.", ".2", "17.2.3", "-1.2"] {
            assert!(parse_exchange(wrong).is_err(), "{wrong}");
        }
    }
}
