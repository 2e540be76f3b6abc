//! Recorded exchanges and their file formats, each read and written in one place; and the keeping of secrets.

mod json_text;
pub mod jsonl;
pub mod merged;
pub mod record;
pub mod redact;
pub mod secrets;
pub mod source;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;
pub mod wire;

pub use merged::Merged;
pub use record::Recorder;
pub use redact::{Redactor, Shown};
pub use secrets::Kind;
pub use source::Source;
