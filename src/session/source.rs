//! Where a session came from: one input file, or one interface.

use serde::{Deserialize, Serialize};

/// One input as the outputs name it. Field names are those of the report format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file as it was named, or `-`.
    pub file: String,
    /// `pcap`, `pcapng`, `jsonl`, …
    pub format: String,
    /// Packets read from it.
    #[serde(default)]
    pub packets: u64,
    /// Octets of the file.
    #[serde(default)]
    pub bytes: u64,
    /// Time of the first packet (RFC 3339).
    #[serde(default)]
    pub first: Option<String>,
    /// Time of the last packet (RFC 3339).
    #[serde(default)]
    pub last: Option<String>,
    /// Link types of its packets, by name.
    #[serde(default)]
    pub link_types: Vec<String>,
    /// Interfaces that it was captured on.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// What was wrong with it: where it broke off, what was passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
