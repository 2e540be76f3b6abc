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
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptRanges = "accept-ranges",
    AmzSdkInvocationId = "amz-sdk-invocation-id",
    AmzSdkRequest = "amz-sdk-request",
    AmzSdkRetry = "amz-sdk-retry",
    Authorization = "authorization",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLength = "content-length",
    ContentMd5 = "content-md5",
    ContentRange = "content-range",
    ContentSecurityPolicy = "content-security-policy",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Etag = "etag",
    Expect = "expect",
    Expires = "expires",
    Forwarded = "forwarded",
    Host = "host",
    IfMatch = "if-match",
    IfNoneMatch = "if-none-match",
    KeepAlive = "keep-alive",
    LastModified = "last-modified",
    Location = "location",
    Origin = "origin",
    Pragma = "pragma",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    Range = "range",
    Referer = "referer",
    RetryAfter = "retry-after",
    Server = "server",
    SetCookie = "set-cookie",
    StrictTransportSecurity = "strict-transport-security",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XAmzAcl = "x-amz-acl",
    XAmzBucketRegion = "x-amz-bucket-region",
    XAmzChecksumCrc32 = "x-amz-checksum-crc32",
    XAmzChecksumCrc64nvme = "x-amz-checksum-crc64nvme",
    XAmzChecksumMode = "x-amz-checksum-mode",
    XAmzChecksumType = "x-amz-checksum-type",
    XAmzContentSha256 = "x-amz-content-sha256",
    XAmzCopySource = "x-amz-copy-source",
    XAmzCopySourceIfMatch = "x-amz-copy-source-if-match",
    XAmzCopySourceServerSideEncryptionCustomerAlgorithm = "x-amz-copy-source-server-side-encryption-customer-algorithm",
    XAmzCopySourceServerSideEncryptionCustomerKey = "x-amz-copy-source-server-side-encryption-customer-key",
    XAmzCopySourceServerSideEncryptionCustomerKeyMd5 = "x-amz-copy-source-server-side-encryption-customer-key-md5",
    XAmzDate = "x-amz-date",
    XAmzDecodedContentLength = "x-amz-decoded-content-length",
    XAmzDeleteMarker = "x-amz-delete-marker",
    XAmzId2 = "x-amz-id-2",
    XAmzMetaSnowballAutoExtract = "x-amz-meta-snowball-auto-extract",
    XAmzMetadataDirective = "x-amz-metadata-directive",
    XAmzMpPartsCount = "x-amz-mp-parts-count",
    XAmzReplicationStatus = "x-amz-replication-status",
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
    XAmzTaggingCount = "x-amz-tagging-count",
    XAmzTrailer = "x-amz-trailer",
    XAmzUserAgent = "x-amz-user-agent",
    XAmzVersionId = "x-amz-version-id",
    XAmzWriteOffsetBytes = "x-amz-write-offset-bytes",
    XContentTypeOptions = "x-content-type-options",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XMinioErrorCode = "x-minio-error-code",
    XMinioErrorDesc = "x-minio-error-desc",
    XMinioForceCreate = "x-minio-force-create",
    XMinioForceDelete = "x-minio-force-delete",
    XProxy = "x-proxy",
    XRatelimitLimit = "x-ratelimit-limit",
    XRatelimitRemaining = "x-ratelimit-remaining",
    XRealIp = "x-real-ip",
    XXssProtection = "x-xss-protection",
}

impl HeaderName {
    /// Recognises a name as sent, ignoring case.
    pub fn recognise(name: &[u8]) -> Self {
        let bucket = BY_HASH.get(hash(name)).copied().unwrap_or_default();
        for index in bucket.0..bucket.1 {
            if let Some((text, word)) = SORTED.get(usize::from(index))
                && equals_ignoring_case(text.as_bytes(), name)
            {
                return *word;
            }
        }
        Self::Other
    }
}

/// A set of known header names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames(u128);

impl HeaderNames {
    /// The set of these names.
    pub const fn of(names: &[HeaderName]) -> Self {
        let mut bits = 0;
        let mut rest = names;
        while let [first, more @ ..] = rest {
            bits |= 1 << (*first as u8);
            rest = more;
        }
        Self(bits)
    }

    /// Adds a name.
    pub const fn insert(&mut self, name: HeaderName) {
        self.0 |= 1 << (name as u8);
    }

    /// The set with one more name.
    #[must_use]
    pub const fn with(mut self, name: HeaderName) -> Self {
        self.insert(name);
        self
    }

    /// Whether a name is in the set.
    pub const fn contains(self, name: HeaderName) -> bool {
        self.0 & (1 << (name as u8)) != 0
    }

    /// Whether the two sets share a name.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A set holds a bit for each name.
const _: () = assert!(COUNT < 128);

/// Compares with a name in lower case, eight octets at a time: they may differ in bit 5 where the known name has a letter.
fn equals_ignoring_case(lower: &[u8], name: &[u8]) -> bool {
    if lower.len() != name.len() {
        return false;
    }
    let (lower_words, lower_rest) = lower.as_chunks::<8>();
    let (name_words, name_rest) = name.as_chunks::<8>();
    let words_equal = lower_words.iter().zip(name_words).all(|(lower, name)| {
        let lower = u64::from_ne_bytes(*lower);
        let difference = lower ^ u64::from_ne_bytes(*name);
        difference & !CASE_BITS == 0 && (difference << 1) & !lower == 0
    });
    words_equal && lower_rest.eq_ignore_ascii_case(name_rest)
}

/// Bit 5 of each octet, which tells lower from upper case in ASCII letters; bit 6 is set in letters and clear in `-` and digits.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

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
static SORTED: [(&str, HeaderName); COUNT] = sorted();
/// For each bucket the range in `SORTED`.
static BY_HASH: [(u8, u8); BUCKETS] = ranges();

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
const fn sorted() -> [(&'static str, HeaderName); COUNT] {
    let mut out = [("", HeaderName::Other); COUNT];
    let mut filled = 0;
    let mut bucket = 0;
    while bucket < BUCKETS {
        let mut at = 0;
        while at < COUNT {
            if HASHES[at] == bucket {
                out[filled] = (HeaderName::ALL[at].as_str(), HeaderName::ALL[at]);
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
        let mut at = 0;
        while at < COUNT {
            end += (HASHES[at] == bucket) as usize;
            at += 1;
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
        for name in
            ["", "x", "hosts", "x-amz-meta-owner", "x-amz-server-side-encryption-customer", "content\rlength", "x-amz-d\u{1}te"]
        {
            assert_eq!(HeaderName::recognise(name.as_bytes()), HeaderName::Other);
        }
    }
}
