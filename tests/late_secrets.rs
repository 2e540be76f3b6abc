//! TLS secrets come in any order and at any time while the packets come: what is decoded does not depend on it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Event, Secret};

/// A line of a key log and the packets after that of its random at which it comes.
struct Late<'l> {
    line: &'l str,
    delay: usize,
}

struct Run {
    capture: Vec<u8>,
    lines: Vec<String>,
}

impl Run {
    fn read(capture: &str, keys: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let lines = fs::read_to_string(root.join(keys)).unwrap();
        let mut lines: Vec<_> = lines.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        // Both ends of a connection may have written it.
        lines.sort_by_key(|line| line.to_ascii_lowercase());
        lines.dedup_by_key(|line| line.to_ascii_lowercase());
        Self { capture: fs::read(root.join(capture)).unwrap(), lines }
    }

    /// The lines of each connection, in the order of the file.
    fn connections(&self) -> Vec<Vec<&str>> {
        let mut connections: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for line in &self.lines {
            connections.entry(line.split(' ').nth(1).unwrap().to_ascii_lowercase()).or_default().push(line);
        }
        connections.into_values().collect()
    }

    /// What is decoded where each line comes so many packets after the one that holds its random; a line without a delay comes first.
    fn decode(&self, lines: &[Late<'_>]) -> Vec<String> {
        let stream = Box::new(Cursor::new(self.capture.clone()));
        let input = Input { name: "input".to_owned(), stream, positioned: None };
        let mut capture = SavedCapture::open(vec![input]).unwrap();
        let mut decoder = Decoder::new(Limits::default());
        let mut due: Vec<(usize, &str)> = Vec::new();
        let mut waiting: Vec<(Vec<u8>, &Late<'_>)> = Vec::new();
        for late in lines {
            match late.delay {
                0 => decoder.handle_secret(&Secret::new(late.line.as_bytes().to_vec())),
                _ => waiting.push((bytes_of(late.line.split(' ').nth(1).unwrap()), late)),
            }
        }
        let (mut batch, mut events, mut number) = (Batch::new(), Vec::new(), 0);
        while capture.read_batch(&mut batch).unwrap() {
            for packet in batch.packets() {
                number += 1;
                waiting.retain(|(random, late)| {
                    let is_here = memchr::memmem::find(packet.bytes, random).is_some();
                    if is_here {
                        due.push((number + late.delay, late.line));
                    }
                    !is_here
                });
                due.sort_by_key(|(at, _)| *at);
                while due.first().is_some_and(|(at, _)| *at <= number) {
                    decoder.handle_secret(&Secret::new(due.remove(0).1.as_bytes().to_vec()));
                }
                decoder.handle_packet(&packet);
                events.extend(std::iter::from_fn(|| decoder.poll()));
            }
        }
        decoder.handle_end();
        events.extend(std::iter::from_fn(|| decoder.poll()));
        let mut exchanges: Vec<_> = events
            .into_iter()
            .filter_map(|event| match event {
                Event::Exchange(exchange) => Some((exchange.id, format!("{exchange:?}"))),
                Event::Lost(loss) => Some((Default::default(), format!("{loss:?}"))),
                _ => None,
            })
            .collect();
        exchanges.sort();
        exchanges.into_iter().map(|(_, text)| text).collect()
    }
}

fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    (0..hexadecimal.len() / 2).map(|at| u8::from_str_radix(&hexadecimal[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, count - 1);
            all.push(order);
        }
    }
    all
}

/// Every order of the four secrets of TLS 1.3, cut after one, two or three of them: what comes before the cut comes `first` packets
/// after the ClientHello, the rest `rest` packets after it.
#[test]
fn exchanges_do_not_depend_on_the_order_and_the_time_of_secrets() {
    let run = Run::read("captures/spark33-https.no-secrets.pcap", "captures/spark33-https.keys.txt");
    let connections = run.connections();
    let at_once: Vec<_> = run.lines.iter().map(|line| Late { line, delay: 0 }).collect();
    let expected = run.decode(&at_once);
    assert!(expected.len() > 100, "{}", expected.len());
    for (number, order) in orders(4).into_iter().enumerate() {
        let cut = 1 + number % 3;
        let (first, rest) = [(1, 6), (3, 9), (6, 12), (1, 14), (9, 10)][number % 5];
        let mut lines = Vec::new();
        for connection in &connections {
            for (place, index) in order.iter().enumerate() {
                let Some(line) = connection.get(*index) else { continue };
                lines.push(Late { line, delay: if place < cut { first } else { rest } });
            }
        }
        let found = run.decode(&lines);
        let first_difference = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert!(
            found == expected,
            "order {order:?} cut {cut}: {} instead of {} exchanges, first {first_difference:#?}",
            found.len(),
            expected.len()
        );
    }
}
