//! Exchanges and streams in; which values are secret, and where those are that a name tells, out.

use std::ops::Range;

use crate::convert::directions::Life;
use crate::convert::scanner::Take;
use crate::convert::scrub::lines::{After, Line, Lines, name_end};
use crate::convert::scrub::proof::Values;
use crate::convert::scrub::ranges::{Ranges, is_blotted};
use crate::convert::{ConvertError, Masked};
use crate::model::{Exchange, HeaderName};
use crate::session::Kind;
use crate::session::secrets::{self, BYTES_MIN, Form, Matcher, Secret, encodings};

/// Collects the secrets of a capture.
pub(in crate::convert) struct Collector {
    /// The values, to be searched for everywhere.
    pub(in crate::convert) matcher: Matcher,
    /// The same, for the proof.
    pub(in crate::convert) values: Values,
    /// The places that names tell.
    pub(in crate::convert) ranges: Ranges,
    /// The kind of the first secret in plaintext that is not masked.
    pub(in crate::convert) exposed: Option<Masked>,
    failure: Option<ConvertError>,
}

impl Collector {
    pub(in crate::convert) fn new() -> Self {
        Self { matcher: Matcher::new(), values: Values::default(), ranges: Ranges::default(), exposed: None, failure: None }
    }

    /// Takes the values of an exchange. Those inside TLS may be in plaintext elsewhere.
    pub(in crate::convert) fn handle_exchange(&mut self, exchange: &Exchange) {
        let is_plaintext = exchange.transport.is_clear();
        let mut found = Vec::new();
        secrets::in_exchange(exchange, [true, true], &mut found);
        for secret in &found {
            self.add_value(secret.kind, secret.value, is_plaintext);
            let is_body = secret.field.is_none() && secret.form != Form::Url;
            if is_plaintext && is_body && secret.value.len() < BYTES_MIN && !is_blotted(secret.value) {
                self.add_short(secret);
            }
        }
        // The signature in `Authorization`, which every request has.
        for value in exchange.request.headers.all(HeaderName::Authorization) {
            for Secret { range, kind, .. } in in_header(b"authorization", value) {
                self.add_value(kind, value.get(range).unwrap_or_default(), is_plaintext);
            }
        }
    }

    /// A short value is not searched for by itself: what is around it tells where it is.
    fn add_short(&mut self, secret: &secrets::Exposed<'_>) {
        let mark = mark_of(secret.kind);
        for at in memchr::memmem::find_iter(secret.text, secret.value).take(SHORT_PLACES_MAX) {
            let end = at + secret.value.len();
            let before = secret.text.get(at.saturating_sub(CONTEXT_BYTES)..at).unwrap_or_default();
            let after = secret.text.get(end..).unwrap_or_default();
            let after = after.get(..CONTEXT_AFTER_BYTES).unwrap_or(after);
            if secrets_between(before, secret.value, after) {
                self.matcher.add_between(before, secret.value, after, mark);
            }
        }
    }

    /// The first failure: too many secrets.
    pub(in crate::convert) fn check(&mut self) -> Result<(), ConvertError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn add_value(&mut self, kind: Kind, value: &[u8], is_plaintext: bool) {
        if is_blotted(value) {
            return;
        }
        if is_plaintext {
            self.exposed.get_or_insert(Masked::Secret(kind));
        }
        if value.len() < BYTES_MIN || value.len() > VALUE_BYTES_MAX || self.matcher.knows(value) {
            return;
        }
        if self.matcher.bytes() > SEARCHED_BYTES_MAX {
            self.failure.get_or_insert(ConvertError::TooManySecrets(self.matcher.len()));
            return;
        }
        for text in encodings(kind, value) {
            self.matcher.add(&text, mark_of(kind));
        }
        self.values.add(kind, value);
    }

    /// Masks what names tell in a line; returns what that means for the next one.
    fn line(&mut self, life: Life, line: Line<'_>) -> After {
        let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
        let mut after = After::Plain;
        for (range, what) in secrets_in(text, line, &mut after) {
            let value = text.get(range.clone()).unwrap_or_default();
            if let Masked::Secret(kind) = what {
                self.add_value(kind, value, true);
            }
            let added = self.ranges.add(life, line.offset + range.start as u64, range.len(), what);
            self.note(added);
        }
        after
    }

    fn note(&mut self, added: Result<(), ConvertError>) {
        if let Err(error) = added {
            self.failure.get_or_insert(error);
        }
    }
}

/// The number that stands for a kind in a search.
fn mark_of(kind: Kind) -> u32 {
    Kind::ALL.iter().position(|have| *have == kind).and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
}

/// The kind that a number stands for.
pub(in crate::convert) fn kind_of(mark: u32) -> Kind {
    Kind::ALL.get(mark as usize).copied().unwrap_or(Kind::Bearer)
}

/// Whether what is around a short value makes it a secret.
fn secrets_between(before: &[u8], value: &[u8], after: &[u8]) -> bool {
    let text = [before, value, after].concat();
    in_body(&text).iter().any(|secret| secret.range.start <= before.len() && secret.range.end >= before.len() + value.len())
}

fn secrets_in(text: &[u8], line: Line<'_>, after: &mut After) -> Vec<(Range<usize>, Masked)> {
    let torn = |range: Range<usize>| vec![(range, Masked::TornLine)];
    match line.after {
        After::Field(kind) => {
            *after = if text.is_empty() { After::Value(kind) } else { After::Field(kind) };
            return Vec::new();
        }
        After::Value(kind) if !text.starts_with(b"--") => {
            *after = After::Value(kind);
            return vec![(0..text.len(), Masked::Secret(kind))];
        }
        After::Open if !is_start_line(text) => return in_open_secret(text, after),
        _ => {}
    }
    match name_end(text) {
        Some((0, b' ' | b'\t')) if line.after == After::Header => {
            *after = After::Header;
            torn(0..text.len())
        }
        Some((0, b' ' | b'\t')) if has_name(text) => in_indented_header(text, after),
        Some((0, b'<' | b'{' | b'[' | b'"' | b' ' | b'\t')) => in_body_line(text, 0, after),
        Some((end, b':')) if end > 0 => in_header_line(text, end, end + 1, line.is_torn, after),
        Some((end, b' ' | b'\t')) if end > 0 => {
            let rest = text.get(end..).unwrap_or_default();
            let spaces = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
            if rest.get(spaces) == Some(&b':') {
                return in_header_line(text, end, end + spaces + 1, line.is_torn, after);
            }
            in_start_line(text, end + spaces, line.is_torn)
        }
        Some((_, b';')) => chunk_signature(text).map(|range| (range, Masked::Secret(Kind::Signature))).into_iter().collect(),
        Some((_, b'=')) if !line.is_torn => in_body_line(text, 0, after),
        _ if line.is_torn && text.len() >= BYTES_MIN && !text.starts_with(b"HTTP/") => torn(0..text.len()),
        _ => Vec::new(),
    }
}

/// The rest of a secret whose beginning is in a line before. Chunked coding may have cut it there.
fn in_open_secret(text: &[u8], after: &mut After) -> Vec<(Range<usize>, Masked)> {
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
    secrets.extend(in_body_line(text, rest, after));
    secrets
}

/// The secrets in a line of a body from `start` on. The line may begin inside of an object.
fn in_body_line(text: &[u8], start: usize, after: &mut After) -> Vec<(Range<usize>, Masked)> {
    let found = in_body(text.get(start..).unwrap_or_default());
    let hidden: Vec<_> = found.into_iter().map(|secret| (shift(secret.range, start), Masked::Secret(secret.kind))).collect();
    if hidden.iter().any(|(range, _)| range.end >= text.len()) {
        *after = After::Open;
    }
    hidden
}

/// A field that begins with a space by mistake; readers take it for the end of the field before.
fn in_indented_header(text: &[u8], after: &mut After) -> Vec<(Range<usize>, Masked)> {
    let spaces = text.len() - text.trim_ascii_start().len();
    let Some(colon) = memchr::memchr(b':', text) else { return Vec::new() };
    let name = text.get(spaces..colon).unwrap_or_default().trim_ascii_end().len();
    let value = colon + 1;
    let rest = text.get(value..).unwrap_or_default();
    let start = value + (rest.len() - rest.trim_ascii_start().len());
    let trimmed = text.get(start..).unwrap_or_default().trim_ascii_end();
    let hidden = in_header(text.get(spaces..spaces + name).unwrap_or_default(), trimmed);
    if hidden.iter().any(|hidden| hidden.range.end == trimmed.len()) {
        *after = After::Header;
    }
    let mut all: Vec<_> = hidden.into_iter().map(|hidden| (shift(hidden.range, start), Masked::Secret(hidden.kind))).collect();
    all.extend(in_body_line(text, 0, &mut After::Plain));
    all
}

fn has_name(text: &[u8]) -> bool {
    let trimmed = text.trim_ascii_start();
    matches!(name_end(trimmed), Some((end, b':')) if end > 0)
}

fn in_header_line(text: &[u8], name: usize, value: usize, is_torn: bool, after: &mut After) -> Vec<(Range<usize>, Masked)> {
    let rest = text.get(value..).unwrap_or_default();
    let start = value + (rest.len() - rest.trim_ascii_start().len());
    let trimmed = text.get(start..).unwrap_or_default().trim_ascii_end();
    let end = start + trimmed.len();
    if is_torn {
        // The name may have begun before the hole.
        return vec![(start..end, Masked::TornLine)];
    }
    if let Some(kind) = secrets::field_of_form(text) {
        *after = After::Field(kind);
        return Vec::new();
    }
    let hidden = in_header(text.get(..name).unwrap_or_default(), trimmed);
    if hidden.iter().any(|hidden| hidden.range.end == trimmed.len()) {
        *after = After::Header;
    }
    hidden.into_iter().map(|hidden| (shift(hidden.range, start), Masked::Secret(hidden.kind))).collect()
}

/// `METHOD target HTTP/1.1`
fn in_start_line(text: &[u8], target: usize, is_torn: bool) -> Vec<(Range<usize>, Masked)> {
    let rest = text.get(target..).unwrap_or_default();
    let version = memchr::memrchr(b' ', rest).filter(|at| rest.get(at + 1..).is_some_and(|word| word.starts_with(b"HTTP/")));
    if is_torn && version.is_none() && text.len() >= BYTES_MIN {
        return vec![(0..text.len(), Masked::TornLine)];
    }
    let mut found = Vec::new();
    match version {
        Some(version) => secrets::in_target(rest.get(..version).unwrap_or(rest), &mut found),
        // A line of some text.
        None => secrets::in_body(rest, &mut found),
    }
    found.into_iter().map(|secret| (shift(secret.range, target), Masked::Secret(secret.kind))).collect()
}

impl Take for Collector {
    type State = Lines;

    fn data(&mut self, life: Life, lines: &mut Lines, offset: u64, data: &[u8]) {
        lines.feed(offset, data, &mut |line| self.line(life, line));
    }

    fn gap(&mut self, life: Life, lines: &mut Lines, before: u64) {
        lines.gap(before, &mut |line| self.line(life, line));
    }
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

/// The size of a chunk has few digits; longer numbers are text.
const CHUNK_SIZE_DIGITS_MAX: usize = 8;
const CONTEXT_BYTES: usize = 24;
const CONTEXT_AFTER_BYTES: usize = 4;
/// How often a short value is looked at in one body.
const SHORT_PLACES_MAX: usize = 64;
/// Longer values are masked by their place only.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of all that is searched for.
const SEARCHED_BYTES_MAX: usize = 192 << 20;
