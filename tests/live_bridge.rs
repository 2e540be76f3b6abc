//! Captures real traffic between two network namespaces on a bridge, which is in a third: rules of the machine's own firewall, such
//! as those of docker's engine, do not hold there. Needs root, `ip` and Python.
#![cfg(all(feature = "live", feature = "cli"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "a test, which says why it skips"
)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "support/require.rs"]
mod require;

use require::{Need, skip};

/// A bridge with a store in one namespace and room for a client in the other. All of it goes away with it.
struct Lab {
    /// The namespace of the bridge, in which is captured.
    host: String,
    bridge: String,
    store: String,
    client: String,
    folder: tempfile::TempDir,
    server: Option<Child>,
}

static LABS: AtomicU32 = AtomicU32::new(0);
const STORE: &str = "10.213.57.1";
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/docker-capture");

impl Lab {
    /// `None`, with a message, where this machine does not allow it.
    fn new(with_tls: bool) -> Option<Self> {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}x{number}", std::process::id() % 100_000);
        let lab = Self {
            host: format!("hwh{id}"),
            bridge: format!("hwb{id}"),
            store: format!("hws{id}"),
            client: format!("hwc{id}"),
            folder: tempfile::tempdir().unwrap(),
            server: None,
        };
        if !runs("python3", &["-c", ""]) || !runs("ip", &["netns", "add", &lab.host]) {
            skip(Need::Root, "root, ip or python3");
            return None;
        }
        Some(lab.set_up(with_tls))
    }

    fn set_up(mut self, with_tls: bool) -> Self {
        let host = self.host.clone();
        must("ip", &["-n", &host, "link", "set", "lo", "up"]);
        must("ip", &["-n", &host, "link", "add", &self.bridge, "type", "bridge"]);
        must("ip", &["-n", &host, "link", "set", &self.bridge, "up"]);
        for (namespace, address) in [(&self.store, STORE), (&self.client, "10.213.57.2")] {
            // An interface's name has 15 characters at most.
            let (near, far) = (format!("{namespace}n"), format!("{namespace}f"));
            must("ip", &["netns", "add", namespace]);
            must("ip", &["-n", &host, "link", "add", &near, "type", "veth", "peer", "name", &far]);
            must("ip", &["-n", &host, "link", "set", &far, "netns", namespace]);
            must("ip", &["-n", &host, "link", "set", &near, "master", &self.bridge, "up"]);
            must("ip", &["-n", namespace, "link", "set", "lo", "up"]);
            must("ip", &["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", &far]);
            must("ip", &["-n", namespace, "link", "set", &far, "up"]);
        }
        let script = format!("{SCRIPTS}/store.py");
        let mut arguments = vec!["netns", "exec", &self.store, "python3", &script, "9000"];
        let pem = self.path("store.pem");
        if with_tls {
            let (key, certificate) = (self.path("key.pem"), self.path("certificate.pem"));
            let subject = ["-subj", "/CN=store", "-days", "2", "-keyout", &key, "-out", &certificate];
            must("openssl", &[["req", "-x509", "-nodes", "-newkey", "rsa:2048"].as_slice(), &subject].concat());
            fs::write(&pem, fs::read_to_string(key).unwrap() + &fs::read_to_string(certificate).unwrap()).unwrap();
            arguments.push(&pem);
        }
        self.server = Some(Command::new("ip").args(arguments).stdin(Stdio::null()).spawn().unwrap());
        self
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Its files with this suffix, by name.
    fn files(&self, suffix: &str) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|have| have == suffix));
        files.sort();
        files.iter().map(|path| path.display().to_string()).collect()
    }

    /// Sends four requests for each round, every fifth round with a customer key.
    fn traffic(&self, rounds: u32, more: &[&str]) {
        let script = format!("{SCRIPTS}/client.py");
        let rounds = rounds.to_string();
        let arguments = ["netns", "exec", &self.client, "python3", &script, STORE, "9000", &rounds];
        let mut command = Command::new("timeout");
        command.args(["30", "ip"]).args(arguments).args(more).env("SSLKEYLOGFILE", self.path("keys.log"));
        assert!(command.stdout(Stdio::null()).status().unwrap().success(), "the client's requests are answered");
    }

    /// A program that runs where the bridge is. `ip` becomes that program, so that its process is that of the command.
    fn beside_the_bridge(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host, program]);
        command
    }

    /// Starts `hopwire capture` on the bridge and waits until it captures.
    fn capture(&self, arguments: &[&str]) -> Capture {
        let errors = PathBuf::from(self.path("stderr.txt"));
        let child = self
            .beside_the_bridge(env!("CARGO_BIN_EXE_hopwire"))
            .args(["capture", "-n", "-i", &self.bridge, "--duration", "40"])
            .args(arguments)
            .stdout(fs::File::create(self.path("stdout.txt")).unwrap())
            .stderr(fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let capture = Capture { child, errors };
        capture.wait_for("capturing on");
        capture
    }

    /// What `analyze` makes of a file: the exchanges as they were judged, and the finished report.
    fn analyze(&self, file: &str, more: &[&str]) -> Vec<Value> {
        let output =
            Command::new(env!("CARGO_BIN_EXE_hopwire")).args(["analyze", file, "--format", "jsonl"]).args(more).output().unwrap();
        // A file of a rotating set may hold nothing to judge.
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
        lines(&String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        for namespace in [&self.store, &self.client, &self.host] {
            // Whatever still runs in it is of this test.
            let inside = Command::new("ip").args(["netns", "pids", namespace]).output();
            for process in String::from_utf8_lossy(&inside.map(|output| output.stdout).unwrap_or_default()).split_whitespace() {
                runs("kill", &["-9", process]);
            }
            // Its interfaces go with it.
            runs("ip", &["netns", "del", namespace]);
        }
    }
}

struct Capture {
    child: Child,
    errors: PathBuf,
}

impl Capture {
    fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    fn wait_for(&self, what: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.said().contains(what) {
            assert!(Instant::now() < end, "waited for {what:?} in: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        must("kill", &[&format!("-{name}"), &self.child.id().to_string()]);
    }

    fn code(mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                panic!("it does not end: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn interrupt(self) -> i32 {
        // What was sent last is still on its way through the kernel.
        std::thread::sleep(Duration::from_millis(300));
        self.signal("INT");
        self.code()
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn must(program: &str, arguments: &[&str]) {
    assert!(runs(program, arguments), "{program} {arguments:?}");
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type(lines: &[Value], wanted: &str) -> Vec<Value> {
    lines.iter().filter(|line| line["type"] == wanted).cloned().collect()
}

fn rules(lines: &[Value]) -> Vec<String> {
    of_type(lines, "finding").iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

fn mode(path: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_captured_live_is_judged_written_and_read_again_as_the_same_exchanges() {
    let Some(lab) = Lab::new(false) else { return };
    let (file, session) = (lab.path("run.pcapng"), lab.path("live.jsonl"));
    let capture = lab.capture(&["-w", &file, "-o", &session, "--show-secrets"]);
    lab.traffic(20, &[]);
    capture.wait_for("error sse-c-key-in-clear");
    assert_eq!(capture.interrupt(), 130);
    let live = lines(&fs::read_to_string(session).unwrap());
    // Without redaction: ids of secrets are keyed anew in each run.
    let again = lab.analyze(&file, &["--show-secrets"]);
    assert_eq!(of_type(&live, "exchange").len(), 80);
    assert!(of_type(&live, "exchange") == of_type(&again, "exchange"), "all that is known of them is the same");
    assert_eq!(of_type(&live, "finding"), of_type(&again, "finding"), "the same frames are evidence");
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_ring_that_was_too_small_is_told_with_the_number_of_packets() {
    let Some(lab) = Lab::new(false) else { return };
    let (file, session) = (lab.path("run.pcapng"), lab.path("live.jsonl"));
    let capture = lab.capture(&["-w", &file, "-o", &session, "--buffer-size", "512K"]);
    lab.traffic(1, &[]);
    // While it stands still the ring overflows for certain.
    capture.signal("STOP");
    lab.traffic(60, &[]);
    capture.signal("CONT");
    capture.wait_for("packets dropped so far");
    assert_eq!(capture.interrupt(), 130);
    for lines in [lines(&fs::read_to_string(session).unwrap()), lab.analyze(&file, &[])] {
        let dropped = of_type(&lines, "summary")[0]["completeness"]["packets_dropped"].as_u64().unwrap();
        assert!(dropped > 100, "{dropped}");
        assert!(rules(&lines).contains(&"capture-incomplete".to_owned()));
        assert_no_gap_is_blamed(&lines);
    }
}

/// The client closes nothing early and the store answers everything with 200 or a 404 that has a code: all else would be the
/// capture's gap, told as theirs.
fn assert_no_gap_is_blamed(lines: &[Value]) {
    let known = ["capture-incomplete", "error-response", "object-bytes-in-clear", "signature-in-clear", "sse-c-key-in-clear"];
    for rule in rules(lines) {
        assert!(known.contains(&rule.as_str()) || rule == "sse-header-in-clear", "{rule}");
    }
    for finding in of_type(lines, "finding").iter().filter(|finding| finding["rule"] == "error-response") {
        let code = finding["subject"]["code"].as_str().unwrap();
        assert!(["NoSuchKey", "with a code that is not in the capture"].contains(&code), "{finding}");
    }
    for exchange in of_type(lines, "exchange") {
        assert!(["answered", "unanswered"].contains(&exchange["outcome"].as_str().unwrap()), "{exchange}");
    }
}

#[test]
fn a_killed_capture_leaves_a_file_that_opens() {
    let Some(lab) = Lab::new(false) else { return };
    let file = lab.path("run.pcapng");
    let capture = lab.capture(&["-w", &file]);
    lab.traffic(5, &[]);
    std::thread::sleep(Duration::from_millis(1500));
    capture.signal("KILL");
    assert_eq!(capture.code(), -1);
    assert_eq!(of_type(&lab.analyze(&file, &[]), "exchange").len(), 20);
    if !runs("tshark", &["--version"]) {
        return skip(Need::Tshark, "tshark");
    }
    assert!(runs("tshark", &["-nr", &file]), "nothing in it is cut off");
}

#[test]
fn a_rotating_set_is_judged_as_what_it_was_in_one() {
    let Some(lab) = Lab::new(false) else { return };
    let session = lab.path("live.jsonl");
    let capture = lab.capture(&["-w", &lab.path("run.pcapng"), "-b", "filesize:100", "-o", &session, "--show-secrets"]);
    for _ in 0..5 {
        lab.traffic(6, &[]);
    }
    assert_eq!(capture.interrupt(), 130);
    let files = lab.files("pcapng");
    assert!(files.len() > 5, "{files:?}");
    let set: Vec<_> = files.iter().map(String::as_str).collect();
    let (live, again) =
        (lines(&fs::read_to_string(session).unwrap()), lab.analyze(set[0], &[&set[1..], &["--show-secrets"]].concat()));
    assert_eq!(of_type(&live, "exchange").len(), 120);
    assert!(of_type(&live, "exchange") == of_type(&again, "exchange"), "the same to the frame, in the file that holds it");
    assert_eq!(of_type(&live, "finding"), of_type(&again, "finding"));
    if !runs("mergecap", &["--version"]) {
        return skip(Need::Tshark, "mergecap");
    }
    let whole = lab.path("whole.pcapng");
    must("mergecap", &[["-a", "-w", &whole].as_slice(), &set].concat());
    assert_eq!(rules(&live), rules(&lab.analyze(&whole, &[])));
}

#[test]
fn every_file_of_a_rotating_set_opens_alone_and_the_oldest_go() {
    let Some(lab) = Lab::new(false) else { return };
    let capture = lab.capture(&["-w", &lab.path("run.pcapng"), "-b", "filesize:100", "-b", "files:3"]);
    for _ in 0..8 {
        lab.traffic(4, &[]);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(capture.interrupt(), 130);
    let files = lab.files("pcapng");
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(!files[0].contains("run_00001_"));
    let alone: Vec<_> = files.iter().map(|file| of_type(&lab.analyze(file, &[]), "exchange").len()).collect();
    assert!(alone.iter().take(2).all(|count| *count > 0), "{alone:?}");
}

#[test]
fn stopping_on_a_finding_keeps_what_was_before_it_and_nothing_else() {
    let Some(lab) = Lab::new(false) else { return };
    let (file, session) = (lab.path("leak.pcapng"), lab.path("live.jsonl"));
    let capture = lab.capture(&["-w", &file, "-o", &session, "--stop-on", "sse-c-key-in-clear", "--before", "1500ms"]);
    lab.traffic(3, &[]);
    std::thread::sleep(Duration::from_secs(3));
    lab.traffic(5, &[]);
    assert_eq!(capture.code(), 1);
    let kept = lab.analyze(&file, &[]);
    let live = lines(&fs::read_to_string(session).unwrap());
    assert!(of_type(&kept, "exchange").len() < of_type(&live, "exchange").len(), "the first requests are too old");
    let frames = |lines: &[Value]| {
        let finding = of_type(lines, "finding").into_iter().find(|finding| finding["rule"] == "sse-c-key-in-clear").unwrap();
        finding["evidence"].as_array().unwrap().iter().map(|evidence| evidence["frames"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(frames(&live), frames(&kept), "the report's frames are those of the file");
}

#[test]
fn a_key_log_that_grows_opens_tls_live_and_in_the_file() {
    if !runs("openssl", &["version"]) {
        return skip(Need::Root, "openssl");
    }
    let Some(lab) = Lab::new(true) else { return };
    let (file, session, keys) = (lab.path("run.pcapng"), lab.path("live.jsonl"), lab.path("keys.log"));
    let capture = lab.capture(&["-w", &file, "-o", &session, "--keylog", &keys]);
    lab.traffic(5, &["tls"]);
    assert_eq!(capture.interrupt(), 130);
    let live = lines(&fs::read_to_string(session).unwrap());
    assert_eq!(of_type(&live, "exchange").iter().filter(|line| line["transport"] == "tls1.3").count(), 20);
    // Without any key log: the file holds the secrets.
    assert_eq!(of_type(&lab.analyze(&file, &[]), "exchange").len(), 20);
    if !runs("tshark", &["--version"]) {
        return skip(Need::Tshark, "tshark");
    }
    let shown = Command::new("tshark").args(["-nr", &file, "-Y", "http.request", "-T", "fields", "-e", "frame.number"]).output();
    assert_eq!(String::from_utf8(shown.unwrap().stdout).unwrap().lines().count(), 20, "the secrets stand before their packets");
}

#[test]
fn an_interface_that_goes_away_ends_the_capture_with_what_there_is() {
    let Some(lab) = Lab::new(false) else { return };
    let session = lab.path("live.jsonl");
    let capture = lab.capture(&["-o", &session]);
    lab.traffic(2, &[]);
    must("ip", &["-n", &lab.host, "link", "del", &lab.bridge]);
    // The last line of all.
    capture.wait_for("help: ");
    let said = capture.said();
    assert_eq!(capture.code(), 5, "{said}");
    assert!(said.contains("help: "), "{said}");
    assert_eq!(of_type(&lines(&fs::read_to_string(session).unwrap()), "exchange").len(), 8);
}

#[test]
fn an_interface_that_is_taken_down_ends_the_capture_with_what_there_is() {
    let Some(lab) = Lab::new(false) else { return };
    let (file, session) = (lab.path("run.pcapng"), lab.path("live.jsonl"));
    let capture = lab.capture(&["-w", &file, "-o", &session]);
    lab.traffic(2, &[]);
    std::thread::sleep(Duration::from_millis(300));
    must("ip", &["-n", &lab.host, "link", "set", &lab.bridge, "down"]);
    // The last line of all.
    capture.wait_for("help: ");
    let said = capture.said();
    assert_eq!(capture.code(), 5, "{said}");
    assert!(said.contains("it was taken down") && said.contains("help: "), "{said}");
    for lines in [lines(&fs::read_to_string(session).unwrap()), lab.analyze(&file, &[])] {
        assert_eq!(of_type(&lines, "exchange").len(), 8);
    }
}

#[test]
fn without_the_privilege_it_is_named() {
    let Some(lab) = Lab::new(false) else { return };
    if !runs("setpriv", &["--version"]) {
        return skip(Need::Root, "setpriv");
    }
    let program = lab.path("hopwire");
    fs::copy(env!("CARGO_BIN_EXE_hopwire"), &program).unwrap();
    must("chmod", &["755", &lab.folder.path().display().to_string(), &program]);
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let output = lab
        .beside_the_bridge("setpriv")
        .args(nobody)
        .arg(&program)
        .args(["capture", "-n", "--duration", "1", "-i", &lab.bridge])
        .output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.starts_with(&format!("error: no privilege to capture on {}\n", lab.bridge)), "{said}");
    assert!(said.contains(&format!("sudo setcap cap_net_raw+ep {program}")), "{said}");
}

#[test]
fn a_full_disk_ends_the_capture_and_what_fits_is_kept() {
    let Some(lab) = Lab::new(false) else { return };
    let mount = lab.path("small");
    fs::create_dir(&mount).unwrap();
    if !runs("mount", &["-t", "tmpfs", "-o", "size=128k", "tmpfs", &mount]) {
        return skip(Need::Root, "a file system to mount");
    }
    let file = format!("{mount}/run.pcapng");
    let capture = lab.capture(&["-w", &file, "-o", &lab.path("report.txt")]);
    lab.traffic(20, &[]);
    capture.wait_for("error: cannot write on to");
    let said = capture.said();
    assert_eq!(capture.code(), 4, "{said}");
    let kept = of_type(&lab.analyze(&file, &[]), "exchange").len();
    must("umount", &[&mount]);
    assert!((1..80).contains(&kept), "{kept}");
    assert!(fs::read_to_string(lab.path("report.txt")).unwrap().contains("packets"), "and it was reported");
}

#[test]
fn packets_on_stdout_are_a_stream_for_another_program() {
    let Some(lab) = Lab::new(false) else { return };
    let capture = lab.capture(&["-w", "-", "-c", "40"]);
    lab.traffic(20, &[]);
    assert!(capture.said().len() > 10);
    let code = capture.code();
    assert!(code <= 1, "{code}");
    let mut bytes = Vec::new();
    fs::File::open(lab.path("stdout.txt")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.get(..4), Some([0x0a, 0x0d, 0x0d, 0x0a].as_slice()));
    let packets = of_type(&lab.analyze(&lab.path("stdout.txt"), &[]), "summary")[0]["completeness"]["packets"].clone();
    assert_eq!(packets, 40);
    assert!(Path::new(&lab.path("stderr.txt")).exists());
}
