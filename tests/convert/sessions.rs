//! The command itself: sessions and back, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::craft::{capture, contains};
use crate::support::Connection;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn hopwire(folder: &Path, arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("hopwire").unwrap().current_dir(folder).arg("convert").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder_with_capture() -> tempfile::TempDir {
    let mut connection = Connection::open(40_000, 1_000_000_000, 60, 5, 9);
    let put = format!(
        "PUT /bucket/key HTTP/1.1\r\nHost: store\r\nx-amz-server-side-encryption-customer-key: {KEY}\r\nContent-Length: 4\r\n\r\nbody"
    );
    connection.client(put.as_bytes());
    connection.server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    connection.client(b"GET /bucket/key HTTP/1.1\r\nHost: store\r\n\r\n");
    connection.server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 30\r\n\r\n<Error><Code>No</Code></Error>");
    connection.close();
    let folder = tempfile::tempdir().unwrap();
    let packets: Vec<_> = connection.sent.into_iter().map(|sent| (sent.at_nanos, sent.bytes)).collect();
    fs::write(folder.path().join("in.pcapng"), capture(&packets)).unwrap();
    folder
}

#[test]
fn a_session_comes_back_through_packets() {
    let folder = folder_with_capture();
    let at = |name: &str| folder.path().join(name);
    for (from, to) in [("in.pcapng", "a.jsonl"), ("a.jsonl", "b.pcapng"), ("b.pcapng", "c.jsonl"), ("c.jsonl", "d.pcap")] {
        let output = hopwire(folder.path(), &[from, to]);
        assert!(output.status.success(), "{from} to {to}: {}", text(&output));
    }
    let exchanges = |name: &str| -> Vec<serde_json::Value> {
        let lines = fs::read_to_string(at(name)).unwrap();
        let all = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        all.filter(|record| record["type"] == "exchange").collect()
    };
    let (before, after) = (exchanges("a.jsonl"), exchanges("c.jsonl"));
    assert_eq!(before.len(), 2);
    for (one, other) in before.iter().zip(&after) {
        for part in ["/request/method", "/request/target", "/request/headers", "/request/body/length", "/response/status"] {
            // In packets a placeholder is what was sent, so that it is redacted under an id of its own.
            let known = |exchange: &serde_json::Value| without_ids(exchange.pointer(part).unwrap());
            assert_eq!(known(one), known(other), "{part}");
        }
    }
    assert!(!contains(&fs::read(at("d.pcap")).unwrap(), &KEY.as_bytes()[..12]));
}

fn without_ids(value: &serde_json::Value) -> serde_json::Value {
    let mut value = value.clone();
    for field in value.as_array_mut().into_iter().flatten() {
        if let Some(redacted) = field.get_mut(1).and_then(serde_json::Value::as_object_mut) {
            redacted.remove("id");
        }
    }
    value
}

#[test]
fn one_exchange_of_a_session_can_be_chosen() {
    let folder = folder_with_capture();
    assert!(hopwire(folder.path(), &["in.pcapng", "a.jsonl"]).status.success());
    let output = hopwire(folder.path(), &["a.jsonl", "b.jsonl", "--exchange", "1.2"]);
    assert!(output.status.success(), "{}", text(&output));
    let lines = fs::read_to_string(folder.path().join("b.jsonl")).unwrap();
    let kinds: Vec<_> = lines.lines().filter(|line| !line.contains("\"type\":\"finding\"")).map(|line| &line[9..13]).collect();
    assert_eq!(kinds, ["open", "exch", "flow", "sour", "summ"]);
    assert!(lines.contains("\"1.2\"") && !lines.contains("\"1.1\""));
    assert_eq!(hopwire(folder.path(), &["a.jsonl", "c.jsonl", "--flow", "7"]).status.code(), Some(2));
}

#[test]
fn files_are_private_and_never_overwritten_unasked() {
    let folder = folder_with_capture();
    let path = folder.path().join("out.pcapng");
    let output = hopwire(folder.path(), &["in.pcapng", "out.pcapng", "--scrub"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("1 sse-c-key"), "{}", text(&output));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for (arguments, told) in [
        (vec!["in.pcapng", "out.pcapng"], "exists"),
        (vec!["in.pcapng", "in.pcapng", "--force"], "is the input"),
        (vec!["in.pcapng", "out.xyz"], "does not tell what to write"),
        (vec!["in.pcapng", "-", "--scrub", "--format", "pcapng"], "stdout"),
        (vec!["in.pcapng", "x.jsonl", "--scrub"], "redacted already"),
    ] {
        let output = hopwire(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(told) && text(&output).contains("help: "), "{arguments:?}: {}", text(&output));
    }
    assert!(hopwire(folder.path(), &["in.pcapng", "out.pcapng", "--force"]).status.success());
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no unfinished file is left: {names:?}");
}

#[test]
fn stdin_and_stdout_work_where_one_reading_is_enough() {
    let folder = folder_with_capture();
    let input = fs::read(folder.path().join("in.pcapng")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("hopwire").unwrap();
        command.arg("convert").args(arguments).write_stdin(input.clone()).output().unwrap()
    };
    let output = run(&["-", "-", "--format", "pcapng"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(contains(&output.stdout, KEY.get(..8).unwrap().as_bytes()));
    let output = run(&["-", "-", "--format", "pcapng", "--flow", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("stdin can be read once only"));
}
