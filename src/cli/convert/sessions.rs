//! Conversions from and to recorded sessions.

use std::collections::HashSet;
use std::io::{BufReader, BufWriter, Read, Write};

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::analysis::{Analysis, Judged, Options, Sink};
use crate::blobs::Wanted;
use crate::capture;
use crate::cli::Outcome;
use crate::cli::convert::Arguments;
use crate::cli::convert::bodies::{Bodies, stored};
use crate::cli::convert::files::{Input, Target};
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::inputs::{self, Inputs};
use crate::cli::packets::{Resources, analyze_packets};
use crate::convert::{Choice, Format, Synthesis};
use crate::model::{Loss, Untrusted};
use crate::report::Recorder;
use crate::s3::{Call, Domains};
use crate::session::jsonl::{Reader, Record, Recorded, Writer};
use crate::session::redact::Redactor;

type Out = Box<dyn Write + Send>;

/// Packets to a session.
pub(super) fn record(arguments: &Arguments, mut input: Input) -> Outcome {
    let secrets = arguments.keylogs()?;
    let mut target = arguments.target()?;
    let files = match input.is_repeatable().then(|| inputs::open(&[input.name().to_owned()])).transpose()? {
        Some(Inputs::Packets(files)) => files,
        _ => {
            let stream = input.stream().map_err(|error| unreadable(&input, error))?;
            vec![capture::Input { name: input.name().to_owned(), stream, positioned: None }]
        }
    };
    let choice = arguments.choice();
    let bodies = arguments.bodies(&choice)?;
    let recorder = Recorder::writing(arguments.redactor()?, target.take_stream());
    let mut sink = Chosen { recorder, choice: &choice, kept: 0, blobs: HashSet::new() };
    let observe = bodies.as_ref().map(|bodies| bodies.store().observe());
    let resources = Resources { threads: None, memory_bytes_max: None, verify_records: false, retain: None, observe };
    let ran = analyze_packets(files, secrets, resources, Analysis::new(Options::default()), &mut sink)?;
    let Chosen { recorder, kept, blobs, .. } = sink;
    recorder.finish(&ran.sources, &ran.summary).map_err(|error| arguments.unwritable(error))?;
    if let Some(bodies) = bodies {
        bodies.publish((!choice.is_all()).then_some(&blobs))?;
    }
    conclude(arguments, target, kept, "exchanges")
}

/// A session to a session with fewer exchanges.
pub(super) fn filter(arguments: &Arguments, mut input: Input) -> Outcome {
    let mut target = arguments.target()?;
    let redactor = arguments.redactor()?;
    let domains = Domains::new(Vec::new());
    let mut writer = Writer::new(target.take_stream());
    let kept = each_chosen(&mut input, &arguments.choice(), |recorded| {
        let call = Call::read(&recorded.exchange, &domains);
        let Recorded { exchange, hop, trace } = recorded;
        writer.write_exchange(exchange, call.as_ref(), hop, *trace, &redactor).map_err(|error| arguments.unwritable(error))
    })?;
    writer.finish().map_err(|error| arguments.unwritable(error))?;
    conclude(arguments, target, kept, "exchanges")
}

/// A session to packets.
pub(super) fn synthesize(arguments: &Arguments, mut input: Input, format: Format) -> Outcome {
    if arguments.scrub || !arguments.keylog.is_empty() || arguments.drop_payload_undecrypted {
        return Err(Failure::usage(
            "a session holds no packets and its secrets are redacted already",
            "leave out --scrub, --keylog and --drop-payload-undecrypted",
        ));
    }
    let mut target = arguments.target()?;
    let out = BufWriter::with_capacity(1 << 20, target.take_stream());
    let mut synthesis = Synthesis::new(out, format).map_err(|error| arguments.failure(error))?;
    each_chosen(&mut input, &arguments.choice(), |recorded| {
        synthesis.write_exchange(&recorded.exchange).map_err(|error| arguments.failure(error))
    })?;
    let (packets, _) = synthesis.finish().map_err(|error| arguments.failure(error))?;
    conclude(arguments, target, packets, "packets")
}

fn conclude(arguments: &Arguments, target: Target, count: u64, what: &str) -> Outcome {
    if count == 0 && !arguments.choice().is_all() {
        return Err(Failure::usage(
            "nothing that was chosen is in the input",
            "see its flows and exchanges with `hopwire analyze`",
        ));
    }
    target.publish(arguments.force)?;
    if !arguments.quiet {
        say(format_args!("wrote {}: {count} {what}", Untrusted::text(&arguments.output)));
    }
    Ok(Exit::Done)
}

/// Hands on the chosen exchanges of a session; gives how many there were.
fn each_chosen(
    input: &mut Input,
    choice: &Choice,
    mut take: impl FnMut(&Recorded) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let stream = input.stream().map_err(|error| unreadable(input, error))?;
    let mut reader: Reader<BufReader<Box<dyn Read + Send>>> = Reader::new(BufReader::with_capacity(1 << 20, stream));
    let mut kept = 0;
    loop {
        let record = reader.read().map_err(|error| {
            let what = format!("cannot read {}", Untrusted::text(input.name()));
            Failure::unreadable(error, what, "a session is written by hopwire with --format jsonl")
        })?;
        match record {
            Some(Record::Exchange(recorded)) if choice.keeps(recorded.exchange.id) => {
                kept += 1;
                take(&recorded)?;
            }
            Some(_) => {}
            None => return Ok(kept),
        }
    }
}

/// Hears the chosen exchanges only.
struct Chosen<'a> {
    recorder: Recorder<Out>,
    choice: &'a Choice,
    kept: u64,
    /// The bodies of the chosen exchanges, where not all are chosen.
    blobs: HashSet<[u8; 32]>,
}

impl Sink for Chosen<'_> {
    fn exchange(&mut self, record: &Judged<'_>) {
        if self.choice.keeps(record.exchange.id) {
            self.kept += 1;
            self.recorder.exchange(record);
            if !self.choice.is_all() {
                self.blobs.extend(stored(record.exchange).filter_map(|body| body.sha256.as_deref()));
            }
        }
    }

    fn loss(&mut self, loss: &Loss) {
        if self.choice.is_all() {
            self.recorder.loss(loss);
        }
    }
}

impl Arguments {
    fn redactor(&self) -> Result<Redactor, Failure> {
        if self.show_secrets {
            return Ok(Redactor::showing_secrets());
        }
        let mut salt = [0; 32];
        SystemRandom::new().fill(&mut salt).map_err(|_| {
            Failure::unreadable(anyhow::anyhow!("the system gives none"), "cannot get random numbers", "try again")
        })?;
        Ok(Redactor::new(salt))
    }

    fn bodies(&self, choice: &Choice) -> Result<Option<Bodies>, Failure> {
        let flows = choice.flows.iter().copied().chain(choice.exchanges.iter().map(|id| id.flow)).collect();
        let wanted = Wanted { secrets: self.show_secrets, flows };
        self.bodies.then(|| Bodies::create(&self.output, wanted, self.force)).transpose()
    }
}

fn unreadable(input: &Input, error: std::io::Error) -> Failure {
    let what = format!("cannot read {}", Untrusted::text(input.name()));
    Failure::unreadable(error, what, "check the name, and that you may read it")
}
