//! The operations: those of AWS by their rows, and those that only stores of this kind have.

use std::fmt;

use crate::model::HeaderName;
use crate::s3::operation_table::OPERATIONS;

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
        OPERATIONS.get(usize::from(self.0))
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

    /// Whether the body of its request is (a part of) an object.
    pub const fn writes_object(self) -> bool {
        matches!(self, Self::PUT_OBJECT | Self::UPLOAD_PART | Self::PUT_OBJECT_EXTRACT)
    }

    /// Whether the body of its response is (a part of) an object, or of a result made of one.
    pub fn reads_object(self) -> bool {
        matches!(self, Self::GET_OBJECT | Self::GET_OBJECT_LAMBDA) || self.name() == "SelectObjectContent"
    }

    /// Whether it is one of STS's.
    pub const fn is_sts(self) -> bool {
        self.0 >= Self::STS.0 && self.0 <= Self::GET_CALLER_IDENTITY.0
    }

    fn is_listed(self) -> bool {
        usize::from(self.0) < OPERATIONS.len() + SPECIALS.len()
    }

    fn special(self) -> Option<&'static Special> {
        SPECIALS.get(usize::from(self.0).checked_sub(OPERATIONS.len())?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let all: Vec<Operation> = (0..=u8::MAX).map(Operation).take_while(|operation| operation.is_listed()).collect();
        assert_eq!(all.len(), 140);
        for operation in &all {
            assert_eq!(Operation::of_name(operation.name()), Some(*operation));
            assert_eq!(operation.row().is_some(), operation.0 < 112);
        }
        assert_eq!(Operation::INTERNODE.0, 139);
        assert!(
            Operation::ADMIN.is_minio_only() && !Operation::PUT_OBJECT.is_minio_only() && !Operation::POST_OBJECT.is_minio_only()
        );
        assert!(Operation::ASSUME_ROLE.is_sts() && !Operation::CORS_PREFLIGHT.is_sts() && !Operation::GET_OBJECT_LAMBDA.is_sts());
        assert_eq!((Operation::HEALTH.level(), Operation::COPY_OBJECT.level()), (Level::Service, Level::Object));
    }

    #[test]
    fn service_paths_are_told_from_buckets() {
        for (path, operation) in [
            ("/minio/health/live", Some(Operation::HEALTH)),
            ("/minio/health/cluster/read", Some(Operation::HEALTH)),
            ("/minio/v2/metrics/cluster", Some(Operation::METRICS)),
            ("/minio/metrics/v3", Some(Operation::METRICS)),
            ("/minio/prometheus/metrics", Some(Operation::METRICS)),
            ("/minio/admin/v3/info", Some(Operation::ADMIN)),
            ("/minio/kms/v1/status", Some(Operation::KMS)),
            ("/minio/grid/v1", Some(Operation::INTERNODE)),
            ("/v1/health", Some(Operation::HEALTH)),
            ("/.prometheus/metrics", Some(Operation::METRICS)),
            ("/minio/k", None),
            ("/minio", None),
            ("/b/minio/health/live", None),
        ] {
            assert_eq!(Operation::of_service_path(path.as_bytes()), operation, "{path}");
        }
    }
}
