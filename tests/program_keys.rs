//! Executables as Go's linkers write them, made here: where the function is found, and what becomes of damaged ones.

#![cfg(feature = "keys")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use hopwire::keys::{Elf, ElfError, PclntabError, ProbeError, ReadAt, find_function, probe_point};
use proptest::prelude::*;

const FUNCTION: &str = "crypto/tls.(*Config).writeKeyLog";
/// Addresses are offsets plus this.
const BASE: u64 = 0x40_0000;
const TABLE: usize = 0x400;
const INFO: usize = 0x1000;
const MODULE: usize = 0x1800;
const RELOCATIONS: usize = 0x1c00;
const TEXT: usize = 0x2000;
const ENTRY: u64 = 0x140;

/// How an executable is laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// The table's magic number: `0xfa` Go 1.16 and 1.17, `0xf0` 1.18 and 1.19, `0xf1` from 1.20.
    magic: u8,
    machine: u16,
    version: &'static str,
    has_sections: bool,
    /// Whether addresses are written by relocation only.
    is_position_independent: bool,
    /// Whether the table itself says where the code begins.
    has_text_start: bool,
}

const TODAY: Layout = Layout {
    magic: 0xf1,
    machine: 62,
    version: "go1.26.8",
    has_sections: true,
    is_position_independent: false,
    has_text_start: true,
};

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn word(file: &mut [u8], at: usize, value: u64) {
    put(file, at, &value.to_le_bytes());
}

/// A pointer, by relocation where that is how this one is linked.
fn pointer(file: &mut [u8], layout: Layout, relocations: &mut Vec<[u64; 3]>, at: usize, value: u64) {
    if layout.is_position_independent {
        let relative = if layout.machine == 62 { 8 } else { 1027 };
        relocations.push([BASE + at as u64, relative, value]);
    } else {
        word(file, at, value);
    }
}

fn executable(layout: Layout) -> Vec<u8> {
    let mut file = vec![0; 0x3000];
    let mut relocations = Vec::new();
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 18, &layout.machine.to_le_bytes());
    word(&mut file, 32, 64);
    put(&mut file, 54, &56_u16.to_le_bytes());
    put(&mut file, 56, &1_u16.to_le_bytes());
    put(&mut file, 64, &1_u32.to_le_bytes());
    word(&mut file, 64 + 16, BASE);
    word(&mut file, 64 + 32, 0x3000);
    table(&mut file, layout, &mut relocations);
    build_info(&mut file, layout);
    pointer(&mut file, layout, &mut relocations, MODULE, BASE + TABLE as u64);
    let names = BASE + TABLE as u64 + 0x80;
    pointer(&mut file, layout, &mut relocations, MODULE + 8, names);
    pointer(&mut file, layout, &mut relocations, MODULE + 22 * 8, BASE + TEXT as u64);
    for (index, relocation) in relocations.iter().enumerate() {
        for (field, value) in relocation.iter().enumerate() {
            word(&mut file, RELOCATIONS + 24 * index + 8 * field, *value);
        }
    }
    if layout.has_sections {
        let relocations = (relocations.len() * 24) as u64;
        sections(&mut file, relocations);
    }
    file
}

fn table(file: &mut [u8], layout: Layout, relocations: &mut Vec<[u64; 3]>) {
    let quantum = if layout.machine == 62 { 1 } else { 4 };
    put(file, TABLE, &[layout.magic, 0xff, 0xff, 0xff, 0, 0, quantum, 8]);
    let functions = ["runtime.text", "crypto/tls.(*Config).writeKeyLogX", FUNCTION, "main.main"];
    let mut names = vec![0];
    let mut offsets = Vec::new();
    for name in functions {
        offsets.push(names.len() as u32);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    put(file, TABLE + 0x80, &names);
    let is_absolute = layout.magic == 0xfa;
    let (pair, entry) = if is_absolute { (16, 8) } else { (8, 4) };
    let entries = TABLE + 0x200;
    word(file, TABLE + 8, functions.len() as u64);
    let fields = if is_absolute { TABLE + 24 } else { TABLE + 32 };
    for (index, value) in [0x80, 0x180, 0x190, 0x1a0, 0x200].into_iter().enumerate() {
        word(file, fields + 8 * index, value);
    }
    if layout.has_text_start && !is_absolute {
        pointer(file, layout, relocations, TABLE + 24, BASE + TEXT as u64);
    }
    for (index, offset) in offsets.iter().enumerate() {
        let function = (functions.len() + 1) * pair + index * 16;
        let start = [0, 0x100, ENTRY, 0x200][index];
        if is_absolute {
            pointer(file, layout, relocations, entries + index * pair, BASE + TEXT as u64 + start);
            word(file, entries + index * pair + 8, function as u64);
        } else {
            put(file, entries + index * pair, &(start as u32).to_le_bytes());
            put(file, entries + index * pair + 4, &(function as u32).to_le_bytes());
        }
        put(file, entries + function + entry, &offset.to_le_bytes());
    }
}

fn build_info(file: &mut [u8], layout: Layout) {
    put(file, INFO, b"\xff Go buildinf:\x08\x02");
    let module = [[0x30; 16].as_slice(), b"path\texample.com/store\nmod\tx\n", &[0x31; 16]].concat();
    let mut text = vec![layout.version.len() as u8];
    text.extend_from_slice(layout.version.as_bytes());
    text.push(module.len() as u8);
    text.extend_from_slice(&module);
    put(file, INFO + 32, &text);
}

fn sections(file: &mut [u8], relocations: u64) {
    let names = b"\0.gopclntab\0.go.buildinfo\0.rela.dyn\0.text\0.shstrtab\0";
    put(file, 0x2c00, names);
    let rows: [(u32, u32, usize, u64); 6] = [
        (0, 0, 0, 0),
        (1, 1, TABLE, 0x800),
        (12, 1, INFO, 0x200),
        (26, 4, RELOCATIONS, relocations),
        (36, 1, TEXT - 0x100, 0x500),
        (42, 3, 0x2c00, names.len() as u64),
    ];
    word(file, 40, 0x2d00);
    put(file, 58, &64_u16.to_le_bytes());
    put(file, 60, &(rows.len() as u16).to_le_bytes());
    put(file, 62, &5_u16.to_le_bytes());
    for (index, (name, kind, offset, bytes)) in rows.into_iter().enumerate() {
        let at = 0x2d00 + 64 * index;
        put(file, at, &name.to_le_bytes());
        put(file, at + 4, &kind.to_le_bytes());
        word(file, at + 16, BASE + offset as u64);
        word(file, at + 24, offset as u64);
        word(file, at + 32, bytes);
    }
}

#[test]
fn the_function_is_found_in_every_layout_that_go_has_had() {
    let found = Some(TEXT as u64 + ENTRY);
    for magic in [0xfa, 0xf0, 0xf1] {
        for machine in [62, 183] {
            for is_position_independent in [false, true] {
                for has_text_start in [false, true] {
                    let version = if magic == 0xfa { "go1.17.13" } else { "go1.26.8" };
                    let layout = Layout { magic, machine, version, is_position_independent, has_text_start, has_sections: true };
                    let file = executable(layout);
                    let elf = Elf::read(file.as_slice()).unwrap();
                    assert_eq!(find_function(file.as_slice(), &elf, FUNCTION).ok(), found, "{layout:?}");
                    let point = probe_point(file.as_slice()).unwrap();
                    let build = point.build.clone().unwrap();
                    assert_eq!((build.version.as_str(), build.main.as_deref()), (version, Some("example.com/store")));
                    assert!(point.definition("g", "k0", "/proc/1/exe").contains(&format!("exe:{:#x} ", point.offset)));
                }
            }
        }
    }
}

#[test]
fn the_function_is_found_without_a_section_table() {
    for has_text_start in [false, true] {
        let layout = Layout { has_sections: false, has_text_start, ..TODAY };
        let point = probe_point(executable(layout).as_slice()).unwrap();
        assert_eq!((point.offset, point.build.unwrap().version.as_str()), (TEXT as u64 + ENTRY, "go1.26.8"));
    }
}

#[test]
fn go_1_16_passes_arguments_on_the_stack_and_1_17_in_registers() {
    let definition = |version, machine| {
        let layout = Layout { magic: 0xfa, version, machine, ..TODAY };
        probe_point(executable(layout).as_slice()).map(|point| point.definition("g", "k", "/x"))
    };
    assert!(definition("go1.16.15", 62).unwrap().contains("llen=+24(%sp)"));
    assert!(definition("go1.17.13", 62).unwrap().contains("llen=%cx"));
    assert!(definition("go1.17.13", 183).unwrap().contains("llen=+24(%sp)"));
    assert!(matches!(definition("devel", 62), Err(ProbeError::UnknownVersion)));
}

#[test]
fn what_is_no_go_program_with_tls_is_named() {
    assert!(matches!(probe_point(b"#!/bin/sh\n".as_slice()), Err(ProbeError::Elf(ElfError::NotElf))));
    let mut other = executable(TODAY);
    other[18] = 8;
    assert!(matches!(probe_point(other.as_slice()), Err(ProbeError::Elf(ElfError::Machine))));
    let mut without = executable(TODAY);
    let at =
        memchr::memmem::find(&without, FUNCTION.as_bytes()).map(|_| ()).and(memchr::memmem::rfind(&without, FUNCTION.as_bytes()));
    without[at.unwrap()] = b'x';
    assert!(matches!(probe_point(without.as_slice()), Err(ProbeError::Pclntab(PclntabError::NoFunction(_)))));
    let mut bare = executable(Layout { has_sections: false, ..TODAY });
    bare[TABLE] = 0;
    assert!(matches!(probe_point(bare.as_slice()), Err(ProbeError::Pclntab(PclntabError::NoTable))));
}

/// Bytes that count how much of them is read.
struct Counted<'b>(&'b [u8], AtomicU64);

impl ReadAt for Counted<'_> {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(offset, into)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

proptest! {
    /// Cut anywhere and with any bytes changed, it is read or refused; never by a panic, and never without end.
    #[test]
    fn a_damaged_executable_is_refused_in_bounded_steps(
        cut in 0..=0x3000_usize,
        changes in prop::collection::vec((0..0x3000_usize, any::<u8>()), 0..24),
        has_sections: bool,
        is_position_independent: bool,
        magic in prop::sample::select(vec![0xfa_u8, 0xf0, 0xf1]),
    ) {
        let mut file = executable(Layout { has_sections, is_position_independent, magic, has_text_start: false, ..TODAY });
        for (at, value) in changes {
            file[at] = value;
        }
        file.truncate(cut);
        let counted = Counted(&file, AtomicU64::new(0));
        if let Ok(point) = probe_point(&counted) {
            prop_assert!(point.offset < file.len() as u64 + 0x1_0000_0000);
        }
        prop_assert!(counted.1.load(Ordering::Relaxed) < 64 << 20);
    }
}
