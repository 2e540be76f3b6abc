//! A session says what its capture said: every recorded lab run, written as JSON lines and read back.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/require.rs"]
mod require;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use hopwire::capture::write::pcapng::{InterfaceDescription, PacketRecord, Writer};
use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use proptest::prelude::*;
use require::{Need, skip};
use serde_json::Value;

/// All that a report says of a run, except where it was read from.
const MEMBERS: [&str; 10] =
    ["verdict", "findings", "hops", "completeness", "operations", "encryption", "clients", "joins", "losses", "tls_flows"];

#[test]
fn a_session_read_back_is_judged_as_its_capture_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut outcomes = Vec::new();
    for capture in captures() {
        let name = capture.display().to_string();
        let session = folder.path().join("run.jsonl");
        let text = analyze(&capture, "jsonl");
        fs::write(&session, &text).unwrap();
        let [one, two] = [&capture, &session].map(|path| serde_json::from_slice::<Value>(&analyze(path, "json")).unwrap());
        for member in MEMBERS {
            assert_eq!(one[member], two[member], "{member} of {name}");
        }
        assert_eq!(analyze(&session, "jsonl"), text, "{name} written once more");
        outcomes.push(one["verdict"]["outcome"].as_str().unwrap().to_owned());
    }
    for outcome in ["refused-before-the-wire", "leaked", "exposed", "clean", "not-judged"] {
        assert!(outcomes.iter().any(|have| have == outcome), "no capture is {outcome}");
    }
}

/// Converts a capture into a session, that into another one, and the capture into another capture: each is judged as the capture is.
fn no_conversion_changes_what_is_reported(capture: &Path, folder: &Path) {
    let convert = |from: &Path, to: &str| {
        let to = folder.join(to);
        let run = Command::cargo_bin("hopwire").unwrap().args(["convert", "-q", "--force"]).arg(from).arg(&to).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        to
    };
    let report = |path: &Path| serde_json::from_slice::<Value>(&analyze(path, "json")).unwrap();
    let first = convert(capture, "a.jsonl");
    let expected = report(capture);
    for other in [first.clone(), convert(&first, "b.jsonl"), convert(capture, "c.pcapng")] {
        let mut seen = report(&other);
        // Evidence names the file that was read.
        let text = seen.to_string().replace(&*other.to_string_lossy(), &capture.to_string_lossy());
        seen = serde_json::from_str(&text).unwrap();
        for member in MEMBERS {
            let difference = difference(&expected[member], &seen[member]);
            assert!(difference.is_empty(), "{member} of {} after {}: {difference}", capture.display(), other.display());
        }
    }
    // What waited for a partner may come earlier or later among the other lines.
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let mut lines: Vec<_> = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
        lines.sort_by_key(|line| (line["type"].to_string(), line["flow"].as_u64(), line.to_string()));
        Value::from(lines)
    };
    let difference = difference(&lines(&first), &lines(&folder.join("b.jsonl")));
    assert!(difference.is_empty(), "{} converted twice: {difference}", capture.display());
}

/// The first places where two values differ.
fn difference(one: &Value, two: &Value) -> String {
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => {
            let names = one.keys().chain(two.keys().filter(|name| !one.contains_key(*name)));
            let at = |all: &serde_json::Map<String, Value>, name: &str| all.get(name).cloned().unwrap_or_default();
            let inner = names.map(|name| (name, difference(&at(one, name), &at(two, name))));
            inner.filter(|(_, inner)| !inner.is_empty()).map(|(name, inner)| format!("/{name}{inner}")).take(3).collect()
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            let inner = one.iter().zip(two).map(|(one, two)| difference(one, two)).enumerate();
            inner.filter(|(_, inner)| !inner.is_empty()).map(|(at, inner)| format!("/{at}{inner}")).take(3).collect()
        }
        _ if one == two => String::new(),
        _ => format!(": {one} is {two}\n"),
    }
}

#[test]
fn no_conversion_of_a_lab_run_changes_what_is_reported() {
    let mut all = captures();
    match fs::read_dir("../shared/captures") {
        Ok(files) => all.extend(files.map(|file| file.unwrap().path()).filter(|path| is_capture(path))),
        Err(_) => skip(Need::Shared, "../shared/captures"),
    }
    let folder = tempfile::tempdir().unwrap();
    for capture in all {
        no_conversion_changes_what_is_reported(&capture, folder.path());
    }
}

/// Writes a capture again without some of its packets, and with others cut.
fn damage(capture: &Path, damaged: &Path, lost: &[u16], cut: &[u16], keeps_secrets: bool) {
    let input = Input { name: "capture".to_owned(), stream: Box::new(File::open(capture).unwrap()), positioned: None };
    let (mut source, mut batch) = (SavedCapture::open(vec![input]).unwrap(), Batch::new());
    let mut writer = Writer::new(Vec::new(), "test", &[]).unwrap();
    let (mut interface, mut at) = (None, 0_u16);
    while source.read_batch(&mut batch).unwrap() {
        batch.secrets().iter().filter(|_| keeps_secrets).for_each(|secret| writer.write_secret(secret).unwrap());
        for packet in batch.packets() {
            at = at.wrapping_add(1);
            let is = |list: &[u16]| list.iter().any(|each| at % each == 0);
            if is(lost) {
                continue;
            }
            let id =
                *interface.get_or_insert_with(|| writer.add_interface(packet.link, &InterfaceDescription::default()).unwrap());
            let length = if is(cut) { packet.bytes.len().min(90) } else { packet.bytes.len() };
            let bytes = packet.bytes.get(..length).unwrap();
            writer.write_packet(id, &PacketRecord { at: packet.at, bytes, original: packet.original, comments: &[] }).unwrap();
        }
    }
    fs::write(damaged, writer.finish().unwrap()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 8, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_conversion_of_a_damaged_capture_changes_what_is_reported(
        which in any::<prop::sample::Index>(),
        lost in prop::collection::vec(7_u16..400, 0..3),
        cut in prop::collection::vec(11_u16..400, 0..2),
        keeps_secrets in any::<bool>(),
    ) {
        let all = captures();
        let folder = tempfile::tempdir().unwrap();
        let damaged = folder.path().join("damaged.pcapng");
        damage(which.get::<PathBuf>(&all), &damaged, &lost, &cut, keeps_secrets);
        no_conversion_changes_what_is_reported(&damaged, folder.path());
    }
}

#[test]
fn recordings_that_are_read_together_keep_their_numbers_apart() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["boto3-http-none", "boto3-http-sse-c"].map(|name| {
        let session = folder.path().join(format!("{name}.jsonl"));
        fs::write(&session, analyze(&self::folder().join(format!("{name}.pcapng")), "jsonl")).unwrap();
        session
    });
    let run = |files: &[&Path], format: &str| {
        Command::cargo_bin("hopwire").unwrap().args(["analyze", "--format", format]).args(files).output().unwrap().stdout
    };
    let ids = |text: &[u8]| -> Vec<String> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"type\":\"exchange\""));
        lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect()
    };
    let text = run(&[&one, &two], "jsonl");
    let mut together = ids(&text);
    let apart = [ids(&run(&[&one], "jsonl")), ids(&run(&[&two], "jsonl"))].concat();
    assert_eq!(together.len(), apart.len());
    together.sort();
    together.dedup();
    assert_eq!(together.len(), apart.len(), "an id stands for one exchange");
    let report: Value = serde_json::from_slice(&run(&[&one, &two], "json")).unwrap();
    let key = report["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "sse-c-key-in-clear").unwrap();
    assert!(
        key["evidence"]
            .as_array()
            .unwrap()
            .iter()
            .all(|each| each["file"].as_str().unwrap().ends_with("boto3-http-sse-c.pcapng"))
    );
    assert_eq!(report["sources"].as_array().unwrap().len(), 2);
}

#[test]
fn a_session_of_shut_connections_alone_is_not_judged() {
    let capture = folder().join("spark33-https.no-secrets.pcap");
    let text = String::from_utf8(analyze(&capture, "jsonl")).unwrap();
    let flows = text.lines().filter(|line| line.starts_with("{\"type\":\"flow\"")).count();
    assert!(flows > 1, "{text}");
    let run = Command::cargo_bin("hopwire").unwrap().args(["analyze", "-"]).write_stdin(text).output().unwrap();
    assert_eq!(run.status.code(), Some(3));
    let shown = String::from_utf8(run.stderr).unwrap();
    assert!(shown.contains("was not decrypted (no-secret)"), "{shown}");
}

#[test]
fn names_that_the_user_gives_speak_before_recorded_ones() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("run.jsonl");
    fs::write(&session, analyze(&self::folder().join("boto3-http-none.pcapng"), "jsonl")).unwrap();
    let hops = |extra: &[&str]| -> Vec<String> {
        let mut run = Command::cargo_bin("hopwire").unwrap();
        let out = run.args(["analyze", "--format", "json"]).args(extra).arg(&session).output().unwrap().stdout;
        let report: Value = serde_json::from_slice(&out).unwrap();
        report["hops"].as_array().unwrap().iter().map(|hop| hop["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(hops(&[]).iter().any(|name| name == "boto3-sidekick"));
    assert!(hops(&["--hop", "front=172.18.0.4:8091"]).iter().any(|name| name == "front"));
    assert!(hops(&["--name", "172.18.0.4=gate"]).iter().any(|name| name.ends_with("-gate")));
}

fn analyze(path: &Path, format: &str) -> Vec<u8> {
    // Reports name their sources, and a session names those of its capture: relative names are the same everywhere.
    Command::cargo_bin("hopwire").unwrap().args(["analyze", "--format", format]).arg(path).output().unwrap().stdout
}

fn captures() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_capture(path)).collect();
    all.sort();
    assert!(all.len() >= 10, "{all:?}");
    all
}

fn is_capture(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "pcapng" || suffix == "pcap")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}
