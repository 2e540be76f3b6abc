//! The kernel's tracing file system (Documentation/trace/{ftrace,uprobetracer}.rst): probes of one run of hopwire, in an instance
//! of its own, so that nobody else's tracing is disturbed.
//!
//! Group and instance are called `hopwire_PID_START`. Both outlive their process when it is killed: what belongs to no living
//! process is removed at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::keys::probe::{Hit, ProbePoint};
use crate::keys::process::Process;

/// Why no probe can be placed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No tracing file system is mounted.
    #[error("tracefs is not mounted, neither at /sys/kernel/tracing nor at /sys/kernel/debug/tracing")]
    NotMounted,
    /// The kernel has no uprobes.
    #[error("this kernel has no uprobes ({0} is not there; it needs CONFIG_UPROBE_EVENTS)")]
    NoUprobes(PathBuf),
    /// The user may not.
    #[error("may not write to {path}")]
    Denied {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something else fails.
    #[error("cannot {what} {path}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The probes of this run.
pub(super) struct Tracing {
    root: PathBuf,
    group: String,
    pipe: Option<File>,
    probes: usize,
    /// The beginning of a line whose end was not read yet.
    partial: Vec<u8>,
}

impl Tracing {
    /// Makes an instance, after removing what dead runs left behind; gives the number of those too.
    pub(super) fn open() -> Result<(Self, usize), TraceError> {
        let root = find_root()?;
        let stale = remove_stale(&root);
        let own = Process::of(std::process::id()).map_or(0, |process| process.start);
        let group = format!("{PREFIX}{}_{own}", std::process::id());
        let mut tracing = Self { root, group, pipe: None, probes: 0, partial: Vec::new() };
        let instance = tracing.instance();
        match fs::create_dir(&instance) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", &instance, error)),
            _ => {}
        }
        write(&instance.join("buffer_size_kb"), BUFFER_KIB)?;
        // Woken by one hit, not by a half-full buffer. Older kernels have no such file and do so anyway.
        let _ = write(&instance.join("buffer_percent"), "0");
        let pipe = instance.join("trace_pipe");
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(&pipe);
        tracing.pipe = Some(opened.map_err(|error| failed("open", &pipe, error))?);
        Ok((tracing, stale))
    }

    /// Puts a probe on an executable.
    pub(super) fn place(&mut self, point: &ProbePoint, executable: &Path) -> Result<(), TraceError> {
        let name = format!("k{}", self.probes);
        let events = self.root.join("uprobe_events");
        let definition = point.definition(&self.group, &name, &executable.display().to_string());
        append(&events, &definition)?;
        self.probes += 1;
        write(&self.instance().join("events").join(&self.group).join(&name).join("enable"), "1")
    }

    /// Reads the hits since the last call; never waits.
    pub(super) fn poll(&mut self, hits: &mut Vec<Hit>) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.partial.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        let Some(end) = memchr::memrchr(b'\n', &self.partial) else {
            self.partial.truncate(LINE_BYTES_MAX);
            return Ok(());
        };
        let rest = self.partial.split_off(end + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        hits.extend(String::from_utf8_lossy(&lines).lines().filter_map(Hit::parse));
        Ok(())
    }

    fn instance(&self) -> PathBuf {
        self.root.join("instances").join(&self.group)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // An instance that is read from cannot be removed.
        self.pipe = None;
        remove(&self.root, &self.group);
    }
}

fn find_root() -> Result<PathBuf, TraceError> {
    for root in ROOTS.map(Path::new) {
        if root.join("trace").exists() || root.join("events").exists() {
            let events = root.join("uprobe_events");
            return if events.exists() { Ok(root.to_owned()) } else { Err(TraceError::NoUprobes(events)) };
        }
        if let Err(error) = fs::read_dir(root)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            return Err(TraceError::Denied { path: root.to_owned(), source: error });
        }
    }
    Err(TraceError::NotMounted)
}

/// Removes the groups of processes that do not run any more; gives their number.
fn remove_stale(root: &Path) -> usize {
    let mut groups = Vec::new();
    let names = fs::read_dir(root.join("instances")).into_iter().flatten().flatten();
    groups.extend(names.filter_map(|entry| entry.file_name().into_string().ok()));
    let events = fs::read_to_string(root.join("uprobe_events")).unwrap_or_default();
    groups.extend(events.lines().filter_map(|line| Some(line.strip_prefix("p:")?.split_once('/')?.0.to_owned())));
    groups.sort();
    groups.dedup();
    groups.retain(|group| is_stale(group));
    for group in &groups {
        remove(root, group);
    }
    groups.len()
}

fn is_stale(group: &str) -> bool {
    let owner = group.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    let Some((Ok(pid), Ok(start))) = owner.map(|(pid, start)| (pid.parse(), start.parse())) else { return false };
    !Process { pid, start, name: String::new() }.is_alive()
}

/// Disables and removes a group and its instance. What cannot be removed now is removed at the next start.
fn remove(root: &Path, group: &str) {
    let instance = root.join("instances").join(group);
    let _ = write(&instance.join("events").join(group).join("enable"), "0");
    let _ = fs::remove_dir(&instance);
    let events = root.join("uprobe_events");
    let defined = fs::read_to_string(&events).unwrap_or_default();
    let start = format!("p:{group}/");
    for name in defined.lines().filter_map(|line| line.strip_prefix(&start)?.split_ascii_whitespace().next()) {
        let _ = append(&events, &format!("-:{group}/{name}"));
    }
}

fn write(path: &Path, text: &str) -> Result<(), TraceError> {
    fs::write(path, text).map_err(|error| failed("write to", path, error))
}

/// `uprobe_events` must be appended to: writing over it removes all probes of everybody.
fn append(path: &Path, line: &str) -> Result<(), TraceError> {
    let mut file = OpenOptions::new().append(true).open(path).map_err(|error| failed("open", path, error))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(|error| failed("write to", path, error))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> TraceError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => TraceError::Denied { path, source },
        _ => TraceError::Failed { what, path, source },
    }
}

const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const PREFIX: &str = "hopwire_";
/// Per processor: some thousand hits, which are read several times a second.
const BUFFER_KIB: &str = "4096";
const READ_BYTES: usize = 64 << 10;
const READS_MAX: usize = 64;
/// A longer line is not a hit.
const LINE_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_dead_processes_are_stale() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(!is_stale(&format!("hopwire_{}_{}", own.pid, own.start)));
        assert!(is_stale(&format!("hopwire_{}_{}", own.pid, own.start + 1)));
        assert!(is_stale("hopwire_4294967295_1"));
        assert!(!is_stale("hopwire_x_1") && !is_stale("uprobes") && !is_stale("other_1_1"));
    }
}
