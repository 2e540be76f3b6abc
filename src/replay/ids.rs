//! Ids that the store makes: those of the recording, and what stands for them in this replay.

use std::collections::HashMap;

use crate::model::{HeaderName, Response};
use crate::s3::{Call, Operation, text_at};

/// A kind of id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdKind {
    /// Of a multipart upload.
    Upload,
    /// Of a version of an object.
    Version,
    /// An ETag: `bucket NUL key NUL etag`, because equal bytes have different ETags under a KMS.
    Etag,
    /// The ETag of a part: `upload NUL part number`.
    PartEtag,
    /// A continuation token.
    Token,
    /// Of a key of the KMS, as responses name it.
    KmsKey,
}

impl IdKind {
    /// The name in the journal.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Version => "version",
            Self::Etag => "etag",
            Self::PartEtag => "part-etag",
            Self::Token => "token",
            Self::KmsKey => "kms-key",
        }
    }

    /// The kind of that name.
    pub fn of_label(label: &str) -> Option<Self> {
        [Self::Upload, Self::Version, Self::Etag, Self::PartEtag, Self::Token, Self::KmsKey]
            .into_iter()
            .find(|kind| kind.label() == label)
    }
}

/// Recorded ids and their live counterparts.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    map: HashMap<(IdKind, Vec<u8>), Vec<u8>>,
    fresh: Vec<(IdKind, Vec<u8>, Vec<u8>)>,
}

impl Ids {
    /// Adds a pair.
    pub fn add(&mut self, kind: IdKind, recorded: Vec<u8>, live: Vec<u8>) {
        self.fresh.push((kind, recorded.clone(), live.clone()));
        self.map.insert((kind, recorded), live);
    }

    /// The live id.
    pub fn find(&self, kind: IdKind, recorded: &[u8]) -> Option<&[u8]> {
        self.map.get(&(kind, recorded.to_vec())).map(Vec::as_slice)
    }

    /// The live ETag of an object (without quotes), or the recorded one.
    pub fn etag<'e>(&'e self, bucket: &[u8], key: &[u8], etag: &'e [u8]) -> &'e [u8] {
        self.find(IdKind::Etag, &[bucket, key, etag].join(&0)).unwrap_or(etag)
    }

    /// All pairs of a kind.
    pub fn of_kind(&self, kind: IdKind) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.map.iter().filter(move |((have, _), _)| *have == kind).map(|((_, old), new)| (old.as_slice(), new.as_slice()))
    }

    /// What was added since the last time, for the journal.
    pub fn take_fresh(&mut self) -> Vec<(IdKind, Vec<u8>, Vec<u8>)> {
        std::mem::take(&mut self.fresh)
    }

    /// Learns from a recorded call and the response that the same call got in this replay.
    pub fn learn(&mut self, recorded: &Call<'_>, live: &Response) {
        let Some(old) = recorded.exchange.response() else { return };
        if !(200..300).contains(&live.status) {
            return;
        }
        let pair =
            |path: &[&str]| Some((text_at(&old.body.kept, path)?.into_bytes(), text_at(&live.body.kept, path)?.into_bytes()));
        if let Some((old, new)) = pair(&["InitiateMultipartUploadResult", "UploadId"]) {
            self.add(IdKind::Upload, old, new);
        }
        for root in ["ListBucketResult", "ListPartsResult"] {
            for name in ["NextContinuationToken", "NextMarker"] {
                if let Some((old, new)) = pair(&[root, name]) {
                    self.add(IdKind::Token, old, new);
                }
            }
        }
        if let (Some(old), Some(new)) = (old.headers.get(HeaderName::XAmzVersionId), live.headers.get(HeaderName::XAmzVersionId))
        {
            self.add(IdKind::Version, old.to_vec(), new.to_vec());
        }
        let key = |response: &Response| response.headers.find("x-amz-server-side-encryption-aws-kms-key-id").map(<[u8]>::to_vec);
        if let (Some(old), Some(new)) = (key(old), key(live)) {
            self.add(IdKind::KmsKey, old, new);
        }
        self.learn_etags(recorded, old, live);
    }

    fn learn_etags(&mut self, recorded: &Call<'_>, old: &Response, live: &Response) {
        let etag = |response: &Response| {
            let by_header = response.headers.get(HeaderName::Etag).map(<[u8]>::to_vec);
            let in_body = || {
                let roots = ["CopyObjectResult", "CopyPartResult", "CompleteMultipartUploadResult"];
                roots.iter().find_map(|root| text_at(&response.body.kept, &[root, "ETag"])).map(String::into_bytes)
            };
            by_header.or_else(in_body).map(|etag| unquoted(&etag).to_vec())
        };
        let (Some(old), Some(new)) = (etag(old), etag(live)) else { return };
        let part = recorded.part_number().map(|part| part.to_string().into_bytes());
        match (recorded.operation, recorded.upload_id(), part) {
            (Operation::UPLOAD_PART | Operation::UPLOAD_PART_COPY, Some(upload), Some(part)) => {
                self.add(IdKind::PartEtag, [upload.as_ref(), &part].join(&0), new);
            }
            _ => {
                let bucket = recorded.address.bucket.as_deref().unwrap_or_default();
                let key = recorded.address.key.as_deref().unwrap_or_default();
                self.add(IdKind::Etag, [bucket, key, &old].join(&0), new);
            }
        }
    }
}

/// An ETag without quotes.
pub(super) fn unquoted(etag: &[u8]) -> &[u8] {
    let etag = etag.trim_ascii();
    etag.strip_prefix(b"\"").and_then(|etag| etag.strip_suffix(b"\"")).unwrap_or(etag)
}
