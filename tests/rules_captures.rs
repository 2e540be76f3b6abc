//! The recorded lab runs, from packets to verdict: what must be reported of each, and what must not.
//! The captures stand beside the project; where they are absent, the test says so and passes.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and says what it skips")]

use std::fs::File;
use std::path::{Path, PathBuf};

use hopwire::analysis::{Analysis, Counts, Judged, Options, Sink, Summary};
use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use hopwire::decode::{Decoder, Limits};
use hopwire::model::Loss;
use hopwire::s3::client_log::ClientLog;
use serde_json::Value;

struct Silent;

impl Sink for Silent {
    fn exchange(&mut self, _record: &Judged<'_>) {}
    fn loss(&mut self, _loss: &Loss) {}
}

/// Reads a capture; `keep` tells which packets, by number, were not lost.
fn analyze(path: &Path, options: Options, keep: impl Fn(u64) -> bool) -> Summary {
    let name = path.display().to_string();
    let input = Input { name, stream: Box::new(File::open(path).unwrap()), positioned: None };
    let mut capture = SavedCapture::open(vec![input]).unwrap();
    let (mut decoder, mut analysis, mut batch, mut counts) =
        (Decoder::new(Limits::default()), Analysis::new(options), Batch::new(), Counts::default());
    while capture.read_batch(&mut batch).unwrap() {
        batch.secrets().iter().for_each(|secret| decoder.handle_secret(secret));
        batch.names().iter().for_each(|(ip, name)| analysis.handle_name(*ip, name));
        for packet in batch.packets() {
            counts.packets += 1;
            if keep(packet.frame.number()) {
                decoder.handle_packet(&packet);
            }
            while let Some(event) = decoder.poll() {
                analysis.handle_event(event, &mut Silent);
            }
        }
    }
    decoder.handle_end();
    while let Some(event) = decoder.poll() {
        analysis.handle_event(event, &mut Silent);
    }
    analysis.handle_counts(&counts);
    analysis.finish(&mut Silent)
}

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no lab captures beside the project");
    None
}

fn fired(summary: &Summary) -> Vec<&'static str> {
    summary.findings.iter().map(|finding| finding.rule.name).collect()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn log_of(folder: &Path, stem: &str) -> Option<Options> {
    let log = ClientLog::read(File::open(folder.join(format!("{stem}.client.log"))).ok()?).unwrap();
    Some(Options { client_logs: vec![("client.log".to_owned(), log)], ..Options::default() })
}

#[test]
fn every_lab_run_is_judged_as_its_truth_says() {
    let Some(folder) = folder() else { return };
    let mut truths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".truth.json"))
        .collect();
    truths.sort();
    assert!(!truths.is_empty());
    let mut problems = Vec::new();
    for path in truths {
        let truth: Value = serde_json::from_reader(File::open(&path).unwrap()).unwrap();
        let capture = truth["capture"].as_str().unwrap();
        let stem = capture.trim_end_matches(".pcapng");
        let summary = analyze(&folder.join(capture), Options::default(), |_| true);
        let fired_here = fired(&summary);
        let expect = &truth["expect"];
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
        if let (Some(with_log), Some(options)) = (truth.get("expect_with_log"), log_of(&folder, stem)) {
            let summary = analyze(&folder.join(capture), options, |_| true);
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
}

#[test]
fn a_capture_that_lost_packets_is_less_sure_of_the_refused_copy() {
    let Some(folder) = folder() else { return };
    let confidence = |keep: &dyn Fn(u64) -> bool| {
        let summary = analyze(&folder.join("spark33-http.pcapng"), Options::default(), keep);
        summary.findings.iter().find(|finding| finding.rule.name == "copy-refused-by-client").map(|finding| finding.confidence)
    };
    let whole = confidence(&|_| true).expect("the whole capture shows it");
    // The frames of the lists right after the commit began: on the client's connections, and none of the HEADs.
    let lossy = confidence(&|number| !(383..=402).contains(&number));
    assert!(lossy.is_none_or(|lossy| lossy < whole), "{lossy:?} of {whole:?}");
    let late = confidence(&|number| number > 250);
    assert!(late.is_none_or(|late| late < whole), "{late:?} of {whole:?}");
}
