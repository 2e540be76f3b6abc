//! Which call has to wait for which: for each key and upload, the order in which the recording has them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::model::Timestamp;
use crate::s3::{Call, Level, Operation, text_at, texts_at};

/// Lists that a later write is compared with, per bucket.
const LISTS_MAX: usize = 256;

/// Finds the calls that a call has to wait for. Calls are given in the order of their beginnings.
///
/// Two calls are kept in order where one ended before the other began, they concern the same key (or upload, or a list that the
/// key belongs to), and at least one of them changes it. Calls that overlapped go together again.
#[derive(Default)]
pub(super) struct Order {
    ends: Vec<Timestamp>,
    buckets: HashMap<Vec<u8>, Bucket>,
    uploads: HashMap<Vec<u8>, Resource>,
    tokens: HashMap<Vec<u8>, usize>,
}

#[derive(Default)]
struct Bucket {
    itself: Resource,
    keys: BTreeMap<Vec<u8>, Resource>,
    lists: Vec<(Vec<u8>, usize)>,
    /// All calls since the last change of the bucket itself.
    all: Vec<usize>,
}

/// The calls that matter for what comes next.
#[derive(Default)]
struct Resource {
    writes: Vec<usize>,
    reads: Vec<usize>,
}

impl Resource {
    /// Adds a call; gives those that it comes after.
    fn add(&mut self, number: usize, is_write: bool, ended: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut after: Vec<usize> = self.writes.iter().copied().filter(|one| ended(*one)).collect();
        if is_write {
            after.extend(self.reads.iter().copied().filter(|one| ended(*one)));
            self.writes.retain(|one| !ended(*one));
            self.reads.retain(|one| !ended(*one));
            self.writes.push(number);
        } else {
            self.reads.push(number);
        }
        after
    }
}

impl Order {
    /// Adds the next call; gives the numbers of those it has to wait for.
    pub(super) fn add(&mut self, number: usize, call: &Call<'_>) -> Vec<usize> {
        let request = &call.exchange.request;
        let start = request.start;
        let response = call.exchange.response().map(|response| response.end.unwrap_or(response.start));
        self.ends.push(response.or(request.end).unwrap_or(start));
        let ends = std::mem::take(&mut self.ends);
        let ended = |one: usize| ends.get(one).is_some_and(|end| *end <= start);
        let mut after = Vec::new();
        if let Some(token) = call.query.get("continuation-token").or_else(|| call.query.get("marker")) {
            after.extend(self.tokens.get(token.as_ref()).copied().filter(|one| *one != number));
        }
        if let Some(response) = call.exchange.response() {
            for name in ["NextContinuationToken", "NextMarker"] {
                if let Some(token) = text_at(&response.body.kept, &["ListBucketResult", name]) {
                    self.tokens.insert(token.into_bytes(), number);
                }
            }
        }
        if let Some(upload) = call.upload_id() {
            let is_part = matches!(call.operation, Operation::UPLOAD_PART | Operation::UPLOAD_PART_COPY);
            after.extend(self.uploads.entry(upload.into_owned()).or_default().add(number, !is_part, ended));
        }
        if let Some(bucket) = call.address.bucket.as_deref() {
            self.add_to_bucket(number, call, bucket, &ended, &mut after);
        }
        if let Some(source) = call.copy_source() {
            let bucket = self.buckets.entry(source.bucket.to_vec()).or_default();
            after.extend(bucket.keys.entry(source.key.to_vec()).or_default().add(number, false, ended));
        }
        self.ends = ends;
        after.sort_unstable();
        after.dedup();
        after
    }

    fn add_to_bucket(
        &mut self,
        number: usize,
        call: &Call<'_>,
        name: &[u8],
        ended: &impl Fn(usize) -> bool,
        after: &mut Vec<usize>,
    ) {
        let bucket = self.buckets.entry(name.to_vec()).or_default();
        let is_upload_step = matches!(
            call.operation,
            Operation::CREATE_MULTIPART_UPLOAD
                | Operation::UPLOAD_PART
                | Operation::UPLOAD_PART_COPY
                | Operation::ABORT_MULTIPART_UPLOAD
        );
        let deleted = match call.operation {
            Operation::DELETE_OBJECTS => texts_at(&call.exchange.request.body.kept, &["Delete", "Object", "Key"]),
            _ => Vec::new(),
        };
        match call.operation.level() {
            Level::Object if is_upload_step => after.extend(bucket.itself.add(number, false, ended)),
            Level::Object => {
                after.extend(bucket.itself.add(number, false, ended));
                if let Some(key) = call.key() {
                    bucket.touch(&key, number, call.is_write(), ended, after);
                }
            }
            _ if !deleted.is_empty() => {
                after.extend(bucket.itself.add(number, false, ended));
                for key in deleted {
                    bucket.touch(key.as_bytes(), number, true, ended, after);
                }
            }
            _ if call.is_write() => {
                after.extend(bucket.all.iter().copied().filter(|one| ended(*one)));
                bucket.all.retain(|one| !ended(*one));
                after.extend(bucket.itself.add(number, true, ended));
            }
            _ => {
                after.extend(bucket.itself.add(number, false, ended));
                let prefix = call.query.get("prefix").map(|prefix| prefix.into_owned()).unwrap_or_default();
                bucket.list(prefix, number, ended, after);
            }
        }
        bucket.all.push(number);
    }
}

impl Bucket {
    fn touch(&mut self, key: &[u8], number: usize, is_write: bool, ended: &impl Fn(usize) -> bool, after: &mut Vec<usize>) {
        after.extend(self.keys.entry(key.to_vec()).or_default().add(number, is_write, ended));
        if is_write {
            let of_key = self.lists.iter().filter(|(prefix, one)| key.starts_with(prefix) && ended(*one));
            after.extend(of_key.map(|(_, one)| *one));
        }
    }

    fn list(&mut self, prefix: Vec<u8>, number: usize, ended: &impl Fn(usize) -> bool, after: &mut Vec<usize>) {
        let range = (Bound::Included(prefix.clone()), Bound::Unbounded);
        for (key, resource) in self.keys.range::<Vec<u8>, _>(range) {
            if !key.starts_with(&prefix) {
                break;
            }
            after.extend(resource.writes.iter().copied().filter(|one| ended(*one)));
        }
        if self.lists.len() >= LISTS_MAX {
            self.lists.remove(0);
        }
        self.lists.push((prefix, number));
    }
}
