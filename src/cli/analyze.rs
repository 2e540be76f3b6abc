//! `hopwire analyze`: captures or sessions in, a report out.

use std::io::{self, IsTerminal as _, Write};
use std::net::IpAddr;

use clap::{ArgAction, Args};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::analysis::{Analysis, DeclaredHop, Options, Summary};
use crate::cli::Outcome as Ended;
use crate::cli::credentials::load as load_credentials;
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::inputs::{self, Inputs, Ran, analyze_sessions};
use crate::cli::interrupt::Stop;
use crate::cli::output::{self, Output};
use crate::cli::packets::{Resources, analyze_packets, signed_body};
use crate::cli::progress::Progress;
use crate::cli::values::{FormatName, Limit, When, parse_hop, parse_name, parse_rule, parse_size};
use crate::decode::tls::KeyLog;
use crate::model::Secret;
use crate::report::{Format, Recorder, Report, Style, render};
use crate::rules::Completeness;
use crate::s3::client_log::ClientLog;
use crate::session::redact::Redactor;

/// The arguments of `analyze`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Captures (pcap, pcapng, also .gz and .zst) or recorded sessions (jsonl); - is stdin; several are one capture
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    judging: Judging,
}

/// How to judge and report, whatever the exchanges come from.
#[derive(Args)]
pub(super) struct Judging {
    /// A TLS key log (SSLKEYLOGFILE); secrets inside pcapng are used without asking
    #[arg(long, value_name = "FILE")]
    pub(super) keylog: Vec<String>,
    /// The log of the client (Spark, SDK): its refusals are read as evidence
    #[arg(long, value_name = "FILE")]
    client_log: Vec<String>,
    /// Verifies signatures with these access keys: env, a profile of ~/.aws/credentials, or a file with such sections
    #[arg(long, value_name = "PROFILE|env|FILE")]
    credentials: Vec<String>,
    /// Names a hop by its servers; hops that are not named are inferred
    #[arg(long, value_name = "NAME=HOST:PORT[,…]", value_parser = parse_hop)]
    hop: Vec<DeclaredHop>,
    /// Names an address
    #[arg(long, value_name = "ADDR=NAME", value_parser = parse_name)]
    name: Vec<(IpAddr, String)>,
    /// A base domain of virtual-host style buckets, as in BUCKET.s3.example.org
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
    /// How to report [default: table, or by the suffix of -o]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Writes the report to a file that only you can read
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<String>,
    /// Reports these rules only
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', value_parser = parse_rule)]
    select: Vec<String>,
    /// Leaves these rules out
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', value_parser = parse_rule)]
    ignore: Vec<String>,
    /// Exits with 1 if a finding is at least this bad
    #[arg(long, value_enum, default_value_t = Limit::Warning)]
    fail_on: Limit,
    /// Shows secrets as they were on the wire
    #[arg(long)]
    show_secrets: bool,
    /// Exits with 3 if anything was lost or stayed shut
    #[arg(long)]
    strict: bool,
    /// Opens and authenticates every TLS record, also those inside bodies of known length
    #[arg(long)]
    verify: bool,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// A bound for memory, as in 512M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_memory: Option<u64>,
    /// Shows nothing but the report and errors
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Shows every finding in full
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Colours the table
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    color: When,
}

/// Less memory than this holds no tables.
const MEMORY_MIN: u64 = 32 << 20;

pub(super) type Out = Box<dyn Write + Send>;

/// Runs the analysis and reports.
pub(super) fn run(arguments: Arguments) -> Ended {
    let Arguments { files, judging } = arguments;
    judging.check()?;
    let secrets = judging.secrets()?;
    let stop = Stop::on_signals().map_err(|error| Failure::unreadable(error, "cannot listen for signals", "try again"))?;
    let inputs = inputs::open(&files, &stop)?;
    let output = output::open_whole(judging.output.as_deref(), &judging.inputs(&files))?;
    let summary = judging.judge(output, |analysis, recorder| {
        let mut sink = Progress::new(recorder, judging.quiet);
        match inputs {
            Inputs::Sessions(sessions) => analyze_sessions(sessions, analysis, &mut sink, &mut |_| Ok(true)),
            Inputs::Packets(files) => analyze_packets(files, secrets, judging.resources(), analysis, &mut sink),
        }
    })?;
    let judged = judging.conclude(&summary);
    if stop.is_set() {
        say("interrupted: the report is about what was read until then");
        return Ok(Exit::Interrupted);
    }
    judged
}

impl Judging {
    /// Looks for mistakes that need no input to be seen.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if let Some(bytes) = self.max_memory.filter(|bytes| *bytes < MEMORY_MIN) {
            return Err(Failure::usage(
                format!("--max-memory {bytes} is too small"),
                format!("give at least {}M: less cannot hold the tables of connections", MEMORY_MIN >> 20),
            ));
        }
        self.rendered_format().map(drop)
    }

    /// All files that the run reads: none of them may be written to.
    pub(super) fn inputs(&self, files: &[String]) -> Vec<String> {
        files.iter().chain(&self.keylog).chain(&self.client_log).cloned().collect()
    }

    /// Lets `analyze` run through an analysis, and reports what came out.
    pub(super) fn judge(
        &self,
        output: Output,
        analyze: impl FnOnce(Analysis, &mut Recorder<Out>) -> Result<Ran, Failure>,
    ) -> Result<Summary, Failure> {
        let format = self.rendered_format()?;
        let analysis = Analysis::new(self.options()?);
        let redactor = self.redactor()?;
        let Output { name, stream, place } = output;
        let (ran, written) = match format {
            Some(format) => {
                let mut recorder = Recorder::new(redactor);
                let ran = analyze(analysis, &mut recorder)?;
                let written = write_report(format, self, &ran, recorder.redactor(), stream);
                (ran, written)
            }
            None => {
                let mut recorder = Recorder::writing(redactor, stream);
                let ran = analyze(analysis, &mut recorder)?;
                let written = recorder.finish(&ran.sources, &ran.summary);
                (ran, written)
            }
        };
        let written = written.and_then(|()| place.publish());
        written.map_err(|error| Failure::unwritable(error, format!("cannot write to {name}")))?;
        for hop in &ran.summary.unmatched_hops {
            say(format_args!("warning: --hop {hop} names no server of this capture; see the servers under Path"));
        }
        Ok(ran.summary)
    }

    /// The exit code, and why nothing could be judged where that is so.
    pub(super) fn conclude(&self, summary: &Summary) -> Ended {
        conclude(self, summary)
    }

    /// The format to render, or `None` for a session.
    fn rendered_format(&self) -> Result<Option<Format>, Failure> {
        let format = match (self.format, self.output.as_deref()) {
            (Some(format), _) => format,
            (None, Some(path)) => FormatName::of_path(path)?,
            (None, None) => FormatName::Table,
        };
        format.rendered().map_err(|name| {
            Failure::usage(format!("the format {name} is not available yet"), "use json, or jsonl for every exchange")
        })
    }

    fn options(&self) -> Result<Options, Failure> {
        let mut client_logs = Vec::new();
        for path in &self.client_log {
            let log = ClientLog::read(inputs::open_text(path, "client log")?);
            let log = log.map_err(|error| {
                Failure::unreadable(error, format!("cannot read the client log {path}"), "give the log as text")
            })?;
            if log.is_binary {
                return Err(Failure::unreadable(
                    anyhow::anyhow!("it holds binary data"),
                    format!("cannot read the client log {path}"),
                    "give the log of the client as text (Spark's driver log, the SDK's output)",
                ));
            }
            if log.refusal_count + log.remarks == 0 {
                say(format_args!("warning: no refusal of a known client is in the client log {path} ({} lines read)", log.lines));
            }
            if log.is_cut {
                say(format_args!("warning: the client log {path} was read up to {} bytes only", ClientLog::BYTES_MAX));
            }
            client_logs.push((path.clone(), log));
        }
        let mut credentials = Vec::new();
        for source in &self.credentials {
            credentials.extend(load_credentials(source)?.into_iter().map(|profile| profile.credential));
        }
        Ok(Options {
            domains: self.domain.clone(),
            hops: self.hop.clone(),
            names: self.name.clone(),
            select: (!self.select.is_empty()).then(|| self.select.clone()),
            ignore: self.ignore.clone(),
            client_logs,
            credentials,
        })
    }

    pub(super) fn resources(&self) -> Resources {
        Resources {
            threads: self.threads.map(usize::from),
            memory_bytes_max: self.max_memory,
            verify_records: self.verify,
            retain: (!self.credentials.is_empty()).then_some(signed_body),
            observe: None,
        }
    }

    fn secrets(&self) -> Result<Vec<Secret>, Failure> {
        let mut secrets = Vec::with_capacity(self.keylog.len());
        for path in &self.keylog {
            let secret = Secret::new(inputs::read_whole(path, "key log")?);
            let lines = KeyLog::new().add(&secret);
            if lines.understood == 0 {
                say(format_args!(
                    "warning: no line of the key log {path} holds a TLS secret\n\
                     help: a key log has lines such as CLIENT_RANDOM … (SSLKEYLOGFILE); a private key is none"
                ));
            } else if lines.not_understood > 0 {
                say(format_args!("warning: {} lines of the key log {path} were not understood", lines.not_understood));
            }
            secrets.push(secret);
        }
        Ok(secrets)
    }

    fn redactor(&self) -> Result<Redactor, Failure> {
        if self.show_secrets {
            return Ok(Redactor::showing_secrets());
        }
        let mut salt = [0; 32];
        let filled = SystemRandom::new().fill(&mut salt);
        filled.map_err(|_| {
            Failure::unreadable(anyhow::anyhow!("the system gives none"), "cannot get random numbers", "try again")
        })?;
        Ok(Redactor::new(salt))
    }

    fn style(&self) -> Style {
        let colour = match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                self.output.is_none()
                    && io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Style { colour, verbose: self.verbose > 0, fail_on: self.fail_on.severity() }
    }
}

fn write_report(format: Format, arguments: &Judging, ran: &Ran, redactor: &Redactor, stream: Out) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(64 << 10, stream);
    let report = Report { sources: &ran.sources, summary: &ran.summary, redactor };
    render(format, &report, arguments.style(), &mut out)?;
    out.flush()
}

/// The exit code, and why nothing could be judged where that is so.
fn conclude(arguments: &Judging, summary: &Summary) -> Ended {
    if let Some(unjudged) = &summary.verdict.unjudged {
        return Err(Failure::not_judged(&unjudged.cause, &unjudged.action));
    }
    let limit = arguments.fail_on.severity();
    if limit.is_some_and(|limit| summary.findings.iter().any(|finding| finding.severity >= limit)) {
        return Ok(Exit::Findings);
    }
    match lost(&summary.completeness) {
        Some(lost) if arguments.strict => Err(Failure::not_judged(
            format!("the view was not complete: {lost}"),
            "capture again with larger buffers, a full snap length and the TLS secrets, or leave out --strict",
        )),
        _ => Ok(Exit::Done),
    }
}

fn lost(view: &Completeness) -> Option<String> {
    let lost = view.unseen.texts(|count| count.to_string(), |bytes| format!("{bytes} bytes"));
    (!lost.is_empty()).then(|| lost.join(", "))
}
