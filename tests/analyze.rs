//! `hopwire analyze` and `hopwire rules` as a user runs them, on recorded sessions: reports, formats, secrets and exit codes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLETOKEN0123456789";

/// A line of a session: a request by boto3 in clear, and its answer.
fn line(ordinal: u32, method: &str, target: &str, request: &[(&str, &str)], status: u16, response: &[(&str, &str)]) -> String {
    let mut headers = vec![
        ("Host", "sidekick:8091"),
        ("User-Agent", "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1 lang/python#3.12"),
        (
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=feedfacefeedface",
        ),
        ("x-amz-date", "20261123T132755Z"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ];
    headers.extend_from_slice(request);
    let mut answers = vec![("Server", "MinIO"), ("x-amz-request-id", "18EAAF88B72E2A2C")];
    answers.extend_from_slice(response);
    let frame = u64::from(ordinal) * 10;
    serde_json::json!({
        "type": "exchange", "id": format!("4.{ordinal}"), "flow": 4, "hop": "front", "client": "10.0.0.2:40000", "server": "10.0.0.3:8091", "transport": "clear",
        "time": {"start": format!("2026-11-23T13:27:{:02}Z", ordinal % 60), "request_end": null, "first_byte": format!("2026-11-23T13:27:{:02}.005Z", ordinal % 60), "end": null},
        "request": {"method": method, "target": target, "version": "HTTP/1.1", "headers": headers, "body": {"length": 0}, "frames": [frame]},
        "response": {"status": status, "reason": "OK", "version": "HTTP/1.1", "headers": answers, "body": {"length": 0}, "frames": [frame + 1]},
        "outcome": "answered",
    })
    .to_string()
}

/// A client that sends a customer key and a session token in clear.
fn leaking() -> String {
    let key = ("x-amz-server-side-encryption-customer-key", KEY);
    let algorithm = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
    let token = ("X-Amz-Security-Token", TOKEN);
    [
        line(1, "PUT", "/bucket/a%20b", &[key, algorithm, token], 200, &[("ETag", "\"0123456789abcdef0123456789abcdef\"")]),
        line(2, "GET", &format!("/bucket/a%20b?echo={TOKEN}"), &[key, algorithm, token], 200, &[("X-Echo", KEY)]),
        line(3, "HEAD", "/bucket/a%1B%5B31mb", &[], 404, &[]),
    ]
    .join("\n")
        + "\n"
}

/// A client of which nothing can be said.
fn plain_http() -> String {
    let mut value: Value = serde_json::from_str(&line(1, "GET", "/index.html", &[], 200, &[])).unwrap();
    value["request"]["headers"] = serde_json::json!([["Host", "www.example.org"]]);
    value["response"]["headers"] = serde_json::json!([["Server", "nginx"]]);
    format!("{value}\n")
}

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn hopwire(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::cargo_bin("hopwire").unwrap().current_dir(folder).args(arguments).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("leaking.jsonl"), leaking()).unwrap();
    fs::write(folder.path().join("plain.jsonl"), plain_http()).unwrap();
    folder
}

#[test]
fn exit_codes_are_as_promised() {
    let folder = folder();
    fs::write(folder.path().join("broken.jsonl"), "{\"type\":\"exchange\"}\n{}\n").unwrap();
    fs::write(folder.path().join("text"), "hello\n").unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["analyze", "leaking.jsonl"], 1, ""),
        (&["analyze", "leaking.jsonl", "--fail-on", "never"], 0, ""),
        (&["analyze", "leaking.jsonl", "--select", "retry-storm"], 0, ""),
        (&["analyze", "plain.jsonl"], 3, "help: check that the capture covers the S3 ports"),
        (&["analyze", "missing.jsonl"], 4, "error: cannot read missing.jsonl: No such file"),
        (&["analyze", "."], 4, "help: name the files in it, as in ./*.pcapng"),
        (&["analyze", "broken.jsonl"], 4, "line 1 is no record of a hopwire session"),
        (&["analyze", "leaking.jsonl", "-o", "missing/report.json"], 4, "error: cannot write missing/report.json"),
        (&["analyze", "leaking.jsonl", "-o", "leaking.jsonl"], 2, "help: name another file"),
        (&["analyze", "leaking.jsonl", "--format", "har"], 2, "error: the format har is not available yet"),
        (&["analyze", "leaking.jsonl", "-o", "x.arrow"], 2, "not available yet"),
        (&["analyze", "leaking.jsonl", "--select", "sse-c-key"], 2, "did you mean sse-c-key-in-clear?"),
        (&["analyze"], 2, "Usage"),
        (&["analyze", "-", "-"], 2, "stdin is named twice"),
        (&["rules", "no-such"], 2, "hopwire rules"),
    ];
    for (arguments, code, message) in cases {
        let run = hopwire(folder.path(), arguments);
        assert_eq!((run.code, run.err.contains(message)), (*code, true), "{arguments:?}\n{}\n{}", run.out, run.err);
    }
}

#[test]
fn stdin_is_an_input_and_a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let output = Command::cargo_bin("hopwire")
        .unwrap()
        .args(["analyze", "-", "--format", "json"])
        .write_stdin(leaking())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sources"][0]["file"], "-");
    let program = assert_cmd::cargo::cargo_bin("hopwire");
    let script = format!("set -o pipefail; '{}' analyze leaking.jsonl --fail-on never --format html | true", program.display());
    let status = std::process::Command::new("bash").arg("-c").arg(script).current_dir(folder.path()).status().unwrap();
    assert!(status.success());
}

#[test]
fn no_format_shows_a_secret_unless_told_to() {
    let folder = folder();
    let hex: String = "0123456789abcdef0123456789abcdef".bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms =
        [KEY, "MDEyMzQ1Njc4OWFiY2RlZjAx", "0123456789abcdef0123456789abcdef\"}", &hex, TOKEN, "feedfaceface", "feedfacefeedface"];
    for format in ["table", "json", "jsonl", "html", "sarif", "junit", "prometheus"] {
        let run = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", format, "-v"]);
        assert!(run.out.len() > 100, "{format}: {}", run.err);
        for form in forms {
            assert!(!run.out.contains(form) && !run.err.contains(form), "{format} shows {form}:\n{}", run.out);
        }
        assert!(!run.out.bytes().any(|byte| byte < 0x20 && byte != b'\n' && byte != b'\t'), "{format} holds control characters");
    }
    let open = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", "jsonl", "--show-secrets"]);
    assert!(open.out.contains(KEY) && open.out.contains(TOKEN));
}

#[test]
fn a_session_of_a_session_says_the_same() {
    let folder = folder();
    let first = hopwire(folder.path(), &["analyze", "leaking.jsonl", "-o", "second.jsonl"]);
    assert_eq!(first.code, 1, "{}", first.err);
    let mode = fs::metadata(folder.path().join("second.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let report = |file: &str| -> Value {
        serde_json::from_str(&hopwire(folder.path(), &["analyze", file, "--format", "json"]).out).unwrap()
    };
    let (one, two) = (report("leaking.jsonl"), report("second.jsonl"));
    assert_eq!(one["verdict"]["outcome"], "leaked");
    assert_eq!(one["verdict"]["outcome"], two["verdict"]["outcome"]);
    let rules = |report: &Value| -> Vec<(String, u64)> {
        let findings = report["findings"].as_array().unwrap().iter();
        findings.map(|finding| (finding["rule"].as_str().unwrap().to_owned(), finding["count"].as_u64().unwrap())).collect()
    };
    assert_eq!(rules(&one), rules(&two));
    assert!(rules(&one).iter().any(|(rule, count)| rule == "sse-c-key-in-clear" && *count == 2), "{:?}", rules(&one));
}

#[test]
fn the_table_fits_and_colours_only_when_asked() {
    let folder = folder();
    let plain = hopwire(folder.path(), &["analyze", "leaking.jsonl"]);
    assert!(plain.out.lines().all(|line| line.chars().count() <= 100), "{}", plain.out);
    assert!(plain.out.contains("LEAKED"), "{}", plain.out);
    assert!(plain.out.contains("frame"), "{}", plain.out);
    let coloured = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--color", "always"]);
    assert!(coloured.out.contains("\x1b[31m"));
    let unpainted =
        coloured.out.split("\x1b[").map(|part| part.split_once('m').map_or(part, |(_, rest)| rest)).collect::<String>();
    assert!(unpainted.contains("LEAKED"));
}

/// Every member name of a value, with those inside it. Objects whose names are data are left closed.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                found.insert(name.clone());
                if !matches!(name.as_str(), "by" | "subject" | "tls_undecrypted") {
                    names(inner, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

#[test]
fn every_member_of_the_json_formats_is_documented() {
    let folder = folder();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md")).unwrap();
    let documented: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let mut found = BTreeSet::new();
    let json = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", "json"]).out;
    names(&serde_json::from_str(&json).unwrap(), &mut found);
    for line in hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", "jsonl"]).out.lines() {
        names(&serde_json::from_str(line).unwrap(), &mut found);
    }
    assert!(found.len() > 80, "{found:?}");
    let known = ["redacted", "id", "base64", "type"];
    let missing: Vec<_> =
        found.iter().filter(|name| !documented.contains(name.as_str()) && !known.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "docs/formats.md does not tell of {missing:?}");
}

#[test]
fn reports_for_programs_are_well_formed() {
    let folder = folder();
    let sarif: Value =
        serde_json::from_str(&hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", "sarif"]).out).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(sarif["runs"][0]["results"].as_array().unwrap().iter().all(|result| result["ruleId"].is_string()));
    let html = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", "html"]).out;
    assert!(html.contains("default-src 'none'") && !html.contains("<script"));
    for (format, close) in [("junit", "</testsuites>"), ("html", "</html>")] {
        assert!(hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", format]).out.trim_end().ends_with(close));
    }
    let metrics = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--format", "prometheus"]).out;
    let is_sample =
        |line: &str| line.starts_with('#') || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
    assert!(metrics.lines().all(is_sample), "{metrics}");
    assert!(metrics.contains("hopwire_verdict{outcome=\"leaked\""), "{metrics}");
}

#[test]
fn rules_are_listed_and_have_pages() {
    let folder = folder();
    let list = hopwire(folder.path(), &["rules"]);
    assert_eq!(list.code, 0);
    assert!(list.out.contains("sse-c-key-in-clear"));
    let page = hopwire(folder.path(), &["rules", "sse-c-key-in-clear"]).out;
    assert!(page.contains("## What to do"));
    let json: Value = serde_json::from_str(&hopwire(folder.path(), &["rules", "--format", "json"]).out).unwrap();
    assert_eq!(json["rules"].as_array().unwrap().len(), hopwire::rules::all().len());
}

#[test]
fn what_would_be_ignored_in_silence_is_an_error_or_a_line() {
    let folder = folder();
    fs::write(folder.path().join("nothing.log"), "26/11/27 10:00:00 INFO all is well\n").unwrap();
    fs::write(folder.path().join("garbage.log"), [7, 0, 255, 0, 1]).unwrap();
    std::os::unix::fs::symlink("leaking.jsonl", folder.path().join("again.jsonl")).unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["analyze", "leaking.jsonl", "again.jsonl"], 2, "are the same file"),
        (&["analyze", "leaking.jsonl", "--max-memory", "10"], 2, "--max-memory 10 is too small"),
        (&["analyze", "leaking.jsonl", "-o", "report.docx"], 2, "no format has the suffix .docx"),
        (&["analyze", "leaking.jsonl", "--hop", "front=10.9.9.9:1"], 1, "--hop front names no server"),
        (
            &["analyze", "leaking.jsonl", "--client-log", "nothing.log"],
            1,
            "no refusal of a known client is in the client log nothing.log",
        ),
        (&["analyze", "leaking.jsonl", "--client-log", "garbage.log"], 4, "holds binary data"),
        (&["analyze", "leaking.jsonl", "--client-log", "/dev/zero"], 4, "holds binary data"),
    ];
    for (arguments, code, message) in cases {
        let run = hopwire(folder.path(), arguments);
        assert_eq!((run.code, run.err.contains(message)), (*code, true), "{arguments:?}\n{}", run.err);
    }
    let matched = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--hop", "front=10.0.0.3:8091"]);
    assert!(!matched.err.contains("names no server"), "{}", matched.err);
    let left_out = hopwire(folder.path(), &["analyze", "leaking.jsonl", "--ignore", "sse-c-key-in-clear,session-token-in-clear"]);
    assert!(left_out.out.contains("Left out: ") && left_out.out.contains("sse-c-key-in-clear (2)"), "{}", left_out.out);
    assert!(!left_out.out.contains("LEAKED"), "{}", left_out.out);
}

#[test]
fn no_file_that_a_run_reads_is_overwritten_and_no_link_followed() {
    let folder = folder();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    fs::write(folder.path().join("keys.log"), "# keys\n").unwrap();
    fs::write(folder.path().join("spark.log"), "text\n").unwrap();
    fs::write(folder.path().join("victim.json"), "precious").unwrap();
    std::os::unix::fs::symlink("victim.json", folder.path().join("link.json")).unwrap();
    for (arguments, code) in [
        (&["analyze", "leaking.jsonl", "--keylog", "keys.log", "--format", "json", "-o", "keys.log"][..], 2),
        (&["analyze", "leaking.jsonl", "--client-log", "spark.log", "--format", "json", "-o", "spark.log"], 2),
        (&["analyze", "leaking.jsonl", "-o", "link.json"], 4),
    ] {
        let run = hopwire(folder.path(), arguments);
        assert_eq!(run.code, code, "{arguments:?}\n{}", run.err);
    }
    assert_eq!(
        (read("keys.log").as_str(), read("spark.log").as_str(), read("victim.json").as_str()),
        ("# keys\n", "text\n", "precious")
    );
    fs::write(folder.path().join("broken.jsonl"), "{\"type\":\"exchange\"}\n{}\n").unwrap();
    assert_eq!(hopwire(folder.path(), &["analyze", "broken.jsonl", "-o", "victim.json"]).code, 4);
    assert_eq!(read("victim.json"), "precious", "an older report stays where no new one comes");
    assert_eq!(hopwire(folder.path(), &["analyze", "leaking.jsonl", "-o", "victim.json"]).code, 1);
    assert!(read("victim.json").contains("\"leaked\""));
    let left = fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("unfinished"));
    assert_eq!(left.count(), 0);
}

#[test]
fn an_interrupted_run_reports_what_it_read_and_leaves_nothing_unfinished() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let folder = folder();
    let program = assert_cmd::cargo::cargo_bin("hopwire");
    let mut child = Command::new(program)
        .current_dir(folder.path())
        .args(["analyze", "-", "-o", "report.json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(leaking().as_bytes()).unwrap();
    input.flush().unwrap();
    // Whenever the signal comes once the program listens, the outcome is the same; before that, it is retried.
    let unfinished =
        || fs::read_dir(folder.path()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("unfinished"));
    while !unfinished() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    drop(input);
    let report: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("report.json")).unwrap()).unwrap();
    assert!(report["verdict"]["outcome"].is_string());
    assert!(!unfinished());
}

/// A session of many clients that each do the same: PUT to a key of their own with a customer key, some refused.
fn crowd(clients: u32, calls: u32) -> String {
    let key = ("x-amz-server-side-encryption-customer-key", KEY);
    let algorithm = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
    let mut text = String::new();
    for client in 0..clients {
        for call in 0..calls {
            let status = if call % 2 == 0 { 200 } else { 403 };
            let one = line(call + 1, "PUT", &format!("/bucket/c{client}/k{call}"), &[key, algorithm], status, &[]);
            let address = format!("10.1.{}.{}:40000", client / 250, client % 250 + 1);
            text += &one.replace("10.0.0.2:40000", &address).replace("\"4.", &format!("\"{}.", client + 1));
            text.push('\n');
        }
    }
    text
}

#[test]
fn a_thousand_clients_make_a_report_of_one_screen_that_counts_them_all() {
    let folder = folder();
    fs::write(folder.path().join("crowd.jsonl"), crowd(1000, 8)).unwrap();
    let table = hopwire(folder.path(), &["analyze", "crowd.jsonl"]).out;
    assert!(table.lines().count() < 70, "{table}");
    assert!(table.contains("8000 in all, of 1000 clients"), "{table}");
    let verbose = hopwire(folder.path(), &["analyze", "crowd.jsonl", "-v"]).out;
    assert!(verbose.lines().count() < 2000, "{}", verbose.lines().count());
    assert!(hopwire(folder.path(), &["analyze", "crowd.jsonl", "--format", "html"]).out.len() < 1 << 20);
    for format in ["prometheus", "junit", "sarif"] {
        let out = hopwire(folder.path(), &["analyze", "crowd.jsonl", "--format", format]).out;
        assert!(out.lines().count() < 1500, "{format}: {}", out.lines().count());
        assert!(!out.contains("c999/k7"), "{format} has a row for each object");
    }
    let json: Value = serde_json::from_str(&hopwire(folder.path(), &["analyze", "crowd.jsonl", "--format", "json"]).out).unwrap();
    let leaks = json["findings"].as_array().unwrap().iter().filter(|finding| finding["rule"] == "sse-c-key-in-clear");
    assert_eq!(leaks.map(|finding| finding["count"].as_u64().unwrap()).collect::<Vec<_>>(), [8000]);
}
