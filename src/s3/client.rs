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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_recognised() {
        for (agent, sdk, version, hadoop) in [
            (
                "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.18 OpenJDK_64-Bit_Server_VM/17.0.15 java/17.0.15 scala/2.12.18 vendor/Debian cfg/retry-mode/legacy com.amazonaws.services.s3.transfer.TransferManager/1.12.262",
                Sdk::JavaV1,
                "1.12.262",
                Some("3.3.4"),
            ),
            (
                "team-a Hadoop 3.4.1, aws-sdk-java/2.24.6 Linux/6 Java/17.0.15 io/sync http/Apache cfg/retry-mode/adaptive ft/s3-transfer",
                Sdk::JavaV2,
                "2.24.6",
                Some("3.4.1"),
            ),
            ("aws-sdk-java/2.30.0 md/io#sync md/http#Apache ua/2.1 os/Linux#6 lang/java#17", Sdk::JavaV2, "2.30.0", None),
            ("Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6 md/arch#x86_64 lang/python#3.11", Sdk::Boto3, "1.44.5", None),
            ("Botocore/1.31.0 Python/3.9", Sdk::Boto3, "1.31.0", None),
            ("aws-cli/2.15.0 Python/3.11.6 Linux/6 exe/x86_64 prompt/off command/s3.cp", Sdk::AwsCli, "2.15.0", None),
            ("aws-cli/1.46.3 md/Botocore#1.44.5 Botocore/1.44.5", Sdk::AwsCli, "1.46.3", None),
            ("aws-sdk-go/1.44.133 (go1.18; linux; amd64) S3Manager", Sdk::GoV1, "1.44.133", None),
            ("aws-sdk-go-v2/1.17.1 os/linux lang/go#1.19 md/GOOS#linux api/s3#1.29", Sdk::GoV2, "1.17.1", None),
            ("aws-sdk-nodejs/2.1693.0 linux/v18.0.0 callback", Sdk::JsV2, "2.1693.0", None),
            ("aws-sdk-js/2.1693.0 callback", Sdk::JsV2, "2.1693.0", None),
            ("aws-sdk-js/3.1168.0 ua/2.1 os/linux#6 lang/js md/nodejs#20 api/s3#3.1168.0", Sdk::JsV3, "3.1168.0", None),
            ("aws-sdk-rust/1.3.9 os/linux lang/rust/1.80", Sdk::Rust, "1.3.9", None),
            ("aws-sdk-dotnet-coreclr/3.7.400 ua/2.0 os/linux", Sdk::DotNet, "3.7.400", None),
            ("aws-sdk-ruby3/3.191.0 ua/2.0 api/s3#1.143", Sdk::Ruby, "3.191.0", None),
            ("aws-sdk-cpp/1.11.900 ua/2.1 md/aws-crt# os/Linux lang/c++", Sdk::Cpp, "1.11.900", None),
            ("aws-sdk-php/3.300 OS/Linux lang/php/8.2", Sdk::Php, "3.300", None),
            (
                "MinIO (linux; amd64) minio-go/v7.0.70 mc/RELEASE.2024-06-12T14-34-03Z",
                Sdk::Mc,
                "RELEASE.2024-06-12T14-34-03Z",
                None,
            ),
            ("MinIO (linux; amd64) minio-go/v7.0.70", Sdk::MinioGo, "v7.0.70", None),
            ("MinIO (Linux; amd64) minio-java/8.5.7", Sdk::MinioJava, "8.5.7", None),
            ("MinIO (Linux; x86_64) minio-py/7.2.20", Sdk::MinioPy, "7.2.20", None),
            ("MinIO (linux; x64) minio-js/8.0.7", Sdk::MinioJs, "8.0.7", None),
            ("MinIO (linux; x86_64) minio-rs/0.3.0", Sdk::MinioRs, "0.3.0", None),
            ("duckdb/v1.1.3(linux_amd64) cli", Sdk::DuckDb, "v1.1.3", None),
            ("rclone/v1.67.0", Sdk::Rclone, "v1.67.0", None),
            ("object_store/0.12.5", Sdk::ObjectStore, "0.12.5", None),
            ("Go-http-client/1.1", Sdk::GoHttp, "1.1", None),
            ("curl/8.5.0", Sdk::Curl, "8.5.0", None),
            ("Mozilla/5.0 (X11; Linux)", Sdk::Other, "", None),
            ("nothing", Sdk::Other, "", None),
            ("Hadoop everywhere", Sdk::Other, "", None),
        ] {
            let client = Client::recognise(agent.as_bytes());
            assert_eq!((client.sdk, client.version.unwrap_or_default(), client.hadoop), (sdk, version, hadoop), "{agent}");
            assert_eq!(client.agent, Some(agent.as_bytes()));
        }
    }

    #[test]
    fn browsers_are_asked_for_the_other_header() {
        let mut headers = Headers::default();
        assert_eq!(Client::of_headers(&headers).sdk, Sdk::Unknown);
        headers.append(b"User-Agent", b"Mozilla/5.0");
        assert_eq!(Client::of_headers(&headers).sdk, Sdk::Other);
        headers.append(b"x-amz-user-agent", b"aws-sdk-js/3.500.0 ua/2.0");
        let client = Client::of_headers(&headers);
        assert_eq!((client.sdk, client.version), (Sdk::JsV3, Some("3.500.0")));
    }

    proptest::proptest! {
        #[test]
        fn any_agent_is_survived(agent in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Client::recognise(&agent);
        }
    }
}
