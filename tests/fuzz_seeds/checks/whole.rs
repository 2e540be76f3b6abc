//! A capture through the whole of it: packets, flows, TLS, HTTP, calls, rules, every report and a session that can be read.

use std::io::Cursor;

use hopwire::analysis::{Analysis, Options};
use hopwire::capture::{Input, SavedCapture};
use hopwire::decode::Limits;
use hopwire::model::Secret;
use hopwire::pipeline::{self, Outcome};
use hopwire::report::{Format, Recorder, Report, Style, render};
use hopwire::session::jsonl::{Reader, Record};
use hopwire::session::{Redactor, Source};

/// The input is a capture file; the keys of the TLS fixtures are known.
pub fn whole(input: &[u8]) {
    let Some((session, outcome)) = run(input) else { return };
    let mut reader = Reader::new(session.as_slice());
    let mut exchanges = 0;
    while let Some(record) = reader.read().expect("a session that was just written can be read") {
        exchanges += u64::from(matches!(record, Record::Exchange(_)));
    }
    assert!(!reader.is_torn());
    assert_eq!(exchanges, outcome.summary.completeness.exchanges, "exchanges in the session");
}

fn run(input: &[u8]) -> Option<(Vec<u8>, Outcome)> {
    let stream = Box::new(Cursor::new(input.to_vec()));
    let file = Input { name: "input".to_owned(), stream, positioned: None };
    let mut source = SavedCapture::open(vec![file]).ok()?;
    let options = pipeline::Options {
        threads: 1,
        limits: Limits { flows_max: 64, pending_bytes_max: 1 << 20, datagrams_max: 8, ..Limits::default() },
        secrets: vec![Secret::new(include_bytes!("../../../fixtures/tls/suites.keys").to_vec())],
    };
    let mut session = Vec::new();
    let mut recorder = Recorder::writing(Redactor::new([7; 32]), &mut session);
    let outcome = pipeline::run(&mut source, &options, Analysis::new(Options::default()), &mut recorder);
    let sources = [Source { file: "input".to_owned(), ..Source::default() }];
    let report = Report { sources: &sources, summary: &outcome.summary, redactor: recorder.redactor() };
    for format in [Format::Table, Format::Json, Format::Html, Format::Sarif, Format::Junit, Format::Prometheus] {
        let mut text = Vec::new();
        render(format, &report, Style::default(), &mut text).unwrap();
        assert!(String::from_utf8(text).is_ok(), "{format:?} is UTF-8");
    }
    recorder.finish(&sources, &outcome.summary).unwrap();
    Some((session, outcome))
}
