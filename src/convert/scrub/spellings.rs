//! How a secret can be written, one by one: a value in, every spelling out. The proof of a scrubbed capture searches for them. It
//! shares nothing with the search that scrubbed, on purpose: what that one does not see is not proven by its own blindness.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Every spelling of a value that is worth looking for elsewhere.
pub(super) fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let plain = percent_decoded(value);
    for text in [Some(value.to_vec()), Some(plain.clone()), STANDARD.decode(&plain).ok(), URL_SAFE.decode(&plain).ok()] {
        let Some(text) = text else { continue };
        all.push(text.clone());
        for upper in [false, true] {
            let once = percent(&text, upper, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            all.push(percent(&once, upper, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
            all.push(once);
            all.push(percent(&text, upper, |byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)));
            all.push(percent(&text, upper, |_| false));
            all.push(hexadecimal(&text, upper));
        }
        for before in 0..3 {
            all.push(inside_base64(&text, before, false));
            all.push(inside_base64(&text, before, true));
        }
        all.push(escaped(&text, |byte, out| match byte {
            b'"' | b'\\' | b'/' => write!(out, "\\{}", char::from(byte)),
            byte => write!(out, "{}", char::from(byte)),
        }));
        all.push(escaped(&text, |byte, out| match byte {
            b'+' | b'=' | b'&' | b'<' | b'>' | b'/' => write!(out, "\\u{byte:04x}"),
            byte => write!(out, "{}", char::from(byte)),
        }));
        all.push(escaped(&text, |byte, out| match byte {
            b'=' | b'&' | b'<' | b'>' => write!(out, "\\u{byte:04x}"),
            byte => write!(out, "{}", char::from(byte)),
        }));
        all.push(escaped(&text, |byte, out| match byte {
            b'&' => write!(out, "&amp;"),
            b'<' => write!(out, "&lt;"),
            b'>' => write!(out, "&gt;"),
            byte => write!(out, "{}", char::from(byte)),
        }));
        for is_hex in [false, true] {
            all.push(escaped(&text, |byte, out| match byte {
                byte if byte.is_ascii_alphanumeric() => write!(out, "{}", char::from(byte)),
                byte if is_hex => write!(out, "&#x{byte:x};"),
                byte => write!(out, "&#{byte};"),
            }));
        }
    }
    all
}

/// The spellings of a value of which there are as many as requests: as sent, and in a URL.
pub(super) fn few_spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let encoded = percent(value, true, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    vec![value.to_vec(), encoded, percent_decoded(value)]
}

fn percent(text: &[u8], upper: bool, keeps: impl Fn(u8) -> bool) -> Vec<u8> {
    escaped(text, |byte, out| match (keeps(byte), upper) {
        (true, _) => write!(out, "{}", char::from(byte)),
        (false, true) => write!(out, "%{byte:02X}"),
        (false, false) => write!(out, "%{byte:02x}"),
    })
}

fn hexadecimal(text: &[u8], upper: bool) -> Vec<u8> {
    escaped(text, |byte, out| if upper { write!(out, "{byte:02X}") } else { write!(out, "{byte:02x}") })
}

/// The letters of base64 that this text alone decides, with so many bytes before it.
fn inside_base64(text: &[u8], before: usize, is_for_urls: bool) -> Vec<u8> {
    let whole: Vec<u8> = std::iter::repeat_n(0, before).chain(text.iter().copied()).collect();
    let letters = if is_for_urls { URL_SAFE.encode(&whole) } else { STANDARD.encode(&whole) };
    // A letter to which the bytes before add a bit is none of its own.
    let first = [0, 2, 3].get(before).copied().unwrap_or(0);
    letters.as_bytes().get(first..whole.len() * 8 / 6).unwrap_or_default().to_vec()
}

/// A text written byte by byte. Bytes beyond ASCII come as Latin-1 and are put back.
fn escaped(text: &[u8], mut one: impl FnMut(u8, &mut String) -> std::fmt::Result) -> Vec<u8> {
    let mut out = String::new();
    for byte in text {
        // Writing into a string cannot fail.
        let _ = one(*byte, &mut out);
    }
    out.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}
