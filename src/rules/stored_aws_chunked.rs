//! Objects that a store kept with the framing of their upload.

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::{ClientId, HopId};
use crate::model::HeaderName;
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::body_check::{md5_of_etag, names_aws_chunked};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// Objects that were uploaded as `aws-chunked` and are stored with that framing: the ETag of the upload is the MD5 of the framed
    /// bytes, or a later GET or HEAD of the object has the length of the framed bytes, or its content begins with a chunk header.
    /// It gives the bytes that were put and those that are read back. It is reported on any decoded hop, in plaintext or TLS, once: on
    /// the one nearest the client.
    ///
    /// ## Why it matters
    /// The object is damaged for every reader: chunk sizes and signatures are part of its content.
    ///
    /// ## Example
    /// boto3 1.36 and later sends a checksum in a trailer (`STREAMING-UNSIGNED-PAYLOAD-TRAILER`). A store that does not know the coding
    /// keeps 46 bytes where 5 were put.
    ///
    /// ## What to do
    /// Use a store or gateway that decodes aws-chunked, or make the client not send it: `request_checksum_calculation = when_required`
    /// (boto3, AWS CLI, SDKs of 2025), chunked encoding off in the SDK for Java. Then upload the objects again.
    "stored-aws-chunked" Warning since "0.2.0"
}

/// How many framed uploads are followed; later ones are judged by their ETag alone.
const UPLOADS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct State {
    uploads: Option<HashMap<u64, Upload>>,
    rows: Vec<Row>,
}

/// A framed upload.
struct Upload {
    object_bytes: u64,
    framed_bytes: u64,
    sight: Sight,
    /// Whether it was reported already.
    is_reported: bool,
}

/// Objects of one hop.
struct Row {
    hop: HopId,
    sights: Sights,
    objects: Vec<String>,
    clients: Vec<ClientId>,
    /// Bytes put and read back (or framed) of the first object.
    first: (Option<u64>, u64),
    was_read: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let found = match call.operation {
            Operation::PUT_OBJECT | Operation::UPLOAD_PART if call.is_success() && call.payload().is_aws_chunked() => self.handle_upload(call),
            Operation::GET_OBJECT | Operation::HEAD_OBJECT if call.status() == Some(200) => self.handle_reading(call),
            _ => None,
        };
        let Some((put, kept, is_read)) = found else { return };
        let index = self.row(context.hop);
        let Some(row) = index.and_then(|index| self.rows.get_mut(index)) else { return };
        row.add(call, context.client, (put, kept), is_read);
        if row.sights.count == 1 {
            let finding = render(row, &context.view);
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.rows.iter().filter(|row| view.is_nearest_client(row.hop)) {
            findings.report(render(row, view));
        }
    }
}

/// Bytes that were put, where that is known; bytes that are kept; whether they were read back.
type Found = (Option<u64>, u64, bool);

impl State {
    fn handle_upload(&mut self, call: &Call<'_>) -> Option<Found> {
        let request = &call.exchange.request;
        let object_bytes = call.object_bytes()?;
        let framed_bytes = request.body.length;
        let etag = call.exchange.response()?.headers.get(HeaderName::Etag).and_then(md5_of_etag);
        let framed = request.body.check.as_ref().and_then(|check| check.framed_md5);
        let is_reported = etag.is_some() && etag == framed;
        if call.operation == Operation::PUT_OBJECT {
            let uploads = self.uploads.get_or_insert_with(HashMap::new);
            let key = key_of(call);
            if uploads.len() < UPLOADS_MAX || uploads.contains_key(&key) {
                let sight = Sight::of_both(call.exchange);
                uploads.insert(key, Upload { object_bytes, framed_bytes, sight, is_reported });
            }
        }
        is_reported.then_some((Some(object_bytes), framed_bytes, false))
    }

    fn handle_reading(&mut self, call: &Call<'_>) -> Option<Found> {
        let response = call.exchange.response()?;
        // Nearly all readings end here: nothing was uploaded in frames, and nothing says that it is.
        if self.uploads.is_none() && !response.headers.has(HeaderName::ContentEncoding) {
            return None;
        }
        let upload = self.uploads.as_mut().and_then(|uploads| uploads.get_mut(&key_of(call)));
        let is_whole = !call.query.has("partNumber") && !call.query.has("versionId");
        let length = response.headers.text_of(HeaderName::ContentLength).and_then(|length| length.trim().parse::<u64>().ok())?;
        if let Some(upload) = upload {
            let is_framed = is_whole && length == upload.framed_bytes && length != upload.object_bytes;
            if !is_framed {
                return None;
            }
            let was_reported = std::mem::replace(&mut upload.is_reported, true);
            let found = (Some(upload.object_bytes), length, true);
            if was_reported {
                // Counted with its upload: only that it was read back is new.
                let sight = upload.sight;
                self.note_read(sight, call, found);
                return None;
            }
            return Some(found);
        }
        // Its upload is not in the capture: the coding and the length of the decoded content tell.
        let decoded = response.headers.text_of(HeaderName::XAmzDecodedContentLength).and_then(|length| length.trim().parse().ok());
        let is_framed = names_aws_chunked(&response.headers) && decoded.is_some_and(|decoded: u64| decoded < length);
        is_framed.then_some((decoded, length, true))
    }

    /// A reported object was read back.
    fn note_read(&mut self, sight: Sight, call: &Call<'_>, (put, kept, _): Found) {
        let object = object_of(call);
        let Some(row) = self.rows.iter_mut().find(|row| row.objects.contains(&object)) else { return };
        row.was_read += 1;
        if row.sights.holds(sight) {
            row.first = (put, kept);
            row.sights.add_evidence(Sight::of_response(call.exchange));
        }
    }

    fn row(&mut self, hop: HopId) -> Option<usize> {
        const ROWS_MAX: usize = 256;
        if let Some(at) = self.rows.iter().position(|row| row.hop == hop) {
            return Some(at);
        }
        if self.rows.len() >= ROWS_MAX {
            return None;
        }
        let (objects, clients, sights) = (Vec::new(), Vec::new(), Sights::default());
        self.rows.push(Row { hop, sights, objects, clients, first: (None, 0), was_read: 0 });
        Some(self.rows.len() - 1)
    }
}

impl Row {
    const SHOWN_MAX: usize = 4;

    fn add(&mut self, call: &Call<'_>, client: ClientId, first: (Option<u64>, u64), is_read: bool) {
        if self.sights.count == 0 {
            self.first = first;
        }
        self.sights.add(Sight::of_both(call.exchange));
        self.was_read += u64::from(is_read);
        if self.objects.len() < Self::SHOWN_MAX {
            self.objects.push(object_of(call));
        }
        if self.clients.len() < Self::SHOWN_MAX && !self.clients.contains(&client) {
            self.clients.push(client);
        }
    }
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let (put, kept) = row.first;
    let put = put.map_or("an object".to_owned(), |put| format!("{put} bytes were put"));
    let back = if row.was_read > 0 { "bytes are read back" } else { "bytes with their framing are stored" };
    let message = format!(
        "The store kept {} on {} with the aws-chunked framing of the upload: {put}, {kept} {back} (the first one, {}).",
        counted(row.sights.count, "object", "objects"),
        view.hop_name(row.hop),
        row.objects.first().map_or("", String::as_str)
    );
    let clients: Vec<String> = row.clients.iter().map(|client| view.client_text(*client)).collect();
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.sights.count, message)
        .about("clients", list(&clients))
        .about("objects", list(&row.objects))
        .shown_by(row.sights.evidence())
        .fixed_by(Fix::untested(
            "make the client not send aws-chunked: request_checksum_calculation = when_required (AWS SDKs and CLI since 2025), or disable chunked encoding",
            "objects that are stored already stay damaged: upload them again",
        ))
        .fixed_by(Fix::untested("use a store or gateway version that decodes aws-chunked", ""))
}

fn object_of(call: &Call<'_>) -> String {
    let bucket = call.address.bucket.as_deref().unwrap_or_default();
    quote(&[bucket, b"/", call.address.key.as_deref().unwrap_or_default()].concat())
}

fn key_of(call: &Call<'_>) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::quality::FixedState::with_seed(5).build_hasher();
    hasher.write(call.address.bucket.as_deref().unwrap_or_default());
    hasher.write_u8(b'/');
    hasher.write(call.address.key.as_deref().unwrap_or_default());
    hasher.finish()
}
