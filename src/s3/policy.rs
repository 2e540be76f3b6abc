//! Which SDK refuses server-side encryption over plain HTTP before anything is sent, and what is known of it.

use crate::s3::client::Sdk;

/// What an SDK does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It refuses, with this text.
    Refused {
        /// The text of its exception.
        text: &'static str,
    },
    /// It sends.
    Sent,
    /// Nobody has looked.
    Unverified,
}

/// What a request wants of server-side encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseRequest {
    /// SSE-C.
    CustomerKey,
    /// A copy from an object with SSE-C.
    CopySourceCustomerKey,
    /// SSE-KMS.
    Kms {
        /// Whether a key id is given.
        key_id: bool,
    },
    /// SSE-S3.
    SseS3,
}

/// A verdict and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens.
    pub verdict: Verdict,
    /// How it is known: measured, or read in the source of which version.
    pub evidence: &'static str,
}

/// What `sdk` does with such a request over plain HTTP.
pub fn over_http(sdk: Sdk, version: Option<&str>, kind: SseRequest) -> Policy {
    let is_customer = matches!(kind, SseRequest::CustomerKey | SseRequest::CopySourceCustomerKey);
    if kind == SseRequest::SseS3 {
        return sse_s3(sdk);
    }
    match sdk {
        Sdk::JavaV1 => refused(JAVA_V1, "measured with 1.12.262; source of AmazonS3Client.checkHttps"),
        Sdk::JavaV2 => sent("measured with 2.24.6 under S3A 3.4.1"),
        Sdk::Boto3 => sent("measured with boto3 1.44.5; source of botocore/handlers.py"),
        Sdk::AwsCli => sent("measured with aws-cli 1.46.3"),
        Sdk::GoV1 if is_customer => refused(GO_V1, "source of aws-sdk-go 1.44.133, service/s3/sse.go"),
        Sdk::GoV1 => sent("source of aws-sdk-go 1.44.133, service/s3/sse.go"),
        Sdk::GoV2 => sent("source of aws-sdk-go-v2 1.17.1: no check"),
        Sdk::JsV2 if is_customer => refused(JS_V2, "measured with 2.1693; source of lib/services/s3.js"),
        Sdk::JsV2 => sent("measured with 2.1693; source of lib/services/s3.js"),
        Sdk::JsV3 => sent("measured with 3.1168"),
        Sdk::Rust => sent("measured with 1.157"),
        Sdk::DotNet => dot_net(kind),
        Sdk::Ruby if is_customer => refused(RUBY, "source of aws-sdk-ruby, plugins/sse_cpk.rb; can be switched off"),
        Sdk::Ruby => sent("source of aws-sdk-ruby, plugins/sse_cpk.rb"),
        Sdk::Php if is_customer => refused(PHP_C, "source of aws-sdk-php v3, S3/SSECMiddleware.php"),
        Sdk::Php => sent("source of aws-sdk-php v3, S3/SSECMiddleware.php"),
        Sdk::MinioGo | Sdk::Mc => sent("source of minio-go and mc: no check"),
        Sdk::MinioJava if is_customer => refused(MINIO_JAVA_C, "source of minio-java, BaseArgs.java"),
        Sdk::MinioJava => refused(MINIO_JAVA_KMS, "source of minio-java, BaseArgs.java"),
        Sdk::MinioPy => sent("measured with minio-py 7.2.20"),
        Sdk::MinioJs => sent("measured with minio-js 8.0.7"),
        Sdk::MinioRs => refused(MINIO_RS, "source of minio-rs 0.3.0"),
        Sdk::DuckDb if is_customer => UNVERIFIED,
        Sdk::DuckDb => sent("source of duckdb-httpfs, src/s3fs.cpp"),
        Sdk::S5cmd if is_customer => UNVERIFIED,
        Sdk::S5cmd => sent("source of s5cmd, storage/s3.go"),
        Sdk::Rclone => rclone(version, is_customer),
        Sdk::ObjectStore | Sdk::OpenDal if !is_customer => UNVERIFIED,
        Sdk::ObjectStore => sent("text search in the source of object_store 0.12.5: no check"),
        Sdk::OpenDal => sent("text search in the source of opendal 0.54: no check"),
        _ => UNVERIFIED,
    }
}

/// No SDK is known to refuse SSE-S3, which carries no secret.
const fn sse_s3(sdk: Sdk) -> Policy {
    match sdk {
        Sdk::JavaV1 => sent("measured with 1.12.262 under S3A 3.3.4"),
        Sdk::Boto3 => sent("measured with boto3 1.44.5"),
        _ => UNVERIFIED,
    }
}

/// The .NET SDK looks at a list of headers; the key of a copy's source is not in it.
const fn dot_net(kind: SseRequest) -> Policy {
    let evidence = "source of aws-sdk-net, AmazonS3PostMarshallHandler.cs";
    match kind {
        SseRequest::CustomerKey => refused(DOT_NET_C, evidence),
        SseRequest::Kms { key_id: true } => refused(DOT_NET_KMS_KEY, evidence),
        SseRequest::Kms { key_id: false } => refused(DOT_NET_KMS, evidence),
        SseRequest::CopySourceCustomerKey | SseRequest::SseS3 => sent(evidence),
    }
}

/// rclone changed from the Go SDK v1 to v2 with 1.68.
fn rclone(version: Option<&str>, is_customer: bool) -> Policy {
    let evidence = "inferred from the SDK that rclone is built on";
    let mut numbers = version.unwrap_or_default().trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor < 68 && is_customer => refused(GO_V1, evidence),
        (Some(Ok(_)), Some(Ok(_))) => sent(evidence),
        _ if !is_customer => sent(evidence),
        _ => UNVERIFIED,
    }
}

const fn refused(text: &'static str, evidence: &'static str) -> Policy {
    Policy { verdict: Verdict::Refused { text }, evidence }
}

const fn sent(evidence: &'static str) -> Policy {
    Policy { verdict: Verdict::Sent, evidence }
}

const UNVERIFIED: Policy = Policy { verdict: Verdict::Unverified, evidence: "not verified" };

/// The SDK says "(SSE-C)" for SSE-KMS too.
pub(crate) const JAVA_V1: &str =
    "HTTPS must be used when sending customer encryption keys (SSE-C) to S3, in order to protect your encryption keys.";
pub(crate) const GO_V1: &str = "cannot send SSE keys over HTTP.";
pub(crate) const JS_V2: &str = "Cannot send SSE keys over HTTP. Set 'sslEnabled'to 'true' in your configuration";
pub(crate) const DOT_NET_C: &str =
    "Request contains headers which can only be transmitted over HTTPS: x-amz-server-side-encryption-customer-key";
pub(crate) const DOT_NET_KMS_KEY: &str =
    "Request contains headers which can only be transmitted over HTTPS: x-amz-server-side-encryption-aws-kms-key-id";
pub(crate) const DOT_NET_KMS: &str =
    "Request specifying Server Side Encryption with AWS KMS managed keys can only be transmitted over HTTPS";
pub(crate) const RUBY: &str = "Attempting to send customer-provided-keys for S3 server-side-encryption over HTTP";
pub(crate) const PHP_C: &str = "You must configure your S3 client to use HTTPS in order to use the SSE-C features";
pub(crate) const MINIO_JAVA_C: &str = "SSE-C operations must be performed over a secure connection.";
pub(crate) const MINIO_JAVA_KMS: &str = "SSE-KMS operations must be performed over a secure connection.";
pub(crate) const MINIO_RS: &str = "SSE operation must be performed over a secure connection";

#[cfg(test)]
mod tests {
    use super::*;

    const C: SseRequest = SseRequest::CustomerKey;
    const CC: SseRequest = SseRequest::CopySourceCustomerKey;
    const KMS: SseRequest = SseRequest::Kms { key_id: true };
    const KMS_BARE: SseRequest = SseRequest::Kms { key_id: false };

    #[test]
    fn the_table_of_refusals_holds() {
        let refused = |text| Verdict::Refused { text };
        for (sdk, kind, verdict) in [
            (Sdk::JavaV1, C, refused(JAVA_V1)),
            (Sdk::JavaV1, CC, refused(JAVA_V1)),
            (Sdk::JavaV1, KMS, refused(JAVA_V1)),
            (Sdk::JavaV1, KMS_BARE, refused(JAVA_V1)),
            (Sdk::JavaV1, SseRequest::SseS3, Verdict::Sent),
            (Sdk::JavaV2, C, Verdict::Sent),
            (Sdk::JavaV2, KMS, Verdict::Sent),
            (Sdk::Boto3, C, Verdict::Sent),
            (Sdk::AwsCli, KMS, Verdict::Sent),
            (Sdk::GoV1, C, refused(GO_V1)),
            (Sdk::GoV1, CC, refused(GO_V1)),
            (Sdk::GoV1, KMS, Verdict::Sent),
            (Sdk::GoV2, C, Verdict::Sent),
            (Sdk::JsV2, C, refused(JS_V2)),
            (Sdk::JsV2, KMS, Verdict::Sent),
            (Sdk::JsV3, C, Verdict::Sent),
            (Sdk::Rust, C, Verdict::Sent),
            (Sdk::DotNet, C, refused(DOT_NET_C)),
            (Sdk::DotNet, CC, Verdict::Sent),
            (Sdk::DotNet, KMS, refused(DOT_NET_KMS_KEY)),
            (Sdk::DotNet, KMS_BARE, refused(DOT_NET_KMS)),
            (Sdk::Ruby, C, refused(RUBY)),
            (Sdk::Ruby, KMS, Verdict::Sent),
            (Sdk::Php, C, refused(PHP_C)),
            (Sdk::Php, CC, refused(PHP_C)),
            (Sdk::Php, KMS, Verdict::Sent),
            (Sdk::Cpp, C, Verdict::Unverified),
            (Sdk::PyArrow, KMS, Verdict::Unverified),
            (Sdk::MinioGo, C, Verdict::Sent),
            (Sdk::Mc, KMS, Verdict::Sent),
            (Sdk::MinioJava, C, refused(MINIO_JAVA_C)),
            (Sdk::MinioJava, KMS, refused(MINIO_JAVA_KMS)),
            (Sdk::MinioPy, C, Verdict::Sent),
            (Sdk::MinioJs, C, Verdict::Sent),
            (Sdk::MinioRs, C, refused(MINIO_RS)),
            (Sdk::MinioRs, KMS, refused(MINIO_RS)),
            (Sdk::DuckDb, KMS, Verdict::Sent),
            (Sdk::S5cmd, KMS, Verdict::Sent),
            (Sdk::ObjectStore, C, Verdict::Sent),
            (Sdk::OpenDal, KMS, Verdict::Unverified),
            (Sdk::Unknown, C, Verdict::Unverified),
        ] {
            assert_eq!(over_http(sdk, None, kind).verdict, verdict, "{} {kind:?}", sdk.label());
        }
    }

    #[test]
    fn rclone_changed_its_mind_with_1_68() {
        for (version, verdict) in [
            (Some("v1.67.0"), Verdict::Refused { text: GO_V1 }),
            (Some("1.68.0"), Verdict::Sent),
            (Some("v1.70.0-beta.1"), Verdict::Sent),
            (Some("strange"), Verdict::Unverified),
            (None, Verdict::Unverified),
        ] {
            assert_eq!(over_http(Sdk::Rclone, version, C).verdict, verdict, "{version:?}");
        }
        assert_eq!(over_http(Sdk::Rclone, None, KMS).verdict, Verdict::Sent);
    }
}
