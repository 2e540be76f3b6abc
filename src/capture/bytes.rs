//! The bytes of one input, filled into buffers without regard to how they come.

use std::io::{self, Read};
use std::sync::Arc;

/// One input of a capture.
pub struct Input {
    /// How messages name it.
    pub name: String,
    /// Reads it from the start.
    pub stream: Box<dyn Read + Send>,
    /// Reads it anywhere. Given for regular files, so that big records can be skipped; unused where the file is compressed.
    pub positioned: Option<Arc<dyn ReadAt>>,
}

/// Reads at a position, without moving any.
pub trait ReadAt: Send + Sync {
    /// Reads bytes from `offset` on into `buffer` and gives how many; 0 at the end of the file.
    ///
    /// # Errors
    /// As [`Read::read`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let (count, _) = copy_front(rest, buffer);
        Ok(count)
    }
}

/// What a fill gave.
pub(super) struct Filled {
    /// Bytes filled in.
    pub(super) bytes: usize,
    /// Why there are fewer than asked for, where it is not the end of the input.
    pub(super) failure: Option<io::Error>,
}

/// The bytes of an input, in order.
pub(super) enum Bytes {
    /// As they come.
    Stream(Box<dyn Read + Send>),
    /// From a position on.
    Positioned(Arc<dyn ReadAt>, u64),
}

impl Bytes {
    /// Fills the buffer. It stays short only at the end of the input or after a failure, whatever the pieces that come.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Filled {
        match self {
            Self::Stream(stream) => fill_from(buffer, |part, _| stream.read(part)),
            Self::Positioned(file, position) => {
                let start = *position;
                let filled = fill_from(buffer, |part, done| file.read_at(start.saturating_add(done as u64), part));
                *position = start.saturating_add(filled.bytes as u64);
                filled
            }
        }
    }
}

/// Fills the buffer from a position on, as [`Bytes::fill`].
pub(super) fn fill_at(file: &dyn ReadAt, offset: u64, buffer: &mut [u8]) -> Filled {
    fill_from(buffer, |part, done| file.read_at(offset.saturating_add(done as u64), part))
}

/// Copies as much as fits; gives how much that was, and the rest of `from`.
pub(super) fn copy_front<'a>(from: &'a [u8], to: &mut [u8]) -> (usize, &'a [u8]) {
    let count = from.len().min(to.len());
    if let (Some((front, rest)), Some(to)) = (from.split_at_checked(count), to.get_mut(..count)) {
        to.copy_from_slice(front);
        return (count, rest);
    }
    (0, from)
}

fn fill_from(buffer: &mut [u8], mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>) -> Filled {
    let mut bytes = 0;
    while let Some(part) = buffer.get_mut(bytes..).filter(|part| !part.is_empty()) {
        let room = part.len();
        match read(part, bytes) {
            Ok(0) => break,
            // A reader that claims more than it was asked for is not believed.
            Ok(count) => bytes += count.min(room),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Filled { bytes, failure: Some(error) },
        }
    }
    Filled { bytes, failure: None }
}
