//! The XML documents of the store.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use crate::lab::reply::Reply;

/// `<Error>`, with MinIO's headers about it where there is no body to read (HEAD).
pub(super) fn error(status: u16, code: &str, message: &str, resource: &str) -> Reply {
    let text = format!(
        "<Error><Code>{code}</Code><Message>{}</Message><Resource>{}</Resource></Error>",
        escape(message),
        escape(resource)
    );
    let reply = Reply::new(status).xml(&text);
    reply.header("X-Minio-Error-Code", code).header("X-Minio-Error-Desc", format!("\"{message}\""))
}

/// What a page of a listing holds.
pub(super) struct Page<'k> {
    pub(super) bucket: &'k str,
    pub(super) prefix: &'k str,
    pub(super) delimiter: &'k str,
    pub(super) keys_max: usize,
    /// Key, bytes and ETag.
    pub(super) objects: Vec<(&'k str, usize, &'k str)>,
    pub(super) prefixes: Vec<String>,
    pub(super) is_truncated: bool,
}

/// `ListBucketResult` of ListObjectsV2.
pub(super) fn listing(page: &Page<'_>) -> String {
    let mut text = format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount>\
         <MaxKeys>{}</MaxKeys><Delimiter>{}</Delimiter><IsTruncated>{}</IsTruncated>",
        escape(page.bucket),
        escape(page.prefix),
        page.objects.len() + page.prefixes.len(),
        page.keys_max,
        escape(page.delimiter),
        page.is_truncated
    );
    for (key, bytes, etag) in &page.objects {
        let _ = write!(
            text,
            "<Contents><Key>{}</Key><LastModified>{MODIFIED}</LastModified><ETag>{}</ETag><Size>{bytes}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            escape(*key),
            escape(*etag)
        );
    }
    for prefix in &page.prefixes {
        let _ = write!(text, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(prefix.as_str()));
    }
    text + "</ListBucketResult>"
}

/// `CopyObjectResult`.
pub(super) fn copied(etag: &str) -> String {
    format!(
        "<CopyObjectResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LastModified>{MODIFIED}</LastModified><ETag>{}</ETag></CopyObjectResult>",
        escape(etag)
    )
}

/// `InitiateMultipartUploadResult`.
pub(super) fn upload_created(bucket: &str, key: &str, upload: &str) -> String {
    format!(
        "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>{}</Bucket><Key>{}</Key>\
         <UploadId>{upload}</UploadId></InitiateMultipartUploadResult>",
        escape(bucket),
        escape(key)
    )
}

/// `CompleteMultipartUploadResult`.
pub(super) fn upload_completed(bucket: &str, key: &str, etag: &str) -> String {
    format!(
        "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>{}</Bucket><Key>{}</Key>\
         <ETag>{}</ETag></CompleteMultipartUploadResult>",
        escape(bucket),
        escape(key),
        escape(etag)
    )
}

/// The texts of all elements of that name, unescaped. The documents that clients send here are small and flat.
pub(super) fn elements(document: &[u8], name: &str) -> Vec<String> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_reader(document);
    let (mut found, mut text) = (Vec::new(), None::<String>);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) if start.local_name().as_ref() == name => text = Some(String::new()),
            Ok(Event::End(end)) if end.local_name().as_ref() == name => found.extend(text.take()),
            Ok(Event::Text(part)) => {
                if let Some(text) = &mut text {
                    text.push_str(&part);
                }
            }
            Ok(Event::GeneralRef(reference)) => {
                if let Some(text) = &mut text {
                    let reference: &str = &reference;
                    text.push_str(&quick_xml::escape::unescape(&format!("&{reference};")).unwrap_or_default());
                }
            }
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

/// The lab's objects have no history.
pub(super) const MODIFIED: &str = "2026-01-01T00:00:00.000Z";
