//! The encodings in which a secret comes again: a value in; what to search for, out. Escapes need no entry here, because the
//! search resolves them (see `unescape`); what hides the bytes themselves does: base64, hexadecimal, and what a value holds
//! inside of it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::session::secrets::{Kind, Unescaped, cookies, is_random};

/// Every encoding of `value` worth searching for. Some may be equal, and some too short to be searched for.
pub fn encodings(kind: Kind, value: &[u8]) -> Vec<Vec<u8>> {
    let resolved = Unescaped::new(value);
    let plain = resolved.bytes();
    let mut texts = vec![plain.to_vec()];
    match kind {
        // There are as many signatures as requests, and each comes as it is.
        Kind::Signature | Kind::SignedText => return texts,
        Kind::CustomerKey => {
            if let Some(key) = decode_base64(plain) {
                texts.push(Md5::digest(&key).to_vec());
                texts.push(Sha256::digest(&key).to_vec());
                texts.push(key);
            }
        }
        Kind::CustomerKeyMd5 | Kind::EncryptionContext => texts.extend(decode_base64(plain)),
        Kind::Password => {
            let decoded = decode_base64(plain);
            for text in [Some(plain), decoded.as_deref()].into_iter().flatten() {
                // `user:password`
                texts.extend(memchr::memchr(b':', text).map(|colon| text.get(colon + 1..).unwrap_or_default().to_vec()));
            }
            texts.extend(decoded);
        }
        Kind::Cookie => texts.extend(cookies(plain).filter(|(_, value)| is_random(value)).map(|(_, value)| value.to_vec())),
        Kind::SessionToken | Kind::SecretKey | Kind::Bearer => {}
    }
    let mut all = Vec::with_capacity(texts.len() * 5);
    for text in texts {
        all.push(hex(&text));
        all.extend((0..3).map(|offset| base64_inside(&text, offset)));
        all.push(text);
    }
    all
}

/// The characters that base64 of any text must hold when `value` is in it at a place of `offset` modulo 3. The search takes both
/// alphabets for one.
fn base64_inside(value: &[u8], offset: usize) -> Vec<u8> {
    let mut text = vec![0; offset];
    text.extend_from_slice(value);
    let encoded = STANDARD_NO_PAD.encode(&text);
    let first = (offset * 8).div_ceil(6);
    let last = text.len() * 8 / 6;
    encoded.as_bytes().get(first..last).unwrap_or_default().to_vec()
}

fn decode_base64(value: &[u8]) -> Option<Vec<u8>> {
    let trimmed = value.trim_ascii();
    let decoded =
        STANDARD.decode(trimmed).or_else(|_| STANDARD_NO_PAD.decode(trimmed)).or_else(|_| URL_SAFE_NO_PAD.decode(trimmed));
    decoded.ok().filter(|decoded| decoded.len() >= DECODED_BYTES_MIN)
}

fn hex(value: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).map_or(b'0', |digit| digit as u8);
    value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Any word of four letters is base64.
const DECODED_BYTES_MIN: usize = 4;
