//! `hopwire proxy`: stands in the path, records what passes, and judges it while it runs.

mod run;
mod source;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::analyze::Judging;
use crate::cli::capture::rotation::{Criterion, parse_criterion};
use crate::cli::values::parse_span;
use crate::proxy::Route;

/// The arguments of `proxy`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Listens and forwards; without an address it listens on loopback only. Its hops are called NAME and NAME-upstream
    #[arg(long, value_name = "NAME=LISTEN->TARGET", value_parser = Route::parse)]
    route: Vec<Route>,
    /// The CA that makes the certificates for clients (PEM)
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
    /// Its private key (PEM), which only you can read
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// A certificate for all clients, instead of a CA (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "ca_cert")]
    cert: Option<PathBuf>,
    /// Its private key (PEM), which only you can read
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Makes certificates for this name too; *.example.org stands for all names below
    #[arg(long, value_name = "NAME")]
    allow_name: Vec<String>,
    /// Makes a CA in a folder, says how clients come to trust it, and ends
    #[arg(long, value_name = "DIR", conflicts_with_all = ["route", "ca_cert", "cert", "write"])]
    make_ca: Option<PathBuf>,
    /// Trusts this CA too when connecting to targets (PEM); those of the system are trusted always
    #[arg(long, value_name = "FILE")]
    upstream_ca: Vec<PathBuf>,
    /// A certificate for targets that ask for one (PEM)
    #[arg(long, value_name = "FILE", requires = "upstream_key")]
    upstream_cert: Option<PathBuf>,
    /// Its private key (PEM), which only you can read
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    upstream_key: Option<PathBuf>,
    /// Does not verify the certificates of targets: whoever is in between can read and change everything
    #[arg(long)]
    insecure_upstream: bool,
    /// Forwards messages that two readers may cut differently, instead of refusing them
    #[arg(long)]
    forward_ambiguous: bool,
    /// Keeps what passes in a pcapng that only you can read, with the TLS secrets in it
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Goes on in another file: duration:SECONDS, filesize:KB; files:N keeps the last N
    #[arg(short = 'b', long = "ring", value_name = "KEY:VALUE", value_parser = parse_criterion, requires = "write")]
    ring: Vec<Criterion>,
    /// Ends by itself: seconds, or with a unit as in 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    duration: Option<Duration>,
    /// Threads that relay [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Connections with clients at a time; further ones wait
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    #[command(flatten)]
    judging: Judging,
}

/// Runs the proxy and reports.
pub(super) fn run(arguments: Arguments) -> Outcome {
    match &arguments.make_ca {
        Some(folder) => run::make_ca(folder),
        None => run::run(arguments),
    }
}

const EXAMPLES: &str = "\
Examples:
  hopwire proxy --make-ca lab-ca
  hopwire proxy --ca-cert lab-ca/ca.crt --ca-key lab-ca/ca.key --upstream-ca sidekick-ca.crt \\
    --route 'spark-sidekick=https://0.0.0.0:18090->https://sidekick:8090' -w run.pcapng
  hopwire proxy --route 'sidekick-store=http://:19000->https://aistor:9000' --duration 10m -o report.html

The quotes keep the shell from taking > for itself. Listening on another address than loopback lets others connect.";
