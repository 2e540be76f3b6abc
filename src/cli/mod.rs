//! The command line: arguments in, an exit code out. Here files are opened and results printed.

mod analyze;
#[cfg_attr(not(feature = "live"), allow(dead_code, reason = "the arguments stay, so that their help does"))]
mod capture;
mod compare;
mod convert;
mod credentials;
#[cfg_attr(not(feature = "live"), allow(dead_code, reason = "some exits are those of capturing alone"))]
mod failure;
mod inputs;
mod interrupt;
#[cfg(feature = "keys")]
mod keys;
mod output;
mod packets;
mod predict;
mod progress;
mod proxy;
mod recorded;
mod rules;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::failure::{Exit, Failure};

/// Runs the program.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Analyze(arguments) => analyze::run(*arguments),
        Command::Capture(arguments) => capture::run(*arguments),
        Command::Proxy(arguments) => proxy::run(*arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        #[cfg(feature = "keys")]
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
    };
    outcome.unwrap_or_else(|failure| failure.tell()).into()
}

/// Makes S3 traffic over proxies visible and provable.
#[derive(Parser)]
#[command(name = "hopwire", version, about, max_term_width = 100, after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What happened on the wire, what leaked, what was refused and why
    Analyze(Box<analyze::Arguments>),
    /// The same while it happens: on a docker bridge, a container or any interface; -w keeps the packets
    Capture(Box<capture::Arguments>),
    /// Stands in the path and forwards every byte as it came, with a CA you hold; records and judges what passes
    Proxy(Box<proxy::Arguments>),
    /// Two recordings of the same job: the first call that one lacks, every difference, and its cause
    Compare(compare::Arguments),
    /// Which requests of a recording each SDK would refuse over http, and what would leak; sends nothing
    Predict(predict::Arguments),
    /// Another format, fewer flows, or a capture that can be shared
    Convert(Box<convert::Arguments>),
    /// TLS secrets of running programs, as a key log: Go programs and JVMs, with nothing configured
    #[cfg(feature = "keys")]
    Keys(keys::Arguments),
    /// The rule list, or one rule's page
    Rules(rules::Arguments),
}

const EXITS: &str = "\
Exit codes:
  0  ran, nothing at or above --fail-on
  1  findings at or above it
  2  wrong usage
  3  could not judge: nothing S3-like decoded, no keys for the TLS connections, packets lost under --strict
  4  input unreadable, output not writable
  5  capture: privilege, interface, docker
  6  refused for safety: a private key that others can read
  130  interrupted; what was captured is kept and was reported";

/// What a subcommand gives back.
type Outcome = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
