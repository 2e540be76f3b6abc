//! The secrets of running programs beside a capture: a thread of its own watches them, because it keeps the privileges that the
//! capture drops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cli::capture::status::Status;
use crate::keys::{KeyWatch, Notice};
use crate::model::{Secret, Untrusted};

/// Programs that are watched until this is dropped.
pub(super) struct ProgramKeys {
    secrets: Receiver<Secret>,
    is_stopped: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl ProgramKeys {
    pub(super) fn start(mut watch: KeyWatch, status: &Arc<Status>) -> Self {
        report(&watch.take_notices(), status);
        let (sender, secrets) = channel();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (status, stop) = (Arc::clone(status), Arc::clone(&is_stopped));
        let worker = thread::spawn(move || follow(&mut watch, &sender, &stop, &status));
        Self { secrets, is_stopped, worker: Some(worker) }
    }

    /// The secrets since the last call; never waits.
    pub(super) fn poll(&self) -> impl Iterator<Item = Secret> {
        self.secrets.try_iter()
    }
}

impl Drop for ProgramKeys {
    /// Removes the probes.
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn follow(watch: &mut KeyWatch, sender: &Sender<Secret>, is_stopped: &AtomicBool, status: &Status) {
    while !is_stopped.load(Ordering::Relaxed) {
        match watch.poll() {
            Ok(secret) => secret.into_iter().for_each(|secret| {
                // The capture has ended where nobody takes it.
                let _ = sender.send(secret);
            }),
            Err(error) => return status.tell(&format!("keys: no more secrets are read: {error}")),
        }
        report(&watch.take_notices(), status);
        thread::sleep(STEP);
    }
}

fn report(notices: &[Notice], status: &Status) {
    for notice in notices {
        status.tell(&format!("keys: {}", Untrusted::text(&notice.to_string())));
    }
}

/// Between two looks at the kernel's buffer.
const STEP: Duration = Duration::from_millis(20);
