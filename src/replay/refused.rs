//! Requests that a client refused to send, made from what the recording shows of them.

use std::collections::{HashMap, HashSet};

use crate::model::{Exchange, HeaderName, Outcome, Request, Version};
use crate::s3::{Call, Domains, Operation, Sdk, encode_path};

/// Bucket and key.
type Name = (Vec<u8>, Vec<u8>);

/// The copies that Hadoop S3A with the AWS SDK for Java 1.x had to make and did not: of objects that were put, looked up, found
/// under SSE-KMS with a key id, and never copied. Each is the request as the SDK would have sent it (S3A 3.3
/// `S3AFileSystem.copyFile`: the encryption of the HEAD response is set on the COPY).
pub fn refused_copies(exchanges: &[Exchange], domains: &Domains) -> Vec<Exchange> {
    let (mut put, mut copied): (HashSet<Name>, HashSet<Name>) = (HashSet::new(), HashSet::new());
    let mut heads: HashMap<Name, (usize, &Exchange)> = HashMap::new();
    for exchange in exchanges {
        let Some(call) = Call::read(exchange, domains) else { continue };
        if let Some(source) = call.copy_source() {
            copied.insert((source.bucket.to_vec(), source.key.to_vec()));
        }
        let (Some(bucket), Some(key)) = (call.address.bucket.as_deref(), call.address.key.as_deref()) else { continue };
        let name = (bucket.to_vec(), key.to_vec());
        if !call.is_success() || call.client().sdk != Sdk::JavaV1 {
            continue;
        }
        match call.operation {
            Operation::PUT_OBJECT => drop(put.insert(name)),
            Operation::HEAD_OBJECT if put.contains(&name) && call.response_encryption().kms_key_id.is_some() => {
                // The last look-up before the client gave up: the copy comes right after it.
                let entry = heads.entry(name).or_insert((0, exchange));
                *entry = (entry.0 + 1, exchange);
            }
            _ => {}
        }
    }
    let mut all: Vec<Exchange> = heads
        .into_iter()
        .filter(|(name, (count, _))| *count >= LOOKUPS_MIN && !copied.contains(name))
        .filter_map(|((bucket, key), (_, head))| copy(&bucket, &key, &destination(&key)?, head))
        .collect();
    all.sort_by(|one, other| one.request.target().cmp(other.request.target()));
    all
}

/// S3A looks an object up once before it copies it, and again with every retry of a refused copy.
const LOOKUPS_MIN: usize = 3;

/// Where a commit moves an object to: the attempt's folder becomes that of its task, and a temporary file of a stream its own
/// name (`.NAME.UUID.tmp`).
fn destination(key: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(key).ok()?;
    if let Some((before, rest)) = text.split_once("/_temporary/attempt_") {
        let (attempt, file) = rest.split_once('/')?;
        let (task, _) = attempt.rsplit_once('_')?;
        return Some(format!("{before}/task_{task}/{file}").into_bytes());
    }
    let (folder, name) = text.rsplit_once('/')?;
    let inner = name.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (inner, _) = inner.rsplit_once('.')?;
    Some(format!("{folder}/{inner}").into_bytes())
}

fn copy(bucket: &[u8], source: &[u8], destination: &[u8], head: &Exchange) -> Option<Exchange> {
    let response = head.response()?;
    let target = [b"/", bucket, b"/", encode_path(destination).as_slice()].concat();
    let mut request = Request::from_parts(b"PUT", &target, Version::Http11);
    let headers = &mut request.headers;
    for name in [HeaderName::Host, HeaderName::UserAgent] {
        if let Some(value) = head.request.headers.get(name) {
            headers.append(name.as_str().as_bytes(), value);
        }
    }
    headers.append(b"x-amz-copy-source", &[b"/", bucket, b"/", encode_path(source).as_slice()].concat());
    headers.append(b"x-amz-metadata-directive", b"REPLACE");
    if let Some(etag) = response.headers.get(HeaderName::Etag) {
        headers.append(b"x-amz-copy-source-if-match", without_quotes(etag));
    }
    for name in ["content-type", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"] {
        if let Some(value) = response.headers.find(name) {
            headers.append(name.as_bytes(), value);
        }
    }
    // The SDK always signs: the mark makes the request one of S3 for whoever reads it.
    headers.append(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD");
    request.start = response.end.unwrap_or(response.start).after(std::time::Duration::from_nanos(1));
    request.end = Some(request.start);
    let mut made = head.clone();
    (made.request, made.outcome) = (request, Outcome::Unanswered);
    made.anomalies.clear();
    Some(made)
}

/// SDK v1 sends the ETag without quotes.
fn without_quotes(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"\"").and_then(|etag| etag.strip_suffix(b"\"")).unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_move_objects_where_hadoop_moves_them() {
        for (source, moved) in [
            (
                "a/_temporary/0/_temporary/attempt_2026_0002_m_000001_3/part-1.parquet",
                Some("a/_temporary/0/task_2026_0002_m_000001/part-1.parquet"),
            ),
            ("ckpt/.metadata.bd449e53-59dd-43c2-923e-ccace90e186f.tmp", Some("ckpt/metadata")),
            ("a/part-1.parquet", None),
        ] {
            assert_eq!(destination(source.as_bytes()), moved.map(|moved| moved.as_bytes().to_vec()), "{source}");
        }
    }
}
