//! Conversions held to what a shared capture must and must not hold.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that meets the unexpected shall fail"
)]

#[path = "../support/mod.rs"]
mod support;

mod craft;
mod disturbed;
mod lab;
mod sessions;
