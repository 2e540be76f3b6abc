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
    #[inline]
    pub fn recognise(name: &[u8]) -> Self {
        let index = BY_HASH.get(hash(name)).copied().unwrap_or_default();
        match KNOWN.get(usize::from(index)) {
            Some((text, word)) if equals_ignoring_case(text.as_bytes(), name) => *word,
            _ => Self::Other,
        }
    }
}

/// A set of known header names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames([u64; 2]);

impl HeaderNames {
    /// The set of these names.
    pub const fn of(names: &[HeaderName]) -> Self {
        let mut set = Self([0; 2]);
        let mut rest = names;
        while let [first, more @ ..] = rest {
            set.insert(*first);
            rest = more;
        }
        set
    }

    /// Adds a name.
    #[inline]
    pub const fn insert(&mut self, name: HeaderName) {
        let [low, high] = &mut self.0;
        let half = if (name as u8) < 64 { low } else { high };
        *half |= 1 << (name as u8 % 64);
    }

    /// The set with one more name.
    #[must_use]
    pub const fn with(mut self, name: HeaderName) -> Self {
        self.insert(name);
        self
    }

    /// Whether a name is in the set.
    pub const fn contains(self, name: HeaderName) -> bool {
        let [low, high] = self.0;
        let half = if (name as u8) < 64 { low } else { high };
        half & (1 << (name as u8 % 64)) != 0
    }

    /// Whether the two sets share a name.
    pub const fn intersects(self, other: Self) -> bool {
        let ([low, high], [other_low, other_high]) = (self.0, other.0);
        (low & other_low) | (high & other_high) != 0
    }
}

/// A set holds a bit for each name.
const _: () = assert!(COUNT < 128);

/// Compares with a name in lower case, eight octets at a time: they may differ in bit 5 where the known name has a letter.
#[inline]
fn equals_ignoring_case(lower: &[u8], name: &[u8]) -> bool {
    if lower.len() != name.len() {
        return false;
    }
    // The last word overlaps the one before, so that no octets are left over.
    if let (Some(lower_last), Some(name_last)) = (lower.last_chunk::<8>(), name.last_chunk::<8>()) {
        let (lower_words, _) = lower.as_chunks::<8>();
        let (name_words, _) = name.as_chunks::<8>();
        let last = words_differ(u64::from_ne_bytes(*lower_last), u64::from_ne_bytes(*name_last));
        let differ = lower_words
            .iter()
            .zip(name_words)
            .fold(last, |differ, (lower, name)| differ | words_differ(u64::from_ne_bytes(*lower), u64::from_ne_bytes(*name)));
        return differ == 0;
    }
    let (Some(lower_first), Some(name_first), Some(lower_last), Some(name_last)) =
        (lower.first_chunk::<4>(), name.first_chunk::<4>(), lower.last_chunk::<4>(), name.last_chunk::<4>())
    else {
        return lower.eq_ignore_ascii_case(name);
    };
    let word =
        |first: &[u8; 4], last: &[u8; 4]| u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last));
    words_differ(word(lower_first, lower_last), word(name_first, name_last)) == 0
}

/// Marks where a word of a name in lower case and one as sent differ by more than case.
#[inline]
const fn words_differ(lower: u64, name: u64) -> u64 {
    let difference = lower ^ name;
    difference & !CASE_BITS | (difference << 1) & !lower
}

/// Bit 5 of each octet, which tells lower from upper case in ASCII letters; bit 6 is set in letters and clear in `-` and digits.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

const COUNT: usize = HeaderName::ALL.len();
/// So many that each known name has a place of its own; the build fails where two share one.
const PLACES: usize = 1024;

/// A cheap hash over the length and the first and last four octets; bit 5 is dropped so that case does not matter.
const fn hash(name: &[u8]) -> usize {
    let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) else {
        // Known names of less than four octets differ in length.
        return name.len();
    };
    let (first, last) = (u32::from_le_bytes(*first) & !CASE_BITS as u32, u32::from_le_bytes(*last) & !CASE_BITS as u32);
    let mixed = first.wrapping_mul(FACTOR) ^ last.wrapping_mul(FACTOR.rotate_left(9)) ^ (name.len() as u32);
    (mixed.wrapping_mul(FACTOR) >> (u32::BITS - PLACES.trailing_zeros())) as usize
}

/// An odd number under which no two known names share a place.
const FACTOR: u32 = 0x469e_b22b;

/// The known names with their texts; the first one stands for all others.
static KNOWN: [(&str, HeaderName); COUNT + 1] = known();
/// For each place the name that may stand there.
static BY_HASH: [u8; PLACES] = by_hash();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn known() -> [(&'static str, HeaderName); COUNT + 1] {
    let mut out = [("", HeaderName::Other); COUNT + 1];
    let mut at = 0;
    while at < COUNT {
        out[at + 1] = (HeaderName::ALL[at].as_str(), HeaderName::ALL[at]);
        at += 1;
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn by_hash() -> [u8; PLACES] {
    let mut out = [0; PLACES];
    let mut at = 0;
    while at < COUNT {
        let place = hash(HeaderName::ALL[at].as_str().as_bytes());
        assert!(out[place] == 0, "two known names share a place: choose another factor");
        out[place] = at as u8 + 1;
        at += 1;
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
