//! Captures in, captures out: another format, other secrets, fewer flows, or nothing in it that must not be shared.
//!
//! Everything here is pure: whoever calls opens the files, as often as they have to be read.

mod checksum;
mod choice;
mod copy;
mod directions;
mod error;
mod fragments;
mod keys;
mod out;
mod pcap;
mod scanner;
mod scrub;
mod survey;
mod synthesis;
mod walk;

pub use choice::Choice;
pub use copy::{Options, Report, convert};
pub use error::ConvertError;
pub use out::Format;
pub use scrub::{Masked, Proof, prove};
pub use synthesis::Synthesis;

use crate::capture::SavedCapture;

/// Opens the capture at its start; called once for each time it has to be read. All captured bytes of each packet must be in
/// the batches, so inputs are opened without [`crate::capture::Input::positioned`].
pub type Open<'a> = dyn FnMut() -> Result<SavedCapture, ConvertError> + 'a;
