//! Packets in: captures of any format, compressed or not, whole or damaged, as batches of packets in one order.
//!
//! Everything here is pure: it reads from [`Input`]s that somebody else opened.

mod batch;
mod blocks;
mod bytes;
mod decompress;
mod error;
mod merge;
mod pcap;
mod pcapng;
mod prescan;
mod reader;
mod resolution;
mod resync;
mod saved;
mod sniff;
mod snoop;
mod source;
mod summary;
mod walk;

pub use batch::{Batch, PacketTail};
pub use bytes::{Input, ReadAt};
pub use error::CaptureError;
pub use prescan::secrets_in;
pub use saved::SavedCapture;
pub use sniff::{Kind, sniff};
pub use source::PacketSource;
pub use summary::{Compression, Damage, FileFormat, Interface, Problem, ProblemKind, SourceSummary};
