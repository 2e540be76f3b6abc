//! COPYs that a client must have refused to send: calls in, and the chain that led to what is not there.

mod account;
mod story;

use foldhash::HashMap;

use crate::hops::ClientId;
use crate::model::Timestamp;
use crate::rules::sight::Sight;
use crate::rules::{Context, Findings, View, Watch, rule};
use crate::s3::policy::{SseRequest, Verdict, over_http};
use crate::s3::{Call, EncryptionKind, Operation};
use story::{Copy, Story, Write, job_root};

rule! {
    /// ## What it reports
    /// A COPY that had to follow and did not, because the client refused to send it. The chain: an upload that asked for no
    /// encryption was encrypted with a KMS key by default; the answer to a HEAD of the new object names the key id; Hadoop S3A
    /// puts that id into the COPY that renames the object; the AWS SDK for Java 1.x refuses requests with KMS parameters over
    /// `http://`. On the wire there is nothing but the same HEAD again and again, at widening gaps.
    ///
    /// It fires on hops in clear only. Confidence: `strong` where the retries are seen and the view is complete, lower where
    /// packets are missing or the capture ends early, `certain` where the client's log proves it (`--client-log`).
    ///
    /// ## Why it matters
    /// The job fails with "HTTPS must be used when sending customer encryption keys (SSE-C) to S3", although nobody uses
    /// customer keys, and no proxy or store shows an error: the request never left the client.
    ///
    /// ## Example
    /// Spark 3.5 with hadoop-aws 3.3.4 writes Parquet through a plain HTTP proxy to a store with automatic SSE-KMS. PUTs
    /// work; each part file is HEADed ten times within two minutes; no `x-amz-copy-source`, no `_SUCCESS`.
    ///
    /// ## What to do
    /// Serve TLS on the proxy's front; or let the store encrypt the bucket with SSE-S3 by default; or set SSE-S3 in Spark. The
    /// report lists the ways with what was tested and their side effects. Taking encryption settings out of Spark does not help:
    /// there are none.
    "copy-refused-by-client" Error Refusal since "0.1.0"
}

/// How many objects are followed per client; beyond it the one quiet for longest is forgotten.
const WRITES_MAX: usize = 1024;

/// How many copies are remembered per client: any of them can speak against a refusal.
const COPIES_MAX: usize = 64;

#[derive(Default)]
pub(super) struct State {
    /// By the client's number: whether it is one that echoes key ids and refuses them over http, and what it did.
    clients: Vec<Option<Watched>>,
}

enum Watched {
    No,
    Yes(Box<Group>),
}

/// What one client did on one hop in clear.
#[derive(Default)]
struct Group {
    writes: HashMap<u64, Write>,
    copies: Vec<Copy>,
    /// A copy with KMS parameters was sent: this client does not refuse.
    has_kms_copy: bool,
    /// Objects forgotten at the bound.
    forgotten: u64,
    raised: Vec<u64>,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear {
            return;
        }
        let Some(group) = self.group(context) else {
            return;
        };
        match call.operation {
            Operation::PUT_OBJECT | Operation::COMPLETE_MULTIPART_UPLOAD if call.is_success() => group.handle_write(call, context),
            Operation::HEAD_OBJECT if group.handle_head(call, context) => group.raise(call, context, findings),
            Operation::COPY_OBJECT | Operation::UPLOAD_PART_COPY => group.handle_copy(call, context),
            Operation::DELETE_OBJECT | Operation::DELETE_OBJECTS => group.handle_delete(call),
            _ => {}
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, watched) in (0..).map(ClientId).zip(&self.clients) {
            if let Some(Watched::Yes(group)) = watched {
                for story in group.stories() {
                    if let Some(finding) = account::render(&story, client, group, view) {
                        findings.report(finding);
                    }
                }
            }
        }
    }
}

impl State {
    fn group(&mut self, context: &Context<'_>) -> Option<&mut Group> {
        let index = context.client.0 as usize;
        if index >= self.clients.len() {
            self.clients.resize_with(index + 1, || None);
        }
        let slot = self.clients.get_mut(index)?;
        if slot.is_none() {
            *slot = Some(if echoes_and_refuses(context) { Watched::Yes(Box::default()) } else { Watched::No });
        }
        match slot {
            Some(Watched::Yes(group)) => Some(group),
            _ => None,
        }
    }
}

/// Whether the client is S3A (which echoes key ids into its copies) over an SDK that refuses them over http.
fn echoes_and_refuses(context: &Context<'_>) -> bool {
    context.view.clients.client(context.client).is_some_and(|client| {
        let policy = over_http(client.sdk, client.version.as_deref(), SseRequest::Kms { key_id: true });
        client.hadoop.is_some() && matches!(policy.verdict, Verdict::Refused { .. })
    })
}

impl Group {
    fn handle_write(&mut self, call: &Call<'_>, context: &Context<'_>) {
        let (Some(bucket), Some(key)) = (call.address.bucket.as_deref(), call.address.key.as_deref()) else {
            return;
        };
        if let Some(root) = key.strip_suffix(b"_SUCCESS") {
            // The job committed: whatever was to be copied was copied, or needed no copy.
            let root = root.strip_suffix(b"/").unwrap_or(root);
            self.writes.retain(|_, write| write.bucket != bucket || job_root(&write.key) != root);
            return;
        }
        if !story::is_to_be_renamed(key) {
            return;
        }
        let told = &context.told.kms_key_id;
        let write = self.write(bucket, key, call.exchange.request.start);
        *write = Write::new(bucket, key);
        write.put = Some(Sight::of_both(call.exchange));
        write.put_asked = context.request_encrypted;
        write.put_told = told.is_some();
        write.last = call.exchange.request.start;
    }

    /// Follows a HEAD; `true` where it is one more of a series that tells of a refusal.
    fn handle_head(&mut self, call: &Call<'_>, context: &Context<'_>) -> bool {
        let (Some(bucket), Some(key)) = (call.address.bucket.as_deref(), call.address.key.as_deref()) else {
            return false;
        };
        if !story::is_to_be_renamed(key) {
            return false;
        }
        let hash = hash(bucket, key);
        match call.status() {
            Some(200..300) => {}
            Some(403 | 500..) | None => {
                if let Some(write) = self.writes.get_mut(&hash) {
                    write.head_failures += 1;
                }
                return false;
            }
            Some(_) => return false,
        }
        let encryption = context.told;
        let is_kms = encryption.kinds().any(|kind| matches!(kind, EncryptionKind::SseKms | EncryptionKind::DsseKms));
        let Some(id) = encryption.kms_key_id.as_deref().filter(|_| is_kms) else {
            // Nothing there that a copy would echo.
            self.writes.remove(&hash);
            return false;
        };
        let write = self.write(bucket, key, call.exchange.request.start);
        write.process = write.process.or_else(|| process_of(call));
        write.add_head(call.exchange, id);
        write.tells_of_refusal()
    }

    fn handle_copy(&mut self, call: &Call<'_>, context: &Context<'_>) {
        let has_kms = context.asked.kinds().any(|kind| matches!(kind, EncryptionKind::SseKms | EncryptionKind::DsseKms));
        self.has_kms_copy |= has_kms;
        let Some(source) = call.copy_source() else {
            return;
        };
        self.writes.remove(&hash(&source.bucket, &source.key));
        if self.copies.len() >= COPIES_MAX {
            self.copies.remove(0);
        }
        let root = job_root(&source.key).to_vec();
        let process = process_of(call);
        self.copies.push(Copy { bucket: source.bucket.into_owned(), root, at: call.exchange.request.start, process });
    }

    /// Sees a job clean up after itself: what is deleted is not waiting for its copy any more.
    fn handle_delete(&mut self, call: &Call<'_>) {
        if !call.is_success() {
            return;
        }
        let sight = Sight::of_request(call.exchange);
        let bucket = call.address.bucket.as_deref().unwrap_or_default();
        if call.operation == Operation::DELETE_OBJECT {
            let key = call.address.key.as_deref().unwrap_or_default();
            if let Some(write) = self.writes.get_mut(&hash(bucket, key)) {
                write.deleted.get_or_insert(sight);
            }
            return;
        }
        let names = &call.exchange.request.body.kept;
        for write in self.writes.values_mut().filter(|write| write.heads.count > 1 && write.deleted.is_none() && write.bucket == bucket) {
            if write.is_named_in(names) {
                write.deleted = Some(sight);
            }
        }
    }

    fn raise(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        const RAISED_MAX: usize = 64;
        let bucket = call.address.bucket.as_deref().unwrap_or_default();
        let key = call.address.key.as_deref().unwrap_or_default();
        let root = hash(bucket, job_root(key));
        if self.raised.contains(&root) || self.raised.len() >= RAISED_MAX {
            return;
        }
        self.raised.push(root);
        let story = self.stories().into_iter().find(|story| story.bucket == bucket && story.root == job_root(key));
        if let Some(finding) = story.and_then(|story| account::render(&story, context.client, self, &context.view)) {
            findings.raise(finding);
        }
    }

    /// The objects that wait for a copy, by job.
    fn stories(&self) -> Vec<Story<'_>> {
        let mut writes: Vec<&Write> = self.writes.values().filter(|write| write.heads.count > 0).collect();
        writes.sort_by(|a, b| (a.since(), &a.bucket, &a.key).cmp(&(b.since(), &b.bucket, &b.key)));
        let mut stories: Vec<Story<'_>> = Vec::new();
        for write in writes {
            let root = job_root(&write.key);
            match stories.iter_mut().find(|story| story.bucket == write.bucket && story.root == root) {
                Some(story) => story.writes.push(write),
                None => stories.push(Story { bucket: &write.bucket, root, writes: vec![write] }),
            }
        }
        stories
    }

    /// The entry of an object, made where there is none.
    fn write(&mut self, bucket: &[u8], key: &[u8], at: Timestamp) -> &mut Write {
        let hash = hash(bucket, key);
        if self.writes.len() >= WRITES_MAX
            && !self.writes.contains_key(&hash)
            && let Some(oldest) = self.writes.iter().min_by_key(|(hash, write)| (write.last, **hash)).map(|(hash, _)| *hash)
        {
            self.writes.remove(&oldest);
            self.forgotten += 1;
        }
        let write = self.writes.entry(hash).or_insert_with(|| Write::new(bucket, key));
        write.last = write.last.max(at);
        write
    }
}

fn hash(bucket: &[u8], key: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::quality::FixedState::with_seed(4).build_hasher();
    hasher.write(bucket);
    hasher.write_u8(b'/');
    hasher.write(key);
    hasher.finish()
}

/// The process that sent a call, where S3A's audit header names it.
fn process_of(call: &Call<'_>) -> Option<u64> {
    call.audit()?.ps.map(|process| hash(process.as_bytes(), b""))
}
