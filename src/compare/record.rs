//! What a comparison keeps of a call: what it means and what came of it, without secrets.

use ring::digest;

use crate::compare::Class;
use crate::compare::normalize::normalize;
use crate::model::{ExchangeId, HeaderName, Outcome, Timestamp};
use crate::s3::{Call, EncryptionKind, Operation, texts_at};

/// One recording: the calls as their clients made them.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The calls, in any order.
    pub calls: Vec<CallRecord>,
}

/// What is compared of a call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The exchange.
    pub id: ExchangeId,
    /// When the request began.
    pub at: Timestamp,
    /// The name of the hop.
    pub hop: String,
    /// The operation.
    pub operation: &'static str,
    /// Whether it changes something in the store.
    pub is_write: bool,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// `clear`, `tls1.3`, …
    pub transport: &'static str,
    /// The status; `None` where no response came.
    pub status: Option<u16>,
    /// The error code, or how it ended without a response.
    pub error: Option<String>,
    /// Whether the request asks for encryption: the error of such a request is about that.
    pub asks_for_encryption: bool,
    /// Whether a proxy made the response itself, as far as it shows.
    pub is_from_proxy: bool,
    /// Milliseconds to the first byte of the response.
    pub latency_ms: Option<u64>,
    /// Path-like parameters and others that say what is asked for: name, value.
    pub(super) parameters: Vec<(String, String)>,
    /// What is compared: name, class of a difference, value.
    pub(super) facts: Vec<(&'static str, Class, String)>,
}

impl CallRecord {
    /// Reads a call. `hop` is the name of its hop.
    pub fn of(call: &Call<'_>, hop: &str) -> Self {
        let exchange = call.exchange;
        let response = exchange.response();
        let text = |bytes: Option<std::borrow::Cow<'_, [u8]>>| {
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        let error = match &exchange.outcome {
            Outcome::Answered(_) => call.error().map(|error| error.code.into_owned()),
            Outcome::ClosedEarly { .. } => Some("connection closed without a response".to_owned()),
            Outcome::Reset { .. } => Some("connection reset".to_owned()),
            Outcome::Unanswered => Some("no response".to_owned()),
        };
        let by_proxy = response.is_some_and(|response| {
            let header = |name: &str| response.headers.find(name).is_some();
            response.status >= 500 && !header("x-amz-request-id") || header("x-hopwire-error")
        });
        Self {
            id: exchange.id,
            at: exchange.request.start,
            hop: hop.to_owned(),
            operation: call.operation.name(),
            is_write: call.is_write(),
            bucket: text(call.address.bucket.clone()),
            key: text(call.key()),
            transport: exchange.transport.label(),
            status: call.status(),
            error,
            asks_for_encryption: call.has_encryption_headers().0,
            is_from_proxy: by_proxy,
            latency_ms: response.map(|response| {
                let sent = exchange.request.end.unwrap_or(exchange.request.start);
                u64::try_from(response.start.since(sent).as_millis()).unwrap_or(u64::MAX)
            }),
            parameters: parameters(call),
            facts: facts(call),
        }
    }
}

/// Parameters whose values are server-made, or belong to the signature.
const OPAQUE: [&str; 9] = [
    "uploadId",
    "versionId",
    "continuation-token",
    "x-id",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
    "key-marker",
    "version-id-marker",
];

fn parameters(call: &Call<'_>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in call.query.iter() {
        let name = String::from_utf8_lossy(&name).into_owned();
        if name.starts_with("X-Amz-") || name.starts_with("SSECustomer") || name.starts_with("x-amz-") {
            continue;
        }
        let value = if OPAQUE.contains(&name.as_str()) { String::new() } else { normalize(&String::from_utf8_lossy(&value)) };
        all.push((name, value));
    }
    let headers = &call.exchange.request.headers;
    if let Some(range) = headers.find("range") {
        all.push(("range".to_owned(), String::from_utf8_lossy(range).into_owned()));
    }
    if let Some(source) = call.copy_source() {
        let lossy = |bytes: &[u8]| normalize(&String::from_utf8_lossy(bytes));
        all.push(("copy-source-bucket".to_owned(), lossy(&source.bucket)));
        all.push(("copy-source".to_owned(), lossy(&source.key)));
    }
    if call.operation == Operation::DELETE_OBJECTS {
        let mut keys: Vec<String> =
            texts_at(&call.exchange.request.body.kept, &["Delete", "Object", "Key"]).iter().map(|key| normalize(key)).collect();
        keys.sort();
        all.extend(keys.into_iter().map(|key| ("delete".to_owned(), key)));
    }
    all.sort();
    all
}

/// Response headers that say what an object is.
const HEADERS: [(&str, Class); 12] = [
    ("content-type", Class::Consistency),
    ("content-range", Class::Consistency),
    ("content-encoding", Class::Consistency),
    ("content-language", Class::Consistency),
    ("content-disposition", Class::Consistency),
    ("cache-control", Class::Consistency),
    ("location", Class::Transport),
    ("x-amz-storage-class", Class::Capability),
    ("x-amz-delete-marker", Class::Consistency),
    ("x-amz-mp-parts-count", Class::Consistency),
    ("x-amz-tagging-count", Class::Consistency),
    ("x-amz-missing-meta", Class::Consistency),
];

fn facts(call: &Call<'_>) -> Vec<(&'static str, Class, String)> {
    let Some(response) = call.exchange.response() else { return Vec::new() };
    let mut facts = Vec::new();
    let headers = &response.headers;
    for (name, class) in HEADERS {
        if let Some(value) = headers.find(name).filter(|_| call.is_success()) {
            facts.push((name, class, normalize(&String::from_utf8_lossy(value))));
        }
    }
    let mut meta: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.len() >= 11 && name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-meta-")))
        .map(|(name, value)| {
            format!("{}={}", String::from_utf8_lossy(&name.to_ascii_lowercase()), String::from_utf8_lossy(value))
        })
        .collect();
    meta.sort();
    if !meta.is_empty() {
        facts.push(("user metadata", Class::Consistency, normalize(&meta.join(", "))));
    }
    let kinds = |encryption: &crate::s3::Encryption<'_>| {
        let mut kinds: Vec<_> = encryption.kinds().map(EncryptionKind::label).collect();
        kinds.dedup();
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
    };
    if call.is_success() {
        facts.push(("encryption asked for", Class::EncryptionPolicy, kinds(&call.request_encryption())));
        facts.push(("encryption in the response", Class::EncryptionPolicy, kinds(&call.response_encryption())));
        if matches!(call.operation, Operation::GET_OBJECT | Operation::HEAD_OBJECT) {
            let length = headers.get(HeaderName::ContentLength).map(|value| String::from_utf8_lossy(value).into_owned());
            facts.extend(length.map(|length| ("content-length", Class::Consistency, length)));
        }
        content(call, &mut facts);
    }
    facts
}

/// The content: hashes of objects, names of lists, and ETags where they are MD5s.
fn content(call: &Call<'_>, facts: &mut Vec<(&'static str, Class, String)>) {
    let Some(response) = call.exchange.response() else { return };
    let body = &response.body;
    if matches!(call.operation, Operation::LIST_OBJECTS | Operation::LIST_OBJECTS_V2 | Operation::LIST_OBJECT_VERSIONS) {
        let root = if call.operation == Operation::LIST_OBJECT_VERSIONS { "ListVersionsResult" } else { "ListBucketResult" };
        let mut names = Vec::new();
        for path in [
            [root, "Contents", "Key"],
            [root, "Version", "Key"],
            [root, "DeleteMarker", "Key"],
            [root, "CommonPrefixes", "Prefix"],
        ] {
            names.extend(texts_at(&body.kept, &path).iter().map(|name| normalize(name)));
        }
        facts.push(("listing", Class::Consistency, names.join("\n")));
    }
    if call.operation == Operation::GET_OBJECT {
        let hash = body.sha256.as_deref().map(|hash| crate::s3::sigv4::hex(hash)).or_else(|| {
            let is_whole = body.complete && body.kept.len() as u64 == body.length;
            is_whole.then(|| crate::s3::sigv4::hex(digest::digest(&digest::SHA256, &body.kept).as_ref()))
        });
        facts.extend(hash.map(|hash| ("body", Class::Consistency, String::from_utf8_lossy(&hash).into_owned())));
    }
    // Under KMS and customer keys, and of multipart uploads, an ETag says nothing about the content. The response to a copy does
    // not always name the encryption.
    if !matches!(call.operation, Operation::GET_OBJECT | Operation::HEAD_OBJECT | Operation::PUT_OBJECT | Operation::UPLOAD_PART)
    {
        return;
    }
    let is_md5 = |etag: &str| etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let encryption = call.response_encryption();
    let is_plain = encryption.kinds().all(|kind| matches!(kind, EncryptionKind::None | EncryptionKind::SseS3));
    let etag = response.headers.text_of(HeaderName::Etag).map(|etag| etag.trim_matches('"').to_owned());
    if let Some(etag) = etag.filter(|etag| is_md5(etag) && is_plain) {
        facts.push(("etag", Class::Consistency, etag));
    }
}
