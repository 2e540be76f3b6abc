//! Hops: which address plays which part on the way from the client to the store, which exchanges on them are one call, and
//! what the proxy between did to it.

mod clients;
mod correlate;
mod difference;
mod fingerprint;
mod host;
mod naming;
mod partners;
mod request_line;
mod sealed;
mod topology;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Endpoint, Untrusted};

pub use clients::{ClientId, ClientView, Clients};
pub use correlate::{Chain, Correlator, Join, Member};
pub use difference::{Change, ChangeKind, Signature, changes, request_changes, signature_between};
pub use fingerprint::JoinKey;
pub use request_line::{LineChange, LinePart, request_line_changes};
pub use sealed::{Front, Lone, SealedMember, Sealings, Settled};
pub use topology::{DeclaredHop, Topology};

/// Names a hop: its number in order of first sight, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HopId(pub u32);

/// How the flows of a hop travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HopTransport {
    /// All in clear.
    Clear,
    /// All inside TLS, opened or not.
    Tls,
    /// Some of both.
    Mixed,
}

impl HopTransport {
    /// `clear`, `tls`, `mixed`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Tls => "tls",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for HopTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One leg of the way: those who open connections to the same server.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Its name among the hops of the run.
    pub id: HopId,
    /// Its name in reports: declared, or `CLIENT-SERVER`. Printable ASCII.
    pub name: String,
    /// The endpoints that answer; the first [`Hop::SERVERS_MAX`].
    pub servers: Vec<Endpoint>,
    /// The target that CONNECT named (`host:port`; wire text), where the hop is inside tunnels: its servers are then the proxies.
    pub target: Option<Arc<str>>,
    /// Other addresses of the servers, before they were translated (NAT). Set by [`Topology::into_hops`].
    pub aliases: Vec<Endpoint>,
    /// The addresses that ask; the first [`Hop::CLIENTS_MAX`].
    pub clients: Vec<IpAddr>,
    /// In clear, inside TLS, or both.
    pub transport: HopTransport,
    /// Exchanges decoded on it, health checks included.
    pub exchanges: u64,
    /// S3 calls decoded on it, without health checks.
    pub calls: u64,
    /// TLS flows with application data that stayed shut.
    pub shut_flows: u64,
    /// TLS flows that failed.
    pub failed_flows: u64,
    /// Plaintext flows of which some or all bytes were not decoded.
    pub undecoded_flows: u64,
    /// Whether the user named it.
    pub declared: bool,
    /// The next hop towards the store, where one is seen.
    pub upstream: Option<HopId>,
}

impl Hop {
    /// Who answers, in words: the target of a tunnel, or the endpoints.
    pub fn server_texts(&self) -> Vec<String> {
        match &self.target {
            Some(target) => vec![Untrusted(target.as_bytes()).to_string()],
            None => self.servers.iter().map(ToString::to_string).collect(),
        }
    }

    /// How many servers of one hop are listed.
    pub const SERVERS_MAX: usize = 64;
    /// How many clients of one hop are listed.
    pub const CLIENTS_MAX: usize = 64;
}
