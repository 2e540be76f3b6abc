//! Findings: S3 calls and closed flows in, findings out. One file per rule; a rule keeps bounded state, cannot fail and prints nothing.

mod completeness;
mod finding;
mod rule;

pub use completeness::Completeness;
pub use finding::{Confidence, Evidence, Finding, Fix, Outcome, Severity, Step, Verdict};
pub use rule::Rule;
