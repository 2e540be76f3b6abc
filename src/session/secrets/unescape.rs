//! Resolves the escapes of URLs, JSON, logs, XML and HTML in a text, nested and mixed as they come, and remembers where each
//! byte was: what is found in the resolved text is masked where it was sent.
//!
//! One pass, one rule: whenever the end of what was resolved so far reads as an escape, the byte that it means takes its
//! place, and may end an escape itself. So `%253D`, `&amp;#61;` and `\\u003d` all become `=`.

use std::borrow::Cow;
use std::ops::Range;

/// A text with its escapes resolved.
pub struct Unescaped<'t> {
    bytes: Cow<'t, [u8]>,
    runs: Vec<Run>,
}

/// Resolves bytes as they come. What has begun as an escape is resolved once its end comes.
#[derive(Default)]
pub(super) struct Resolver {
    pub(super) bytes: Vec<u8>,
    runs: Vec<Run>,
    /// Whether spellings that mean the same are made equal, see [`fold`].
    folds: bool,
}

/// Resolved bytes that come from one place: many plain ones, or one escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// The first of them in the resolved text.
    at: usize,
    /// Where it comes from.
    start: u64,
    /// How many bytes it was; 1 for plain ones.
    width: u32,
    depth: Depth,
}

/// In how many escapes a byte was wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Depth {
    /// Percent-encodings.
    pub(super) percent: u8,
    /// Backslashes and entities.
    pub(super) other: u8,
}

impl<'t> Unescaped<'t> {
    /// Resolves a text. One without escapes is not copied.
    pub fn new(text: &'t [u8]) -> Self {
        if memchr::memchr3(b'%', b'\\', b'&', text).is_none() {
            return Self { bytes: Cow::Borrowed(text), runs: Vec::new() };
        }
        let mut resolver = Resolver::default();
        resolver.push(0, text);
        if resolver.bytes.len() == text.len() {
            return Self { bytes: Cow::Borrowed(text), runs: Vec::new() };
        }
        Self { bytes: Cow::Owned(resolver.bytes), runs: resolver.runs }
    }

    /// A text whose escapes are left as they are.
    pub(super) const fn plain(text: &'t [u8]) -> Self {
        Self { bytes: Cow::Borrowed(text), runs: Vec::new() }
    }

    /// The resolved bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where resolved bytes come from in the text.
    pub fn origin(&self, range: Range<usize>) -> Range<usize> {
        if self.runs.is_empty() {
            return range;
        }
        let origin = origin(&self.runs, range);
        usize::try_from(origin.start).unwrap_or(0)..usize::try_from(origin.end).unwrap_or(0)
    }

    /// In how many escapes the byte at `at` was wrapped.
    pub(super) fn depth(&self, at: usize) -> Depth {
        run_of(&self.runs, at).map_or(Depth::default(), |run| run.depth)
    }

    /// Whether any byte was an escape.
    pub(super) fn is_changed(&self) -> bool {
        !self.runs.is_empty()
    }
}

impl Resolver {
    /// One that makes spellings equal: what is searched for and what is searched go through it both.
    pub(super) fn folding() -> Self {
        Self { folds: true, ..Self::default() }
    }

    /// Resolves the next bytes, which are at `offset` of their stream.
    pub(super) fn push(&mut self, offset: u64, data: &[u8]) {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let from = offset + at as u64;
            if self.may_end_escape() {
                self.push_byte(from, rest);
                at += 1;
                continue;
            }
            let plain = memchr::memchr3(b'%', b'\\', b'&', rest).map_or(rest.len(), |start| start + 1);
            self.push_plain(from, rest.get(..plain).unwrap_or(rest));
            at += plain;
        }
    }

    /// Where resolved bytes come from.
    pub(super) fn origin(&self, range: Range<usize>) -> Range<u64> {
        origin(&self.runs, range)
    }

    /// Forgets the first resolved bytes.
    pub(super) fn drop_first(&mut self, count: usize) {
        let count = count.min(self.bytes.len());
        if count == self.bytes.len() {
            self.clear();
            return;
        }
        let first = self.runs.partition_point(|run| run.at <= count).saturating_sub(1);
        self.bytes.drain(..count);
        self.runs.drain(..first);
        for run in &mut self.runs {
            if run.at < count {
                run.start += (count - run.at) as u64;
            }
            run.at = run.at.saturating_sub(count);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }

    /// Whether an escape has begun that the next byte may continue.
    pub(super) fn may_end_escape(&self) -> bool {
        self.begun().is_some()
    }

    /// How many of the last bytes may be the beginning of an escape.
    pub(super) fn begun(&self) -> Option<usize> {
        let tail = self.bytes.get(self.bytes.len().saturating_sub(ESCAPE_BYTES_MAX - 1)..).unwrap_or_default();
        let at = memchr::memrchr3(b'%', b'\\', b'&', tail)?;
        let begun = tail.get(at..).unwrap_or_default();
        may_become_escape(begun).then_some(begun.len())
    }

    fn push_plain(&mut self, from: u64, plain: &[u8]) {
        let continues = self.runs.last().is_some_and(|run| {
            run.width == 1 && run.depth == Depth::default() && run.start + (self.bytes.len() - run.at) as u64 == from
        });
        if !continues {
            self.runs.push(Run { at: self.bytes.len(), start: from, width: 1, depth: Depth::default() });
        }
        if self.folds {
            self.bytes.extend(plain.iter().map(|byte| fold(*byte)));
        } else {
            self.bytes.extend_from_slice(plain);
        }
    }

    fn push_byte(&mut self, from: u64, rest: &[u8]) {
        self.push_plain(from, rest.get(..1).unwrap_or_default());
        while let Some((length, byte, is_percent)) = self.begun_or_whole() {
            let at = self.bytes.len() - length;
            let origin = self.origin(at..self.bytes.len());
            let mut depth = Depth::default();
            for place in at..self.bytes.len() {
                let own = run_of(&self.runs, place).map_or(Depth::default(), |run| run.depth);
                depth = Depth { percent: depth.percent.max(own.percent), other: depth.other.max(own.other) };
            }
            let raised = if is_percent { &mut depth.percent } else { &mut depth.other };
            *raised = raised.saturating_add(1);
            self.bytes.truncate(at);
            let kept = self.runs.partition_point(|run| run.at < at);
            self.runs.truncate(kept);
            let width = u32::try_from(origin.end - origin.start).unwrap_or(u32::MAX);
            self.runs.push(Run { at, start: origin.start, width, depth });
            self.bytes.push(if self.folds { fold(byte) } else { byte });
        }
    }

    /// The escape that ends the resolved text: its length, its meaning, and whether it is a percent-encoding.
    fn begun_or_whole(&self) -> Option<(usize, u8, bool)> {
        let tail = self.bytes.get(self.bytes.len().saturating_sub(ESCAPE_BYTES_MAX)..).unwrap_or_default();
        let last = tail.get(..tail.len().checked_sub(1)?)?;
        let at = memchr::memrchr3(b'%', b'\\', b'&', last)?;
        let escape = tail.get(at..)?;
        Some((escape.len(), meaning(escape)?, escape.first() == Some(&b'%')))
    }
}

fn run_of(runs: &[Run], at: usize) -> Option<&Run> {
    runs.get(runs.partition_point(|run| run.at <= at).checked_sub(1)?)
}

fn origin(runs: &[Run], range: Range<usize>) -> Range<u64> {
    let of = |at: usize| {
        let Some(run) = run_of(runs, at) else { return at as u64..at as u64 + 1 };
        let start = if run.width == 1 { run.start + (at - run.at) as u64 } else { run.start };
        start..start + u64::from(run.width)
    };
    let start = of(range.start).start;
    if range.is_empty() { start..start } else { start..of(range.end - 1).end }
}

/// What a whole escape means.
fn meaning(escape: &[u8]) -> Option<u8> {
    match *escape {
        [b'%', high, low] => Some(hex(high)? << 4 | hex(low)?),
        [b'\\', b'u' | b'U', b'0', b'0', high, low] | [b'\\', b'x' | b'X', high, low] => Some(hex(high)? << 4 | hex(low)?),
        [b'\\', byte @ (b'"' | b'\'' | b'\\' | b'/')] => Some(byte),
        [b'\\', b'n'] => Some(b'\n'),
        [b'\\', b'r'] => Some(b'\r'),
        [b'\\', b't'] => Some(b'\t'),
        [b'&', b'#', b'x' | b'X', ref digits @ .., b';'] if !digits.is_empty() => number(digits, 16),
        [b'&', b'#', ref digits @ .., b';'] if !digits.is_empty() => number(digits, 10),
        [b'&', ref name @ .., b';'] => {
            ENTITIES.iter().find(|(have, _)| have.as_bytes().eq_ignore_ascii_case(name)).map(|(_, byte)| *byte)
        }
        _ => None,
    }
}

/// Whether more bytes may make an escape of these.
fn may_become_escape(begun: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match begun {
        [b'%', digits @ ..] => digits.len() < 2 && is_hex(digits),
        [b'\\'] => true,
        [b'\\', b'u' | b'U', digits @ ..] => digits.len() < 4 && is_hex(digits),
        [b'\\', b'x' | b'X', digits @ ..] => digits.len() < 2 && is_hex(digits),
        [b'&', name @ ..] => {
            begun.len() < ESCAPE_BYTES_MAX && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#')
        }
        _ => false,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

fn hex(letter: u8) -> Option<u8> {
    (letter as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Gives one byte to all that writers put for it: letters in any case (hexadecimal digits, names), the two alphabets of base64
/// (RFC 4648 sections 4 and 5), and the space that a form makes of `+`.
pub(super) const fn fold(byte: u8) -> u8 {
    match byte {
        b'-' | b' ' => b'+',
        b'_' => b'/',
        _ => byte.to_ascii_lowercase(),
    }
}

/// Those of XML (section 4.6), and those of HTML that stand for bytes of base64 and URLs.
const ENTITIES: &[(&str, u8)] = &[
    ("amp", b'&'),
    ("lt", b'<'),
    ("gt", b'>'),
    ("quot", b'"'),
    ("apos", b'\''),
    ("plus", b'+'),
    ("equals", b'='),
    ("sol", b'/'),
    ("percnt", b'%'),
    ("num", b'#'),
    ("colon", b':'),
    ("quest", b'?'),
    ("commat", b'@'),
];

/// `&#x0000041;` has zeros that nobody needs; longer is no escape.
const ESCAPE_BYTES_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_resolved_however_they_are_nested_and_mixed() {
        for text in [
            "a+/=b",
            "a%2B%2f%3Db",
            "a%252B%25252F%253db",
            r"a\u002b\/\u003Db",
            r"a\\u002b\\/=b",
            r"a\x2B\x2f\x3db",
            "a&#43;&#x2F;&#61;b",
            "a&amp;#43;&amp;#x2f;&equals;b",
            "%61&#43;/%3&#68;b",
            "&#97;%2B%2F=%62",
        ] {
            let plain = Unescaped::new(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(plain.bytes()), "a+/=b", "{text}");
            assert_eq!(plain.origin(0..5), 0..text.len(), "{text}");
        }
        for text in ["100%", "%zz", "a & b", "&unknown;", r"C:\dir", "%", "\\", "&#;", "&#999;"] {
            assert!(!Unescaped::new(text.as_bytes()).is_changed(), "{text}");
        }
    }

    #[test]
    fn a_resolved_byte_knows_where_it_was_and_how_deep() {
        let text = br"x%3D%253D\u0026&amp;y";
        let plain = Unescaped::new(text);
        assert_eq!(plain.bytes(), b"x==&&y");
        let origins: Vec<_> = (0..6).map(|at| plain.origin(at..at + 1)).collect();
        assert_eq!(origins, [0..1, 1..4, 4..9, 9..15, 15..20, 20..21]);
        let depths: Vec<_> = (0..6).map(|at| (plain.depth(at).percent, plain.depth(at).other)).collect();
        assert_eq!(depths, [(0, 0), (1, 0), (2, 0), (0, 1), (0, 1), (0, 0)]);
    }

    proptest! {
        #[test]
        fn any_cutting_resolves_to_the_same(
            text in prop::collection::vec(prop::sample::select(b"%25\\u04&#x;abAB/".to_vec()), 0..60),
            cut in 0usize..60,
            dropped in 0usize..60,
        ) {
            let cut = cut.min(text.len());
            let (mut whole, mut parts) = (Resolver::folding(), Resolver::folding());
            whole.push(7, &text);
            parts.push(7, &text[..cut]);
            parts.push(7 + cut as u64, &text[cut..]);
            prop_assert_eq!(&whole.bytes, &parts.bytes);
            let origins = |resolver: &Resolver, from: usize| -> Vec<_> {
                (from..resolver.bytes.len()).map(|at| resolver.origin(at..at + 1)).collect()
            };
            prop_assert_eq!(origins(&whole, 0), origins(&parts, 0));
            let dropped = dropped.min(whole.bytes.len());
            let expected = (whole.bytes[dropped..].to_vec(), origins(&whole, dropped));
            whole.drop_first(dropped);
            prop_assert_eq!((whole.bytes.clone(), origins(&whole, 0)), expected);
        }
    }
}
