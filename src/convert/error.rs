//! Why a conversion fails.

use std::io;

use thiserror::Error;

use crate::capture::CaptureError;

/// Why a conversion fails.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The capture cannot be read.
    #[error("cannot read the capture")]
    Unreadable(#[from] CaptureError),
    /// The input cannot be opened (again).
    #[error("cannot open the input")]
    Unopened(#[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Unwritable(#[from] io::Error),
    /// A pcap file has room for one link type.
    #[error("the capture has packets of the link types {first} and {second}, and a pcap file has room for one")]
    LinkTypes {
        /// The link type of the first packet.
        first: u32,
        /// Another one.
        second: u32,
    },
    /// A flow or exchange was chosen that the capture does not hold.
    #[error("the capture has no {0}")]
    NotFound(String),
    /// More distinct secrets than can be held: what is beyond could not be masked.
    #[error("the capture holds more secrets than can be looked for at once ({0} kept)")]
    TooManySecrets(usize),
    /// A secret is still there after scrubbing.
    #[error("a secret ({kind}) is still in the scrubbed capture, in {place}")]
    NotFree {
        /// Its kind.
        kind: &'static str,
        /// Where it was found.
        place: &'static str,
    },
}
