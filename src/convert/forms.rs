//! The forms in which a secret may turn up: a value in; its raw, URL, base64, hexadecimal, JSON and XML forms out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::session::Kind;

/// The forms of `value` worth looking for; some may be equal, or too short to be looked for.
pub(super) fn forms(kind: Kind, value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    match kind {
        // There are as many signatures as requests, and each stands as it is, or as part of a URL.
        Kind::Signature | Kind::Cookie => {
            forms.push(percent(value, HEX_UPPER, false));
            forms.push(decode_percent(value));
        }
        // What was signed is long, and is told in the answer to one request only.
        Kind::SignedText => {}
        _ => {
            let plain = decode_percent(value);
            add_forms(value, &mut forms);
            add_forms(&plain, &mut forms);
            if matches!(kind, Kind::CustomerKey | Kind::CustomerKeyMd5 | Kind::EncryptionContext | Kind::Password)
                && let Some(decoded) = decode_base64(&plain)
            {
                add_forms(&decoded, &mut forms);
                if kind == Kind::Password
                    && let Some(colon) = memchr::memchr(b':', &decoded)
                {
                    add_forms(decoded.get(colon + 1..).unwrap_or_default(), &mut forms);
                }
            }
        }
    }
    forms
}

fn add_forms(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    forms.push(value.to_vec());
    for keep_slash in [false, true] {
        let upper = percent(value, HEX_UPPER, keep_slash);
        forms.push(percent(&upper, HEX_UPPER, keep_slash));
        forms.push(upper);
        forms.push(percent(value, HEX_LOWER, keep_slash));
    }
    forms.push(hex(value, HEX_LOWER));
    forms.push(hex(value, HEX_UPPER));
    for offset in 0..3 {
        forms.push(base64_inside(value, offset, true));
        forms.push(base64_inside(value, offset, false));
    }
    forms.push(escape(value, json_escape));
    forms.push(escape(value, xml_escape));
}

/// The characters that base64 of any text must hold when `value` stands in it at a place of `offset` modulo 3.
fn base64_inside(value: &[u8], offset: usize, standard: bool) -> Vec<u8> {
    let mut text = vec![0; offset];
    text.extend_from_slice(value);
    let encoded = if standard { STANDARD_NO_PAD.encode(&text) } else { URL_SAFE_NO_PAD.encode(&text) };
    let first = (offset * 8).div_ceil(6);
    let last = text.len() * 8 / 6;
    encoded.as_bytes().get(first..last).unwrap_or_default().to_vec()
}

fn decode_base64(value: &[u8]) -> Option<Vec<u8>> {
    let trimmed = value.trim_ascii();
    STANDARD.decode(trimmed).or_else(|_| STANDARD_NO_PAD.decode(trimmed)).or_else(|_| URL_SAFE_NO_PAD.decode(trimmed)).ok()
}

/// Percent-decoding of a whole text; what is no escape stays.
fn decode_percent(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = ((*high as char).to_digit(16), (*low as char).to_digit(16))
        {
            plain.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

fn percent(value: &[u8], digits: &[u8; 16], keep_slash: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() * 3);
    for &byte in value {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || (keep_slash && byte == b'/') {
            text.push(byte);
        } else {
            text.push(b'%');
            push_hex(byte, digits, &mut text);
        }
    }
    text
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() * 2);
    for &byte in value {
        push_hex(byte, digits, &mut text);
    }
    text
}

fn push_hex(byte: u8, digits: &[u8; 16], text: &mut Vec<u8>) {
    for nibble in [byte >> 4, byte & 15] {
        text.extend(digits.get(usize::from(nibble)));
    }
}

fn escape(value: &[u8], one: fn(u8) -> Option<&'static [u8]>) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    for byte in value {
        match one(*byte) {
            Some(escaped) => text.extend_from_slice(escaped),
            None => text.push(*byte),
        }
    }
    text
}

const fn json_escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'"' => Some(b"\\\""),
        b'\\' => Some(b"\\\\"),
        b'/' => Some(b"\\/"),
        _ => None,
    }
}

const fn xml_escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'"' => Some(b"&quot;"),
        b'\'' => Some(b"&#39;"),
        _ => None,
    }
}

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_decoded_hexadecimal_and_in_urls() {
        let forms = forms(Kind::CustomerKey, b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        for form in [
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "0123456789abcdef0123456789abcdef",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY%3D",
            "3031323334353637383961626364656630313233343536373839616263646566",
        ] {
            assert!(forms.iter().any(|have| have == form.as_bytes()), "{form}");
        }
    }
}
