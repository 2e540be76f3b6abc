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
        // A new client arrives whenever there is a free place, and speaks at once.
        let at = if lanes.len() < lanes_max && wire.has_room() {
            lanes.push(Lane::new(&mut proxy, &mut wire));
            lanes.len() - 1
        } else if lanes.is_empty() {
            break;
        } else {
            wire.random.index(lanes.len())
        };
        let packets = wire.random.within(1..=10);
        if !lanes[at].burst(packets, &mut proxy, &mut wire) {
            lanes.swap_remove(at);
        }
    }
    proxy.close_idle(&mut wire);
    wire.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::generate;
    use crate::options::Options;

    #[test]
    fn the_same_seed_gives_the_same_files_and_another_gives_others() {
        let folder = std::env::temp_dir().join(format!("hopwire-generator-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [first, again, other] = ["1", "1", "2"].map(|seed| files(&folder, seed));
        fs::remove_dir_all(&folder).unwrap();
        assert!(first == again);
        assert!(first != other);
    }

    // The capture, its truth and its secrets.
    fn files(folder: &Path, seed: &str) -> [Vec<u8>; 3] {
        let out = folder.join("x.pcap").display().to_string();
        let line = ["chatty", "--two-hop", "--varied", "--late", "10", "--bytes", "300K", "--seed", seed, "--out", &out];
        generate(Options::from_args(line.iter().map(ToString::to_string)).unwrap()).unwrap();
        ["", ".json", ".keys"].map(|suffix| fs::read(format!("{out}{suffix}")).unwrap())
    }
}
