//! The packets on their way into files: one, a rotating set, a pipe, or a window of the last seconds that is written in the end.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::capture::write::annotate::annotate;
use crate::capture::write::pcapng::{InterfaceDescription, InterfaceId, PacketRecord, Statistics, Writer};
use crate::capture::{Batch, SourceSummary};
use crate::cli::capture::blocks::{BlockWriter, Out};
use crate::cli::capture::rotation::{Rotation, name_of_file};
use crate::model::{Secret, Timestamp};

/// Where the packets go.
pub(in crate::cli) struct Recording {
    target: Target,
    rotation: Rotation,
    writer: Option<Writer<BlockWriter>>,
    interfaces: Vec<InterfaceId>,
    /// What every file needs to open alone.
    names: Vec<(IpAddr, String)>,
    secrets: VecDeque<Secret>,
    secret_bytes: usize,
    /// The files by their index in the capture; those that rotated away are `None`.
    files: Vec<Option<PathBuf>>,
    begun: Instant,
    next_flush: Instant,
    /// Packets in the file being written, and in all.
    packets_in_file: u64,
    packets: u64,
}

/// What `-w` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Target {
    /// `-`
    Stdout,
    /// A file, or the pattern of a rotating set.
    File(PathBuf),
}

impl Recording {
    /// Opens the first file at once, so that a mistake in its name shows before the capture begins.
    pub(in crate::cli) fn open(target: Target, rotation: Rotation) -> io::Result<Self> {
        let now = Instant::now();
        let mut recording = Self {
            target,
            rotation,
            writer: None,
            interfaces: Vec::new(),
            names: Vec::new(),
            secrets: VecDeque::new(),
            secret_bytes: 0,
            files: Vec::new(),
            begun: now,
            next_flush: now,
            packets_in_file: 0,
            packets: 0,
        };
        recording.open_file()?;
        Ok(recording)
    }

    /// How the file that is being written is called.
    pub(in crate::cli) fn name(&self) -> String {
        match self.files.last() {
            Some(Some(path)) => path.display().to_string(),
            _ => "-".to_owned(),
        }
    }

    /// Packets written, in all files.
    pub(in crate::cli) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of the file that is being written.
    pub(in crate::cli) fn bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.beneath().bytes())
    }

    /// The files that are there.
    pub(in crate::cli) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().flatten().map(PathBuf::as_path)
    }

    /// Writes names of addresses, and keeps them for the files to come.
    pub(in crate::cli) fn write_names(&mut self, names: &[(IpAddr, String)]) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        for (address, name) in names {
            self.names.retain(|(known, _)| known != address);
            self.names.push((*address, name.clone()));
        }
        match &mut self.writer {
            Some(writer) => writer.write_names(names.iter().map(|(address, name)| (*address, name.as_str()))),
            None => Ok(()),
        }
    }

    /// Writes a secret, and keeps it for the files to come.
    pub(in crate::cli) fn write_secret(&mut self, secret: &Secret) -> io::Result<()> {
        self.secret_bytes += secret.expose().len();
        self.secrets.push_back(secret.clone());
        while self.secret_bytes > SECRET_BYTES_MAX {
            let Some(oldest) = self.secrets.pop_front() else { break };
            self.secret_bytes -= oldest.expose().len();
        }
        match &mut self.writer {
            Some(writer) => writer.write_secret(secret),
            None => Ok(()),
        }
    }

    /// Writes packets, and their interfaces where they are new. `comments` are by frame number.
    pub(in crate::cli) fn write(&mut self, batch: &Batch, source: &SourceSummary) -> io::Result<()> {
        self.write_commented(batch, source, &[])
    }

    /// Writes packets with comments, which are by index in the batch and in order.
    pub(in crate::cli) fn write_commented(
        &mut self,
        batch: &Batch,
        source: &SourceSummary,
        comments: &[(usize, Box<str>)],
    ) -> io::Result<()> {
        self.write_interfaces(source)?;
        let mut comments = comments.iter().peekable();
        for (index, packet) in batch.packets().enumerate() {
            let comment = comments.next_if(|(at, _)| *at == index).map(|(_, text)| &**text);
            let list: Vec<&str> = comment.into_iter().collect();
            self.write_packet(batch.interface(index), packet.at, packet.bytes, packet.original, &list)?;
        }
        let now = Instant::now();
        if now >= self.next_flush {
            self.next_flush = now + FLUSH_EVERY;
            self.flush()?;
        }
        Ok(())
    }

    /// Writes one packet of an interface that is known already.
    pub(in crate::cli) fn write_packet(
        &mut self,
        interface: usize,
        at: Timestamp,
        bytes: &[u8],
        original: u32,
        comments: &[&str],
    ) -> io::Result<()> {
        let (Some(writer), Some(interface)) = (&mut self.writer, self.interfaces.get(interface)) else { return Ok(()) };
        writer.write_packet(*interface, &PacketRecord { at, bytes, original, comments })?;
        self.packets_in_file += 1;
        self.packets += 1;
        Ok(())
    }

    /// Describes the interfaces that are new.
    pub(in crate::cli) fn write_interfaces(&mut self, source: &SourceSummary) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for interface in source.interfaces.iter().skip(self.interfaces.len()) {
            let Some(link) = interface.link else { continue };
            let description = InterfaceDescription {
                name: interface.name.as_deref(),
                description: interface.description.as_deref(),
                snap_length: interface.snap_length.unwrap_or(0),
            };
            self.interfaces.push(writer.add_interface(link, &description)?);
        }
        Ok(())
    }

    /// Whether the next packets belong into another file.
    pub(in crate::cli) fn is_due(&self) -> bool {
        self.packets_in_file > 0 && self.rotation.is_due(self.begun.elapsed(), self.bytes())
    }

    /// Ends the file and begins the next one; removes the oldest where only so many are kept.
    pub(in crate::cli) fn rotate(&mut self, source: &SourceSummary) -> io::Result<()> {
        self.end(source)?;
        self.open_file()?;
        let kept = self.files.iter().flatten().count();
        if self.rotation.files_max.is_some_and(|max| kept > max)
            && let Some(oldest) = self.files.iter_mut().find_map(Option::take)
        {
            fs::remove_file(oldest)?;
        }
        let names = std::mem::take(&mut self.names);
        self.write_names(&names)?;
        if let Some(writer) = &mut self.writer {
            for secret in &self.secrets {
                writer.write_secret(secret)?;
            }
        }
        Ok(())
    }

    /// Writes what the interfaces counted, without ending.
    pub(in crate::cli) fn write_statistics(&mut self, source: &SourceSummary) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let at = source.last.unwrap_or(Timestamp::EPOCH);
        for (interface, id) in source.interfaces.iter().zip(&self.interfaces) {
            let statistics = Statistics {
                received: interface.received,
                dropped: interface.dropped,
                dropped_by_system: interface.dropped_by_system,
            };
            writer.write_statistics(*id, at, statistics)?;
        }
        Ok(())
    }

    /// Hands on everything that is gathered.
    pub(in crate::cli) fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Writer::flush)
    }

    /// Ends the file being written.
    pub(in crate::cli) fn end(&mut self, source: &SourceSummary) -> io::Result<()> {
        self.write_interfaces(source)?;
        self.write_statistics(source)?;
        self.flush()?;
        self.writer = None;
        Ok(())
    }

    /// Puts comments on frames of the files that are there, each by its index in the capture. Gives the files that were too
    /// large for it.
    pub(in crate::cli) fn annotate(&self, comments: &BTreeMap<u16, BTreeMap<u64, Vec<String>>>) -> io::Result<Vec<PathBuf>> {
        let mut too_large = Vec::new();
        for (index, comments) in comments {
            let Some(Some(path)) = self.files.get(usize::from(*index)) else { continue };
            let metadata = fs::metadata(path)?;
            if !metadata.is_file() || metadata.len() > ANNOTATED_BYTES_MAX {
                too_large.push(path.clone());
                continue;
            }
            let mut beside = path.clone().into_os_string();
            beside.push(".comments");
            let copied = create(Path::new(&beside)).and_then(|copy| {
                annotate(
                    io::BufReader::with_capacity(1 << 20, File::open(path)?),
                    io::BufWriter::with_capacity(1 << 20, copy),
                    comments,
                )
            });
            let moved = copied.and_then(|_| fs::rename(&beside, path));
            if let Err(error) = moved {
                // The file without comments is whole.
                let _ = fs::remove_file(&beside);
                return Err(error);
            }
        }
        Ok(too_large)
    }

    fn open_file(&mut self) -> io::Result<()> {
        let (out, path) = match &self.target {
            Target::Stdout => (Out::Stream(Box::new(io::stdout())), None),
            Target::File(path) => {
                let path = match self.rotation.is_on() {
                    true => name_of_file(path, self.files.len() + 1, clock()),
                    false => path.clone(),
                };
                let file = create(&path)?;
                match file.metadata()?.is_file() {
                    true => (Out::File(file), Some(path)),
                    false => (Out::Stream(Box::new(file)), None),
                }
            }
        };
        let application = concat!("hopwire ", env!("CARGO_PKG_VERSION"));
        self.writer = Some(Writer::new(BlockWriter::new(out), application, &[])?);
        self.interfaces.clear();
        self.files.push(path);
        self.begun = Instant::now();
        self.packets_in_file = 0;
        Ok(())
    }
}

/// Creates a file that only its owner can read; under sudo the owner is who called it.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        if let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) {
            // Not being allowed to give it away is no reason not to capture.
            let _ = fchown(&file, Some(user), Some(group));
        }
    }
    Ok(file)
}

fn clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A file is never older than this, so that a killed capture loses little.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// Secrets repeated at the beginning of each file of a rotating set.
const SECRET_BYTES_MAX: usize = 16 << 20;

/// Larger files are not copied for the sake of comments.
const ANNOTATED_BYTES_MAX: u64 = 512 << 20;
