//! Multipart uploads that were begun and neither completed nor aborted.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::ClientId;
use crate::model::Timestamp;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// Multipart uploads that were created within the capture and neither completed nor aborted within it. It is reported on
    /// any decoded hop, in clear or TLS, and once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// The parts stay in the store, are paid for and are in no list of objects.
    ///
    /// ## Example
    /// A job with the magic committer is killed between its tasks and its commit.
    ///
    /// ## What to do
    /// Abort the uploads (`mc rm --incomplete`, `hadoop s3guard uploads -abort`), and give the bucket a life-cycle rule that does.
    "unfinished-multipart-upload" Warning since "0.1.0"
}

/// How many uploads may be open at a time; beyond it the one idle for longest is forgotten.
const OPEN_MAX: usize = 4096;

/// An upload with no request for so long is held to be left behind; a younger one may still be going on.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct State {
    open: Option<HashMap<u64, Upload>>,
    /// Uploads forgotten at the bound.
    forgotten: u64,
}

struct Upload {
    client: ClientId,
    object: Vec<u8>,
    created: Sight,
    last: Sight,
    parts: u64,
    part_bytes: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        let is_create = call.operation == Operation::CREATE_MULTIPART_UPLOAD;
        let is_part = matches!(call.operation, Operation::UPLOAD_PART | Operation::UPLOAD_PART_COPY);
        let is_end = matches!(call.operation, Operation::COMPLETE_MULTIPART_UPLOAD | Operation::ABORT_MULTIPART_UPLOAD);
        if !(is_create || is_part || is_end) || !call.is_success() {
            return;
        }
        let Some(id) = call.upload_id() else {
            return;
        };
        let open = self.open.get_or_insert_with(HashMap::new);
        let key = key_of(context, &id);
        if is_end {
            if call.error().is_none() {
                open.remove(&key);
            }
        } else if is_create {
            if open.len() >= OPEN_MAX
                && let Some(oldest) = open.iter().min_by_key(|(key, upload)| (upload.last.at, **key)).map(|(key, _)| *key)
            {
                open.remove(&oldest);
                self.forgotten += 1;
            }
            let bucket = call.address.bucket.as_deref().unwrap_or_default();
            let object = [bucket, b"/", call.address.key.as_deref().unwrap_or_default()].concat();
            let sight = Sight::of_both(call.exchange);
            open.insert(key, Upload { client: context.client, object, created: sight, last: sight, parts: 0, part_bytes: 0 });
        } else if let Some(upload) = open.get_mut(&key) {
            upload.parts += 1;
            upload.part_bytes = upload.part_bytes.saturating_add(call.object_bytes().unwrap_or(0));
            upload.last = Sight::of_request(call.exchange);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let mut open: Vec<&Upload> = self.open.iter().flat_map(HashMap::values).collect();
        open.sort_by(|a, b| (a.created.at, &a.object).cmp(&(b.created.at, &b.object)));
        let mut groups: PerClient<Group> = PerClient::default();
        for upload in open {
            if let Some((row, _)) = groups.add(upload.client, upload.created) {
                row.value.add(upload);
            }
        }
        for (client, row) in groups.iter() {
            if let Some(finding) = render(client, &row.value, &row.sights, self.forgotten, view) {
                findings.report(finding);
            }
        }
    }
}

#[derive(Default)]
struct Group {
    objects: Vec<String>,
    parts: u64,
    bytes: u64,
    last: Timestamp,
}

impl Group {
    fn add(&mut self, upload: &Upload) {
        if self.objects.len() < 4 {
            self.objects.push(quote(&upload.object));
        }
        self.parts += upload.parts;
        self.bytes = self.bytes.saturating_add(upload.part_bytes);
        self.last = self.last.max(upload.last.at);
    }
}

fn render(client: ClientId, group: &Group, sights: &Sights, forgotten: u64, view: &View<'_>) -> Option<Finding> {
    let hop = view.clients.client(client)?.hop;
    if !view.is_nearest_client(hop) {
        return None;
    }
    let idle = view.age(group.last);
    let is_left = idle >= IDLE && view.gaps.total().is_complete();
    let confidence = if is_left { Confidence::Strong } else { Confidence::Possible };
    let mut message = format!(
        "On {}, {} created and neither completed nor aborted within the capture ({} and {} in them); the last request for them came {} s before the end.",
        view.hop_name(hop),
        counted(sights.count, "multipart upload was", "multipart uploads were"),
        counted(group.parts, "part", "parts"),
        crate::rules::quote::bytes_text(group.bytes),
        idle.as_secs()
    );
    if forgotten > 0 {
        message += &format!(" {forgotten} more were open at once than are remembered.");
    }
    let finding = Finding::new(&RULE, confidence, Some(hop), sights.count, message)
        .about("client", view.client_text(client))
        .about("objects", list(&group.objects))
        .shown_by(sights.evidence())
        .fixed_by(Fix::untested("abort them (mc rm --incomplete --recursive), and let a life-cycle rule abort what is left behind", ""));
    Some(finding)
}

fn key_of(context: &Context<'_>, upload: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::quality::FixedState::with_seed(2).build_hasher();
    hasher.write_u32(context.hop.0);
    hasher.write(upload);
    hasher.finish()
}
