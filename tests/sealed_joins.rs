//! Joins with a hop that stays shut, against those with its secrets: every recorded lab run with the store behind TLS.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// The runs whose clients spoke to the proxy in clear.
const RUNS: [&str; 6] = [
    "boto3-http-none",
    "boto3-http-sse-c",
    "spark33-http",
    "spark33-http-select-only",
    "spark33-http-sse-s3",
    "spark40-http-sse-c",
];

#[test]
fn joins_by_size_are_those_that_the_secrets_show() {
    let folder = tempfile::tempdir().unwrap();
    let (mut joined, mut all) = (0, 0);
    for name in RUNS {
        let capture = captures().join(format!("{name}.pcapng"));
        let stripped = folder.path().join("stripped.pcapng");
        strip(&capture, &stripped);
        let truth: HashMap<String, String> = lines(&capture, "exchange")
            .iter()
            .filter(|line| line["trace"].is_string() && line["trace"] != line["id"])
            .map(|line| (text(&line["id"]), text(&line["trace"])))
            .collect();
        let sealed = lines(&stripped, "sealed");
        assert!(sealed.len() >= truth.len(), "{name}");
        for line in sealed.iter().filter(|line| line["trace"].is_string()) {
            assert_eq!(truth.get(&text(&line["id"])), Some(&text(&line["trace"])), "{name}: {line}");
            assert_eq!(line["trace"], line["downstream"], "{name}");
            assert!(line["confidence"] == "likely" || line["confidence"] == "possible", "{name}");
            joined += 1;
        }
        all += truth.len();
        let report: Value = serde_json::from_slice(&analyze(&stripped, "json")).unwrap();
        let row = &report["joins"][0];
        assert_eq!(report["joins"].as_array().unwrap().len(), 1, "{name}");
        assert_eq!(row["by"]["tls-record-sizes"], row["joined"], "{name}");
        assert!(row["confidence"]["certain"].is_null() && row["confidence"]["strong"].is_null(), "{name}");
        assert!(row["latency_ms"]["store_leg"]["p50"].as_f64().unwrap() > 0.0, "{name}");
        let shown = String::from_utf8(analyze(&stripped, "table")).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("by time and TLS record sizes"), "{name}: {shown}");
        // What is sealed is no call of its hop.
        let hop = &row["upstream"];
        assert!(report["operations"].as_array().unwrap().iter().all(|row| row["hop"] != *hop), "{name}");
    }
    assert!(joined * 100 >= all * 97, "{joined} of {all}");
}

#[test]
fn a_session_of_a_shut_hop_read_back_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (stripped, session) = (folder.path().join("stripped.pcapng"), folder.path().join("run.jsonl"));
    for name in RUNS {
        strip(&captures().join(format!("{name}.pcapng")), &stripped);
        let told = analyze(&stripped, "jsonl");
        std::fs::write(&session, &told).unwrap();
        // A session tells of connections at their end, so that what waits may wait for a shorter time.
        assert!(sorted(&analyze(&session, "jsonl")) == sorted(&told), "{name}");
        let [one, two] = [&stripped, &session].map(|path| serde_json::from_slice::<Value>(&analyze(path, "json")).unwrap());
        assert_eq!(one["joins"], two["joins"], "{name}");
        assert_eq!(one["findings"], two["findings"], "{name}");
    }
}

#[test]
fn nothing_is_sealed_where_the_secrets_are_known_or_nobody_asked_the_proxy() {
    assert!(lines(&captures().join("spark33-http.pcapng"), "sealed").is_empty());
    assert!(lines(&captures().join("spark33-https.no-secrets.pcap"), "sealed").is_empty());
}

fn sorted(told: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = told.split(|octet| *octet == b'\n').collect();
    lines.sort_unstable();
    lines
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn lines(path: &Path, kind: &str) -> Vec<Value> {
    let told = String::from_utf8(analyze(path, "jsonl")).unwrap();
    let all = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["type"] == kind).collect()
}

fn strip(capture: &Path, into: &Path) {
    let mut run = Command::cargo_bin("hopwire").unwrap();
    run.args(["convert", "--quiet", "--force", "--strip-secrets"]).arg(capture).arg(into).assert().success();
}

fn analyze(path: &Path, format: &str) -> Vec<u8> {
    Command::cargo_bin("hopwire").unwrap().args(["analyze", "--format", format]).arg(path).output().unwrap().stdout
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}
