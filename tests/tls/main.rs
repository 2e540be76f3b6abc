//! Passive TLS against real connections: recorded for this project, recorded in the lab, and from other projects' corpora.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that meets the unexpected is to fail, and one that is skipped says so"
)]

mod captures;
mod connections;
#[path = "../support/require.rs"]
mod require;
mod sealed;
mod support;
