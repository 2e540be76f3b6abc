//! What the store does with each operation.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::lab::reply::Reply;
use crate::lab::store::Store;
use crate::lab::store::object::{Object, Protection, Upload};
use crate::lab::tables::{self, Page};
use crate::model::HeaderName;
use crate::s3::aws_chunked::{Decoder, Mode};
use crate::s3::{Call, CopySource, Payload};

impl Store {
    pub(super) fn perform(&self, call: &Call<'_>, body: &[u8], resource: &str) -> Reply {
        let bucket = text(call.address.bucket.as_deref());
        let key = text(call.address.key.as_deref());
        let place = Place { bucket: &bucket, key: &key, resource };
        let operation = call.operation.name();
        if operation == "CreateBucket" {
            self.lock().buckets.entry(bucket.clone()).or_default();
            return Reply::new(200).header("Location", format!("/{bucket}"));
        }
        if !self.lock().buckets.contains_key(&bucket) {
            return tables::error(404, "NoSuchBucket", "The specified bucket does not exist", resource);
        }
        match operation {
            "HeadBucket" => Reply::new(200),
            "PutObject" => self.put(call, body, &place),
            "GetObject" | "HeadObject" => self.read(call, &place),
            "CopyObject" => self.copy(call, &place),
            "DeleteObject" => {
                self.lock().buckets.entry(bucket).or_default().remove(&key);
                Reply::new(204)
            }
            "DeleteObjects" => self.delete_all(body, &place),
            "ListObjectsV2" => self.list(call, &place),
            "CreateMultipartUpload" => self.create_upload(call, &place),
            "UploadPart" => self.upload_part(call, body, &place),
            "CompleteMultipartUpload" => self.complete_upload(call, body, &place),
            "AbortMultipartUpload" => {
                self.lock().uploads.remove(&parameter(call, "uploadId"));
                Reply::new(204)
            }
            _ => tables::error(
                501,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                resource,
            ),
        }
    }

    fn put(&self, call: &Call<'_>, body: &[u8], place: &Place<'_>) -> Reply {
        let protection = match Protection::wanted(&call.request_encryption(), self.automatic_key.as_deref()) {
            Ok(protection) => protection,
            Err(refusal) => return place.error(400, "InvalidArgument", refusal),
        };
        let content = object_bytes(call, body);
        let object =
            Object { etag: protection.etag(&content), content_type: content_type(call), content: Arc::from(content), protection };
        let mut state = self.lock();
        let objects = state.buckets.entry(place.bucket.to_owned()).or_default();
        if call.exchange.request.headers.find("if-none-match") == Some(b"*") && objects.contains_key(place.key) {
            return place.error(412, "PreconditionFailed", PRECONDITION);
        }
        let reply = object.protection.describe(Reply::new(200).header("ETag", object.etag.clone()));
        objects.insert(place.key.to_owned(), object);
        reply
    }

    fn read(&self, call: &Call<'_>, place: &Place<'_>) -> Reply {
        let state = self.lock();
        let Some(object) = state.buckets.get(place.bucket).and_then(|objects| objects.get(place.key)) else {
            return place.error(404, "NoSuchKey", "The specified key does not exist.");
        };
        let encryption = call.request_encryption();
        let given = (encryption.has_customer(), encryption.customer_key.as_deref(), encryption.customer_key_md5.as_deref());
        if let Err((code, message)) = object.protection.check_reader(given.0, given.1, given.2) {
            return place.error(if code == "AccessDenied" { 403 } else { 400 }, code, message);
        }
        let headers = &call.exchange.request.headers;
        if headers.find("if-match").is_some_and(|wanted| !is_etag(wanted, &object.etag)) {
            return place.error(412, "PreconditionFailed", PRECONDITION);
        }
        if headers.find("if-none-match").is_some_and(|wanted| is_etag(wanted, &object.etag)) {
            return Reply::new(304).header("ETag", object.etag.clone());
        }
        let length = object.content.len();
        let range = headers.find("range").and_then(|range| byte_range(range, length));
        let (status, start, end) = range.map_or((200, 0, length), |(start, end)| (206, start, end));
        let mut reply = Reply::new(status)
            .header("ETag", object.etag.clone())
            .header("Accept-Ranges", "bytes")
            .header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            .header("Content-Type", object.content_type.clone());
        if status == 206 {
            reply = reply.header("Content-Range", format!("bytes {start}-{}/{length}", end.saturating_sub(1)));
        }
        reply = object.protection.describe(reply);
        reply.named_length = Some((end - start) as u64);
        reply.body = object.content.get(start..end).unwrap_or_default().to_vec();
        reply
    }

    fn copy(&self, call: &Call<'_>, place: &Place<'_>) -> Reply {
        let headers = &call.exchange.request.headers;
        let source = headers.find("x-amz-copy-source").and_then(CopySource::parse);
        let Some(source) = source else {
            return place.error(400, "InvalidArgument", "Copy Source must mention the source bucket and key");
        };
        let mut state = self.lock();
        let from = (String::from_utf8_lossy(&source.bucket), String::from_utf8_lossy(&source.key));
        let Some(object) = state.buckets.get(from.0.as_ref()).and_then(|objects| objects.get(from.1.as_ref())).cloned() else {
            return place.error(404, "NoSuchKey", "The specified key does not exist.");
        };
        let encryption = call.request_encryption();
        let key = (encryption.copy_source_key.as_deref(), encryption.copy_source_key_md5.as_deref());
        if let Err((code, message)) = object.protection.check_reader(encryption.has_copy_source(), key.0, key.1) {
            return place.error(400, code, message);
        }
        if headers.find("x-amz-copy-source-if-match").is_some_and(|wanted| !is_etag(wanted, &object.etag)) {
            return place.error(412, "PreconditionFailed", PRECONDITION);
        }
        let protection = match Protection::wanted(&encryption, self.automatic_key.as_deref()) {
            Ok(protection) => protection,
            Err(refusal) => return place.error(400, "InvalidArgument", refusal),
        };
        let etag = protection.etag(&object.content);
        let reply = protection.describe(Reply::new(200)).xml(&tables::copied(&etag));
        let copy = Object { etag, protection, ..object };
        state.buckets.entry(place.bucket.to_owned()).or_default().insert(place.key.to_owned(), copy);
        reply
    }

    fn delete_all(&self, body: &[u8], place: &Place<'_>) -> Reply {
        let mut state = self.lock();
        let objects = state.buckets.entry(place.bucket.to_owned()).or_default();
        for key in tables::elements(body, "Key") {
            objects.remove(&key);
        }
        Reply::new(200).xml("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></DeleteResult>")
    }

    fn list(&self, call: &Call<'_>, place: &Place<'_>) -> Reply {
        let (prefix, delimiter) = (parameter(call, "prefix"), parameter(call, "delimiter"));
        let keys_max = parameter(call, "max-keys").parse().unwrap_or(1000).min(1000);
        let state = self.lock();
        let objects = state.buckets.get(place.bucket);
        let mut page = Page {
            bucket: place.bucket,
            prefix: &prefix,
            delimiter: &delimiter,
            keys_max,
            objects: Vec::new(),
            prefixes: Vec::new(),
            is_truncated: false,
        };
        let mut prefixes = BTreeSet::new();
        for (key, object) in objects.into_iter().flatten().filter(|(key, _)| key.starts_with(&prefix)) {
            if page.objects.len() + prefixes.len() >= keys_max {
                page.is_truncated = true;
                break;
            }
            let rest = key.get(prefix.len()..).unwrap_or_default();
            match rest.find(&delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => {
                    prefixes.insert(format!("{prefix}{}{delimiter}", rest.get(..at).unwrap_or_default()));
                }
                None => page.objects.push((key, object.content.len(), &object.etag)),
            }
        }
        page.prefixes = prefixes.into_iter().collect();
        Reply::new(200).xml(&tables::listing(&page))
    }

    fn create_upload(&self, call: &Call<'_>, place: &Place<'_>) -> Reply {
        let protection = match Protection::wanted(&call.request_encryption(), self.automatic_key.as_deref()) {
            Ok(protection) => protection,
            Err(refusal) => return place.error(400, "InvalidArgument", refusal),
        };
        let mut state = self.lock();
        let id = format!("lab-upload-{:08}", state.requests);
        let reply = protection.describe(Reply::new(200)).xml(&tables::upload_created(place.bucket, place.key, &id));
        let upload = Upload {
            bucket: place.bucket.to_owned(),
            key: place.key.to_owned(),
            content_type: content_type(call),
            protection,
            parts: std::collections::BTreeMap::new(),
        };
        state.uploads.insert(id, upload);
        reply
    }

    fn upload_part(&self, call: &Call<'_>, body: &[u8], place: &Place<'_>) -> Reply {
        let content = object_bytes(call, body);
        let mut state = self.lock();
        let number = parameter(call, "partNumber").parse().unwrap_or_default();
        let Some(upload) = state.uploads.get_mut(&parameter(call, "uploadId")) else { return place.no_upload() };
        let etag = upload.protection.etag(&content);
        let reply = upload.protection.describe(Reply::new(200)).header("ETag", etag.clone());
        upload.parts.insert(number, (content, etag));
        reply
    }

    fn complete_upload(&self, call: &Call<'_>, body: &[u8], place: &Place<'_>) -> Reply {
        let mut state = self.lock();
        let id = parameter(call, "uploadId");
        let Some(upload) =
            state.uploads.get(&id).filter(|upload| (upload.bucket.as_str(), upload.key.as_str()) == (place.bucket, place.key))
        else {
            return place.no_upload();
        };
        let numbers = tables::elements(body, "PartNumber");
        let etags = tables::elements(body, "ETag");
        let mut content = Vec::new();
        for (number, etag) in numbers.iter().zip(&etags) {
            match number.parse().ok().and_then(|number: u32| upload.parts.get(&number)) {
                Some((part, known)) if is_etag(etag.as_bytes(), known) => content.extend_from_slice(part),
                _ => return place.error(400, "InvalidPart", "One or more of the specified parts could not be found."),
            }
        }
        let etag = format!("{}-{}\"", upload.protection.etag(&content).trim_end_matches('"'), numbers.len());
        let reply = upload.protection.describe(Reply::new(200)).xml(&tables::upload_completed(place.bucket, place.key, &etag));
        if let Some(upload) = state.uploads.remove(&id) {
            let object =
                Object { content: Arc::from(content), etag, content_type: upload.content_type, protection: upload.protection };
            state.buckets.entry(upload.bucket).or_default().insert(upload.key, object);
        }
        reply
    }
}

/// What a call is about.
struct Place<'p> {
    bucket: &'p str,
    key: &'p str,
    resource: &'p str,
}

impl Place<'_> {
    fn error(&self, status: u16, code: &str, message: &str) -> Reply {
        tables::error(status, code, message, self.resource)
    }

    fn no_upload(&self) -> Reply {
        self.error(404, "NoSuchUpload", "The specified multipart upload does not exist.")
    }
}

fn text(value: Option<&[u8]>) -> String {
    value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

fn parameter(call: &Call<'_>, name: &str) -> String {
    text(call.query.get(name).as_deref())
}

fn content_type(call: &Call<'_>) -> String {
    let given = call.exchange.request.headers.get(HeaderName::ContentType);
    given.map_or_else(|| "binary/octet-stream".to_owned(), |value| String::from_utf8_lossy(value).into_owned())
}

/// The object inside a body that may be in aws-chunked coding.
fn object_bytes(call: &Call<'_>, body: &[u8]) -> Vec<u8> {
    let named = call.exchange.request.headers.find("x-amz-content-sha256");
    let Some(mode) = named.map(Payload::recognise).and_then(Mode::of_payload) else { return body.to_vec() };
    let mut object = Vec::new();
    Decoder::new(mode).handle_data(body, |part| object.extend_from_slice(part));
    object
}

fn is_etag(wanted: &[u8], etag: &str) -> bool {
    let bare = |text: &[u8]| text.iter().copied().filter(|byte| *byte != b'"').collect::<Vec<_>>();
    wanted == b"*" || bare(wanted) == bare(etag.as_bytes())
}

/// `bytes=0-9`, `bytes=5-`, `bytes=-5`; start and end within the object.
fn byte_range(value: &[u8], length: usize) -> Option<(usize, usize)> {
    let (start, end) = std::str::from_utf8(value).ok()?.strip_prefix("bytes=")?.split_once('-')?;
    match (start.parse::<usize>(), end.parse::<usize>()) {
        (Ok(start), Ok(end)) => Some((start, end.saturating_add(1).min(length))),
        (Ok(start), Err(_)) => Some((start, length)),
        (Err(_), Ok(last)) => Some((length.saturating_sub(last), length)),
        (Err(_), Err(_)) => None,
    }
    .filter(|(start, end)| start < end)
}

const PRECONDITION: &str = "At least one of the pre-conditions you specified did not hold";
