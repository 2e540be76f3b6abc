//! Heads that a strict reader refuses: what can be read is read, and what is odd is named.

use std::ops::Range;

use crate::decode::http1::head::{Head, StartLine};
use crate::decode::http1::notes::Notes;
use crate::decode::http1::start::is_surely;
use crate::model::{Anomaly, Headers, Side, Version};

/// Reads a head, whole or cut off at any place. Where the start of a request line is known to be missing, what stands before
/// its version is taken for the end of the target.
pub(super) fn read(from: Side, text: &[u8], fields_max: usize, start_missing: bool) -> Head {
    let mut notes = Notes::default();
    let line_end = memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1);
    let line = content_of(text, 0..line_end, &mut notes);
    look_for_control(text.get(line.clone()).unwrap_or_default(), &mut notes);
    let (start, version) = match from {
        Side::Client => request_line(text, line, start_missing, &mut notes),
        Side::Server => status_line(text, line, &mut notes),
    };
    let mut headers = Headers::over(text.to_vec(), 0);
    read_fields(text, line_end, fields_max, &mut headers, &mut notes);
    Head { start, version, headers, notes }
}

/// Reads what a cut of the capture left of a start line: a request whose target is whole, or a status whose code is.
pub(super) fn read_cut_line(from: Side, text: &[u8]) -> Option<Head> {
    if from == Side::Server {
        return is_surely(from, text).then(|| read(from, text, 0, false));
    }
    let method = memchr::memchr(b' ', text)?;
    let target = method + 1 + memchr::memchr(b' ', text.get(method + 1..)?)?;
    let version = text.get(target + 1..)?;
    let is_plain = method > 0
        && target > method + 1
        && text.get(..method)?.iter().all(|&byte| is_token(byte))
        && b"HTTP/1.1\r".get(..version.len().min(7)) == version.get(..version.len().min(7));
    let start = StartLine::Request { method: 0..method, target: method + 1..target };
    let version = if version.starts_with(b"HTTP/1.0") { Version::Http10 } else { Version::Http11 };
    is_plain.then(|| Head { start, version, headers: Headers::over(text.to_vec(), 0), notes: Notes::default() })
}

/// Servers and proxies refuse or cut heads with more fields.
const FIELDS_USUAL: usize = 256;

/// Reads field lines of `text` from `at` up to an empty line, and adds them to `headers`, whose text is `text`.
pub(super) fn read_fields(text: &[u8], mut at: usize, fields_max: usize, headers: &mut Headers, notes: &mut Notes) {
    let mut last: Option<(Range<usize>, Range<usize>)> = None;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map_or(text.len(), |found| at + found + 1);
        let line = content_of(text, at..end, notes);
        at = end;
        if line.start >= line.end {
            break;
        }
        look_for_control(text.get(line.clone()).unwrap_or_default(), notes);
        if matches!(text.get(line.start), Some(b' ' | b'\t')) {
            notes.add(Anomaly::ObsoleteFold);
            if let Some((_, value)) = &mut last {
                let more = trim(text, line);
                *value = if value.start >= value.end { more } else { value.start..more.end.max(value.end) };
                continue;
            }
        }
        let Some((name, value)) = field(text, line, notes) else { continue };
        if let Some((name, value)) = last.replace((name, value)) {
            headers.push(name, value);
        }
        if headers.len() > FIELDS_USUAL {
            notes.add(Anomaly::TooManyHeaders);
        }
        if headers.len() >= fields_max {
            notes.add(Anomaly::TooManyHeaders);
            return;
        }
    }
    if let Some((name, value)) = last {
        headers.push(name, value);
    }
}

fn field(text: &[u8], line: Range<usize>, notes: &mut Notes) -> Option<(Range<usize>, Range<usize>)> {
    let bytes = text.get(line.clone())?;
    let Some(colon) = memchr::memchr(b':', bytes) else {
        notes.add(Anomaly::LineWithoutColon);
        return None;
    };
    let colon = line.start + colon;
    let name = trim(text, line.start..colon);
    if name.end != colon {
        notes.add(Anomaly::SpaceBeforeColon);
    }
    if name.start >= name.end || !text.get(name.clone())?.iter().all(|&byte| is_token(byte)) {
        notes.add(Anomaly::InvalidHeaderName);
    }
    Some((name, trim(text, colon + 1..line.end)))
}

fn request_line(text: &[u8], line: Range<usize>, start_missing: bool, notes: &mut Notes) -> (StartLine, Version) {
    let whole = trim(text, line.clone());
    let part = |range: Range<usize>| text.get(range).unwrap_or_default();
    let last_word = part(whole.clone()).iter().rposition(|&byte| is_space(byte)).map_or(whole.start, |at| whole.start + at + 1);
    let has_version = part(last_word..whole.end).get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"HTTP/"));
    let before_version = if has_version { trim(text, whole.start..last_word) } else { whole.clone() };
    let version = if has_version { version_of(part(last_word..whole.end), notes) } else { Version::Http09 };
    if start_missing {
        notes.add(Anomaly::StartMissing);
        return (StartLine::Request { method: whole.start..whole.start, target: before_version }, version);
    }
    let words = part(before_version.clone());
    let method_end = words.iter().position(|&byte| is_space(byte)).map_or(before_version.end, |at| before_version.start + at);
    let method = before_version.start..method_end;
    let target = trim(text, method_end..before_version.end);
    if !has_version {
        notes.add(Anomaly::Http09);
    }
    let spaced = |from: usize, to: usize| part(from..to) == b" ";
    let plain = whole == line
        && method.start < method.end
        && target.start < target.end
        && part(method.clone()).iter().all(|&byte| is_token(byte))
        && !part(target.clone()).iter().any(|&byte| is_space(byte) || byte.is_ascii_control())
        && spaced(method.end, target.start)
        && (!has_version || spaced(target.end, last_word));
    if !plain {
        notes.add(Anomaly::OddStartLine);
    }
    (StartLine::Request { method, target }, version)
}

fn status_line(text: &[u8], line: Range<usize>, notes: &mut Notes) -> (StartLine, Version) {
    let part = |range: Range<usize>| text.get(range).unwrap_or_default();
    let word_end = |from: usize| part(from..line.end).iter().position(|&byte| is_space(byte)).map_or(line.end, |at| from + at);
    let whole = trim(text, line.clone());
    let version_end = word_end(whole.start);
    let version = version_of(part(whole.start..version_end), notes);
    let code_start = trim(text, version_end..line.end).start;
    let code_end = word_end(code_start);
    let digits = part(code_start..code_end);
    let number = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let code = number.fold(0u16, |code, &digit| code.saturating_mul(10).saturating_add(u16::from(digit - b'0')));
    let plain = whole.start == line.start
        && digits.len() == 3
        && digits.iter().all(u8::is_ascii_digit)
        && part(version_end..code_start) == b" "
        && matches!(part(code_end..line.end), [] | [b' ', ..]);
    if !plain {
        notes.add(Anomaly::OddStartLine);
    }
    let reason = trim(text, code_end..line.end);
    (StartLine::Status { code, reason }, version)
}

fn version_of(word: &[u8], notes: &mut Notes) -> Version {
    match word {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => {
            notes.add(Anomaly::OddStartLine);
            match word.get(5..) {
                Some(b"1.0") => Version::Http10,
                Some(b"0.9") => Version::Http09,
                _ => Version::Http11,
            }
        }
    }
}

/// A line without its end, which is CR LF or a bare LF; the last line of a head that was cut off has none.
fn content_of(text: &[u8], line: Range<usize>, notes: &mut Notes) -> Range<usize> {
    match text.get(line.clone()).unwrap_or_default() {
        [.., b'\r', b'\n'] => line.start..line.end - 2,
        [.., b'\n'] => {
            notes.add(Anomaly::BareLineFeed);
            line.start..line.end - 1
        }
        _ => line,
    }
}

fn look_for_control(line: &[u8], notes: &mut Notes) {
    if memchr::memchr(0, line).is_some() {
        notes.add(Anomaly::NulInHead);
    }
    if memchr::memchr(b'\r', line).is_some() {
        notes.add(Anomaly::BareCarriageReturn);
    }
}

/// The range without white space around it; an empty range stays where it starts.
fn trim(text: &[u8], range: Range<usize>) -> Range<usize> {
    let bytes = text.get(range.clone()).unwrap_or_default();
    let Some(first) = bytes.iter().position(|&byte| !is_space(byte)) else { return range.start..range.start };
    let last = bytes.iter().rposition(|&byte| !is_space(byte)).unwrap_or(first);
    range.start + first..range.start + last + 1
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}
