//! The forms in which a secret may turn up elsewhere: a value in; its raw, URL, base64, hexadecimal, JSON and XML forms out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::session::secrets::{Kind, Unescaped};

/// Every form of `value` worth looking for. Some may be equal.
pub(super) fn disguises(kind: Kind, value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    add_forms(value, &mut forms);
    let plain = Unescaped::new(value).bytes().to_vec();
    if plain != value {
        add_forms(&plain, &mut forms);
    }
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
    if kind == Kind::Cookie {
        for value in cookie_values(value) {
            add_forms(value, &mut forms);
        }
    }
    forms
}

/// The values of the cookies in a header, where they are long enough to be a secret. What `Set-Cookie` says of them is none.
fn cookie_values(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|byte| *byte == b';').filter_map(|cookie| {
        let equals = memchr::memchr(b'=', cookie)?;
        let (name, value) = (cookie.get(..equals)?.trim_ascii(), cookie.get(equals + 1..)?.trim_ascii());
        let is_attribute = COOKIE_ATTRIBUTES.iter().any(|attribute| attribute.eq_ignore_ascii_case(name));
        (!is_attribute && value.len() >= COOKIE_BYTES_MIN).then_some(value)
    })
}

const COOKIE_ATTRIBUTES: &[&[u8]] = &[b"expires", b"max-age", b"domain", b"path", b"samesite", b"version"];

/// Shorter values are words (a language, a theme) that stand in other texts by right.
const COOKIE_BYTES_MIN: usize = 16;

fn add_forms(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    forms.push(value.to_vec());
    for keep_slash in [false, true] {
        let upper = percent(value, keep_slash, b"0123456789ABCDEF");
        forms.push(percent(&upper, keep_slash, b"0123456789ABCDEF"));
        forms.push(upper);
        forms.push(percent(value, keep_slash, b"0123456789abcdef"));
    }
    forms.push(hex(value, b"0123456789abcdef"));
    forms.push(hex(value, b"0123456789ABCDEF"));
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

fn percent(value: &[u8], keep_slash: bool, digits: &[u8; 16]) -> Vec<u8> {
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
        b'\n' => Some(b"\\n"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn base64_of_any_text_around_it_holds_a_form(
            value in prop::collection::vec(any::<u8>(), 8..40),
            before in prop::collection::vec(any::<u8>(), 0..5),
            after in prop::collection::vec(any::<u8>(), 0..5),
        ) {
            let encoded = STANDARD.encode([before, value.clone(), after].concat());
            let forms = disguises(Kind::SessionToken, &value);
            prop_assert!(forms.iter().any(|form| memchr::memmem::find(encoded.as_bytes(), form).is_some()));
        }
    }

    #[test]
    fn a_key_is_known_in_its_decoded_form_too() {
        let forms = disguises(Kind::CustomerKey, b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        for form in ["0123456789abcdef0123456789abcdef", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY%3D", "3031323334353637"] {
            assert!(forms.iter().any(|have| have.starts_with(form.as_bytes())), "{form}");
        }
    }

    #[test]
    fn a_password_is_known_without_its_user() {
        assert!(disguises(Kind::Password, STANDARD.encode("user:passphrase").as_bytes()).contains(&b"passphrase".to_vec()));
    }
}
