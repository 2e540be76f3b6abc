//! A capture that ends at any octet: what came before is reported, nothing is invented, and the cut is told.

mod support;

use std::io::Cursor;
use std::sync::Arc;

use hopwire::analysis::{Analysis, Judged, Options, Sink};
use hopwire::capture::{Input, SavedCapture};
use hopwire::decode::Limits;
use hopwire::model::Loss;
use hopwire::pipeline;
use support::{Connection, Sent};

#[derive(Default)]
struct Targets(Vec<(Vec<u8>, Option<u16>)>);

impl Sink for Targets {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.0.push((record.exchange.request.target().to_vec(), record.exchange.status()));
    }

    fn loss(&mut self, _: &Loss) {}
}

fn capture() -> Vec<Sent> {
    let mut talk = Connection::open(40_000, 1_000_000_000, 60, 7, 9);
    for call in 0..3 {
        talk.client(format!("PUT /b/key{call}? HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhello").as_bytes());
        talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    talk.close();
    talk.sent
}

fn pcap(packets: &[Sent]) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 0x4_0000, 1].map(u32::to_le_bytes).concat();
    for sent in packets {
        let (seconds, micros) = (sent.at_nanos / 1_000_000_000, sent.at_nanos / 1000 % 1_000_000);
        let length = sent.bytes.len() as u32;
        file.extend([seconds as u32, micros as u32, length, length].map(u32::to_le_bytes).concat());
        file.extend(&sent.bytes);
    }
    file
}

fn pcapng(packets: &[Sent]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padded = [body, &vec![0; body.len().next_multiple_of(4) - body.len()]].concat();
        let length = (padded.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, &padded, &length].concat()
    };
    let mut file = block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    file.extend(block(1, &[1, 0, 0, 0, 0, 0, 4, 0]));
    for sent in packets {
        let micros = sent.at_nanos as u64 / 1000;
        let length = sent.bytes.len() as u32;
        let head = [0, (micros >> 32) as u32, micros as u32, length, length].map(u32::to_le_bytes).concat();
        file.extend(block(6, &[head, sent.bytes.clone()].concat()));
    }
    file
}

/// What a file gives, and whether all of it was said to be well; `None` where it cannot be opened.
fn run(file: &[u8], positioned: bool) -> Option<(Targets, bool)> {
    let bytes = file.to_vec();
    let input = Input {
        name: "cut".to_owned(),
        stream: Box::new(Cursor::new(bytes.clone())),
        positioned: positioned.then(|| Arc::new(bytes) as Arc<_>),
    };
    let mut source = SavedCapture::open(vec![input]).ok()?;
    let options = pipeline::Options { threads: 1, limits: Limits::default(), secrets: Vec::new() };
    let mut targets = Targets::default();
    let outcome = pipeline::run(&mut source, &options, Analysis::new(Options::default()), &mut targets);
    let is_well = outcome.failure.is_none() && outcome.sources.iter().all(|source| source.problems.is_empty());
    Some((targets, is_well))
}

#[test]
fn a_capture_cut_at_every_octet_gives_what_came_before() {
    let packets = capture();
    for (file, first_record) in [(pcap(&packets), 24), (pcapng(&packets), 48)] {
        let (whole, is_well) = run(&file, true).unwrap();
        assert!(is_well && whole.0.len() == 3);
        let (mut most, mut well) = (0, 0);
        for end in 0..file.len() {
            let Some((targets, is_well)) = run(&file[..end], end % 2 == 0) else {
                assert!(end < first_record, "cut at {end} cannot be opened");
                continue;
            };
            for (target, status) in &targets.0 {
                let known = whole.0.iter().any(|(known, _)| target.is_empty() || known == target);
                assert!(known && status.is_none_or(|status| status == 200), "cut at {end} gives {target:?} {status:?}");
            }
            assert!(targets.0.len() >= most, "cut at {end} gives less than an earlier cut");
            most = targets.0.len();
            well += usize::from(is_well);
        }
        // Only a cut between two records leaves nothing to tell.
        assert!(most == 3 && well <= packets.len() + 2, "{well} of {} cuts were not noticed", file.len());
    }
}
