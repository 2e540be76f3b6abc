//! Sessions as lines of JSON: one object per line, written while the run goes on, and read back as the same session.

mod call;
mod parts;
mod read;
mod write;

pub use read::{ReadError, Reader, Record, Recorded, Totals};
pub use write::Writer;
