//! A head that every reader reads alike, as nearly all programs send it: start line, fields of one line each, CRLF behind
//! each. Whatever is taken here, httparse takes with the same result; the rest is left to it.

use crate::decode::http1::head::{FIELDS_MAX, Head, StartLine};
use crate::decode::http1::lenient::is_token;
use crate::decode::http1::marks::{BLOCK, Marks, marks};
use crate::decode::http1::notes::Notes;
use crate::model::{HeaderName, Headers, Side, Version};

/// Reads the head at the start of `bytes` and tells its length; `None` where it is not whole or not plain.
pub(super) fn read(from: Side, bytes: &[u8], fields_max: usize) -> Option<(Head, usize)> {
    let mut colons = [0; BLOCKS_MAX];
    let mut ends = [0; FIELDS_MAX + 1];
    let (count, length) = lines(bytes, &mut ends, &mut colons)?;
    let (first, ends) = ends.get(..count)?.split_first()?;
    let text = bytes.get(..length)?;
    if ends.len() > fields_max {
        return None;
    }
    let (start, version) = start_line(from, text.get(..*first as usize)?)?;
    let headers = fields(text, *first as usize + CRLF.len(), ends, &colons)?;
    Some((Head { start, version, headers, notes: Notes::default() }, length))
}

/// The fields of lines that end at `ends`; the first starts at `start`.
#[inline(never)] // Few values live here, so that they stay in registers.
fn fields(text: &[u8], start: usize, ends: &[u32], colons: &[u64; BLOCKS_MAX]) -> Option<Headers> {
    let mut headers = Headers::over(text.to_vec(), ends.len());
    let mut start = start;
    for end in ends {
        let end = *end as usize;
        let colon = first_from(start, colons)?;
        let (name, rest) = text.get(start..end)?.split_at_checked(colon.checked_sub(start)?)?;
        let known = HeaderName::recognise(name);
        if known == HeaderName::Other && (name.is_empty() || !name.iter().all(|byte| is_token(*byte))) {
            return None;
        }
        // White space around the value is none of it (RFC 9110 section 5.5); nearly always it is one SP before it.
        let value = match rest {
            [] => return None,
            [_, b' ', first, .., last] if *first != b' ' && *last != b' ' => colon + 2..end,
            [_, value @ ..] => {
                let trimmed = value.trim_ascii_start();
                let from = end - trimmed.len();
                from..from + trimmed.trim_ascii_end().len()
            }
        };
        headers.push_known(known, start..colon, value);
        start = end + CRLF.len();
    }
    Some(headers)
}

/// Fills in where the CR of each line is, up to the empty line, and the marks of colons, by block; gives how many lines there
/// are, and the length of it all. `None` where something else than lines of visible ASCII, SP and CRLF comes before.
fn lines(bytes: &[u8], ends: &mut [u32; FIELDS_MAX + 1], colons: &mut [u64; BLOCKS_MAX]) -> Option<(usize, usize)> {
    let (mut line, mut count, mut at) = (0, 0, 0);
    for colons in colons {
        let mut marks = block_marks(bytes, at)?;
        *colons = marks.colons;
        // The LF of a CR that the block before ends with.
        marks.odd &= !u64::from(line > at);
        while marks.odd != 0 {
            let end = at + marks.odd.trailing_zeros() as usize;
            if bytes.get(end..)?.first_chunk() != Some(CRLF) {
                return None;
            }
            if end == line {
                return Some((count, end + CRLF.len()));
            }
            *ends.get_mut(count)? = end as u32;
            count += 1;
            line = end + CRLF.len();
            // Both are odd, and the lowest.
            marks.odd &= marks.odd - 1;
            marks.odd &= marks.odd.wrapping_sub(1);
        }
        at += BLOCK;
    }
    None
}

/// The marks of the block at `at`. What lies behind the end counts as odd.
#[inline]
fn block_marks(bytes: &[u8], at: usize) -> Option<Marks> {
    let rest = bytes.get(at..)?;
    if let Some(block) = rest.first_chunk() {
        return Some(marks(block));
    }
    if let Some(block) = bytes.last_chunk() {
        let before = (BLOCK - rest.len()) as u32;
        let Marks { odd, colons } = marks(block);
        let all = u64::MAX.checked_shr(before).unwrap_or(0);
        return Some(Marks { odd: odd.checked_shr(before).unwrap_or(0) | !all, colons: colons.checked_shr(before).unwrap_or(0) });
    }
    let mut block = [0; BLOCK];
    block.get_mut(..rest.len())?.copy_from_slice(rest);
    Some(marks(&block))
}

/// The first marked octet at `at` or behind it.
#[inline]
fn first_from(at: usize, marks: &[u64; BLOCKS_MAX]) -> Option<usize> {
    let (mut block, mut bits) = (at / BLOCK, marks.get(at / BLOCK)? >> (at % BLOCK) << (at % BLOCK));
    while bits == 0 {
        block += 1;
        bits = *marks.get(block)?;
    }
    Some(block * BLOCK + bits.trailing_zeros() as usize)
}

fn start_line(from: Side, line: &[u8]) -> Option<(StartLine, Version)> {
    match from {
        Side::Client => {
            let (rest, version) = line.split_at_checked(line.len().checked_sub(VERSION_BYTES)?)?;
            let (rest, version) = (rest.strip_suffix(b" ")?, version_of(version)?);
            let method = rest.iter().position(|byte| !byte.is_ascii_uppercase())?;
            let target = rest.get(method..)?.strip_prefix(b" ")?;
            // All octets are visible or blank by now.
            let is_one_word = !target.is_empty() && memchr::memchr(b' ', target).is_none();
            (method > 0 && is_one_word)
                .then_some((StartLine::Request { method: 0..method, target: method + 1..rest.len() }, version))
        }
        Side::Server => {
            let version = version_of(line.get(..VERSION_BYTES)?)?;
            let (code, rest) = line.get(VERSION_BYTES..)?.strip_prefix(b" ")?.split_first_chunk::<3>()?;
            let is_code = code.iter().all(u8::is_ascii_digit) && matches!(rest.first(), None | Some(b' '));
            let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
            let reason = line.len() - rest.len() + usize::from(!rest.is_empty())..line.len();
            is_code.then_some((StartLine::Status { code, reason }, version))
        }
    }
}

fn version_of(word: &[u8]) -> Option<Version> {
    match word {
        b"HTTP/1.1" => Some(Version::Http11),
        b"HTTP/1.0" => Some(Version::Http10),
        _ => None,
    }
}

const CRLF: &[u8; 2] = b"\r\n";
/// Blocks of a plain head.
const BLOCKS_MAX: usize = 64;
const VERSION_BYTES: usize = b"HTTP/1.1".len();

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::decode::http1::head::{Parsed, parse_odd};
    use proptest::prelude::*;

    /// What a head is, to be compared.
    type Read = (Version, Vec<u8>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Notes, usize);

    fn told(head: &Head, length: usize) -> Read {
        let text = head.headers.text();
        let part = |range: &Range<usize>| text.get(range.clone()).unwrap().to_vec();
        let (first, second) = match &head.start {
            StartLine::Request { method, target } => (part(method), part(target)),
            StartLine::Status { code, reason } => (code.to_string().into_bytes(), part(reason)),
        };
        let fields = head.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        (head.version, first, second, fields, head.notes, length)
    }

    /// Holds a plain reading to that of httparse; tells whether it was plain.
    fn agrees(from: Side, bytes: &[u8], fields_max: usize) -> bool {
        let Some((head, length)) = read(from, bytes, fields_max) else { return false };
        let Parsed::Whole(expected, expected_length) = parse_odd(from, bytes, fields_max) else {
            panic!("only plain: {:?}", bytes.escape_ascii().to_string())
        };
        assert_eq!(told(&head, length), told(&expected, expected_length), "{:?}", bytes.escape_ascii().to_string());
        assert!(head.headers.names() == expected.headers.names());
        true
    }

    #[test]
    fn usual_heads_are_plain() {
        let put = b"PUT /b/k%20?partNumber=1&uploadId=x HTTP/1.1\r\nHost: s3:9000\r\nX-Odd_Name:  v \r\nexpect:100-continue\r\nEmpty:\r\nBlank: \r\n\r\nbody";
        assert!(agrees(Side::Client, put, 64));
        assert!(agrees(Side::Client, b"GET / HTTP/1.0\r\n\r\n", 0));
        assert!(agrees(Side::Server, b"HTTP/1.1 206 Partial Content\r\nETag: \"x\"\r\nServer: ~\r\n\r\n", 64));
        assert!(agrees(Side::Server, b"HTTP/1.0 204\r\nte:x y\r\n\r\n", 64));
    }

    #[test]
    fn lines_are_read_alike_wherever_blocks_meet() {
        for pad in 0..200 {
            let (pad, colons) = ("p".repeat(pad), ":".repeat(pad % 7));
            let head = format!("GET /{pad} HTTP/1.1\r\nHost: s3:9000\r\n{pad}x: {colons}y\r\nDate:{pad}\r\n{pad}e:\r\n\r\nbody");
            assert!(agrees(Side::Client, head.as_bytes(), 64), "{head}");
            let head = format!("HTTP/1.1 200 {pad}\r\nServer: x\r\nVary: {pad}\r\n\r\n");
            assert!(agrees(Side::Server, head.as_bytes(), 64), "{head}");
            let head = format!("GET /{pad} HTTP/1.1\r\nHost: s3\r\n{pad}x y:z\r\n{pad}\r\n\r\n");
            assert!(read(Side::Client, head.as_bytes(), 64).is_none(), "{head}");
        }
    }

    #[test]
    fn what_readers_may_differ_on_is_not_plain() {
        for head in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n"[..],
            b"GET / HTTP/1.1\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \x7f\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \xff\xff\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:\tx\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n: x\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.2\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"\r\n",
        ] {
            assert!(read(Side::Client, head, 64).is_none(), "{:?}", head.escape_ascii().to_string());
        }
        for head in
            [&b"HTTP/1.1 2000 OK\r\n\r\n"[..], b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 20x\r\n\r\n", b"ICY 200 OK\r\n\r\n"]
        {
            assert!(read(Side::Server, head, 64).is_none(), "{:?}", head.escape_ascii().to_string());
        }
        assert!(read(Side::Client, b"GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n", 1).is_none());
    }

    proptest! {
        #[test]
        fn no_plain_reading_differs_from_that_of_httparse(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "GET ", "PUT /b/k", " HTTP/1.1", "HTTP/1.1 ", "HTTP/1.0", "200", " OK", "\r\n", "\r\n", "\r\n", "Host", ":", ": ", ":\t",
                " ", "\t", "\n", "\r", "\u{7f}", "\u{0}", "x-amz-date", "X_y", "value", "\u{e4}", "(", "te", "\u{1f}", "/",
            ]), 0..24),
            fields_max in 0..5_usize,
        ) {
            let text = pieces.concat();
            for start in ["", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n"] {
                let bytes = format!("{start}{text}\r\n\r\n").into_bytes();
                agrees(Side::Client, &bytes, fields_max);
                agrees(Side::Server, &bytes, fields_max);
            }
        }
    }
}
