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
    /// The name with that number among all; [`HeaderName::Other`] where there is none.
    #[inline]
    pub(crate) fn of_number(number: u8) -> Self {
        KNOWN.get(usize::from(number)).map_or(Self::Other, |known| known.word)
    }

    /// Recognises a name as sent, ignoring case.
    #[inline]
    pub fn recognise(name: &[u8]) -> Self {
        let words = words_of(name);
        let place = BY_HASH.get(hash(words, name.len())).copied().unwrap_or_default();
        match KNOWN.get(usize::from(place)) {
            Some(known) if known.is(name, words) => known.word,
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

/// A known name, as look-up compares it.
struct Known {
    text: &'static str,
    word: HeaderName,
    /// Its first and last octets, as [`words_of`] gives them.
    words: [u64; 2],
}

impl Known {
    /// Whether this is the name, of which `words` are the first and last octets.
    #[inline]
    fn is(&self, name: &[u8], words: [u64; 2]) -> bool {
        let ([first, last], [name_first, name_last]) = (self.words, words);
        if self.text.len() != name.len() || differ(first, name_first) | differ(last, name_last) != 0 {
            return false;
        }
        name.len() <= 16 || {
            let (lower, _) = self.text.as_bytes().as_chunks::<8>();
            let (name, _) = name.as_chunks::<8>();
            lower.iter().zip(name).all(|(lower, name)| differ(u64::from_le_bytes(*lower), u64::from_le_bytes(*name)) == 0)
        }
    }
}

/// The first and last eight octets of a name. They overlap where it is shorter than both; one shorter than eight is all in the
/// first word.
#[inline]
const fn words_of(name: &[u8]) -> [u64; 2] {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        return [u64::from_le_bytes(*first), u64::from_le_bytes(*last)];
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return [u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32, 0];
    }
    match name {
        [] => [0, 0],
        [a] => [*a as u64, 0],
        [a, b, .., c] | [a, b @ c] => [*a as u64 | (*b as u64) << 8 | (*c as u64) << 16, 0],
    }
}

/// Marks where a word of a name in lower case and one as sent differ by more than the case of letters: bit 5 is the case, and bit
/// 6 is set in letters and clear in `-` and digits.
#[inline]
const fn differ(lower: u64, name: u64) -> u64 {
    let difference = lower ^ name;
    difference & !CASE_BITS | (difference << 1) & !lower
}

/// Bit 5 of each octet, which tells lower from upper case in ASCII letters.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

const COUNT: usize = HeaderName::ALL.len();
/// So many that each known name has a place of its own; the build fails where two share one.
const PLACES: usize = 1024;

/// A cheap hash over a name's length and its first and last octets, whatever their case.
#[inline]
const fn hash([first, last]: [u64; 2], length: usize) -> usize {
    let mixed = (first & !CASE_BITS).wrapping_mul(FACTOR) ^ (last & !CASE_BITS).rotate_left(29) ^ length as u64;
    (mixed.wrapping_mul(FACTOR) >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

/// An odd number under which no two known names share a place.
const FACTOR: u64 = 0x28b6_04bf_e9eb_5755;

/// The known names; the first entry stands for all others.
static KNOWN: [Known; COUNT + 1] = known();
/// For each place the name that may stand there.
static BY_HASH: [u8; PLACES] = by_hash();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn known() -> [Known; COUNT + 1] {
    let mut out = [const { Known { text: "", word: HeaderName::Other, words: [0; 2] } }; COUNT + 1];
    let mut at = 0;
    while at < COUNT {
        let text = HeaderName::ALL[at].as_str();
        out[at + 1] = Known { text, word: HeaderName::ALL[at], words: words_of(text.as_bytes()) };
        at += 1;
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn by_hash() -> [u8; PLACES] {
    let mut out = [0; PLACES];
    let mut at = 0;
    while at < COUNT {
        let text = HeaderName::ALL[at].as_str().as_bytes();
        let place = hash(words_of(text), text.len());
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
