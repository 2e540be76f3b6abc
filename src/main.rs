//! The hopwire command.

use std::process::ExitCode;

/// Exchanges are many small pieces of memory made on one thread and freed on another, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hopwire::cli::run()
}
