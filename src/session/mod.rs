//! Recorded exchanges and their file formats, each read and written in one place; and the keeping of secrets.

pub mod annotate;
mod disguises;
mod json_text;
pub mod jsonl;
mod needles;
pub mod pcapng;
mod places;
pub mod redact;
pub mod source;
#[cfg(test)]
pub(crate) mod testing;
pub mod wire;

pub use places::Kind;
pub use redact::{Redactor, Shown};
pub use source::Source;
