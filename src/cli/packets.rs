//! Captures through the pipeline: opened files in, the analysis' summary out.

use std::sync::Arc;

use crate::analysis::{Analysis, Sink, comparable_bytes};
use crate::capture::{Input, SavedCapture, SourceSummary, secrets_in};
use crate::cli::failure::{Failure, say};
use crate::cli::inputs::Ran;
use crate::decode::Limits;
use crate::decode::http1::{Config, MessageHead, Observe, Retain, readable};
use crate::model::{HeaderName, Secret, Untrusted};
use crate::pipeline;
use crate::s3::Payload;
use crate::session::source::Source;

/// What a run may use.
pub(super) struct Resources {
    pub(super) threads: Option<usize>,
    pub(super) memory_bytes_max: Option<u64>,
    /// Open every TLS record.
    pub(super) verify_records: bool,
    /// Chooses what is kept of bodies, where no observer does; by default what people read.
    pub(super) retain: Option<fn(&MessageHead<'_>) -> Retain>,
    /// Watches the HTTP/1 connections.
    pub(super) observe: Option<Arc<dyn Observe>>,
}

impl Resources {
    /// The bounds of decoding that they leave.
    pub(super) fn limits(&self) -> Limits {
        let limits = self.memory_bytes_max.map_or_else(Limits::default, Limits::within);
        let retain = self.retain.unwrap_or(retained);
        let http1 = Config { observe: self.observe.clone(), retain, ..Config::default() };
        Limits { verify_records: self.verify_records, http1: Arc::new(http1), ..limits }
    }
}

/// Bodies with chunk signatures up to this length are verified chunk by chunk; of longer ones only the head is.
const CHUNKS_VERIFIED_BYTES_MAX: u32 = 2 << 20;

/// Keeps of the bodies of requests what it takes to verify their signatures, and of all others what people read.
pub(super) fn signed_body(head: &MessageHead<'_>) -> Retain {
    let MessageHead::Request(request) = head else { return retained(head) };
    match request.headers.get(HeaderName::XAmzContentSha256).map(Payload::recognise) {
        Some(Payload::StreamingSigned | Payload::StreamingSignedTrailer) => Retain::Prefix(CHUNKS_VERIFIED_BYTES_MAX),
        Some(Payload::SignedHash) => Retain::All,
        None if request.headers.has(HeaderName::Authorization) => Retain::All,
        _ => retained(head),
    }
}

/// What people and rules read of a body, and bodies that can be compared with a checksum.
fn retained(head: &MessageHead<'_>) -> Retain {
    let compared = match head {
        MessageHead::Request(request) => comparable_bytes(request, None),
        MessageHead::Response { request, response } => comparable_bytes(request, Some(response)),
    };
    match readable(head) {
        Retain::Prefix(bytes) => Retain::Prefix(bytes.max(compared)),
        Retain::Skip if compared > 0 => Retain::Prefix(compared),
        retain => retain,
    }
}

/// Decodes packets and runs what comes out through the analysis.
pub(super) fn analyze_packets(
    files: Vec<Input>,
    mut secrets: Vec<Secret>,
    resources: Resources,
    analysis: Analysis,
    sink: &mut (dyn Sink + Send),
) -> Result<Ran, Failure> {
    for file in &files {
        // Secrets can stand behind the packets they open; where the file can be read anywhere they are fetched first.
        if let Some(positioned) = &file.positioned {
            secrets.extend(secrets_in(positioned.as_ref()).unwrap_or_default());
        }
    }
    let mut source = SavedCapture::open(files).map_err(|error| {
        Failure::unreadable(error, "cannot read the capture", "give a pcap, a pcapng or a session that hopwire wrote")
    })?;
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let options = pipeline::Options { threads: resources.threads.unwrap_or(available), limits: resources.limits(), secrets };
    let outcome = pipeline::run(&mut source, &options, analysis, sink);
    if let Some(error) = outcome.failure {
        return Err(Failure::unreadable(error, "cannot read on", "see what was read with --format jsonl"));
    }
    for source in &outcome.sources {
        for problem in &source.problems {
            say(format_args!("warning: {}: {problem}", Untrusted::text(&source.name)));
        }
    }
    Ok(Ran { summary: outcome.summary, sources: outcome.sources.iter().map(source_of).collect() })
}

/// What was read, as reports name it.
pub(super) fn source_of(summary: &SourceSummary) -> Source {
    let mut problems: Vec<String> = summary.problems.iter().map(ToString::to_string).collect();
    problems.extend(summary.failure.clone());
    if summary.more_problems > 0 {
        problems.push(format!("{} more", summary.more_problems));
    }
    Source {
        file: summary.name.clone(),
        format: summary.format.map_or_else(|| "unknown".to_owned(), |format| format.label().to_owned()),
        packets: summary.packets,
        bytes: summary.file_bytes,
        first: summary.first.map(|at| at.to_string()),
        last: summary.last.map(|at| at.to_string()),
        link_types: summary.link_types().iter().map(|link| link_name(link.0)).collect(),
        interfaces: summary.interfaces.iter().filter_map(|interface| interface.name.clone()).collect(),
        problems,
    }
}

/// The name of a link type, as tcpdump writes it.
fn link_name(link: u32) -> String {
    let known = match link {
        0 => "NULL",
        1 => "EN10MB",
        9 => "PPP",
        12 | 14 | 101 => "RAW",
        108 => "LOOP",
        113 => "LINUX_SLL",
        228 => "IPV4",
        229 => "IPV6",
        239 => "NFLOG",
        276 => "LINUX_SLL2",
        other => return other.to_string(),
    };
    known.to_owned()
}
