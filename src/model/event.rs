//! What comes out of a decoder.

use std::sync::Arc;

use crate::model::{
    Anomaly, Close, Endpoint, Endpoints, Exchange, FlowId, Frame, Handshake, Loss, SealedExchange, Shut, Stamp, TlsView,
    Undecoded,
};

/// One result of decoding.
#[derive(Clone, Debug)]
pub enum Event {
    /// A flow was seen for the first time.
    FlowOpened(FlowOpened),
    /// An exchange is complete, or its flow ended.
    Exchange(Box<Exchange>),
    /// An exchange of a TLS flow that stays shut.
    Sealed(Box<SealedExchange>),
    /// A flow ended, was evicted, or the capture ended.
    FlowClosed(Box<FlowClosed>),
    /// Something was not decoded.
    Lost(Loss),
}

/// The first packet of a flow.
#[derive(Clone, Debug)]
pub struct FlowOpened {
    /// The flow.
    pub flow: FlowId,
    /// Its ends, as far as the first packets tell.
    pub endpoints: Endpoints,
    /// Its first packet.
    pub first: Stamp,
    /// The sequence number of the client's SYN, where that or the server's SYN-ACK is its first packet.
    pub syn: Option<u32>,
}

/// What a flow carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// No payload was seen.
    #[default]
    Silent,
    /// HTTP/1 in clear.
    Http1,
    /// HTTP/2 with prior knowledge, in clear: not decoded.
    Http2,
    /// TLS. `shut` tells why nothing was opened, or why opening stopped.
    Tls {
        /// What the handshake shows.
        view: TlsView,
        /// Why it stayed (or became) shut; `None` if all of it was opened.
        shut: Option<Shut>,
        /// Application data octets seen (ciphertext).
        sealed_bytes: u64,
        /// What came of the handshake.
        handshake: Handshake,
    },
    /// Something else.
    Other,
}

impl Protocol {
    /// Whether anybody on the path can read what it carries: all but TLS that encrypts.
    pub const fn is_readable(&self) -> bool {
        match self {
            Self::Tls { view, .. } => view.is_readable,
            Self::Silent | Self::Http1 | Self::Http2 | Self::Other => true,
        }
    }
}

/// Octets of one direction of a flow. Delivered and missing together are what the receiver acknowledged (or more, where the
/// last acknowledgement was not captured).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCount {
    /// Stream octets seen.
    pub delivered: u64,
    /// Stream octets that the receiver acknowledged, or that later octets prove, and the capture lacks.
    pub missing: u64,
    /// Octets up to the highest acknowledgement by the other side, counted from the first octet known.
    pub acknowledged: u64,
    /// Octets seen again.
    pub retransmitted: u64,
    /// Packets with payload.
    pub segments: u64,
}

/// A flow at its end.
#[derive(Clone, Debug)]
pub struct FlowClosed {
    /// The flow.
    pub flow: FlowId,
    /// Its ends.
    pub endpoints: Endpoints,
    /// Its first packet.
    pub first: Stamp,
    /// Its last packet.
    pub last: Stamp,
    /// Whether its SYN was seen.
    pub has_start: bool,
    /// Whether both directions were seen.
    pub both_sides: bool,
    /// How it ended.
    pub close: Close,
    /// What it carried.
    pub protocol: Protocol,
    /// Octets from the client.
    pub client: StreamCount,
    /// Octets from the server.
    pub server: StreamCount,
    /// Packets of the flow.
    pub packets: u64,
    /// Exchanges decoded on it.
    pub exchanges: u32,
    /// What was odd about the flow itself.
    pub anomalies: Vec<Anomaly>,
    /// The first frame whose absence or oddity was noticed, where there is one.
    pub first_gap: Option<Frame>,
    /// Stream bytes that were captured and not decoded, by reason; inside TLS where the protocol is TLS.
    pub undecoded: Vec<Undecoded>,
    /// The PROXY header that it begins with, and what the server made of it.
    pub proxied: Option<Box<Proxied>>,
    /// The target that a CONNECT named, where the flow became a tunnel to it: the protocol is that of its content.
    pub tunnel: Option<Arc<str>>,
}

/// A PROXY header at the start of a flow (HAProxy's PROXY protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// 1 or 2.
    pub version: u8,
    /// The client that the proxy names.
    pub client: Option<Endpoint>,
    /// Where that client connected to.
    pub server: Option<Endpoint>,
    /// The frame that completed it.
    pub stamp: Stamp,
}

/// A PROXY header and what the server made of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The header.
    pub header: ProxyHeader,
    /// The status of the first response, where there was one.
    pub status: Option<u16>,
    /// Whether every response was 400.
    pub is_refused: bool,
}
