//! The class of a difference in status or error.

use crate::compare::{CallRecord, Class};

/// By what the call that went wrong says.
pub(super) fn of_outcome(before: &CallRecord, after: &CallRecord) -> Class {
    let is_bad = |call: &&CallRecord| call.status.is_none_or(|status| status >= 300);
    let worse = [after, before].into_iter().find(is_bad).unwrap_or(after);
    let code = worse.error.as_deref().unwrap_or_default();
    if worse.is_from_proxy || code == "BackendDown" || matches!(worse.status, Some(502 | 504)) {
        return Class::Proxy;
    }
    if let Some(class) = CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class) {
        return class;
    }
    let is_about_encryption = code.starts_with("KMS") || code.contains("Encryption") || code.contains("SSE");
    match worse.status {
        _ if is_about_encryption => Class::EncryptionPolicy,
        None => Class::Transport,
        Some(400 | 501) if worse.asks_for_encryption => Class::EncryptionPolicy,
        Some(401 | 403) => Class::Authentication,
        Some(404 | 409 | 412 | 304 | 416) => Class::Consistency,
        Some(503 | 429) => Class::Timing,
        Some(301 | 302 | 307 | 308) => Class::Transport,
        Some(_) => Class::Capability,
    }
}

const CODES: &[(&str, Class)] = &[
    ("AccessDenied", Class::Authentication),
    ("SignatureDoesNotMatch", Class::Authentication),
    ("InvalidAccessKeyId", Class::Authentication),
    ("RequestTimeTooSkewed", Class::Timing),
    ("ExpiredToken", Class::Authentication),
    ("InvalidToken", Class::Authentication),
    ("AuthorizationHeaderMalformed", Class::Authentication),
    ("SlowDown", Class::Timing),
    ("RequestTimeout", Class::Timing),
    ("ServiceUnavailable", Class::Timing),
    ("IncompleteBody", Class::Transport),
    ("InvalidEncryptionAlgorithmError", Class::EncryptionPolicy),
    ("BadDigest", Class::Consistency),
    ("NoSuchBucket", Class::Consistency),
    ("NoSuchKey", Class::Consistency),
    ("NoSuchUpload", Class::Consistency),
    ("NoSuchVersion", Class::Consistency),
    ("MethodNotAllowed", Class::Capability),
];
