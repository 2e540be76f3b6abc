//! Attaching a Java agent to a running JVM, by HotSpot's attach protocol.
//!
//! The JVM listens on a socket only after it was asked to: by a file `.attach_pidN` in its working folder or in `/tmp`, and
//! SIGQUIT (OpenJDK: `src/jdk.attach/linux/classes/sun/tools/attach/VirtualMachineImpl.java` and
//! `src/hotspot/os/posix/attachListener_posix.cpp`). The request is then five strings that end with NUL: the protocol's version,
//! the command and three arguments.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Gid, Pid, Signal, Uid, kill_process};
use rustix::thread::{set_thread_gid, set_thread_uid};

use crate::keys::process::Process;

/// Why no agent can be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The agent's file cannot be read.
    #[error("cannot read the Java agent {path}")]
    Agent {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The JVM does not listen.
    #[error("the JVM {0} does not accept agents: it is not HotSpot, or runs with -XX:+DisableAttachMechanism")]
    Silent(u32),
    /// The JVM refused the agent.
    #[error("the JVM {pid} refused the agent: {answer}")]
    Refused {
        /// The process.
        pid: u32,
        /// What it responded.
        answer: String,
    },
    /// Something else fails.
    #[error("cannot {what} for the JVM {pid}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The process.
        pid: u32,
        /// What the system says.
        source: io::Error,
    },
}

/// An agent in a JVM, and the key log that it writes.
pub(super) struct Agent {
    process: Process,
    log: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Agent {
    /// Loads the agent of `jar` into the JVM.
    pub(super) fn attach(process: &Process, jar: &Path) -> Result<Self, AttachError> {
        let pid = process.pid;
        let failed = |what| move |source| AttachError::Failed { what, pid, source };
        let (user, group) = process.effective_ids().ok_or_else(|| failed("read the user")(io::ErrorKind::NotFound.into()))?;
        let folder = PathBuf::from(format!("/proc/{pid}/root/tmp"));
        let name = format!("hopwire-{}-{pid}", std::process::id());
        let code = fs::read(jar).map_err(|source| AttachError::Agent { path: jar.to_owned(), source })?;
        let placed = Placed { path: folder.join(format!("{name}.jar")) };
        create(&placed.path, &code, user, group).map_err(failed("copy the agent"))?;
        let log = folder.join(format!("{name}.log"));
        create(&log, b"", user, group).map_err(failed("create the key log"))?;
        let agent = Self { process: process.clone(), log, file: None, partial: Vec::new() };
        let socket = format!(".java_pid{}", process.inner_pid());
        listen(process, &folder, &socket, user, group)?;
        let request = format!("1\0load\0instrument\0false\0/tmp/{name}.jar=/tmp/{name}.log\0");
        let answer = ask(&folder, socket, request, user, group).map_err(failed("talk"))?;
        match answer.lines().next() {
            Some("0") if answer.lines().nth(1).is_none_or(|code| code.is_empty() || code == "0" || code == "return code: 0") => {
                Ok(agent)
            }
            _ => Err(AttachError::Refused { pid, answer: answer.replace('\n', " ").trim().chars().take(200).collect() }),
        }
    }

    /// The JVM that it is in.
    pub(super) const fn process(&self) -> &Process {
        &self.process
    }

    /// The lines that it wrote since the last call; never waits.
    pub(super) fn poll(&mut self) -> io::Result<Vec<String>> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.log)?),
        };
        Read::by_ref(file).take(READ_BYTES_MAX).read_to_end(&mut self.partial)?;
        let Some(end) = memchr::memrchr(b'\n', &self.partial) else { return Ok(Vec::new()) };
        let rest = self.partial.split_off(end + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        Ok(String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.log);
    }
}

/// A file that is removed when its work is done: the JVM has opened the agent by then.
struct Placed {
    path: PathBuf,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks the JVM to listen, where it does not yet.
fn listen(process: &Process, folder: &Path, socket: &str, user: u32, group: u32) -> Result<(), AttachError> {
    let pid = process.pid;
    let failed = |what| move |source| AttachError::Failed { what, pid, source };
    let socket = folder.join(socket);
    if socket.exists() {
        return Ok(());
    }
    let wish = Placed { path: folder.join(format!(".attach_pid{}", process.inner_pid())) };
    create(&wish.path, b"", user, group).map_err(failed("ask for a socket"))?;
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(AttachError::Silent(pid))?;
    let start = Instant::now();
    // A JVM whose start is not complete ignores the first signal, or dies of it: HotSpot's own tools wait in the same way.
    kill_process(target, Signal::QUIT).map_err(|error| failed("signal")(error.into()))?;
    while start.elapsed() < LISTEN_PATIENCE {
        if socket.exists() {
            return Ok(());
        }
        thread::sleep(LISTEN_STEP);
    }
    Err(AttachError::Silent(pid))
}

/// Sends the request as the user of the JVM: older ones accept nobody else. A thread of its own changes its user, and ends.
fn ask(folder: &Path, socket: String, request: String, user: u32, group: u32) -> io::Result<String> {
    // Opened before the change of user, which takes away the right to follow `/proc/PID/root`.
    let folder = OpenOptions::new().read(true).custom_flags(directory_flags()).open(folder)?;
    let worker = thread::spawn(move || -> io::Result<String> {
        let is_other = rustix::process::geteuid().as_raw() != user || rustix::process::getegid().as_raw() != group;
        if is_other {
            set_thread_gid(Gid::from_raw(group))?;
            set_thread_uid(Uid::from_raw(user))?;
        }
        let mut stream = UnixStream::connect(format!("/proc/self/fd/{}/{socket}", folder.as_raw_fd()))?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    });
    worker.join().unwrap_or_else(|_| Err(io::Error::other("the connection to the JVM failed")))
}

/// A new file of that owner that nobody else can read.
fn create(path: &Path, content: &[u8], user: u32, group: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    chown(path, Some(user), Some(group))
}

fn directory_flags() -> i32 {
    i32::try_from((rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::PATH).bits()).unwrap_or_default()
}

const LISTEN_PATIENCE: Duration = Duration::from_secs(6);
const LISTEN_STEP: Duration = Duration::from_millis(50);
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const READ_BYTES_MAX: u64 = 4 << 20;
