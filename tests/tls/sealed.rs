//! What connections show that are not opened, against what is in them once they are.

use std::fs;

use hopwire::decode::Limits;
use hopwire::decode::tls::{Connection, KeyLog, Secrets, Sessions};
use hopwire::model::Side;

use crate::support::{Capture, Collected, Flow, Happening, Outcome, fixture, keylog, open};

fn shut(capture: &Capture, piece: usize) -> Vec<Outcome> {
    open(capture, b"", piece, 0)
}

/// Offsets at which requests begin.
fn requests(octets: &[u8]) -> usize {
    octets.windows(11).filter(|window| *window == b" HTTP/1.1\r\n").count()
}

#[test]
fn the_lengths_of_every_suite_are_those_of_the_plaintext() {
    let capture = Capture::read(&fixture("suites.pcap"));
    let keys = fs::read(fixture("suites.keys")).unwrap();
    let (mut exact, mut ranges) = (0, 0);
    for (opened, shut) in open(&capture, &keys, usize::MAX, 0).iter().zip(shut(&capture, usize::MAX)) {
        let (asked, answered) = (opened.plain.client.length(), opened.plain.server.length());
        // A suite that does not encrypt is read without a key.
        if asked == 0 || answered == 0 || opened.shut.is_some() || shut.view.is_readable {
            continue;
        }
        assert!(opened.sealed.is_empty(), "{} was opened", opened.client);
        let [pair] = shut.sealed.as_slice() else { panic!("{} {:04x?}: {:?}", shut.client, shut.view.suite, shut.sealed) };
        let what = format!("{:?} {:04x?}: {pair:?} is {asked} and {answered}", shut.view.version, shut.view.suite);
        assert!(pair.request.octets.contains(&asked) && pair.response.octets.contains(&answered), "{what}");
        if pair.request.octets.start() == pair.request.octets.end() { exact += 1 } else { ranges += 1 }
    }
    assert!(exact > 8 && ranges > 8, "{exact} exact, {ranges} ranges");
}

#[test]
fn every_request_of_a_shut_connection_of_the_lab_is_told_apart() {
    for name in ["spark33-http", "spark40-http-sse-c", "boto3-http-none", "spark33-https"] {
        let capture = Capture::read(&fixture("../../captures").join(format!("{name}.pcapng")));
        let opened = open(&capture, &capture.secrets, usize::MAX, 0);
        let mut found = 0;
        for (opened, shut) in opened.iter().zip(shut(&capture, usize::MAX)).filter(|(opened, _)| opened.shut.is_none()) {
            let count = requests(&opened.plain.client.octets);
            assert_eq!(shut.sealed.len(), count, "{name} {}", shut.client);
            assert!(shut.sealed.iter().map(|pair| pair.ordinal).eq(1..=count as u32), "{name} {}", shut.client);
            let asked: u64 = shut.sealed.iter().map(|pair| *pair.request.octets.end()).sum();
            // The Java runtime pads each record with 16 zeros; others pad nothing.
            let records: u64 = shut.sealed.iter().map(|pair| u64::from(pair.request.records)).sum();
            let padding = if name == "spark33-https" && shut.server.port() != 9000 { 16 * records } else { 0 };
            assert_eq!(asked, opened.plain.client.length() + padding, "{name} {}", shut.client);
            found += count;
        }
        assert!(found > 0, "{name}");
    }
}

#[test]
fn octets_in_any_pieces_show_the_same() {
    let capture = Capture::read(&fixture("../../captures/spark33-http.pcapng"));
    let whole: Vec<_> = shut(&capture, usize::MAX).into_iter().map(|outcome| outcome.sealed).collect();
    for piece in [1, 7, 1000] {
        let pieces: Vec<_> = shut(&capture, piece).into_iter().map(|outcome| outcome.sealed).collect();
        assert!(whole == pieces, "pieces of {piece}");
    }
}

#[test]
fn a_secret_that_comes_late_leaves_nothing_sealed() {
    let capture = Capture::read(&fixture("../../captures/boto3-http-none.pcapng"));
    let late = keylog(&capture.secrets);
    let none = KeyLog::new();
    let mut opened = 0;
    for flow in capture.flows().iter().filter(|flow| flow.server.port() == 9000) {
        let (mut sessions, mut buffer) = (Sessions::new(), Vec::new());
        let mut connection = Connection::new(&Limits::default());
        let mut plain = Collected::default();
        for (number, (from, stamp, happening)) in flow.happenings.iter().enumerate() {
            let Happening::Data(octets) = happening else { continue };
            let keylog = if number < 12 { &none } else { &late };
            let mut secrets = Secrets { keylog, sessions: &mut sessions, buffer: &mut buffer };
            connection.handle_data(*from, *stamp, octets, &mut secrets, &mut plain);
            assert_eq!(connection.poll_sealed(), None);
        }
        let mut secrets = Secrets { keylog: &late, sessions: &mut sessions, buffer: &mut buffer };
        connection.handle_end(&mut secrets, &mut plain);
        if requests(&plain.client.octets) > 0 {
            assert_eq!(connection.poll_sealed(), None, "{}", flow.client);
            opened += 1;
        }
    }
    assert!(opened > 0);
}

#[test]
fn what_is_missing_ends_what_can_be_told() {
    let capture = Capture::read(&fixture("../../captures/spark33-http.pcapng"));
    let flows = capture.flows();
    let octets = |flow: &&Flow| flow.happenings.iter().filter(|one| one.0 == Side::Client).count();
    let flow = flows.iter().filter(|flow| flow.server.port() == 9000).max_by_key(octets).unwrap();
    let (none, mut sessions, mut buffer) = (KeyLog::new(), Sessions::new(), Vec::new());
    let run = |lost: usize, sessions: &mut Sessions, buffer: &mut Vec<u8>| {
        let mut connection = Connection::new(&Limits::default());
        let mut plain = Collected::default();
        for (number, (from, stamp, happening)) in flow.happenings.iter().enumerate() {
            let Happening::Data(octets) = happening else { continue };
            let mut secrets = Secrets { keylog: &none, sessions, buffer };
            if number == lost && *from == Side::Server {
                connection.handle_gap(*from, *stamp, octets.len() as u64, &mut secrets, &mut plain);
            } else {
                connection.handle_data(*from, *stamp, octets, &mut secrets, &mut plain);
            }
        }
        connection.handle_end(&mut Secrets { keylog: &none, sessions, buffer }, &mut plain);
        std::iter::from_fn(|| connection.poll_sealed()).collect::<Vec<_>>()
    };
    let whole = run(usize::MAX, &mut sessions, &mut buffer);
    assert!(whole.len() > 5);
    let mut shorter = 0;
    for lost in 0..flow.happenings.len() {
        let found = run(lost, &mut sessions, &mut buffer);
        // What is told before the loss is as it was, and nothing is made up after it.
        assert!(found.iter().zip(&whole).all(|(one, other)| one == other), "lost {lost}");
        shorter += usize::from(found.len() < whole.len());
    }
    assert!(shorter > 5, "{shorter}");
}
