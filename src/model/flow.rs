//! A flow: one TCP connection, both directions.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::model::TlsView;

/// Names a flow: the ordinal (from 1) of its first packet among all packets of the capture. With a single input file this
/// is the frame number, so it can be looked up in Wireshark, and it does not depend on how many threads decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address and a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Builds from address and port.
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }

    /// An endpoint that stands for "not known": 0.0.0.0:0.
    pub const UNKNOWN: Self = Self { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// Both ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// The side that opened the flow.
    pub client: Endpoint,
    /// The side that accepted it.
    pub server: Endpoint,
}

/// How the bytes of an exchange travelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain text: read without any key.
    Clear,
    /// Inside TLS, opened with a secret. All exchanges of a connection share the view.
    Tls(Arc<TlsView>),
}

impl Transport {
    /// Whether anybody on the path could read the bytes: without TLS, or inside TLS that does not encrypt.
    pub fn is_clear(&self) -> bool {
        match self {
            Self::Clear => true,
            Self::Tls(view) => view.is_readable,
        }
    }

    /// `clear`, `tls1.2`, `tls1.3`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Tls(view) => match view.version {
                Some(version) => version.label(),
                None => "tls",
            },
        }
    }
}

/// How one side ended its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// An orderly end: FIN, or TLS close_notify.
    Finished,
    /// RST.
    Reset,
    /// The capture ended, or the flow was evicted: nothing is known of its end.
    Unseen,
}
