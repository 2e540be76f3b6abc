//! Why an input can give no packets at all.

use std::io;

use crate::capture::Kind;

/// An input that is no capture, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is no input.
    #[error("no capture given")]
    NoInput,
    /// There are more inputs than frame numbers can tell apart.
    #[error("{count} captures given, more than {max} at once; merge some of them first (mergecap -w)")]
    TooManyInputs {
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Reading failed before anything was read.
    #[error("cannot read {name}")]
    Read {
        /// The input.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A live source failed.
    #[error("capturing on {name} failed")]
    Live {
        /// The interface.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{name}: {}", not_a_capture(*.kind))]
    NotACapture {
        /// The input.
        name: String,
        /// What it looks like.
        kind: Kind,
    },
    /// A capture that ends within its file header.
    #[error("{name}: cut within its file header: only {bytes} bytes are there; copy the file again")]
    CutHeader {
        /// The input.
        name: String,
        /// How many bytes there are.
        bytes: usize,
    },
    /// A capture whose file header nobody can read.
    #[error("{name}: begins like a capture, but its header is damaged or of an unknown version")]
    BadHeader {
        /// The input.
        name: String,
    },
    /// It was compressed too often.
    #[error("{name}: compressed more than {max} times over; decompress it first")]
    CompressedTooOften {
        /// The input.
        name: String,
        /// The limit.
        max: usize,
    },
}

/// What it is, and what to do instead.
const fn not_a_capture(kind: Kind) -> &'static str {
    match kind {
        Kind::Empty => "an empty file; was the capture stopped before its first packet, or the disk full?",
        Kind::Lz4 => "compressed with lz4, which is not read here; decompress it first (lz4 -d)",
        Kind::Xz => "compressed with xz, which is not read here; decompress it first (xz -d)",
        Kind::Bzip2 => "compressed with bzip2, which is not read here; decompress it first (bzip2 -d)",
        Kind::Zip => "a zip archive; extract the capture from it first (unzip)",
        Kind::Tar => "a tar archive; extract the capture from it first (tar -x)",
        Kind::Json => "a JSON document (perhaps a HAR), not a packet capture",
        Kind::JsonLines => "JSON lines (perhaps a session), not a packet capture",
        Kind::Html => "an HTML page, not a capture; was a login or error page downloaded in its place?",
        Kind::Png => "a PNG image, not a capture",
        Kind::Jpeg => "a JPEG image, not a capture",
        Kind::Pdf => "a PDF document, not a capture",
        Kind::Parquet => "a Parquet file, not a capture",
        Kind::Executable => "a program, not a capture",
        Kind::Text => "text, not a capture; write packets with tcpdump -w FILE or tshark -w FILE",
        Kind::Unknown | Kind::Gzip | Kind::Zstd | Kind::Pcap | Kind::Pcapng | Kind::Snoop => {
            "not a capture: it begins like none of pcap, pcapng, snoop, nor one of these in gzip or zstd"
        }
    }
}
