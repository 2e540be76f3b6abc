//! Captures by their names in, exchanges and all other events out: the library for who has a file and wants to read it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::capture::{self, Batch, CaptureError, Kind, PacketSource as _, SavedCapture, SourceSummary, secrets_in};
use crate::decode::{Decoder, Limits};
use crate::model::{Event, Exchange, Secret};

/// Opens a capture: pcap, pcapng or snoop, also compressed with gzip or zstd.
///
/// The events come in the order of the packets, decoded on one thread and in bounded memory. TLS secrets that the file holds
/// are used, wherever in it they are; a key log of its own is given with [`Events::with_keylog`].
///
/// # Errors
/// Where the file cannot be read, or is no capture. Damage further on is no error: it is in [`Events::sources`].
///
/// ```no_run
/// for exchange in hopwire::open("run.pcapng")?.exchanges() {
///     println!("{} {:?}", String::from_utf8_lossy(exchange.request.target()), exchange.status());
/// }
/// # Ok::<(), hopwire::OpenError>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<Events, OpenError> {
    open_all([path])
}

/// Opens several captures as one, in the order of time.
///
/// # Errors
/// As [`open`]; of several captures, those that are damaged from the start are left out and named in [`Events::sources`].
pub fn open_all<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Events, OpenError> {
    let mut inputs = Vec::new();
    let mut secrets = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let file = capture::open_file(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        if file.kind == Kind::JsonLines {
            return Err(OpenError::Session { path: path.to_owned() });
        }
        // Secrets can be behind the packets that need them.
        if let Some(positioned) = &file.input.positioned {
            secrets.extend(secrets_in(positioned.as_ref()).unwrap_or_default());
        }
        inputs.push(file.input);
    }
    let mut events = Events::of(SavedCapture::open(inputs)?);
    secrets.iter().for_each(|secret| events.decoder.handle_secret(secret));
    Ok(events)
}

/// Why a capture cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Its name.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is a recorded session: its exchanges are decoded already.
    #[error("{} is a recorded session and holds no packets; read it with hopwire::session::jsonl::Reader", path.display())]
    Session {
        /// Its name.
        path: PathBuf,
    },
    /// The file is not a capture, or its start is damaged.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// The events of a capture, in order.
pub struct Events {
    capture: SavedCapture,
    decoder: Decoder,
    batch: Batch,
    /// The next packet of the batch.
    next: usize,
    has_ended: bool,
    failure: Option<CaptureError>,
    names: Vec<(IpAddr, String)>,
    packets: u64,
}

impl Events {
    /// The events of a capture that is open.
    pub fn of(capture: SavedCapture) -> Self {
        Self {
            capture,
            decoder: Decoder::new(Limits::default()),
            batch: Batch::new(),
            next: 0,
            has_ended: false,
            failure: None,
            names: Vec::new(),
            packets: 0,
        }
    }

    /// Uses the secrets of a key log (the text of an `SSLKEYLOGFILE`) as well.
    #[must_use]
    pub fn with_keylog(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.decoder.handle_secret(&Secret::new(text.into()));
        self
    }

    /// The exchanges only, without the events of connections and losses.
    pub fn exchanges(self) -> impl Iterator<Item = Exchange> {
        self.filter_map(|event| match event {
            Event::Exchange(exchange) => Some(*exchange),
            _ => None,
        })
    }

    /// What was read so far, and what was wrong with it: one entry for each file.
    pub fn sources(&self) -> Vec<SourceSummary> {
        self.capture.sources()
    }

    /// Host names that the files hold, as far as they were read.
    pub fn names(&self) -> &[(IpAddr, String)] {
        &self.names
    }

    /// Packets so far, and how many of them could not be decoded; each of those is in an [`Event::Lost`] as well.
    pub const fn packets(&self) -> (u64, u64) {
        (self.packets, self.decoder.packets_lost())
    }

    /// Why the events ended before the end of the files, where they did.
    pub const fn failure(&self) -> Option<&CaptureError> {
        self.failure.as_ref()
    }

    /// Decodes the next packet, or reads the next batch of them.
    fn read_on(&mut self) {
        if self.next < self.batch.len() {
            self.decoder.handle_packet(&self.batch.packet(self.next));
            self.next += 1;
            self.packets += 1;
            return;
        }
        self.next = 0;
        let more = self.capture.read_batch(&mut self.batch);
        self.batch.secrets().iter().for_each(|secret| self.decoder.handle_secret(secret));
        let room = NAMES_MAX.saturating_sub(self.names.len());
        self.names.extend(self.batch.names().iter().take(room).cloned());
        if !matches!(more, Ok(true)) {
            self.failure = more.err();
            self.has_ended = true;
            self.decoder.handle_end();
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.decoder.poll();
            if event.is_some() || self.has_ended {
                return event;
            }
            self.read_on();
        }
    }
}

/// Names kept of all files.
const NAMES_MAX: usize = 65_536;
