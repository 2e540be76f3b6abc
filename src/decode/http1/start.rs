//! Whether some octets start an HTTP/1 message.

use crate::decode::http1::lenient::is_token;
use crate::model::Side;

/// Whether the start of a stream looks like HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It does.
    Yes,
    /// More octets are needed to tell.
    Unsure,
    /// It does not.
    No,
}

/// Tells whether the start of a stream looks like HTTP/1 from this side: lenient to odd but real HTTP, strict enough to
/// refuse TLS, HTTP/2, RTSP, SIP and the greetings of SMTP, FTP and SSH. At most 16 KiB are needed.
pub fn probe(from: Side, start: &[u8]) -> Probe {
    let blank = start.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let start = start.get(blank..).unwrap_or_default();
    if start.is_empty() {
        return Probe::Unsure;
    }
    match from {
        Side::Client => probe_request(start),
        Side::Server => probe_status(start),
    }
}

/// Tells whether octets start with a whole start line that only this side sends: strict enough to tell the roles of two
/// sides that were taken for each other.
pub fn is_surely(from: Side, bytes: &[u8]) -> bool {
    match from {
        Side::Client => is_plain_request(bytes),
        Side::Server => is_status_line(bytes) == Probe::Yes,
    }
}

/// The stricter test for places found by searching: a whole request line, or the start of a whole status line.
pub(super) fn is_start(from: Side, bytes: &[u8]) -> Probe {
    match from {
        Side::Client => is_request_line(bytes),
        Side::Server => is_status_line(bytes),
    }
}

/// Whether the octets start with a whole request line of a common method, which no cut of another request line does.
pub(super) fn is_plain_request(bytes: &[u8]) -> bool {
    METHODS.iter().any(|word| bytes.strip_prefix(*word).is_some_and(|rest| rest.starts_with(b" ")))
        && is_request_line(bytes) == Probe::Yes
}

/// Whether a line, up to its LF, is the end of a request line: it ends in a version.
pub(super) fn ends_request_line(bytes: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'\n', bytes.get(..LINE_MAX.min(bytes.len())).unwrap_or_default()) else { return false };
    let line = bytes.get(..end).unwrap_or_default();
    is_text(line) && [b" HTTP/1.1\r", b" HTTP/1.0\r"].iter().any(|version| line.ends_with(*version))
}

/// The first octets of an HTTP/2 connection (RFC 9113 section 3.4), as far as they tell it from a request.
pub(super) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// The longest request line that is waited for before it is known to be one.
pub(super) const LINE_MAX: usize = 16 << 10;

const METHODS: [&[u8]; 9] = [b"GET", b"PUT", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];

fn probe_request(start: &[u8]) -> Probe {
    if start.starts_with(HTTP2_PREFACE) {
        return Probe::No;
    }
    let window = start.get(..LINE_MAX.min(start.len())).unwrap_or_default();
    let line_end = memchr::memchr(b'\n', window);
    let line = window.get(..line_end.unwrap_or(window.len())).unwrap_or_default();
    let method = line.split(|&byte| byte == b' ' || byte == b'\t').next().unwrap_or_default();
    let target = line.get(method.len() + 1..).unwrap_or_default();
    let known = METHODS.iter().any(|word| word.eq_ignore_ascii_case(method));
    if known && (target.starts_with(b"/") || target.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"http://"))) {
        return Probe::Yes;
    }
    // White space or oddities may stand before the method, but what is no text at all is no request.
    if !is_text(line.get(..16.min(line.len())).unwrap_or_default()) {
        return Probe::No;
    }
    // The answer must not depend on whether the end of the line is here already.
    match line_end {
        _ if !is_text(line) => Probe::No,
        Some(_) if has_version(line) => Probe::Yes,
        Some(_) => Probe::No,
        None if window.len() == LINE_MAX => Probe::No,
        None => Probe::Unsure,
    }
}

/// Whether the last word of a line is an HTTP version, in any case and with any 0.x, 1.x or 2.x number.
fn has_version(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let word = line.rsplit(|&byte| byte == b' ' || byte == b'\t').next().unwrap_or_default();
    let number = word.get(5..).unwrap_or_default();
    word.len() < line.len() && word.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/")) && number.contains(&b'.')
}

/// Status lines may have white space before them; their version and code are judged later.
fn probe_status(start: &[u8]) -> Probe {
    let blank = start.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let start = start.get(blank.min(16)..).unwrap_or_default();
    let name = b"HTTP/";
    let length = start.len().min(name.len());
    if !start.get(..length).unwrap_or_default().eq_ignore_ascii_case(name.get(..length).unwrap_or_default()) {
        return Probe::No;
    }
    match start.get(name.len()) {
        None => Probe::Unsure,
        Some(b'0' | b'1' | b'2') => Probe::Yes,
        Some(_) => Probe::No,
    }
}

fn is_request_line(bytes: &[u8]) -> Probe {
    let method = bytes.iter().take(METHOD_MAX + 1).take_while(|&&byte| is_token(byte)).count();
    if method > METHOD_MAX || !bytes.iter().take(method).any(u8::is_ascii_alphabetic) && method > 0 {
        return Probe::No;
    }
    match bytes.get(method) {
        None => return Probe::Unsure,
        Some(b' ') if method > 0 => {}
        Some(_) => return Probe::No,
    }
    let window = bytes.get(..LINE_MAX.min(bytes.len())).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() < LINE_MAX && is_text(window) { Probe::Unsure } else { Probe::No };
    };
    if ends_request_line(bytes.get(..=end).unwrap_or_default()) { Probe::Yes } else { Probe::No }
}

const METHOD_MAX: usize = 24;

fn is_status_line(bytes: &[u8]) -> Probe {
    let name = b"HTTP/1.";
    let length = bytes.len().min(name.len());
    if bytes.get(..length) != name.get(..length) {
        return Probe::No;
    }
    match bytes.get(7..).unwrap_or_default() {
        [b'0' | b'1', b' ', code @ ..] => match code {
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ' | b'\r' | b'\n', ..] => Probe::Yes,
            [] | [b'1'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => Probe::Unsure,
            _ => Probe::No,
        },
        [] | [b'0' | b'1'] => Probe::Unsure,
        _ => Probe::No,
    }
}

/// No control octets but white space.
fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte >= 0x20 && byte != 0x7f || matches!(byte, b'\t' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_other_protocols() {
        use Probe::{No, Unsure, Yes};
        for (client, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Yes),
            (b"GET /", Yes),
            (b"\r\nGET /", Yes),
            (b"GE", Unsure),
            (b"", Unsure),
            (b"\r\n", Unsure),
            (b"get /x\r\n", Yes),
            (b"FROBNICATE x HTTP/1.1\r\n", Yes),
            (b" GET / HTTP/1.1\r\n", Yes),
            (b"FROBNICATE x", Unsure),
            (b"CONNECT s3:443 HTTP/1.1\r\n", Yes),
            (b"OPTIONS * HTTP/1.1\r\n", Yes),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", No),
            (b"DESCRIBE rtsp://h/x RTSP/1.0\r\n", No),
            (b"OPTIONS sip:a@b SIP/2.0\r\n", No),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", No),
            (b"EHLO example.org\r\n", No),
            (b"USER anonymous\r\n", No),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", No),
            (b"\x00\x00\x00\x85\xffSMBr", No),
        ] {
            assert_eq!(probe(Side::Client, client), expected, "{:?}", client.escape_ascii().to_string());
        }
        for (server, expected) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Yes),
            (b"http/1.0 200", Yes),
            (b"HTT", Unsure),
            (b"\r\nHTTP/1", Yes),
            (b"RTSP/1.0 200 OK\r\n", No),
            (b"SIP/2.0 200 OK\r\n", No),
            (b"220 smtp.example.org ESMTP\r\n", No),
            (b"SSH-2.0-OpenSSH\r\n", No),
            (b"\x16\x03\x03", No),
        ] {
            assert_eq!(probe(Side::Server, server), expected, "{:?}", server.escape_ascii().to_string());
        }
    }
}
