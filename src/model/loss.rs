//! What was not decoded, counted so that nothing is lost in silence.

use crate::model::{FlowId, Stamp};

/// Why bytes or packets belong to no exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// Stream bytes before the first recognisable message (the capture starts in the middle).
    BeforeFirstMessage,
    /// Stream bytes that are neither a message nor part of one.
    NotHttp,
    /// Stream bytes passed over while looking for the next message after a gap.
    AfterGap,
    /// Bytes after an upgrade or CONNECT.
    Tunnel,
    /// The preface of HTTP/2: not decoded.
    Http2,
    /// TLS application data that stayed shut.
    TlsShut,
    /// A flow was dropped because a table was full.
    Evicted,
    /// A packet of a link type that is not decoded.
    LinkType,
    /// A packet whose headers do not parse.
    Malformed,
    /// An IP fragment whose datagram never became whole.
    Fragment,
    /// A packet cut by the snap length.
    Truncated,
}

impl LossReason {
    /// A stable word for reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BeforeFirstMessage => "before-first-message",
            Self::NotHttp => "not-http",
            Self::AfterGap => "after-gap",
            Self::Tunnel => "tunnel",
            Self::Http2 => "http2-not-decoded",
            Self::TlsShut => "tls-shut",
            Self::Evicted => "evicted",
            Self::LinkType => "link-type",
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::Truncated => "truncated",
        }
    }
}

/// Something that was seen and not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// The flow concerned, where there is one.
    pub flow: Option<FlowId>,
    /// Octets concerned (stream bytes, or captured bytes of packets).
    pub bytes: u64,
    /// Where it began.
    pub stamp: Stamp,
}
