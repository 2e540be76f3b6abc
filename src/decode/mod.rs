//! Bytes in, exchanges out. No sockets, no files, no clock, and no error that stops it.

mod content;
mod deadlines;
mod decoder;
mod detect;
pub mod dissector;
mod ends;
mod flow;
mod flows;
#[doc(hidden)]
pub mod fragment;
pub mod http1;
mod limits;
mod link;
mod proxy_header;
mod recent;
pub mod segment;
#[doc(hidden)]
pub mod shards;
mod slab;
mod stream;
pub mod tls;
mod tunnel;
mod tunnels;
mod wireless;

pub use decoder::Decoder;
pub use dissector::Dissector;
#[doc(hidden)]
pub use flows::{Flows, Incoming};
pub use limits::Limits;
