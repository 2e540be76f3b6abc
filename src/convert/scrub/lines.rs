//! The bytes of a stream in; the lines that may be heads out. What follows a hole is reported as torn.

use crate::decode::tls::{Probe, probe};
use crate::session::Kind;

/// The state of one stream.
#[derive(Default)]
pub(in crate::convert) struct Lines {
    buffer: Vec<u8>,
    mode: Mode,
    begun: bool,
    after: After,
}

/// What the line before says of the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::convert) enum After {
    /// Nothing.
    #[default]
    Plain,
    /// A secret header ended it: a continuation of it is secret, too.
    Header,
    /// A secret in a body began in it and did not end.
    Open,
    /// It names a field of a form that holds a secret: after an empty line comes the value.
    Field(Kind),
    /// The value of such a field, up to the next boundary.
    Value(Kind),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// At the start of a line, or in one that may be of a head.
    #[default]
    Line,
    /// In a line of which the start is missing.
    Torn,
    /// In a line that is of no interest.
    Skip,
    /// In TLS.
    Sealed,
}

/// A line without its end.
#[derive(Clone, Copy)]
pub(in crate::convert) struct Line<'a> {
    pub(in crate::convert) offset: u64,
    pub(in crate::convert) text: &'a [u8],
    /// Its start is missing.
    pub(in crate::convert) is_torn: bool,
    pub(in crate::convert) after: After,
}

impl Lines {
    /// Takes the next bytes. `take` tells what a line says of the next.
    pub(in crate::convert) fn feed(&mut self, offset: u64, data: &[u8], take: &mut dyn FnMut(Line<'_>) -> After) {
        if !self.begun {
            self.begun = true;
            if probe(data) == Probe::Yes {
                self.mode = Mode::Sealed;
            }
        }
        if self.mode == Mode::Sealed {
            return;
        }
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            if self.mode != Mode::Skip {
                self.extend(offset + at as u64, piece, end.is_some(), take);
            }
            at += piece.len() + 1;
            if end.is_some() {
                self.mode = Mode::Line;
            }
        }
    }

    /// Octets are missing from here on.
    pub(in crate::convert) fn gap(&mut self, end: u64, take: &mut dyn FnMut(Line<'_>) -> After) {
        if self.mode == Mode::Sealed {
            return;
        }
        if !self.buffer.is_empty() {
            self.pass(end, take);
        }
        self.mode = Mode::Torn;
    }

    fn extend(&mut self, offset: u64, piece: &[u8], is_end: bool, take: &mut dyn FnMut(Line<'_>) -> After) {
        let is_torn = self.mode == Mode::Torn;
        if self.buffer.is_empty() && is_end {
            let line = Line { offset, text: piece, is_torn, after: self.after };
            self.after = if self.may_matter(piece) { take(line) } else { After::Plain };
            return;
        }
        self.buffer.extend_from_slice(piece);
        if !self.may_matter(&self.buffer) {
            self.buffer = Vec::new();
            self.after = After::Plain;
            self.mode = Mode::Skip;
        } else if is_end {
            self.pass(offset + piece.len() as u64, take);
        } else if self.buffer.len() > LINE_BYTES_MAX {
            // What is left of a header that is too long is told as torn; what is left of a body is not.
            let is_header = name_end(&self.buffer).is_some_and(|(end, _)| end > 0);
            self.pass(offset + piece.len() as u64, take);
            self.mode = if is_header || self.after == After::Open { Mode::Torn } else { Mode::Skip };
        }
    }

    fn pass(&mut self, end: u64, take: &mut dyn FnMut(Line<'_>) -> After) {
        let offset = end.saturating_sub(self.buffer.len() as u64);
        let is_torn = self.mode == Mode::Torn;
        let line = Line { offset, text: &self.buffer, is_torn, after: self.after };
        self.after = take(line);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES_MAX);
    }

    /// Whether a line, of which this may be the beginning only, can be of a head, or of a body that people write.
    fn may_matter(&self, line: &[u8]) -> bool {
        if matches!(self.after, After::Open | After::Field(_) | After::Value(_)) {
            return true;
        }
        let is_text = || line.iter().take(NAME_BYTES_MAX).all(|byte| matches!(byte, b'\t' | b'\r' | b' '..=b'~' | 0x80..));
        if self.mode == Mode::Torn {
            return is_text();
        }
        match name_end(line) {
            None => line.len() < NAME_BYTES_MAX,
            Some((0, b'<' | b'{' | b'[' | b'"')) => is_text(),
            Some((0, b' ' | b'\t')) => {
                let first = line.trim_ascii_start().first();
                self.after == After::Header
                    || is_named(line)
                    || (first.is_none_or(|byte| matches!(byte, b'<' | b'{' | b'[' | b'"')) && is_text())
            }
            Some((end, byte)) => end > 0 && matches!(byte, b':' | b' ' | b'\t' | b';' | b'='),
        }
    }
}

/// Whether a line that begins with a space goes on as a header does.
fn is_named(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii_start();
    trimmed.is_empty() || name_end(trimmed).is_none_or(|(end, byte)| end > 0 && byte == b':')
}

/// Where the token at the start of a line ends (RFC 9110 section 5.6.2), and what stands there.
pub(in crate::convert) fn name_end(line: &[u8]) -> Option<(usize, u8)> {
    let head = line.get(..NAME_BYTES_MAX).unwrap_or(line);
    head.iter().enumerate().find(|(_, byte)| !is_token(**byte)).map(|(at, byte)| (at, *byte))
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// No name of a header that holds secrets is longer.
const NAME_BYTES_MAX: usize = 128;
/// Longer than a head may be, and than a listing is.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Memory that a stream keeps between lines.
const KEPT_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(u64, String, bool)> {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        let mut offset = 0;
        for piece in pieces {
            let mut take = |line: Line<'_>| {
                seen.push((line.offset, String::from_utf8_lossy(line.text).into_owned(), line.is_torn));
                After::Plain
            };
            if *piece == b"<gap>" {
                lines.gap(offset, &mut take);
            } else {
                lines.feed(offset, piece, &mut take);
            }
            offset += piece.len() as u64;
        }
        seen
    }

    #[test]
    fn any_cutting_gives_the_same_lines_and_binary_data_gives_none() {
        let text = b"GET / HTTP/1.1\r\nCookie: a=b\r\n\r\n\x00\x01:\x02\n{\"a\": 1}\n10;chunk-signature=ff\r\n";
        let whole = lines(&[text]);
        let shown: Vec<_> = whole.iter().map(|(offset, line, _)| (*offset, line.as_str())).collect();
        let expected = [(0, "GET / HTTP/1.1\r"), (16, "Cookie: a=b\r"), (36, "{\"a\": 1}"), (45, "10;chunk-signature=ff\r")];
        assert_eq!(shown, expected);
        for cut in 1..text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_follows_a_hole_is_torn() {
        let seen = lines(&[b"Cookie: a", b"<gap>", b"rest=of it\r\nHost: x\r\n"]);
        let shown: Vec<_> = seen.iter().map(|(_, line, torn)| (line.as_str(), *torn)).collect();
        assert_eq!(shown, [("Cookie: a", false), ("rest=of it\r", true), ("Host: x\r", false)]);
    }

    #[test]
    fn records_of_tls_have_no_lines() {
        assert_eq!(lines(&[b"\x16\x03\x01\x00\x05\x01\nCookie: x\r\n"]), []);
    }
}
