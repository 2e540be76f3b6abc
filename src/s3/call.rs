//! An exchange read as S3: one exchange in, one call out, its parts on demand.

use std::borrow::Cow;

use crate::model::{Exchange, HeaderName, HeaderNames, Headers, Response};
use crate::s3::address::{Address, Domains};
use crate::s3::audit::Audit;
use crate::s3::auth::{Auth, names_aws_scheme};
use crate::s3::client::Client;
use crate::s3::copy_source::CopySource;
use crate::s3::encryption::{Encryption, headers_have_encryption, query_has_encryption};
use crate::s3::error::{S3Error, text_at};
use crate::s3::form::FormFields;
use crate::s3::operation::{Level, Method, Operation};
use crate::s3::payload::Payload;
use crate::s3::query::Query;
use crate::s3::resolve::resolve;
use crate::s3::sigv4::Credential;

/// An exchange read as S3. Reading finds operation and address; all else is looked up when it is asked for.
#[derive(Clone)]
pub struct Call<'x> {
    /// The exchange.
    pub exchange: &'x Exchange,
    /// What is asked for.
    pub operation: Operation,
    /// Whether the request names several operations at once.
    pub is_ambiguous: bool,
    /// Bucket and key.
    pub address: Address<'x>,
    /// The query.
    pub query: Query<'x>,
}

impl<'x> Call<'x> {
    /// Reads an exchange; `None` where nothing about it is S3's (see [`is_s3_like`]).
    pub fn read(exchange: &'x Exchange, domains: &Domains) -> Option<Self> {
        let request = &exchange.request;
        let headers = &request.headers;
        let method = request.method();
        let (address, query) = Address::read(method, request.target(), headers.get(HeaderName::Host), domains);
        let level = address.level();
        let is_minio_path = level == Level::Service && Address::path_of(request.target()).starts_with(b"/minio/");
        if !is_minio_path && !is_s3_like(exchange, query) {
            return None;
        }
        let (mut operation, is_ambiguous) = match level {
            Level::Service => (service_operation(request.target()), false),
            _ => resolve(method, level, query, headers),
        };
        if operation == Operation::STS {
            let action = Query::new(&request.body.kept).get("Action");
            operation = action.map_or(operation, |action| Operation::of_sts_action(&action));
        }
        Some(Self { exchange, operation, is_ambiguous, address, query })
    }

    /// Whether it is a health check or a metrics scrape: noise.
    pub fn is_health_check(&self) -> bool {
        matches!(self.operation, Operation::HEALTH | Operation::METRICS)
    }

    /// Who sent it.
    pub fn client(&self) -> Client<'x> {
        Client::of_headers(self.request_headers())
    }

    /// `amz-sdk-invocation-id`: the same for all attempts that one call of an SDK makes.
    pub fn invocation_id(&self) -> Option<&'x [u8]> {
        self.request_headers().get(HeaderName::AmzSdkInvocationId)
    }

    /// Which attempt of that call, from 1 (`amz-sdk-request: attempt=N`).
    pub fn attempt(&self) -> Option<u32> {
        let value = self.request_headers().get(HeaderName::AmzSdkRequest)?;
        let field = value.split(|byte| *byte == b';').find_map(|field| field.trim_ascii().strip_prefix(b"attempt="))?;
        std::str::from_utf8(field.trim_ascii()).ok()?.parse().ok()
    }

    /// `x-amz-request-id` of the response.
    pub fn request_id(&self) -> Option<&'x str> {
        self.response()?.headers.text_of(HeaderName::XAmzRequestId)
    }

    /// The version asked for, or else the one the response names.
    pub fn version_id(&self) -> Option<Cow<'x, [u8]>> {
        let asked = self.query.get("versionId").filter(|version| !version.is_empty());
        asked.or_else(|| self.response()?.headers.get(HeaderName::XAmzVersionId).map(Cow::Borrowed))
    }

    /// The multipart upload: from the query, or from the answer to CreateMultipartUpload.
    pub fn upload_id(&self) -> Option<Cow<'x, [u8]>> {
        if let Some(id) = self.query.get("uploadId") {
            return Some(id);
        }
        if self.operation != Operation::CREATE_MULTIPART_UPLOAD {
            return None;
        }
        let id = text_at(&self.response()?.body.kept, &["InitiateMultipartUploadResult", "UploadId"])?;
        Some(Cow::Owned(id.into_bytes()))
    }

    /// The number of the part.
    pub fn part_number(&self) -> Option<u32> {
        std::str::from_utf8(&self.query.get("partNumber")?).ok()?.parse().ok()
    }

    /// What is copied.
    pub fn copy_source(&self) -> Option<CopySource<'x>> {
        CopySource::parse(self.request_headers().get(HeaderName::XAmzCopySource)?)
    }

    /// Encryption parameters of the request: in headers, query, or the fields of a form.
    pub fn request_encryption(&self) -> Encryption<'x> {
        let mut encryption = Encryption::of_headers(self.request_headers());
        if !self.query.is_empty() {
            encryption.add_query(self.query);
        }
        if let Some(form) = self.form() {
            encryption.add_form(form);
        }
        encryption
    }

    /// Encryption parameters of the response.
    pub fn response_encryption(&self) -> Encryption<'x> {
        self.response().map(|response| Encryption::of_headers(&response.headers)).unwrap_or_default()
    }

    /// Whether request and response name any encryption parameter: a cheap question before the dear ones. A form upload
    /// counts as naming one, because only its body tells.
    pub fn has_encryption_headers(&self) -> (bool, bool) {
        let request = headers_have_encryption(self.request_headers())
            || (!self.query.is_empty() && query_has_encryption(self.query))
            || self.operation == Operation::POST_OBJECT;
        (request, self.response().is_some_and(|response| headers_have_encryption(&response.headers)))
    }

    /// How the request proves who sends it.
    pub fn auth(&self) -> Auth<'x> {
        Auth::read(self.request_headers(), self.query, self.form(), self.operation.is_sts())
    }

    /// How the body is covered by the signature.
    pub fn payload(&self) -> Payload {
        self.request_headers().get(HeaderName::XAmzContentSha256).map_or(Payload::None, Payload::recognise)
    }

    /// Octets of the object that passed in this exchange; `None` where it carries none, or they cannot be told from the
    /// framing around them.
    pub fn object_bytes(&self) -> Option<u64> {
        match self.operation {
            Operation::PUT_OBJECT | Operation::UPLOAD_PART | Operation::PUT_OBJECT_EXTRACT => self.uploaded_bytes(),
            Operation::GET_OBJECT | Operation::GET_OBJECT_LAMBDA => {
                let response = self.response()?;
                matches!(response.status, 200 | 206).then_some(response.body.length)
            }
            _ => None,
        }
    }

    /// What S3A tells in its Referer.
    pub fn audit(&self) -> Option<Audit<'x>> {
        Audit::parse(self.request_headers().get(HeaderName::Referer)?)
    }

    /// The error: of a failed response, or of a 200 that turned out to be one (CopyObject, CompleteMultipartUpload).
    pub fn error(&self) -> Option<S3Error<'x>> {
        let response = self.response()?;
        let can_fail_late =
            matches!(self.operation, Operation::COPY_OBJECT | Operation::UPLOAD_PART_COPY | Operation::COMPLETE_MULTIPART_UPLOAD);
        (response.status >= 300 || can_fail_late).then(|| S3Error::of_response(response)).flatten()
    }

    /// The temporary credential that the token service returns, where the response was kept.
    pub fn issued_credential(&self) -> Option<Credential> {
        let body = &self.response()?.body.kept;
        let (action, root) = (self.operation.name(), format!("{}Response", self.operation.name()));
        let result = format!("{action}Result");
        let text = |name: &str| text_at(body, &[&root, &result, "Credentials", name]);
        let token = text("SessionToken");
        Some(Credential::new(&text("AccessKeyId")?, &text("SecretAccessKey")?, token.as_deref()))
    }

    /// The status of the response.
    pub fn status(&self) -> Option<u16> {
        self.exchange.status()
    }

    /// Whether the response is 2xx.
    pub fn is_success(&self) -> bool {
        self.status().is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the store or a proxy refused it, or failed: 4xx and 5xx; a redirect with an error of S3 (301
    /// `PermanentRedirect`, 307 `TemporaryRedirect`), which an SDK follows only with another endpoint or region; and a 200
    /// that turned out to be an error.
    pub fn has_failed(&self) -> bool {
        match self.status() {
            Some(400..) => true,
            Some(300..400) | Some(200) => self.error().is_some(),
            _ => false,
        }
    }

    /// Whether the response is one that clients ask for on purpose: a condition that does not hold (304, 412), something
    /// that is looked for and not there (404 to a HEAD, or a `NoSuch…` other than `NoSuchBucket`), a bucket that is there already.
    pub fn is_usual_answer(&self) -> bool {
        match self.status() {
            Some(304 | 412) => true,
            Some(404) if self.exchange.request.method() == b"HEAD" => true,
            Some(404) => self.error().is_some_and(|error| error.code.starts_with("NoSuch") && error.code != "NoSuchBucket"),
            Some(409) => self.error().is_some_and(|error| error.code.starts_with("BucketAlready")),
            _ => false,
        }
    }

    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        match self.operation.method() {
            Method::Get | Method::Head | Method::Options => true,
            Method::Post => self.operation == Operation::SELECT_OBJECT_CONTENT,
            Method::Any => matches!(self.exchange.request.method(), b"GET" | b"HEAD" | b"OPTIONS"),
            Method::Put | Method::Delete => false,
        }
    }

    /// Whether it changes something in the store.
    pub fn is_write(&self) -> bool {
        !self.is_read() && !self.operation.is_sts()
    }

    /// The fields of a form upload, as far as its body was kept.
    pub fn form(&self) -> Option<FormFields<'x>> {
        if self.operation != Operation::POST_OBJECT {
            return None;
        }
        let request = &self.exchange.request;
        FormFields::read(request.headers.get(HeaderName::ContentType)?, &request.body.kept)
    }

    /// The key, also where a form upload names it in a field.
    pub fn key(&self) -> Option<Cow<'x, [u8]>> {
        self.address.key.clone().or_else(|| self.form()?.get("key").map(Cow::Borrowed))
    }

    fn uploaded_bytes(&self) -> Option<u64> {
        let headers = self.request_headers();
        if let Some(length) = headers.text_of(HeaderName::XAmzDecodedContentLength) {
            return length.trim().parse().ok();
        }
        let is_framed = self.payload().is_aws_chunked()
            || headers
                .get(HeaderName::ContentEncoding)
                .is_some_and(|coding| memchr::memmem::find(coding, b"aws-chunked").is_some());
        (!is_framed).then_some(self.exchange.request.body.length)
    }

    fn request_headers(&self) -> &'x Headers {
        &self.exchange.request.headers
    }

    fn response(&self) -> Option<&'x Response> {
        self.exchange.response()
    }
}

/// Whether something about an exchange is S3's: a header `x-amz-…`, `amz-sdk-…` or `x-minio-…` on either message; AWS
/// authentication in header or query; a query key that only S3 has; a store's `Server`; an SDK's User-Agent; or an S3 error
/// as the answer.
pub fn is_s3_like(exchange: &Exchange, query: Query<'_>) -> bool {
    let headers = &exchange.request.headers;
    // Nearly every call says so by a header that all clients send.
    if headers.names().intersects(USUAL_NAMES) {
        return true;
    }
    if is_swift(exchange) {
        return false;
    }
    if headers.known().any(|(name, sent, _)| is_s3_header(name, sent)) {
        return true;
    }
    if headers.get(HeaderName::Authorization).is_some_and(names_aws_scheme) {
        return true;
    }
    if query.raw_pairs().any(|(name, _)| S3_KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))) {
        return true;
    }
    if let Some(response) = exchange.response() {
        if response.headers.known().any(|(name, sent, value)| is_s3_header(name, sent) || is_store(name, value)) {
            return true;
        }
        if response.status >= 300 && S3Error::of_xml(&response.body.kept).is_some() {
            return true;
        }
    }
    Client::of_headers(headers).sdk.speaks_s3()
}

/// Whether a request without a signature of AWS speaks Swift, which gateways such as radosgw serve beside S3, with some of the
/// same response headers.
fn is_swift(exchange: &Exchange) -> bool {
    const PATHS: [&[u8]; 3] = [b"/swift/v1", b"/v1/AUTH_", b"/auth/v1.0"];
    const NAMES: [&[u8]; 3] = [b"x-auth-token", b"x-auth-user", b"x-storage-token"];
    let request = &exchange.request;
    let has_name = || request.headers.iter().any(|(name, _)| NAMES.iter().any(|swift| swift.eq_ignore_ascii_case(name)));
    let path = Address::path_of(request.target());
    let answers_as_swift = || {
        let response = exchange.response();
        response.is_some_and(|response| response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"x-trans-id")))
    };
    !request.headers.has(HeaderName::Authorization)
        && (has_name() || (PATHS.iter().any(|start| path.starts_with(start)) && answers_as_swift()))
}

const USUAL_NAMES: HeaderNames =
    HeaderNames::of(&[HeaderName::XAmzContentSha256, HeaderName::XAmzDate, HeaderName::AmzSdkInvocationId]);

fn is_s3_header(name: HeaderName, sent: &[u8]) -> bool {
    match name {
        HeaderName::Other => {
            S3_PREFIXES.iter().any(|prefix| sent.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
        }
        // Known names are in the order of the alphabet, so those with one beginning stand together.
        _ => {
            (HeaderName::XAmzAcl..=HeaderName::XAmzWriteOffsetBytes).contains(&name)
                || (HeaderName::AmzSdkInvocationId..=HeaderName::AmzSdkRetry).contains(&name)
                || (HeaderName::XMinioErrorCode..=HeaderName::XMinioForceDelete).contains(&name)
        }
    }
}

fn is_store(name: HeaderName, value: &[u8]) -> bool {
    name == HeaderName::Server && STORES.iter().any(|store| value.get(..store.len()) == Some(store))
}

fn service_operation(target: &[u8]) -> Operation {
    let path = Address::path_of(target);
    Operation::of_service_path(path).unwrap_or(Operation::UNKNOWN)
}

const S3_PREFIXES: &[&[u8]] = &[b"x-amz-", b"amz-sdk-", b"x-minio-"];

/// `Server` values of S3 stores and of Sidekick.
const STORES: &[&[u8]] = &[b"AmazonS3", b"MinIO", b"AIStor", b"SideKick"];

/// Query keys that no other protocol is known to have.
const S3_KEYS: &[&[u8]] = &[
    b"X-Amz-Signature",
    b"X-Amz-Credential",
    b"X-Amz-Algorithm",
    b"AWSAccessKeyId",
    b"list-type",
    b"uploadId",
    b"versionId",
    b"partNumber",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Endpoints, ExchangeId, Outcome, Request, Transport, Version};
    use crate::s3::{EncryptionKind, Scheme};

    fn exchange(method: &str, target: &str, headers: &[(&str, &str)]) -> Exchange {
        let mut request = Request::from_parts(method.as_bytes(), target.as_bytes(), Version::Http11);
        for (name, value) in headers {
            request.headers.append(name.as_bytes(), value.as_bytes());
        }
        Exchange {
            id: ExchangeId::default(),
            endpoints: Endpoints { client: Endpoint::UNKNOWN, server: Endpoint::UNKNOWN },
            transport: Transport::Clear,
            request,
            interim: Vec::new(),
            outcome: Outcome::Unanswered,
            ending: None,
            tunnel: None,
            anomalies: Vec::new(),
        }
    }

    fn answered(mut exchange: Exchange, status: u16, headers: &[(&str, &str)], body: &str) -> Exchange {
        let mut response = Response::from_parts(status, b"", Version::Http11);
        for (name, value) in headers {
            response.headers.append(name.as_bytes(), value.as_bytes());
        }
        response.body.kept = body.as_bytes().to_vec();
        response.body.length = body.len() as u64;
        exchange.outcome = Outcome::Answered(Box::new(response));
        exchange
    }

    fn call<'x>(exchange: &'x Exchange, domains: &Domains) -> Call<'x> {
        Call::read(exchange, domains).expect("a call of S3")
    }

    const DATE: (&str, &str) = ("x-amz-date", "20261123T131505Z");

    #[test]
    fn a_copy_of_s3a_is_read_whole() {
        let sent = exchange(
            "PUT",
            "/spark-data/t/part-0",
            &[
                ("amz-sdk-invocation-id", "inv-1"),
                ("amz-sdk-request", "ttl=20261123T131505Z;attempt=2;max=21"),
                ("User-Agent", "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux"),
                ("x-amz-copy-source", "/spark-data/t/_temporary/part-0?versionId=v1"),
                ("x-amz-server-side-encryption", "aws:kms"),
                ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:k"),
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ],
        );
        let done =
            answered(sent, 200, &[("x-amz-request-id", "18EAAF997433FBBA"), ("x-amz-version-id", "v2")], "<CopyObjectResult/>");
        let call = call(&done, &Domains::default());
        assert_eq!((call.operation, call.is_ambiguous, call.is_write()), (Operation::COPY_OBJECT, false, true));
        assert_eq!(
            (call.invocation_id(), call.attempt(), call.request_id()),
            (Some(&b"inv-1"[..]), Some(2), Some("18EAAF997433FBBA"))
        );
        assert_eq!(call.version_id().as_deref(), Some(&b"v2"[..]));
        let source = call.copy_source().unwrap();
        assert_eq!((&*source.bucket, &*source.key), (&b"spark-data"[..], &b"t/_temporary/part-0"[..]));
        assert_eq!(call.request_encryption().kinds().collect::<Vec<_>>(), [EncryptionKind::SseKms]);
        assert_eq!(call.has_encryption_headers(), (true, false));
        assert_eq!((call.payload(), call.object_bytes(), call.error()), (Payload::Unsigned, None, None));
        assert_eq!(call.client().hadoop, Some("3.3.4"));
    }

    #[test]
    fn object_octets_are_those_of_the_object() {
        let mut framed = exchange(
            "PUT",
            "/b1/k",
            &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), ("x-amz-decoded-content-length", "5303")],
        );
        framed.request.body.length = 5478;
        let mut unknown = exchange("PUT", "/b1/k", &[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]);
        unknown.request.body.length = 5478;
        let mut plain = exchange("PUT", "/b1/k?partNumber=3&uploadId=u", &[DATE]);
        plain.request.body.length = 10;
        let read = |status| answered(exchange("GET", "/b1/k", &[DATE]), status, &[], "hello");
        let head = answered(exchange("HEAD", "/b1/k", &[DATE]), 200, &[], "");
        let list = answered(exchange("GET", "/b1/", &[DATE]), 200, &[], "<ListBucketResult/>");
        for (exchange, bytes) in [
            (&framed, Some(5303)),
            (&unknown, None),
            (&plain, Some(10)),
            (&read(200), Some(5)),
            (&read(206), Some(5)),
            (&read(404), None),
            (&head, None),
            (&list, None),
        ] {
            assert_eq!(call(exchange, &Domains::default()).object_bytes(), bytes);
        }
        assert_eq!(call(&plain, &Domains::default()).part_number(), Some(3));
    }

    #[test]
    fn an_upload_id_comes_from_query_or_answer() {
        let created = answered(
            exchange("POST", "/b1/k?uploads", &[DATE]),
            200,
            &[],
            "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b1</Bucket><UploadId>Q==</UploadId></InitiateMultipartUploadResult>",
        );
        let part = exchange("PUT", "/b1/k?partNumber=1&uploadId=Q%3D%3D", &[DATE]);
        for exchange in [&created, &part] {
            assert_eq!(call(exchange, &Domains::default()).upload_id().as_deref(), Some(&b"Q=="[..]));
        }
    }

    #[test]
    fn errors_come_from_bodies_headers_and_late_failures() {
        let domains = Domains::default();
        let body = "<Error><Code>InternalError</Code><Message>m</Message></Error>";
        let missing = answered(exchange("GET", "/b1/k", &[DATE]), 404, &[], "<Error><Code>NoSuchKey</Code></Error>");
        let head = answered(exchange("HEAD", "/b1/k", &[DATE]), 400, &[("X-Minio-Error-Code", "InvalidRequest")], "");
        let late = answered(exchange("PUT", "/b1/k", &[("x-amz-copy-source", "b1/j")]), 200, &[], body);
        let object = answered(exchange("GET", "/b1/error.xml", &[DATE]), 200, &[], body);
        for (exchange, code) in
            [(&missing, Some("NoSuchKey")), (&head, Some("InvalidRequest")), (&late, Some("InternalError")), (&object, None)]
        {
            assert_eq!(call(exchange, &domains).error().map(|error| error.code.into_owned()).as_deref(), code);
        }
    }

    #[test]
    fn known_headers_of_s3_are_those_with_its_prefixes() {
        for name in HeaderName::ALL {
            let text = name.as_str().as_bytes();
            let has_prefix = S3_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
            assert_eq!(is_s3_header(*name, text), has_prefix, "{}", name.as_str());
        }
    }

    #[test]
    fn only_what_is_s3s_is_read() {
        let domains = Domains::default();
        let web = || exchange("GET", "/index.html", &[("Host", "example.com"), ("User-Agent", "curl/8")]);
        assert!(Call::read(&web(), &domains).is_none());
        assert!(Call::read(&answered(web(), 200, &[("Server", "nginx")], ""), &domains).is_none());
        assert!(Call::read(&exchange("GET", "/v1/health", &[]), &domains).is_none());
        for exchange in [
            exchange("GET", "/b1/k", &[("authorization", "AWS4-HMAC-SHA256 x")]),
            exchange("GET", "/b1/k", &[("X-Amz-Meta-Owner", "x")]),
            exchange("GET", "/b1/k", &[("amz-sdk-request", "attempt=1")]),
            exchange("GET", "/b1/k", &[("User-Agent", "MinIO (Linux; amd64) minio-java/8.5.7")]),
            exchange("GET", "/b1/k?X-Amz-Signature=1", &[]),
            exchange("GET", "/b1?list-type=2", &[]),
            answered(web(), 200, &[("Server", "SideKick"), ("Server", "MinIO")], ""),
            answered(web(), 200, &[("X-Amz-Request-Id", "1")], ""),
            answered(web(), 403, &[], "<Error><Code>AccessDenied</Code></Error>"),
            exchange("GET", "/minio/health/live", &[("User-Agent", "Go-http-client/1.1")]),
        ] {
            assert!(Call::read(&exchange, &domains).is_some(), "{}", String::from_utf8_lossy(exchange.request.target()));
        }
        let health = exchange("GET", "/minio/health/cluster", &[]);
        assert!(call(&health, &domains).is_health_check() && !call(&health, &domains).is_write());
    }

    #[test]
    fn forms_and_token_requests_are_read_from_their_bodies() {
        let mut form = exchange("POST", "/b1", &[("Content-Type", "multipart/form-data; boundary=X"), DATE]);
        let part = |name: &str, value: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.request.body.kept = (part("key", "up/a")
            + &part("policy", "e30=")
            + &part("x-amz-server-side-encryption-customer-key", "a2V5")
            + "--X--")
            .into_bytes();
        let read = call(&form, &Domains::default());
        assert_eq!(
            (read.operation, read.key().as_deref(), read.auth().scheme),
            (Operation::POST_OBJECT, Some(&b"up/a"[..]), Scheme::PostPolicy)
        );
        assert_eq!(read.request_encryption().keys().collect::<Vec<_>>(), [b"a2V5"]);
        assert_eq!(read.has_encryption_headers(), (true, false));

        let mut token =
            exchange("POST", "/", &[("Content-Type", "application/x-www-form-urlencoded"), ("User-Agent", "aws-cli/2.15.0")]);
        token.request.body.kept = b"Version=2011-06-15&Action=AssumeRoleWithWebIdentity".to_vec();
        let read = call(&token, &Domains::default());
        assert_eq!(
            (read.operation, read.auth().scheme, read.is_write()),
            (Operation::ASSUME_ROLE_WITH_WEB_IDENTITY, Scheme::Sts, false)
        );
    }

    /// Every row of the table, asked for in the path and in the host name.
    #[test]
    fn every_operation_is_read_in_both_styles() {
        let domains = Domains::new(vec!["store.test".to_owned()]);
        for row in crate::s3::OPERATIONS {
            let method = format!("{:?}", row.method).to_uppercase();
            let mut query = row.query_keys.join("&");
            if row.operation == "ListDirectoryBuckets" {
                query.push_str("x-id=ListDirectoryBuckets");
            }
            let (path_style, host_style) = match row.level {
                Level::Root => ("/", "/"),
                Level::Bucket => ("/b1", "/"),
                Level::Object | Level::Service => ("/b1/d//a%2Fb+c", "/d//a%2Fb+c"),
            };
            let host = if row.level == Level::Root { "store.test:9000" } else { "B1.store.test:9000" };
            let mut headers = vec![DATE];
            headers.extend(row.headers.iter().map(|name| (name.as_str(), "/b1/k")));
            for (path, host) in [(path_style, "store.test:9000"), (host_style, host), (path_style, "10.0.0.1")] {
                let mut all = headers.clone();
                all.push(("Host", host));
                let exchange = exchange(&method, &format!("{path}?{query}"), &all);
                let call = call(&exchange, &domains);
                assert_eq!((call.operation.name(), call.is_ambiguous), (row.operation, false), "{path} {host}");
                let has_bucket = row.level != Level::Root;
                assert_eq!(call.address.bucket.as_deref(), has_bucket.then_some(&b"b1"[..]));
                assert_eq!(call.address.key.as_deref(), (row.level == Level::Object).then_some(&b"d//a/b+c"[..]));
            }
        }
    }

    /// The store's own account of real runs: every call has the operation that the store says.
    #[test]
    fn the_stores_own_names_are_found() {
        let Ok(files) = std::fs::read_dir("../shared/captures") else {
            return crate::require::skip(crate::require::Need::Shared, "../shared/captures");
        };
        let mut count = 0;
        for path in files.flatten().map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(".truth.json")) {
            let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            for told in truth["calls"].as_array().unwrap() {
                let text = |name: &str| told[name].as_str().unwrap_or_default();
                if text("operation").starts_with("Assume") {
                    // A call for a token is named in its body, which the store's trace does not hold.
                    continue;
                }
                let mut headers = vec![DATE, ("Host", text("host"))];
                if text("operation") == "CopyObject" {
                    headers.push(("x-amz-copy-source", "/b/k"));
                }
                let target = format!("{}?{}", text("path"), text("query"));
                let is_sts = text("operation").starts_with("AssumeRole");
                if is_sts {
                    headers.push(("Content-Type", "application/x-www-form-urlencoded"));
                }
                let mut exchange = exchange(text("method"), &target, &headers);
                if is_sts {
                    // STS has its operation in the form, and the truth holds no bodies.
                    exchange.request.body.kept = format!("Action={}&Version=2011-06-15", text("operation")).into_bytes();
                }
                let call = call(&exchange, &Domains::default());
                assert_eq!((call.operation.name(), call.is_ambiguous), (text("operation"), false), "{path:?} {target}");
                count += 1;
            }
        }
        assert!(count > 600, "{count}");
    }

    proptest::proptest! {
        #[test]
        fn any_request_is_survived(method in "(GET|PUT|POST|DELETE|HEAD)", target in "[ -~]{0,80}", value in "[ -~]{0,80}", body in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let names = ["x-amz-date", "authorization", "x-amz-copy-source", "referer", "amz-sdk-request", "content-type", "x-amz-content-sha256", "host"];
            let headers: Vec<_> = names.iter().map(|name| (*name, value.as_str())).collect();
            let mut sent = exchange(&method, &target, &headers);
            sent.request.body.kept.clone_from(&body);
            let done = answered(sent, 500, &[("x-amz-request-id", &value)], &String::from_utf8_lossy(&body));
            if let Some(call) = Call::read(&done, &Domains::default()) {
                let _ = (call.client(), call.attempt(), call.version_id(), call.upload_id(), call.part_number(), call.copy_source());
                let _ = (call.request_encryption(), call.auth(), call.payload(), call.object_bytes(), call.audit(), call.error(), call.key());
            }
        }
    }
}
