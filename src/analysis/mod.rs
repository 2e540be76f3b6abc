//! The ordered stage: decoded events in, findings and a summary out. No threads, no files, no clock.

mod summary;

pub use crate::rules::Completeness;
pub use summary::{ClientRow, Counts, Direction, EncryptionRow, JoinRow, Latency, LossRow, OperationRow, Summary, TlsRow};
