//! Captures opened by name: a file in, an input out that can be read in order and anywhere.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::capture::{Input, Kind, ReadAt, sniff};

/// A file that was opened, and what it looks like.
pub struct OpenedFile {
    /// By its first bytes.
    pub kind: Kind,
    /// Its bytes. A regular file can be read anywhere, see [`Input::positioned`].
    pub input: Input,
}

/// Opens a file and looks what it is.
///
/// # Errors
/// Where the file cannot be opened, or is a directory.
pub fn open_file(path: &Path) -> io::Result<OpenedFile> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut first = Vec::with_capacity(SNIFF_BYTES);
    file.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut first)?;
    let kind = match sniff(&first) {
        // A session of a single line looks like one JSON document.
        Kind::Json if first.starts_with(b"{\"type\":") => Kind::JsonLines,
        kind => kind,
    };
    let positioned = match metadata.is_file() {
        true => Some(Arc::new(Positioned(file.try_clone()?)) as Arc<dyn ReadAt>),
        false => None,
    };
    let stream = Box::new(Cursor::new(first).chain(file));
    Ok(OpenedFile { kind, input: Input { name: path.display().to_string(), stream, positioned } })
}

/// A file that is read anywhere.
struct Positioned(File);

impl ReadAt for Positioned {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

/// Enough to tell what a file is.
const SNIFF_BYTES: usize = 4096;
