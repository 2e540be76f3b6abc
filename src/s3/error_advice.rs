//! What an error of S3 usually means and what to do next: a status and a code in, two sentences out. It speaks only where the
//! code or the status leaves one usual reason; rules that saw the reason itself say more.

/// The usual reason of an error, and the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Why it usually happens.
    pub cause: &'static str,
    /// What to do next.
    pub action: &'static str,
}

/// The advice for a response of the store with that code, or with that status where it has no code.
///
/// Sources: the S3 error list of AWS (API reference, "Error responses"), MinIO `cmd/api-errors.go`, Ceph `rgw_common.cc`.
pub fn of_store(status: u16, code: &str) -> Option<Advice> {
    let by_code = CODES.iter().find(|(codes, _)| codes.contains(&code)).map(|(_, advice)| *advice);
    by_code.or_else(|| STATUSES.iter().find(|(statuses, _)| statuses.contains(&status)).map(|(_, advice)| *advice))
}

/// The advice for a response that a proxy wrote itself.
pub fn of_proxy(status: u16) -> Option<Advice> {
    PROXY.iter().find(|(statuses, _)| statuses.contains(&status)).map(|(_, advice)| *advice)
}

const fn advice(cause: &'static str, action: &'static str) -> Advice {
    Advice { cause, action }
}

const CODES: &[(&[&str], Advice)] = &[
    (
        &["SignatureDoesNotMatch"],
        advice(
            "the store computed another signature: the client's secret key is not the store's, or something that was signed changed on the path",
            "compare the secret key of this access key in client and store; if it is right, capture both sides of the proxy and look for a changed header or path",
        ),
    ),
    (
        &["InvalidAccessKeyId"],
        advice(
            "the store does not know this access key",
            "set an access key that exists in this store, and check that the endpoint is the right store",
        ),
    ),
    (
        &["AccessDenied", "AllAccessDisabled", "AccountProblem"],
        advice(
            "the credentials are valid but their policy does not allow the request (some stores also return this code for a header that was not signed)",
            "allow the operation in the policy of this user or bucket",
        ),
    ),
    (
        &["RequestTimeTooSkewed", "RequestExpired"],
        advice(
            "the time in the signed request and the store's clock differ by more than 15 minutes",
            "synchronize the clocks of client and store (NTP)",
        ),
    ),
    (
        &["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"],
        advice("the session token is not valid any more, or is not this store's", "get new temporary credentials"),
    ),
    (
        &["NoSuchBucket"],
        advice("the bucket does not exist at this endpoint", "check the bucket name and the endpoint, or create the bucket"),
    ),
    (
        &["NoSuchKey"],
        advice(
            "the objects do not exist at this endpoint",
            "check the keys, and whether the path was changed between client and store",
        ),
    ),
    (&["NoSuchUpload"], advice("the multipart upload was completed or aborted before", "start the upload again")),
    (
        &["PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"],
        advice("the bucket belongs to another region or endpoint", "set the region and endpoint that the response names"),
    ),
    (
        &["MissingContentMD5"],
        advice(
            "the store requires Content-MD5 for this operation and does not accept a newer checksum in its place",
            "update the store, or use an SDK version that sends Content-MD5",
        ),
    ),
    (
        &["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "ChecksumMismatch"],
        advice(
            "the body that reached the store is not the body that the client computed its checksum of",
            "look for a proxy that changes bodies",
        ),
    ),
    (
        &["SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests", "RequestLimitExceeded", "ServerBusy", "Throttling"],
        advice(
            "the store limits the rate of requests",
            "use fewer connections or longer waits between retries, or raise the store's limit",
        ),
    ),
    (&["EntityTooLarge"], advice("the object is larger than the store accepts in one request", "use a multipart upload")),
    (
        &["EntityTooSmall"],
        advice("a part other than the last is smaller than the store's minimum", "use parts of at least 5 MiB"),
    ),
    (
        &["NotImplemented"],
        advice(
            "the store does not implement this request or one of its headers",
            "use an operation that the store supports, or update the store",
        ),
    ),
    (
        &["MethodNotAllowed"],
        advice(
            "the store does not allow this operation here",
            "check the path: an operation on a bucket may have reached an object or the root",
        ),
    ),
    (
        &["XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"],
        advice("the store or the bucket has no room left", "free space, or raise the quota"),
    ),
    (
        &["KMSNotConfigured", "KMS.NotFoundException", "KMS.DisabledException", "XMinioKMSNotConfigured"],
        advice(
            "the store cannot use the KMS key that the request asks for",
            "configure the key in the store's KMS, or do not ask for SSE-KMS",
        ),
    ),
];

const STATUSES: &[(&[u16], Advice)] = &[
    (
        &[401, 403],
        advice(
            "the store refuses the credentials or the signature (the response has no code that says which)",
            "repeat one request with GET: its response has a body with the code",
        ),
    ),
    (
        &[429, 503],
        advice("the store limits the rate of requests or is not ready", "use fewer connections, and look at the store's health"),
    ),
    (&[500, 502, 504], advice("the store failed inside", "look at the store's log at this time")),
];

const PROXY: &[(&[u16], Advice)] = &[
    (
        &[413],
        advice(
            "the body is larger than the proxy accepts; the request did not reach the store",
            "raise the proxy's limit (nginx: client_max_body_size), or use smaller multipart parts",
        ),
    ),
    (&[400], advice("the proxy does not accept the form of the request", "look at the proxy's error log at this time")),
    (
        &[401, 403, 405, 407],
        advice(
            "the proxy does not allow the request",
            "change the proxy's access rules, or give it the credentials that it asks for",
        ),
    ),
    (&[404], advice("the proxy has no route for this host or path", "check the host name, the path and the proxy's routes")),
    (&[408], advice("the proxy waited too long for the request", "raise the proxy's time limit for reading requests")),
    (&[429], advice("the proxy limits the rate of requests", "use fewer connections, or raise the proxy's limit")),
    (&[431, 414], advice("the head of the request is larger than the proxy accepts", "raise the proxy's limit for header size")),
    (
        &[502],
        advice(
            "the proxy could not get a response from the store",
            "check that the store runs, and the address and protocol that the proxy uses for it",
        ),
    ),
    (&[503], advice("the proxy has no store that it holds to be up", "check that the store runs, and the proxy's health check")),
    (
        &[504],
        advice("the store did not respond to the proxy in time", "look at the store's load, and raise the proxy's time limit"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_more_than_a_status_and_an_unknown_code_says_nothing() {
        assert!(of_store(403, "SignatureDoesNotMatch").unwrap().cause.contains("signature"));
        assert!(of_store(403, "").unwrap().action.contains("GET"));
        assert_eq!(of_store(400, "SomethingNew"), None);
        assert!(of_proxy(413).unwrap().cause.contains("did not reach the store"));
        assert_eq!(of_proxy(418), None);
    }

    #[test]
    fn no_code_has_two_advices() {
        let mut codes: Vec<&str> = CODES.iter().flat_map(|(codes, _)| codes.iter().copied()).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
