//! `hopwire capture`: judges traffic while it runs, and keeps the packets where that is asked for.

pub(super) mod blocks;
#[cfg(feature = "live")]
mod keylogs;
#[cfg(feature = "live")]
mod list;
#[cfg(feature = "live")]
mod privilege;
#[cfg(all(feature = "live", feature = "keys"))]
mod program_keys;
pub(super) mod recording;
pub(super) mod rotation;
#[cfg(feature = "live")]
mod run;
#[cfg(feature = "live")]
mod status;
#[cfg(feature = "live")]
mod tee;
#[cfg(feature = "live")]
mod watch;
#[cfg(feature = "live")]
mod window;

use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::analyze::Judging;
use crate::cli::capture::rotation::{Criterion, parse_criterion};
use crate::cli::values::{parse_rule, parse_size, parse_span};

/// The arguments of `capture`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Shows the interfaces, with the docker networks and containers behind them
    #[arg(long)]
    list: bool,
    /// Captures on an interface; with --container on that one of the container, as in -i lo
    #[arg(short, long, value_name = "IF")]
    interface: Vec<String>,
    /// Captures on the bridge of a docker network: all its containers at once
    #[arg(long, value_name = "NET")]
    network: Vec<String>,
    /// Captures what one container sends and receives
    #[arg(long, value_name = "NAME", num_args = 1..)]
    container: Vec<String>,
    /// Captures only what the filter lets through, in the language of tcpdump
    #[arg(short, long, value_name = "BPF")]
    filter: Option<String>,
    /// Keeps the packets in a pcapng that only you can read; - is stdout, for Wireshark behind a pipe
    #[arg(short, long, value_name = "FILE")]
    write: Option<String>,
    /// Goes on in another file: duration:SECONDS, filesize:KB; files:N keeps the last N
    #[arg(short = 'b', long = "ring", value_name = "KEY:VALUE", value_parser = parse_criterion, requires = "write")]
    ring: Vec<Criterion>,
    /// Leaves the secrets of --keylog out of the file; it does not open without them
    #[arg(long)]
    no_embed_secrets: bool,
    /// Ends by itself: seconds, or with a unit as in 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    duration: Option<Duration>,
    /// Ends after so many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Ends with the first finding of this rule
    #[arg(long, value_name = "RULE", value_parser = parse_rule)]
    stop_on: Vec<String>,
    /// With --stop-on: keeps the packets of so many seconds before the finding, and nothing else
    #[arg(long, value_name = "SECONDS", value_parser = parse_span, requires = "stop_on", requires = "write", conflicts_with = "ring")]
    before: Option<Duration>,
    /// Bytes kept of a packet [default: all]
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    snapshot_length: u32,
    /// The kernel's ring of packets that wait to be read, per interface
    #[arg(short = 'B', long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    buffer_size: u64,
    /// Sees only what is addressed to this machine: on a bridge that is nearly nothing
    #[arg(short = 'p', long)]
    no_promiscuous: bool,
    /// Does not ask docker for the names of addresses
    #[arg(short = 'n', long)]
    no_names: bool,
    /// Reads the TLS secrets of running programs: containers, process ids or paths of executables (needs root; see hopwire keys)
    #[cfg(feature = "keys")]
    #[arg(long, value_name = "PROGRAM", num_args = 1.., value_delimiter = ',')]
    keys_from: Vec<String>,
    /// With --keys-from: the Java agent that is attached to JVMs
    #[cfg(feature = "keys")]
    #[arg(long, value_name = "FILE", requires = "keys_from")]
    java_agent: Option<std::path::PathBuf>,
    #[command(flatten)]
    judging: Judging,
}

/// Captures, judges and reports.
#[cfg(feature = "live")]
pub(super) fn run(arguments: Arguments) -> Outcome {
    if arguments.list { list::run() } else { run::run(&arguments) }
}

/// This build cannot capture.
#[cfg(not(feature = "live"))]
pub(super) fn run(_arguments: Arguments) -> Outcome {
    Err(crate::cli::failure::Failure::capture(
        anyhow::anyhow!("this build cannot capture: it was made without libpcap"),
        "build with the feature live (apt-get install libpcap-dev; cargo build --release), \
         or pipe another program's capture in: tcpdump -U -w - | hopwire analyze -",
    ))
}

const EXAMPLES: &str = "\
Examples:
  hopwire capture --list
  hopwire capture --network spark-net -w run.pcapng
  hopwire capture --container sidekick --stop-on sse-c-key-in-clear --before 30 -w leak.pcapng
  hopwire capture -i eth0 -f 'tcp port 9000' -w run.pcapng -b filesize:100000 -b files:10
  sudo hopwire capture --network spark-net --keys-from sidekick,aistor -w run.pcapng
  hopwire capture -i docker0 -w - -o report.html | wireshark -k -i -

Capturing needs CAP_NET_RAW: sudo, or once: sudo setcap cap_net_raw+ep \"$(command -v hopwire)\"";
