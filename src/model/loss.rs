//! What was not decoded, counted so that nothing is lost in silence.

use crate::model::{FlowId, Frame, Stamp};

macro_rules! reasons {
    ($($(#[$doc:meta])* $word:ident = $name:literal,)*) => {
        /// Why bytes or packets belong to no exchange.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LossReason {
            $($(#[$doc])* $word,)*
        }

        impl LossReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// A stable word for reports.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$word => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// Stream bytes before the first recognisable message (the capture starts in the middle).
    BeforeFirstMessage = "before-first-message",
    /// Stream bytes that are neither a message nor part of one.
    NotHttp = "not-http",
    /// Content behind the response to HEAD, which has none (RFC 9110 section 9.3.2).
    BodyAfterHead = "body-after-head",
    /// Stream bytes passed over while looking for the next message after a gap.
    AfterGap = "after-gap",
    /// Bytes after an upgrade, or inside a tunnel, that are of no decoded protocol.
    Tunnel = "tunnel",
    /// HTTP/2: not decoded.
    Http2 = "http2-not-decoded",
    /// Bytes of heads beyond the limits of length or number of fields.
    HeadLimit = "head-beyond-limits",
    /// TLS application data that was not decrypted.
    TlsShut = "tls-shut",
    /// A flow was dropped because a table was full.
    Evicted = "evicted",
    /// A packet of a link type that is not decoded.
    LinkType = "link-type",
    /// A packet whose headers do not parse.
    Malformed = "malformed",
    /// An IP fragment whose datagram never became whole.
    Fragment = "fragment",
    /// A packet cut by the snap length before its payload.
    Truncated = "truncated",
    /// A packet inside a tunnel or encapsulation that is not decoded.
    Encapsulation = "encapsulation",
    /// A QUIC packet (RFC 9000), which is encrypted.
    Quic = "quic",
    /// A packet or stream of another encrypted protocol: ESP, WireGuard, MACsec, SSH.
    Encrypted = "encrypted-other",
}

impl LossReason {
    /// Whether what was lost is encrypted, so that nobody on the path can read it.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::TlsShut | Self::Quic | Self::Encrypted)
    }
}

/// Something that was seen and not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// The flow concerned, where there is one.
    pub flow: Option<FlowId>,
    /// Bytes concerned (stream bytes, or captured bytes of packets).
    pub bytes: u64,
    /// Where it began.
    pub stamp: Stamp,
}

/// Stream bytes of one flow that were captured and not decoded, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecoded {
    /// Why.
    pub reason: LossReason,
    /// How many bytes.
    pub bytes: u64,
    /// Where the first of them were.
    pub first: Frame,
}
