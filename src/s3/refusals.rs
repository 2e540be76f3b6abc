//! The texts by which clients say that they refuse plain HTTP, or act differently over it: a line of a log in, what it tells out.
//! Sources: the SDKs' own sources and runs of them; what is only inferred, or has other causes too, is marked as weak.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::s3::client::Sdk;
use crate::s3::policy;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Requests with SSE-C, SSE-KMS or a customer key.
    Sse,
    /// Uploads whose body cannot be read twice, or that are not to be signed.
    Body,
    /// Every request to an `http://` address.
    AnyRequest,
    /// Fetching credentials from a container's address over http: no signed request follows.
    Credentials,
    /// Sending a bearer token.
    Bearer,
    /// Nothing, but TLS was spoken to a port that speaks plain HTTP.
    WrongScheme,
    /// Nothing: the request was sent in another way, or by a server, or elsewhere.
    NotRefused,
}

/// A text that is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Who writes it.
    pub client: &'static str,
    /// Its SDK; [`Sdk::Other`] where it is a program of its own.
    pub sdk: Sdk,
    /// What it says.
    pub refused: Refused,
    /// Whether it has other causes too: then it is evidence only beside a plaintext endpoint and no such upload.
    pub is_weak: bool,
    /// Its fixed parts, in their order.
    pub parts: &'static [&'static str],
    /// How to have the request sent all the same; empty where only TLS helps.
    pub fix: &'static str,
}

impl Known {
    /// The text, with `…` for what differs from log to log.
    pub fn text(&self) -> String {
        self.parts.join("…")
    }
}

/// The known text that a line holds; of several the first in the list, which begins with the surest.
pub(super) fn recognise(line: &[u8]) -> Option<&'static Known> {
    FINDERS.iter().find(|(finders, _)| holds(line, finders)).map(|(_, known)| *known)
}

/// All known texts.
pub fn all() -> &'static [Known] {
    KNOWN
}

fn holds(line: &[u8], finders: &[Finder<'static>]) -> bool {
    let mut rest = line;
    finders.iter().all(|finder| match finder.find(rest) {
        Some(at) => {
            rest = rest.get(at + finder.needle().len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

static FINDERS: LazyLock<Vec<(Vec<Finder<'static>>, &'static Known)>> =
    LazyLock::new(|| KNOWN.iter().map(|known| (known.parts.iter().map(Finder::new).collect(), known)).collect());

macro_rules! known {
    ($($client:literal $sdk:ident $refused:ident $is_weak:literal [$($part:expr),+] $fix:literal)*) => {
        const KNOWN: &[Known] = &[$(Known {
            client: $client,
            sdk: Sdk::$sdk,
            refused: Refused::$refused,
            is_weak: $is_weak,
            parts: &[$($part),+],
            fix: $fix,
        }),*];
    };
}

#[rustfmt::skip]
known! {
    "AWS SDK for Java 1.x" JavaV1 Sse false [policy::JAVA_V1] ""
    "AWS SDK for Go 1" GoV1 Sse false [policy::GO_V1] ""
    "AWS SDK for JavaScript 2" JsV2 Sse false [policy::JS_V2] ""
    "AWS SDK for .NET" DotNet Sse false [policy::DOT_NET_C] ""
    "AWS SDK for .NET" DotNet Sse false [policy::DOT_NET_KMS_KEY] ""
    "AWS SDK for .NET" DotNet Sse false [policy::DOT_NET_KMS] ""
    "AWS SDK for Ruby" Ruby Sse false [policy::RUBY] ""
    "AWS SDK for PHP" Php Sse false [policy::PHP_C] ""
    "minio-java" MinioJava Sse false [policy::MINIO_JAVA_C] ""
    "minio-java" MinioJava Sse false [policy::MINIO_JAVA_KMS] ""
    "minio-rs" MinioRs Sse false [policy::MINIO_RS] ""
    "s3fs-fuse" Other Sse false ["The sse type is SSE-KMS, but it is not configured to use SSL/TLS"] ""
    "s3fs-fuse" Other Sse true ["something wrong about SSE options"] ""
    "AWS SDK for Go 2" GoV2 Body false ["unseekable stream is not supported without TLS and trailing checksum"] "give PutObject a body that can be read twice (a file, or bytes.Reader), or upload with manager.Uploader, which buffers"
    "AWS SDK for Go 2" GoV2 Body true ["failed to compute payload hash: failed to seek body to start, request stream is not seekable"] "give the request a body that can be read twice, or swap the payload hash with v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware"
    "AWS SDK for JavaScript 2" JsV2 Body true ["Non-file stream objects are not supported with SigV4"] "use upload(), which buffers, in place of putObject()"
    "AWS SDK for Java 1.x" JavaV1 Body true ["Unable to reset stream after calculating AWS4 signature"] "leave chunked encoding on, upload a file, or raise the read limit of the request"
    "AWS SDK for Java 2.x" JavaV2 Body true ["The request content has fewer bytes than the specified content-length: "] "leave chunkedEncodingEnabled on"
    "AWS SDK for .NET" DotNet Body false ["When DisablePayloadSigning is true, the request must be sent over HTTPS"] "do not set DisablePayloadSigning"
    "AWS SDK for PHP" Php Body true ["A sha256 checksum could not be calculated for the provided upload body, because it was not seekable"] "wrap the body in a CachingStream, or set ContentSHA256"
    "object_store (deltalake, DataFusion, polars)" ObjectStore AnyRequest false ["URL scheme is not allowed"] "set allow_http=true (AWS_ALLOW_HTTP=true)"
    "obstore" ObjectStore AnyRequest false ["source: BadScheme"] "set allow_http=true"
    "obstore" ObjectStore AnyRequest false ["Error performing ", " http://", " - HTTP error: builder error"] "set allow_http=true"
    "pgBackRest" Other AnyRequest false ["29]: expected protocol 'https' in URL 'http://"] "update pgBackRest to 2.58.0 or later"
    "pgBackRest" Other WrongScheme true ["[101]: TLS error [", "wrong version number"] "update pgBackRest to 2.58.0 or later, with http:// in the endpoint"
    "pgBackRest" Other WrongScheme true ["[101]: TLS error [", "unknown protocol"] "update pgBackRest to 2.58.0 or later, with http:// in the endpoint"
    "minio-go" MinioGo AnyRequest false ["Endpoint url scheme \"", "\" conflicts with the secure option"] "let the scheme of the endpoint and the option Secure agree"
    "rclone" Rclone AnyRequest false ["refusing to follow insecure redirect from HTTPS to HTTP"] "let the server redirect to https, or set the final endpoint in rclone"
    "Cyberduck" Other AnyRequest true ["Unsecured ", " connection"] "use the connection profile \"S3 (HTTP)\""
    "Android, OkHttp" Other AnyRequest false ["CLEARTEXT communication to ", " not permitted by network security policy"] "allow this host in the network security configuration of the app"
    "iOS, macOS (URLSession)" Other AnyRequest false ["App Transport Security policy requires the use of a secure connection"] "add an NSAppTransportSecurity exception for this host"
    "a browser" Other AnyRequest false ["Mixed Content: The page at 'https://", "' was loaded over HTTPS, but requested an insecure"] ""
    "AWS SDK for Go" GoV2 Credentials false ["invalid endpoint host, \"", "\", only loopback/ecs/eks hosts are allowed"] ""
    "AWS SDK for Go" GoV2 Credentials false ["invalid endpoint host, \"", "\", only loopback hosts are allowed"] "update the SDK: newer versions also allow the addresses of EKS Pod Identity"
    "AWS SDK for Go 1" GoV1 Credentials false ["Ignoring, HTTP credential provider"] "update the SDK: newer versions also allow the addresses of EKS Pod Identity"
    "AWS SDK for Java 1.x" JavaV1 Credentials false ["contained withing environment variable AWS_CONTAINER_CREDENTIALS_FULL_URI has an invalid host"] ""
    "AWS SDK for Java 1.x" JavaV1 Credentials false ["has an invalid host. Host can only be one of [localhost, 127.0.0.1]"] "update the SDK: newer versions also allow the addresses of EKS Pod Identity"
    "AWS SDK for Java 2.x" JavaV2 Credentials false ["contained within environment variable AWS_CONTAINER_CREDENTIALS_FULL_URI has an invalid host"] ""
    "AWS SDK for JavaScript 3" JsV3 Credentials false ["URL not accepted. It must either be HTTPS or match one of the following"] ""
    "AWS SDK for JavaScript 3" JsV3 Credentials false [" is not a valid container metadata service hostname"] ""
    "AWS SDK for JavaScript 2" JsV2 Credentials false ["Unsupported hostname: AWS.RemoteCredentials only supports"] ""
    "botocore (boto3, aws-cli)" Boto3 Credentials false ["Unsupported host '", "Can only retrieve metadata"] ""
    "AWS SDK for Rust" Rust Credentials false ["invalid full URI for ECS provider (URI did not refer to an allowed IP address)"] ""
    "AWS SDK for Rust" Rust Credentials false ["invalid full URI for ECS provider (URI did not refer to the loopback interface)"] "update the SDK: newer versions also allow the addresses of EKS Pod Identity"
    "AWS SDK for C++" Cpp Credentials false ["AWS_CONTAINER_CREDENTIALS_FULL_URI is not HTTPS and is not within loop back CIDR"] ""
    "AWS CRT" Cpp Credentials false ["The specified host is not allowed. It must be a loopback address, ECS/EKS container host, or use HTTPS"] ""
    "AWS CRT" Cpp Credentials false ["ECS provider failed to resolve address to an allowed ip address"] ""
    "AWS SDK for .NET" DotNet Credentials false ["Cannot fetch credentials from container - the full URI contains an invalid host"] ""
    "AWS SDK for Ruby" Ruby Credentials false ["AWS_CONTAINER_CREDENTIALS_FULL_URI must use a local loopback or an ECS or EKS link-local address when using the http scheme"] ""
    "AWS SDK for Ruby" Ruby Credentials false ["AWS_CONTAINER_CREDENTIALS_FULL_URI must use a loopback address when using the http scheme"] "update the SDK: newer versions also allow the addresses of EKS Pod Identity"
    "AWS SDK for PHP" Php Credentials false ["Uri '", "' contains an unsupported host"] ""
    "AWS SDK for Kotlin" Kotlin Credentials false ["The container credentials full URI (", ") has an invalid host"] ""
    "AWS SDK for Kotlin" Kotlin Credentials false ["is specified via a hostname whose IP address(es) do not resolve to the loopback device"] ""
    "minio-py, minio-java or minio-cpp" MinioPy Credentials false [" is not loopback only host"] "update the SDK: newer versions also allow the addresses of EKS Pod Identity"
    "minio-go" MinioGo Credentials false ["uri host is not a loopback address: "] ""
    "AWS SDK for Go 2" GoV2 Bearer false ["bearer token with HTTP request requires HTTPS"] ""
    "AWS SDK for .NET" DotNet Bearer false ["is invalid for the bearer authorization scheme. Endpoint must not use 'http'"] ""
    "AWS SDK for Ruby" Ruby Bearer false ["Unable to use bearer authorization on non https endpoint"] ""
    "AWS SDK for C++" Cpp Bearer false ["HTTPS scheme must be used with a bearer token authorization"] ""
    "AWS SDK for Kotlin" Kotlin Bearer false ["https is required to use Bearer token auth"] ""
    "Azure SDK" Other Bearer false ["Bearer token authentication is not permitted for non-TLS protected (non-https) URLs"] ""
    "Azure SDK" Other Sse false ["provided encryption key must be used over HTTPS"] ""
    "AWS SDK for Java 2.x" JavaV2 NotRefused false ["Payload signing was disabled for an HTTP request with a payload. Signing will be enabled"] ""
    "Ceph RGW" Other NotRefused false ["Insecure request, rgw_crypt_require_ssl is set"] ""
    "boto3 with the CRT" Boto3 NotRefused true ["AWS_IO_DNS_QUERY_FAILED"] "set preferred_transfer_client=\"classic\": the CRT ignores endpoint_url"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_recognised_as_its_own_among_what_differs() {
        for known in all() {
            let line = format!("2026-11-27 ERROR wrapper: {} end", known.parts.join("x.example:80/ "));
            assert_eq!(recognise(line.as_bytes()).map(Known::text), Some(known.text()), "{line}");
            let reversed: Vec<&str> = known.parts.iter().rev().copied().collect();
            if reversed.len() > 1 {
                assert_ne!(recognise(reversed.join(" ").as_bytes()).map(Known::text), Some(known.text()), "parts have an order");
            }
        }
        assert_eq!(recognise(b"GET http://store/b/k 200 OK"), None);
    }

    #[test]
    fn no_part_is_so_short_that_it_is_found_everywhere() {
        for known in all() {
            assert!(known.parts.iter().map(|part| part.len()).sum::<usize>() >= 16, "{}", known.text());
        }
    }

    /// The table of the design, where it is there: every pattern of it is known.
    #[test]
    fn every_row_of_the_table_of_refusals_is_known() {
        let Ok(table) = std::fs::read_to_string("../shared/design/refusals.tsv") else {
            crate::require::skip(crate::require::Need::Shared, "../shared/design");
            return;
        };
        for row in table.lines().skip(1) {
            let pattern = row.split('\t').nth(3).unwrap();
            let line = example(pattern);
            assert!(recognise(line.as_bytes()).is_some(), "{pattern}: {line}");
        }
    }

    /// A line that a pattern of the table matches: its groups and classes filled in.
    fn example(pattern: &str) -> String {
        let filled = [
            ("(wrong version number|unknown protocol)", "unknown protocol"),
            ("(ns|µs|ms)", "ms"),
            ("[A-Z]+", "PUT"),
            ("\\S+", "x"),
            ("[0-9.]+", "1.5"),
            ("[^\"]*", "x"),
            ("[^']*", "x"),
            ("[^)]*", "x"),
            ("\\d+", "7"),
            (".{0,60}", "x"),
            ("\\s+", " "),
            ("[- ]", "-"),
            ("0?29", "029"),
            ("https?", "https"),
        ];
        let text = filled.iter().fold(pattern.to_owned(), |text, (from, to)| text.replace(from, to));
        text.replace('\\', "")
    }
}
