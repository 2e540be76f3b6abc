//! The canonical request: what of a request its signature covers.

use ring::digest;

use crate::model::Headers;
use crate::s3::query::{Query, decode_form, decode_percent, encode_path, encode_query};

/// How the path is made canonical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathRule {
    /// S3: decoded, then encoded once; `//`, `.` and `..` stay.
    #[default]
    Once,
    /// All other services: `//`, `.` and `..` are resolved, and what was sent is encoded once more.
    NormalizedTwice,
}

/// A request as it was sent, or will be.
#[derive(Clone, Copy)]
pub struct Parts<'r> {
    /// The method.
    pub method: &'r [u8],
    /// The path as sent.
    pub path: &'r [u8],
    /// The query as sent.
    pub query: Query<'r>,
    /// The headers.
    pub headers: &'r Headers,
    /// Bytes of the body as framed by HTTP, for a signed `content-length` that a proxy removed.
    pub body_length: u64,
}

/// A canonical request, by component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The method.
    pub method: Vec<u8>,
    /// The path, encoded.
    pub path: Vec<u8>,
    /// The query, sorted and encoded.
    pub query: Vec<u8>,
    /// The signed headers, sorted: name in lower case, value with white space collapsed.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Their names as the last but one line has them.
    pub names: Vec<u8>,
    /// The payload: a hash, or the name of a mode.
    pub payload: Vec<u8>,
}

impl Canonical {
    /// Builds it from a request; `signed` gives the names of the signed headers, `payload` the last line.
    pub fn new<'n>(parts: &Parts<'_>, rule: PathRule, signed: impl Iterator<Item = &'n [u8]>, payload: &[u8]) -> Self {
        let mut names: Vec<Vec<u8>> = signed.map(<[u8]>::to_ascii_lowercase).collect();
        names.sort();
        let headers = names.iter().map(|name| (name.clone(), header_value(parts, name))).collect();
        Self {
            method: parts.method.to_vec(),
            path: canonical_path(parts.path, rule),
            query: canonical_query(parts.query),
            headers,
            names: names.join(&b';'),
            payload: payload.to_vec(),
        }
    }

    /// The text whose hash is signed.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(1024);
        self.write(|part| text.extend_from_slice(part));
        text
    }

    /// The SHA-256 of the text.
    pub fn sha256(&self) -> digest::Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        self.write(|part| context.update(part));
        context.finish()
    }

    /// The value of a signed header.
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_slice())
    }

    fn write(&self, mut add: impl FnMut(&[u8])) {
        for part in [&self.method, &self.path, &self.query] {
            add(part);
            add(b"\n");
        }
        for (name, value) in &self.headers {
            for part in [name, &b":"[..], value, b"\n"] {
                add(part);
            }
        }
        add(b"\n");
        add(&self.names);
        add(b"\n");
        add(&self.payload);
    }
}

/// The path as a signature covers it.
pub(super) fn canonical_path(path: &[u8], rule: PathRule) -> Vec<u8> {
    let path = if path.is_empty() { b"/" } else { path };
    match rule {
        PathRule::Once => encode_path(&decode_percent(path)),
        PathRule::NormalizedTwice => encode_path(&normalized(path)),
    }
}

/// RFC 3986 section 5.2.4, and empty segments removed.
pub(super) fn normalized(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut out = [b"/".as_slice(), &kept.join(&b'/')].concat();
    let ends_in_folder = path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..");
    if ends_in_folder && !kept.is_empty() {
        out.push(b'/');
    }
    out
}

/// The query as a signature covers it: without the signature, decoded, encoded once, sorted.
pub(super) fn canonical_query(query: Query<'_>) -> Vec<u8> {
    let pairs = query.raw_pairs().map(|(name, value)| (decode_form(name), decode_form(value)));
    let mut pairs: Vec<_> = pairs
        .filter(|(name, _)| name.as_ref() != b"X-Amz-Signature")
        .map(|(name, value)| (encode_query(&name), encode_query(&value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| [name.as_slice(), b"=", value].concat()).collect::<Vec<_>>().join(&b'&')
}

/// All values of a header, joined with `,`. What a server takes from the framing is put back (MinIO `extractSignedHeaders`).
fn header_value(parts: &Parts<'_>, name: &[u8]) -> Vec<u8> {
    let values: Vec<_> =
        parts.headers.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| collapsed(value)).collect();
    if !values.is_empty() {
        return values.join(&b',');
    }
    match name {
        b"expect" => b"100-continue".to_vec(),
        b"content-length" => parts.body_length.to_string().into_bytes(),
        // A presigned URL may sign a header that travels as a parameter.
        name => {
            let text = std::str::from_utf8(name).unwrap_or_default();
            parts.query.get_ignoring_case(text).map(|value| collapsed(&value)).unwrap_or_default()
        }
    }
}

/// Without white space around it, and with single spaces inside.
fn collapsed(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value.trim_ascii() {
        let is_space = byte.is_ascii_whitespace();
        if !(is_space && out.last() == Some(&b' ')) {
            out.push(if is_space { b' ' } else { *byte });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_s3_are_encoded_once_and_keep_their_segments() {
        for (sent, canonical) in [
            ("", "/"),
            ("/b/a%2Fb//c%20d+e%2b=f(1)~!*.txt", "/b/a/b//c%20d%2Be%2B%3Df%281%29~%21%2A.txt"),
            ("/b/./x/../y", "/b/./x/../y"),
            ("/b/\u{e4}", "/b/%C3%A4"),
        ] {
            assert_eq!(canonical_path(sent.as_bytes(), PathRule::Once), canonical.as_bytes(), "{sent}");
        }
        for (sent, canonical) in [("/./x/../y//z/", "/y/z/"), ("/..", "/"), ("/a%20b", "/a%2520b")] {
            assert_eq!(canonical_path(sent.as_bytes(), PathRule::NormalizedTwice), canonical.as_bytes(), "{sent}");
        }
    }

    #[test]
    fn queries_are_sorted_by_encoded_name_and_lose_the_signature() {
        for (sent, canonical) in [
            ("uploads", "uploads="),
            ("b=2&a=%20x+y&A=1&X-Amz-Signature=ff", "A=1&a=%20x%20y&b=2"),
            ("prefix=a/b&list-type=2", "list-type=2&prefix=a%2Fb"),
        ] {
            assert_eq!(canonical_query(Query::new(sent.as_bytes())), canonical.as_bytes(), "{sent}");
        }
    }
}
