//! Bounds of everything that grows while decoding. Beyond a bound there is an anomaly or a loss, never a failure.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::http1;

/// The bounds of a decoder. All are per run unless they say per flow or per message.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open flows; the one idle for longest is evicted beyond it.
    pub flows_max: usize,
    /// Octets held in all flows together while they wait for a missing segment.
    pub pending_bytes_max: usize,
    /// Octets held in all flows together of heads, kept bodies and TLS records, of exchanges in progress. Beyond it the flow
    /// idle for longest is evicted.
    pub content_bytes_max: usize,
    /// Octets held in one direction of a flow while they wait for a missing segment.
    pub pending_bytes_per_stream_max: usize,
    /// Segments held in one direction of a flow.
    pub pending_segments_per_stream_max: usize,
    /// How long (capture time) a hole that the receiver has acknowledged may still be filled by a late packet.
    pub reorder_window: Duration,
    /// How long (capture time) a flow stays open after RST or both FINs, for late packets.
    pub linger: Duration,
    /// How long (capture time) a flow may be idle before it is closed as unseen.
    pub idle: Duration,
    /// How HTTP/1 is read, and what is kept of bodies.
    pub http1: Arc<http1::Config>,
    /// IP datagrams being reassembled from fragments.
    pub datagrams_max: usize,
    /// Bytes held of the fragments of all those datagrams.
    pub fragment_bytes_max: usize,
    /// Headers of one packet that wrap another (tunnels, tags, extension headers).
    pub nesting_max: usize,
    /// Bytes of TLS records that wait for a secret, per connection.
    pub tls_held_bytes_max: usize,
    /// Open every TLS record, also inside bodies of known length.
    pub verify_records: bool,
}

impl Limits {
    /// The limits that keep a run within about `bytes` of memory, as far as tables and buffers decide it.
    pub fn within(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(32 << 20);
        let default = Self::default();
        Self {
            flows_max: (bytes / 2 / FLOW_BYTES).clamp(1024, 1 << 24),
            pending_bytes_max: (bytes / 8).max(default.pending_bytes_per_stream_max),
            content_bytes_max: bytes / 8,
            ..default
        }
    }
}

/// What is reckoned for an open flow: no less than its state, its places in the table and in the queues, and half of what a waiting
/// request adds.
const FLOW_BYTES: usize = 1366;

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows_max: 3 << 16,
            pending_bytes_max: 24 << 20,
            content_bytes_max: 64 << 20,
            pending_bytes_per_stream_max: 1 << 20,
            pending_segments_per_stream_max: 4096,
            reorder_window: Duration::from_millis(500),
            linger: Duration::from_secs(2),
            idle: Duration::from_secs(3600),
            http1: Arc::default(),
            datagrams_max: 256,
            fragment_bytes_max: 4 << 20,
            nesting_max: 8,
            tls_held_bytes_max: 64 << 10,
            verify_records: false,
        }
    }
}
