//! A message body: counted, and held only where somebody has to read it.

use std::ops::Range;

use crate::model::{Chunks, Headers};

/// How the end of a body was found (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The message has no body.
    #[default]
    None,
    /// `Content-Length` octets.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection closes.
    UntilClose,
    /// The connection became a tunnel (CONNECT, or 101 Switching Protocols).
    Tunnel,
}

/// The body of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Octets of content seen or known to have passed, without chunk framing.
    pub length: u64,
    /// How it was framed.
    pub framing: Framing,
    /// Whether its end was seen (or is certain from its length).
    pub complete: bool,
    /// Whether all of the content is kept beside the session, in the blob that its SHA-256 names.
    pub stored: bool,
    /// The first octets, where the decoder was asked to keep them.
    pub kept: Vec<u8>,
    /// SHA-256 of the content, where it was asked for and nothing is missing.
    pub sha256: Option<Box<[u8; 32]>>,
    /// MD5 of the content, where a session tells it.
    pub md5: Option<Box<[u8; 16]>>,
    /// Ranges of the content that the capture does not hold.
    pub missing: Vec<Range<u64>>,
    /// Fields after the last chunk, where there are any. What few bodies have is boxed, so that all others are small.
    pub trailers: Option<Box<Headers>>,
    /// How it was cut into chunks, where that was asked for.
    pub chunks: Option<Box<Chunks>>,
}

impl Body {
    /// Octets of the content that the capture does not hold.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|range| range.end.saturating_sub(range.start)).sum()
    }
}
