//! Bytes that are read where they are needed.

use std::io;

/// A file, or bytes in memory, read at any offset.
pub trait ReadAt {
    /// Reads at `offset` into `into` and returns how many bytes were read; 0 at or after the end.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(into), Some(from)) = (into.get_mut(..length), rest.get(..length)) {
            into.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// Reads exactly `length` bytes at `offset`; `None` where the file has fewer.
pub(super) fn read_exact(file: &(impl ReadAt + ?Sized), offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    let bytes = read_some(file, offset, length)?;
    Ok((bytes.len() == length).then_some(bytes))
}

/// Reads at most `length` bytes at `offset`. Memory is taken as bytes come, never for a length that a file only claims.
pub(super) fn read_some(file: &(impl ReadAt + ?Sized), offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let start = bytes.len();
        bytes.resize((start + STEP_BYTES).min(length), 0);
        let Some(rest) = bytes.get_mut(start..) else { break };
        let wanted = rest.len();
        let Some(at) = offset.checked_add(start as u64) else { break };
        let read = file.read_at(at, rest)?;
        bytes.truncate(start + read.min(wanted));
        if read == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// A view of a file that moves forward: small reads near each other cost one large read.
pub(super) struct Window<'f, F: ReadAt + ?Sized> {
    file: &'f F,
    start: u64,
    bytes: Vec<u8>,
    /// How often it may move: a table whose entries jump through the file would otherwise cost a large read each.
    moves_left: u32,
}

impl<'f, F: ReadAt + ?Sized> Window<'f, F> {
    pub(super) const fn new(file: &'f F) -> Self {
        Self { file, start: 0, bytes: Vec::new(), moves_left: MOVES_MAX }
    }

    /// `N` bytes at `offset`; `None` beyond the end of the file, or after too many moves.
    pub(super) fn get<const N: usize>(&mut self, offset: u64) -> io::Result<Option<[u8; N]>> {
        if let Some(found) = self.held(offset) {
            return Ok(Some(found));
        }
        let Some(left) = self.moves_left.checked_sub(1) else { return Ok(None) };
        self.moves_left = left;
        self.bytes = read_some(self.file, offset, WINDOW_BYTES)?;
        self.start = offset;
        Ok(self.held(offset))
    }

    fn held<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}

const STEP_BYTES: usize = 64 << 10;
const WINDOW_BYTES: usize = 256 << 10;
/// 256 KiB each: 4 GiB, more than any executable has of tables.
const MOVES_MAX: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_no_more() {
        let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        assert_eq!(read_exact(bytes.as_slice(), 199_990, 10).unwrap().unwrap(), bytes[199_990..]);
        assert_eq!(read_exact(bytes.as_slice(), 199_991, 10).unwrap(), None);
        assert_eq!(read_some(bytes.as_slice(), 100, usize::MAX).unwrap(), bytes[100..]);
        assert_eq!(read_some(bytes.as_slice(), u64::MAX, 10).unwrap(), b"");
    }

    #[test]
    fn a_window_gives_the_same_bytes_wherever_it_is() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut window = Window::new(bytes.as_slice());
        for at in [0, 8, 262_140, 262_144, 999_996, 5] {
            assert_eq!(window.get::<4>(at).unwrap().unwrap(), bytes[at as usize..at as usize + 4], "{at}");
        }
        assert_eq!(window.get::<4>(999_997).unwrap(), None);
        assert_eq!(window.get::<4>(u64::MAX).unwrap(), None);
    }
}
