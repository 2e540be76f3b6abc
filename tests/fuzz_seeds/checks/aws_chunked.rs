//! Bodies in aws-chunked framing: any cutting gives the same, what was framed comes back, and a simple reader agrees.

use hopwire::s3::aws_chunked::{Decoder, Mode, Summary};

use super::bytes::{Bytes, cut};

/// The first octet tells the mode, and whether the rest is a framed body or an object that is to be framed.
pub fn aws_chunked(input: &[u8]) {
    let mut rest = Bytes(input);
    let first = rest.byte();
    let mode = [Mode::Signed, Mode::SignedTrailer, Mode::UnsignedTrailer][usize::from(first) % 3];
    if first & 0x80 == 0 {
        check_cutting(mode, rest.0, input);
    } else {
        let sizes: Vec<_> = (0..4).map(|_| usize::from(rest.byte()) + 1).collect();
        check_round_trip(mode, rest.0, &sizes, input);
    }
}

fn check_cutting(mode: Mode, body: &[u8], input: &[u8]) {
    let (object, summary) = decode(mode, |piece| piece(body));
    assert_eq!(object.len() as u64, summary.object_bytes);
    let (cut_object, cut_summary) = decode(mode, |piece| cut(body, input, piece));
    assert!(object == cut_object, "the object depends on the cutting");
    assert_eq!(summary, cut_summary, "the account depends on the cutting");
    if let Some(naive) = naive(mode, body) {
        assert!(summary.is_complete && summary.malformed.is_none(), "{summary:?}, where a simple reader finds nothing wrong");
        assert!(object == naive, "the object differs from that of a simple reader");
    }
}

fn check_round_trip(mode: Mode, object: &[u8], sizes: &[usize], input: &[u8]) {
    let framed = frame(mode, object, sizes);
    let (back, summary) = decode(mode, |piece| cut(&framed, input, piece));
    assert!(back == object, "{} octets were framed, {} came back", object.len(), back.len());
    assert!(summary.is_complete && summary.malformed.is_none(), "{summary:?}");
    for end in [framed.len() / 2, framed.len() - 1] {
        let (_, summary) = decode(mode, |piece| piece(&framed[..end]));
        assert!(!summary.is_complete && summary.malformed.is_none(), "cut at {end} of {}: {summary:?}", framed.len());
    }
}

fn decode<'d>(mode: Mode, feed: impl FnOnce(&mut dyn FnMut(&'d [u8]))) -> (Vec<u8>, Summary) {
    let mut decoder = Decoder::new(mode);
    let mut object = Vec::new();
    feed(&mut |piece| decoder.handle_data(piece, |octets| object.extend_from_slice(octets)));
    (object, decoder.summary().clone())
}

fn frame(mode: Mode, object: &[u8], sizes: &[usize]) -> Vec<u8> {
    let extension = if mode == Mode::UnsignedTrailer { String::new() } else { format!(";chunk-signature={}", "ad".repeat(32)) };
    let mut framed = Vec::new();
    let mut rest = object;
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        framed.extend(format!("{:x}{extension}\r\n", now.len()).bytes());
        if now.is_empty() {
            break;
        }
        framed.extend_from_slice(now);
        framed.extend(b"\r\n");
        rest = later;
    }
    if mode != Mode::Signed {
        framed.extend(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
    }
    if mode == Mode::SignedTrailer {
        framed.extend(format!("x-amz-trailer-signature:{}\r\n", "ad".repeat(32)).bytes());
    }
    framed.extend(b"\r\n");
    framed
}

/// The object of a body whose every line is as the standard has it; `None` where one is not, whatever else may be done with it.
fn naive(mode: Mode, body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body;
    let mut object = Vec::new();
    loop {
        let size_line = std::str::from_utf8(line(&mut rest)?).ok()?;
        let (size, signature) = match mode {
            Mode::UnsignedTrailer => (size_line, None),
            Mode::Signed | Mode::SignedTrailer => {
                size_line.split_once(";chunk-signature=").map(|(size, tail)| (size, Some(tail)))?
            }
        };
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex(size) || size.is_empty() || size.len() > 8 || signature.is_some_and(|text| text.len() != 64 || !is_hex(text)) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        object.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let mut names = Vec::new();
    loop {
        match line(&mut rest)? {
            [] => break,
            field => names.push(field.get(..field.iter().position(|octet| *octet == b':').filter(|at| *at > 0)?)?),
        }
    }
    let is_signed = names.last().is_none_or(|name| *name == b"x-amz-trailer-signature");
    (rest.is_empty() && names.len() < 8 && (mode != Mode::SignedTrailer || is_signed)).then_some(object)
}

fn line<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let end = rest.iter().position(|octet| *octet == b'\n')?;
    let line = rest[..end].strip_suffix(b"\r")?;
    *rest = &rest[end + 1..];
    (line.len() < 1000).then_some(line)
}
