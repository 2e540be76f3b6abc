//! Which operation a request asks for: method, level, query keys and headers in, one operation out.

use crate::model::{HeaderName, Headers};
use crate::s3::operation::{Level, Method, Operation};
use crate::s3::operation_table::ROWS;
use crate::s3::query::{Query, decode_form};

/// The operation of a request, and whether the request names several at once (then it is the first of the table among those
/// that name most; a store may choose otherwise). Paths of the store itself are told apart by [`Operation::of_service_path`],
/// the actions of STS by [`Operation::of_sts_action`].
pub fn resolve(method: &[u8], level: Level, query: Query<'_>, headers: &Headers) -> (Operation, bool) {
    let Some(method) = recognise_method(method) else {
        return (Operation::UNKNOWN, false);
    };
    let keys = recognise_keys(query);
    if let Some(operation) = special_case(method, level, keys, query, headers) {
        return (operation, false);
    }
    let present = present_headers(headers);
    let object_lambda = HEADER_ROUTE | HEADER_TOKEN;
    if method == Method::Post && level == Level::Object && present & object_lambda == object_lambda && keys == 0 {
        // With virtual-host addressing the fixed path of this operation reads as a key.
        return (Operation::WRITE_GET_OBJECT_RESPONSE, false);
    }
    let (found, ambiguous) = best_row(method, level, keys, present);
    let Some(operation) = found else {
        return (Operation::UNKNOWN, false);
    };
    (minio_variant(operation, keys, query, headers), ambiguous)
}

/// The row with most query keys among those whose keys and headers are all there; a row that asks for a header beats one
/// that does not.
fn best_row(method: Method, level: Level, keys: u64, present: u8) -> (Option<Operation>, bool) {
    if keys == 0 && present == 0 {
        return (plain_operation(method, level), false);
    }
    let mut best: Option<(u32, u64, Operation)> = None;
    let mut ambiguous = false;
    let mut rows = ROWS_OF.get(method as usize).and_then(|levels| levels.get(level as usize)).copied().unwrap_or_default();
    while rows != 0 {
        let index = rows.trailing_zeros() as u8;
        rows &= rows - 1;
        let Some(pattern) = PATTERNS.get(usize::from(index)) else { break };
        if keys & pattern.keys != pattern.keys || present & pattern.headers != pattern.headers {
            continue;
        }
        let weight = pattern.headers.count_ones() * 64 + pattern.keys.count_ones();
        match best {
            Some((heaviest, mask, _)) if heaviest >= weight => ambiguous |= pattern.keys & !mask != 0,
            previous => {
                ambiguous = previous.is_some_and(|(_, mask, _)| mask & !pattern.keys != 0);
                best = Some((weight, pattern.keys, Operation::from_index(index)));
            }
        }
    }
    (best.map(|(_, _, operation)| operation), ambiguous)
}

/// The operation of a request that nothing discriminates: most requests, answered without a walk over the table.
const fn plain_operation(method: Method, level: Level) -> Option<Operation> {
    Some(match (level, method) {
        (Level::Object, Method::Get) => Operation::GET_OBJECT,
        (Level::Object, Method::Head) => Operation::HEAD_OBJECT,
        (Level::Object, Method::Put) => Operation::PUT_OBJECT,
        (Level::Object, Method::Delete) => Operation::DELETE_OBJECT,
        (Level::Bucket, Method::Get) => Operation::LIST_OBJECTS,
        (Level::Bucket, Method::Head) => Operation::HEAD_BUCKET,
        (Level::Bucket, Method::Put) => Operation::CREATE_BUCKET,
        (Level::Bucket, Method::Delete) => Operation::DELETE_BUCKET,
        (Level::Root, Method::Get) => Operation::LIST_BUCKETS,
        _ => return None,
    })
}

/// What is decided before the table is asked.
fn special_case(method: Method, level: Level, keys: u64, query: Query<'_>, headers: &Headers) -> Option<Operation> {
    let content_type = || headers.get(HeaderName::ContentType).unwrap_or_default();
    match (method, level) {
        (Method::Options, _) => Some(Operation::CORS_PREFLIGHT),
        (Method::Post, Level::Bucket) if starts_ignoring_case(content_type(), b"multipart/form-data") => {
            Some(Operation::POST_OBJECT)
        }
        (Method::Post, Level::Root) if keys & KEY_ACTION != 0 => {
            Some(query.get("Action").map_or(Operation::STS, |action| Operation::of_sts_action(&action)))
        }
        (Method::Post, Level::Root) if starts_ignoring_case(content_type(), b"application/x-www-form-urlencoded") => {
            Some(Operation::STS)
        }
        (Method::Get, Level::Root | Level::Bucket) if keys & KEY_EVENTS != 0 => Some(Operation::LISTEN_NOTIFICATION),
        // These exist in no service model, and both AWS and MinIO refuse them: they must not read as a plain delete or put.
        (Method::Delete, Level::Object) if keys & (KEY_ACL | KEY_TORRENT) != 0 => Some(Operation::UNKNOWN),
        (Method::Put, Level::Object) if keys & KEY_TORRENT != 0 => Some(Operation::UNKNOWN),
        (Method::Get, Level::Root) => {
            let is_directory = query.get("x-id").as_deref() == Some(b"ListDirectoryBuckets")
                || headers.get(HeaderName::Host).is_some_and(|host| memchr::memmem::find(host, b"s3express-control").is_some());
            is_directory.then_some(Operation::LIST_DIRECTORY_BUCKETS)
        }
        _ => None,
    }
}

/// MinIO's own reading of a request that AWS would read as `operation`.
fn minio_variant(operation: Operation, keys: u64, query: Query<'_>, headers: &Headers) -> Operation {
    let has = |key: u64| keys & key != 0;
    match operation {
        Operation::GET_OBJECT if has(KEY_LAMBDA_ARN) => Operation::GET_OBJECT_LAMBDA,
        Operation::PUT_OBJECT
            if headers.get(HeaderName::XAmzMetaSnowballAutoExtract).is_some_and(|value| value.eq_ignore_ascii_case(b"true")) =>
        {
            Operation::PUT_OBJECT_EXTRACT
        }
        Operation::LIST_OBJECTS_V2 if has(KEY_METADATA) => Operation::LIST_OBJECTS_V2M,
        Operation::LIST_OBJECT_VERSIONS if has(KEY_METADATA) => Operation::LIST_OBJECT_VERSIONS_M,
        Operation::LIST_BUCKETS | Operation::LIST_OBJECTS if has(KEY_REPLICATION_METRICS) => {
            if query.get("replication-metrics").as_deref() == Some(b"2") {
                Operation::GET_BUCKET_REPLICATION_METRICS_V2
            } else {
                Operation::GET_BUCKET_REPLICATION_METRICS
            }
        }
        Operation::LIST_OBJECTS if has(KEY_REPLICATION_CHECK) => Operation::VALIDATE_BUCKET_REPLICATION_CREDS,
        Operation::LIST_OBJECTS if has(KEY_REPLICATION_RESET_STATUS) => Operation::RESET_BUCKET_REPLICATION_STATUS,
        Operation::CREATE_BUCKET if has(KEY_REPLICATION_RESET) => Operation::RESET_BUCKET_REPLICATION_START,
        other => other,
    }
}

fn recognise_method(method: &[u8]) -> Option<Method> {
    match method {
        b"GET" => Some(Method::Get),
        b"HEAD" => Some(Method::Head),
        b"PUT" => Some(Method::Put),
        b"POST" => Some(Method::Post),
        b"DELETE" => Some(Method::Delete),
        b"OPTIONS" => Some(Method::Options),
        _ => None,
    }
}

/// The known keys of a query as bits.
fn recognise_keys(query: Query<'_>) -> u64 {
    query.raw_pairs().fold(0, |keys, (name, value)| keys | recognise_key(&decode_form(name), value))
}

fn recognise_key(name: &[u8], value: &[u8]) -> u64 {
    let first = name.first().copied().unwrap_or_default();
    let mut candidates = KEYS_BY_FIRST.get(usize::from(first)).copied().unwrap_or_default();
    let mut found = 0;
    while candidates != 0 {
        let bit = candidates & candidates.wrapping_neg();
        candidates ^= bit;
        let key = KEYS.get(bit.trailing_zeros() as usize).copied().unwrap_or_default().as_bytes();
        match key.strip_prefix(name) {
            Some([]) => found |= bit,
            Some([b'=', wanted @ ..]) if *decode_form(value) == *wanted => found |= bit,
            _ => {}
        }
    }
    found
}

fn present_headers(headers: &Headers) -> u8 {
    HEADERS.into_iter().filter(|name| headers.has(*name)).fold(0, |present, name| present | header_bit(name))
}

/// The headers that decide.
const HEADERS: [HeaderName; 3] = [HeaderName::XAmzCopySource, HeaderName::XAmzRequestRoute, HeaderName::XAmzRequestToken];

const fn header_bit(name: HeaderName) -> u8 {
    match name {
        HeaderName::XAmzCopySource => HEADER_COPY_SOURCE,
        HeaderName::XAmzRequestRoute => HEADER_ROUTE,
        HeaderName::XAmzRequestToken => HEADER_TOKEN,
        _ => 0,
    }
}

fn starts_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

const HEADER_COPY_SOURCE: u8 = 1;
const HEADER_ROUTE: u8 = 2;
const HEADER_TOKEN: u8 = 4;

/// A row in the form that matching needs.
#[derive(Clone, Copy)]
struct Pattern {
    headers: u8,
    keys: u64,
}

static PATTERNS: [Pattern; 112] = patterns();
/// For every method and level the bits of its rows.
static ROWS_OF: [[u128; 4]; 7] = rows_of();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn rows_of() -> [[u128; 4]; 7] {
    let mut out = [[0; 4]; 7];
    let mut at = 0;
    while at < ROWS.len() {
        out[ROWS[at].method as usize][ROWS[at].level as usize] |= 1 << at;
        at += 1;
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn patterns() -> [Pattern; 112] {
    let mut out = [Pattern { headers: 0, keys: 0 }; 112];
    let mut at = 0;
    while at < out.len() {
        let row = &ROWS[at];
        let (mut keys, mut headers, mut next) = (0, 0, 0);
        while next < row.query_keys.len() {
            keys |= key_bit(row.query_keys[next]);
            next += 1;
        }
        next = 0;
        while next < row.headers.len() {
            headers |= header_bit(row.headers[next]);
            next += 1;
        }
        out[at] = Pattern { headers, keys };
        at += 1;
    }
    out
}

/// The bit of a key of the table; fails the build for a key that recognition does not know.
#[expect(clippy::indexing_slicing, clippy::panic, reason = "evaluated at compile time: a failure fails the build")]
const fn key_bit(key: &str) -> u64 {
    let mut at = 0;
    while at < KEYS.len() {
        if same_text(KEYS[at].as_bytes(), key.as_bytes()) {
            return 1 << at;
        }
        at += 1;
    }
    panic!("a query key of the table is not in the list of keys")
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn same_text(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The query keys that decide: those of the table, then those of MinIO.
const KEYS: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "annotationName",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "id",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type=2",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type=2",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
    "Action",
    "events",
    "lambdaArn",
    "metadata=true",
    "replication-check",
    "replication-metrics",
    "replication-reset",
    "replication-reset-status",
];
const _: () = assert!(KEYS.len() <= 64);

/// For every first letter the bits of the keys that begin with it.
static KEYS_BY_FIRST: [u64; 128] = keys_by_first();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn keys_by_first() -> [u64; 128] {
    let mut out = [0; 128];
    let mut at = 0;
    while at < KEYS.len() {
        out[KEYS[at].as_bytes()[0] as usize] |= 1 << at;
        at += 1;
    }
    out
}

const KEY_ACL: u64 = key_bit("acl");
const KEY_ACTION: u64 = key_bit("Action");
const KEY_EVENTS: u64 = key_bit("events");
const KEY_LAMBDA_ARN: u64 = key_bit("lambdaArn");
const KEY_METADATA: u64 = key_bit("metadata=true");
const KEY_REPLICATION_CHECK: u64 = key_bit("replication-check");
const KEY_REPLICATION_METRICS: u64 = key_bit("replication-metrics");
const KEY_REPLICATION_RESET: u64 = key_bit("replication-reset");
const KEY_REPLICATION_RESET_STATUS: u64 = key_bit("replication-reset-status");
const KEY_TORRENT: u64 = key_bit("torrent");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::operation::{OperationRow, SseHeader};
    use crate::s3::operation_table::OPERATIONS;

    fn resolve_text(method: &str, level: Level, query: &str, headers: &[(&str, &str)]) -> (&'static str, bool) {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.append(name.as_bytes(), value.as_bytes());
        }
        let (operation, ambiguous) = resolve(method.as_bytes(), level, Query::new(query.as_bytes()), &all);
        (operation.name(), ambiguous)
    }

    const fn method_text(method: Method) -> &'static str {
        match method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Any => "",
        }
    }

    #[test]
    fn every_row_resolves_from_its_own_request() {
        for (index, row) in OPERATIONS.iter().enumerate() {
            assert_eq!(usize::from(row.number), index + 1);
            let mut query: Vec<String> = row
                .query_keys
                .iter()
                .map(|key| if key.contains('=') { (*key).to_owned() } else { format!("{key}=v1") })
                .collect();
            if row.takes_version_id {
                query.push("versionId=v2".to_owned());
            }
            if row.operation == "ListDirectoryBuckets" {
                query.push("x-id=ListDirectoryBuckets".to_owned());
            }
            query.push("X-Amz-Date=20260101T000000Z&prefix=acl&response-content-type=cors".to_owned());
            let headers: Vec<_> = row.headers.iter().map(|name| (name.as_str(), "/b/k")).collect();
            let method = method_text(row.method);
            assert_eq!(resolve_text(method, row.level, &query.join("&"), &headers), (row.operation, false));
            query.reverse();
            assert_eq!(resolve_text(method, row.level, &query.join("&").replace("=v1", ""), &headers), (row.operation, false));
        }
    }

    #[test]
    fn the_table_is_the_one_of_the_design() {
        let Ok(text) = std::fs::read_to_string("../shared/design/s3-operations.tsv") else {
            return crate::require::skip(crate::require::Need::Shared, "../shared/design");
        };
        let rendered: Vec<String> = OPERATIONS.iter().map(render_row).collect();
        let wanted: Vec<&str> = text.lines().skip(1).filter(|line| !line.is_empty()).collect();
        assert_eq!(rendered, wanted);
    }

    fn render_row(row: &OperationRow) -> String {
        let mut keys: Vec<&str> = row.query_keys.to_vec();
        keys.extend(row.takes_version_id.then_some("[versionId]"));
        let headers: Vec<&str> = row.headers.iter().map(|name| name.as_str()).collect();
        let sse = row.sse_headers.iter().map(|header| match header {
            SseHeader::Algorithm => "S",
            SseHeader::KmsKeyId => "K",
            SseHeader::Context => "X",
            SseHeader::BucketKeyEnabled => "B",
            SseHeader::Customer => "C",
            SseHeader::CopySourceCustomer => "CC",
            SseHeader::Forwarded => "FWD",
        });
        let level = match row.level {
            Level::Root => "root",
            Level::Bucket => "bucket",
            Level::Object => "object",
            Level::Service => "service",
        };
        [
            row.number.to_string(),
            row.operation.to_owned(),
            method_text(row.method).to_owned(),
            level.to_owned(),
            keys.join("&"),
            headers.join("&"),
            if row.sends_x_id { "y" } else { "n" }.to_owned(),
            sse.collect::<Vec<_>>().join(","),
            row.minio_handler.to_owned(),
        ]
        .join("\t")
    }

    #[test]
    fn special_cases_and_minio_routes_are_known() {
        let form = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
        let multipart = [("content-type", "Multipart/Form-Data; boundary=x")];
        let copy = [("x-amz-copy-source", "/b/k")];
        let lambda = [("x-amz-request-route", "r"), ("x-amz-request-token", "t")];
        use Level::{Bucket, Object, Root};
        for (method, level, query, headers, name) in [
            ("OPTIONS", Object, "", &[][..], "CorsPreflight"),
            ("POST", Bucket, "", &multipart, "PostObject"),
            ("POST", Root, "", &form, "STS"),
            ("POST", Root, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15", &[], "AssumeRoleWithWebIdentity"),
            ("POST", Root, "Action=Whatever", &[], "STS"),
            ("POST", Root, "", &[], "Unknown"),
            ("GET", Object, "lambdaArn=arn", &[], "GetObjectLambda"),
            ("PUT", Object, "", &[("X-Amz-Meta-Snowball-Auto-Extract", "true")], "PutObjectExtract"),
            ("PUT", Object, "", &[("X-Amz-Meta-Snowball-Auto-Extract", "false")], "PutObject"),
            ("PUT", Object, "", &[("x-amz-write-offset-bytes", "5")], "PutObject"),
            ("GET", Bucket, "list-type=2&metadata=true", &[], "ListObjectsV2M"),
            ("GET", Bucket, "versions&metadata=true", &[], "ListObjectVersionsM"),
            ("GET", Bucket, "list-type=1", &[], "ListObjects"),
            ("GET", Bucket, "events=s3:ObjectCreated:*&prefix=&suffix=", &[], "ListenNotification"),
            ("GET", Root, "events=s3:ObjectCreated:*", &[], "ListenNotification"),
            ("GET", Bucket, "replication-metrics", &[], "GetBucketReplicationMetrics"),
            ("GET", Bucket, "replication-metrics=2", &[], "GetBucketReplicationMetricsV2"),
            ("GET", Bucket, "replication-check", &[], "ValidateBucketReplicationCreds"),
            ("GET", Bucket, "replication-reset-status", &[], "ResetBucketReplicationStatus"),
            ("PUT", Bucket, "replication-reset", &[], "ResetBucketReplicationStart"),
            ("DELETE", Bucket, "", &[("x-minio-force-delete", "true")], "DeleteBucket"),
            ("PUT", Bucket, "", &[("x-minio-force-create", "true")], "CreateBucket"),
            ("DELETE", Object, "acl", &[], "Unknown"),
            ("DELETE", Object, "torrent", &[], "Unknown"),
            ("DELETE", Bucket, "ownershipControls", &[], "DeleteBucketOwnershipControls"),
            ("PUT", Object, "uploadId=u&partNumber=1", &copy, "UploadPartCopy"),
            ("PUT", Object, "uploadId=u&partNumber=1", &[], "UploadPart"),
            ("PUT", Object, "x-id=CopyObject", &copy, "CopyObject"),
            ("GET", Object, "partNumber=1", &[], "GetObject"),
            ("GET", Bucket, "analytics", &[], "ListBucketAnalyticsConfigurations"),
            ("GET", Bucket, "analytics&id=1", &[], "GetBucketAnalyticsConfiguration"),
            ("POST", Object, "select&select-type=1", &[], "Unknown"),
            ("POST", Object, "", &lambda, "WriteGetObjectResponse"),
            ("GET", Root, "", &[("host", "s3express-control.us-west-2.amazonaws.com")], "ListDirectoryBuckets"),
            ("GET", Bucket, "ac%6C", &[], "GetBucketAcl"),
            ("PATCH", Object, "", &[], "Unknown"),
            ("get", Object, "", &[], "Unknown"),
        ] {
            assert_eq!(resolve_text(method, level, query, headers), (name, false), "{method} {level:?} {query}");
        }
    }

    #[test]
    fn two_sub_resources_at_once_are_ambiguous() {
        use Level::{Bucket, Object};
        for (method, level, query, name) in [
            ("GET", Bucket, "cors&acl", "GetBucketAcl"),
            ("GET", Object, "tagging&retention&acl", "GetObjectAcl"),
            ("GET", Bucket, "acl&analytics&id=1", "GetBucketAnalyticsConfiguration"),
            ("GET", Bucket, "list-type=2&versions", "ListObjectVersions"),
        ] {
            assert_eq!(resolve_text(method, level, query, &[]), (name, true), "{query}");
        }
    }
}
