//! Writes a deterministic capture of S3 traffic, and the truth about it.

mod capture;
mod clock;
mod connection;
mod lane;
mod options;
mod outgoing;
mod packet;
mod places;
mod random;
mod request;
mod response;
mod s3;
mod sidekick;
mod tls;
mod truth;
mod wire;

use std::io;
use std::process::ExitCode;

use crate::lane::{Lane, Proxy};
use crate::options::{Kind, Options, USAGE};
use crate::places::Places;
use crate::wire::Wire;

fn main() -> ExitCode {
    let options = match Options::from_args(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let out = options.out.clone();
    match generate(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}: {failure}", out.display());
            ExitCode::from(4)
        }
    }
}

fn generate(options: Options) -> io::Result<()> {
    let lanes_max = match options.kind {
        Kind::Bulk | Kind::Offload => 16,
        Kind::Chatty => 256,
        Kind::Flows => 20_000,
    };
    let mut wire = Wire::create(options)?;
    let mut proxy = Proxy { places: Places::default(), idle: Vec::new() };
    let mut lanes: Vec<Lane> = Vec::new();
    loop {
        // A new client arrives whenever there is a free place, one per turn: arrivals spread over the start.
        if lanes.len() < lanes_max && wire.has_room() {
            lanes.push(Lane::new(&mut proxy, &mut wire));
        }
        if lanes.is_empty() {
            break;
        }
        let at = wire.random.index(lanes.len());
        let packets = wire.random.within(1..=10);
        if !lanes[at].burst(packets, &mut proxy, &mut wire) {
            lanes.swap_remove(at);
        }
    }
    proxy.close_idle(&mut wire);
    wire.finish()
}
