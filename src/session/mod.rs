//! Recorded exchanges and their file formats, each read and written in one place; and the keeping of secrets.

mod disguises;
mod needles;
mod places;
pub mod redact;
#[cfg(test)]
pub(crate) mod testing;

pub use places::Kind;
pub use redact::{Redactor, Shown};
