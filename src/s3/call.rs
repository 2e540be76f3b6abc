//! An exchange read as S3: one exchange in, one call out, its parts on demand.

use std::borrow::Cow;

use crate::model::{Exchange, HeaderName, Headers, Response};
use crate::s3::address::{Address, Domains};
use crate::s3::audit::Audit;
use crate::s3::auth::Auth;
use crate::s3::client::Client;
use crate::s3::copy_source::CopySource;
use crate::s3::encryption::{Encryption, headers_have_encryption, query_has_encryption};
use crate::s3::error::{S3Error, text_at};
use crate::s3::form::FormFields;
use crate::s3::operation::{Level, Method, Operation, resolve};
use crate::s3::payload::Payload;
use crate::s3::query::Query;

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
        if level != Level::Service && !is_s3_like(exchange, query) {
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

    /// The status of the response.
    pub fn status(&self) -> Option<u16> {
        self.exchange.status()
    }

    /// Whether the response is 2xx.
    pub fn is_success(&self) -> bool {
        self.status().is_some_and(|status| (200..300).contains(&status))
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
    if headers.known().any(|(name, sent, _)| is_s3_header(name, sent)) {
        return true;
    }
    if headers.get(HeaderName::Authorization).is_some_and(|value| value.starts_with(b"AWS")) {
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

fn is_s3_header(name: HeaderName, sent: &[u8]) -> bool {
    match name {
        HeaderName::Other => {
            S3_PREFIXES.iter().any(|prefix| sent.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
        }
        _ => S3_PREFIXES.iter().any(|prefix| name.as_str().as_bytes().starts_with(prefix)),
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
