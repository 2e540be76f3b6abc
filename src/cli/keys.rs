//! `hopwire keys`: TLS secrets of running programs, as a key log.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::capture::docker::Docker;
use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::output;
use crate::cli::values::parse_span;
use crate::keys::{KeyWatch, KeysError, Notice, ProcessError, Target, TraceError};
use crate::model::Untrusted;

/// The arguments of `keys`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The programs: a container's name, a process id, or the path of an executable
    #[arg(long = "from", value_name = "PROGRAM", required = true, num_args = 1.., value_delimiter = ',')]
    programs: Vec<String>,
    /// The Java agent that is attached to JVMs (name.neykov:extract-tls-secrets)
    #[arg(long, value_name = "FILE")]
    java_agent: Option<PathBuf>,
    /// Writes the key log to a file that only you can read [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Ends by itself: seconds, or with a unit as in 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    duration: Option<Duration>,
    /// Reports errors only
    #[arg(short, long)]
    quiet: bool,
}

/// Watches, and writes each secret as it comes.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut watch = start(&arguments.programs, arguments.java_agent.as_ref())?;
    let mut out = output::open(arguments.output.as_deref(), &[])?;
    let is_stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let registered = flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&is_stopped))
            .and_then(|_| flag::register(signal, Arc::clone(&is_stopped)));
        registered.map_err(|error| Failure::capture(error, "try again"))?;
    }
    let begun = Instant::now();
    let mut count = 0;
    loop {
        for notice in watch.take_notices() {
            report(&notice, arguments.quiet);
        }
        if let Some(secret) = watch.poll().map_err(failure)? {
            count += memchr::memchr_iter(b'\n', secret.expose()).count();
            if let Err(error) = out.stream.write_all(secret.expose()).and_then(|()| out.stream.flush()) {
                return gone(error, &out.name);
            }
        }
        if is_stopped.load(Ordering::Relaxed) || arguments.duration.is_some_and(|span| begun.elapsed() >= span) {
            break;
        }
        thread::sleep(STEP);
    }
    if !arguments.quiet {
        say(format_args!("{count} secrets written to {}", out.name));
    }
    // Ctrl-C is the usual end of a run without --duration.
    Ok(if is_stopped.load(Ordering::Relaxed) { Exit::Interrupted } else { Exit::Done })
}

/// A reader that went away ends the run without an error.
fn gone(error: io::Error, name: &str) -> Outcome {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        _ => Err(Failure::unwritable(error, format!("cannot write {name}"))),
    }
}

/// Prints a notice on stderr; only what is a loss when quiet.
pub(super) fn report(notice: &Notice, quiet: bool) {
    if !quiet || matches!(notice, Notice::Lost(_) | Notice::NotAttached { .. } | Notice::NotPlaced { .. }) {
        say(format_args!("keys: {}", Untrusted::text(&notice.to_string())));
    }
}

/// Starts to watch programs as users name them.
pub(super) fn start(programs: &[String], java_agent: Option<&PathBuf>) -> Result<KeyWatch, Failure> {
    let mut docker = None;
    let mut targets = Vec::new();
    for program in programs {
        targets.push(target_of(program, &mut docker)?);
    }
    let find = docker.map(|docker: Docker| -> crate::keys::FindContainer {
        Box::new(move |name| docker.process(&docker.container(name).ok()?).ok())
    });
    let mut watch = KeyWatch::start(targets, java_agent.cloned(), find).map_err(failure)?;
    if watch.watched() == 0 {
        watch.take_notices().iter().for_each(|notice| report(notice, false));
        return Err(Failure::capture(
            anyhow::anyhow!("none of the programs gives its keys"),
            "docs/guide/keys.md lists those that do, and other ways",
        ));
    }
    Ok(watch)
}

/// A process id, a path, or else the name of a container.
fn target_of(program: &str, docker: &mut Option<Docker>) -> Result<Target, Failure> {
    if let Ok(pid) = program.parse() {
        return Ok(Target::Pid(pid));
    }
    if program.contains('/') {
        return Ok(Target::Path(PathBuf::from(program)));
    }
    let no_container = |error: crate::capture::docker::DockerError| {
        let help = format!(
            "{}\nA program outside of containers is named by its process id or by the path of its executable (/usr/local/bin/{program})",
            error.help()
        );
        Failure::capture(error, help)
    };
    let engine = match docker {
        Some(docker) => docker,
        none => none.insert(Docker::connect().map_err(no_container)?),
    };
    let container = engine.container(program).map_err(no_container)?;
    let pid = engine.process(&container).map_err(no_container)?;
    Ok(Target::Container { name: container.name, pid })
}

/// What is missing, and where it is had.
fn failure(error: KeysError) -> Failure {
    let help = match &error {
        KeysError::Trace(TraceError::NotMounted) => {
            "mount it: sudo mount -t tracefs tracefs /sys/kernel/tracing (in a container: mount the host's /sys/kernel/tracing)"
        }
        KeysError::Trace(TraceError::NoUprobes(_)) => {
            "use a kernel with CONFIG_UPROBE_EVENTS, or let hopwire proxy stand in the path"
        }
        KeysError::Trace(TraceError::Denied { .. }) => {
            "use sudo: it needs CAP_SYS_ADMIN (or CAP_PERFMON and write access to tracefs), a container --privileged, \
             and a kernel that is not locked down (cat /sys/kernel/security/lockdown)"
        }
        KeysError::Trace(TraceError::Failed { .. }) => "see the last lines of /sys/kernel/tracing/error_log",
        KeysError::Process(ProcessError::Gone(_)) => "ps -e lists the processes; docker ps the containers",
        KeysError::Process(ProcessError::Denied { .. }) => "use sudo: it needs CAP_SYS_PTRACE",
        KeysError::Process(ProcessError::Open { .. }) | KeysError::NotProbed { .. } => {
            "name a Go program that uses TLS, or a process id: hopwire keys --from PID says how else keys can be had"
        }
    };
    Failure::capture(error, help)
}

/// Between two looks at the kernel's buffer.
const STEP: Duration = Duration::from_millis(20);

const EXAMPLES: &str = "\
Examples:
  sudo hopwire keys --from sidekick-https,aistor -o keys.log       # by container name
  sudo hopwire keys --from 4711 -o keys.log                        # by process id
  sudo hopwire keys --from /usr/local/bin/sidekick -o keys.log     # every process of it, also later ones
  sudo hopwire keys --from spark-worker --java-agent extract-tls-secrets-4.0.0.jar -o keys.log
  sudo hopwire capture --network spark-net --keys-from sidekick-https,aistor -w run.pcapng

Only connections made while it watches can be decrypted. It needs root.";
