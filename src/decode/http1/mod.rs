//! HTTP/1 without I/O: the octets of one flow go in, exchanges come out.
//!
//! [`Connection`] is the seam that reassembly, TLS, the proxy and the replayer feed. It never fails: what is odd becomes an
//! anomaly of the exchange, and what belongs to no exchange becomes a counted loss. Where readings of a message differ it
//! takes the one a strict recipient takes (RFC 9112 section 6.3) and names the conflict; `framing` lists the choices.

mod begin;
mod body;
mod choice;
mod config;
mod connection;
mod find;
mod framing;
mod gap;
mod gather;
mod head;
mod lenient;
mod loss;
mod marks;
mod notes;
mod observe;
mod pending;
mod plain;
mod position;
mod reader;
mod retain;
mod shapes;
mod start;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use connection::Connection;
pub use observe::{Observe, Observer};
pub use position::SideState;
pub use retain::{MessageHead, Retain, readable};
pub use shapes::Shapes;
pub use start::{Probe, is_surely, probe};
