//! Two recordings of the same job in, what differs out: calls are paired by what they mean, not by when they came.

mod classify;
mod normalize;
mod pair;
mod record;
pub mod render;

pub use pair::{Comparison, Difference, Example, Headline, Mapping, Noise, Options, Side, compare, compare_pairs};
pub use record::{CallRecord, Run};

/// What kind of cause a difference has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Keys, signatures, rights, clocks.
    Authentication,
    /// Plaintext or TLS, connections that ended, what a client does over one and not over the other.
    Transport,
    /// Server-side encryption that was asked for, used or refused.
    EncryptionPolicy,
    /// Objects, versions, lists and bodies that are not the same.
    Consistency,
    /// What one store can do and the other cannot.
    Capability,
    /// How long or how often.
    Timing,
    /// What a proxy answered or changed.
    Proxy,
}

impl Class {
    /// `authentication`, `transport`, `encryption policy`, …
    pub const fn label(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Transport => "transport",
            Self::EncryptionPolicy => "encryption policy",
            Self::Consistency => "consistency",
            Self::Capability => "capability",
            Self::Timing => "timing",
            Self::Proxy => "proxy",
        }
    }
}
