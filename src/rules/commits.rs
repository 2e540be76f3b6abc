//! Jobs that committed: an object `_SUCCESS` that was written. Calls in, the directories of those jobs out.

use crate::rules::quote::quote;
use crate::s3::{Call, Operation};

/// Directories of jobs that committed. Bounded; further ones are counted.
#[derive(Debug, Default)]
pub(super) struct Commits {
    targets: Vec<String>,
    count: u64,
}

impl Commits {
    /// How many directories are kept.
    const TARGETS_MAX: usize = 8;

    /// Takes note of a call that commits a job (Hadoop's file output committers write `_SUCCESS` last).
    pub(super) fn handle_call(&mut self, call: &Call<'_>) {
        if call.operation != Operation::PUT_OBJECT || !call.is_success() {
            return;
        }
        let Some(root) = call.address.key.as_deref().and_then(|key| key.strip_suffix(b"_SUCCESS")) else {
            return;
        };
        let bucket = call.address.bucket.as_deref().unwrap_or_default();
        let target = quote(&[bucket, b"/", root.strip_suffix(b"/").unwrap_or(root)].concat());
        if self.targets.contains(&target) {
            return;
        }
        self.count += 1;
        if self.targets.len() < Self::TARGETS_MAX {
            self.targets.push(target);
        }
    }

    /// The directories, with a last word for those beyond the bound.
    pub(super) fn into_targets(mut self) -> Vec<String> {
        let more = self.count - self.targets.len() as u64;
        if more > 0 {
            self.targets.push(format!("{more} more"));
        }
        self.targets
    }
}
