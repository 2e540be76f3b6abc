//! A set of anomalies in one word, so that naming what is odd costs nothing.

use crate::model::Anomaly;

/// The anomalies of one exchange so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes(u64);

const _: () = assert!(Anomaly::ALL.len() <= 64, "Notes has one bit for each anomaly");

impl Notes {
    /// Adds one.
    pub(super) const fn add(&mut self, anomaly: Anomaly) {
        self.0 |= 1 << anomaly as u32;
    }

    /// Whether it is among them.
    pub(super) const fn has(self, anomaly: Anomaly) -> bool {
        self.0 & (1 << anomaly as u32) != 0
    }

    /// Adds all of `other`.
    pub(super) const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes all, leaving none.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The anomalies in the order of their declaration.
    pub(super) fn list(self) -> Vec<Anomaly> {
        if self.0 == 0 {
            return Vec::new();
        }
        Anomaly::ALL.iter().copied().filter(|&anomaly| self.0 & (1 << anomaly as u32) != 0).collect()
    }
}
