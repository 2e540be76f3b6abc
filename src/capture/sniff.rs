//! What a file is, by its first bytes.

use crate::capture::{pcap, snoop};

/// What a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// pcap, any variant.
    Pcap,
    /// pcapng.
    Pcapng,
    /// snoop (RFC 1761).
    Snoop,
    /// Compressed with gzip.
    Gzip,
    /// Compressed with zstd.
    Zstd,
    /// Compressed with lz4.
    Lz4,
    /// Compressed with xz.
    Xz,
    /// Compressed with bzip2.
    Bzip2,
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
    /// One JSON object in every line.
    JsonLines,
    /// One JSON document, such as a HAR.
    Json,
    /// An HTML page.
    Html,
    /// A PNG image.
    Png,
    /// A JPEG image.
    Jpeg,
    /// A PDF document.
    Pdf,
    /// A Parquet file.
    Parquet,
    /// A program.
    Executable,
    /// Text of some kind.
    Text,
    /// Nothing.
    Empty,
    /// None of these.
    Unknown,
}

/// Tells what a file is by its first bytes; some 4 KiB are enough.
pub fn sniff(first: &[u8]) -> Kind {
    if first.is_empty() {
        return Kind::Empty;
    }
    if pcap::is_pcap(first) {
        return Kind::Pcap;
    }
    if snoop::is_snoop(first) {
        return Kind::Snoop;
    }
    if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| first.starts_with(magic)) {
        return *kind;
    }
    if is_zstd_skippable(first) {
        return Kind::Zstd;
    }
    if first.get(257..262) == Some(b"ustar") {
        return Kind::Tar;
    }
    text_kind(first)
}

/// Text: JSON, a page, or any other.
fn text_kind(first: &[u8]) -> Kind {
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    if !is_text(text) {
        return Kind::Unknown;
    }
    let trimmed = text.trim_ascii_start();
    match trimmed.first() {
        Some(b'{') => json_kind(trimmed),
        Some(b'[') if matches!(trimmed.get(1..).map(<[u8]>::trim_ascii_start), Some([b'{' | b'[' | b'"', ..])) => Kind::Json,
        Some(b'<') if is_html(trimmed) => Kind::Html,
        _ => Kind::Text,
    }
}

/// Lines of objects, or one document. A HAR is one document, whether it is written in one line or in many.
fn json_kind(text: &[u8]) -> Kind {
    let inside = text.get(1..).unwrap_or_default().trim_ascii_start();
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let line_ends_object = first_line.len() > 1 && first_line.ends_with(b"}");
    if line_ends_object && !inside.starts_with(b"\"log\"") { Kind::JsonLines } else { Kind::Json }
}

fn is_html(text: &[u8]) -> bool {
    let starts = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    starts(b"<!doctype html") || starts(b"<html")
}

/// UTF-8 (perhaps cut in its last character) without control characters other than white space and escapes.
fn is_text(text: &[u8]) -> bool {
    let valid = match std::str::from_utf8(text) {
        Ok(valid) => valid,
        Err(error) if error.error_len().is_none() => {
            let whole = text.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(|letter| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r' | '\x1b'))
}

/// A skippable frame (RFC 8878 section 3.1.2) may come first in a zstd file. The same magic serves lz4, whose frames are
/// rarely made so.
fn is_zstd_skippable(first: &[u8]) -> bool {
    matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

const MAGICS: &[(&[u8], Kind)] = &[
    (&[0x0a, 0x0d, 0x0d, 0x0a], Kind::Pcapng),
    (&[0x1f, 0x8b, 0x08], Kind::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Kind::Zstd),
    (&[0x04, 0x22, 0x4d, 0x18], Kind::Lz4),
    (&[0x02, 0x21, 0x4c, 0x18], Kind::Lz4),
    (b"\xfd7zXZ\0", Kind::Xz),
    (b"BZh", Kind::Bzip2),
    (b"PK\x03\x04", Kind::Zip),
    (b"PK\x05\x06", Kind::Zip),
    (b"\x89PNG\r\n\x1a\n", Kind::Png),
    (&[0xff, 0xd8, 0xff], Kind::Jpeg),
    (b"%PDF-", Kind::Pdf),
    (b"PAR1", Kind::Parquet),
    (b"\x7fELF", Kind::Executable),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_their_first_bytes() {
        let cases: &[(&[u8], Kind)] = &[
            (b"", Kind::Empty),
            (b"\xd4\xc3\xb2\xa1", Kind::Pcap),
            (b"\xa1\xb2\x3c\x4d....", Kind::Pcap),
            (b"\x34\xcd\xb2\xa1", Kind::Pcap),
            (b"\x0a\x0d\x0d\x0a\0\0\0\x1c", Kind::Pcapng),
            (b"snoop\0\0\0\0\0\0\x02", Kind::Snoop),
            (b"\x1f\x8b\x08\0", Kind::Gzip),
            (b"\x28\xb5\x2f\xfd", Kind::Zstd),
            (b"\x04\x22\x4d\x18", Kind::Lz4),
            (b"\x89PNG\r\n\x1a\n\0", Kind::Png),
            (b"{\"log\":{\"entries\":[]}}\n", Kind::Json),
            (b"{\n  \"log\": {", Kind::Json),
            (b"\xef\xbb\xbf{\"kind\":\"hopwire-session\"}\n{\"a\":1}\n", Kind::JsonLines),
            (b"{\"a\":1}", Kind::JsonLines),
            (b"[{\"a\":1}]", Kind::Json),
            (b"[warn] nothing", Kind::Text),
            (b"<!DOCTYPE html><html>", Kind::Html),
            (b"13:27:55.07 IP 10.0.0.1.80 > 10.0.0.2.5000: Flags [S]\n", Kind::Text),
            ("año".as_bytes(), Kind::Text),
            (b"a\xc3", Kind::Text),
            (b"\x00\x01\x02", Kind::Unknown),
            (b"\xff\xfe", Kind::Unknown),
        ];
        for (bytes, kind) in cases {
            assert_eq!(sniff(bytes), *kind, "{bytes:?}");
        }
    }
}
