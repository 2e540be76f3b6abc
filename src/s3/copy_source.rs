//! What a COPY copies: `x-amz-copy-source` in, bucket and key out.

use std::borrow::Cow;

use crate::s3::query::{Query, decode_percent};

/// The source of a CopyObject or UploadPartCopy, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource<'x> {
    /// The bucket.
    pub bucket: Cow<'x, [u8]>,
    /// The key.
    pub key: Cow<'x, [u8]>,
    /// The version.
    pub version_id: Option<Cow<'x, [u8]>>,
}

impl<'x> CopySource<'x> {
    /// Reads `bucket/key`, `/bucket/key`, either with `?versionId=…`, or an access-point ARN
    /// (`arn:…:accesspoint/name/object/key`, whose bucket is given as the ARN up to `/object/`). `None` where no key is named.
    pub fn parse(value: &'x [u8]) -> Option<Self> {
        let value = value.strip_prefix(b"/").unwrap_or(value);
        let (path, version_id) = match memchr::memrchr(b'?', value).and_then(|at| value.split_at_checked(at)) {
            Some((path, query)) => match Query::new(query.get(1..).unwrap_or_default()).get("versionId") {
                Some(version_id) => (path, Some(version_id)),
                // A `?` that starts no version belongs to a key that was sent without encoding.
                None => (value, None),
            },
            None => (value, None),
        };
        let (bucket, key) = split_object_arn(path).or_else(|| split_path(path))?;
        Some(Self { bucket, key, version_id })
    }
}

type BucketAndKey<'x> = (Cow<'x, [u8]>, Cow<'x, [u8]>);

fn split_object_arn(path: &[u8]) -> Option<BucketAndKey<'_>> {
    let at = path.starts_with(b"arn:").then(|| memchr::memmem::find(path, b"/object/")).flatten()?;
    let (bucket, rest) = path.split_at_checked(at)?;
    Some((decode_percent(bucket), decode_percent(rest.strip_prefix(b"/object/")?)))
}

/// Some clients encode the slash between bucket and key too.
fn split_path(path: &[u8]) -> Option<BucketAndKey<'_>> {
    let (bucket, key) = match memchr::memchr(b'/', path) {
        Some(at) => (path.get(..at)?, path.get(at + 1..)?),
        None => {
            let at = memchr::memmem::find(path, b"%2F").or_else(|| memchr::memmem::find(path, b"%2f"))?;
            (path.get(..at)?, path.get(at + 3..)?)
        }
    };
    (!bucket.is_empty() && !key.is_empty()).then(|| (decode_percent(bucket), decode_percent(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_in_every_spelling() {
        for (sent, bucket, key, version_id) in [
            ("/b1/a/b.txt", "b1", "a/b.txt", None),
            ("b1/a/b.txt", "b1", "a/b.txt", None),
            ("b1/a%20b%2Bc+d//e?versionId=v%2B1", "b1", "a b+c+d//e", Some("v+1")),
            ("b1%2Fa%2Fb", "b1", "a/b", None),
            ("/b1%2Fa", "b1", "a", None),
            ("b1/what?", "b1", "what?", None),
            (
                "arn:aws:s3:us-west-2:123456789012:accesspoint/ap/object/a/b",
                "arn:aws:s3:us-west-2:123456789012:accesspoint/ap",
                "a/b",
                None,
            ),
        ] {
            let source = CopySource::parse(sent.as_bytes()).expect(sent);
            assert_eq!((&*source.bucket, &*source.key), (bucket.as_bytes(), key.as_bytes()), "{sent}");
            assert_eq!(source.version_id.as_deref(), version_id.map(str::as_bytes), "{sent}");
        }
        for sent in ["", "/", "b1", "b1/", "//k"] {
            assert_eq!(CopySource::parse(sent.as_bytes()), None, "{sent}");
        }
    }
}
