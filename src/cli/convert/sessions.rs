//! Conversions from and to recorded sessions.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::analysis::{Analysis, Judged, JudgedSealed, Options, Sink};
use crate::blobs::{Blobs, Wanted};
use crate::capture;
use crate::cli::Outcome;
use crate::cli::convert::Arguments;
use crate::cli::convert::bodies::Bodies;
use crate::cli::convert::files::{Input, Target};
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::inputs::{self, Inputs, analyze_sessions};
use crate::cli::interrupt::Stop;
use crate::cli::packets::{Resources, analyze_packets};
use crate::convert::{Choice, Format, Synthesis};
use crate::model::{ExchangeId, FlowClosed, FlowId, FlowOpened, Loss, Untrusted};
use crate::report::Recorder;
use crate::session::jsonl::{Record, Recorded};
use crate::session::redact::Redactor;

type Out = Box<dyn Write + Send>;

/// Packets to a session.
pub(super) fn record(arguments: &Arguments, mut input: Input) -> Outcome {
    let secrets = arguments.keylogs()?;
    let mut target = arguments.target()?;
    let files = match input.is_repeatable().then(|| inputs::open(&[input.name().to_owned()], &Stop::default())).transpose()? {
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

/// A session to a session, of all exchanges or of chosen ones.
pub(super) fn rewrite(arguments: &Arguments, mut input: Input) -> Outcome {
    let choice = arguments.choice();
    let mut target = arguments.target()?;
    let bodies = arguments.bodies(&choice)?;
    let there = Blobs::beside(Path::new(input.name()));
    let mut recorder = Recorder::writing(arguments.redactor()?, target.take_stream());
    let stream = input.stream().map_err(|error| unreadable(&input, error))?;
    let sessions = inputs::sessions([(input.name().to_owned(), stream)]);
    let mut kept = 0;
    let ran = analyze_sessions(sessions, Analysis::new(Options::default()), &mut recorder, &mut |record| {
        let is_kept = keeps(&choice, record);
        if let (true, Record::Exchange(recorded)) = (is_kept, record) {
            kept += 1;
            for body in recorded.exchange.bodies_mut() {
                match &bodies {
                    Some(bodies) => there.share(body, bodies.store().folder()).map_err(|error| missing(&there, error))?,
                    None => body.stored = false,
                }
            }
        }
        Ok(is_kept)
    })?;
    recorder.finish(&ran.sources, &ran.summary).map_err(|error| arguments.unwritable(error))?;
    if let Some(bodies) = bodies {
        bodies.publish(None)?;
    }
    conclude(arguments, target, kept, "exchanges")
}

/// Whether a record belongs to what was chosen. A connection belongs to its exchanges, since its line says what they lack; and a loss
/// that belongs to no connection concerns all.
fn keeps(choice: &Choice, record: &Record) -> bool {
    match record {
        Record::Exchange(recorded) => choice.keeps(recorded.exchange.id),
        Record::Sealed(recorded) => choice.keeps(recorded.exchange.id),
        Record::Opened(opened) => keeps_flow(choice, opened.flow),
        Record::Flow(recorded) => keeps_flow(choice, recorded.closed.flow),
        Record::Loss(loss) => loss.flow.is_none_or(|flow| keeps_flow(choice, flow)),
        Record::Source(_) | Record::Summary(_) => true,
    }
}

fn keeps_flow(choice: &Choice, flow: FlowId) -> bool {
    choice.is_all() || choice.flows.contains(&flow) || choice.exchanges.iter().any(|chosen| chosen.flow == flow)
}

fn missing(blobs: &Blobs, error: std::io::Error) -> Failure {
    let what = format!("a body that the session names is not in {}", Untrusted::text(&blobs.folder().to_string_lossy()));
    Failure::unreadable(error, what, "keep the folder beside the session, or leave out --bodies")
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
    let mut sessions = inputs::sessions([(input.name().to_owned(), stream)]);
    let mut kept = 0;
    while let Some(record) = sessions.read().map_err(inputs::unreadable_session)? {
        if let Record::Exchange(recorded) = record
            && choice.keeps(recorded.exchange.id)
        {
            kept += 1;
            take(&recorded)?;
        }
    }
    Ok(kept)
}

/// Records what was chosen only.
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
                self.blobs.extend(record.exchange.bodies().filter(|body| body.stored).filter_map(|body| body.sha256.as_deref()));
            }
        }
    }

    fn deferred(&mut self, id: ExchangeId) {
        if self.choice.keeps(id) {
            self.recorder.deferred(id);
        }
    }

    fn flow_opened(&mut self, opened: &FlowOpened) {
        if keeps_flow(self.choice, opened.flow) {
            self.recorder.flow_opened(opened);
        }
    }

    fn sealed(&mut self, record: &JudgedSealed<'_>) {
        if self.choice.keeps(record.exchange.id) {
            self.recorder.sealed(record);
        }
    }

    fn flow_closed(&mut self, closed: &FlowClosed, hop: Option<&str>) {
        if keeps_flow(self.choice, closed.flow) {
            self.recorder.flow_closed(closed, hop);
        }
    }

    fn loss(&mut self, loss: &Loss) {
        if loss.flow.is_none_or(|flow| keeps_flow(self.choice, flow)) {
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
