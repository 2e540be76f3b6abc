//! The bodies of one connection on their way into files. Memory stays flat: of each body some KiB wait at most.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::blobs::{Store, name_of};
use crate::decode::http1::{MessageHead, Observer, Retain};
use crate::model::{Body, Side};
use crate::session::redact;

/// Stores all bodies of a connection.
pub(super) struct Spooler {
    store: Arc<Store>,
    client: Spool,
    server: Spool,
}

/// One body on its way.
#[derive(Default)]
struct Spool {
    buffer: Vec<u8>,
    /// What was written to so far.
    path: Option<PathBuf>,
    file: Option<File>,
    is_lost: bool,
}

/// So much of a body waits to be written at once.
const BUFFER_BYTES: usize = 64 << 10;
/// So much of all bodies together waits: beyond it pieces are written as they come.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Files of bodies that may stay open between two writes. Programs may have 1,024 open by default.
const OPEN_MAX: usize = 256;

impl Spooler {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, client: Spool::default(), server: Spool::default() }
    }

    const fn spool(&mut self, from: Side) -> &mut Spool {
        match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl Observer for Spooler {
    fn head(&mut self, head: &MessageHead<'_>) -> Retain {
        let side = match head {
            MessageHead::Request(_) => Side::Client,
            MessageHead::Response { .. } => Side::Server,
        };
        let store = Arc::clone(&self.store);
        self.spool(side).reset(&store);
        if head.has_body() { Retain::All } else { Retain::Skip }
    }

    fn content(&mut self, from: Side, content: &[u8]) {
        let store = Arc::clone(&self.store);
        let spool = self.spool(from);
        if spool.is_lost {
            return;
        }
        if let Err(error) = spool.add(content, &store) {
            store.fail(error);
            spool.reset(&store);
            spool.is_lost = true;
        }
    }

    fn missing(&mut self, from: Side, _: u64) {
        let store = Arc::clone(&self.store);
        let spool = self.spool(from);
        spool.reset(&store);
        spool.is_lost = true;
    }

    fn end(&mut self, from: Side, body: &mut Body) {
        let store = Arc::clone(&self.store);
        let spool = self.spool(from);
        if !store.shows_secrets && redact::has_secret_by_place(&body.kept) {
            // Its hash would verify guesses.
            body.sha256 = None;
        }
        if let Some(digest) = body.sha256.as_deref().filter(|_| !spool.is_lost && body.length > 0) {
            match spool.publish(digest, &store) {
                Ok(()) => body.stored = true,
                Err(error) => store.fail(error),
            }
        }
        spool.reset(&store);
    }

    fn held_bytes(&self) -> usize {
        self.client.buffer.len() + self.server.buffer.len()
    }
}

impl Drop for Spooler {
    fn drop(&mut self) {
        self.client.reset(&self.store);
        self.server.reset(&self.store);
    }
}

impl Spool {
    /// Takes the next content.
    fn add(&mut self, content: &[u8], store: &Store) -> io::Result<()> {
        let is_full = self.buffer.len() + content.len() > BUFFER_BYTES;
        if !is_full && store.waiting.load(Ordering::Relaxed) + content.len() <= WAITING_BYTES_MAX {
            self.buffer.extend_from_slice(content);
            store.waiting.fetch_add(content.len(), Ordering::Relaxed);
            return Ok(());
        }
        if store.has_failed() {
            self.is_lost = true;
            return Ok(());
        }
        self.write_out(store)?;
        if content.len() < BUFFER_BYTES && is_full {
            self.buffer.extend_from_slice(content);
            store.waiting.fetch_add(content.len(), Ordering::Relaxed);
            return Ok(());
        }
        let mut file = self.take_file(store)?;
        file.write_all(content)?;
        self.put_back(file, store);
        Ok(())
    }

    /// Writes what waits.
    fn write_out(&mut self, store: &Store) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut file = self.take_file(store)?;
        file.write_all(&self.buffer)?;
        store.waiting.fetch_sub(self.buffer.len(), Ordering::Relaxed);
        self.buffer.clear();
        self.put_back(file, store);
        Ok(())
    }

    /// The unfinished file, at its end.
    fn take_file(&mut self, store: &Store) -> io::Result<File> {
        if let Some(file) = self.file.take() {
            store.open.fetch_sub(1, Ordering::Relaxed);
            return Ok(file);
        }
        match &self.path {
            Some(path) => OpenOptions::new().append(true).open(path),
            None => {
                let number = store.number.fetch_add(1, Ordering::Relaxed);
                let path = store.folder.join(format!(".unfinished-{}-{number}", std::process::id()));
                let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
                self.path = Some(path);
                Ok(file)
            }
        }
    }

    /// Keeps the file open for what comes next, where not too many are.
    fn put_back(&mut self, file: File, store: &Store) {
        if store.open.load(Ordering::Relaxed) < OPEN_MAX {
            store.open.fetch_add(1, Ordering::Relaxed);
            self.file = Some(file);
        }
    }

    /// The body is whole: gives its file the name of its content.
    fn publish(&mut self, digest: &[u8; 32], store: &Store) -> io::Result<()> {
        let path = store.folder.join(name_of(digest));
        if fs::symlink_metadata(&path).is_ok_and(|there| there.is_file()) {
            return Ok(());
        }
        self.write_out(store)?;
        if let Some(unfinished) = self.path.take() {
            fs::rename(&unfinished, &path)?;
            store.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Forgets the body; what was not published is removed.
    fn reset(&mut self, store: &Store) {
        store.waiting.fetch_sub(self.buffer.len(), Ordering::Relaxed);
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES / 16 {
            // Connections can be many and idle.
            self.buffer = Vec::new();
        }
        if self.file.take().is_some() {
            store.open.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(path) = self.path.take() {
            // Where it cannot be removed, it is an unfinished file in a folder of ours.
            let _ = fs::remove_file(path);
        }
        self.is_lost = false;
    }
}
