//! The query string of a request, decoded on demand, and percent-encoding both ways.

use std::borrow::Cow;
use std::fmt;

/// A raw query string, without its `?`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Query<'x> {
    raw: &'x [u8],
}

impl<'x> Query<'x> {
    /// Wraps the bytes after the `?`.
    pub const fn new(raw: &'x [u8]) -> Self {
        Self { raw }
    }

    /// The bytes as sent. They can hold signatures and keys.
    pub const fn raw(self) -> &'x [u8] {
        self.raw
    }

    /// Whether there is nothing after the `?`.
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Whether `Signature` stands anywhere in it: no presigned query is without it.
    pub fn mentions_signature(self) -> bool {
        let word = b"Signature";
        memchr::memchr_iter(b'S', self.raw).any(|at| self.raw.get(at..at + word.len()) == Some(word))
    }

    /// The decoded value of the first parameter of that name (names in S3 are case-sensitive); empty for a name without `=`.
    pub fn get(self, name: &str) -> Option<Cow<'x, [u8]>> {
        self.raw_pairs().find(|(have, _)| is_name(have, name, false)).map(|(_, value)| decode_form(value))
    }

    /// As [`Query::get`], ignoring the case of the name: for header names that travel as parameters.
    pub fn get_ignoring_case(self, name: &str) -> Option<Cow<'x, [u8]>> {
        self.raw_pairs().find(|(have, _)| is_name(have, name, true)).map(|(_, value)| decode_form(value))
    }

    /// Whether there is a parameter of that name, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.raw_pairs().any(|(have, _)| is_name(have, name, false))
    }

    /// All parameters in order, decoded.
    pub fn iter(self) -> impl Iterator<Item = (Cow<'x, [u8]>, Cow<'x, [u8]>)> {
        self.raw_pairs().map(|(name, value)| (decode_form(name), decode_form(value)))
    }

    /// All parameters in order, as sent. Empty pieces (`a&&b`) are passed over.
    pub fn raw_pairs(self) -> impl Iterator<Item = (&'x [u8], &'x [u8])> {
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            loop {
                let end = memchr::memchr(b'&', rest).unwrap_or(rest.len());
                let (piece, after) = rest.split_at_checked(end)?;
                rest = after.get(1..).unwrap_or_default();
                if let Some(at) = memchr::memchr(b'=', piece) {
                    return Some((piece.get(..at)?, piece.get(at + 1..)?));
                }
                if !piece.is_empty() {
                    return Some((piece, &[][..]));
                }
                if after.is_empty() {
                    return None;
                }
            }
        })
    }
}

/// Shows the length only: presigned queries are secrets.
impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({} bytes)", self.raw.len())
    }
}

/// Decodes `%XX` (RFC 3986 section 2.1). `+` stays, and so does a `%` without two hexadecimal digits after it.
pub fn decode_percent(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() { Cow::Borrowed(text) } else { Cow::Owned(decode(text, false)) }
}

/// Decodes `%XX`, and `+` as a space: the rule of form fields, which S3 uses for its query parameters.
pub(crate) fn decode_form(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() { Cow::Borrowed(text) } else { Cow::Owned(decode(text, true)) }
}

/// Encodes all but letters, digits, `-`, `.`, `_`, `~` (RFC 3986 section 2.3): the rule of query parameters.
pub fn encode_query(text: &[u8]) -> Vec<u8> {
    encode(text, false)
}

/// As [`encode_query`], and `/` stays: the rule of paths.
pub fn encode_path(text: &[u8]) -> Vec<u8> {
    encode(text, true)
}

fn encode(text: &[u8], keep_slash: bool) -> Vec<u8> {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || (keep_slash && *byte == b'/') {
            out.push(*byte);
        } else {
            let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or_default();
            out.extend([b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
    out
}

fn decode(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, tail @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                _ => out.push(b'%'),
            },
            (b'+', _) if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out
}

pub(crate) const fn hex_digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    }
}

fn is_name(have: &[u8], want: &str, ignore_case: bool) -> bool {
    let same = |have: &[u8]| if ignore_case { have.eq_ignore_ascii_case(want.as_bytes()) } else { have == want.as_bytes() };
    same(have) || (have.len() >= want.len() && same(&decode_form(have)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_order_and_bare_names_are_kept() {
        let query = Query::new(b"tagging&prefix=a%2Fb+c%20d%2B&&x=%zz%4&%75ploadId=Q%3D%3D&a=b=c");
        assert!(query.has("tagging") && !query.has("tag"));
        assert!(Query::new(b"a+name=1").has("a name"));
        assert_eq!(query.get("tagging").as_deref(), Some(&b""[..]));
        assert_eq!(query.get("prefix").as_deref(), Some(&b"a/b c d+"[..]));
        assert_eq!(query.get("x").as_deref(), Some(&b"%zz%4"[..]));
        assert_eq!(query.get("uploadId").as_deref(), Some(&b"Q=="[..]));
        assert_eq!(query.get("a").as_deref(), Some(&b"b=c"[..]));
        assert_eq!(query.get("Prefix"), None);
        assert_eq!(query.get_ignoring_case("PREFIX").as_deref(), Some(&b"a/b c d+"[..]));
        assert_eq!(query.iter().count(), 5);
    }

    #[test]
    fn percent_decoding_leaves_plus_and_broken_escapes() {
        for (sent, meant) in [("a+b", "a+b"), ("a%2Fb%2f", "a/b/"), ("%", "%"), ("%4", "%4"), ("%g1%41", "%g1A"), ("%%41", "%A")]
        {
            assert_eq!(decode_percent(sent.as_bytes()), meant.as_bytes(), "{sent}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics_and_never_grows(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            assert!(decode_percent(&bytes).len() <= bytes.len());
            let query = Query::new(&bytes);
            for (name, _) in query.iter() {
                if let Ok(name) = std::str::from_utf8(&name) {
                    assert!(query.has(name));
                }
            }
        }
    }
}
