//! Ctrl-C while something is read or written: reading ends where it is and the report is still written; files that are not whole
//! are removed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::cli::failure::Exit;

/// Whether the user asked to stop. The first signal sets it; the second ends the program at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP.
    pub(super) fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&stop.0))?;
            flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Whether it was asked for.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The same bytes, which end where the user asked to stop.
    pub(super) fn over(&self, stream: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        Box::new(Stoppable { stream, stop: self.clone() })
    }

    /// Standard input, which ends where the user asked to stop, also while nothing comes.
    pub(super) fn over_stdin(&self) -> io::Result<Box<dyn Read + Send>> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Box::new(Awaited { file, stop: self.clone() }))
    }
}

/// A stream whose reads do not wait for long.
struct Stoppable {
    stream: Box<dyn Read + Send>,
    stop: Stop,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() { Ok(0) } else { self.stream.read(buffer) }
    }
}

/// A pipe or a terminal, on which bytes may be long in coming.
struct Awaited {
    file: File,
    stop: Stop,
}

impl Read for Awaited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            if self.stop.is_set() {
                return Ok(0);
            }
            let mut wait = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut wait, Some(&STEP)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return self.file.read(buffer),
            }
        }
    }
}

/// Removes a file when the program is ended by a signal, as long as it lives.
#[derive(Debug)]
pub(super) struct Unfinished(PathBuf);

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

impl Unfinished {
    /// Takes care of the file. Where no handler can be set up, it stays behind after a signal.
    pub(super) fn guard(path: &Path) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| drop(remove_on_signals()));
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

/// Waits on a thread of its own for a signal, then removes what is unfinished and ends the program.
fn remove_on_signals() -> io::Result<()> {
    let (mut waiting, told) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        low_level::pipe::register(signal, told.try_clone()?)?;
    }
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        // The sending half lives in the handlers, so that this waits for a signal and nothing else.
        if waiting.read_exact(&mut [0]).is_ok() {
            for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = fs::remove_file(path);
            }
            std::process::exit(Exit::Interrupted as i32);
        }
    })?;
    Ok(())
}
