//! The recorded lab runs, from packets to verdict: what must be reported of each, and what must not.
//! And what stays the same when packets come in another order or twice, and what must not grow when some are lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hopwire::analysis::{Analysis, Counts, Judged, Options, Sink, Summary};
use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use hopwire::decode::segment::{Dissected, dissect};
use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Frame, LinkType, Loss, Packet, Tail, Timestamp};
use hopwire::rules::Confidence;
use hopwire::s3::client_log::ClientLog;
use serde_json::Value;
use support::Random;

struct Silent;

impl Sink for Silent {
    fn exchange(&mut self, _record: &Judged<'_>) {}
    fn loss(&mut self, _loss: &Loss) {}
}

/// A packet of a capture, as a test may move, double or drop it.
#[derive(Clone)]
struct Kept {
    frame: Frame,
    at: Timestamp,
    link: LinkType,
    original: u32,
    bytes: Vec<u8>,
}

/// Reads a capture; `disturb` may do to its packets what a capture can suffer.
fn analyze(path: &Path, options: Options, disturb: impl FnOnce(Vec<Kept>) -> Vec<Kept>) -> Summary {
    let name = path.display().to_string();
    let input = Input { name, stream: Box::new(File::open(path).unwrap()), positioned: None };
    let mut capture = SavedCapture::open(vec![input]).unwrap();
    let (mut decoder, mut analysis, mut batch) = (Decoder::new(Limits::default()), Analysis::new(options), Batch::new());
    let mut packets = Vec::new();
    while capture.read_batch(&mut batch).unwrap() {
        batch.secrets().iter().for_each(|secret| decoder.handle_secret(secret));
        batch.names().iter().for_each(|(ip, name)| analysis.handle_name(*ip, name));
        packets.extend(batch.packets().map(|packet| Kept {
            frame: packet.frame,
            at: packet.at,
            link: packet.link,
            original: packet.original,
            bytes: packet.bytes.to_vec(),
        }));
    }
    let mut counts = Counts::default();
    for (ordinal, kept) in (1..).zip(disturb(packets)) {
        counts.packets += 1;
        decoder.handle_packet(&Packet {
            ordinal,
            frame: kept.frame,
            at: kept.at,
            link: kept.link,
            bytes: &kept.bytes,
            captured: u32::try_from(kept.bytes.len()).unwrap(),
            original: kept.original,
            tail: Tail::NONE,
        });
        while let Some(event) = decoder.poll() {
            analysis.handle_event(event, &mut Silent);
        }
    }
    decoder.handle_end();
    while let Some(event) = decoder.poll() {
        analysis.handle_event(event, &mut Silent);
    }
    analysis.handle_counts(&counts);
    analysis.finish(&mut Silent)
}

fn whole(packets: Vec<Kept>) -> Vec<Kept> {
    packets
}

/// Each packet is late by up to 50 ms, and the capture is in the order of arrival.
fn shuffled(packets: Vec<Kept>, seed: u64) -> Vec<Kept> {
    let mut random = Random(seed);
    let mut late: Vec<Kept> = packets
        .into_iter()
        .map(|kept| Kept { at: kept.at.after(Duration::from_nanos(random.below(50_000_000))), ..kept })
        .collect();
    late.sort_by_key(|kept| kept.at);
    late
}

/// One packet in five is captured twice, as on two interfaces of a bridge.
fn doubled(packets: Vec<Kept>, seed: u64) -> Vec<Kept> {
    let mut random = Random(seed);
    packets.into_iter().flat_map(|kept| vec![kept; if random.below(5) == 0 { 2 } else { 1 }]).collect()
}

/// The octets of TCP payload in some packets.
fn payload(packets: &[Kept]) -> u64 {
    let segment = |kept: &Kept| {
        let captured = u32::try_from(kept.bytes.len()).unwrap();
        let packet = Packet {
            ordinal: 1,
            frame: kept.frame,
            at: kept.at,
            link: kept.link,
            bytes: &kept.bytes,
            captured,
            original: kept.original,
            tail: Tail::NONE,
        };
        match dissect(&packet, 4) {
            Dissected::Segment(segment) => u64::from(segment.payload_length),
            _ => 0,
        }
    };
    packets.iter().map(segment).sum()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

fn fired(summary: &Summary) -> Vec<&'static str> {
    summary.findings.iter().map(|finding| finding.rule.name).collect()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn log_of(folder: &Path, stem: &str) -> Options {
    let log = ClientLog::read(File::open(folder.join(format!("{stem}.client.log"))).unwrap()).unwrap();
    Options { client_logs: vec![("client.log".to_owned(), log)], ..Options::default() }
}

#[test]
fn every_lab_run_is_judged_as_its_truth_says() {
    let folder = folder();
    let mut truths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".truth.json"))
        .collect();
    truths.sort();
    let captures = std::fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".pcapng")
    });
    assert_eq!(truths.len(), captures.count(), "every capture has its truth");
    let (mut expected, mut with_logs) = (0, 0);
    let mut problems = Vec::new();
    for path in truths {
        let truth: Value = serde_json::from_reader(File::open(&path).unwrap()).unwrap();
        let capture = truth["capture"].as_str().unwrap();
        let stem = capture.trim_end_matches(".pcapng");
        let summary = analyze(&folder.join(capture), Options::default(), whole);
        let fired_here = fired(&summary);
        let expect = &truth["expect"];
        expected += names(&expect["rules"]).len();
        for rule in names(&expect["rules"]).into_iter().filter(|rule| !fired_here.contains(rule)) {
            problems.push(format!("{stem}: {rule} did not fire"));
        }
        for finding in summary.findings.iter().filter(|finding| names(&expect["not_rules"]).contains(&finding.rule.name)) {
            problems.push(format!("{stem}: {} fired: {}", finding.rule.name, finding.message));
        }
        for finding in
            summary.findings.iter().filter(|finding| finding.evidence.iter().all(|evidence| evidence.frames.is_empty()))
        {
            problems.push(format!("{stem}: {} shows no frame", finding.rule.name));
        }
        let outcome = summary.verdict.outcome.label();
        if expect["outcome"].as_str() != Some(outcome) {
            problems.push(format!("{stem}: {outcome}: {}", summary.verdict.message));
        }
        if let Some(with_log) = truth.get("expect_with_log") {
            with_logs += 1;
            let summary = analyze(&folder.join(capture), log_of(&folder, stem), whole);
            for rule in names(&with_log["rules"]) {
                let sure =
                    summary.findings.iter().find(|finding| finding.rule.name == rule).map(|finding| finding.confidence.label());
                if sure != with_log["confidence"].as_str() {
                    problems.push(format!("{stem} with its log: {rule} is {sure:?}"));
                }
            }
            let refused = fired(&summary).into_iter().filter(|rule| rule.ends_with("-refused-by-client")).count();
            if refused != 1 {
                problems.push(format!("{stem} with its log: {refused} refusals are told"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(expected >= 20 && with_logs >= 1, "{expected} rules are expected, {with_logs} runs have a log");
}

#[test]
fn a_capture_that_lost_packets_is_less_sure_of_the_refused_copy() {
    let folder = folder();
    let confidence = |keep: &dyn Fn(u64) -> bool| {
        let summary = analyze(&folder.join("spark33-http.pcapng"), Options::default(), |packets| {
            packets.into_iter().filter(|kept| keep(kept.frame.number())).collect()
        });
        summary.findings.iter().find(|finding| finding.rule.name == "copy-refused-by-client").map(|finding| finding.confidence)
    };
    let whole = confidence(&|_| true).expect("the whole capture shows it");
    // The frames of the lists right after the commit began: on the client's connections, and none of the HEADs.
    let lossy = confidence(&|number| !(383..=402).contains(&number));
    assert!(lossy.is_some_and(|lossy| lossy < whole), "{lossy:?} of {whole:?}");
    let late = confidence(&|number| number > 250);
    assert!(late.is_some_and(|late| late < whole), "{late:?} of {whole:?}");
}

const CLEAR_RUNS: [&str; 6] = [
    "spark33-http.pcapng",
    "spark33-http-select-only.pcapng",
    "spark33-http-sse-s3.pcapng",
    "spark40-http-sse-c.pcapng",
    "boto3-http-none.pcapng",
    "boto3-http-sse-c.pcapng",
];

/// What a user would compare: which rules, where, how often, how surely.
fn told(summary: &Summary) -> Vec<String> {
    let mut lines: Vec<String> = summary
        .findings
        .iter()
        // How often one object was retried depends on the times that the shuffling changed.
        .map(|finding| format!("{} {} {}", finding.rule.name, finding.count, finding.confidence.label()))
        .collect();
    lines.sort();
    lines.push(summary.verdict.outcome.label().to_owned());
    lines
}

#[test]
fn order_and_doubling_of_packets_change_no_finding() {
    for name in CLEAR_RUNS {
        let path = folder().join(name);
        let plain = told(&analyze(&path, Options::default(), whole));
        for seed in 1..=3 {
            let moved = told(&analyze(&path, Options::default(), |packets| shuffled(packets, seed)));
            assert_eq!(moved, plain, "{name} shuffled, seed {seed}");
            let twice = told(&analyze(&path, Options::default(), |packets| doubled(packets, seed)));
            assert_eq!(twice, plain, "{name} doubled, seed {seed}");
        }
    }
}

#[test]
fn with_one_packet_in_a_hundred_lost_nothing_is_told_more_surely() {
    let mut compared = 0;
    for name in CLEAR_RUNS {
        let path = folder().join(name);
        let plain = analyze(&path, Options::default(), whole);
        for seed in 1..=8 {
            let (mut random, mut lost) = (Random(seed), 0);
            let lossy = analyze(&path, Options::default(), |packets| {
                let (kept, gone): (Vec<Kept>, Vec<Kept>) = packets.into_iter().partition(|_| random.below(100) != 0);
                lost = payload(&gone);
                kept
            });
            // A retransmission can stand in for a lost packet, and the loss of a bare acknowledgment cannot be seen.
            let missing = lossy.completeness.stream_bytes_missing;
            assert!(lost == 0 || missing > 0, "{name}, seed {seed}: {lost} octets were lost, none is reported missing");
            assert!(missing == 0 || fired(&lossy).contains(&"capture-incomplete"), "{name}, seed {seed}");
            for finding in lossy.findings.iter().filter(|finding| ABOUT_ABSENCE.contains(&finding.rule.name)) {
                let before = plain.findings.iter().find(|before| before.rule.name == finding.rule.name);
                let is_weaker = match before {
                    Some(before) => finding.confidence <= before.confidence,
                    None => finding.confidence == Confidence::Possible,
                };
                assert!(is_weaker, "{name}, seed {seed}: {} is {}", finding.rule.name, finding.confidence.label());
                compared += 1;
            }
        }
    }
    assert!(compared >= 5, "{compared} findings about absence were compared");
    assert!(ABOUT_ABSENCE.iter().all(|name| hopwire::rules::find(name).is_some()));
}

/// Rules that reason over what did not happen.
const ABOUT_ABSENCE: [&str; 4] =
    ["copy-refused-by-client", "write-refused-by-client", "request-refused-by-client", "unfinished-multipart-upload"];
