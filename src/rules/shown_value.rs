//! Header values and queries in sentences: only those that are never secret.

use crate::model::HeaderName;
use crate::rules::quote::quote;
use crate::s3::Query;

/// The value of a header, quoted, where headers of that name never hold a secret; `None` otherwise.
pub(super) fn shown_header(header: HeaderName, value: &[u8]) -> Option<String> {
    let is_plain = match header {
        // User information in front of a host is a secret.
        HeaderName::Host => !value.contains(&b'@'),
        HeaderName::Accept
        | HeaderName::AcceptEncoding
        | HeaderName::AcceptRanges
        | HeaderName::CacheControl
        | HeaderName::Connection
        | HeaderName::ContentEncoding
        | HeaderName::ContentLanguage
        | HeaderName::ContentLength
        | HeaderName::ContentMd5
        | HeaderName::ContentRange
        | HeaderName::ContentType
        | HeaderName::Date
        | HeaderName::Etag
        | HeaderName::Expect
        | HeaderName::LastModified
        | HeaderName::Range
        | HeaderName::Te
        | HeaderName::TransferEncoding
        | HeaderName::UserAgent
        | HeaderName::Vary
        | HeaderName::XAmzAcl
        | HeaderName::XAmzContentSha256
        | HeaderName::XAmzDate
        | HeaderName::XAmzDecodedContentLength
        | HeaderName::XAmzStorageClass => true,
        _ => false,
    };
    // An ETag has its own quotation marks.
    let has_marks = memchr::memchr(b'"', value).is_some();
    is_plain.then(|| if has_marks { quote(value) } else { format!("\"{}\"", quote(value)) })
}

/// The names of the parameters that are in only one of two queries, or have another value: `-versionId, +a`.
pub(super) fn query_difference(from: &[u8], to: &[u8]) -> String {
    const NAMES_MAX: usize = 8;
    let pairs = |query| Query::new(query).iter().collect::<Vec<_>>();
    let (before, after) = (pairs(from), pairs(to));
    let gone = before.iter().filter(|pair| !after.contains(pair)).map(|(name, _)| ("removed", name));
    let new = after.iter().filter(|pair| !before.contains(pair)).map(|(name, _)| ("added", name));
    let mut words: Vec<(&str, String)> = Vec::new();
    for (what, name) in gone.chain(new) {
        let name = quote(name);
        match words.iter_mut().find(|(have, other)| *other == name && *have != what) {
            Some(both) => both.0 = "changed",
            None => words.push((what, name)),
        }
    }
    words.iter().take(NAMES_MAX).map(|(what, name)| format!("{name} {what}")).collect::<Vec<_>>().join(", ")
}
