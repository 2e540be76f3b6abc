//! `hopwire proxy`: stands in the path, records what passes, and judges it while it runs.

mod config;
mod places;
mod run;
mod source;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::analyze::Judging;
use crate::cli::capture::rotation::{Criterion, parse_criterion};
use crate::cli::values::parse_span;
use crate::proxy::{AllowedTarget, Experiment, Route};

/// The arguments of `proxy`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Listens and forwards; without an address it listens on loopback only. Its hops are called NAME and NAME-upstream
    #[arg(long, value_name = "NAME=LISTEN->TARGET", value_parser = Route::parse)]
    route: Vec<Route>,
    /// Listens as a forward proxy, for clients with proxy settings (fs.s3a.proxy.host, https_proxy): CONNECT and absolute form
    #[arg(long, value_name = "NAME=LISTEN", value_parser = Route::parse_forward)]
    forward: Vec<Route>,
    /// Lets clients of --forward connect to this target only; needed where it listens beyond loopback
    #[arg(long, value_name = "HOST[:PORT]", value_parser = AllowedTarget::parse)]
    allow_target: Vec<AllowedTarget>,
    /// Redirects a port of a docker container here, without changing clients or server; needs root
    #[arg(long, value_name = "CONTAINER:PORT")]
    intercept: Vec<String>,
    /// Redirects a port of a network namespace here, as in store=/run/netns/store:9000; needs root
    #[arg(long, value_name = "NAME=PATH:PORT")]
    netns: Vec<String>,
    /// Reads routes and certificates from a file (TOML); see the guide
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The CA that makes the certificates for clients (PEM)
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Its private key (PEM), which only you can read
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// A certificate for all clients, instead of a CA (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "ca_cert")]
    cert: Option<PathBuf>,
    /// Its private key (PEM), which only you can read
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The password of encrypted private keys, in a file that only you can read; asked for where it is needed and not given
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,
    /// Makes certificates for this name too; *.example.org stands for all names below
    #[arg(long, value_name = "NAME")]
    allow_name: Vec<String>,
    /// Makes a CA in a folder, says how clients come to trust it, and ends
    #[arg(long, value_name = "DIR", conflicts_with_all = ["route", "forward", "intercept", "netns", "config", "ca_cert", "cert", "write"])]
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
    /// Experiment: leaves a header out of responses, as in x-amz-server-side-encryption-aws-kms-key-id,operation=HeadObject
    #[arg(long, value_name = "NAME[,operation=OP]", value_parser = parse_dropped_header)]
    drop_response_header: Vec<Arc<Experiment>>,
    /// Experiment: status=503, delay=5s or reset=BYTES on some requests, as in operation=UploadPart,part=3,status=503,times=2
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = parse_fault)]
    fault: Vec<Arc<Experiment>>,
    /// Experiment: shows clients certificates for this name instead of the right one
    #[arg(long, value_name = "NAME", requires = "ca_cert")]
    wrong_certificate: Option<String>,
    /// Keeps what passes in a pcapng that only you can read, with the TLS secrets in it
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Judges the files at the end instead of the traffic while it runs: no findings on the way, and less load
    #[arg(long, requires = "write")]
    judge_at_end: bool,
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

fn parse_fault(text: &str) -> Result<Arc<Experiment>, String> {
    Experiment::parse_fault(text).map(Arc::new)
}

fn parse_dropped_header(text: &str) -> Result<Arc<Experiment>, String> {
    Experiment::parse_dropped_header(text).map(Arc::new)
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
  sudo hopwire proxy --ca-cert lab-ca/ca.crt --ca-key lab-ca/ca.key --intercept sidekick-https:8090 --intercept aistor:9000
  hopwire proxy --route 'front=http://:18091->http://sidekick:8091' \
    --drop-response-header x-amz-server-side-encryption-aws-kms-key-id,operation=HeadObject
  hopwire proxy --route 'sidekick-store=http://:19000->https://aistor:9000' --duration 10m -o report.html

The quotes keep the shell from taking > for itself. Listening on another address than loopback lets others connect.";
