//! What is secret in a header, a target or a body: the same as what reports and sessions keep to themselves, because it is
//! the redactor that is asked.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::HeaderName;
use crate::session::redact::parse_placeholder;
use crate::session::{Kind, Redactor, Shown};

/// Asks a redactor that has learnt nothing, so that only names decide.
pub(super) struct Oracle {
    redactor: Redactor,
}

/// A secret inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self { redactor: Redactor::new([0x5c; 32]) }
    }

    /// The secrets in a header value.
    pub(super) fn in_header(&self, name: &[u8], value: &[u8]) -> Vec<Hidden> {
        if MORE_SIGNATURES.iter().any(|have| have.eq_ignore_ascii_case(name)) {
            return vec![Hidden { range: 0..value.len(), kind: Kind::Signature }];
        }
        let known = HeaderName::recognise(name);
        match self.redactor.header(known, name, value) {
            Shown::Redacted { kind, .. } => {
                kind_of(kind).map(|kind| Hidden { range: 0..value.len(), kind }).into_iter().collect()
            }
            Shown::Text(shown) => self.differences(value, shown),
        }
    }

    /// The secrets in a request target or another URL.
    pub(super) fn in_target(&self, target: &[u8]) -> Vec<Hidden> {
        self.differences(target, self.redactor.target(target))
    }

    /// The secrets in a body.
    pub(super) fn in_body(&self, body: &[u8]) -> Vec<Hidden> {
        self.differences(body, self.redactor.body(body))
    }

    /// The ranges of `text` for which placeholders stand in `shown`. What cannot be told apart is hidden up to the end.
    fn differences(&self, text: &[u8], shown: Cow<'_, [u8]>) -> Vec<Hidden> {
        let Cow::Owned(shown) = shown else { return Vec::new() };
        let mut hidden = Vec::new();
        let (mut at, mut rest) = (0, shown.as_slice());
        while let Some(open) = memchr::memmem::find(rest, OPENING) {
            at += open;
            let placeholder = rest.get(open..).unwrap_or_default();
            let length = memchr::memchr(b']', placeholder).map_or(placeholder.len(), |end| end + 1);
            let (placeholder, after) = placeholder.split_at_checked(length).unwrap_or((placeholder, &[]));
            let here = text.get(at..).unwrap_or_default();
            rest = after;
            if here.starts_with(placeholder) {
                // It was there before: somebody else has redacted this text.
                at += placeholder.len();
                continue;
            }
            let Some((label, id)) = parse_placeholder(placeholder) else { continue };
            let Some(kind) = kind_of(label) else { continue };
            let literal = after.get(..memchr::memmem::find(after, OPENING).unwrap_or(after.len())).unwrap_or_default();
            let is_last = literal.len() == after.len();
            let end = if is_last {
                here.len().saturating_sub(literal.len())
            } else {
                let ends = memchr::memmem::find_iter(here, literal);
                ends.into_iter().find(|end| self.is_same(here.get(..*end).unwrap_or_default(), id)).unwrap_or(here.len())
            };
            hidden.push(Hidden { range: at..at + end, kind });
            at += end;
        }
        hidden
    }

    /// Whether the redactor gives this value that digest.
    fn is_same(&self, value: &[u8], digest: &str) -> bool {
        matches!(self.redactor.header(HeaderName::Cookie, b"cookie", value), Shown::Redacted { id, .. } if id == digest)
    }
}

fn kind_of(label: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.label() == label)
}

const OPENING: &[u8] = b"[redacted:";

/// Trailers of aws-chunked bodies, which are no header of any message.
const MORE_SIGNATURES: &[&[u8]] = &[b"x-amz-trailer-signature"];

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets<'a>(text: &'a str, hidden: &[Hidden]) -> Vec<&'a str> {
        hidden.iter().map(|hidden| &text[hidden.range.clone()]).collect()
    }

    #[test]
    fn what_the_redactor_hides_is_found_where_it_stands() {
        let oracle = Oracle::new();
        let target = "/b/k?X-Amz-Signature=abc&x=abc&X-Amz-Security-Token=abc%2F&y=&Signature=a";
        assert_eq!(secrets(target, &oracle.in_target(target.as_bytes())), ["abc", "abc%2F", "a"]);
        let header = "AWS4-HMAC-SHA256 Credential=AK/1/r/s3/aws4_request, SignedHeaders=host, Signature=feed";
        assert_eq!(secrets(header, &oracle.in_header(b"authorization", header.as_bytes())), ["feed"]);
        assert_eq!(oracle.in_header(b"Cookie", b"a=b").first().map(|hidden| hidden.range.clone()), Some(0..3));
        assert_eq!(oracle.in_header(b"etag", b"\"0\""), []);
        let body = "<R><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey><Code>t</Code></R>";
        assert_eq!(secrets(body, &oracle.in_body(body.as_bytes())), ["t", "s"]);
    }

    #[test]
    fn what_was_redacted_before_is_no_secret() {
        let oracle = Oracle::new();
        let target = "/b?X-Amz-Signature=[redacted:signature:0123456789abcdef]&Signature=zz";
        assert_eq!(secrets(target, &oracle.in_target(target.as_bytes())), ["zz"]);
    }
}
