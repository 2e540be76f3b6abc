//! Which S3 operation a request asks for: method, level, query keys and headers in, one operation out.

use std::fmt;

use crate::model::{HeaderName, Headers};
use crate::s3::operation_table::ROWS;
use crate::s3::query::{Query, decode_form};

/// A request's operation: a row of the table of AWS operations, or one of those that only stores of this kind have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(u8);

/// What a request addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The service: `/`.
    Root,
    /// A bucket: `/bucket`.
    Bucket,
    /// An object: `/bucket/key`.
    Object,
    /// A path of the store or the proxy itself: `/minio/health/live`.
    Service,
}

/// An HTTP method that S3 uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any method.
    Any,
}

/// A family of server-side-encryption headers that an operation may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SseHeader {
    /// `x-amz-server-side-encryption`
    Algorithm,
    /// `…-aws-kms-key-id`
    KmsKeyId,
    /// `…-context`
    Context,
    /// `…-bucket-key-enabled`
    BucketKeyEnabled,
    /// `…-customer-*`
    Customer,
    /// `x-amz-copy-source-server-side-encryption-customer-*`
    CopySourceCustomer,
    /// The same names after `x-amz-fwd-header-`.
    Forwarded,
}

/// A row of the operation table.
#[derive(Clone, Copy, Debug)]
pub struct OperationRow {
    /// The row's number, from 1.
    pub number: u8,
    /// The name in AWS's spelling.
    pub operation: &'static str,
    /// The method.
    pub method: Method,
    /// The level.
    pub level: Level,
    /// Query keys that must all be there; `key=value` asks for that value too.
    pub query_keys: &'static [&'static str],
    /// Whether `versionId` may be given. It never decides.
    pub takes_version_id: bool,
    /// Headers that must all be there.
    pub headers: &'static [HeaderName],
    /// Whether some SDKs add `x-id=<Operation>`.
    pub sends_x_id: bool,
    /// The SSE headers that a request may carry.
    pub sse_headers: &'static [SseHeader],
    /// MinIO's handler as its trace prints it; `501:<key>` = rejected, `none` = no route.
    pub minio_handler: &'static str,
}

impl Operation {
    pub(super) const fn from_index(index: u8) -> Self {
        Self(index)
    }

    /// The name in AWS's spelling (in MinIO's where only MinIO has it).
    pub fn name(self) -> &'static str {
        self.row().map_or_else(|| self.special().map_or("Unknown", |special| special.name), |row| row.operation)
    }

    /// What it addresses.
    pub fn level(self) -> Level {
        self.row().map_or_else(|| self.special().map_or(Level::Root, |special| special.level), |row| row.level)
    }

    /// Its method.
    pub fn method(self) -> Method {
        self.row().map_or_else(|| self.special().map_or(Method::Any, |special| special.method), |row| row.method)
    }

    /// Its row in the table of AWS operations.
    pub fn row(self) -> Option<&'static OperationRow> {
        ROWS_BY_INDEX.get(usize::from(self.0))
    }

    /// Whether it belongs to MinIO (or its proxy) and not to AWS S3.
    pub fn is_minio_only(self) -> bool {
        self.special().is_some_and(|special| special.minio)
    }

    /// The operation of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        (0..=u8::MAX).map(Self).take_while(|operation| operation.is_listed()).find(|operation| operation.name() == name)
    }

    /// The operation behind a path of the store or the proxy itself; `None` where the path is a bucket's.
    pub fn of_service_path(path: &[u8]) -> Option<Self> {
        let exact: &[(&[u8], Self)] =
            &[(b"/v1/health", Self::HEALTH), (b"/v1/certificates", Self::HEALTH), (b"/.prometheus/metrics", Self::METRICS)];
        if let Some((_, operation)) = exact.iter().find(|(have, _)| *have == path) {
            return Some(*operation);
        }
        let rest = path.strip_prefix(b"/minio/")?;
        let areas: &[(&[u8], Self)] = &[
            (b"health/", Self::HEALTH),
            (b"admin/", Self::ADMIN),
            (b"kms/", Self::KMS),
            (b"v2/metrics/", Self::METRICS),
            (b"metrics/v3", Self::METRICS),
            (b"prometheus/metrics", Self::METRICS),
            (b"grid/", Self::INTERNODE),
            (b"storage/", Self::INTERNODE),
            (b"lock/", Self::INTERNODE),
            (b"peer/", Self::INTERNODE),
            (b"bootstrap/", Self::INTERNODE),
        ];
        areas.iter().find(|(prefix, _)| rest.starts_with(prefix)).map(|(_, operation)| *operation)
    }

    /// The STS operation of that `Action`.
    pub fn of_sts_action(action: &[u8]) -> Self {
        match action {
            b"AssumeRole" => Self::ASSUME_ROLE,
            b"AssumeRoleWithWebIdentity" => Self::ASSUME_ROLE_WITH_WEB_IDENTITY,
            b"AssumeRoleWithClientGrants" => Self::ASSUME_ROLE_WITH_CLIENT_GRANTS,
            b"AssumeRoleWithLDAPIdentity" => Self::ASSUME_ROLE_WITH_LDAP_IDENTITY,
            b"AssumeRoleWithCertificate" => Self::ASSUME_ROLE_WITH_CERTIFICATE,
            b"AssumeRoleWithCustomToken" => Self::ASSUME_ROLE_WITH_CUSTOM_TOKEN,
            b"AssumeRoleWithSAML" => Self::ASSUME_ROLE_WITH_SAML,
            b"GetSessionToken" => Self::GET_SESSION_TOKEN,
            b"GetCallerIdentity" => Self::GET_CALLER_IDENTITY,
            _ => Self::STS,
        }
    }

    /// Whether it is one of STS's.
    pub const fn is_sts(self) -> bool {
        self.0 >= Self::STS.0 && self.0 <= Self::GET_CALLER_IDENTITY.0
    }

    fn is_listed(self) -> bool {
        usize::from(self.0) < ROWS_BY_INDEX.len() + SPECIALS.len()
    }

    fn special(self) -> Option<&'static Special> {
        SPECIALS.get(usize::from(self.0).checked_sub(ROWS_BY_INDEX.len())?)
    }
}

/// The name.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

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
    let mut best: Option<(u32, u64, Operation)> = None;
    let mut ambiguous = false;
    for (index, pattern) in (0_u8..).zip(PATTERNS.iter()) {
        if pattern.method != method || pattern.level != level {
            continue;
        }
        if keys & pattern.keys != pattern.keys || present & pattern.headers != pattern.headers {
            continue;
        }
        let weight = pattern.headers.count_ones() * 64 + pattern.keys.count_ones();
        match best {
            Some((heaviest, mask, _)) if heaviest >= weight => ambiguous |= pattern.keys & !mask != 0,
            previous => {
                ambiguous = previous.is_some_and(|(_, mask, _)| mask & !pattern.keys != 0);
                best = Some((weight, pattern.keys, Operation(index)));
            }
        }
    }
    (best.map(|(_, _, operation)| operation), ambiguous)
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
    let mut keys = 0;
    for (name, value) in query.raw_pairs() {
        let name = decode_form(name);
        keys |= std::str::from_utf8(&name).map_or(0, |name| recognise_key(name, value));
    }
    keys
}

fn present_headers(headers: &Headers) -> u8 {
    let mut present = 0;
    for (name, _, _) in headers.known() {
        present |= header_bit(name);
    }
    present
}

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
    method: Method,
    level: Level,
    headers: u8,
    keys: u64,
}

static ROWS_BY_INDEX: [OperationRow; 112] = ROWS;
static PATTERNS: [Pattern; 112] = patterns();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time: an index out of bounds fails the build")]
const fn patterns() -> [Pattern; 112] {
    let mut out = [Pattern { method: Method::Any, level: Level::Service, headers: 0, keys: 0 }; 112];
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
        out[at] = Pattern { method: row.method, level: row.level, headers, keys };
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

macro_rules! query_keys {
    (plain: $($plain:literal)*; valued: $($name:literal = $value:literal)*) => {
        const KEYS: &[&str] = &[$($plain,)* $(concat!($name, "=", $value),)*];
        const _: () = assert!(KEYS.len() <= 64);

        fn recognise_key(name: &str, value: &[u8]) -> u64 {
            let bit = match name {
                $($plain => const { key_bit($plain) },)*
                _ => 0,
            };
            bit | match name {
                $($name if *decode_form(value) == *$value.as_bytes() => const { key_bit(concat!($name, "=", $value)) },)*
                _ => 0,
            }
        }
    };
}

query_keys! {
    plain:
        "abac" "accelerate" "acl" "analytics" "annotation" "annotationName" "attributes" "cors" "delete" "encryption" "id"
        "intelligent-tiering" "inventory" "legal-hold" "lifecycle" "location" "logging" "metadataAnnotationTable"
        "metadataConfiguration" "metadataInventoryTable" "metadataJournalTable" "metadataTable" "metrics" "notification"
        "object-lock" "ownershipControls" "partNumber" "policy" "policyStatus" "publicAccessBlock" "renameObject" "replication"
        "requestPayment" "restore" "retention" "select" "session" "tagging" "torrent" "uploadId" "uploads" "versioning"
        "versions" "website"
        "Action" "events" "lambdaArn" "replication-check" "replication-metrics" "replication-reset" "replication-reset-status";
    valued:
        "list-type" = "2" "metadata" = "true" "select-type" = "2"
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

/// An operation outside AWS's S3 model.
struct Special {
    name: &'static str,
    method: Method,
    level: Level,
    minio: bool,
}

macro_rules! specials {
    ($($index:literal $word:ident $name:literal $method:ident $level:ident $minio:literal $doc:literal;)*) => {
        impl Operation {
            $(#[doc = $doc] pub const $word: Self = Self($index);)*
        }

        static SPECIALS: [Special; [$($index),*].len()] =
            [$(Special { name: $name, method: Method::$method, level: Level::$level, minio: $minio },)*];
    };
}

specials! {
    112 UNKNOWN "Unknown" Any Root false "No operation that is known.";
    113 POST_OBJECT "PostObject" Post Bucket false "An upload by an HTML form.";
    114 CORS_PREFLIGHT "CorsPreflight" Options Object false "`OPTIONS`: what a browser asks before another request.";
    115 STS "STS" Post Root false "A request to the Security Token Service whose action is not known.";
    116 ASSUME_ROLE "AssumeRole" Post Root false "STS `AssumeRole`.";
    117 ASSUME_ROLE_WITH_WEB_IDENTITY "AssumeRoleWithWebIdentity" Post Root false "STS `AssumeRoleWithWebIdentity`.";
    118 ASSUME_ROLE_WITH_CLIENT_GRANTS "AssumeRoleWithClientGrants" Post Root true "MinIO's `AssumeRoleWithClientGrants`.";
    119 ASSUME_ROLE_WITH_LDAP_IDENTITY "AssumeRoleWithLDAPIdentity" Post Root true "MinIO's `AssumeRoleWithLDAPIdentity`.";
    120 ASSUME_ROLE_WITH_CERTIFICATE "AssumeRoleWithCertificate" Post Root true "MinIO's `AssumeRoleWithCertificate`.";
    121 ASSUME_ROLE_WITH_CUSTOM_TOKEN "AssumeRoleWithCustomToken" Post Root true "MinIO's `AssumeRoleWithCustomToken`.";
    122 ASSUME_ROLE_WITH_SAML "AssumeRoleWithSAML" Post Root false "STS `AssumeRoleWithSAML`.";
    123 GET_SESSION_TOKEN "GetSessionToken" Post Root false "STS `GetSessionToken`.";
    124 GET_CALLER_IDENTITY "GetCallerIdentity" Post Root false "STS `GetCallerIdentity`.";
    125 GET_OBJECT_LAMBDA "GetObjectLambda" Get Object true "MinIO: an object changed by a function on its way.";
    126 PUT_OBJECT_EXTRACT "PutObjectExtract" Put Object true "MinIO: an archive unpacked into objects.";
    127 LIST_OBJECTS_V2M "ListObjectsV2M" Get Bucket true "MinIO: a list with metadata.";
    128 LIST_OBJECT_VERSIONS_M "ListObjectVersionsM" Get Bucket true "MinIO: a list of versions with metadata.";
    129 LISTEN_NOTIFICATION "ListenNotification" Get Bucket true "MinIO: an endless stream of events.";
    130 GET_BUCKET_REPLICATION_METRICS "GetBucketReplicationMetrics" Get Bucket true "MinIO: replication metrics.";
    131 GET_BUCKET_REPLICATION_METRICS_V2 "GetBucketReplicationMetricsV2" Get Bucket true "MinIO: replication metrics, second form.";
    132 VALIDATE_BUCKET_REPLICATION_CREDS "ValidateBucketReplicationCreds" Get Bucket true "MinIO: a check of replication credentials.";
    133 RESET_BUCKET_REPLICATION_START "ResetBucketReplicationStart" Put Bucket true "MinIO: replication started anew.";
    134 RESET_BUCKET_REPLICATION_STATUS "ResetBucketReplicationStatus" Get Bucket true "MinIO: how far replication started anew has come.";
    135 HEALTH "Health" Any Service true "A health check of MinIO or Sidekick: noise.";
    136 METRICS "Metrics" Any Service true "A metrics scrape of MinIO or Sidekick: noise.";
    137 ADMIN "Admin" Any Service true "MinIO's admin API.";
    138 KMS "Kms" Any Service true "MinIO's KMS API.";
    139 INTERNODE "Internode" Any Service true "What MinIO's nodes say to each other.";
}
