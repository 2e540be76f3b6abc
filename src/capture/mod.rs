//! Packets in: captures of any format, compressed or not, whole or damaged, as batches of packets in one order.
//!
//! Reading is pure: from [`Input`]s, which [`open_file`] or somebody else opened. Only `file`, `live`, `docker` and `interfaces`
//! touch the machine.

mod batch;
mod blocks;
mod bytes;
mod decompress;
pub mod docker;
mod error;
mod file;
mod interfaces;
#[cfg(feature = "live")]
mod live;
mod merge;
mod pcap;
mod pcapng;
mod place;
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
pub mod write;

pub use batch::Batch;
pub use bytes::{Input, ReadAt};
pub use error::CaptureError;
pub use file::{OpenedFile, open_file};
pub use interfaces::{
    LocalInterface, ProcessInterface, interfaces_of_process, is_interface, is_interface_up, local_interfaces, port_of_bridge,
};
#[cfg(feature = "live")]
pub use live::{LiveCapture, LiveError, LiveOptions, LiveState, Relocate, check_filter};
pub use place::{ANY, Place, PlaceError, Selection, place_again};
pub use prescan::secrets_in;
pub use saved::SavedCapture;
pub use sniff::{Kind, sniff};
pub use source::PacketSource;
pub use summary::{Compression, Damage, FileFormat, Interface, Problem, ProblemKind, SourceSummary};
