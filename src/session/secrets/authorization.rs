//! The secret part of a value that is built like that of `Authorization`: the signature for schemes that sign, everything
//! after the scheme for others.

use crate::session::secrets::{Form, Kind, Secret};

/// Schemes of S3 and its dialects that put a signature after the access key and a colon.
const KEY_AND_SIGNATURE: &[&str] = &["AWS", "GOOG1", "OSS", "OBS", "COS", "SharedKey", "SharedKeyLite", "UFile", "Qiniu"];

/// Finds the secrets of `value`, which begins at `base` of its text.
pub(super) fn find(value: &[u8], base: usize, found: &mut Vec<Secret>) {
    let scheme = value.iter().position(u8::is_ascii_whitespace).unwrap_or(0);
    let word = value.get(..scheme).unwrap_or_default();
    let rest = scheme + value.get(scheme..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let mut push = |range: std::ops::Range<usize>, kind| {
        if !range.is_empty() {
            found.push(Secret { range: base + range.start..base + range.end, kind, form: Form::Field });
        }
    };
    let mut at = 0;
    let mut has_signature = false;
    while let Some(range) = value.get(at..).and_then(signature) {
        push(at + range.start..at + range.end, Kind::Signature);
        has_signature = true;
        at += range.end;
    }
    let is_aws4 = word.len() >= 4 && word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"AWS4"));
    if has_signature || is_aws4 {
        return;
    }
    if KEY_AND_SIGNATURE.iter().any(|scheme| scheme.as_bytes().eq_ignore_ascii_case(word)) {
        let tail = value.get(rest..).unwrap_or_default();
        // Without a key in front of it a placeholder is alone, and its own colons separate nothing.
        let colon = memchr::memchr(b':', tail).filter(|_| !tail.starts_with(b"[redacted:")).map_or(rest, |at| rest + at + 1);
        return push(colon..value.len(), Kind::Signature);
    }
    push(rest..value.len(), if word.eq_ignore_ascii_case(b"Basic") { Kind::Password } else { Kind::Bearer });
}

/// The first `Signature=…`, in any case, with any white space around the `=`.
fn signature(text: &[u8]) -> Option<std::ops::Range<usize>> {
    const WORD: &[u8] = b"signature";
    memchr::memchr2_iter(b's', b'S', text).find_map(|at| {
        let after = at + WORD.len();
        if !text.get(at..after)?.eq_ignore_ascii_case(WORD) {
            return None;
        }
        let spaces = |from: usize| {
            text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace() || is_quote(**byte)).count()
        };
        let equals = after + spaces(after);
        if text.get(equals) != Some(&b'=') {
            return None;
        }
        let start = equals + 1 + spaces(equals + 1);
        let tail = text.get(start..)?;
        let is_end = |byte: &u8| matches!(byte, b',' | b'&' | b';') || byte.is_ascii_whitespace() || is_quote(*byte);
        let length = tail.iter().position(is_end).unwrap_or(tail.len());
        Some(start..start + length)
    })
}

const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}
