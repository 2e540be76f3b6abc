//! Which SDK sent a request: User-Agent in, product and version out.

use crate::model::{HeaderName, Headers};

/// A client program or SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sdk {
    /// AWS SDK for Java 1.x.
    JavaV1,
    /// AWS SDK for Java 2.x.
    JavaV2,
    /// boto3, botocore, aiobotocore.
    Boto3,
    /// The AWS command line.
    AwsCli,
    /// AWS SDK for Go 1.x.
    GoV1,
    /// AWS SDK for Go 2.
    GoV2,
    /// AWS SDK for JavaScript 2.x.
    JsV2,
    /// AWS SDK for JavaScript 3.x.
    JsV3,
    /// AWS SDK for Rust.
    Rust,
    /// AWS SDK for .NET.
    DotNet,
    /// AWS SDK for Ruby.
    Ruby,
    /// AWS SDK for C++.
    Cpp,
    /// AWS SDK for PHP.
    Php,
    /// AWS SDK for Swift.
    Swift,
    /// AWS SDK for Kotlin.
    Kotlin,
    /// minio-go.
    MinioGo,
    /// The MinIO client `mc`.
    Mc,
    /// minio-java.
    MinioJava,
    /// minio-py.
    MinioPy,
    /// minio-js.
    MinioJs,
    /// minio-rs.
    MinioRs,
    /// DuckDB.
    DuckDb,
    /// s5cmd.
    S5cmd,
    /// rclone.
    Rclone,
    /// PyArrow, where it names itself (by default it shows the C++ SDK).
    PyArrow,
    /// The Rust crate object_store.
    ObjectStore,
    /// Apache OpenDAL.
    OpenDal,
    /// Go's HTTP client without an SDK: health checks, Sidekick.
    GoHttp,
    /// curl.
    Curl,
    /// Another program that names itself.
    Other,
    /// No User-Agent.
    Unknown,
}

impl Sdk {
    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::JavaV1 => "aws-sdk-java-v1",
            Self::JavaV2 => "aws-sdk-java-v2",
            Self::Boto3 => "boto3",
            Self::AwsCli => "aws-cli",
            Self::GoV1 => "aws-sdk-go-v1",
            Self::GoV2 => "aws-sdk-go-v2",
            Self::JsV2 => "aws-sdk-js-v2",
            Self::JsV3 => "aws-sdk-js-v3",
            Self::Rust => "aws-sdk-rust",
            Self::DotNet => "aws-sdk-dotnet",
            Self::Ruby => "aws-sdk-ruby",
            Self::Cpp => "aws-sdk-cpp",
            Self::Php => "aws-sdk-php",
            Self::Swift => "aws-sdk-swift",
            Self::Kotlin => "aws-sdk-kotlin",
            Self::MinioGo => "minio-go",
            Self::Mc => "mc",
            Self::MinioJava => "minio-java",
            Self::MinioPy => "minio-py",
            Self::MinioJs => "minio-js",
            Self::MinioRs => "minio-rs",
            Self::DuckDb => "duckdb",
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
            Self::PyArrow => "pyarrow",
            Self::ObjectStore => "object_store",
            Self::OpenDal => "opendal",
            Self::GoHttp => "go-http-client",
            Self::Curl => "curl",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is known to speak S3 (and not just HTTP).
    pub const fn speaks_s3(self) -> bool {
        !matches!(self, Self::GoHttp | Self::Curl | Self::Other | Self::Unknown)
    }

    /// How much a product tells: a program over the SDK it is built on, an SDK over the HTTP library below it.
    const fn rank(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Other => 1,
            Self::GoHttp | Self::Curl => 2,
            Self::AwsCli | Self::Mc | Self::S5cmd | Self::Rclone | Self::DuckDb | Self::PyArrow => 4,
            _ => 3,
        }
    }
}

/// What a request tells about the program that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'x> {
    /// The program or SDK.
    pub sdk: Sdk,
    /// Its version.
    pub version: Option<&'x str>,
    /// The version of Hadoop (S3A), where it sends.
    pub hadoop: Option<&'x str>,
    /// The User-Agent as sent (`x-amz-user-agent` where that is all there is).
    pub agent: Option<&'x [u8]>,
}

impl<'x> Client<'x> {
    /// Reads the headers of a request. In browsers an SDK can only set `x-amz-user-agent`, so that is asked too where
    /// User-Agent names no SDK.
    pub fn of_headers(headers: &'x Headers) -> Self {
        let own = headers.get(HeaderName::UserAgent).map(Self::recognise);
        if let Some(client) = own.filter(|client| client.sdk.speaks_s3()) {
            return client;
        }
        let amazon = headers.get(HeaderName::XAmzUserAgent).map(Self::recognise);
        amazon.filter(|client| client.sdk.speaks_s3()).or(own).or(amazon).unwrap_or(Self::UNKNOWN)
    }

    /// Reads a User-Agent: a list of `product/version`. The product that tells most wins, the first among equals.
    pub fn recognise(agent: &'x [u8]) -> Self {
        let mut best = Self { agent: Some(agent), sdk: Sdk::Other, ..Self::UNKNOWN };
        for at in memchr::memchr_iter(b'/', agent) {
            let (before, after) = agent.split_at_checked(at).unwrap_or_default();
            let product = last_word(before);
            let version = first_word(after.get(1..).unwrap_or_default());
            let sdk = recognise_product(product, version);
            if sdk.rank() > best.sdk.rank() {
                best.sdk = sdk;
                best.version = text(version);
            }
        }
        best.hadoop = hadoop_version(agent);
        best
    }

    const UNKNOWN: Self = Self { sdk: Sdk::Unknown, version: None, hadoop: None, agent: None };
}

fn recognise_product(product: &[u8], version: &[u8]) -> Sdk {
    match product {
        b"aws-sdk-java" if version.starts_with(b"1.") => Sdk::JavaV1,
        b"aws-sdk-java" => Sdk::JavaV2,
        b"Boto3" | b"Botocore" | b"aiobotocore" => Sdk::Boto3,
        b"aws-cli" => Sdk::AwsCli,
        b"aws-sdk-go" => Sdk::GoV1,
        b"aws-sdk-go-v2" => Sdk::GoV2,
        b"aws-sdk-nodejs" => Sdk::JsV2,
        b"aws-sdk-js" if version.starts_with(b"2.") => Sdk::JsV2,
        b"aws-sdk-js" => Sdk::JsV3,
        b"aws-sdk-rust" => Sdk::Rust,
        b"aws-sdk-ruby" | b"aws-sdk-ruby2" | b"aws-sdk-ruby3" => Sdk::Ruby,
        b"aws-sdk-cpp" => Sdk::Cpp,
        b"aws-sdk-php" | b"aws-sdk-php2" | b"aws-sdk-php3" => Sdk::Php,
        b"aws-sdk-swift" => Sdk::Swift,
        b"aws-sdk-kotlin" => Sdk::Kotlin,
        b"minio-go" => Sdk::MinioGo,
        b"mc" => Sdk::Mc,
        b"minio-java" => Sdk::MinioJava,
        b"minio-py" => Sdk::MinioPy,
        b"minio-js" => Sdk::MinioJs,
        b"minio-rs" => Sdk::MinioRs,
        b"duckdb" => Sdk::DuckDb,
        b"s5cmd" => Sdk::S5cmd,
        b"rclone" => Sdk::Rclone,
        b"pyarrow" | b"PyArrow" => Sdk::PyArrow,
        b"object_store" => Sdk::ObjectStore,
        b"opendal" => Sdk::OpenDal,
        b"Go-http-client" => Sdk::GoHttp,
        b"curl" => Sdk::Curl,
        _ if product.starts_with(b"aws-sdk-dotnet") => Sdk::DotNet,
        _ => Sdk::Other,
    }
}

/// `Hadoop 3.3.4, aws-sdk-java/…`, after whatever prefix was configured.
fn hadoop_version(agent: &[u8]) -> Option<&str> {
    let at = if agent.starts_with(b"Hadoop ") { 0 } else { memchr::memmem::find(agent, b" Hadoop ")? + 1 };
    let rest = agent.get(at + b"Hadoop ".len()..)?;
    text(first_word(rest)).filter(|version| version.starts_with(|letter: char| letter.is_ascii_digit()))
}

fn last_word(text: &[u8]) -> &[u8] {
    let start = text.iter().rposition(|byte| is_separator(*byte)).map_or(0, |at| at + 1);
    text.get(start..).unwrap_or_default()
}

fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| is_separator(*byte)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'\t')
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
