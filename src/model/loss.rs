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
    /// The reasons for which a packet is not decoded, in the order of [`PacketLosses`].
    pub const OF_PACKETS: [Self; 7] =
        [Self::LinkType, Self::Malformed, Self::Fragment, Self::Truncated, Self::Encapsulation, Self::Quic, Self::Encrypted];

    /// Whether what was lost is encrypted, so that nobody on the path can read it.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::TlsShut | Self::Quic | Self::Encrypted)
    }
}

/// Packets that were not decoded, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketLosses([u64; LossReason::OF_PACKETS.len()]);

impl PacketLosses {
    /// Counts packets; a reason that is not one of packets counts nowhere.
    pub fn add(&mut self, reason: LossReason, packets: u64) {
        let known = LossReason::OF_PACKETS.iter().position(|one| *one == reason);
        if let Some(count) = known.and_then(|at| self.0.get_mut(at)) {
            *count = count.saturating_add(packets);
        }
    }

    /// Adds the counts of others.
    pub fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|(reason, packets)| self.add(reason, packets));
    }

    /// The greater of both counts, reason by reason.
    #[must_use]
    pub fn max(mut self, others: &Self) -> Self {
        self.0.iter_mut().zip(others.0).for_each(|(count, other)| *count = (*count).max(other));
        self
    }

    /// How many packets were lost for each reason.
    pub fn iter(&self) -> impl Iterator<Item = (LossReason, u64)> + '_ {
        LossReason::OF_PACKETS.into_iter().zip(self.0)
    }

    /// Packets that could not be decoded although nothing of them is encrypted.
    pub fn undecodable(&self) -> u64 {
        self.iter().filter(|(reason, _)| !reason.is_encrypted()).map(|(_, packets)| packets).sum()
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
