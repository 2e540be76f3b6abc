//! The files of a conversion: an input that is read as often as needed, and an output that appears when it is done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Cursor, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::capture::{self, CaptureError, Kind, SavedCapture, sniff};
use crate::cli::failure::Failure;
use crate::cli::interrupt::Unfinished;
use crate::cli::output::unfinished_name;
use crate::convert::ConvertError;
use crate::model::Untrusted;

/// What is converted.
pub(super) struct Input {
    name: String,
    kind: Kind,
    /// What was read of stdin, or the file; taken by the first reading.
    stream: Option<Box<dyn Read + Send>>,
    is_repeatable: bool,
}

impl Input {
    /// Opens it and looks what it is.
    pub(super) fn open(name: &str) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            let what = format!("cannot read {}", Untrusted::text(name));
            Failure::unreadable(error, what, "check the name, and that you may read it")
        };
        if name == "-" {
            let mut stdin = BufReader::with_capacity(SNIFF_BYTES, io::stdin());
            let kind = kind_of(stdin.fill_buf().map_err(cannot)?);
            return Ok(Self { name: name.to_owned(), kind, stream: Some(Box::new(stdin)), is_repeatable: false });
        }
        let mut file = File::open(name).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        let mut first = Vec::with_capacity(SNIFF_BYTES);
        Read::by_ref(&mut file).take(SNIFF_BYTES as u64).read_to_end(&mut first).map_err(cannot)?;
        let kind = kind_of(&first);
        let stream: Box<dyn Read + Send> = Box::new(Cursor::new(first).chain(file));
        Ok(Self { name: name.to_owned(), kind, stream: Some(stream), is_repeatable: metadata.is_file() })
    }

    /// Whether it is a recorded session.
    pub(super) fn is_session(&self) -> bool {
        self.kind == Kind::JsonLines
    }

    /// Whether it can be read several times.
    pub(super) const fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// How messages name it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes, from the start.
    pub(super) fn stream(&mut self) -> io::Result<Box<dyn Read + Send>> {
        match self.stream.take() {
            Some(stream) => Ok(stream),
            None => Ok(Box::new(File::open(&self.name)?)),
        }
    }

    /// Its packets, from the start. All their bytes are read, so none are left in the file.
    pub(super) fn capture(&mut self) -> Result<SavedCapture, ConvertError> {
        let stream = self.stream().map_err(ConvertError::Unopened)?;
        Ok(open_capture(&self.name, stream)?)
    }
}

/// Where a conversion goes: to a file that has another name until it is whole, or straight to what is no regular file.
pub(super) struct Target {
    name: String,
    /// The unfinished file, if there is one; removed when dropped, and by a signal.
    unfinished: Option<(PathBuf, Unfinished)>,
    stream: Option<Box<dyn Write + Send>>,
}

impl Target {
    /// Creates the unfinished file. With `whole`, what cannot be read back is refused.
    pub(super) fn create(name: &str, input: &str, force: bool, whole: bool) -> Result<Self, Failure> {
        let shown = Untrusted::text(name);
        if name == "-" {
            return Ok(Self { name: "stdout".to_owned(), unfinished: None, stream: Some(Box::new(io::stdout())) });
        }
        let cannot = |error: io::Error| Failure::unwritable(error, format!("cannot write {shown}"));
        if let Ok(there) = fs::metadata(name) {
            let is_input = fs::metadata(input).is_ok_and(|input| input.dev() == there.dev() && input.ino() == there.ino());
            if is_input && there.is_file() {
                return Err(Failure::usage(
                    format!("the output {shown} is the input"),
                    "name another file: the input is never overwritten",
                ));
            }
            if there.is_dir() || (!there.is_file() && whole) {
                return Err(Failure::usage(format!("{shown} is no regular file"), "name a file"));
            }
            if !there.is_file() {
                let file = OpenOptions::new().write(true).open(name).map_err(cannot)?;
                return Ok(Self { name: name.to_owned(), unfinished: None, stream: Some(Box::new(file)) });
            }
            if !force {
                return Err(exists(name));
            }
        }
        let path = unfinished_name(Path::new(name));
        let guard = Unfinished::guard(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
        Ok(Self { name: name.to_owned(), unfinished: Some((path, guard)), stream: Some(Box::new(file)) })
    }

    /// What to write to; nothing when it was taken before.
    pub(super) fn take_stream(&mut self) -> Box<dyn Write + Send> {
        self.stream.take().unwrap_or_else(|| Box::new(io::sink()))
    }

    /// What was written, as octets and as packets.
    pub(super) fn read_back(&self) -> Result<(File, SavedCapture), ConvertError> {
        let path = self.unfinished.as_ref().map_or(Path::new(&self.name), |(path, _)| path.as_path());
        let file = File::open(path).map_err(ConvertError::Unopened)?;
        let again = File::open(path).map_err(ConvertError::Unopened)?;
        Ok((file, open_capture(&self.name, Box::new(again))?))
    }

    /// Gives the file its name.
    pub(super) fn publish(mut self, force: bool) -> Result<(), Failure> {
        let Some((path, _guard)) = self.unfinished.take() else { return Ok(()) };
        let name = self.name.clone();
        let renamed = if force { fs::rename(&path, &name) } else { link(&path, Path::new(&name)) };
        renamed.map_err(|error| {
            let _ = fs::remove_file(&path);
            match error.kind() {
                io::ErrorKind::AlreadyExists => exists(&name),
                _ => Failure::unwritable(error, format!("cannot write {}", Untrusted::text(&name))),
            }
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((path, _guard)) = self.unfinished.take() {
            // What is not whole, or not proven, must not stay. Where it cannot be removed nothing more can be done.
            let _ = fs::remove_file(path);
        }
    }
}

/// Gives a file a name that nobody has. Where the file system has no links, it is renamed.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(from, to),
    }
}

fn exists(name: &str) -> Failure {
    Failure::usage(format!("{} exists", Untrusted::text(name)), "name another file, or give --force to overwrite it")
}

fn open_capture(name: &str, stream: Box<dyn Read + Send>) -> Result<SavedCapture, CaptureError> {
    SavedCapture::open(vec![capture::Input { name: name.to_owned(), stream, positioned: None }])
}

/// A session of a single line looks like one JSON document.
fn kind_of(first: &[u8]) -> Kind {
    match sniff(first) {
        Kind::Json if first.starts_with(b"{\"type\":") => Kind::JsonLines,
        kind => kind,
    }
}

const SNIFF_BYTES: usize = 4096;
