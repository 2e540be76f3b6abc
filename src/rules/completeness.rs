//! How complete the view was: what every claim of absence rests on.

use crate::rules::Account;

/// How complete the view was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Packets read.
    pub packets: u64,
    /// Packets cut by the snap length.
    pub packets_truncated: u64,
    /// Packets that could not be decoded.
    pub packets_undecodable: u64,
    /// Packets dropped while capturing.
    pub packets_dropped: u64,
    /// TCP connections.
    pub flows: u64,
    /// TCP connections whose first packet is not in the capture.
    pub flows_without_start: u64,
    /// Octets of all streams that were seen.
    pub stream_bytes: u64,
    /// Octets of all streams that are known to be missing.
    pub stream_bytes_missing: u64,
    /// TLS connections.
    pub tls_flows: u64,
    /// TLS connections that were opened wholly.
    pub tls_flows_decrypted: u64,
    /// TLS connections that failed, by the alert or what else showed it. They count neither as decrypted nor as undecrypted.
    pub tls_failed: Vec<(&'static str, u64)>,
    /// TLS connections that stayed or became shut, by reason.
    pub tls_undecrypted: Vec<(&'static str, u64)>,
    /// Exchanges decoded.
    pub exchanges: u64,
    /// Exchanges that are health checks or metrics scrapes.
    pub health_checks: u64,
    /// Exchanges of which a message or a part is missing.
    pub exchanges_incomplete: u64,
    /// All that was not seen, or seen and not judged.
    pub unseen: Account,
}
