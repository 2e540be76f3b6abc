//! Bytes in, exchanges out. No sockets, no files, no clock, and no error that stops it.

pub mod http1;
mod limits;
pub mod tls;

pub use limits::Limits;
