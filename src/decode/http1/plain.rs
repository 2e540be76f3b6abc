//! A head that every reader reads alike, as nearly all programs send it: start line, fields of one line each, CRLF behind
//! each. Whatever is taken here, httparse takes with the same result; the rest is left to it.

use crate::decode::http1::head::{FIELDS_MAX, Head, StartLine};
use crate::decode::http1::lenient::is_token;
use crate::decode::http1::marks::{BLOCK, odd_octets};
use crate::decode::http1::notes::Notes;
use crate::decode::http1::shapes::{Lines, Shapes};
use crate::model::{Headers, Side, Version};

/// Reads the head at the start of `bytes` and tells its length; `None` where it is not whole or not plain.
pub(super) fn read(from: Side, bytes: &[u8], fields_max: usize, shapes: &Shapes) -> Option<(Head, usize)> {
    let mut ends = [0; FIELDS_MAX + 1];
    let (count, length) = line_ends(bytes, &mut ends)?;
    let (first, ends) = ends.get(..count)?.split_first()?;
    if ends.len() > fields_max || length > PLAIN_BYTES_MAX {
        return None;
    }
    let (start, version) = start_line(from, bytes.get(..*first as usize)?)?;
    let lines = Lines { bytes, start: *first as usize + CRLF.len(), ends, length };
    let headers = shapes.fields(from, lines, || fields(bytes.get(..length)?, lines.start, ends))?;
    Some((Head { start, version, headers, notes: Notes::default() }, length))
}

/// The fields of lines that end at `ends`; the first starts at `start`.
fn fields(text: &[u8], start: usize, ends: &[u32]) -> Option<Headers> {
    let mut headers = Headers::over(text.to_vec(), ends.len());
    let mut start = start;
    for end in ends {
        let end = *end as usize;
        let line = text.get(start..end)?;
        let name = line.iter().take_while(|byte| is_token(**byte)).count();
        let [b':', value @ ..] = line.get(name..)? else { return None };
        if name == 0 {
            return None;
        }
        // White space around the value is none of it (RFC 9110 section 5.5).
        let value = value.trim_ascii_start();
        let from = end - value.len();
        headers.push(start..start + name, from..from + value.trim_ascii_end().len());
        start = end + CRLF.len();
    }
    Some(headers)
}

/// Fills in where each line's CR is, up to the empty line; gives how many there are, and the length of it all. `None` where
/// something else than lines of visible ASCII, SP and CRLF comes before.
#[inline(never)] // So that its loop has the registers for itself.
fn line_ends(bytes: &[u8], ends: &mut [u32; FIELDS_MAX + 1]) -> Option<(usize, usize)> {
    let (mut line, mut count, mut at) = (0, 0, 0);
    loop {
        // The LF of a CR that the block before ends with is dealt with.
        let mut odd = odd_from(bytes, at)? & !u64::from(line > at);
        while odd != 0 {
            let end = at + odd.trailing_zeros() as usize;
            if bytes.get(end..)?.first_chunk() != Some(CRLF) {
                return None;
            }
            if end == line {
                return Some((count, end + CRLF.len()));
            }
            *ends.get_mut(count)? = u32::try_from(end).ok()?;
            count += 1;
            line = end + CRLF.len();
            // Both are odd, and the lowest.
            odd &= odd - 1;
            odd &= odd.wrapping_sub(1);
        }
        at += BLOCK;
    }
}

/// The odd octets of the block at `at`; those behind the end count as odd. `None` where the block lies behind the end.
#[inline]
fn odd_from(bytes: &[u8], at: usize) -> Option<u64> {
    let rest = bytes.get(at..)?;
    if let Some(block) = rest.first_chunk() {
        return Some(odd_octets(block));
    }
    if let Some(block) = bytes.last_chunk() {
        let before = (BLOCK - rest.len()) as u32;
        return Some(!(!odd_octets(block)).checked_shr(before).unwrap_or(0));
    }
    let mut block = [0; BLOCK];
    block.get_mut(..rest.len())?.copy_from_slice(rest);
    Some(odd_octets(&block))
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
/// Octets of a plain head.
const PLAIN_BYTES_MAX: usize = 1 << 20;
const VERSION_BYTES: usize = b"HTTP/1.1".len();

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use std::sync::OnceLock;

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
    /// Those of all tests, so that what one has seen meets the heads of the others.
    fn shapes() -> &'static Shapes {
        static SHAPES: OnceLock<Shapes> = OnceLock::new();
        SHAPES.get_or_init(Shapes::default)
    }

    fn agrees(from: Side, bytes: &[u8], fields_max: usize) -> bool {
        let Some((head, length)) = read(from, bytes, fields_max, shapes()) else { return false };
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
            assert!(read(Side::Client, head.as_bytes(), 64, shapes()).is_none(), "{head}");
        }
    }

    #[test]
    fn heads_of_shapes_that_were_seen_are_read_alike() {
        let long = "x-amz-server-side-encryption-aws-kms-key-id";
        let heads = [
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}: arn\r\nDate: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}x: arn\r\nDate: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{}: arn\r\nDate: x\r\n\r\n", long.to_uppercase()),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}: arn\r\nDate: a longer value than the others have it\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}:arn\r\nDate: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}:  arn \r\nDate: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}: \r\nDate: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: s3\r\n{long}: a:b\r\nDate: x\r\n\r\n and a body"),
            "GET / HTTP/1.1\r\nHost: s3\r\nx: y\r\nDate: x\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: s3\r\nx y: y\r\nDate: x\r\n\r\n".to_owned(),
        ];
        for turn in 0..60 {
            // Each after each other one, and each many times in a row.
            for (head, repeats) in heads.iter().zip((0..heads.len()).cycle().skip(turn)) {
                for _ in 0..repeats {
                    assert_eq!(agrees(Side::Client, head.as_bytes(), 64), !head.contains("x y"), "{head}");
                }
            }
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
            assert!(read(Side::Client, head, 64, shapes()).is_none(), "{:?}", head.escape_ascii().to_string());
        }
        for head in
            [&b"HTTP/1.1 2000 OK\r\n\r\n"[..], b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 20x\r\n\r\n", b"ICY 200 OK\r\n\r\n"]
        {
            assert!(read(Side::Server, head, 64, shapes()).is_none(), "{:?}", head.escape_ascii().to_string());
        }
        assert!(read(Side::Client, b"GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n", 1, shapes()).is_none());
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
