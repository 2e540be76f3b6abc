//! JSON text, written member by member into one buffer: fast, and safe for bytes that come from the wire.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wide::i8x16;

use crate::model::Timestamp;
use crate::session::redact::{Shown, has_placeholder};

/// A buffer of JSON text. Commas are set by itself; brackets are the caller's duty.
#[derive(Default)]
pub(super) struct JsonText {
    text: Vec<u8>,
    comma: bool,
    clock: Clock,
}

impl JsonText {
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    /// Opens `{` or `[`.
    pub(super) fn open(&mut self, bracket: u8) {
        self.separate();
        self.text.push(bracket);
        self.comma = false;
    }

    /// Closes with `}` or `]`.
    pub(super) fn close(&mut self, bracket: u8) {
        self.text.push(bracket);
        self.comma = true;
    }

    /// Ends a record.
    pub(super) fn line_end(&mut self) {
        self.text.push(b'\n');
        self.comma = false;
    }

    /// The name of the next member: a constant without characters to escape.
    pub(super) fn key(&mut self, name: &'static str) {
        self.separate();
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        self.comma = false;
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.text.extend_from_slice(json);
        self.comma = true;
    }

    pub(super) fn null(&mut self) {
        self.raw(b"null");
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    pub(super) fn number(&mut self, value: u64) {
        self.separate();
        let mut digits = [0; 20];
        let mut rest = value;
        let mut length = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            length += 1;
            if rest == 0 {
                break;
            }
        }
        self.text.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
        self.comma = true;
    }

    /// A string of our own making, or one that is known to be text; escaped all the same.
    pub(super) fn string(&mut self, text: &str) {
        if is_plain(text.as_bytes()) {
            return self.plain(text.as_bytes());
        }
        self.separate();
        self.text.push(b'"');
        self.escape(text.as_bytes());
        self.text.push(b'"');
        self.comma = true;
    }

    /// A string that is ASCII without anything to escape.
    pub(super) fn plain(&mut self, text: &[u8]) {
        self.text.reserve(text.len() + 3);
        self.separate();
        self.text.push(b'"');
        self.text.extend_from_slice(text);
        self.text.push(b'"');
        self.comma = true;
    }

    /// A string of something that displays itself without characters to escape.
    pub(super) fn display(&mut self, value: impl Display) {
        self.separate();
        // Writing into a buffer cannot fail.
        let _ = write!(Quoted(&mut self.text), "\"{value}\"");
        self.comma = true;
    }

    /// Wire bytes: a string where they are UTF-8, else `{"base64": …}`.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if is_plain(bytes) {
            return self.plain(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.string(text),
            Err(_) => self.base64(bytes, false),
        }
    }

    /// Bytes that no string can hold. `has_placeholders` says that secrets were replaced in them.
    fn base64(&mut self, bytes: &[u8], has_placeholders: bool) {
        self.open(b'{');
        self.key("base64");
        self.string(&STANDARD.encode(bytes));
        if has_placeholders {
            self.key("placeholders");
            self.boolean(true);
        }
        self.close(b'}');
    }

    /// A value that went through redaction.
    pub(super) fn shown(&mut self, value: &Shown<'_>) {
        match value {
            Shown::Text(text) if !is_plain(text) && std::str::from_utf8(text).is_err() => {
                self.base64(text, has_placeholder(text));
            }
            Shown::Text(text) => self.bytes(text),
            Shown::Bytes(bytes) => self.base64(bytes, false),
            Shown::Redacted { kind, id } => {
                self.open(b'{');
                self.key("redacted");
                self.string(kind);
                self.key("id");
                self.string(id);
                self.close(b'}');
            }
        }
    }

    /// RFC 3339 in UTC with nine digits of the second.
    pub(super) fn time(&mut self, time: Timestamp) {
        self.separate();
        self.text.push(b'"');
        self.clock.write(time, &mut self.text);
        self.text.push(b'"');
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.text.push(b',');
        }
    }

    fn escape(&mut self, mut rest: &[u8]) {
        while let Some(at) = first_to_escape(rest) {
            let (plain, tail) = rest.split_at(at);
            self.text.extend_from_slice(plain);
            let [byte, tail @ ..] = tail else { return };
            match byte {
                b'"' => self.text.extend_from_slice(b"\\\""),
                b'\\' => self.text.extend_from_slice(b"\\\\"),
                b'\n' => self.text.extend_from_slice(b"\\n"),
                b'\r' => self.text.extend_from_slice(b"\\r"),
                b'\t' => self.text.extend_from_slice(b"\\t"),
                // Writing into a buffer cannot fail.
                _ => _ = write!(Quoted(&mut self.text), "\\u{byte:04x}"),
            }
            rest = tail;
        }
        self.text.extend_from_slice(rest);
    }
}

/// Whether all bytes are visible ASCII or SP that JSON takes as they are: nearly all text from the wire is like that, and looked
/// at sixteen bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    let are_plain = |part: &[u8; 16]| {
        // Taken as signed numbers, all beyond ASCII are less than SP.
        let octets = i8x16::new(part.map(u8::cast_signed));
        let is = |octet: u8| octets.simd_eq(i8x16::splat(octet.cast_signed()));
        let odd = octets.simd_lt(i8x16::splat(b' '.cast_signed())) | is(b'"') | is(b'\\') | is(0x7f);
        odd.to_bitmask() == 0
    };
    let (parts, rest) = text.as_chunks();
    match text.last_chunk() {
        // The last part overlaps the one before, so that nothing is left over.
        Some(last) => are_plain(last) && parts.iter().all(are_plain),
        None => rest.iter().all(|byte| byte.is_ascii() && !needs_escape(byte)),
    }
}

/// The place of the first byte that JSON wants escaped, looked for eight bytes at a time.
fn first_to_escape(text: &[u8]) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        if may_need_escape(u64::from_le_bytes(*word))
            && let Some(at) = word.iter().position(needs_escape)
        {
            return Some(index * 8 + at);
        }
    }
    tail.iter().position(needs_escape).map(|at| words.len() * 8 + at)
}

const fn needs_escape(byte: &u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f)
}

/// Whether one of eight bytes may need escaping; never false where one does.
const fn may_need_escape(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & HIGHS
    }
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let special = zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | zero(word ^ (ONES * 0x7f));
    control | special != 0
}

/// Writes times, keeping the text of the last second seen: most exchanges share it with the one before.
#[derive(Default)]
struct Clock {
    second: Option<i64>,
    prefix: Vec<u8>,
}

impl Clock {
    fn write(&mut self, time: Timestamp, text: &mut Vec<u8>) {
        let second = time.as_nanos().div_euclid(1_000_000_000);
        if self.second != Some(second) {
            // Writing into a buffer cannot fail.
            self.prefix.clear();
            let _ = write!(Quoted(&mut self.prefix), "{}", Timestamp::from_parts(second, 0));
            self.prefix.truncate(SECOND_BYTES);
            self.second = Some(second);
        }
        text.extend_from_slice(&self.prefix);
        let mut rest = time.as_nanos().rem_euclid(1_000_000_000) as u32;
        let mut digits = [0; 9];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        text.extend_from_slice(&digits);
        text.push(b'Z');
    }
}

/// Lets `write!` append to a byte buffer.
struct Quoted<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// `2026-11-23T13:27:55.`
const SECOND_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(write: impl Fn(&mut JsonText)) -> serde_json::Value {
        let mut json = JsonText::default();
        write(&mut json);
        serde_json::from_slice(json.text()).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json.text())))
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_any_reader(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let read = value(|json| json.bytes(&bytes));
            let back = match &read["base64"] {
                serde_json::Value::String(text) => STANDARD.decode(text).unwrap(),
                _ => read.as_str().unwrap().as_bytes().to_vec(),
            };
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn any_text_comes_back_and_is_one_line(text in ".{0,40}\\PC*") {
            let mut json = JsonText::default();
            json.string(&text);
            prop_assert!(!json.text().iter().any(|byte| *byte < 0x20 || *byte == 0x7f));
            prop_assert_eq!(serde_json::from_slice::<String>(json.text()).unwrap(), text);
        }

        #[test]
        fn plain_text_is_what_json_takes_as_it_is(mut bytes in prop::collection::vec(b' '..=b'~', 0..60), odd in any::<u8>(), at in 0..60_usize) {
            bytes.iter_mut().filter(|byte| needs_escape(byte)).for_each(|byte| *byte = b'x');
            prop_assert!(is_plain(&bytes));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = odd;
                prop_assert_eq!(is_plain(&bytes), odd.is_ascii() && !needs_escape(&odd));
            }
        }

        #[test]
        fn times_are_written_as_they_display(nanos in any::<i64>(), near in 0i64..3_000_000_000) {
            let mut json = JsonText::default();
            for nanos in [nanos, nanos.saturating_add(near)] {
                let time = Timestamp::from_nanos(nanos);
                json.clear();
                json.comma = false;
                json.time(time);
                prop_assert_eq!(String::from_utf8_lossy(json.text()), format!("\"{time}\""));
            }
        }

        #[test]
        fn numbers_are_written_as_they_display(number in any::<u64>()) {
            prop_assert_eq!(value(|json| json.number(number)).as_u64(), Some(number));
        }
    }

    #[test]
    fn members_are_separated() {
        let read = value(|json| {
            json.open(b'{');
            json.key("a");
            json.number(0);
            json.key("b");
            json.open(b'[');
            json.null();
            json.boolean(true);
            json.open(b'[');
            json.close(b']');
            json.display(format_args!("x.{}", 1));
            json.close(b']');
            json.close(b'}');
        });
        assert_eq!(read, serde_json::json!({"a": 0, "b": [null, true, [], "x.1"]}));
    }
}
