//! What a run amounts to, for the reports.

use std::time::Duration;

use crate::hops::{Hop, HopId};
use crate::model::{Frame, LossReason, Timestamp, TlsVersion};
use crate::rules::{Completeness, Finding, Regular, Verdict};

/// Everything a report says beside the exchanges themselves. Field names as in the report format.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How complete the view was.
    pub completeness: Completeness,
    /// The hops, in order of first sight.
    pub hops: Vec<Hop>,
    /// Calls per hop and operation.
    pub operations: Vec<OperationRow>,
    /// Clients per hop.
    pub clients: Vec<ClientRow>,
    /// Encryption kinds per hop and direction.
    pub encryption: Vec<EncryptionRow>,
    /// How the calls of two hops were joined.
    pub joins: Vec<JoinRow>,
    /// The findings that were asked for: by severity, confidence, rule order and hop.
    pub findings: Vec<Finding>,
    /// The one answer. It rests on all rules, also those that were not asked for.
    pub verdict: Verdict,
    /// Hops that the user named and to which no server belongs.
    pub unmatched_hops: Vec<String>,
    /// What the clients' own logs hold.
    pub client_logs: Vec<ClientLogRow>,
    /// What was not decoded.
    pub losses: Vec<LossRow>,
    /// The outside of TLS flows that stayed shut.
    pub tls_flows: Vec<TlsRow>,
    /// The requests inside TLS that was not decrypted, by client address: whether they look like health checks.
    pub undecrypted_clients: Vec<Regular>,
    /// What came of the signatures, where secrets were given.
    pub signatures: Option<SignatureCounts>,
}

/// Signatures by what came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureCounts {
    /// Those that verify.
    pub verified: u64,
    /// Those that do not, or whose body is not the one that was signed.
    pub differing: u64,
    /// Requests that were not checked, by reason.
    pub not_checked: Vec<(&'static str, u64)>,
}

/// Totals so far, as the reader and decoder of packets count them. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets read.
    pub packets: u64,
    /// Packets cut by the snap length.
    pub packets_truncated: u64,
    /// Packets whose headers do not parse, or of a link type that is not decoded.
    pub packets_undecodable: u64,
    /// Packets that the capturing program reports as dropped.
    pub packets_dropped: u64,
    /// QUIC packets.
    pub packets_quic: u64,
    /// Packets of other encrypted protocols.
    pub packets_encrypted: u64,
    /// Places of files that could not be read.
    pub file_places_unread: u64,
    /// The bytes at those places.
    pub file_bytes_unread: u64,
}

/// A client's log, and what was recognised in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLogRow {
    /// The file.
    pub file: String,
    /// Lines read.
    pub lines: u64,
    /// Refusals in it.
    pub refusals: u64,
}

/// One operation on one hop.
#[derive(Clone, Debug)]
pub struct OperationRow {
    /// The hop.
    pub hop: HopId,
    /// The operation in AWS's spelling.
    pub operation: &'static str,
    /// Calls.
    pub count: u64,
    /// Calls answered with 4xx or 5xx.
    pub errors: u64,
    /// Octets of request bodies.
    pub request_bytes: u64,
    /// Octets of response bodies.
    pub response_bytes: u64,
    /// From the first byte of the request to the last of the response; absent where no response was seen.
    pub latency: Option<Latency>,
}

/// Quantiles of a latency, each within 7 % of the true one; `max` is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half were faster.
    pub p50: Duration,
    /// 95 % were faster.
    pub p95: Duration,
    /// 99 % were faster.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

/// One kind of client on one hop.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// The hop.
    pub hop: HopId,
    /// The label of its SDK or program.
    pub sdk: &'static str,
    /// Its version; wire text.
    pub version: Option<String>,
    /// Its `User-Agent` as sent, the first 512 octets; wire text.
    pub agent: Option<String>,
    /// Its S3 calls.
    pub exchanges: u64,
}

/// The side of an exchange that named an encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Asked for in requests.
    Request,
    /// Told in responses.
    Response,
}

impl Direction {
    /// `request`, `response`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// One encryption kind on one hop, in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionRow {
    /// The hop.
    pub hop: HopId,
    /// Whether the messages crossed in clear (else inside TLS).
    pub clear: bool,
    /// In requests or in responses.
    pub direction: Direction,
    /// `none`, `sse-s3`, `sse-kms`, `dsse-kms`, `sse-c`, `copy-source-sse-c`.
    pub kind: &'static str,
    /// Messages.
    pub count: u64,
}

/// How the calls of two hops were joined, and what the proxy between them did.
#[derive(Clone, Debug)]
pub struct JoinRow {
    /// The hop nearer the client.
    pub downstream: HopId,
    /// The hop nearer the store.
    pub upstream: HopId,
    /// Calls seen on both.
    pub joined: u64,
    /// Calls seen only nearer the client.
    pub unmatched_downstream: u64,
    /// Calls seen only nearer the store.
    pub unmatched_upstream: u64,
    /// Requests that the proxy sent once more.
    pub resends: u64,
    /// Joined calls that were a further attempt of the client (`amz-sdk-request: attempt=2` and so on).
    pub retries: u64,
    /// Joined calls by the key that joined them.
    pub by: Vec<(&'static str, u64)>,
    /// Joined calls by how surely they are one.
    pub confidence: Vec<(&'static str, u64)>,
    /// Where the time went.
    pub latency: LatencySplit,
    /// What the proxy did to the heads of requests.
    pub request_headers: HeaderChanges,
    /// What the proxy did to the heads of responses.
    pub response_headers: HeaderChanges,
}

/// Latencies of joined calls that were answered on both hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencySplit {
    /// On the hop nearer the client: from the first byte of the request to the last of the response.
    pub client_leg: Option<Latency>,
    /// Inside the proxy: how long it kept the first byte of the request and the first byte of the response.
    pub proxy: Option<Latency>,
    /// On the hop nearer the store: from the first byte of the request to the last of the response.
    pub store_leg: Option<Latency>,
}

/// Names of header fields that a proxy touched, in lower case, with the number of messages; the most frequent first. Wire text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Only after the proxy.
    pub added: Vec<(String, u64)>,
    /// Only before the proxy.
    pub dropped: Vec<(String, u64)>,
    /// With another value.
    pub changed: Vec<(String, u64)>,
    /// Those of them that the request's signature covers.
    pub signed: Vec<(String, u64)>,
}

/// One reason why something was not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRow {
    /// Why.
    pub reason: LossReason,
    /// How often.
    pub count: u64,
    /// Octets concerned.
    pub bytes: u64,
    /// Where it first happened.
    pub first: Frame,
    /// When it first happened.
    pub at: Timestamp,
}

/// TLS flows that stayed shut and look alike from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRow {
    /// The hop, where the flow belongs to one.
    pub hop: HopId,
    /// The server name that was asked for; wire text.
    pub sni: Option<String>,
    /// The TLS version.
    pub version: Option<TlsVersion>,
    /// The cipher suite (IANA number).
    pub suite: Option<u16>,
    /// Why they stayed shut.
    pub reason: &'static str,
    /// Flows.
    pub count: u64,
    /// Octets of application data that stayed shut.
    pub sealed_bytes: u64,
    /// The first of them.
    pub first: Frame,
}
