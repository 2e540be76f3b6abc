//! The programs that are watched: probes and agents in, lines of key logs out.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::keys::attach::{Agent, AttachError};
use crate::keys::probe::{Hit, ProbePoint};
use crate::keys::process::{Executable, Kind, Process, ProcessError, Runtime, executable_at};
use crate::keys::tracefs::{TraceError, Tracing};
use crate::model::Secret;

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process by its id.
    Pid(u32),
    /// All processes of an executable, also those that are yet to start.
    Path(PathBuf),
    /// All processes of a container, by its name, also after a restart; now its first process is this one.
    Container {
        /// The container's name.
        name: String,
        /// Its first process.
        pid: u32,
    },
}

/// What users have to know while programs are watched.
#[derive(Debug)]
pub enum Notice {
    /// A program is watched.
    Watching {
        /// Its name.
        name: String,
        /// Its process id, where it is a process.
        pid: Option<u32>,
        /// Its runtime, as in `go1.26.8 github.com/minio/minio`.
        runtime: String,
        /// TCP connections that it has from before: their keys are not available.
        connections: usize,
    },
    /// A program cannot be watched, and how its keys can be had.
    NotWatched {
        /// Its name.
        name: String,
        /// Its process id.
        pid: u32,
        /// What it is.
        runtime: Runtime,
    },
    /// An agent could not be attached.
    NotAttached {
        /// The program's name.
        name: String,
        /// Why.
        error: AttachError,
    },
    /// A probe could not be placed on a program that came later.
    NotPlaced {
        /// The program's name.
        name: String,
        /// Why.
        error: TraceError,
    },
    /// A watched program ended.
    Ended {
        /// Its name.
        name: String,
        /// Its process id.
        pid: u32,
    },
    /// Hits that the kernel dropped or whose arguments could not be read: so many secrets are missing.
    Lost(u64),
    /// Probes that earlier runs left behind were removed.
    RemovedStale(usize),
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The kernel's tracing cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A process cannot be looked at.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// An executable that was named is not a Go program with TLS.
    #[error("{path} cannot be watched")]
    NotProbed {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: crate::keys::probe::ProbeError,
    },
}

/// Finds the first process of a container now; `None` where it does not run.
pub type FindContainer = Box<dyn FnMut(&str) -> Option<u32> + Send>;

/// The watched programs. Dropping it removes every probe.
pub struct KeyWatch {
    targets: Vec<Target>,
    find_container: Option<FindContainer>,
    java_agent: Option<PathBuf>,
    tracing: Option<Tracing>,
    /// What is known of an executable, by device and inode.
    executables: BTreeMap<(u64, u64), Known>,
    /// By process id.
    processes: BTreeMap<u32, Process>,
    agents: Vec<Agent>,
    recent: Recent,
    notices: Vec<Notice>,
    refreshed: Instant,
}

/// An executable that was looked at.
#[derive(Clone)]
enum Known {
    Probed(ProbePoint),
    Other(Runtime),
}

impl KeyWatch {
    /// Starts to watch. `java_agent` is the agent that is attached to JVMs.
    ///
    /// # Errors
    /// Where a target does not exist, may not be looked at, or the kernel's tracing is needed and cannot be used.
    pub fn start(
        targets: Vec<Target>,
        java_agent: Option<PathBuf>,
        find_container: Option<FindContainer>,
    ) -> Result<Self, KeysError> {
        let mut watch = Self {
            targets: targets.clone(),
            find_container,
            java_agent,
            tracing: None,
            executables: BTreeMap::new(),
            processes: BTreeMap::new(),
            agents: Vec::new(),
            recent: Recent::default(),
            notices: Vec::new(),
            refreshed: Instant::now(),
        };
        for target in &targets {
            match target {
                Target::Pid(pid) => watch.watch_process(*pid)?,
                Target::Container { pid, .. } => {
                    for sibling in Process::of(*pid)?.siblings() {
                        watch.watch_process(sibling)?;
                    }
                }
                Target::Path(path) => watch.watch_path(path.clone())?,
            }
        }
        Ok(watch)
    }

    /// How many programs are watched: executables with a probe, and JVMs with an agent.
    pub fn watched(&self) -> usize {
        let probed = self.executables.values().filter(|known| matches!(known, Known::Probed(_))).count();
        probed + self.agents.len()
    }

    /// What is new to tell.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The secrets since the last call, and a look at programs that started or ended; never waits for them.
    ///
    /// # Errors
    /// Where the kernel's tracing fails.
    pub fn poll(&mut self) -> Result<Option<Secret>, KeysError> {
        let mut text = String::new();
        let mut add = |recent: &mut Recent, line: &str| {
            if recent.is_new(line) {
                text.push_str(line);
                text.push('\n');
            }
        };
        if let Some(tracing) = &mut self.tracing {
            let mut hits = Vec::new();
            tracing.poll(&mut hits).map_err(|source| TraceError::Failed {
                what: "read",
                path: PathBuf::from("trace_pipe"),
                source,
            })?;
            let mut lost = 0;
            for hit in hits {
                match hit {
                    Hit::Secret { line, .. } => add(&mut self.recent, &line),
                    Hit::Lost(count) => lost += count,
                    Hit::Unreadable => lost += 1,
                }
            }
            if lost > 0 {
                self.notices.push(Notice::Lost(lost));
            }
        }
        for agent in &mut self.agents {
            // A log that cannot be read any more belongs to a JVM that ended, which is noticed below.
            for line in agent.poll().unwrap_or_default() {
                add(&mut self.recent, &line);
            }
        }
        if self.refreshed.elapsed() >= REFRESH {
            self.refreshed = Instant::now();
            self.refresh();
        }
        Ok((!text.is_empty()).then(|| Secret::new(text.into_bytes())))
    }

    /// Programs that started in a container, containers that were restarted, and processes that ended.
    fn refresh(&mut self) {
        let ended: Vec<Process> = self.processes.values().filter(|process| !process.is_alive()).cloned().collect();
        for process in ended {
            self.processes.remove(&process.pid);
            self.agents.retain(|agent| agent.process() != &process);
            self.notices.push(Notice::Ended { name: process.name, pid: process.pid });
        }
        let mut targets = std::mem::take(&mut self.targets);
        for target in &mut targets {
            let Target::Container { name, pid } = target else { continue };
            if Process::of(*pid).is_err()
                && let Some(now) = self.find_container.as_mut().and_then(|find| find(name))
            {
                *pid = now;
            }
            let Ok(first) = Process::of(*pid) else { continue };
            for sibling in first.siblings() {
                // One that ended meanwhile is not missed.
                let _ = self.watch_process(sibling);
            }
        }
        self.targets = targets;
    }

    fn watch_process(&mut self, pid: u32) -> Result<(), KeysError> {
        let process = Process::of(pid)?;
        if self.processes.get(&pid).is_some_and(|known| known.start == process.start) {
            return Ok(());
        }
        let executable = process.executable()?;
        let (known, is_new) = match self.executables.get(&executable.inode) {
            // What is interpreted depends on the process, not on the executable.
            Some(Known::Probed(point)) => (Known::Probed(point.clone()), false),
            _ => match process.kind(&executable) {
                Kind::Go(point) => (Known::Probed(point), true),
                Kind::Other(runtime) => (Known::Other(runtime), true),
            },
        };
        self.processes.insert(pid, process.clone());
        match known {
            Known::Probed(point) => {
                if is_new && let Err(error) = self.place(&executable, &point) {
                    self.notices.push(Notice::NotPlaced { name: process.name, error });
                    return Ok(());
                }
                let runtime = runtime_of(&point);
                let connections = process.connections();
                self.notices.push(Notice::Watching { name: process.name, pid: Some(pid), runtime, connections });
            }
            Known::Other(runtime) => {
                self.executables.insert(executable.inode, Known::Other(runtime));
                self.watch_other(process, runtime);
            }
        }
        Ok(())
    }

    fn watch_other(&mut self, process: Process, runtime: Runtime) {
        let agent = self.java_agent.as_deref().filter(|_| runtime == Runtime::Jvm);
        let Some(jar) = agent else {
            self.notices.push(Notice::NotWatched { name: process.name, pid: process.pid, runtime });
            return;
        };
        match Agent::attach(&process, jar) {
            Ok(agent) => {
                self.agents.push(agent);
                let connections = process.connections();
                let runtime = "JVM, agent attached".to_owned();
                self.notices.push(Notice::Watching { name: process.name, pid: Some(process.pid), runtime, connections });
            }
            Err(error) => self.notices.push(Notice::NotAttached { name: process.name, error }),
        }
    }

    fn watch_path(&mut self, path: PathBuf) -> Result<(), KeysError> {
        let executable = executable_at(&path)?;
        if self.executables.contains_key(&executable.inode) {
            return Ok(());
        }
        let point = executable.probe_point().map_err(|source| KeysError::NotProbed { path: path.clone(), source })?;
        self.place(&executable, &point)?;
        let name = path.display().to_string();
        self.notices.push(Notice::Watching { name, pid: None, runtime: runtime_of(&point), connections: 0 });
        Ok(())
    }

    fn place(&mut self, executable: &Executable, point: &ProbePoint) -> Result<(), TraceError> {
        let tracing = match &mut self.tracing {
            Some(tracing) => tracing,
            none => {
                let (tracing, stale) = Tracing::open()?;
                if stale > 0 {
                    self.notices.push(Notice::RemovedStale(stale));
                }
                none.insert(tracing)
            }
        };
        tracing.place(point, &executable.path)?;
        self.executables.insert(executable.inode, Known::Probed(point.clone()));
        Ok(())
    }
}

fn runtime_of(point: &ProbePoint) -> String {
    match &point.build {
        Some(build) => match &build.main {
            Some(main) => format!("{} {main}", build.version),
            None => build.version.clone(),
        },
        None => "Go, version not recorded".to_owned(),
    }
}

/// The last lines: a program that is client and server of one connection reports each secret twice.
#[derive(Default)]
struct Recent {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Recent {
    fn is_new(&mut self, line: &str) -> bool {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let digest = BuildHasherDefault::<DefaultHasher>::default().hash_one(line);
        if !self.known.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watching { name, pid, runtime, connections } => {
                write!(f, "watching {name}")?;
                if let Some(pid) = pid {
                    write!(f, " (pid {pid})")?;
                }
                write!(f, ": {runtime}")?;
                if *connections > 0 {
                    write!(
                        f,
                        "; {connections} TCP connections were open before: their keys are not available. Restart the program, \
                         or close them: ss -K"
                    )?;
                }
                Ok(())
            }
            Self::NotWatched { name, pid, runtime } => write!(f, "not watching {name} (pid {pid}): {}", runtime.advice()),
            Self::NotAttached { name, error } => write!(f, "not watching {name}: {}", chain(error)),
            Self::NotPlaced { name, error } => write!(f, "not watching {name}: {}", chain(error)),
            Self::Ended { name, pid } => write!(f, "{name} (pid {pid}) ended"),
            Self::Lost(count) => write!(f, "{count} secrets were lost: the kernel's buffer was full or memory was not readable"),
            Self::RemovedStale(count) => write!(f, "removed the probes of {count} earlier runs that did not end properly"),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Runtime {
    /// What it is, and how its keys can be had.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Jvm => {
                "a JVM: name an agent with --java-agent FILE (name.neykov:extract-tls-secrets), or start the job with \
                 -javaagent:FILE=KEYLOG in spark.driver.extraJavaOptions and spark.executor.extraJavaOptions"
            }
            Self::Python => "Python: start it with SSLKEYLOGFILE=FILE (boto3, requests), and give the file with --keylog",
            Self::Node => "Node.js: start it with node --tls-keylog=FILE, and give the file with --keylog",
            Self::Curl => "curl: start it with SSLKEYLOGFILE=FILE (where its build allows that), and give the file with --keylog",
            Self::TlsLibrary => {
                "a program with a shared TLS library: it gives keys only if it has a switch for it, often SSLKEYLOGFILE=FILE"
            }
            Self::GoWithoutTls => "a Go program without crypto/tls, or with another TLS library: it has no function to watch",
            Self::Unknown => "its TLS library is not known: a hopwire proxy in the path can record it instead",
        }
    }
}

/// How often programs are looked for.
const REFRESH: Duration = Duration::from_millis(500);

/// Four lines a handshake: the last 4,096 handshakes.
const RECENT_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_once_while_it_is_recent() {
        let mut recent = Recent::default();
        assert!(recent.is_new("a") && !recent.is_new("a") && recent.is_new("b"));
        for number in 0..RECENT_MAX {
            assert!(recent.is_new(&number.to_string()));
        }
        assert!(recent.is_new("a"), "forgotten again");
        assert_eq!(recent.order.len(), recent.known.len());
    }

    #[test]
    fn a_program_without_keys_is_named_with_what_to_do() {
        let mut watch = KeyWatch::start(vec![Target::Pid(std::process::id())], None, None).unwrap();
        let notices = watch.take_notices();
        assert!(notices[0].to_string().starts_with("not watching "), "{}", notices[0]);
        assert_eq!(watch.watched(), 0);
        assert!(watch.poll().unwrap().is_none());
    }
}
