//! What is counted of calls, per hop: operations with their latencies, and encryption kinds.

use foldhash::{HashMap, HashMapExt as _};

use crate::analysis::histogram::Histogram;
use crate::analysis::{Direction, EncryptionRow, OperationRow};
use crate::hops::HopId;
use crate::rules::Context;
use crate::s3::{Call, EncryptionKind, Operation};

/// Counts of calls. Bounded by hops times operations.
pub(super) struct Tables {
    operations: HashMap<(HopId, Operation), Box<Counted>>,
    /// By hop: in clear or not, request or response, kind.
    encryption: Vec<[[[u64; KINDS.len()]; 2]; 2]>,
}

#[derive(Default)]
struct Counted {
    count: u64,
    errors: u64,
    request_bytes: u64,
    response_bytes: u64,
    latency: Histogram,
}

const KINDS: [EncryptionKind; 6] = [
    EncryptionKind::None,
    EncryptionKind::SseS3,
    EncryptionKind::SseKms,
    EncryptionKind::DsseKms,
    EncryptionKind::SseC,
    EncryptionKind::CopySourceSseC,
];

impl Default for Tables {
    fn default() -> Self {
        Self { operations: HashMap::new(), encryption: Vec::new() }
    }
}

impl Tables {
    /// Counts a call.
    pub(super) fn add(&mut self, call: &Call<'_>, context: &Context<'_>) {
        let counted = self.operations.entry((context.hop, call.operation)).or_default();
        counted.count += 1;
        counted.errors += u64::from(call.has_failed());
        counted.request_bytes = counted.request_bytes.saturating_add(call.exchange.request.body.length);
        if let Some(response) = call.exchange.response() {
            counted.response_bytes = counted.response_bytes.saturating_add(response.body.length);
            // Where the capture begins with a response there is no time to count from.
            if !call.exchange.request.is_unseen() {
                let end = response.end.unwrap_or(response.start);
                counted.latency.add(end.since(call.exchange.request.start));
            }
        }
        self.add_encryption(call, context);
    }

    /// Counts a call as failed that its peers interrupted.
    pub(super) fn add_interrupted(&mut self, hop: HopId, operation: Operation) {
        if let Some(counted) = self.operations.get_mut(&(hop, operation)) {
            counted.errors += 1;
        }
    }

    /// The operations, by hop and name.
    pub(super) fn operations(&self) -> Vec<OperationRow> {
        let row = |key: &(HopId, Operation), counted: &Counted| OperationRow {
            hop: key.0,
            operation: key.1.name(),
            count: counted.count,
            errors: counted.errors,
            request_bytes: counted.request_bytes,
            response_bytes: counted.response_bytes,
            latency: counted.latency.latency(),
        };
        let mut rows: Vec<OperationRow> = self.operations.iter().map(|(key, counted)| row(key, counted)).collect();
        rows.sort_by(|a, b| (a.hop, a.operation).cmp(&(b.hop, b.operation)));
        rows
    }

    /// The encryption kinds seen, by hop, transport, direction and kind.
    pub(super) fn encryption(&self) -> Vec<EncryptionRow> {
        let mut rows = Vec::new();
        for (hop, by_transport) in (0..).map(HopId).zip(&self.encryption) {
            for (clear, by_direction) in [true, false].into_iter().zip(by_transport) {
                for (direction, by_kind) in [Direction::Request, Direction::Response].into_iter().zip(by_direction) {
                    let seen = KINDS.iter().zip(by_kind).filter(|(_, count)| **count > 0);
                    rows.extend(seen.map(|(kind, count)| EncryptionRow {
                        hop,
                        clear,
                        direction,
                        kind: kind.label(),
                        count: *count,
                    }));
                }
            }
        }
        rows
    }

    fn add_encryption(&mut self, call: &Call<'_>, context: &Context<'_>) {
        let hop = context.hop.0 as usize;
        if hop >= self.encryption.len() {
            self.encryption.resize(hop + 1, Default::default());
        }
        let Some([clear, tls]) = self.encryption.get_mut(hop) else {
            return;
        };
        let [request, response] = if context.is_clear { clear } else { tls };
        let add = |side: &mut [u64; KINDS.len()], kind: EncryptionKind| {
            if let Some((count, _)) = side.iter_mut().zip(KINDS).find(|(_, have)| *have == kind) {
                *count += 1;
            }
        };
        if context.request_encrypted {
            context.asked.kinds().for_each(|kind| add(request, kind));
        } else {
            add(request, EncryptionKind::None);
        }
        if context.response_encrypted {
            context.told.kinds().for_each(|kind| add(response, kind));
        } else if call.exchange.response().is_some() {
            add(response, EncryptionKind::None);
        }
    }
}
