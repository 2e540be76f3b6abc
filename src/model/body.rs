//! A message body: counted, and held only where somebody has to read it.

use std::ops::Range;

use crate::model::{BodyCheck, Chunks, Headers};

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
    /// Whether a recording replaced secrets in `kept`.
    pub is_redacted: bool,
    /// SHA-256 of the content, where it was asked for and nothing is missing.
    pub sha256: Option<Box<[u8; 32]>>,
    /// MD5 of the content, where a session tells it.
    pub md5: Option<Box<[u8; 16]>>,
    /// What the content was compared with, where it was known whole.
    pub check: Option<Box<BodyCheck>>,
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

/// Whether a body of this type is text that somebody may have to read.
pub fn is_text_type(content_type: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"xml", b"json", b"text/", b"x-www-form-urlencoded"];
    if matches!(content_type, b"application/octet-stream" | b"binary/octet-stream") {
        return false;
    }
    let has = |at: usize, word: &[u8]| content_type.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word));
    content_type.iter().enumerate().any(|(at, byte)| match byte | 0x20 {
        b'x' | b'j' | b't' => WORDS.iter().any(|word| has(at, word)),
        _ => false,
    })
}
