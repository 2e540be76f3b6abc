//! Captures of other projects, with answers from other decoders: every one survives, and the exchanges agree or the difference
//! is named in `deviations.tsv`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hopwire::analysis::{self, Analysis, Judged, Sink, Summary};
use hopwire::capture::{Input, SavedCapture};
use hopwire::decode::Limits;
use hopwire::model::{Anomaly, Loss, Secret, Transport};
use hopwire::pipeline;
use serde_json::Value;

#[path = "../support/require.rs"]
mod require;

use require::{Need, skip};

/// What one capture gave.
#[derive(Default)]
struct Seen {
    requests: BTreeMap<(String, String), usize>,
    statuses: BTreeMap<u16, usize>,
    opened: usize,
    anomalies: BTreeSet<Anomaly>,
    is_readable: bool,
    summary: Option<Summary>,
}

impl Sink for Seen {
    fn exchange(&mut self, record: &Judged<'_>) {
        let exchange = record.exchange;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !exchange.request.method().is_empty() {
            *self.requests.entry((text(exchange.request.method()), text(exchange.request.target()))).or_default() += 1;
        }
        for status in exchange.status().into_iter().chain(exchange.interim.iter().map(|interim| interim.status)) {
            *self.statuses.entry(status).or_default() += 1;
        }
        self.opened += usize::from(exchange.transport != Transport::Clear);
        self.anomalies.extend(&exchange.anomalies);
    }

    fn loss(&mut self, _: &Loss) {}
}

/// The folder of foreign captures; `None`, with a message, where it is absent.
fn corpora() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    if !root.join("manifest.jsonl").is_file() {
        skip(Need::Shared, root.display());
        return None;
    }
    Some(root)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Captures of the manifest up to a size, by path.
fn captures(root: &Path, bytes_max: u64) -> Vec<String> {
    let manifest = fs::read_to_string(root.join("manifest.jsonl")).unwrap();
    let files = manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    files
        .filter(|file| file["kind"] == "capture" && file["size"].as_u64().unwrap() <= bytes_max)
        .map(|file| file["file"].as_str().unwrap().to_owned())
        .filter(|file| root.join(file).is_file())
        .collect()
}

fn run(root: &Path, capture: &str, secrets: Vec<Secret>) -> Seen {
    let bytes = Arc::new(fs::read(root.join(capture)).unwrap());
    let input = Input {
        name: capture.to_owned(),
        stream: Box::new(std::io::Cursor::new(bytes.to_vec())),
        positioned: Some(Arc::new(bytes.to_vec())),
    };
    let mut seen = Seen::default();
    let mut secrets = secrets;
    secrets.extend(hopwire::capture::secrets_in(bytes.as_ref()).unwrap_or_default());
    let Ok(mut source) = SavedCapture::open(vec![input]) else { return seen };
    let options = pipeline::Options { threads: 1, limits: Limits::default(), secrets };
    let outcome = pipeline::run(&mut source, &options, Analysis::new(analysis::Options::default()), &mut seen);
    seen.is_readable = true;
    seen.summary = Some(outcome.summary);
    seen
}

/// Runs all captures on the processors at hand, and gives what each of them gave and the time it took.
fn run_all(root: &Path, captures: &[String]) -> BTreeMap<String, (Seen, Duration)> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let seen = run(root, capture, Vec::new());
                    all.lock().unwrap().insert(capture.clone(), (seen, start.elapsed()));
                }
            });
        }
    });
    all.into_inner().unwrap()
}

fn deviations() -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/deviations.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (path, reason) = line.split_once('\t').unwrap();
            (path.to_owned(), reason.to_owned())
        })
        .collect()
}

/// What the reference saw and `seen` lacks.
fn missing(oracle: &Value, seen: &Seen) -> Vec<String> {
    let mut requests: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for message in oracle["messages"].as_array().unwrap() {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        if message["kind"] == "request" {
            *requests.entry((text("method"), text("uri"))).or_default() += 1;
        } else if let Ok(status) = text("status").parse() {
            *statuses.entry(status).or_default() += 1;
        }
    }
    let lacks = |count: usize, have: Option<&usize>| count > have.copied().unwrap_or(0);
    let requests =
        requests.iter().filter(|(key, count)| lacks(**count, seen.requests.get(key))).map(|(key, _)| format!("{key:?}"));
    let statuses = statuses.iter().filter(|(key, count)| lacks(**count, seen.statuses.get(key))).map(|(key, _)| key.to_string());
    requests.chain(statuses).collect()
}

#[test]
fn every_capture_survives_and_differences_are_named() {
    let Some(root) = corpora() else { return };
    let captures = captures(&root, 200 << 10);
    let all = run_all(&root, &captures);
    assert!(all.len() > 800, "{}", all.len());
    let unread = all.iter().filter(|(_, (seen, _))| !seen.is_readable).count();
    assert!(unread <= 1, "{unread} captures cannot be opened");
    let named = deviations();
    let clean: BTreeSet<String> = serde_json::from_value(json(&root.join("oracle/http_clean_subset.json"))).unwrap();
    let (mut short, mut compared, mut compared_clean) = (Vec::new(), 0, 0);
    for (capture, (seen, took)) in &all {
        assert!(*took < Duration::from_secs(10), "{capture} took {took:?}");
        let oracle = root.join("oracle/http").join(format!("{}.json", capture.replace('/', "__")));
        if !oracle.is_file() {
            continue;
        }
        compared += 1;
        compared_clean += usize::from(clean.contains(capture));
        let missing = missing(&json(&oracle), seen);
        if !missing.is_empty() && !named.contains_key(capture) {
            short.push(format!("{capture} lacks {missing:?}"));
        }
    }
    assert!(compared > 480 && compared_clean > 220, "{compared} compared, {compared_clean} of the clean subset");
    assert!(short.is_empty(), "{}", short.join("\n"));
    let odd: Vec<_> = named.iter().filter(|(path, reason)| !root.join(path).is_file() || reason.len() < 40).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn captures_with_keys_open_as_far_as_the_reference_opened_them() {
    let Some(root) = corpora() else { return };
    let mut compared = 0;
    for entry in fs::read_dir(root.join("oracle/tls")).unwrap() {
        let path = entry.unwrap().path();
        let oracle = json(&path);
        let count = |key: &str| usize::try_from(oracle[key].as_u64().unwrap_or(0)).unwrap();
        let (capture, wanted) = (oracle["capture"].as_str().unwrap(), count("http1_requests"));
        if wanted == 0 {
            continue;
        }
        let keys = path.file_stem().and_then(|stem| stem.to_str()?.split_once('@')).map(|(_, keys)| keys);
        let secrets = keys.map(|keys| Secret::new(fs::read(find(&root, keys)).unwrap())).into_iter().collect();
        let seen = run(&root, capture, secrets);
        let (requests, responses): (usize, usize) = (seen.requests.values().sum(), seen.statuses.values().sum());
        // The reference counts messages in clear too.
        assert!(seen.opened > 0, "{capture}: nothing was opened");
        assert!(
            requests >= wanted && responses >= count("http1_responses"),
            "{capture}: {requests} requests, {responses} responses"
        );
        compared += 1;
    }
    assert!(compared >= 7, "{compared}");
}

fn find(root: &Path, name: &str) -> PathBuf {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                return path;
            }
        }
    }
    panic!("{name} is absent");
}

#[test]
fn doubtful_framing_is_reported_with_both_readings() {
    let Some(root) = corpora() else { return };
    let mut found = 0;
    let folder = "zeek/testing/btest/Traces/http/261";
    for capture in captures(&root, u64::MAX).iter().filter(|capture| capture.starts_with(folder)) {
        let seen = run(&root, capture, Vec::new());
        let smuggled = seen.requests.keys().any(|(_, target)| target.starts_with("/smuggled"));
        let findings = seen.summary.unwrap().findings;
        let finding = findings.iter().find(|finding| finding.rule.name == "request-smuggling-suspect");
        let message = &finding.unwrap_or_else(|| panic!("{capture}: {:?}", seen.anomalies)).message;
        assert!(smuggled && message.contains("is read here with") && message.contains("another reader"), "{capture}: {message}");
        found += 1;
    }
    assert_eq!(found, 7);
}
