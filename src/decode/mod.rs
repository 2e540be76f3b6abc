//! Bytes in, exchanges out. No sockets, no files, no clock, and no error that stops it.

mod limits;
pub mod tls;

pub use limits::Limits;
