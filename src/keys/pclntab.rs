//! Go's table of functions (`.gopclntab`), which is also in stripped executables: from a function's name to where it is.
//!
//! Layouts: Go's `src/internal/abi/symtab.go`, `src/runtime/symtab.go` and `src/debug/gosym/pclntab.go`, Go 1.16 to 1.26.

use std::io;

use crate::keys::elf::{Elf, Stretch};
use crate::keys::read_at::{ReadAt, Window, read_exact, read_some};

/// Why a function has no place.
#[derive(Debug, thiserror::Error)]
pub enum PclntabError {
    /// The file cannot be read.
    #[error("cannot read the executable")]
    Read(#[from] io::Error),
    /// No table: not built by Go, or by Go 1.15 or older.
    #[error("no Go function table: not a Go program, or built by Go before 1.16")]
    NoTable,
    /// The table does not have the function.
    #[error("the Go program has no function {0}")]
    NoFunction(String),
    /// The table contradicts itself.
    #[error("the Go function table is damaged: {0}")]
    Damaged(&'static str),
}

/// The place of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Offset of its first instruction in the file.
    pub(super) offset: u64,
    /// Whether the table is that of Go 1.18 or later.
    pub(super) since_1_18: bool,
}

/// The offset in the file of the first instruction of a function, by its full name as in `crypto/tls.(*Config).writeKeyLog`.
///
/// # Errors
/// Where the file has no table of a known version, or the table does not have the function.
pub fn find_function(file: &(impl ReadAt + ?Sized), elf: &Elf, name: &str) -> Result<u64, PclntabError> {
    find(file, elf, name).map(|found| found.offset)
}

pub(super) fn find(file: &(impl ReadAt + ?Sized), elf: &Elf, name: &str) -> Result<Found, PclntabError> {
    let table = Table::locate(file, elf)?;
    let name_offset = table.name_offset(file, name)?.ok_or_else(|| PclntabError::NoFunction(name.to_owned()))?;
    let index = table.index_of(file, name_offset)?.ok_or_else(|| PclntabError::NoFunction(name.to_owned()))?;
    let address = table.entry(file, elf, index)?;
    let offset = elf.offset_of(address).ok_or(PclntabError::Damaged("the function is outside of every segment"))?;
    Ok(Found { offset, since_1_18: table.is_relative() })
}

/// The header of the table.
#[derive(Clone, Copy, Debug)]
struct Table {
    place: Stretch,
    layout: Layout,
    functions: u64,
    /// Where the code begins, from Go 1.18; 0 where the linker leaves it to relocation, and from Go 1.26.
    text_start: u64,
    names: Range,
    entries: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Go 1.16 and 1.17: addresses of 8 bytes.
    Absolute,
    /// From Go 1.18: offsets of 4 bytes from the start of the code.
    Relative,
}

/// Offsets within the table.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    end: u64,
}

impl Table {
    fn locate(file: &(impl ReadAt + ?Sized), elf: &Elf) -> Result<Self, PclntabError> {
        for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
            if let Some(place) = elf.section(name) {
                return Self::read(file, place)?.ok_or(PclntabError::NoTable);
            }
        }
        Self::search(file, elf)
    }

    /// Without sections: every place in a segment that begins as a table does and whose header is plausible.
    fn search(file: &(impl ReadAt + ?Sized), elf: &Elf) -> Result<Self, PclntabError> {
        for segment in elf.segments() {
            let mut at = 0;
            while at < segment.file_bytes.min(SEARCH_BYTES_MAX) {
                let part = read_some(file, segment.offset + at, SEARCH_STEP)?;
                let starts = (0..part.len().saturating_sub(8)).step_by(8).filter(|start| is_magic(part.get(*start..*start + 8)));
                for inside in starts.map(|start| at + start as u64).take_while(|inside| *inside < segment.file_bytes) {
                    let place = Stretch {
                        address: segment.address + inside,
                        offset: segment.offset + inside,
                        bytes: segment.file_bytes - inside,
                    };
                    if let Ok(Some(table)) = Self::read(file, place) {
                        return Ok(table);
                    }
                }
                if part.len() < SEARCH_STEP {
                    break;
                }
                at += (SEARCH_STEP - 8) as u64;
            }
        }
        Err(PclntabError::NoTable)
    }

    fn read(file: &(impl ReadAt + ?Sized), place: Stretch) -> Result<Option<Self>, PclntabError> {
        let Some(head) = read_exact(file, place.offset, HEADER_BYTES)? else { return Ok(None) };
        if !is_magic(head.get(..8)) {
            return Ok(None);
        }
        let words: Vec<u64> = head.get(8..).unwrap_or_default().chunks_exact(8).map(word).collect();
        let (layout, text_start, fields) = match head.first() {
            Some(0xfa) => (Layout::Absolute, 0, words.get(2..7)),
            _ => (Layout::Relative, words.get(2).copied().unwrap_or_default(), words.get(3..8)),
        };
        let (Some(&functions), Some(&[names, after_names, _, _, entries])) =
            (words.first(), fields.and_then(|fields| fields.first_chunk::<5>()))
        else {
            return Ok(None);
        };
        let is_plausible = functions > 0
            && functions <= FUNCTIONS_MAX
            && names < after_names
            && after_names <= entries
            && entries < place.bytes
            && functions.saturating_mul(layout.pair_bytes()) <= place.bytes - entries;
        if !is_plausible {
            return Err(PclntabError::Damaged("its header names places outside of it"));
        }
        let names = Range { start: names, end: after_names };
        Ok(Some(Self { place, layout, functions, text_start, names, entries }))
    }

    const fn is_relative(&self) -> bool {
        matches!(self.layout, Layout::Relative)
    }

    /// The offset of a name among the names, which are NUL-terminated.
    fn name_offset(&self, file: &(impl ReadAt + ?Sized), name: &str) -> io::Result<Option<u32>> {
        let mut wanted = name.as_bytes().to_vec();
        wanted.push(0);
        let length = self.names.end - self.names.start;
        let mut at = 0;
        while at < length {
            let part_bytes = usize::try_from(length - at).unwrap_or(usize::MAX).min(SEARCH_STEP);
            let part = read_some(file, self.place.offset + self.names.start + at, part_bytes)?;
            let found = memchr::memmem::find_iter(&part, &wanted).find(|start| match start.checked_sub(1) {
                Some(before) => part.get(before) == Some(&0),
                None => at == 0,
            });
            if let Some(start) = found {
                return Ok(u32::try_from(at + start as u64).ok());
            }
            if part.len() <= wanted.len() + 1 || at + part.len() as u64 >= length {
                return Ok(None);
            }
            // The parts overlap by a name and the NUL before it.
            at += (part.len() - wanted.len() - 1) as u64;
        }
        Ok(None)
    }

    /// The number of the function that has its name there.
    fn index_of(&self, file: &(impl ReadAt + ?Sized), name_offset: u32) -> Result<Option<u64>, PclntabError> {
        let mut pairs = Window::new(file);
        let mut functions = Window::new(file);
        let start = self.place.offset + self.entries;
        for index in 0..self.functions {
            let pair = start + index * self.layout.pair_bytes();
            let offset = match self.layout {
                Layout::Absolute => pairs.get(pair + 8)?.map(u64::from_le_bytes),
                Layout::Relative => pairs.get(pair + 4)?.map(|bytes| u64::from(u32::from_le_bytes(bytes))),
            };
            let offset = offset.ok_or(PclntabError::Damaged("its list of functions is cut short"))?;
            let name_at = start.checked_add(offset).and_then(|at| at.checked_add(self.layout.entry_bytes()));
            let name_at = name_at.ok_or(PclntabError::Damaged("a function is outside of it"))?;
            let name =
                functions.get(name_at)?.ok_or(PclntabError::Damaged("a function is outside of it, or they are in no order"))?;
            if u32::from_le_bytes(name) == name_offset {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The address of a function before relocation.
    fn entry(&self, file: &(impl ReadAt + ?Sized), elf: &Elf, index: u64) -> Result<u64, PclntabError> {
        let inside = self.entries + index * self.layout.pair_bytes();
        match self.layout {
            Layout::Absolute => {
                let address = self.place.address.checked_add(inside);
                let address = address.ok_or(PclntabError::Damaged("it is outside of memory"))?;
                elf.pointer_at(file, address)?
                    .filter(|entry| *entry != 0)
                    .ok_or(PclntabError::Damaged("a function has no address"))
            }
            Layout::Relative => {
                let entry = read_exact(file, self.place.offset + inside, 4)?;
                let entry = entry.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
                let entry = entry.ok_or(PclntabError::Damaged("its list of functions is cut short"))?;
                let start = self.code_start(file, elf)?;
                start.checked_add(u64::from(entry)).ok_or(PclntabError::Damaged("a function is outside of memory"))
            }
        }
    }

    /// Where the Go code begins (`runtime.text`). With an external linker that is not where `.text` begins.
    fn code_start(&self, file: &(impl ReadAt + ?Sized), elf: &Elf) -> Result<u64, PclntabError> {
        if self.text_start != 0 {
            return Ok(self.text_start);
        }
        let field = self.place.address + 8 + 2 * 8;
        if let Some((_, addend)) = elf.relative_relocation(file, |place, _| place == field)? {
            return Ok(addend);
        }
        if let Some(start) = self.start_by_module(file, elf)? {
            return Ok(start);
        }
        let text = elf.section(".text").ok_or(PclntabError::Damaged("nothing says where its code begins"))?;
        Ok(text.address)
    }

    /// By Go's `moduledata`, whose first pointer is to this table: its field `text`.
    fn start_by_module(&self, file: &(impl ReadAt + ?Sized), elf: &Elf) -> io::Result<Option<u64>> {
        let Some(names) = self.place.address.checked_add(self.names.start) else { return Ok(None) };
        if let Some((module, _)) = elf.relative_relocation(file, |_, addend| addend == self.place.address)?
            && elf.pointer_at(file, module.wrapping_add(8))? == Some(names)
        {
            return elf.pointer_at(file, module.wrapping_add(MODULE_TEXT));
        }
        let wanted = [self.place.address.to_le_bytes(), names.to_le_bytes()].concat();
        for segment in elf.segments() {
            let mut at = 0;
            while at < segment.file_bytes.min(SEARCH_BYTES_MAX) {
                let part = read_some(file, segment.offset + at, SEARCH_STEP)?;
                if let Some(start) = memchr::memmem::find_iter(&part, &wanted).find(|start| start % 8 == 0) {
                    return elf.pointer_at(file, segment.address + at + start as u64 + MODULE_TEXT);
                }
                if part.len() < SEARCH_STEP {
                    break;
                }
                at += (SEARCH_STEP - wanted.len()) as u64;
            }
        }
        Ok(None)
    }
}

impl Layout {
    /// Bytes of an entry and an offset in the list of functions.
    const fn pair_bytes(self) -> u64 {
        match self {
            Self::Absolute => 16,
            Self::Relative => 8,
        }
    }

    /// Bytes of the entry that a function begins with, after which comes the offset of its name.
    const fn entry_bytes(self) -> u64 {
        match self {
            Self::Absolute => 8,
            Self::Relative => 4,
        }
    }
}

/// Magic number, two zeros, the size of an instruction (1 on x86-64, 4 on arm64) and of a pointer.
fn is_magic(bytes: Option<&[u8]>) -> bool {
    matches!(bytes, Some([0xfa | 0xf0 | 0xf1, 0xff, 0xff, 0xff, 0, 0, 1 | 4, 8]))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_le_bytes).unwrap_or_default()
}

const HEADER_BYTES: usize = 8 + 8 * 8;
/// The largest programs have some hundred thousand.
const FUNCTIONS_MAX: u64 = 8 << 20;
/// `text` in `moduledata`: after a pointer, six slices, and three words.
const MODULE_TEXT: u64 = 22 * 8;
const SEARCH_STEP: usize = 1 << 20;
const SEARCH_BYTES_MAX: u64 = 1 << 32;
