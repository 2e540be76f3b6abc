//! The header names that decoding and judging ask for, recognised once so that look-up compares one byte.

macro_rules! header_names {
    ($($word:ident = $text:literal,)*) => {
        /// A header field name that hopwire knows. The spelling is the one in the specification; look-up ignores case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            /// Any other name.
            Other,
            $(#[doc = concat!("`", $text, "`")] $word,)*
        }

        impl HeaderName {
            /// Every known name.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// The name in lower case, empty for [`HeaderName::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Other => "",
                    $(Self::$word => $text,)*
                }
            }
        }
    };
}

header_names! {
    AcceptRanges = "accept-ranges",
    AmzSdkInvocationId = "amz-sdk-invocation-id",
    AmzSdkRequest = "amz-sdk-request",
    AmzSdkRetry = "amz-sdk-retry",
    Authorization = "authorization",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentMd5 = "content-md5",
    ContentRange = "content-range",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Etag = "etag",
    Expect = "expect",
    Forwarded = "forwarded",
    Host = "host",
    IfMatch = "if-match",
    IfNoneMatch = "if-none-match",
    KeepAlive = "keep-alive",
    LastModified = "last-modified",
    Location = "location",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    Range = "range",
    Referer = "referer",
    Server = "server",
    SetCookie = "set-cookie",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XAmzAcl = "x-amz-acl",
    XAmzContentSha256 = "x-amz-content-sha256",
    XAmzCopySource = "x-amz-copy-source",
    XAmzCopySourceIfMatch = "x-amz-copy-source-if-match",
    XAmzCopySourceServerSideEncryptionCustomerAlgorithm = "x-amz-copy-source-server-side-encryption-customer-algorithm",
    XAmzCopySourceServerSideEncryptionCustomerKey = "x-amz-copy-source-server-side-encryption-customer-key",
    XAmzCopySourceServerSideEncryptionCustomerKeyMd5 = "x-amz-copy-source-server-side-encryption-customer-key-md5",
    XAmzDate = "x-amz-date",
    XAmzDecodedContentLength = "x-amz-decoded-content-length",
    XAmzId2 = "x-amz-id-2",
    XAmzMetaSnowballAutoExtract = "x-amz-meta-snowball-auto-extract",
    XAmzMetadataDirective = "x-amz-metadata-directive",
    XAmzRequestId = "x-amz-request-id",
    XAmzRequestRoute = "x-amz-request-route",
    XAmzRequestToken = "x-amz-request-token",
    XAmzSdkChecksumAlgorithm = "x-amz-sdk-checksum-algorithm",
    XAmzSecurityToken = "x-amz-security-token",
    XAmzServerSideEncryption = "x-amz-server-side-encryption",
    XAmzServerSideEncryptionAwsKmsKeyId = "x-amz-server-side-encryption-aws-kms-key-id",
    XAmzServerSideEncryptionBucketKeyEnabled = "x-amz-server-side-encryption-bucket-key-enabled",
    XAmzServerSideEncryptionContext = "x-amz-server-side-encryption-context",
    XAmzServerSideEncryptionCustomerAlgorithm = "x-amz-server-side-encryption-customer-algorithm",
    XAmzServerSideEncryptionCustomerKey = "x-amz-server-side-encryption-customer-key",
    XAmzServerSideEncryptionCustomerKeyMd5 = "x-amz-server-side-encryption-customer-key-md5",
    XAmzStorageClass = "x-amz-storage-class",
    XAmzTrailer = "x-amz-trailer",
    XAmzUserAgent = "x-amz-user-agent",
    XAmzVersionId = "x-amz-version-id",
    XAmzWriteOffsetBytes = "x-amz-write-offset-bytes",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XMinioErrorCode = "x-minio-error-code",
    XMinioErrorDesc = "x-minio-error-desc",
    XMinioForceCreate = "x-minio-force-create",
    XMinioForceDelete = "x-minio-force-delete",
    XProxy = "x-proxy",
    XRealIp = "x-real-ip",
}

impl HeaderName {
    /// Recognises a name as sent, ignoring case.
    pub fn recognise(name: &[u8]) -> Self {
        let bucket = BY_HASH.get(hash(name)).copied().unwrap_or_default();
        for index in bucket.0..bucket.1 {
            if let Some(word) = SORTED.get(usize::from(index))
                && word.as_str().as_bytes().eq_ignore_ascii_case(name)
            {
                return *word;
            }
        }
        Self::Other
    }
}

const COUNT: usize = HeaderName::ALL.len();
const BUCKETS: usize = 256;

/// A cheap hash over length, first, middle and last letter; bit 5 is dropped so that case does not matter.
const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let (Some(first), Some(middle), Some(last), Some(late)) =
        (letter(name, 0), letter(name, length / 2), letter(name, length - 1), letter(name, length - length / 4 - 1))
    else {
        return 0;
    };
    (length * 7 + first * 3 + middle * 31 + last * 5 + late * 13) % BUCKETS
}

const fn letter(name: &[u8], at: usize) -> Option<usize> {
    if at >= name.len() {
        return None;
    }
    match name.split_at(at).1.split_first() {
        Some((byte, _)) => Some((*byte & 0x5f) as usize),
        None => None,
    }
}

/// The bucket of each known name.
const HASHES: [usize; COUNT] = hashes();
/// The known names, ordered by bucket.
const SORTED: [HeaderName; COUNT] = sorted();
/// For each bucket the range in `SORTED`.
const BY_HASH: [(u8, u8); BUCKETS] = ranges();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn hashes() -> [usize; COUNT] {
    let mut out = [0; COUNT];
    let mut at = 0;
    while at < COUNT {
        out[at] = hash(HeaderName::ALL[at].as_str().as_bytes());
        at += 1;
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn sorted() -> [HeaderName; COUNT] {
    let mut out = [HeaderName::Other; COUNT];
    let mut filled = 0;
    let mut bucket = 0;
    while bucket < BUCKETS {
        let mut at = 0;
        while at < COUNT {
            if HASHES[at] == bucket {
                out[filled] = HeaderName::ALL[at];
                filled += 1;
            }
            at += 1;
        }
        bucket += 1;
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn ranges() -> [(u8, u8); BUCKETS] {
    let mut out = [(0, 0); BUCKETS];
    let mut start = 0;
    let mut bucket = 0;
    while bucket < BUCKETS {
        let mut end = start;
        while end < COUNT && hash(SORTED[end].as_str().as_bytes()) == bucket {
            end += 1;
        }
        out[bucket] = (start as u8, end as u8);
        start = end;
        bucket += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case() {
        for &name in HeaderName::ALL {
            assert_eq!(HeaderName::recognise(name.as_str().as_bytes()), name);
            assert_eq!(HeaderName::recognise(name.as_str().to_uppercase().as_bytes()), name);
        }
    }

    #[test]
    fn other_names_are_other() {
        for name in ["", "x", "hosts", "x-amz-meta-owner", "x-amz-server-side-encryption-customer"] {
            assert_eq!(HeaderName::recognise(name.as_bytes()), HeaderName::Other);
        }
    }
}
