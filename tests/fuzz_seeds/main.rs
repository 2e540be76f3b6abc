//! Replays inputs of the fuzz targets: the committed seeds, and what other projects collected, where it is at hand.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a check that does not hold is to fail, a test that is skipped says so, and the fuzz package uses the checks too"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

mod checks;
#[path = "../support/require.rs"]
mod require;

use require::{Need, skip};

/// A target: its name, its check, and where others keep inputs of its kind, with the ends of their names.
type Target = (&'static str, fn(&[u8]), &'static [(&'static str, &'static [&'static str])]);

const CAPTURES: &[(&str, &[&str])] = &[
    ("captures", &[".pcap", ".pcapng"]),
    ("corpora/tcpdump", &[".pcap", ".pcapng"]),
    ("corpora/pcapng-test-generator", &[".pcap", ".pcapng", ".ntar"]),
    ("corpora/pcapplusplus", &[".pcap", ".pcapng", ".snoop", ".zst"]),
    ("corpora/scapy", &[".pcap", ".pcapng", ".gz"]),
    ("corpora/arkime", &[".pcap"]),
    ("corpora/pcap-parser", &[".pcap", ".pcapng"]),
    ("corpora/zeek", &[".pcap", ".trace"]),
    ("corpora/wireshark", &[".pcap", ".pcapng", ".gz"]),
    ("corpora/seeds-zeek-fuzz/src/fuzzers/corpora/packet-corpus", &[""]),
];
const TARGETS: &[Target] = &[
    ("pcap", checks::pcap, CAPTURES),
    ("pcapng", checks::pcapng, CAPTURES),
    ("link_ip", checks::link_ip, &[("corpora/seeds-zeek-fuzz/src/fuzzers/corpora/packet-corpus", &[""])]),
    ("reassembly", checks::reassembly, &[("corpora/seeds-zeek-fuzz/src/fuzzers/corpora/http-corpus", &[""])]),
    (
        "http1",
        checks::http1,
        &[
            ("corpora/seeds-libhtp", &[".t"]),
            ("corpora/seeds-llhttp", &[".md"]),
            ("corpora/seeds-zeek-fuzz/src/fuzzers/corpora/http-corpus", &[""]),
            ("corpora/seeds-http-desync-guardian", &[".yaml"]),
        ],
    ),
    ("aws_chunked", checks::aws_chunked, &[("corpora/seeds-libhtp", &["chunk.t", "chunked.t"])]),
    (
        "tls_records",
        checks::tls_records,
        &[("corpora/seeds-zeek-fuzz/src/fuzzers/corpora/ssl-corpus", &[""]), ("corpora/seeds-rustls-fuzz", &[".bin"])],
    ),
    ("keylog", checks::keylog, &[("corpora/tls-keys", &[""]), ("captures", &[".keys.txt"])]),
    ("jsonl", checks::jsonl, &[]),
    ("redact", checks::redact, &[("corpora/seeds-sigv4", &["request.txt", ".req", ".authz"])]),
    ("client_log", checks::client_log, &[("captures", &[".log"])]),
    ("executable", checks::executable, &[]),
    ("call", checks::call, &[("corpora/seeds-sigv4", &["request.txt", ".req", ".authz"])]),
    ("whole", checks::whole, CAPTURES),
];

/// Of each target, so many octets of others' inputs are replayed, the smallest files first: a few seconds in a debug build.
const OTHERS_BYTES_MAX: usize = 400_000;
/// A check feeds every input several times and compares all of it.
const INPUT_BYTES_MAX: u64 = 60_000;

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Runs a check over files, by size, up to so many octets; tells which did not pass.
fn replay(check: fn(&[u8]), mut files: Vec<PathBuf>, bytes_max: usize) -> Vec<String> {
    files.sort();
    files.sort_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let mut left = bytes_max;
    let mut failed = Vec::new();
    for path in files {
        let input = fs::read(&path).unwrap();
        let Some(rest) = left.checked_sub(input.len()) else { break };
        left = rest;
        if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
            failed.push(path.display().to_string());
        }
    }
    failed
}

#[test]
fn every_target_has_seeds_and_all_of_them_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut failed = Vec::new();
    let mut bytes = 0;
    for (name, check, _) in TARGETS {
        let mut files = Vec::new();
        files_below(&root.join(name), &mut files);
        assert!(!files.is_empty(), "{name} has no seeds");
        bytes += files.iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
        // What fuzzing on this machine found and nobody has looked at yet.
        let mut found = Vec::new();
        files_below(&root.join("../artifacts").join(name), &mut found);
        files.extend(found.into_iter().filter(|path| !path.to_string_lossy().ends_with(".log")));
        failed.extend(replay(*check, files, usize::MAX));
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    assert!(bytes <= 400_000, "{bytes} octets of seeds are more than a project should carry");
}

#[test]
fn what_others_collected_passes() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !shared.join("corpora").exists() {
        return skip(Need::Shared, shared.join("corpora").display());
    }
    let mut failed = Vec::new();
    for (name, check, folders) in TARGETS {
        let mut files = Vec::new();
        for (folder, suffixes) in *folders {
            let mut found = Vec::new();
            files_below(&shared.join(folder), &mut found);
            found.retain(|path| suffixes.iter().any(|suffix| path.to_string_lossy().ends_with(suffix)));
            found.retain(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() <= INPUT_BYTES_MAX));
            files.append(&mut found);
        }
        failed.extend(replay(*check, files, OTHERS_BYTES_MAX).into_iter().map(|path| format!("{name}: {path}")));
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// The targets of the fuzz package are those that are replayed here.
#[test]
fn no_target_is_forgotten() {
    let mut targets: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    let mut known: Vec<_> = TARGETS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(targets, known);
}
