//! Secrets that no name tells of: tokens that show by how they begin what they are, private keys, and the word that an error
//! message puts after `token`, `password` or the like.

use crate::session::secrets::{Form, Kind, Secret};

/// How tokens begin that nothing else begins with: those of AWS STS (base64 of their origin), and Google's.
const BEGINNINGS: &[(&[u8], Kind)] = &[
    (b"IQoJb3JpZ2lu", Kind::SessionToken),
    (b"AgoJb3JpZ2lu", Kind::SessionToken),
    (b"FwoGZXIvYXdz", Kind::SessionToken),
    (b"FQoGZXIvYXdz", Kind::SessionToken),
    (b"FQoDYXdz", Kind::SessionToken),
    (b"AQoDYXdz", Kind::SessionToken),
    (b"AQoEZXIvYXdz", Kind::SessionToken),
    (b"ya29.", Kind::Bearer),
];

/// Words after which a message quotes a secret.
const WORDS: &[(&[u8], Kind)] = &[
    (b"token", Kind::SessionToken),
    (b"signature", Kind::Signature),
    (b"bearer", Kind::Bearer),
    (b"jwt", Kind::Bearer),
    (b"password", Kind::Password),
    (b"passphrase", Kind::Password),
    (b"secret", Kind::SecretKey),
    (b"key", Kind::CustomerKey),
];

/// Finds what is a secret by its form or by the words before it.
pub(super) fn find(text: &[u8], found: &mut Vec<Secret>) {
    if text.len() < WORD_BYTES_MIN {
        return;
    }
    private_keys(text, found);
    for (start, end) in runs(text) {
        let run = text.get(start..end).unwrap_or_default();
        if let Some((from, to, kind)) = token(run) {
            found.push(Secret { range: start + from..start + to, kind, form: Form::Text });
        } else if let Some(kind) = after_word(text.get(..start).unwrap_or_default(), run) {
            found.push(Secret { range: start..end, kind, form: Form::Text });
        }
    }
}

/// Finds tokens that show what they are in a URL. All but `ya29.`, which comes as a parameter,
/// have one of two letters that few URLs have.
pub(super) fn find_tokens(text: &[u8], found: &mut Vec<Secret>) {
    if memchr::memchr2(b'J', b'Y', text).is_none() {
        return;
    }
    for (start, end) in runs(text) {
        if let Some((from, to, kind)) = token(text.get(start..end).unwrap_or_default()) {
            found.push(Secret { range: start + from..start + to, kind, form: Form::Text });
        }
    }
}

/// Words of at least [`RUN_BYTES_MIN`] bytes of which tokens, keys and signatures are made.
fn runs(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.iter().position(|byte| is_run(*byte))?;
            let rest = text.get(start..)?;
            let length = rest.iter().position(|byte| !is_run(*byte)).unwrap_or(rest.len());
            at = start + length;
            if length >= RUN_BYTES_MIN {
                return Some((start, at));
            }
        }
    })
}

/// A token inside a run: from where it begins, at the start or after what is no letter or digit, to the end.
fn token(run: &[u8]) -> Option<(usize, usize, Kind)> {
    let mut is_begin = true;
    for (at, byte) in run.iter().enumerate() {
        if is_begin && matches!(byte, b'I' | b'A' | b'F' | b'y' | b'e') {
            let rest = run.get(at..).unwrap_or_default();
            if let Some((_, kind)) = BEGINNINGS.iter().find(|(word, _)| rest.starts_with(word)) {
                return Some((at, run.len(), *kind));
            }
            if is_web_token(rest) {
                return Some((at, run.len(), Kind::Bearer));
            }
        }
        is_begin = !byte.is_ascii_alphanumeric();
    }
    None
}

/// A JSON Web Token (RFC 7519): three parts, of which the first begins with `{"`.
fn is_web_token(text: &[u8]) -> bool {
    text.starts_with(b"eyJ") && text.len() >= JWT_BYTES_MIN && memchr::memchr_iter(b'.', text).count() >= 2
}

/// Whether the words before a run say that it is a secret.
fn after_word(before: &[u8], run: &[u8]) -> Option<Kind> {
    let near = before.get(before.len().saturating_sub(WORDS_BYTES)..).unwrap_or(before);
    let sentence = near.rsplit(|byte| matches!(byte, b'<' | b'>' | b'\n' | b'{' | b'}')).next().unwrap_or_default();
    let words = sentence.rsplit(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').filter(|word| !word.is_empty());
    let is_random = run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic);
    if !is_random {
        return None;
    }
    let (word, kind) = words.take(2).find_map(|word| {
        let ends = |have: &[u8]| {
            word.len() >= have.len() && word.get(word.len() - have.len()..).is_some_and(|end| end.eq_ignore_ascii_case(have))
        };
        WORDS.iter().find(|(have, _)| ends(have)).map(|(_, kind)| (word, *kind))
    })?;
    let is_place = word.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"continua"));
    let is_key = kind != Kind::CustomerKey || is_key(run);
    (!is_place && is_key).then_some(kind)
}

/// 32 bytes in base64 or hexadecimal. Object keys read otherwise.
fn is_key(run: &[u8]) -> bool {
    (run.len() == 44 && run.ends_with(b"=")) || (run.len() == 64 && run.iter().all(u8::is_ascii_hexdigit))
}

/// `-----BEGIN PRIVATE KEY-----` to `-----END` (RFC 7468).
fn private_keys(text: &[u8], found: &mut Vec<Secret>) {
    for at in memchr::memmem::find_iter(text, b"PRIVATE KEY-----") {
        let before = text.get(at.saturating_sub(40)..at).unwrap_or_default();
        if memchr::memmem::find(before, b"-----BEGIN ").is_none() {
            continue;
        }
        let start = at + b"PRIVATE KEY-----".len();
        let rest = text.get(start..).unwrap_or_default();
        let end = start + memchr::memmem::find(rest, b"-----END").unwrap_or(rest.len());
        found.push(Secret { range: start..end, kind: Kind::SecretKey, form: Form::Text });
    }
}

const fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.' | b'~')
}

/// Shorter words are words.
const RUN_BYTES_MIN: usize = 16;
const JWT_BYTES_MIN: usize = 32;
/// Shorter texts hold no token, nor a word with a secret after it.
pub(super) const WORD_BYTES_MIN: usize = 20;
/// Shorter URLs hold no token in their path.
pub(super) const URL_BYTES_MIN: usize = 96;
/// How far before a value the word may be that names it.
const WORDS_BYTES: usize = 64;
