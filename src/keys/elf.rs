//! What of an ELF executable is needed to place a probe: its machine, its segments and its sections.
//!
//! The layouts are those of the `object` crate; reading is bounded by the limits below, whatever the file claims.

use std::io;

use object::LittleEndian as LE;
use object::elf::{
    self, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_AARCH64, EM_X86_64, FileHeader64, PT_LOAD, ProgramHeader64, R_AARCH64_RELATIVE,
    R_X86_64_RELATIVE, Rela64, SHT_RELA, SectionHeader64, SectionType,
};
use object::pod::{Pod, from_bytes, slice_from_all_bytes};

use crate::keys::read_at::{ReadAt, Window, read_exact, read_some};

/// An executable of a machine that is known here.
#[derive(Clone, Debug)]
pub struct Elf {
    machine: Machine,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

/// The processor that an executable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// Why an executable cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file cannot be read.
    #[error("cannot read the executable")]
    Read(#[from] io::Error),
    /// Another format, or none.
    #[error("not an ELF executable")]
    NotElf,
    /// A machine or layout that no probe is known for.
    #[error("an ELF executable for another machine: probes are known for 64-bit x86-64 and arm64, little-endian")]
    Machine,
    /// The file is shorter than its tables, or the tables are larger than any real one.
    #[error("a damaged ELF executable: {0}")]
    Damaged(&'static str),
}

/// A part of the file that is mapped into memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) file_bytes: u64,
}

#[derive(Clone, Debug)]
struct Section {
    name: Vec<u8>,
    kind: SectionType,
    address: u64,
    offset: u64,
    bytes: u64,
}

/// A stretch of the file and its address in memory (before relocation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// Where the file is not an ELF executable of a known machine, or is damaged.
    pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Self, ElfError> {
        let head = read_some(file, 0, size_of::<FileHeader64<LE>>())?;
        if head.get(..4) != Some(&ELFMAG) {
            return Err(ElfError::NotElf);
        }
        let header: &FileHeader64<LE> = one(&head).ok_or(ElfError::Damaged("its header is cut short"))?;
        if header.e_ident.class != ELFCLASS64 || header.e_ident.data != ELFDATA2LSB {
            return Err(ElfError::Machine);
        }
        let machine = match header.e_machine.get(LE) {
            EM_X86_64 => Machine::X86_64,
            EM_AARCH64 => Machine::Aarch64,
            _ => return Err(ElfError::Machine),
        };
        let segments = Self::read_segments(file, header)?;
        let sections = Self::read_sections(file, header)?;
        Ok(Self { machine, segments, sections })
    }

    fn read_segments(file: &(impl ReadAt + ?Sized), header: &FileHeader64<LE>) -> Result<Vec<Segment>, ElfError> {
        let count = usize::from(header.e_phnum.get(LE));
        if count > SEGMENTS_MAX || usize::from(header.e_phentsize.get(LE)) != size_of::<ProgramHeader64<LE>>() {
            return Err(ElfError::Damaged("its segment table has an impossible size"));
        }
        let table = read_exact(file, header.e_phoff.get(LE), count * size_of::<ProgramHeader64<LE>>())?;
        let table = table.ok_or(ElfError::Damaged("its segment table is cut short"))?;
        let headers: &[ProgramHeader64<LE>] = many(&table);
        let loaded = headers.iter().filter(|segment| segment.p_type.get(LE) == PT_LOAD);
        let segments: Vec<_> = loaded
            .map(|segment| Segment {
                address: segment.p_vaddr.get(LE),
                offset: segment.p_offset.get(LE),
                file_bytes: segment.p_filesz.get(LE),
            })
            .collect();
        match segments.iter().all(|segment| is_range(segment.address, segment.offset, segment.file_bytes)) {
            true => Ok(segments),
            false => Err(ElfError::Damaged("a segment is outside of memory")),
        }
    }

    /// An executable without a section table is usual after some packers: then there are no sections.
    fn read_sections(file: &(impl ReadAt + ?Sized), header: &FileHeader64<LE>) -> Result<Vec<Section>, ElfError> {
        let count = usize::from(header.e_shnum.get(LE));
        if header.e_shoff.get(LE) == 0 || usize::from(header.e_shentsize.get(LE)) != size_of::<SectionHeader64<LE>>() {
            return Ok(Vec::new());
        }
        let count = count.min(SECTIONS_MAX);
        let table = read_exact(file, header.e_shoff.get(LE), count * size_of::<SectionHeader64<LE>>())?;
        let Some(table) = table else { return Ok(Vec::new()) };
        let headers: &[SectionHeader64<LE>] = many(&table);
        let names = match headers.get(usize::from(header.e_shstrndx.get(LE).0)) {
            Some(names) => read_some(file, names.sh_offset.get(LE), narrow(names.sh_size.get(LE)).min(NAMES_BYTES_MAX))?,
            None => Vec::new(),
        };
        let named = headers.iter().map(|section| Section {
            name: name_at(&names, section.sh_name.get(LE)),
            kind: section.sh_type.get(LE),
            address: section.sh_addr.get(LE),
            offset: section.sh_offset.get(LE),
            bytes: section.sh_size.get(LE),
        });
        Ok(named.collect())
    }

    /// The processor that it is for.
    pub const fn machine(&self) -> Machine {
        self.machine
    }

    /// What of the file is mapped into memory.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The section of that name.
    pub(super) fn section(&self, name: &str) -> Option<Stretch> {
        let is_wanted = |section: &&Section| section.name == name.as_bytes() && section.kind != elf::SHT_NOBITS;
        let section = self.sections.iter().find(is_wanted)?;
        if !is_range(section.address, section.offset, section.bytes) {
            return None;
        }
        Some(Stretch { address: section.address, offset: section.offset, bytes: section.bytes })
    }

    /// Where in the file the byte of an address is.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            if inside < segment.file_bytes { segment.offset.checked_add(inside) } else { None }
        })
    }

    /// The first relocation to the load address (of a position-independent executable) that `wanted` chooses by its place and
    /// its addend, both as addresses before relocation.
    pub(super) fn relative_relocation(
        &self,
        file: &(impl ReadAt + ?Sized),
        wanted: impl Fn(u64, u64) -> bool,
    ) -> io::Result<Option<(u64, u64)>> {
        let relative = match self.machine {
            Machine::X86_64 => R_X86_64_RELATIVE,
            Machine::Aarch64 => R_AARCH64_RELATIVE,
        };
        let mut window = Window::new(file);
        for section in self.sections.iter().filter(|section| section.kind == SHT_RELA) {
            let count = (section.bytes / size_of::<Rela64<LE>>() as u64).min(RELOCATIONS_MAX);
            for index in 0..count {
                let Some(at) = section.offset.checked_add(index * size_of::<Rela64<LE>>() as u64) else { break };
                let Some(bytes) = window.get::<{ size_of::<Rela64<LE>>() }>(at)? else { break };
                let Some(entry) = one::<Rela64<LE>>(&bytes) else { break };
                let (place, addend) = (entry.r_offset.get(LE), entry.r_addend.get(LE).cast_unsigned());
                if entry.r_type(LE, false) == relative && wanted(place, addend) {
                    return Ok(Some((place, addend)));
                }
            }
        }
        Ok(None)
    }

    /// The pointer at an address: as it is in the file, or as relocation will write it.
    pub(super) fn pointer_at(&self, file: &(impl ReadAt + ?Sized), address: u64) -> io::Result<Option<u64>> {
        if let Some((_, addend)) = self.relative_relocation(file, |place, _| place == address)? {
            return Ok(Some(addend));
        }
        let Some(offset) = self.offset_of(address) else { return Ok(None) };
        let bytes = read_exact(file, offset, 8)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes))
    }
}

/// Whether so many bytes at an address and at an offset end before the numbers do; with room for the sums of fields.
fn is_range(address: u64, offset: u64, bytes: u64) -> bool {
    let ends = |start: u64| start.checked_add(bytes).is_some_and(|end| end < u64::MAX >> 1);
    ends(address) && ends(offset)
}

fn one<T: Pod>(bytes: &[u8]) -> Option<&T> {
    from_bytes(bytes).ok().map(|(value, _)| value)
}

fn many<T: Pod>(bytes: &[u8]) -> &[T] {
    slice_from_all_bytes(bytes).unwrap_or_default()
}

fn name_at(names: &[u8], at: u32) -> Vec<u8> {
    let rest = names.get(at as usize..).unwrap_or_default();
    let end = memchr::memchr(0, rest).unwrap_or(rest.len()).min(NAME_BYTES_MAX);
    rest.get(..end).unwrap_or_default().to_vec()
}

fn narrow(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

const SEGMENTS_MAX: usize = 1024;
const SECTIONS_MAX: usize = 4096;
const NAMES_BYTES_MAX: usize = 256 << 10;
const NAME_BYTES_MAX: usize = 256;
const RELOCATIONS_MAX: u64 = 16 << 20;
