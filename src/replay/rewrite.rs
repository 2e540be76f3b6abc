//! A recorded request as it is sent to another endpoint: address, ids, encryption and body framing of the target.

use crate::model::{Headers, Request};
use crate::replay::ids::{IdKind, Ids, unquoted};
use crate::replay::safety::{Held, has_customer_key};
use crate::s3::aws_chunked::Mode;
use crate::s3::{Call, Operation, Query, encode_path, encode_query};
use crate::session::redact::parse_placeholder;

/// How the bucket is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressStyle {
    /// `/bucket/key`
    #[default]
    Path,
    /// `bucket.host/key`
    VirtualHost,
}

/// Where to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whether to speak TLS.
    pub is_tls: bool,
    /// Host, and the port where it is not the scheme's own: the value of `Host`.
    pub authority: String,
    /// How buckets are named.
    pub style: AddressStyle,
}

/// What is asked for of encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SseMode {
    /// As recorded.
    #[default]
    Keep,
    /// Nothing.
    Drop,
    /// SSE-S3 on all that writes an object.
    S3,
    /// SSE-KMS with this key on all that writes an object.
    Kms(String),
    /// SSE-C with the key given beside, on all that writes or reads an object.
    Customer,
}

/// How bodies are covered by signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadMode {
    /// Their SHA-256.
    #[default]
    Hash,
    /// `UNSIGNED-PAYLOAD`
    Unsigned,
    /// Chunks of 64 KiB with a signature each.
    Chunks,
}

/// What is changed besides the address.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Buckets: recorded, new.
    pub buckets: Vec<(String, String)>,
    /// Prefixes of keys: recorded, new.
    pub prefixes: Vec<(String, String)>,
    /// KMS key ids: recorded, new.
    pub kms_keys: Vec<(String, String)>,
    /// Encryption.
    pub sse: SseMode,
    /// A customer key in base64 and its MD5 in base64: for what the recording redacts, and for [`SseMode::Customer`].
    pub customer_key: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether customer keys may travel over http.
    pub allows_keys_over_http: bool,
    /// How bodies are signed.
    pub payload: PayloadMode,
}

/// What is at hand of a recorded body.
#[derive(Clone, Copy, Debug)]
pub enum Content<'c> {
    /// All of it, in memory.
    Bytes(&'c [u8]),
    /// All of it, in a blob.
    Stored,
    /// Nothing: bytes of the same length are made up.
    Missing,
}

/// A request to send. `Authorization` and what belongs to it are added by signing.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Vec<u8>,
    /// The path, encoded.
    pub path: Vec<u8>,
    /// The query, encoded; empty where there is none.
    pub query: Vec<u8>,
    /// `Host` first, then what is kept of the recorded ones.
    pub headers: Headers,
    /// The body.
    pub body: OutgoingBody,
}

/// The body of a request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingBody {
    /// None, and no length either.
    None,
    /// These bytes.
    Bytes(Vec<u8>),
    /// The recorded content, from its blob.
    Stored {
        /// Bytes of the recorded content.
        length: u64,
        /// How it is framed as aws-chunked, which is removed.
        framing: Option<Mode>,
        /// Its SHA-256 as recorded.
        sha256: [u8; 32],
    },
    /// So many bytes that are made up.
    MadeUp(u64),
}

/// Whether the content of a recorded body has to be in memory, because ids in it are replaced.
pub fn wants_content(call: &Call<'_>) -> bool {
    let request = &call.exchange.request;
    let is_named = matches!(call.operation, Operation::COMPLETE_MULTIPART_UPLOAD | Operation::DELETE_OBJECTS);
    let is_pending = call.address.key.as_deref().is_some_and(|key| key.ends_with(b".pending") || key.ends_with(b".pendingset"));
    (is_named || is_pending) && request.body.length <= CONTENT_BYTES_MAX
}

/// Bodies in which ids are replaced are smaller.
const CONTENT_BYTES_MAX: u64 = 8 << 20;

/// Rewrites a request for the target.
///
/// # Errors
/// Where it must not or cannot be sent.
pub fn rewrite(call: &Call<'_>, target: &Target, rules: &Rules, ids: &Ids, content: Content<'_>) -> Result<Outgoing, Held> {
    let request = &call.exchange.request;
    let asks = call.request_encryption();
    let keeps_key = matches!(rules.sse, SseMode::Keep) && has_customer_key(&asks);
    if !target.is_tls && !rules.allows_keys_over_http && (keeps_key || rules.sse == SseMode::Customer) {
        return Err(Held::CustomerKeyOverHttp);
    }
    let bucket = call.address.bucket.as_deref().map(|bucket| rules.bucket(bucket));
    let key = call.address.key.as_deref().map(|key| rules.key(key));
    let (host, path) = address(target, bucket.as_deref(), key.as_deref());
    let mut headers = Headers::default();
    headers.append(b"Host", &host);
    let body = body(call, rules, ids, content)?;
    let is_changed = matches!(body, OutgoingBody::MadeUp(_)) || wants_content(call);
    copy_headers(call, rules, ids, is_changed, &mut headers)?;
    add_encryption(call, rules, &mut headers);
    if call.operation == Operation::DELETE_OBJECTS
        && let OutgoingBody::Bytes(bytes) = &body
    {
        use base64::Engine as _;
        use md5::Digest as _;
        let digest = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(bytes));
        headers.append(b"Content-MD5", digest.as_bytes());
    }
    Ok(Outgoing { method: request.method().to_vec(), path, query: query(call, rules, ids)?, headers, body })
}

impl Rules {
    /// The new name of a bucket.
    pub fn bucket(&self, name: &[u8]) -> Vec<u8> {
        let found = self.buckets.iter().find(|(old, _)| old.as_bytes() == name);
        found.map_or_else(|| name.to_vec(), |(_, new)| new.as_bytes().to_vec())
    }

    /// The new name of a key, or of a prefix.
    pub fn key(&self, name: &[u8]) -> Vec<u8> {
        for (old, new) in &self.prefixes {
            if let Some(rest) = name.strip_prefix(old.as_bytes()) {
                return [new.as_bytes(), rest].concat();
            }
            if old.strip_suffix('/').map(str::as_bytes) == Some(name) {
                return new.trim_end_matches('/').as_bytes().to_vec();
            }
        }
        name.to_vec()
    }

    /// By the user's map, or else as the target named the key for what the recorded store named so.
    fn kms_key(&self, id: &[u8], ids: &Ids) -> Vec<u8> {
        let bare = |id: &[u8]| id.strip_prefix(b"arn:aws:kms:").unwrap_or(id).to_vec();
        let found = self.kms_keys.iter().find(|(old, _)| old.as_bytes() == id || bare(old.as_bytes()) == bare(id));
        found.map_or_else(|| ids.find(IdKind::KmsKey, id).unwrap_or(id).to_vec(), |(_, new)| new.as_bytes().to_vec())
    }
}

fn address(target: &Target, bucket: Option<&[u8]>, key: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let authority = target.authority.as_bytes();
    let key = key.map(encode_path).unwrap_or_default();
    match (bucket, target.style) {
        (None, _) => (authority.to_vec(), b"/".to_vec()),
        (Some(bucket), AddressStyle::Path) => {
            let slash: &[u8] = if key.is_empty() { b"" } else { b"/" };
            (authority.to_vec(), [b"/", encode_query(bucket).as_slice(), slash, &key].concat())
        }
        (Some(bucket), AddressStyle::VirtualHost) => ([bucket, b".", authority].concat(), [b"/".as_slice(), &key].concat()),
    }
}

/// Parameters of a signature in the query: it is signed anew, in a header.
fn is_signature(name: &str) -> bool {
    const V2: [&str; 3] = ["AWSAccessKeyId", "Signature", "Expires"];
    let is_v4 = name.to_ascii_lowercase().starts_with("x-amz-")
        && ["algorithm", "credential", "date", "expires", "signedheaders", "signature", "security-token", "content-sha256"]
            .iter()
            .any(|end| name.to_ascii_lowercase().strip_prefix("x-amz-") == Some(end));
    is_v4 || V2.contains(&name)
}

fn is_encryption(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("server-side-encryption") || name.starts_with("ssecustomer")
}

fn query(call: &Call<'_>, rules: &Rules, ids: &Ids) -> Result<Vec<u8>, Held> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for (raw_name, raw_value) in call.query.raw_pairs() {
        let pair = [raw_name, b"=", raw_value].concat();
        let Some((name, value)) = Query::new(&pair).iter().map(|(name, value)| (name.into_owned(), value.into_owned())).next()
        else {
            continue;
        };
        let text = String::from_utf8_lossy(&name).into_owned();
        if is_signature(&text) || is_encryption(&text) {
            continue;
        }
        if parse_placeholder(&value).is_some() {
            return Err(Held::Redacted(format!("the parameter {text}")));
        }
        let live = |kind, what| ids.find(kind, &value).map(<[u8]>::to_vec).ok_or(Held::IdMissing(what));
        let value = match text.as_str() {
            "uploadId" => live(IdKind::Upload, "upload id")?,
            // What the recording itself asked with in vain is asked again.
            "versionId" => ids.find(IdKind::Version, &value).map_or(value, <[u8]>::to_vec),
            "continuation-token" => live(IdKind::Token, "continuation token")?,
            "prefix" | "marker" | "start-after" | "key-marker" => {
                ids.find(IdKind::Token, &value).map_or_else(|| rules.key(&value), <[u8]>::to_vec)
            }
            _ => value,
        };
        let has_value =
            !raw_value.is_empty() || call.query.raw().windows(raw_name.len() + 1).any(|part| part == [raw_name, b"="].concat());
        let mut one = encode_query(&name);
        if has_value {
            one.push(b'=');
            one.extend(encode_query(&value));
        }
        out.push(one);
    }
    Ok(out.join(&b'&'))
}

/// Headers that belong to the connection, to proxies, to the signature or to the framing of the body.
const DROPPED: [&str; 29] = [
    "host",
    "authorization",
    "date",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "content-length",
    "transfer-encoding",
    "expect",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
    "via",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
    "x-http-method-override",
    "x-minio-force-delete",
    "x-minio-force-create",
];

fn copy_headers(call: &Call<'_>, rules: &Rules, ids: &Ids, is_changed: bool, out: &mut Headers) -> Result<(), Held> {
    let bucket = call.address.bucket.as_deref().unwrap_or_default();
    let key = call.address.key.as_deref().unwrap_or_default();
    let source = call.copy_source();
    for (name, value) in call.exchange.request.headers.iter() {
        let lower = String::from_utf8_lossy(&name.to_ascii_lowercase()).into_owned();
        let is_digest = lower == "content-md5" || lower.starts_with("x-amz-checksum-") || lower == "x-amz-sdk-checksum-algorithm";
        if DROPPED.contains(&lower.as_str()) || (is_changed && is_digest) || is_replaced(&lower, rules) {
            continue;
        }
        let value = match lower.as_str() {
            "content-encoding" => {
                let codings =
                    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|coding| *coding != b"aws-chunked");
                let rest = codings.collect::<Vec<_>>().join(&b", "[..]);
                if rest.is_empty() {
                    continue;
                }
                rest
            }
            "x-amz-copy-source" => match &source {
                Some(source) => {
                    let path = [
                        b"/",
                        encode_query(&rules.bucket(&source.bucket)).as_slice(),
                        b"/",
                        &encode_path(&rules.key(&source.key)),
                    ]
                    .concat();
                    match &source.version_id {
                        Some(version) => {
                            let version = ids.find(IdKind::Version, version).unwrap_or(version);
                            [&path[..], b"?versionId=", &encode_query(version)].concat()
                        }
                        None => path,
                    }
                }
                None => value.to_vec(),
            },
            "if-match" | "if-none-match" => live_etags(ids, bucket, key, value),
            "x-amz-copy-source-if-match" | "x-amz-copy-source-if-none-match" => match &source {
                Some(source) => live_etags(ids, &source.bucket, &source.key, value),
                None => value.to_vec(),
            },
            "x-amz-server-side-encryption-aws-kms-key-id" => rules.kms_key(value, ids),
            _ => value.to_vec(),
        };
        if memchr::memmem::find(&value, b"[redacted:").is_some() {
            let is_key = is_encryption(&lower) && rules.customer_key.is_some();
            if !is_key {
                return Err(Held::Redacted(format!("the header {lower}")));
            }
        }
        match (&rules.customer_key, is_customer_key(&lower), is_customer_md5(&lower)) {
            (Some((key, _)), true, _) => out.append(name, key),
            (Some((_, md5)), _, true) => out.append(name, md5),
            _ => out.append(name, &value),
        }
    }
    Ok(())
}

fn is_customer_key(name: &str) -> bool {
    name.ends_with("server-side-encryption-customer-key")
}

fn is_customer_md5(name: &str) -> bool {
    name.ends_with("server-side-encryption-customer-key-md5")
}

/// Whether the encryption mode replaces this header.
fn is_replaced(name: &str, rules: &Rules) -> bool {
    rules.sse != SseMode::Keep && is_encryption(name)
}

/// `"etag"`, `etag`, `*` or a list of them, with the ETags of this replay.
fn live_etags(ids: &Ids, bucket: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let one = |etag: &[u8]| {
        let bare = unquoted(etag);
        let live = ids.etag(bucket, key, bare);
        if bare.len() == etag.len() { live.to_vec() } else { [b"\"", live, b"\""].concat() }
    };
    value.split(|byte| *byte == b',').map(|etag| one(etag.trim_ascii())).collect::<Vec<_>>().join(&b", "[..])
}

fn add_encryption(call: &Call<'_>, rules: &Rules, out: &mut Headers) {
    let operation = call.operation;
    let writes = matches!(
        operation,
        Operation::PUT_OBJECT | Operation::COPY_OBJECT | Operation::CREATE_MULTIPART_UPLOAD | Operation::PUT_OBJECT_EXTRACT
    );
    match &rules.sse {
        SseMode::S3 if writes => out.append(b"x-amz-server-side-encryption", b"AES256"),
        SseMode::Kms(key) if writes => {
            out.append(b"x-amz-server-side-encryption", b"aws:kms");
            out.append(b"x-amz-server-side-encryption-aws-kms-key-id", key.as_bytes());
        }
        SseMode::Customer => {
            let Some((key, md5)) = &rules.customer_key else { return };
            let reads = matches!(
                operation,
                Operation::GET_OBJECT
                    | Operation::HEAD_OBJECT
                    | Operation::UPLOAD_PART
                    | Operation::UPLOAD_PART_COPY
                    | Operation::GET_OBJECT_ATTRIBUTES
            );
            let copies = matches!(operation, Operation::COPY_OBJECT | Operation::UPLOAD_PART_COPY);
            for (prefix, wanted) in
                [("x-amz-server-side-encryption", writes || reads), ("x-amz-copy-source-server-side-encryption", copies)]
            {
                if wanted {
                    out.append(format!("{prefix}-customer-algorithm").as_bytes(), b"AES256");
                    out.append(format!("{prefix}-customer-key").as_bytes(), key);
                    out.append(format!("{prefix}-customer-key-MD5").as_bytes(), md5);
                }
            }
        }
        _ => {}
    }
}

fn body(call: &Call<'_>, rules: &Rules, ids: &Ids, content: Content<'_>) -> Result<OutgoingBody, Held> {
    let request = &call.exchange.request;
    let length = request.body.length;
    if length == 0 {
        let takes_body = matches!(request.method(), b"PUT" | b"POST");
        return Ok(if takes_body { OutgoingBody::Bytes(Vec::new()) } else { OutgoingBody::None });
    }
    if wants_content(call) {
        let Content::Bytes(bytes) = content else { return Err(Held::BodyMissing) };
        return Ok(OutgoingBody::Bytes(rewrite_body(call, rules, ids, bytes)?));
    }
    let framing = Mode::of_payload(call.payload());
    match content {
        Content::Bytes(bytes) if framing.is_none() => {
            if memchr::memmem::find(bytes, b"[redacted:").is_some() {
                return Err(Held::Redacted("the body".to_owned()));
            }
            Ok(OutgoingBody::Bytes(bytes.to_vec()))
        }
        Content::Bytes(bytes) => Ok(OutgoingBody::Bytes(decoded(bytes, framing))),
        Content::Stored => match request.body.sha256.as_deref() {
            Some(sha256) => Ok(OutgoingBody::Stored { length, framing, sha256: *sha256 }),
            None => Ok(OutgoingBody::MadeUp(call.object_bytes().unwrap_or(length))),
        },
        Content::Missing if decides(call, request) => Err(Held::BodyMissing),
        Content::Missing => Ok(OutgoingBody::MadeUp(call.object_bytes().unwrap_or(length))),
    }
}

/// Whether made-up bytes would be another request: all but the bytes of objects.
fn decides(call: &Call<'_>, _request: &Request) -> bool {
    !matches!(call.operation, Operation::PUT_OBJECT | Operation::UPLOAD_PART)
}

/// The object of an aws-chunked body.
fn decoded(bytes: &[u8], framing: Option<Mode>) -> Vec<u8> {
    let Some(mode) = framing else { return bytes.to_vec() };
    let mut object = Vec::with_capacity(bytes.len());
    crate::s3::aws_chunked::Decoder::new(mode).handle_data(bytes, |data| object.extend_from_slice(data));
    object
}

/// A body with the ids, buckets and keys of this replay.
fn rewrite_body(call: &Call<'_>, rules: &Rules, ids: &Ids, bytes: &[u8]) -> Result<Vec<u8>, Held> {
    let bytes = decoded(bytes, Mode::of_payload(call.payload()));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match call.operation {
        Operation::COMPLETE_MULTIPART_UPLOAD => Ok(complete(call, ids, &text).into_bytes()),
        Operation::DELETE_OBJECTS => Ok(delete(rules, ids, &text).into_bytes()),
        _ => {
            // The magic committer's records: JSON with upload id, ETags, bucket and key.
            let mut text = text;
            for kind in [IdKind::Upload, IdKind::PartEtag, IdKind::Etag] {
                for (old, new) in ids.of_kind(kind) {
                    let old = old.rsplit(|byte| *byte == 0).next().unwrap_or(old);
                    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
                    if kind == IdKind::Upload && !old.is_empty() {
                        text = text.replace(old.as_ref(), &new);
                    }
                }
            }
            for (old, new) in &rules.buckets {
                text = text.replace(&format!("\"bucket\" : \"{old}\""), &format!("\"bucket\" : \"{new}\""));
            }
            Ok(text.into_bytes())
        }
    }
}

/// Each part with the ETag that the target gave it.
fn complete(call: &Call<'_>, ids: &Ids, text: &str) -> String {
    let upload = call.upload_id().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive("</Part>") {
        let number = between(piece, "<PartNumber>", "</PartNumber>").map(str::trim);
        let etag = between(piece, "<ETag>", "</ETag>");
        let live = number.and_then(|number| ids.find(IdKind::PartEtag, &[upload.as_ref(), number.as_bytes()].join(&0)));
        match (etag, live) {
            (Some(etag), Some(live)) => {
                out += &piece.replacen(etag, &format!("&quot;{}&quot;", String::from_utf8_lossy(live)), 1);
            }
            _ => out += piece,
        }
    }
    out
}

fn delete(rules: &Rules, ids: &Ids, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive("</Object>") {
        let mut piece = piece.to_owned();
        if let Some(key) = between(&piece, "<Key>", "</Key>").map(str::to_owned) {
            let new = String::from_utf8_lossy(&rules.key(key.as_bytes())).into_owned();
            piece = piece.replacen(&format!("<Key>{key}</Key>"), &format!("<Key>{new}</Key>"), 1);
        }
        if let Some(version) = between(&piece, "<VersionId>", "</VersionId>").map(str::to_owned) {
            let new = ids.find(IdKind::Version, version.as_bytes()).map(|new| String::from_utf8_lossy(new).into_owned());
            piece = piece.replacen(&version, &new.unwrap_or_else(|| version.clone()), 1);
        }
        out += &piece;
    }
    out
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let from = text.find(start)? + start.len();
    let to = text.get(from..)?.find(end)? + from;
    text.get(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Endpoints, Exchange, ExchangeId, Outcome, Transport, Version};
    use crate::s3::Domains;

    fn exchange(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Exchange {
        let mut request = Request::from_parts(method.as_bytes(), target.as_bytes(), Version::Http11);
        request.headers.append(b"Host", b"old:8091");
        request.headers.append(b"x-amz-date", b"20261123T131505Z");
        for (name, value) in headers {
            request.headers.append(name.as_bytes(), value.as_bytes());
        }
        request.body.kept = body.as_bytes().to_vec();
        request.body.length = body.len() as u64;
        request.body.complete = true;
        Exchange {
            id: ExchangeId::default(),
            endpoints: Endpoints { client: Endpoint::UNKNOWN, server: Endpoint::UNKNOWN },
            transport: Transport::Clear,
            tunnel: None,
            request,
            interim: Vec::new(),
            outcome: Outcome::Unanswered,
            ending: None,
            anomalies: Vec::new(),
        }
    }

    fn target(is_tls: bool, style: AddressStyle) -> Target {
        Target { is_tls, authority: "new:9000".to_owned(), style }
    }

    fn rules() -> Rules {
        Rules {
            buckets: vec![("old-bucket".to_owned(), "new-bucket".to_owned())],
            prefixes: vec![("a12/".to_owned(), "b/".to_owned())],
            ..Rules::default()
        }
    }

    fn outgoing(exchange: &Exchange, style: AddressStyle, rules: &Rules, ids: &Ids) -> Result<Outgoing, Held> {
        let call = Call::read(exchange, &Domains::default()).unwrap();
        let content = Content::Bytes(&exchange.request.body.kept);
        rewrite(&call, &target(true, style), rules, ids, content)
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn address_copy_source_and_conditions_follow_the_maps_and_the_ids_of_the_replay() {
        let sent = exchange(
            "PUT",
            "/old-bucket/a12/new%20key?versionId=v1",
            &[
                ("x-amz-copy-source", "old-bucket/a12/old%2Bkey?versionId=v1"),
                ("x-amz-copy-source-if-match", "\"e1\""),
                ("Authorization", "AWS4-HMAC-SHA256 Credential=a"),
                ("x-amz-security-token", "secret"),
                ("X-Forwarded-For", "10.0.0.1"),
                ("Expect", "100-continue"),
                ("x-amz-meta-a", "b"),
            ],
            "",
        );
        let mut ids = Ids::default();
        ids.add(IdKind::Version, b"v1".to_vec(), b"w/1".to_vec());
        ids.add(IdKind::Etag, b"old-bucket\0a12/old+key\0e1".to_vec(), b"f2".to_vec());
        let one = outgoing(&sent, AddressStyle::Path, &rules(), &ids).unwrap();
        assert_eq!((text(&one.path), text(&one.query)), ("/new-bucket/b/new%20key", "versionId=w%2F1"));
        let fields: Vec<(String, String)> =
            one.headers.iter().map(|(name, value)| (text(name).to_owned(), text(value).to_owned())).collect();
        let expected = [
            ("Host", "new:9000"),
            ("x-amz-copy-source", "/new-bucket/b/old%2Bkey?versionId=w%2F1"),
            ("x-amz-copy-source-if-match", "\"f2\""),
            ("x-amz-meta-a", "b"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let other = outgoing(&sent, AddressStyle::VirtualHost, &rules(), &ids).unwrap();
        assert_eq!((text(&other.path), other.headers.find("host")), ("/b/new%20key", Some(&b"new-bucket.new:9000"[..])));
    }

    #[test]
    fn presigned_requests_lose_their_signature_and_uploads_need_their_id() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Signature=ff&X-Amz-Date=1&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&uploads";
        let sent = exchange("POST", &format!("/b/k?{query}"), &[], "");
        assert_eq!(text(&outgoing(&sent, AddressStyle::Path, &rules(), &Ids::default()).unwrap().query), "uploads");
        let part = exchange("PUT", "/b/k?partNumber=1&uploadId=old", &[], "data");
        assert_eq!(outgoing(&part, AddressStyle::Path, &rules(), &Ids::default()).unwrap_err(), Held::IdMissing("upload id"));
        let mut ids = Ids::default();
        ids.add(IdKind::Upload, b"old".to_vec(), b"new".to_vec());
        assert_eq!(text(&outgoing(&part, AddressStyle::Path, &rules(), &ids).unwrap().query), "partNumber=1&uploadId=new");
    }

    #[test]
    fn completing_an_upload_names_the_etags_of_the_replay() {
        let xml = "<CompleteMultipartUpload><Part><ETag>\"p1\"</ETag><PartNumber>1</PartNumber></Part><Part><PartNumber>2</PartNumber><ETag>&quot;p2&quot;</ETag></Part></CompleteMultipartUpload>";
        let sent = exchange("POST", "/b/k?uploadId=u", &[("Content-MD5", "x")], xml);
        let mut ids = Ids::default();
        ids.add(IdKind::Upload, b"u".to_vec(), b"v".to_vec());
        ids.add(IdKind::PartEtag, b"u\x001".to_vec(), b"q1".to_vec());
        ids.add(IdKind::PartEtag, b"u\x002".to_vec(), b"q2".to_vec());
        let one = outgoing(&sent, AddressStyle::Path, &rules(), &ids).unwrap();
        let OutgoingBody::Bytes(body) = &one.body else { panic!("{:?}", one.body) };
        assert!(text(body).contains("<ETag>&quot;q1&quot;</ETag><PartNumber>1</PartNumber>"), "{}", text(body));
        assert!(text(body).contains("<PartNumber>2</PartNumber><ETag>&quot;q2&quot;</ETag>"), "{}", text(body));
        assert!(one.headers.find("content-md5").is_none());
    }

    #[test]
    fn customer_keys_do_not_leave_over_http_and_redacted_values_do_not_leave_at_all() {
        let name = "x-amz-server-side-encryption-customer-key";
        let sent = exchange("GET", "/b/k", &[(name, "MDEy"), ("x-amz-server-side-encryption-customer-algorithm", "AES256")], "");
        let call = Call::read(&sent, &Domains::default()).unwrap();
        let plain = target(false, AddressStyle::Path);
        let send = |rules: &Rules| rewrite(&call, &plain, rules, &Ids::default(), Content::Missing);
        assert_eq!(send(&rules()).unwrap_err(), Held::CustomerKeyOverHttp);
        assert!(send(&Rules { allows_keys_over_http: true, ..rules() }).is_ok());
        let dropped = send(&Rules { sse: SseMode::Drop, ..rules() }).unwrap();
        assert!(dropped.headers.find(name).is_none());
        let redacted = exchange("GET", "/b/k", &[(name, "[redacted:sse-c-key:0123456789abcdef]")], "");
        assert!(matches!(outgoing(&redacted, AddressStyle::Path, &rules(), &Ids::default()), Err(Held::Redacted(_))));
        let given = Rules { customer_key: Some((b"S0VZ".to_vec(), b"TUQ1".to_vec())), ..rules() };
        let one = outgoing(&redacted, AddressStyle::Path, &given, &Ids::default()).unwrap();
        assert_eq!(one.headers.find(name), Some(&b"S0VZ"[..]));
    }

    #[test]
    fn the_encryption_that_is_asked_for_replaces_what_was_recorded() {
        let sent = exchange(
            "PUT",
            "/b/k",
            &[("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "k")],
            "d",
        );
        let with = |sse| outgoing(&sent, AddressStyle::Path, &Rules { sse, ..rules() }, &Ids::default()).unwrap().headers;
        let name = "x-amz-server-side-encryption";
        assert_eq!(with(SseMode::Keep).find(name), Some(&b"aws:kms"[..]));
        assert_eq!(with(SseMode::Drop).find(name), None);
        assert_eq!(with(SseMode::S3).find(name), Some(&b"AES256"[..]));
        let kms = with(SseMode::Kms("other".to_owned()));
        assert_eq!(kms.find("x-amz-server-side-encryption-aws-kms-key-id"), Some(&b"other"[..]));
    }

    #[test]
    fn chunked_bodies_are_sent_as_the_object_they_carry() {
        let signature = "0".repeat(64);
        let body = format!("5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\r\n");
        let fields = [
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", "aws-chunked,gzip"),
            ("x-amz-decoded-content-length", "5"),
        ];
        let one = outgoing(&exchange("PUT", "/b/k", &fields, &body), AddressStyle::Path, &rules(), &Ids::default()).unwrap();
        assert_eq!(one.body, OutgoingBody::Bytes(b"hello".to_vec()));
        assert_eq!(one.headers.find("content-encoding"), Some(&b"gzip"[..]));
        assert!(one.headers.find("x-amz-decoded-content-length").is_none());
    }
}
