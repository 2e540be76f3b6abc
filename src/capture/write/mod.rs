//! Captures out: pcapng as packets come, and comments on the frames of a file that was written.

pub mod annotate;
pub mod pcapng;
