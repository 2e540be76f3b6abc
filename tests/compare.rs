//! `hopwire compare` on the captures of the project.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that meets the unexpected shall fail")]

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

const HTTP: &str = "captures/spark33-http.pcapng";
const HTTPS: &str = "captures/spark33-https.pcapng";

fn hopwire() -> Command {
    let mut command = Command::cargo_bin("hopwire").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn compare(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = hopwire().arg("compare").args(arguments).args(["--format", "json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {errors}")), output.status.code())
}

/// The session of a capture, its lines in another order.
fn shuffled(capture: &str, folder: &Path) -> String {
    let session = folder.join("run.jsonl");
    hopwire().args(["convert", "-q", capture]).arg(&session).assert().success();
    let text = std::fs::read_to_string(&session).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_by_key(|line| line.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let other = folder.join("shuffled.jsonl");
    std::fs::write(&other, lines.join("\n") + "\n").unwrap();
    other.to_str().unwrap().to_owned()
}

#[test]
fn the_https_run_goes_on_with_a_copy_where_the_http_run_stopped() {
    let (found, exit) = compare(&[HTTP, HTTPS]);
    assert_eq!(exit, Some(1));
    assert_eq!(found["schema"], "hopwire.comparison/1");
    let headline = &found["headline"];
    assert_eq!(
        (&headline["side"], &headline["operation"], &headline["other_stopped"]),
        (&"after".into(), &"CopyObject".into(), &true.into())
    );
    assert_eq!(headline["last_common"]["operation"], "HeadObject");
    let classes: Vec<_> = found["differences"].as_array().unwrap().iter().map(|one| one["class"].as_str().unwrap()).collect();
    assert!(classes.contains(&"transport"), "{classes:?}");
    // The other way round it is the same call that is missing.
    let (found, _) = compare(&[HTTPS, HTTP]);
    assert_eq!((&found["headline"]["side"], &found["headline"]["operation"]), (&"before".into(), &"CopyObject".into()));
}

#[test]
fn a_run_is_equal_to_itself_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let other = shuffled(HTTPS, folder.path());
    for after in [HTTPS, &other] {
        let (found, exit) = compare(&[HTTPS, after]);
        assert_eq!(
            (exit, &found["equal"], found["differences"].as_array().unwrap().len()),
            (Some(0), &true.into(), 0),
            "{after}"
        );
        assert!(found["headline"].is_null());
    }
}

#[test]
fn what_a_third_run_shows_as_noise_is_left_out() {
    let (found, exit) = compare(&[HTTP, HTTPS, "--noise", HTTPS]);
    assert_eq!((exit, &found["headline"]), (Some(0), &Value::Null), "{found}");
    assert!(found["noise"].as_u64().unwrap() > 10);
}

#[test]
fn a_file_without_calls_is_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.jsonl");
    std::fs::write(&empty, "{\"type\":\"source\",\"file\":\"x\",\"format\":\"pcap\"}\n").unwrap();
    hopwire().args(["compare", HTTPS]).arg(&empty).assert().code(3);
}
