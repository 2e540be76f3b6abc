//! Running programs, as `/proc` shows them (proc(5)).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::keys::probe::{ProbeError, ProbePoint, probe_point};
use crate::keys::read_at::ReadAt;

impl ReadAt for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, offset)
    }
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Clock ticks after boot at which it began: a process id is used again, this pair is not.
    pub(super) start: u64,
    /// Its name (`comm`), at most 15 bytes; anything can be in it.
    pub(super) name: String,
}

/// The executable of a process, or of a path.
#[derive(Debug)]
pub(super) struct Executable {
    /// Where the kernel finds it: `/proc/PID/exe`, also for one that was replaced or deleted, in any container.
    pub(super) path: PathBuf,
    /// Device and inode: a probe is on these, and so on all processes that share them.
    pub(super) inode: (u64, u64),
    file: File,
}

/// What a program is, as far as its keys are concerned.
#[derive(Debug)]
pub enum Kind {
    /// A Go program with TLS, and where its probe goes.
    Go(ProbePoint),
    /// A program of another runtime.
    Other(Runtime),
}

/// Runtimes whose keys are had in other ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// A JVM (HotSpot or OpenJ9).
    Jvm,
    /// Python's `ssl` module.
    Python,
    /// Node.js.
    Node,
    /// curl, as a program or library.
    Curl,
    /// Something else that uses OpenSSL, GnuTLS or NSS as a shared library.
    TlsLibrary,
    /// A Go program without `crypto/tls`, or one that cannot be probed.
    GoWithoutTls,
    /// Nothing that is known.
    Unknown,
}

/// Why a process cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such process.
    #[error("no process {0}")]
    Gone(u32),
    /// It may not be looked at.
    #[error("may not look at process {pid}")]
    Denied {
        /// The process.
        pid: u32,
        /// What the system says.
        source: io::Error,
    },
    /// An executable cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Process {
    /// The process of that id.
    pub(super) fn of(pid: u32) -> Result<Self, ProcessError> {
        let stat = fs::read(format!("/proc/{pid}/stat")).map_err(|source| failure(pid, source))?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        parse_stat(pid, &stat).ok_or(ProcessError::Gone(pid))
    }

    /// Whether it is still this process.
    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now.start == self.start)
    }

    /// All processes whose ids this namespace knows.
    pub(super) fn all() -> Vec<u32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let mut pids: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        pids
    }

    /// The processes of the container that this one is in: those of its process namespace. Only itself where that is the
    /// namespace of the machine.
    pub(super) fn siblings(&self) -> Vec<u32> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.pid);
        if own.is_none() || own == fs::read_link("/proc/self/ns/pid").ok() {
            return vec![self.pid];
        }
        Self::all().into_iter().filter(|pid| namespace(*pid) == own).collect()
    }

    /// Its id in its own, innermost namespace.
    pub(super) fn inner_pid(&self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last()?.parse().ok());
        inner.unwrap_or(self.pid)
    }

    /// Its effective user and group.
    pub(super) fn effective_ids(&self) -> Option<(u32, u32)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let id = |key: &str| -> Option<u32> {
            status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().nth(1)?.parse().ok())
        };
        Some((id("Uid:")?, id("Gid:")?))
    }

    /// Its established TCP connections: how many, all of its namespace where its descriptors may not be looked at.
    pub(super) fn connections(&self) -> usize {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return 0 };
        let sockets: Vec<String> = entries
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let mut count = 0;
        for table in ["tcp", "tcp6"] {
            let Ok(text) = fs::read_to_string(format!("/proc/{}/net/{table}", self.pid)) else { continue };
            count += text.lines().skip(1).filter(|line| is_established(line, &sockets)).count();
        }
        count
    }

    pub(super) fn executable(&self) -> Result<Executable, ProcessError> {
        let path = PathBuf::from(format!("/proc/{}/exe", self.pid));
        Executable::open(path).map_err(|source| failure(self.pid, source))
    }

    /// What it is. Only the executable and the names of mapped libraries are read.
    pub(super) fn kind(&self, executable: &Executable) -> Kind {
        let maps = mapped_files(self.pid);
        let has = |part: &str| maps.lines().any(|line| line.contains(part));
        let name = fs::read_link(&executable.path).unwrap_or_default();
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if has("/libjvm.so") {
            return Kind::Other(Runtime::Jvm);
        }
        match probe_point(&executable.file) {
            Ok(point) => return Kind::Go(point),
            Err(ProbeError::Pclntab(crate::keys::pclntab::PclntabError::NoTable) | ProbeError::Elf(_)) => {}
            Err(_) => return Kind::Other(Runtime::GoWithoutTls),
        }
        Kind::Other(if name.starts_with("python") || has("/_ssl.") {
            Runtime::Python
        } else if name == "node" || name == "nodejs" {
            Runtime::Node
        } else if has("/libcurl") || name == "curl" {
            Runtime::Curl
        } else if ["/libssl", "/libgnutls", "/libnss3"].iter().any(|library| has(library)) {
            Runtime::TlsLibrary
        } else {
            Runtime::Unknown
        })
    }
}

impl Executable {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        Ok(Self { path, inode: (metadata.dev(), metadata.ino()), file })
    }

    pub(super) fn probe_point(&self) -> Result<ProbePoint, ProbeError> {
        probe_point(&self.file)
    }
}

/// The executable of a path on this machine.
pub(super) fn executable_at(path: &Path) -> Result<Executable, ProcessError> {
    Executable::open(path.to_owned()).map_err(|source| ProcessError::Open { path: path.to_owned(), source })
}

/// `PID (NAME) STATE …`, where the name may hold anything, also parentheses; the start time is the 22nd field.
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let start = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Process { pid, start, name: name.to_owned() })
}

/// A line of `/proc/PID/net/tcp`: state 01 and one of these sockets.
fn is_established(line: &str, sockets: &[String]) -> bool {
    let mut fields = line.split_ascii_whitespace();
    let is_open = fields.nth(3) == Some("01");
    is_open && fields.nth(5).is_some_and(|inode| sockets.iter().any(|socket| socket == inode))
}

/// The mapped files of a process; cut at a bound that no usual process reaches.
fn mapped_files(pid: u32) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/maps")) {
        let _ = file.take(MAPS_BYTES_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn failure(pid: u32, source: io::Error) -> ProcessError {
    match source.kind() {
        io::ErrorKind::NotFound => ProcessError::Gone(pid),
        _ => ProcessError::Denied { pid, source },
    }
}

const MAPS_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_read_whole() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(12, stat), Some(Process { pid: 12, start: 4711, name: "a) b (c".to_owned() }));
        assert_eq!(parse_stat(12, "12 (cut"), None);
    }

    #[test]
    fn this_process_is_alive_and_no_go_program() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        let executable = own.executable().unwrap();
        assert!(matches!(own.kind(&executable), Kind::Other(_)));
        assert!(!Process { start: own.start + 1, ..own }.is_alive());
        assert!(matches!(Process::of(u32::MAX), Err(ProcessError::Gone(_))));
    }

    #[test]
    fn established_connections_are_those_of_the_process() {
        let line =
            "   1: 0100007F:1F90 0100007F:A2C4 01 00000000:00000000 00:00000000 00000000  1000        0 55555 1 0 20 4 30 10 -1";
        assert!(is_established(line, &["55555".to_owned()]));
        assert!(!is_established(line, &["5555".to_owned()]));
        assert!(!is_established(&line.replace(" 01 ", " 0A "), &["55555".to_owned()]));
    }
}
