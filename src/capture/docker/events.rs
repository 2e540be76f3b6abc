//! Follows the engine's events, so that names stay right when containers start, stop and move.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::capture::docker::http::{self, Content};
use crate::capture::docker::{Docker, Network};

/// Addresses with the names they have from now on.
pub type Named = Vec<(IpAddr, String)>;

/// Hears what the engine tells, on a thread of its own.
pub struct NameFollower {
    changes: Receiver<Named>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameFollower {
    /// Follows the names in one network, or in all.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(docker: Docker, network: Option<Network>) -> io::Result<Self> {
        let (sender, changes) = sync_channel(CHANGES_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("docker-events".to_owned()).spawn(move || {
            let mut follower = Follower { docker, network, known: Vec::new(), changes: sender, stop: seen };
            follower.run();
        })?;
        Ok(Self { changes, stop, thread: Some(thread) })
    }

    /// The names that changed since the last call; never waits.
    pub fn poll(&self) -> Named {
        self.changes.try_iter().flatten().collect()
    }
}

impl Drop for NameFollower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It looks at `stop` several times a second, and cannot panic.
            let _ = thread.join();
        }
    }
}

struct Follower {
    docker: Docker,
    network: Option<Network>,
    known: Named,
    changes: SyncSender<Named>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    fn run(&mut self) {
        while !self.is_stopped() {
            // The engine may be restarted while it is followed: that ends the stream, and is no end of the capture.
            if let Ok(mut answer) = http::get(self.docker.socket(), EVENTS, PATIENCE)
                && answer.status == 200
                && answer.content.wait_at_most(WAKE_EVERY).is_ok()
            {
                self.look();
                self.listen(&mut answer.content);
            }
            self.rest();
        }
    }

    /// Reads events until the stream ends. What exactly happened does not matter: names are looked up again after each.
    fn listen(&mut self, events: &mut Content<impl Read>) {
        let mut buffer = [0; 4096];
        let mut is_changed = false;
        while !self.is_stopped() {
            match events.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => is_changed = true,
                Err(error) if is_wait(&error) => {
                    // Several events come together when a container starts; they are looked into once, when it is quiet.
                    if std::mem::take(&mut is_changed) {
                        self.look();
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Sends on the names that are new or changed.
    fn look(&mut self) {
        let Ok(names) = self.docker.names(self.network.as_ref()) else { return };
        let fresh: Named = names.iter().filter(|name| !self.known.contains(name)).cloned().collect();
        if fresh.is_empty() {
            return;
        }
        match self.changes.try_send(fresh) {
            // Nobody took the last changes yet: these stay unknown, and are tried again with the next event.
            Err(TrySendError::Full(_)) => {}
            Ok(()) | Err(TrySendError::Disconnected(_)) => self.known = names,
        }
    }

    fn rest(&self) {
        for _ in 0..8 {
            if self.is_stopped() {
                return;
            }
            std::thread::sleep(WAKE_EVERY);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// `filters={"type":["container","network"],"event":["start","die","rename","connect","disconnect"]}`.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B%22start%22%2C\
    %22die%22%2C%22rename%22%2C%22connect%22%2C%22disconnect%22%5D%7D";

/// How long the engine may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the thread looks whether it shall end.
const WAKE_EVERY: Duration = Duration::from_millis(250);

/// Changes that wait to be taken.
const CHANGES_MAX: usize = 64;
