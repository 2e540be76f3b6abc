//! Secrets in any text: pairs of URLs and forms, members of JSON, elements of XML, fields of forms with files, header lines,
//! user information of URLs, and what shows by its own form that it is a secret. Escapes are resolved first, so that a URL
//! inside a URL, or JSON inside JSON, is read like any other.

use std::ops::Range;

use crate::session::secrets::authorization;
use crate::session::secrets::names::{Named, Scope, may_be_named, named};
use crate::session::secrets::shapes;
use crate::session::secrets::unescape::Unescaped;
use crate::session::secrets::{Form, Kind, Secret};

/// Finds the secrets in a text of any sort.
pub(super) fn in_text(text: &[u8], found: &mut Vec<Secret>) {
    if text.len() < TEXT_BYTES_MIN || (text.len() < shapes::WORD_BYTES_MIN && !has_mark(text)) {
        return;
    }
    let resolved = Unescaped::new(text);
    let mut search = Search::over(&resolved, false);
    search.pairs(0);
    search.user_information();
    shapes::find(resolved.bytes(), &mut search.found);
    search.finish(found);
}

/// Whether a text has anything that parts a name from its value, or an escape that may hide one.
fn has_mark(text: &[u8]) -> bool {
    memchr::memchr3(b'=', b':', b'>', text).is_some() || memchr::memchr3(b'%', b'\\', b'&', text).is_some()
}

/// Finds the secrets in a URL, or in a part of one.
pub fn in_url(url: &[u8], found: &mut Vec<Secret>) {
    let has_mark = || memchr::memchr3(b'?', b'@', b'%', url).is_some() || memchr::memchr(b'#', url).is_some();
    if url.len() < shapes::URL_BYTES_MIN && !has_mark() {
        return;
    }
    let is_plain = !has_telling_escape(url);
    let resolved = if is_plain { Unescaped::plain(url) } else { Unescaped::new(url) };
    let mut search = Search::over(&resolved, is_plain);
    // A path may have names and values of its own: those of partitions.
    if let Some(query) = memchr::memchr2(b'?', b'#', search.bytes) {
        search.pairs(query);
    }
    search.user_information();
    if url.len() >= shapes::URL_BYTES_MIN {
        shapes::find_tokens(resolved.bytes(), &mut search.found);
    }
    search.finish(found);
}

/// Whether resolving the escapes of a URL can show a name that was not to be seen: an encoded letter, `=`, `%`, `@` or `:`.
fn has_telling_escape(url: &[u8]) -> bool {
    if memchr::memchr3(b'\\', b';', b'@', url).is_some() {
        return true;
    }
    memchr::memchr_iter(b'%', url).any(|at| match url.get(at + 1..at + 3) {
        Some([high @ b'4'..=b'7', low]) => !(*high == b'5' && matches!(low | 0x20, b'b' | b'd' | b'e')),
        Some([b'2', b'5' | b'd' | b'D' | b'6'] | [b'3', b'd' | b'D']) => true,
        _ => false,
    })
}

/// What the value of a form's field is, by its `Content-Disposition` line.
pub fn field_of_form(line: &[u8]) -> Option<Kind> {
    let mut found = Vec::new();
    in_text(&[line, b"\r\n\r\nvalue"].concat(), &mut found);
    found.iter().find(|secret| secret.form == Form::Form).map(|secret| secret.kind)
}

/// A search over a resolved text; what is found has its places there.
struct Search<'t> {
    text: &'t Unescaped<'t>,
    bytes: &'t [u8],
    /// A URL and nothing else.
    is_url: bool,
    /// What `"name": "…"` said of the value beside it.
    named_beside: Option<Kind>,
    /// What somebody redacted before.
    placeholders: Vec<Range<usize>>,
    found: Vec<Secret>,
}

impl<'t> Search<'t> {
    fn over(text: &'t Unescaped<'t>, is_url: bool) -> Self {
        let bytes = text.bytes();
        let placeholders = if memchr::memchr(b'[', bytes).is_some() { placeholders(bytes) } else { Vec::new() };
        Self { text, bytes, is_url, named_beside: None, placeholders, found: Vec::new() }
    }

    /// The end of the placeholder that a place is in.
    fn placeholder_end(&self, at: usize) -> Option<usize> {
        self.placeholders.iter().find(|place| place.contains(&at)).map(|place| place.end)
    }

    /// Reads names and values from `at` on.
    fn pairs(&mut self, mut at: usize) {
        while let Some(next) = self.next_mark(at) {
            at = next + 1;
            if let Some(end) = self.placeholder_end(next) {
                at = end;
                continue;
            }
            let end = match self.byte(next) {
                Some(b'=') => self.pair(next),
                Some(b':') => self.member(next),
                _ => self.element(next),
            };
            match end {
                Some(usize::MAX) => return,
                Some(end) => at = at.max(end),
                None => {}
            }
        }
    }

    fn next_mark(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        let next = if self.is_url { memchr::memchr(b'=', rest) } else { memchr::memchr3(b'=', b':', b'>', rest) };
        next.map(|next| at + next)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// `name=value`, `name = "value"`. Gives where to go on.
    fn pair(&mut self, equals: usize) -> Option<usize> {
        let name = self.name_before(equals);
        let word = self.bytes.get(name.clone())?;
        if word == b"name" && !self.is_url {
            return self.form_field(equals);
        }
        if !may_be_named(word) {
            return None;
        }
        let is_in_url = self.is_url || matches!(name.start.checked_sub(1).and_then(|at| self.byte(at)), Some(b'?' | b'&'));
        let kind = named(word, Scope::Parameter)?;
        let form = if is_in_url { Form::Url } else { Form::Text };
        let value = self.value_after(equals);
        self.take(kind, value, form)
    }

    /// `"name": "value"`, `name: value`.
    fn member(&mut self, colon: usize) -> Option<usize> {
        let name = self.name_before(colon);
        let word = self.bytes.get(name.clone())?;
        if matches!(word, b"name" | b"Name" | b"key" | b"Key") {
            let value = self.value_after(colon);
            let named = self.bytes.get(value).and_then(|value| named(value, Scope::Field));
            self.named_beside = match named {
                Some(Named::Secret(kind)) => Some(kind),
                Some(Named::Authorization) => Some(Kind::Bearer),
                None => None,
            };
            return None;
        }
        if matches!(word, b"value" | b"Value")
            && let Some(kind) = self.named_beside.take()
        {
            let value = self.value_after(colon);
            return self.take(Named::Secret(kind), value, Form::Text);
        }
        if !may_be_named(word) {
            return None;
        }
        let kind = named(word, Scope::Member)?;
        let is_quoted = self.byte(name.end).is_some_and(is_quote);
        if word.eq_ignore_ascii_case(b"plaintext") && !is_quoted {
            // A word of sentences; the member of a key service is quoted.
            return None;
        }
        let is_line = matches!(kind, Named::Authorization | Named::Secret(Kind::Cookie)) && !is_quoted;
        let value = if is_line { self.line_after(colon) } else { self.value_after(colon) };
        self.take(kind, value, Form::Text)
    }

    /// `<Name>value</Name>`.
    fn element(&mut self, close: usize) -> Option<usize> {
        let before = self.bytes.get(close.saturating_sub(TAG_BYTES_MAX)..close)?;
        let open = memchr::memrchr(b'<', before)?;
        let tag = before.get(open + 1..)?;
        let length = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
        let name = tag.get(..length)?;
        let local = memchr::memrchr(b':', name).map_or(name, |colon| name.get(colon + 1..).unwrap_or_default());
        if tag.ends_with(b"/") || tag.starts_with(b"/") || !may_be_named(local) {
            return None;
        }
        let Named::Secret(kind) = named(local, Scope::Member)? else { return None };
        let depth = self.text.depth(close).other;
        let start = close + 1;
        let rest = self.bytes.get(start..)?;
        let trimmed = start + (rest.len() - rest.trim_ascii_start().len());
        if self.bytes.get(trimmed..)?.starts_with(b"<![CDATA[") {
            let inner = trimmed + b"<![CDATA[".len();
            let length = memchr::memmem::find(self.bytes.get(inner..)?, b"]]>").unwrap_or(self.bytes.len() - inner);
            return self.take(Named::Secret(kind), inner..inner + length, Form::Text);
        }
        let ends = memchr::memmem::find_iter(rest, b"</");
        let end = ends.map(|at| start + at).find(|at| self.text.depth(*at).other <= depth).unwrap_or(self.bytes.len());
        self.take(Named::Secret(kind), start..end, Form::Text)
    }

    /// `Content-Disposition: form-data; name="…"`, and after an empty line the value (RFC 7578). Behind the file nothing is
    /// read: it is the user's.
    fn form_field(&mut self, equals: usize) -> Option<usize> {
        let value = self.value_after(equals);
        let line = self.bytes.get(..equals)?;
        let line = line.get(memchr::memrchr(b'\n', line).map_or(0, |at| at + 1)..)?;
        if !line.get(..20)?.eq_ignore_ascii_case(b"content-disposition:") {
            return None;
        }
        let name = self.bytes.get(value.clone())?;
        if name.eq_ignore_ascii_case(b"file") {
            return Some(usize::MAX);
        }
        let kind = named(name, Scope::Parameter)?;
        let head = self.bytes.get(value.end..)?;
        let head = head.get(..PART_HEAD_BYTES_MAX).unwrap_or(head);
        let start = value.end + memchr::memmem::find(head, b"\r\n\r\n")? + 4;
        let rest = self.bytes.get(start..)?;
        let end = start + memchr::memmem::find(rest, b"\r\n--").unwrap_or(rest.len());
        self.take(kind, start..end, Form::Form)
    }

    fn take(&mut self, named: Named, value: Range<usize>, form: Form) -> Option<usize> {
        let text = self.bytes.get(value.clone())?;
        match named {
            Named::Authorization => authorization::find(text, value.start, &mut self.found),
            Named::Secret(_) if matches!(text, b"" | b"null" | b"true" | b"false" | b"None") => return None,
            Named::Secret(kind) => {
                self.found.push(Secret { range: value.clone(), kind, form });
                // What was signed holds the fields that were signed.
                if kind == Kind::SignedText {
                    return None;
                }
            }
        }
        Some(value.end)
    }

    /// The name that ends before a mark, without quotes and white space around it.
    fn name_before(&self, mark: usize) -> Range<usize> {
        let before = self.bytes.get(mark.saturating_sub(NAME_BYTES_MAX)..mark).unwrap_or_default();
        let base = mark - before.len();
        let mut end = before.len();
        if !self.is_url {
            end = before.trim_ascii_end().len();
            if end > 0 && before.get(end - 1).copied().is_some_and(is_quote) {
                end -= 1;
            }
        }
        let name = before.get(..end).unwrap_or_default();
        let start = name.iter().rposition(|byte| !is_name(*byte)).map_or(0, |at| at + 1);
        base + start..base + end
    }

    /// The value after a mark: a quoted string, or what goes on to where any reader would end it.
    fn value_after(&self, mark: usize) -> Range<usize> {
        let mut start = mark + 1;
        if !self.is_url {
            let is_member = self.byte(mark) != Some(b'=');
            let skips = |byte: &&u8| match byte {
                b' ' | b'\t' => true,
                b'\r' | b'\n' | b'[' => is_member,
                _ => false,
            };
            let rest = self.bytes.get(start..).unwrap_or_default();
            start += rest.iter().take(SPACES_MAX).take_while(skips).count();
            if start > mark + 1 && self.placeholder_end(start - 1).is_some() {
                start -= 1;
            }
            if let Some(quote) = self.byte(start).filter(|byte| is_quote(*byte)) {
                return start + 1..self.string_end(start, quote);
            }
        }
        let is_pair = self.byte(mark) == Some(b'=');
        let depth = self.text.depth(mark).percent;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |(at, byte): &(usize, &u8)| {
            let is_end = match byte {
                b'&' | b';' | b'#' | b'?' => is_pair,
                b'"' | b'\'' | b'<' | b'>' => true,
                b',' | b'}' | b']' => !is_pair,
                byte => byte.is_ascii_whitespace(),
            };
            is_end && self.text.depth(start + at).percent <= depth && self.placeholder_end(start + at).is_none()
        };
        let length = rest.iter().enumerate().find(ends).map_or(rest.len(), |(at, _)| at);
        start..start + length
    }

    /// What follows a mark up to the end of the line.
    fn line_after(&self, mark: usize) -> Range<usize> {
        let rest = self.bytes.get(mark + 1..).unwrap_or_default();
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        let start = mark + 1 + (line.len() - line.trim_ascii_start().len());
        start..start.max(mark + 1 + line.trim_ascii_end().len())
    }

    /// Where a string ends: at a quote that is wrapped in no more escapes than the one that begins it.
    fn string_end(&self, open: usize, quote: u8) -> usize {
        let depth = self.text.depth(open);
        let rest = self.bytes.get(open + 1..).unwrap_or_default();
        let is_end = |at: &usize| {
            let own = self.text.depth(open + 1 + at);
            own.other <= depth.other && own.percent <= depth.percent
        };
        memchr::memchr_iter(quote, rest).find(is_end).map_or(self.bytes.len(), |at| open + 1 + at)
    }

    /// `scheme://user:password@host`: what is before the `@` of the authority.
    fn user_information(&mut self) {
        if memchr::memchr(b'@', self.bytes).is_none() {
            return;
        }
        for at in memchr::memmem::find_iter(self.bytes, b"://") {
            let start = at + 3;
            let depth = self.text.depth(at);
            let rest = self.bytes.get(start..).unwrap_or_default();
            let is_end = |(place, byte): &(usize, &u8)| {
                (matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>') || byte.is_ascii_whitespace())
                    && self.text.depth(start + place).percent <= depth.percent
            };
            let length = rest.iter().enumerate().find(is_end).map_or(rest.len(), |(place, _)| place);
            let authority = rest.get(..length).unwrap_or_default();
            let is_at = |place: &usize| self.text.depth(start + place).percent <= depth.percent;
            if let Some(at) = memchr::memrchr_iter(b'@', authority).find(is_at).filter(|at| *at > 0) {
                self.found.push(Secret { range: start..start + at, kind: Kind::Password, form: Form::Url });
            }
        }
    }

    /// Leaves what somebody redacted before as it is: a placeholder is a secret as a whole, and has none inside.
    fn leave_placeholders(&mut self) {
        let is_inside =
            |place: &Range<usize>, secret: &Secret| place.start <= secret.range.start && secret.range.end <= place.end;
        let placeholders = &self.placeholders;
        self.found.retain(|secret| !placeholders.iter().any(|place| is_inside(place, secret) && secret.range != *place));
    }

    /// Puts what was found in order, takes apart what overlaps, and gives the places in the text as it was sent.
    fn finish(mut self, found: &mut Vec<Secret>) {
        if self.found.is_empty() {
            return;
        }
        self.leave_placeholders();
        settle(&mut self.found);
        found.extend(self.found.into_iter().map(|secret| Secret { range: self.text.origin(secret.range), ..secret }));
    }
}

/// Puts secrets in order. What is inside a signed text cuts it in pieces; what is inside anything else is part of it.
pub(super) fn settle(found: &mut Vec<Secret>) {
    found.sort_by_key(|secret| (secret.range.start, std::cmp::Reverse(secret.range.end)));
    let mut settled: Vec<Secret> = Vec::with_capacity(found.len());
    let mut tails: Vec<Secret> = Vec::new();
    for secret in found.drain(..) {
        while let Some(tail) = tails.pop_if(|tail| tail.range.start <= secret.range.start) {
            settled.push(tail);
        }
        match settled.last_mut() {
            Some(last) if secret.range.start < last.range.end => {
                if last.kind == Kind::SignedText && secret.range.end <= last.range.end && secret.kind != Kind::SignedText {
                    let tail = Secret { range: secret.range.end..last.range.end, ..last.clone() };
                    last.range.end = secret.range.start;
                    if last.range.is_empty() {
                        settled.pop();
                    }
                    settled.push(secret);
                    if !tail.range.is_empty() {
                        tails.push(tail);
                    }
                } else if secret.range.end > last.range.end {
                    last.range.end = secret.range.end;
                }
            }
            _ => settled.push(secret),
        }
    }
    settled.extend(tails.into_iter().rev());
    *found = settled;
}

/// Where placeholders are that redaction put for secrets.
fn placeholders(text: &[u8]) -> Vec<Range<usize>> {
    let ends = |start: usize| {
        let rest = text.get(start..).unwrap_or_default();
        start..memchr::memchr(b']', rest).map_or(text.len(), |length| start + length + 1)
    };
    memchr::memmem::find_iter(text, b"[redacted:").map(ends).collect()
}

const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'$' | b'%')
}

/// `sig=x`
const TEXT_BYTES_MIN: usize = 5;
/// No name of a secret is longer.
const NAME_BYTES_MAX: usize = 128;
/// A tag with its attributes.
const TAG_BYTES_MAX: usize = 512;
/// The lines between the name of a form's field and its value.
const PART_HEAD_BYTES_MAX: usize = 1024;
/// Indentation of JSON.
const SPACES_MAX: usize = 64;
