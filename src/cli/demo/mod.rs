//! `hopwire demo`: the whole story on the embedded lab, in one process and on loopback.

mod record;
mod story;

use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;

/// The arguments of `demo`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where captures and reports go; a folder that is not there yet
    #[arg(short, long, value_name = "FOLDER", default_value = "hopwire-demo")]
    output: PathBuf,
    /// Replaces the folder of an earlier demo
    #[arg(long)]
    force: bool,
}

/// Runs the tests, judges them, and says whether all came out as they must.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    story::run(&arguments.output, arguments.force)
}

const EXAMPLES: &str = "\
Examples:
  hopwire demo                       # captures and reports go to ./hopwire-demo
  hopwire demo -o /tmp/demo --force

Everything runs in this process on loopback: no root, no docker, no licence. Exit code 0: all came out as they must.";
