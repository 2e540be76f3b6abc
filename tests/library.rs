//! The library as a stranger uses it: the examples run, and what they print is what the command reports.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking; the examples have a main of their own"
)]

#[path = "../examples/feed_connection.rs"]
mod feed_connection;
#[path = "../examples/find_plaintext_keys.rs"]
mod find_plaintext_keys;
#[path = "../examples/list_calls.rs"]
mod list_calls;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hopwire::OpenError;
use hopwire::analysis::{Analysis, Judged, Options, Sink, Summary};
use hopwire::capture::{SavedCapture, open_file, secrets_in};
use hopwire::decode::Limits;
use hopwire::model::{Event, Loss, Side};
use hopwire::pipeline;

/// The captures of the project, and all others at hand.
fn captures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<PathBuf> = ["captures", "../shared/captures", "../shared/live"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "pcapng" || suffix == "pcap"))
        .collect();
    all.sort();
    all
}

struct Silent;

impl Sink for Silent {
    fn exchange(&mut self, _: &Judged<'_>) {}
    fn loss(&mut self, _: &Loss) {}
}

/// What `analyze` reports.
fn analyze(path: &Path) -> Summary {
    let input = open_file(path).unwrap().input;
    let secrets = secrets_in(input.positioned.as_deref().unwrap()).unwrap_or_default();
    let mut capture = SavedCapture::open(vec![input]).unwrap();
    let options = pipeline::Options { threads: 2, limits: Limits::default(), secrets };
    pipeline::run(&mut capture, &options, Analysis::new(Options::default()), &mut Silent).summary
}

#[test]
fn the_calls_that_the_example_lists_are_those_that_are_analyzed() {
    let captures = captures();
    assert!(captures.len() >= 9, "{captures:?}");
    for path in captures {
        let mut out = Vec::new();
        list_calls::list_calls(path.to_str().unwrap(), &mut out).unwrap();
        let mut listed: BTreeMap<String, u64> = BTreeMap::new();
        for line in String::from_utf8(out).unwrap().lines() {
            *listed.entry(line.split(' ').nth(2).unwrap().to_owned()).or_default() += 1;
        }
        let mut analyzed: BTreeMap<String, u64> = BTreeMap::new();
        for row in analyze(&path).operations {
            *analyzed.entry(row.operation.to_owned()).or_default() += row.count;
        }
        assert_eq!(listed, analyzed, "{}", path.display());
    }
}

#[test]
fn the_keys_that_the_example_finds_are_those_of_the_finding_and_are_not_printed() {
    let mut with_keys = 0;
    for path in captures() {
        let mut out = Vec::new();
        find_plaintext_keys::find_plaintext_keys(path.to_str().unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let found: u64 = text.lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
        let findings = analyze(&path).findings;
        let reported: u64 =
            findings.iter().filter(|finding| finding.rule.name == "sse-c-key-in-clear").map(|finding| finding.count).sum();
        assert_eq!(found, reported, "{}", path.display());
        assert_eq!(text.lines().count() as u64, found + 1);
        with_keys += usize::from(found > 0);
    }
    assert!(with_keys >= 2, "{with_keys}");
}

#[test]
fn a_connection_fed_by_hand_gives_its_exchanges_however_the_bytes_come() {
    let request = b"PUT /b/k HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhello".as_slice();
    let response = b"HTTP/1.1 204 No Content\r\n\r\n".as_slice();
    for size in 1..request.len() {
        let sent = request.chunks(size).map(|piece| (Side::Client, piece));
        let exchanges = feed_connection::exchanges(sent.chain(response.chunks(size).map(|piece| (Side::Server, piece))));
        assert_eq!(exchanges.len(), 1);
        assert_eq!((exchanges[0].status(), exchanges[0].request.body.length), (Some(204), 5));
    }
}

#[test]
fn a_key_log_of_its_own_decrypts_what_the_capture_has_no_secrets_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let capture = folder.join("spark33-https.no-secrets.pcap");
    let without = hopwire::open(&capture).unwrap().exchanges().count();
    let keys = fs::read(folder.join("spark33-https.keys.txt")).unwrap();
    let with = hopwire::open(&capture).unwrap().with_keylog(keys).exchanges().count();
    assert!(with > without, "{with} exchanges, {without} without the key log");
    let inside = hopwire::open(folder.join("spark33-https.pcapng")).unwrap();
    assert_eq!(inside.exchanges().count(), with, "the secrets inside a capture are used without being named");
}

#[test]
fn what_was_read_is_known_at_the_end_and_several_captures_are_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let paths = [folder.join("spark33-http.pcapng"), folder.join("boto3-http-sse-c.pcapng")];
    let count = |events: hopwire::Events| events.exchanges().count();
    let alone: usize = paths.iter().map(|path| count(hopwire::open(path).unwrap())).sum();
    assert_eq!(count(hopwire::open_all(&paths).unwrap()), alone);
    let mut events = hopwire::open_all(&paths).unwrap();
    let closed = events.by_ref().filter(|event| matches!(event, Event::FlowClosed(_))).count();
    assert!(closed > 0 && events.failure().is_none() && events.next().is_none());
    let sources = events.sources();
    assert_eq!(sources.len(), 2);
    assert_eq!(sources.iter().map(|source| source.packets).sum::<u64>(), events.packets().0);
    assert_eq!(events.packets().1, 0);
}

#[test]
fn what_is_no_capture_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("run.jsonl");
    fs::write(&session, "{\"type\":\"summary\"}\n{\"type\":\"summary\"}\n").unwrap();
    assert!(matches!(hopwire::open(&session), Err(OpenError::Session { .. })));
    assert!(matches!(hopwire::open(folder.path()), Err(OpenError::File { .. })));
    assert!(matches!(hopwire::open(folder.path().join("absent")), Err(OpenError::File { .. })));
    let text = folder.path().join("text");
    fs::write(&text, "no capture").unwrap();
    assert!(matches!(hopwire::open(&text), Err(OpenError::Capture(_))));
}
