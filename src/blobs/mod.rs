//! Bodies beside a session: one file for each, named by the SHA-256 of what it holds. `run.jsonl` has `run.blobs/`.
//!
//! A blob is content as it was sent, without chunk framing and not redacted: only its owner can read it. A body in which a secret
//! is known by its place (an STS answer, a password in a form) is not stored, unless secrets are to be shown.

mod spool;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::blobs::spool::Spooler;
use crate::decode::http1::{Observe, Observer};
use crate::model::{Body, Endpoints, FlowId};

/// A folder of blobs.
pub struct Store {
    folder: PathBuf,
    /// Whether bodies with secrets in them are stored too.
    shows_secrets: bool,
    /// Bodies are kept of these flows only; of all where there is none.
    flows: Vec<FlowId>,
    /// Numbers for the names of unfinished blobs.
    number: AtomicU64,
    /// Files that are open.
    open: AtomicUsize,
    /// Bytes that wait in memory to be written.
    waiting: AtomicUsize,
    count: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

/// Which bodies a store takes.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Bodies with secrets in them, too.
    pub secrets: bool,
    /// Those of these flows only; those of all flows where there is none.
    pub flows: Vec<FlowId>,
}

/// The folder of blobs that belongs to a session: `run.blobs` for `run.jsonl`.
pub fn folder_of(session: &Path) -> PathBuf {
    match session.extension().and_then(|suffix| suffix.to_str()) {
        Some("jsonl" | "ndjson") => session.with_extension("blobs"),
        _ => {
            let mut name = session.as_os_str().to_owned();
            name.push(".blobs");
            name.into()
        }
    }
}

/// The name of a blob in its folder.
pub fn name_of(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut name, byte| {
        name.extend([byte >> 4, byte & 15].iter().filter_map(|nibble| char::from_digit(u32::from(*nibble), 16)));
        name
    })
}

impl Store {
    /// Makes the folder, which only its owner can read, or takes one that is there.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn create(folder: &Path, wanted: Wanted) -> io::Result<Arc<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            shows_secrets: wanted.secrets,
            flows: wanted.flows,
            number: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            count: AtomicU64::new(0),
            failure: Mutex::new(None),
        }))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An observer for one connection that keeps all bodies in this store.
    pub fn observer(self: &Arc<Self>) -> Box<dyn Observer> {
        Box::new(Spooler::new(Arc::clone(self)))
    }

    /// What gives the connections of a decoder their observers.
    pub fn observe(self: &Arc<Self>) -> Arc<dyn Observe> {
        Arc::new(Watch(Arc::clone(self)))
    }

    /// Blobs written so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The first failure to write. After it nothing more is stored, and bodies say so.
    pub fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn fail(&self, error: io::Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.folder.display())
    }
}

/// A store as the decoder knows it.
#[derive(Debug)]
struct Watch(Arc<Store>);

impl Observe for Watch {
    fn observe(&self, flow: FlowId, _: &Endpoints) -> Option<Box<dyn Observer>> {
        let is_wanted = self.0.flows.is_empty() || self.0.flows.contains(&flow);
        is_wanted.then(|| self.0.observer())
    }
}

/// The blobs of a recorded session.
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Those in this folder.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Those beside a session.
    pub fn beside(session: &Path) -> Self {
        Self::new(folder_of(session))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The content of a body; `None` where it was not stored. The reader that it is given to compares the SHA-256.
    ///
    /// # Errors
    /// Where the blob that the body names cannot be opened.
    pub fn open(&self, body: &Body) -> io::Result<Option<File>> {
        match body.sha256.as_deref().filter(|_| body.stored) {
            Some(digest) => File::open(self.folder.join(name_of(digest))).map(Some),
            None => Ok(None),
        }
    }

    /// Gives a blob to another folder: as a second name of the same file, or as a copy.
    ///
    /// # Errors
    /// Where the blob that the body names is not there, or cannot be copied.
    pub fn share(&self, body: &Body, folder: &Path) -> io::Result<()> {
        let Some(digest) = body.sha256.as_deref().filter(|_| body.stored) else { return Ok(()) };
        let name = name_of(digest);
        let (from, to) = (self.folder.join(&name), folder.join(&name));
        match fs::hard_link(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => fs::copy(&from, &to).map(drop),
            Ok(()) => Ok(()),
        }
    }
}
