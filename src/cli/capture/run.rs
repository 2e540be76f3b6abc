//! From the arguments to a running capture, and from its end to the report.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::analysis::Summary;
use crate::capture::docker::{Docker, NameFollower};
use crate::capture::{
    ANY, LiveCapture, LiveError, LiveOptions, LiveState, Place, PlaceError, Selection, check_filter, place_again,
};
use crate::cli::Outcome;
use crate::cli::analyze::Out;
use crate::cli::capture::Arguments;
use crate::cli::capture::keylogs::KeyLogs;
use crate::cli::capture::privilege::{Needs, drop_others};
#[cfg(feature = "keys")]
use crate::cli::capture::program_keys::ProgramKeys;
use crate::cli::capture::recording::{Recording, Target};
use crate::cli::capture::rotation::Rotation;
use crate::cli::capture::status::Status;
use crate::cli::capture::tee::Tee;
use crate::cli::capture::watch::Watch;
use crate::cli::capture::window::Window;
use crate::cli::failure::{Exit, Failure};
use crate::cli::inputs::Ran;
use crate::cli::output::{self, Output};
use crate::cli::packets::source_of;
use crate::decode::Limits;
use crate::model::{Frame, Untrusted};
use crate::pipeline;
use crate::rules::{Evidence, Finding};

/// Captures, judges and reports.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    arguments.judging.check()?;
    if let Some(filter) = &arguments.filter {
        check_filter(filter).map_err(capture_failure)?;
    }
    let rotation = arguments.rotation()?;
    let report = arguments.report_to()?;
    let docker = arguments.docker()?;
    let places = arguments.selection().places(docker.as_ref()).map_err(place_failure)?;
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let state = Arc::new(LiveState::default());
    let status = Arc::new(Status::new(arguments.judging.quiet));
    listen_for_signals(&is_interrupted, &state).map_err(|error| Failure::capture(error, "try again"))?;
    let mut tee = open(arguments, places, docker, rotation, &state, &status)?;
    let mut is_met = false;
    let summary = arguments.judging.judge(report, |analysis, recorder| {
        let mut watch =
            Watch { recorder, status: Arc::clone(&status), live: Arc::clone(&state), stop_on: arguments.stop_on.clone(), is_met };
        let resources = arguments.judging.resources();
        let options = pipeline::Options {
            threads: resources.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            // Key logs are written after the first packets that need them.
            limits: Limits { tls_held_bytes_max: LATE_SECRET_BYTES, ..resources.limits() },
            secrets: Vec::new(),
        };
        let mut outcome = pipeline::run(&mut tee, &options, analysis, &mut watch);
        is_met = watch.is_met;
        status.clear();
        tee.finish(&mut outcome.summary, is_met, rotation.is_on());
        let sources = outcome.sources.iter().map(source_of).collect();
        Ok(Ran { summary: outcome.summary, sources })
    });
    tee.conclude(arguments, summary?, &is_interrupted)
}

/// The first signal ends the capture, and is heard of in the exit code; the second ends the program.
fn listen_for_signals(is_interrupted: &Arc<AtomicBool>, state: &Arc<LiveState>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(is_interrupted))?;
        flag::register(signal, Arc::clone(is_interrupted))?;
        flag::register(signal, state.stop_flag())?;
    }
    Ok(())
}

/// Opens interfaces and files, and then drops the privileges that opening needed.
fn open(
    arguments: &Arguments,
    places: Vec<Place>,
    docker: Option<Docker>,
    rotation: Rotation,
    state: &Arc<LiveState>,
    status: &Arc<Status>,
) -> Result<Tee, Failure> {
    let where_to = places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if places.iter().any(|place| place.interface == ANY) {
        status.tell("warning: any shows most packets twice and is not promiscuous; one bridge or interface is better");
    }
    let is_container = places.iter().any(|place| place.container.is_some());
    let options = arguments.live_options();
    let name = arguments.write.clone().unwrap_or_else(|| where_to.clone());
    let mut live = LiveCapture::open(places, options, Arc::clone(state), &name).map_err(capture_failure)?;
    let target = arguments.target();
    let has_file = matches!(target, Some(Target::File(_)));
    let recording = target.map(|target| Recording::open(target, rotation)).transpose();
    let recording = recording.map_err(|error| Failure::unwritable(error, format!("cannot write {name}")))?;
    if rotation.is_on()
        && let Some(recording) = &recording
    {
        live.rename_file(&recording.name());
    }
    #[cfg(feature = "keys")]
    let program_keys = arguments.program_keys(status)?;
    let needs = Needs { files: has_file, reopening: is_container };
    if let Err(error) = drop_others(needs) {
        status.tell(&format!("note: privileges that are not needed any more could not be dropped: {error}"));
    }
    let names = docker.as_ref().and_then(|docker| docker.names(None).ok()).unwrap_or_default();
    let follower = match &docker {
        Some(docker) => NameFollower::start(docker.clone(), None).ok(),
        None => None,
    };
    if let Some(docker) = docker.filter(|_| is_container) {
        live.relocate_by(Box::new(move |place| place_again(&docker, place)));
    }
    let keylogs = KeyLogs::new(&arguments.judging.keylog);
    for missing in keylogs.missing() {
        status.tell(&format!("note: waiting for the key log {}: it is not there yet", missing.display()));
    }
    let embeds_secrets = !arguments.no_embed_secrets;
    if recording.is_some() && embeds_secrets && arguments.has_keys() {
        status.tell(&format!("note: {name} will hold the TLS secrets too: who has it can read everything (--no-embed-secrets)"));
    }
    status.tell(&format!("capturing on {where_to}; Ctrl-C ends and reports"));
    Ok(Tee {
        live,
        state: Arc::clone(state),
        status: Arc::clone(status),
        where_to,
        keylogs,
        #[cfg(feature = "keys")]
        program_keys,
        embeds_secrets,
        names,
        follower,
        recording,
        window: arguments.before.map(Window::new),
        written_drops: 0,
        failure: None,
    })
}

impl Arguments {
    fn selection(&self) -> Selection {
        Selection { interfaces: self.interface.clone(), networks: self.network.clone(), containers: self.container.clone() }
    }

    /// The engine where it is needed; else where it answers and names are wanted.
    fn docker(&self) -> Result<Option<Docker>, Failure> {
        let selection = self.selection();
        if selection.needs_docker() {
            return Docker::connect().map(Some).map_err(|error| place_failure(error.into()));
        }
        Ok(if self.no_names || selection == Selection::default() { None } else { Docker::connect().ok() })
    }

    /// Starts to watch the programs whose secrets are wanted.
    #[cfg(feature = "keys")]
    fn program_keys(&self, status: &Arc<Status>) -> Result<Option<ProgramKeys>, Failure> {
        if self.keys_from.is_empty() {
            return Ok(None);
        }
        let watch = crate::cli::keys::start(&self.keys_from, self.java_agent.as_ref())?;
        Ok(Some(ProgramKeys::start(watch, status)))
    }

    /// Whether secrets come from anywhere.
    fn has_keys(&self) -> bool {
        #[cfg(feature = "keys")]
        let is_watching = !self.keys_from.is_empty();
        #[cfg(not(feature = "keys"))]
        let is_watching = false;
        is_watching || !self.judging.keylog.is_empty()
    }

    fn live_options(&self) -> LiveOptions {
        let usual = LiveOptions::default();
        LiveOptions {
            filter: self.filter.clone(),
            snap_length: if self.snapshot_length == 0 { usual.snap_length } else { self.snapshot_length.min(usual.snap_length) },
            ring_bytes: u32::try_from(self.buffer_size.min(RING_BYTES_MAX)).unwrap_or(usual.ring_bytes),
            promiscuous: !self.no_promiscuous,
            duration: self.duration,
            packets_max: self.count,
        }
    }

    fn target(&self) -> Option<Target> {
        Some(match self.write.as_deref()? {
            "-" => Target::Stdout,
            path => Target::File(PathBuf::from(path)),
        })
    }

    fn rotation(&self) -> Result<Rotation, Failure> {
        let rotation = Rotation::new(&self.ring);
        if rotation.files_max.is_some() && !rotation.is_on() {
            return Err(Failure::usage(
                "-b files:N alone never begins another file",
                "add -b filesize:KB or -b duration:SECONDS",
            ));
        }
        if rotation.is_on() && self.write.as_deref() == Some("-") {
            return Err(Failure::usage("stdout cannot be several files", "name a file with -w, or leave -b out"));
        }
        Ok(rotation)
    }

    /// The report goes to stdout, and to stderr where the packets go to stdout.
    fn report_to(&self) -> Result<Output, Failure> {
        if self.write.as_deref() == Some("-") && self.judging.output.is_none() {
            return Ok(Output::direct("stderr", Box::new(io::stderr()) as Out));
        }
        if self.write.is_some() && self.write == self.judging.output {
            return Err(Failure::usage("packets and report cannot go to the same place", "name another file with -o"));
        }
        let inputs = self.judging.inputs(&[]);
        if let Some(path) = self.write.as_deref().filter(|path| *path != "-") {
            output::refuse_inputs(path, &inputs)?;
        }
        output::open(self.judging.output.as_deref(), &inputs)
    }
}

impl Tee {
    /// Ends the files. Findings point at frames of the files from here on.
    fn finish(&mut self, summary: &mut Summary, is_met: bool, rotates: bool) {
        let comments = comments_of(&summary.findings);
        let has_window = self.window.is_some();
        if self.failure.is_none() {
            match self.end(&comments, is_met) {
                Ok(first) if has_window => renumber(&mut summary.findings, first),
                Ok(_) => self.annotate(&comments),
                Err(error) => self.failure = Some(error),
            }
        }
        if let Some(recording) = &self.recording {
            let packets = recording.packets();
            let files: Vec<_> = recording.files().map(|path| path.display().to_string()).collect();
            match files.as_slice() {
                [] => {}
                [file] => self.status.tell(&format!("{packets} packets kept in {}", Untrusted::text(file))),
                [.., last] => {
                    let what = if rotates { format!("{} files, the last of them ", files.len()) } else { String::new() };
                    self.status.tell(&format!("{packets} packets captured; kept are {what}{}", Untrusted::text(last)));
                }
            }
        }
    }

    /// Comments can only be put on frames once their findings are known, and those frames are written by then: so the file is
    /// copied once.
    fn annotate(&self, comments: &BTreeMap<u16, BTreeMap<u64, Vec<String>>>) {
        let Some(recording) = &self.recording else { return };
        match recording.annotate(comments) {
            Ok(too_large) => {
                for path in too_large {
                    self.status.tell(&format!(
                        "note: {} is too large to put comments on its frames; the report names them",
                        path.display()
                    ));
                }
            }
            Err(error) => self.status.tell(&format!("note: no comments were put on frames: {error}; all packets are kept")),
        }
    }

    /// The exit code: what ended the capture counts more than what was found.
    fn conclude(mut self, arguments: &Arguments, summary: Summary, is_interrupted: &AtomicBool) -> Outcome {
        self.follower = None;
        #[cfg(feature = "keys")]
        {
            self.program_keys = None;
        }
        if let Some(error) = self.failure.take() {
            let recording = self.recording.as_ref();
            let kept = recording.map_or(0, Recording::packets);
            let name = recording.map(Recording::name).unwrap_or_default();
            return Err(Failure::unwritable(
                error,
                format!("cannot write on to {name}; what was written before opens (about {kept} packets)"),
            ));
        }
        if let Some(error) = self.state.take_failure() {
            return Err(capture_failure(error));
        }
        let judged = arguments.judging.conclude(&summary);
        if is_interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            if let Err(failure) = judged {
                failure.tell();
            }
            return Ok(Exit::Interrupted);
        }
        judged
    }
}

/// The findings on each frame, by file.
fn comments_of(findings: &[Finding]) -> BTreeMap<u16, BTreeMap<u64, Vec<String>>> {
    let mut comments: BTreeMap<u16, BTreeMap<u64, Vec<String>>> = BTreeMap::new();
    for finding in findings {
        let text = format!("hopwire {} {}: {}", finding.severity.label(), finding.rule.name, finding.message);
        let evidence = finding.evidence.iter().chain(finding.chain.iter().flat_map(|step| &step.evidence));
        for frame in evidence.flat_map(|evidence| &evidence.frames).filter(|frame| frame.number() > 0) {
            let on_frame = comments.entry(frame.file()).or_default().entry(frame.number()).or_default();
            if !on_frame.contains(&text) {
                on_frame.push(text.clone());
            }
        }
    }
    comments
}

/// Frame numbers count from the first frame that was kept; those before it are not in the file any more.
fn renumber(findings: &mut [Finding], first: Option<u64>) {
    let renumber = |evidence: &mut Evidence| {
        evidence.frames.retain_mut(|frame| match first.and_then(|first| frame.number().checked_sub(first)) {
            Some(before) => {
                *frame = Frame::new(frame.file(), before + 1);
                true
            }
            None => false,
        });
    };
    for finding in findings {
        finding.evidence.iter_mut().for_each(renumber);
        finding.chain.iter_mut().flat_map(|step| &mut step.evidence).for_each(renumber);
    }
}

fn place_failure(error: PlaceError) -> Failure {
    let help = error.help();
    match error {
        PlaceError::Nothing => Failure::usage(error, help),
        error => Failure::capture(error, help),
    }
}

fn capture_failure(error: LiveError) -> Failure {
    match &error {
        LiveError::Filter { .. } => Failure::usage(error, "see man pcap-filter, as in -f 'tcp port 9000 and host 172.18.0.2'"),
        LiveError::Privilege { .. } => {
            let program = std::env::current_exe().map_or_else(|_| "hopwire".to_owned(), |path| path.display().to_string());
            Failure::capture(
                error,
                format!("give it to the program once: sudo setcap cap_net_raw+ep {program}; or run it with sudo"),
            )
        }
        LiveError::Namespace { .. } => {
            Failure::capture(error, "entering a container needs root: use sudo, or capture on its network: --network NET")
        }
        LiveError::Open { .. } => {
            Failure::capture(error, "hopwire capture --list shows the interfaces and whether they are up (ip link set IF up)")
        }
        LiveError::Gone { .. } => Failure::capture(
            error,
            "what was captured before is kept and was reported; see that the interface is up again (ip link set IF up), then start anew",
        ),
    }
}

/// Bytes of each TLS connection that wait for a secret that a program has not written yet.
const LATE_SECRET_BYTES: usize = 1 << 20;

/// libpcap takes a 32-bit signed number.
const RING_BYTES_MAX: u64 = (1 << 31) - 1;
