//! What was read of one input, and what was wrong with it.

use std::fmt;

use crate::capture::batch::Record;
use crate::model::{LinkType, Timestamp};

/// What was read of one input so far.
#[derive(Clone, Debug, Default)]
pub struct SourceSummary {
    /// The input's name.
    pub name: String,
    /// Its format; `None` where it could not be read at all.
    pub format: Option<FileFormat>,
    /// How it was compressed.
    pub compression: Option<Compression>,
    /// Packets read.
    pub packets: u64,
    /// Bytes that the packets hold.
    pub captured_bytes: u64,
    /// Bytes that the packets had on the wire.
    pub original_bytes: u64,
    /// Bytes of the (uncompressed) file passed so far.
    pub file_bytes: u64,
    /// The earliest time of a packet that has one.
    pub first: Option<Timestamp>,
    /// The latest time of a packet that has one.
    pub last: Option<Timestamp>,
    /// Interfaces in order of appearance; the first 4096 of them.
    pub interfaces: Vec<Interface>,
    /// The program that wrote it, by its own word.
    pub application: Option<String>,
    /// pcapng blocks that were passed over because nothing here reads their type.
    pub other_blocks: u64,
    /// What was wrong with it; the first 64.
    pub problems: Vec<Problem>,
    /// How many problems there were beyond those listed.
    pub more_problems: u64,
    /// Why it could not be read at all, where other inputs could.
    pub failure: Option<String>,
}

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// pcap with microseconds.
    Pcap,
    /// pcap with nanoseconds.
    PcapNanos,
    /// pcapng.
    Pcapng,
    /// snoop (RFC 1761).
    Snoop,
    /// Captured by this program itself.
    Live,
}

impl FileFormat {
    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pcap => "pcap",
            Self::PcapNanos => "pcap (nanoseconds)",
            Self::Pcapng => "pcapng",
            Self::Snoop => "snoop",
            Self::Live => "live",
        }
    }
}

/// A compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// An interface as its file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name; text of the file.
    pub name: Option<String>,
    /// Its description; text of the file.
    pub description: Option<String>,
    /// How its packets start.
    pub link: Option<LinkType>,
    /// Packets were cut to this many bytes; `None` if they were not.
    pub snap_length: Option<u32>,
    /// Packets read from it.
    pub packets: u64,
    /// Packets it received, by its statistics.
    pub received: Option<u64>,
    /// Packets it dropped for want of room, by its statistics.
    pub dropped: Option<u64>,
    /// Packets the operating system dropped, by its statistics.
    pub dropped_by_system: Option<u64>,
}

/// Something wrong with an input, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// Where it began in the (uncompressed) file.
    pub offset: u64,
    /// The number of the record concerned, or that would have come next.
    pub record: u64,
    /// How often.
    pub count: u64,
}

/// What may be wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It ends within a record.
    Cut {
        /// Bytes the record has by its own header, as far as that was there.
        expected_bytes: u64,
        /// Bytes that are there.
        found_bytes: u64,
    },
    /// Bytes that are no record were passed over, up to where records go on.
    Skipped {
        /// How many.
        bytes: u64,
        /// What the first of them looked like.
        damage: Damage,
    },
    /// Bytes that are no record, and none found after them.
    Unreadable {
        /// How many.
        bytes: u64,
        /// What the first of them looked like.
        damage: Damage,
    },
    /// Reading failed; what came before it was read.
    ReadFailed(String),
    /// Every LF of the damaged part has a CR before it: line ends were translated.
    LineEnds,
    /// Packets of an interface that the file does not describe.
    UnknownInterface,
    /// Blocks whose content contradicts their length; passed over.
    MalformedBlock,
    /// More interfaces than the limit; packets of the others were passed over.
    TooManyInterfaces,
}

/// Why bytes can be no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A record of this length.
    RecordLength(u32),
    /// A packet that is longer than its record.
    PacketLength(u32),
    /// A block whose second length is not its first.
    LengthsDiffer {
        /// The one before the content.
        leading: u32,
        /// The one after it.
        trailing: u32,
    },
    /// A section without a byte order.
    ByteOrder(u32),
}

impl SourceSummary {
    /// The link types of its interfaces, each once.
    pub fn link_types(&self) -> Vec<LinkType> {
        let mut all = Vec::new();
        for link in self.interfaces.iter().filter_map(|interface| interface.link) {
            if !all.contains(&link) {
                all.push(link);
            }
        }
        all
    }

    /// Packets lost while capturing, by the statistics of all interfaces; `None` where none says.
    pub fn dropped(&self) -> Option<u64> {
        let counts = self.interfaces.iter().flat_map(|interface| [interface.dropped, interface.dropped_by_system]).flatten();
        counts.reduce(u64::saturating_add)
    }

    /// Places of the input that hold no packet that could be read though one must have been there, and the bytes of those places.
    pub fn unread(&self) -> (u64, u64) {
        let counted = self.problems.iter().filter(|problem| problem.kind != ProblemKind::LineEnds);
        let places = counted.map(|problem| problem.count).sum::<u64>() + self.more_problems;
        let bytes = |problem: &Problem| match problem.kind {
            ProblemKind::Cut { found_bytes, .. } => found_bytes,
            ProblemKind::Skipped { bytes, .. } | ProblemKind::Unreadable { bytes, .. } => bytes,
            ProblemKind::ReadFailed(_)
            | ProblemKind::LineEnds
            | ProblemKind::UnknownInterface
            | ProblemKind::MalformedBlock
            | ProblemKind::TooManyInterfaces => 0,
        };
        (places, self.problems.iter().map(|problem| bytes(problem).saturating_mul(problem.count)).sum())
    }

    /// Counts packets that were read.
    pub(super) fn count(&mut self, records: &[Record]) {
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let (mut captured_bytes, mut original_bytes) = (0, 0);
        for record in records {
            captured_bytes += u64::from(record.captured);
            original_bytes += u64::from(record.original);
            if record.at != Timestamp::EPOCH.as_nanos() {
                first = first.min(record.at);
                last = last.max(record.at);
            }
            if let Some(interface) = self.interfaces.get_mut(usize::from(record.interface)) {
                interface.packets += 1;
            }
        }
        self.packets += records.len() as u64;
        self.captured_bytes += captured_bytes;
        self.original_bytes += original_bytes;
        if first <= last {
            let (first, last) = (Timestamp::from_nanos(first), Timestamp::from_nanos(last));
            self.first = Some(self.first.map_or(first, |known| known.min(first)));
            self.last = Some(self.last.map_or(last, |known| known.max(last)));
        }
    }

    /// Notes a problem; one of the same kind only counts.
    pub(super) fn note(&mut self, kind: ProblemKind, offset: u64, record: u64) {
        if let Some(known) = self.problems.iter_mut().find(|known| known.kind == kind) {
            known.count += 1;
        } else if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { kind, offset, record, count: 1 });
        } else {
            self.more_problems += 1;
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, offset, record, count } = self;
        match kind {
            ProblemKind::Cut { expected_bytes, found_bytes } => {
                write!(f, "cut at offset {offset} in record {record}: {expected_bytes} bytes expected, {found_bytes} there")
            }
            ProblemKind::Skipped { bytes, damage } => {
                write!(f, "damaged at offset {offset} in record {record}: {damage}; {bytes} bytes skipped to the next record")
            }
            ProblemKind::Unreadable { bytes, damage } => {
                write!(
                    f,
                    "damaged at offset {offset} in record {record}: {damage}; no record found in the {bytes} bytes after it"
                )
            }
            ProblemKind::ReadFailed(cause) => {
                write!(f, "reading failed at offset {offset}, before record {record}: {cause}")
            }
            ProblemKind::LineEnds => write!(
                f,
                "line ends were translated: every LF in it has a CR before it (CR LF), as where a capture passes a terminal; capture again without a terminal (kubectl exec and docker exec without -t)"
            ),
            ProblemKind::UnknownInterface => write!(f, "packets of an interface that is not described, skipped"),
            ProblemKind::MalformedBlock => write!(f, "blocks whose content contradicts their length, skipped"),
            ProblemKind::TooManyInterfaces => {
                write!(f, "more interfaces than {INTERFACES_MAX}; the packets of the others skipped")
            }
        }?;
        match kind {
            ProblemKind::UnknownInterface | ProblemKind::MalformedBlock | ProblemKind::TooManyInterfaces => {
                write!(f, ": {count}, the first at offset {offset}, record {record}")
            }
            _ if *count > 1 => write!(f, " (and {} times more)", count - 1),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordLength(length) => write!(f, "a record length of {length} bytes makes no sense"),
            Self::PacketLength(length) => write!(f, "a packet of {length} bytes does not fit its record"),
            Self::LengthsDiffer { leading, trailing } => {
                write!(f, "a block begins with a length of {leading} and ends with {trailing}")
            }
            Self::ByteOrder(magic) => write!(f, "a section with the byte-order mark {magic:#010x}"),
        }
    }
}

/// Problems listed for one input.
const PROBLEMS_MAX: usize = 64;

/// Interfaces of one input.
pub(super) const INTERFACES_MAX: usize = 65_535;

/// Interfaces of one input that are listed.
pub(super) const INTERFACES_LISTED_MAX: usize = 4096;
