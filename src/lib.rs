//! hopwire makes S3 traffic over proxies visible and provable: what crossed in plaintext, what a proxy did to it, and why a request
//! was never sent.
//!
//! [`open`] reads a capture and gives its events in order:
//!
//! ```no_run
//! use hopwire::s3::{Call, Domains};
//!
//! let domains = Domains::default();
//! for exchange in hopwire::open("run.pcapng")?.exchanges() {
//!     if let Some(call) = Call::read(&exchange, &domains) {
//!         println!("{} {:?}", call.operation.name(), call.status());
//!     }
//! }
//! # Ok::<(), hopwire::OpenError>(())
//! ```
//!
//! # The picture
//!
//! ```text
//!  files ──► capture ──► decode ───────────────────────────► Event ──► s3::Call ──► analysis ──► report
//!            packets     dissector ► flows ► [tls] ► http1     │        what an      hops, rules   text for people
//!                                                      ▲       │        exchange     findings      and programs
//!  sockets ────────────────────────────────────────────┘       └──► session          summary
//!            bytes of both sides                                     recorded, redacted, read back
//! ```
//!
//! | to do this | begin here |
//! |---|---|
//! | read a capture | [`open`]; `examples/list_calls.rs`, `examples/find_plaintext_keys.rs` |
//! | decode packets from elsewhere | [`decode::Decoder`]: packets in, events out |
//! | read bytes from sockets | [`decode::http1::Connection`]; `examples/feed_connection.rs` |
//! | read an exchange as S3 | [`s3::Call::read`] |
//! | judge a run | [`analysis::Analysis`] with events, or [`pipeline::run`] with a source of packets, on several threads |
//! | record and read sessions | [`session::jsonl`] |
//!
//! Nothing here fails on what is on the wire: what is odd is an [`Anomaly`](model::Anomaly) of its exchange, what cannot be decoded
//! is a [`Loss`](model::Loss). Memory is bounded by [`decode::Limits`].
//!
//! Features, all of them default: `cli` is the command with its terminal and allocator, `live` the capture on interfaces with
//! libpcap, `keys` the secrets of running programs, `net` what opens sockets. To read captures a library needs none of them:
//! `default-features = false`.

pub mod analysis;
pub mod blobs;
pub mod capture;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod compare;
pub mod convert;
pub mod decode;
pub mod hops;
#[cfg(feature = "keys")]
pub mod keys;
pub mod model;
mod open;
pub mod pipeline;
#[cfg(feature = "net")]
pub mod proxy;
pub mod report;
pub mod rules;
pub mod s3;
pub mod session;

#[cfg(test)]
#[path = "../tests/support/require.rs"]
mod require;

pub use open::{Events, OpenError, open, open_all};
