//! Tests of the capture reader and the pcapng writer, on crafted bytes and on foreign captures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod corpora;
mod craft;
mod damage;
mod formats;
mod laws;
#[path = "../support/require.rs"]
mod require;
mod writer;
