//! The pcapng format: sections of blocks, each with its own byte order and interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::capture::batch::{Found, Record, bounded_text};
use crate::capture::blocks;
use crate::capture::resolution::Resolution;
use crate::capture::summary::{INTERFACES_LISTED_MAX, INTERFACES_MAX};
use crate::capture::walk::{Jump, Look, PACKET_BYTES_USUAL, RECORD_BYTES_MAX, Stop, Walk, half_at, word_at};
use crate::capture::{Damage, Interface, ProblemKind, SourceSummary};
use crate::model::{Frame, LinkType, Secret, Timestamp};

/// The state of a pcapng file: that of its current section.
#[derive(Default)]
pub(super) struct Pcapng {
    big: bool,
    lanes: Vec<Lane>,
    /// Interfaces of all sections.
    interfaces: usize,
}

/// What has to be known of an interface for each of its packets.
#[derive(Clone, Copy)]
struct Lane {
    link: u16,
    /// Its place among the interfaces of the whole file.
    place: u16,
    snap_length: u32,
    resolution: Resolution,
}

impl Pcapng {
    /// Whether the file begins with a section header of known byte order.
    pub(super) fn open(first: &[u8]) -> Option<Self> {
        section_order(first).map(|_| Self::default())
    }

    pub(super) fn walk(&mut self, walk: &mut Walk<'_>) -> Stop {
        loop {
            let rest = walk.window.get(walk.at..).unwrap_or_default();
            let length = match self.block_length(rest) {
                Ok(length) => length,
                Err(stop) => return stop,
            };
            let Some(block) = rest.get(..length) else { return Stop::Partial(length) };
            let number = walk.found.next_number;
            if let Err(problem) = self.read_block(block, walk) {
                walk.summary.note(problem, walk.position, walk.found.frame(number).number());
            }
            walk.advance(length);
        }
    }

    /// The length of the block at the start of `rest`, checked against the one at its end where that is there.
    #[inline]
    fn block_length(&self, rest: &[u8]) -> Result<usize, Stop> {
        let Some(kind) = word_at(rest, 0, self.big) else { return Err(Stop::Partial(8)) };
        let mut big = self.big;
        if kind == blocks::SECTION {
            let Some(mark) = word_at(rest, 8, false) else { return Err(Stop::Partial(12)) };
            big = section_order(rest).ok_or(Stop::Damage(Damage::ByteOrder(mark)))?;
        }
        let Some(leading) = word_at(rest, 4, big) else { return Err(Stop::Partial(8)) };
        if !(blocks::BLOCK_BYTES_MIN..=RECORD_BYTES_MAX).contains(&leading) || leading % 4 != 0 {
            return Err(Stop::Damage(Damage::RecordLength(leading)));
        }
        let length = leading as usize;
        match word_at(rest, length - 4, big) {
            Some(trailing) if trailing != leading => Err(Stop::Damage(Damage::LengthsDiffer { leading, trailing })),
            _ => Ok(length),
        }
    }

    #[inline]
    fn read_block(&mut self, block: &[u8], walk: &mut Walk<'_>) -> Result<(), ProblemKind> {
        match word_at(block, 0, self.big).unwrap_or(0) {
            blocks::ENHANCED_PACKET | blocks::PACKET => self.read_packet(block, walk),
            blocks::SIMPLE_PACKET => self.read_simple_packet(block, walk),
            _ => self.read_other(block, walk),
        }
    }

    #[inline]
    fn read_packet(&self, block: &[u8], walk: &mut Walk<'_>) -> Result<(), ProblemKind> {
        let number = walk.found.next_number;
        walk.found.pass();
        let mut record = self.packet_header(block.first_chunk().ok_or(ProblemKind::MalformedBlock)?)?;
        let captured = record.captured as usize;
        let room = block.len().saturating_sub(PACKET_HEADER_BYTES + 4);
        if captured > room {
            return Err(ProblemKind::MalformedBlock);
        }
        record.number = number;
        record.offset = (walk.at + PACKET_HEADER_BYTES) as u32;
        record.held = record.captured;
        walk.found.records.push(record);
        if room >= captured.next_multiple_of(4) + 4 {
            let options = PACKET_HEADER_BYTES + captured.next_multiple_of(4)..block.len() - 4;
            self.read_packet_options(block.get(options).unwrap_or_default(), number, walk.found);
        }
        Ok(())
    }

    /// The record of an Enhanced Packet Block or (obsolete) Packet Block, without its place.
    #[inline]
    fn packet_header(&self, header: &[u8; PACKET_HEADER_BYTES]) -> Result<Record, ProblemKind> {
        let field = |offset| word_at(header, offset, self.big).unwrap_or(0);
        let interface = match field(0) {
            // The obsolete block shares the field with a count of drops.
            blocks::PACKET => u32::from(half_at(header, 8, self.big).unwrap_or(0)),
            _ => field(8),
        };
        let lane = self.lanes.get(interface as usize).ok_or(ProblemKind::UnknownInterface)?;
        Ok(Record {
            at: lane.resolution.nanos(field(12), field(16)),
            offset: 0,
            held: 0,
            captured: field(20),
            original: field(24),
            number: 0,
            link: lane.link,
            interface: lane.place,
        })
    }

    fn read_packet_options(&self, options: &[u8], number: u32, found: &mut Found) {
        for (_, text) in blocks::options(options, self.big).filter(|(option, _)| *option == blocks::COMMENT) {
            found.comment(found.frame(number), text);
        }
    }

    /// A Simple Packet Block is of the first interface, has no time and says its captured length only by that of the block.
    fn read_simple_packet(&self, block: &[u8], walk: &mut Walk<'_>) -> Result<(), ProblemKind> {
        let number = walk.found.next_number;
        walk.found.pass();
        let original = word_at(block, 8, self.big).ok_or(ProblemKind::MalformedBlock)?;
        let lane = self.lanes.first().ok_or(ProblemKind::UnknownInterface)?;
        let room = block.len().checked_sub(16).ok_or(ProblemKind::MalformedBlock)? as u32;
        let snap_length = if lane.snap_length == 0 { u32::MAX } else { lane.snap_length };
        let captured = original.min(snap_length).min(room);
        walk.found.records.push(Record {
            at: Timestamp::EPOCH.as_nanos(),
            offset: (walk.at + 12) as u32,
            held: captured,
            captured,
            original,
            number,
            link: lane.link,
            interface: lane.place,
        });
        Ok(())
    }

    #[cold]
    fn read_other(&mut self, block: &[u8], walk: &mut Walk<'_>) -> Result<(), ProblemKind> {
        let content = block.get(8..block.len() - 4).unwrap_or_default();
        let outcome = match word_at(block, 0, self.big).unwrap_or(0) {
            blocks::SECTION => self.read_section(block, content, walk),
            blocks::INTERFACE => return self.read_interface(content, walk.summary),
            blocks::NAMES => self.read_names(content, walk.found),
            blocks::STATISTICS => self.read_statistics(content, walk.summary),
            blocks::SECRETS => self.read_secrets(content, walk),
            blocks::CUSTOM | blocks::CUSTOM_NO_COPY | blocks::JOURNAL => {
                // Wireshark shows these as frames, so they have numbers.
                walk.found.pass();
                walk.summary.other_blocks += 1;
                Some(())
            }
            _ => {
                walk.summary.other_blocks += 1;
                Some(())
            }
        };
        outcome.ok_or(ProblemKind::MalformedBlock)
    }

    fn read_section(&mut self, block: &[u8], content: &[u8], walk: &mut Walk<'_>) -> Option<()> {
        self.big = section_order(block)?;
        self.lanes.clear();
        // The section's length is not read: it may lie, and every block says its own.
        for (option, value) in blocks::options(content.get(16..)?, self.big) {
            match option {
                blocks::COMMENT => walk.found.comment(Frame::new(walk.found.file, 0), value),
                blocks::SECTION_APPLICATION if walk.summary.application.is_none() => {
                    walk.summary.application = Some(bounded_text(value, TEXT_BYTES_MAX));
                }
                _ => {}
            }
        }
        Some(())
    }

    fn read_interface(&mut self, content: &[u8], summary: &mut SourceSummary) -> Result<(), ProblemKind> {
        if self.interfaces >= INTERFACES_MAX {
            return Err(ProblemKind::TooManyInterfaces);
        }
        // What cannot be read stands for an interface all the same, so that the numbers of the others stay right.
        let link = half_at(content, 0, self.big).unwrap_or(u16::MAX);
        let snap_length = word_at(content, 4, self.big).unwrap_or(0);
        let mut resolution = Resolution::default();
        let mut interface = Interface {
            link: Some(LinkType(u32::from(link))),
            snap_length: Some(snap_length).filter(|length| *length > 0),
            ..Interface::default()
        };
        for (option, value) in blocks::options(content.get(8..).unwrap_or_default(), self.big) {
            match (option, value) {
                (blocks::INTERFACE_NAME, text) => interface.name = Some(bounded_text(text, TEXT_BYTES_MAX)),
                (blocks::INTERFACE_DESCRIPTION, text) => interface.description = Some(bounded_text(text, TEXT_BYTES_MAX)),
                (blocks::INTERFACE_RESOLUTION, [value, ..]) => resolution.set_tick(*value),
                (blocks::INTERFACE_OFFSET, value) => {
                    resolution.set_offset(blocks::long(value, self.big).unwrap_or(0).cast_signed());
                }
                _ => {}
            }
        }
        self.lanes.push(Lane { link, place: self.interfaces as u16, snap_length, resolution });
        self.interfaces += 1;
        if summary.interfaces.len() < INTERFACES_LISTED_MAX {
            summary.interfaces.push(interface);
        }
        if content.len() < 8 { Err(ProblemKind::MalformedBlock) } else { Ok(()) }
    }

    fn read_names(&self, content: &[u8], found: &mut Found) -> Option<()> {
        for (kind, value) in blocks::options(content, self.big) {
            let (address, names) = match kind {
                blocks::NAME_IPV4 => value.split_first_chunk::<4>().map(|(a, n)| (IpAddr::from(Ipv4Addr::from(*a)), n))?,
                blocks::NAME_IPV6 => value.split_first_chunk::<16>().map(|(a, n)| (IpAddr::from(Ipv6Addr::from(*a)), n))?,
                _ => continue,
            };
            for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                found.name(address, name);
            }
        }
        Some(())
    }

    fn read_statistics(&self, content: &[u8], summary: &mut SourceSummary) -> Option<()> {
        let number = word_at(content, 0, self.big)?;
        let options = content.get(12..)?;
        let Some(lane) = self.lanes.get(number as usize) else { return Some(()) };
        let Some(interface) = summary.interfaces.get_mut(usize::from(lane.place)) else { return Some(()) };
        // Counters are cumulative: the last block of an interface tells all.
        for (option, value) in blocks::options(options, self.big) {
            let count = blocks::long(value, self.big);
            match option {
                blocks::STATISTICS_RECEIVED => interface.received = count,
                blocks::STATISTICS_DROPPED => interface.dropped = count,
                blocks::STATISTICS_DROPPED_BY_SYSTEM => interface.dropped_by_system = count,
                _ => {}
            }
        }
        Some(())
    }

    fn read_secrets(&self, content: &[u8], walk: &mut Walk<'_>) -> Option<()> {
        match tls_secrets(content, self.big)? {
            Some(lines) => walk.found.secrets.push(Secret::new(lines.to_vec())),
            None => walk.summary.other_blocks += 1,
        }
        Some(())
    }

    pub(super) fn peek(&self, bytes: &[u8]) -> Option<Jump> {
        let header: &[u8; PACKET_HEADER_BYTES] = bytes.first_chunk()?;
        let length = self.block_length(bytes).ok()?;
        let is_packet = matches!(word_at(header, 0, self.big)?, blocks::ENHANCED_PACKET | blocks::PACKET);
        let record = self.packet_header(header).ok()?;
        let end = PACKET_HEADER_BYTES + (record.captured as usize).next_multiple_of(4) + 4;
        if !is_packet || end > length {
            return None;
        }
        let rest_bytes = length - PACKET_HEADER_BYTES - record.captured as usize;
        Some(Jump { record, header_bytes: PACKET_HEADER_BYTES, check_back: 0, rest_bytes })
    }

    /// The end of a block whose packet was jumped: padding, options and the second length.
    pub(super) fn check(&mut self, jump: &Jump, rest: &[u8], found: &mut Found) -> bool {
        let captured = jump.record.captured as usize;
        let padding = captured.next_multiple_of(4) - captured;
        let Some(options_end) = jump.rest_bytes.checked_sub(4) else { return false };
        let length = jump.header_bytes + captured + jump.rest_bytes;
        if word_at(rest, options_end, self.big) != Some(length as u32) {
            return false;
        }
        let number = found.next_number;
        self.read_packet_options(rest.get(padding..options_end).unwrap_or_default(), number, found);
        true
    }

    pub(super) fn look(&self, window: &[u8], at: usize) -> Look {
        let rest = window.get(at..).unwrap_or_default();
        [self.big, !self.big]
            .into_iter()
            .find_map(|big| believable_length(rest, big))
            .map_or(Look::Nothing, |length| Look::Record { end: at + length, at: None })
    }
}

/// The lines of a secrets block of TLS keys, from the content of the block; `Some(None)` for other kinds of secrets.
pub(super) fn tls_secrets(content: &[u8], big: bool) -> Option<Option<&[u8]>> {
    let kind = word_at(content, 0, big)?;
    let length = word_at(content, 4, big)? as usize;
    let lines = content.get(8..)?;
    let lines = lines.get(..length).unwrap_or(lines);
    Some((kind == blocks::TLS_KEY_LOG).then_some(lines))
}

/// The byte order of a section, by the mark in its header.
pub(super) fn section_order(block: &[u8]) -> Option<bool> {
    match word_at(block, 8, false)? {
        blocks::BYTE_ORDER => Some(false),
        mark if mark.swap_bytes() == blocks::BYTE_ORDER => Some(true),
        _ => None,
    }
}

/// The length of a block that is known by its type and by two equal lengths.
fn believable_length(rest: &[u8], big: bool) -> Option<usize> {
    let kind = word_at(rest, 0, big)?;
    let length = word_at(rest, 4, big)?;
    let in_bounds = (blocks::BLOCK_BYTES_MIN..=PACKET_BYTES_USUAL + 1024).contains(&length) && length.is_multiple_of(4);
    if !in_bounds || !blocks::is_known(kind) || (kind == blocks::SECTION && section_order(rest) != Some(big)) {
        return None;
    }
    (word_at(rest, length as usize - 4, big) == Some(length)).then_some(length as usize)
}

/// Bytes before the packet in an Enhanced Packet Block and in a Packet Block.
const PACKET_HEADER_BYTES: usize = 28;

/// Bytes kept of a name or description.
const TEXT_BYTES_MAX: usize = 1024;
