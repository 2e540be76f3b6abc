//! Bytes in, exchanges out. No sockets, no files, no clock, and no error that stops it.

mod content;
mod deadlines;
mod decoder;
pub mod dissector;
mod ends;
mod flow;
mod flows;
pub mod fragment;
pub mod http1;
mod limits;
mod link;
mod recent;
pub mod segment;
pub mod shards;
mod slab;
mod stream;
pub mod tls;
mod wireless;

pub use decoder::Decoder;
pub use dissector::Dissector;
pub use flows::{Flows, Incoming};
pub use limits::Limits;
