//! Exchanges and streams in; which values are secret, and where those stand that a name tells, out.

use std::ops::Range;

use crate::convert::directions::Life;
use crate::convert::finder::{Finder, PREFIX_BYTES};
use crate::convert::forms::forms;
use crate::convert::lines::{After, Line, Lines, name_end};
use crate::convert::masks::{Masks, is_blotted};
use crate::convert::scanner::Take;
use crate::convert::{ConvertError, Masked};
use crate::model::{Body, Exchange, HeaderName, Headers};
use crate::session::Kind;
use crate::session::secrets::{self, Secret};

/// Learns the secrets of a capture.
pub(super) struct Learner {
    /// The values, to be looked for everywhere.
    pub(super) finder: Finder,
    /// The places that names tell.
    pub(super) masks: Masks,
    /// The kind of the first secret in clear that is not masked.
    pub(super) exposed: Option<Masked>,
    failure: Option<ConvertError>,
}

impl Learner {
    pub(super) fn new() -> Self {
        Self { finder: Finder::new(), masks: Masks::default(), exposed: None, failure: None }
    }

    /// Learns the values of an exchange. Those inside TLS may stand in clear elsewhere.
    pub(super) fn learn(&mut self, exchange: &Exchange) {
        let clear = exchange.transport.is_clear();
        let target = exchange.request.target();
        for hidden in in_target(target) {
            self.learn_value(hidden.kind, target.get(hidden.range).unwrap_or_default(), clear);
        }
        self.learn_headers(&exchange.request.headers, clear);
        self.learn_trailers(&exchange.request.body, clear);
        self.learn_body(&exchange.request.body.kept, clear);
        if let Some(response) = exchange.response() {
            self.learn_headers(&response.headers, clear);
            self.learn_trailers(&response.body, clear);
            self.learn_body(&response.body.kept, clear);
        }
    }

    fn learn_trailers(&mut self, body: &Body, clear: bool) {
        if let Some(trailers) = body.trailers.as_deref() {
            self.learn_headers(trailers, clear);
        }
    }

    /// The first failure: too many secrets.
    pub(super) fn check(&mut self) -> Result<(), ConvertError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn learn_headers(&mut self, headers: &Headers, clear: bool) {
        for (name, value) in headers.iter() {
            for hidden in in_header(name, value) {
                self.learn_value(hidden.kind, value.get(hidden.range).unwrap_or_default(), clear);
            }
        }
    }

    fn learn_body(&mut self, body: &[u8], clear: bool) {
        for Secret { range, kind, .. } in in_body(body) {
            let value = body.get(range.clone()).unwrap_or_default();
            self.learn_value(kind, value, clear);
            if clear && value.len() < SHORT_BYTES && !is_blotted(value) {
                // A short value is not searched for by itself: what stands around it tells where it is.
                let around = range.start.saturating_sub(CONTEXT_BYTES)..(range.end + CONTEXT_AFTER_BYTES).min(body.len());
                let secret = range.start - around.start..range.end - around.start;
                let added = self.finder.add(body.get(around).unwrap_or_default(), secret, Masked::Secret(kind));
                self.note(added);
            }
        }
    }

    fn learn_value(&mut self, kind: Kind, value: &[u8], clear: bool) {
        if is_blotted(value) {
            return;
        }
        let what = Masked::Secret(kind);
        if clear {
            self.exposed.get_or_insert(what);
        }
        if value.len() < PREFIX_BYTES || value.len() > VALUE_BYTES_MAX || self.finder.knows(value) {
            return;
        }
        for form in forms(kind, value) {
            let added = self.finder.add(&form, 0..form.len(), what);
            self.note(added);
        }
    }

    /// Masks what names tell in a line; tells what that means for the next one.
    fn line(&mut self, life: Life, line: Line<'_>) -> After {
        let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
        let mut after = After::Plain;
        for (range, what) in self.secrets_in(text, line, &mut after) {
            let value = text.get(range.clone()).unwrap_or_default();
            if let Masked::Secret(kind) = what {
                self.learn_value(kind, value, true);
            }
            let added = self.masks.add(life, line.offset + range.start as u64, range.len(), what);
            self.note(added);
        }
        after
    }

    fn secrets_in(&self, text: &[u8], line: Line<'_>, after: &mut After) -> Vec<(Range<usize>, Masked)> {
        let torn = |range: Range<usize>| vec![(range, Masked::TornLine)];
        if line.after == After::Open && !is_start_line(text) {
            return self.in_open_secret(text, after);
        }
        match name_end(text) {
            Some((0, b' ' | b'\t')) if line.after == After::Header => {
                *after = After::Header;
                torn(0..text.len())
            }
            Some((0, b'<' | b'{' | b'[' | b'"' | b' ' | b'\t')) => self.in_body_line(text, 0, after),
            Some((end, b':')) if end > 0 => self.in_header(text, end, end + 1, line.is_torn, after),
            Some((end, b' ' | b'\t')) if end > 0 => {
                let rest = text.get(end..).unwrap_or_default();
                let spaces = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
                if rest.get(spaces) == Some(&b':') {
                    return self.in_header(text, end, end + spaces + 1, line.is_torn, after);
                }
                self.in_start_line(text, end + spaces, line.is_torn)
            }
            Some((_, b';')) => chunk_signature(text).map(|range| (range, Masked::Secret(Kind::Signature))).into_iter().collect(),
            _ if line.is_torn && text.len() >= SHORT_BYTES && !text.starts_with(b"HTTP/") => torn(0..text.len()),
            _ => Vec::new(),
        }
    }

    /// The rest of a secret whose beginning stands in a line before. Chunked coding may have cut it there.
    fn in_open_secret(&self, text: &[u8], after: &mut After) -> Vec<(Range<usize>, Masked)> {
        let is_chunk_size = text.len() <= CHUNK_SIZE_DIGITS_MAX && text.iter().all(u8::is_ascii_hexdigit);
        let end = text.iter().position(|byte| matches!(byte, b'<' | b'"'));
        if is_chunk_size || end.is_none() {
            *after = After::Open;
        }
        if is_chunk_size {
            return Vec::new();
        }
        let end = end.unwrap_or(text.len());
        let mut secrets = vec![(0..end, Masked::TornLine)];
        // The quote that ends it must not be taken for one that begins a name.
        let rest = end + usize::from(text.get(end) == Some(&b'"'));
        secrets.extend(self.in_body_line(text, rest, after));
        secrets
    }

    /// The secrets in a line of a body from `start` on. The line may begin inside of an object.
    fn in_body_line(&self, text: &[u8], start: usize, after: &mut After) -> Vec<(Range<usize>, Masked)> {
        let rest = text.get(start..).unwrap_or_default();
        let is_markup = rest.trim_ascii_start().starts_with(b"<");
        let hidden = if is_markup {
            in_body(rest).into_iter().map(|hidden| (shift(hidden.range, start), Masked::Secret(hidden.kind))).collect()
        } else {
            let object = [b"{", rest].concat();
            let inside = |range: Range<usize>| range.start + start - 1..range.end + start - 1;
            let hidden = in_body(&object).into_iter().filter(|hidden| hidden.range.start > 0);
            hidden.map(|hidden| (inside(hidden.range), Masked::Secret(hidden.kind))).collect::<Vec<_>>()
        };
        if hidden.iter().any(|(range, _)| range.end >= text.len()) {
            *after = After::Open;
        }
        hidden
    }

    fn in_header(&self, text: &[u8], name: usize, value: usize, is_torn: bool, after: &mut After) -> Vec<(Range<usize>, Masked)> {
        let rest = text.get(value..).unwrap_or_default();
        let start = value + (rest.len() - rest.trim_ascii_start().len());
        let trimmed = text.get(start..).unwrap_or_default().trim_ascii_end();
        let end = start + trimmed.len();
        if is_torn {
            // The name may have begun before the hole.
            return vec![(start..end, Masked::TornLine)];
        }
        let hidden = in_header(text.get(..name).unwrap_or_default(), trimmed);
        if hidden.iter().any(|hidden| hidden.range.end == trimmed.len()) {
            *after = After::Header;
        }
        hidden.into_iter().map(|hidden| (shift(hidden.range, start), Masked::Secret(hidden.kind))).collect()
    }

    /// `METHOD target HTTP/1.1`
    fn in_start_line(&self, text: &[u8], target: usize, is_torn: bool) -> Vec<(Range<usize>, Masked)> {
        let rest = text.get(target..).unwrap_or_default();
        let version = memchr::memrchr(b' ', rest).filter(|at| rest.get(at + 1..).is_some_and(|word| word.starts_with(b"HTTP/")));
        if is_torn && version.is_none() && text.len() >= SHORT_BYTES {
            return vec![(0..text.len(), Masked::TornLine)];
        }
        let rest = rest.get(..version.unwrap_or(rest.len())).unwrap_or(rest);
        let hidden = in_target(rest);
        hidden.into_iter().map(|hidden| (shift(hidden.range, target), Masked::Secret(hidden.kind))).collect()
    }

    fn note(&mut self, added: Result<(), ConvertError>) {
        if let Err(error) = added {
            self.failure.get_or_insert(error);
        }
    }
}

impl Take for Learner {
    type State = Lines;

    fn data(&mut self, life: Life, lines: &mut Lines, offset: u64, data: &[u8]) {
        lines.feed(offset, data, &mut |line| self.line(life, line));
    }

    fn gap(&mut self, life: Life, lines: &mut Lines, before: u64) {
        lines.gap(before, &mut |line| self.line(life, line));
    }
}

fn in_target(target: &[u8]) -> Vec<Secret> {
    let mut found = Vec::new();
    secrets::in_target(target, &mut found);
    found
}

fn in_header(name: &[u8], value: &[u8]) -> Vec<Secret> {
    let mut found = Vec::new();
    secrets::in_header(HeaderName::recognise(name), name, value, &mut found);
    found
}

fn in_body(body: &[u8]) -> Vec<Secret> {
    let mut found = Vec::new();
    secrets::in_body(body, &mut found);
    found
}

const fn shift(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

fn is_start_line(text: &[u8]) -> bool {
    text.starts_with(b"HTTP/1.") || text.ends_with(b" HTTP/1.1") || text.ends_with(b" HTTP/1.0")
}

/// `10000;chunk-signature=…`, in a body that the client signed in chunks.
fn chunk_signature(text: &[u8]) -> Option<Range<usize>> {
    const NAME: &[u8] = b"chunk-signature=";
    let size = text.iter().position(|byte| !byte.is_ascii_hexdigit())?;
    let start = memchr::memmem::find(text, NAME)? + NAME.len();
    let value = text.get(start..)?;
    let length = value.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(value.len());
    (size > 0 && length > 0).then_some(start..start + length)
}

/// Shorter values are not looked for elsewhere.
const SHORT_BYTES: usize = PREFIX_BYTES;
/// The size of a chunk has few digits; longer numbers are text.
const CHUNK_SIZE_DIGITS_MAX: usize = 8;
const CONTEXT_BYTES: usize = 24;
const CONTEXT_AFTER_BYTES: usize = 4;
/// Longer values are masked by their place only.
const VALUE_BYTES_MAX: usize = 64 << 10;
