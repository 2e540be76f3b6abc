//! A session says what its capture said: every recorded lab run, written as JSON lines and read back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

#[test]
fn a_session_read_back_is_judged_as_its_capture_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut outcomes = Vec::new();
    for capture in captures() {
        let name = capture.display().to_string();
        let session = folder.path().join("run.jsonl");
        let text = analyze(&capture, "jsonl");
        std::fs::write(&session, &text).unwrap();
        let [one, two] = [&capture, &session].map(|path| serde_json::from_slice::<Value>(&analyze(path, "json")).unwrap());
        for member in
            ["verdict", "findings", "hops", "completeness", "operations", "encryption", "clients", "joins", "losses", "tls_flows"]
        {
            assert_eq!(one[member], two[member], "{member} of {name}");
        }
        assert_eq!(analyze(&session, "jsonl"), text, "{name} written once more");
        outcomes.push(one["verdict"]["outcome"].as_str().unwrap().to_owned());
    }
    for outcome in ["refused-before-the-wire", "leaked", "exposed", "clean", "not-judged"] {
        assert!(outcomes.iter().any(|have| have == outcome), "no capture is {outcome}");
    }
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
    assert!(shown.contains(&format!("{flows} TLS connections stayed shut")), "{shown}");
}

#[test]
fn names_that_the_user_gives_speak_before_recorded_ones() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("run.jsonl");
    std::fs::write(&session, analyze(&self::folder().join("boto3-http-none.pcapng"), "jsonl")).unwrap();
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
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "pcapng" || suffix == "pcap");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(is_capture).collect();
    all.sort();
    assert!(all.len() >= 10, "{all:?}");
    all
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}
