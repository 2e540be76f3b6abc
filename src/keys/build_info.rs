//! What the Go linker writes about a program: the Go version and the main module (Go's `debug/buildinfo`).

use std::io;

use crate::keys::elf::Elf;
use crate::keys::read_at::{ReadAt, read_exact, read_some};

/// Go's account of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// `go1.26.8`, as the linker wrote it.
    pub version: String,
    /// The import path of the main package, where it is recorded.
    pub main: Option<String>,
}

impl BuildInfo {
    /// Reads it; `None` where the program was not built by Go 1.13 or later.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(file: &(impl ReadAt + ?Sized), elf: &Elf) -> io::Result<Option<Self>> {
        let Some((address, offset)) = find(file, elf)? else { return Ok(None) };
        let Some(head) = read_exact(file, offset, HEAD_BYTES)? else { return Ok(None) };
        let flags = head.get(15).copied().unwrap_or_default();
        let (version, main) = if flags & INLINE != 0 {
            let Some((version, next)) = inline(file, offset + HEAD_BYTES as u64, VERSION_BYTES_MAX)? else { return Ok(None) };
            (version, inline(file, next, MODULE_BYTES_MAX)?.map(|(module, _)| module))
        } else {
            let Some(version) = pointed(file, elf, address + 16, VERSION_BYTES_MAX)? else { return Ok(None) };
            (version, pointed(file, elf, address + 24, MODULE_BYTES_MAX)?)
        };
        let version = String::from_utf8_lossy(&version).into_owned();
        Ok(version.starts_with("go").then(|| Self { version, main: main.and_then(|text| main_path(&text)) }))
    }

    /// `(1, 26)` of `go1.26.8`; `None` for a version that does not begin so.
    pub fn release(&self) -> Option<(u32, u32)> {
        let rest = self.version.strip_prefix("go")?;
        let (major, rest) = rest.split_once('.')?;
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        Some((major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
    }
}

/// Address and offset of the record.
fn find(file: &(impl ReadAt + ?Sized), elf: &Elf) -> io::Result<Option<(u64, u64)>> {
    if let Some(section) = elf.section(".go.buildinfo") {
        let head = read_exact(file, section.offset, MAGIC.len())?;
        return Ok((head.as_deref() == Some(MAGIC)).then_some((section.address, section.offset)));
    }
    // Without sections: it is aligned to 16 bytes near the start of the first data segment.
    for segment in elf.segments() {
        let start = read_some(file, segment.offset, usize::try_from(segment.file_bytes).unwrap_or(usize::MAX).min(SEARCH_BYTES))?;
        if let Some(at) = memchr::memmem::find_iter(&start, MAGIC).find(|at| at % 16 == 0) {
            return Ok(Some((segment.address + at as u64, segment.offset + at as u64)));
        }
    }
    Ok(None)
}

/// A length (varint) and so many bytes; and where the next begins.
fn inline(file: &(impl ReadAt + ?Sized), offset: u64, most: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
    let head = read_some(file, offset, 10)?;
    let mut length: u64 = 0;
    for (at, byte) in head.iter().enumerate() {
        length |= u64::from(byte & 0x7f).checked_shl(7 * at as u32).unwrap_or_default();
        if byte & 0x80 == 0 {
            let start = offset + at as u64 + 1;
            let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(most);
            let text = read_some(file, start, wanted)?;
            return Ok(start.checked_add(length).map(|next| (text, next)));
        }
    }
    Ok(None)
}

/// The string whose header (pointer and length) is pointed at from `address`: Go 1.13 to 1.17.
fn pointed(file: &(impl ReadAt + ?Sized), elf: &Elf, address: u64, most: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(header) = elf.pointer_at(file, address)? else { return Ok(None) };
    let (Some(text), Some(length_at)) = (elf.pointer_at(file, header)?, header.checked_add(8)) else { return Ok(None) };
    let Some(length) = elf.pointer_at(file, length_at)? else { return Ok(None) };
    let Some(offset) = elf.offset_of(text) else { return Ok(None) };
    read_some(file, offset, usize::try_from(length).unwrap_or(usize::MAX).min(most)).map(Some)
}

/// The line `path\tIMPORT/PATH` of the module information, which is framed by 16 bytes on either side.
fn main_path(module: &[u8]) -> Option<String> {
    let text = module.get(16..).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"path\t"))?;
    Some(String::from_utf8_lossy(line).into_owned())
}

const MAGIC: &[u8] = b"\xff Go buildinf:";
const HEAD_BYTES: usize = 32;
const INLINE: u8 = 2;
const VERSION_BYTES_MAX: usize = 128;
const MODULE_BYTES_MAX: usize = 64 << 10;
const SEARCH_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_versions() {
        let release = |version: &str| BuildInfo { version: version.to_owned(), main: None }.release();
        assert_eq!(release("go1.26.8"), Some((1, 26)));
        assert_eq!(release("go1.16"), Some((1, 16)));
        assert_eq!(release("go1.21rc2"), Some((1, 21)));
        assert_eq!(release("go1.24.1 X:boringcrypto"), Some((1, 24)));
        assert_eq!(release("devel go1.27-abc"), None);
    }
}
