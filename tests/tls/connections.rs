//! TLS connections that were recorded for this project: all suites, changes of keys, resumption, loss, and hostile changes.

use std::fs;

use hopwire::decode::Limits;
use hopwire::decode::tls::{Connection, KeyLog, Secrets, Sessions, suite_name};
use hopwire::model::{Close, Secret, Shut, Side, Stamp, TlsVersion};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{Capture, Collected, Flow, Happening, Outcome, fixture, keylog, open, open_flow};

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The object that the many-record connections carry, with the response head of the server.
fn large_answer() -> Vec<u8> {
    let lines = (0..280).map(|number| hex(&Sha256::digest(number.to_string())) + "\n");
    let head = "HTTP/1.0 200 ok\r\nContent-type: text/plain\r\n\r\n".to_owned();
    (head + &lines.collect::<String>()).into_bytes()
}

fn keys(name: &str) -> Vec<u8> {
    fs::read(fixture(&format!("{name}.keys"))).unwrap()
}

fn capture(name: &str) -> Capture {
    Capture::read(&fixture(&format!("{name}.pcap")))
}

fn of_port(port: u16, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes.into_iter().filter(|outcome| outcome.server.port() == port).collect()
}

fn flow_of_port(port: u16) -> Flow {
    capture("flows").flows().into_iter().find(|flow| flow.server.port() == port).unwrap()
}

fn open_with(flow: &Flow, lines: &[u8], piece: usize, skippable: u64) -> Outcome {
    open_flow(flow, &keylog(lines), &mut Sessions::new(), piece, skippable)
}

/// The octets of one side.
fn stream(flow: &Flow, side: Side) -> Vec<u8> {
    let mut octets = Vec::new();
    for (from, _, happening) in &flow.happenings {
        if let (true, Happening::Data(data)) = (*from == side, happening) {
            octets.extend_from_slice(data);
        }
    }
    octets
}

/// A flow in which the server's octets from `start` on are other ones.
fn with_server(flow: &Flow, server: Vec<Happening>) -> Flow {
    let mut happenings: Vec<_> = flow.happenings.iter().filter(|one| one.0 == Side::Client).cloned().collect();
    let server = server.into_iter().map(|happening| (Side::Server, Stamp::default(), happening));
    let place = happenings.iter().position(|one| matches!(one.2, Happening::Data(_))).map_or(0, |place| place + 1);
    happenings.splice(place..place, server);
    Flow { client: flow.client, server: flow.server, happenings }
}

#[test]
fn every_suite_opens_to_what_the_client_printed() {
    let truth = fs::read_to_string(fixture("suites.tsv")).unwrap();
    let capture = capture("suites");
    for piece in [usize::MAX, 1, 13] {
        let outcomes = open(&capture, &keys("suites"), piece, 0);
        let rows: Vec<Vec<&str>> =
            truth.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
        assert_eq!(outcomes.len(), rows.len());
        for row in rows {
            let (port, version, suite, length, sha256) = (row[0], row[1], row[2], row[4], row[5]);
            let outcome = outcomes.iter().find(|outcome| outcome.server.port().to_string() == port).unwrap();
            let name = format!("{port} {version} {suite} {}", row[3]);
            assert_eq!(outcome.view.suite.and_then(suite_name), Some(suite), "{name}");
            assert_eq!(outcome.view.version.unwrap().label().replace('.', "_").replace("_0", ""), version, "{name}");
            assert_eq!(outcome.view.sni.as_deref(), Some("store.example"), "{name}");
            if suite.contains("CAMELLIA") {
                assert_eq!(outcome.shut, Some(Shut::SuiteNotSupported(0xc072)), "{name}");
                assert!(outcome.sealed_bytes > 2600);
                continue;
            }
            assert_eq!(outcome.shut, None, "{name}");
            assert_eq!(outcome.plain.client.octets, b"GET /object HTTP/1.0\r\n\r\n", "{name}");
            assert_eq!(outcome.plain.server.octets.len().to_string(), length, "{name}");
            assert_eq!(hex(&Sha256::digest(&outcome.plain.server.octets)), sha256, "{name}");
            assert_eq!(outcome.plain.server.closes, [Close::Finished], "{name}: close_notify and FIN are one end");
        }
    }
}

#[test]
fn renegotiation_changes_the_keys_of_tls12() {
    let outcomes = of_port(14501, open(&capture("flows"), &keys("flows"), usize::MAX, 0));
    assert_eq!(outcomes[0].shut, None);
    assert_eq!(outcomes[0].plain.client.octets, b"before the change\nafter the change\nCLOSE\n");
    assert_eq!(outcomes[0].plain.server.octets, b"egnahc eht erofeb\negnahc eht retfa\n");
}

#[test]
fn key_updates_of_either_side_are_followed() {
    for piece in [usize::MAX, 1] {
        let outcomes = of_port(14502, open(&capture("flows"), &keys("flows"), piece, 0));
        assert_eq!(outcomes[0].shut, None);
        assert_eq!(outcomes[0].plain.client.octets, b"before the change\nafter one change\nafter two changes\nCLOSE\n");
        assert_eq!(outcomes[0].plain.server.octets, b"egnahc eht erofeb\negnahc eno retfa\n");
    }
}

#[test]
fn a_lost_key_update_is_noticed() {
    let mut flow = flow_of_port(14502);
    let is_update =
        |one: &&mut (Side, Stamp, Happening)| matches!(one, (Side::Client, _, Happening::Data(data)) if data.len() == 27);
    let update = flow.happenings.iter_mut().find(is_update).unwrap();
    update.2 = Happening::Gap(27);
    let outcome = open_with(&flow, &keys("flows"), usize::MAX, 0);
    assert_eq!(outcome.shut, None);
    assert_eq!(outcome.plain.client.octets, b"before the change\nafter one change\nafter two changes\nCLOSE\n");
}

#[test]
fn a_resumed_session_needs_no_line_of_its_own() {
    for port in [14503, 14504] {
        let outcomes = of_port(port, open(&capture("flows"), &keys("flows"), usize::MAX, 0));
        let plain: Vec<_> = outcomes.iter().map(|outcome| outcome.plain.client.octets.as_slice()).collect();
        assert_eq!(plain, [b"first connection\nCLOSE\n".as_slice(), b"second connection\nCLOSE\n"], "{port}");
        assert_eq!(outcomes[1].plain.server.octets, b"noitcennoc dnoces\n");
        let alone = &capture("flows").flows().into_iter().filter(|flow| flow.server.port() == port).nth(1).unwrap();
        assert_eq!(open_with(alone, &keys("flows"), usize::MAX, 0).shut, Some(Shut::NoSecret), "{port}");
    }
}

#[test]
fn a_hello_retry_request_is_no_answer_yet() {
    let outcomes = of_port(14505, open(&capture("flows"), &keys("flows"), usize::MAX, 0));
    assert_eq!(outcomes[0].shut, None);
    assert_eq!(outcomes[0].plain.client.octets, b"after a retry\nCLOSE\n");
}

#[test]
fn early_data_counts_only_where_the_server_took_it() {
    for piece in [usize::MAX, 1] {
        let outcomes = open(&capture("early"), &keys("early"), piece, 0);
        let client: Vec<_> = outcomes.iter().map(|outcome| outcome.plain.client.octets.as_slice()).collect();
        assert_eq!(client, [b"".as_slice(), b"early words\nlater words\n", b"later words\n"]);
        assert_eq!(outcomes.iter().map(|outcome| outcome.has_early_data).collect::<Vec<_>>(), [false, true, false]);
        assert!(outcomes.iter().all(|outcome| outcome.shut.is_none()));
    }
}

#[test]
fn early_data_without_its_secret_is_a_gap() {
    let lines = String::from_utf8(keys("early")).unwrap();
    let lines: String =
        lines.lines().filter(|line| !line.starts_with("CLIENT_EARLY")).map(|line| line.to_owned() + "\n").collect();
    let outcomes = open(&capture("early"), lines.as_bytes(), usize::MAX, 0);
    assert_eq!(outcomes[1].plain.client.octets, b"later words\n");
    assert_eq!(outcomes[1].plain.client.gaps[0], (0, 12));
    assert_eq!(outcomes[2].plain.client.gaps, []);
}

#[test]
fn records_that_nobody_needs_are_counted_and_not_opened() {
    for (port, can_skip) in [(14510, true), (14511, true), (14512, false), (14513, false)] {
        for piece in [usize::MAX, 1, 700] {
            let outcome = open_with(&flow_of_port(port), &keys("flows"), piece, u64::MAX);
            assert_eq!(outcome.shut, None, "{port}");
            assert_eq!(outcome.view.skipped, can_skip, "{port}");
            assert_eq!(outcome.plain.server.skipped > 17_000, can_skip, "{port}");
            assert_eq!(outcome.plain.server.length(), large_answer().len() as u64, "{port}");
            assert_eq!(outcome.plain.server.closes, [Close::Finished], "{port}");
        }
    }
}

#[test]
fn a_part_that_is_needed_is_opened() {
    let whole = open_with(&flow_of_port(14510), &keys("flows"), usize::MAX, 0);
    let part = open_with(&flow_of_port(14510), &keys("flows"), usize::MAX, 1023);
    assert_eq!(part.plain.server.octets.len() as u64 + part.plain.server.skipped, whole.plain.server.octets.len() as u64);
    // Records of 1024 octets are no part of what is not needed, and the last one is.
    assert!(part.plain.server.octets.len() >= 17 * 1024);
}

/// The stream's octets with a part missing.
fn with_gap(octets: &[u8], start: usize, length: usize) -> Vec<Happening> {
    let end = (start + length).min(octets.len());
    let mut happenings = vec![
        Happening::Data(octets[..start].to_vec()),
        Happening::Gap((end - start) as u64),
        Happening::Data(octets[end..].to_vec()),
    ];
    happenings.retain(|one| !matches!(one, Happening::Data(data) if data.is_empty()));
    happenings.push(Happening::Close(Close::Finished));
    happenings
}

/// What was found stands in the right places, and what is missing is said.
fn check_places(outcome: &Outcome, truth: &[u8], name: &str) {
    let found = &outcome.plain.server;
    let mut place = 0;
    let mut taken = 0;
    for &(before, missing) in found.gaps.iter().chain([&(found.octets.len(), 0)]) {
        let piece = &found.octets[taken..before];
        assert!(truth[place.min(truth.len())..].starts_with(piece), "{name}: octets after {place}");
        taken = before;
        place += piece.len() + missing as usize;
    }
    assert!(place <= truth.len() + 100, "{name}: {place}");
}

#[test]
fn after_a_loss_the_next_record_is_found() {
    let truth = large_answer();
    for port in [14510, 14511, 14512, 14513] {
        let flow = flow_of_port(port);
        let octets = stream(&flow, Side::Server);
        let is_exact = port != 14513;
        for start in (octets.len() - 17_000..octets.len() - 3000).step_by(731) {
            for length in [1, 4, 5, 900, 1050, 2200, 7000] {
                let name = format!("{port}: {length} octets at {start} of {}", octets.len());
                let damaged = with_server(&flow, with_gap(&octets, start, length));
                for piece in [usize::MAX, 100] {
                    let outcome = open_with(&damaged, &keys("flows"), piece, 0);
                    assert_eq!(outcome.shut, None, "{name}");
                    let lost = truth.len() - outcome.plain.server.octets.len();
                    assert!(lost > 0 && lost <= length + 2 * 1100, "{name}: {lost} octets lost");
                    if is_exact && start + length + 1200 < octets.len() {
                        assert_eq!(outcome.plain.server.length(), truth.len() as u64, "{name}");
                        assert_eq!(outcome.plain.server.gaps.len(), 1, "{name}");
                        check_places(&outcome, &truth, &name);
                        let counted = open_with(&damaged, &keys("flows"), piece, u64::MAX);
                        assert_eq!(counted.plain.server.length(), truth.len() as u64, "{name}, counted");
                        assert_eq!(counted.plain.server.gaps.len(), 1, "{name}, counted");
                    }
                }
            }
        }
    }
}

#[test]
fn a_loss_in_a_sealed_handshake_leaves_the_data_readable() {
    let flow = flow_of_port(14510);
    let octets = stream(&flow, Side::Server);
    // The ServerHello and change_cipher_spec take 133 octets; the sealed handshake follows.
    for (start, length) in [(140, 100), (133, 300), (200, 600), (133, 800)] {
        let outcome = open_with(&with_server(&flow, with_gap(&octets, start, length)), &keys("flows"), usize::MAX, 0);
        assert_eq!(outcome.shut, None, "{start}");
        assert_eq!(outcome.plain.server.octets, large_answer(), "{start}");
    }
}

#[test]
fn a_loss_in_a_clear_certificate_leaves_the_data_readable() {
    let flow = flow_of_port(14511);
    let octets = stream(&flow, Side::Server);
    // The ServerHello takes 70 octets or so; the certificate is the next record, of more than 400.
    let start = 5 + usize::from(octets[3]) * 256 + usize::from(octets[4]) + 20;
    let outcome = open_with(&with_server(&flow, with_gap(&octets, start, 200)), &keys("flows"), usize::MAX, 0);
    assert_eq!(outcome.shut, None);
    assert_eq!(outcome.plain.server.octets, large_answer());
}

#[test]
fn a_loss_of_the_hello_is_said() {
    let flow = flow_of_port(14510);
    let octets = stream(&flow, Side::Server);
    let outcome = open_with(&with_server(&flow, with_gap(&octets, 20, 50)), &keys("flows"), usize::MAX, 0);
    assert_eq!(outcome.shut, Some(Shut::HandshakeNotCaptured));
    assert!(outcome.plain.server.octets.is_empty());
    assert!(outcome.sealed_bytes > 18_000);
}

#[test]
fn a_start_in_mid_connection_is_said() {
    let mut flow = flow_of_port(14511);
    let octets = stream(&flow, Side::Server);
    flow = with_server(&flow, vec![Happening::Data(octets[octets.len() - 1024 - 29 - 31 - 1024..].to_vec())]);
    flow.happenings.retain(|one| one.0 == Side::Server);
    let outcome = open_with(&flow, &keys("flows"), usize::MAX, 0);
    assert_eq!(outcome.shut, Some(Shut::HandshakeNotCaptured));
}

#[test]
fn without_secrets_the_outside_is_still_known() {
    for (port, version) in [(14510, TlsVersion::Tls13), (14511, TlsVersion::Tls12), (14513, TlsVersion::Tls12)] {
        let outcome = open_with(&flow_of_port(port), b"", usize::MAX, 0);
        assert_eq!(outcome.shut, Some(Shut::NoSecret));
        assert_eq!((outcome.view.version, outcome.view.sni.as_deref()), (Some(version), Some("store.example")));
        assert!(outcome.sealed_bytes > 18_000 && outcome.sealed_bytes < 22_000, "{}", outcome.sealed_bytes);
        assert!(outcome.plain.client.octets.is_empty() && outcome.plain.server.octets.is_empty());
    }
}

#[test]
fn a_secret_may_come_late() {
    for port in [14510, 14511, 14513] {
        let flow = flow_of_port(port);
        let (mut keylog, mut sessions, mut buffer) = (KeyLog::new(), Sessions::new(), Vec::new());
        let mut connection = Connection::new(&Limits::default());
        let mut plain = Collected::default();
        for (number, (from, stamp, happening)) in flow.happenings.iter().enumerate() {
            if number == flow.happenings.len() - 2 {
                assert_eq!(connection.shut(), Some(&Shut::NoSecret));
                keylog.add(&Secret::new(keys("flows")));
            }
            let mut secrets = Secrets { keylog: &keylog, sessions: &mut sessions, buffer: &mut buffer };
            match happening {
                Happening::Data(octets) => connection.handle_data(*from, *stamp, octets, &mut secrets, &mut plain),
                Happening::Gap(length) => connection.handle_gap(*from, *stamp, *length, &mut secrets, &mut plain),
                Happening::Close(how) => connection.handle_close(*from, *stamp, *how, &mut secrets, &mut plain),
            }
        }
        assert_eq!(connection.shut(), None, "{port}");
        assert_eq!(plain.server.octets, large_answer(), "{port}");
        assert_eq!((plain.client.closes.len(), plain.server.closes.len()), (1, 1), "{port}");
    }
}

/// The key log with every secret changed.
fn wrong_keys() -> Vec<u8> {
    let text = String::from_utf8(keys("flows")).unwrap();
    let lines = text.lines().map(|line| {
        let (start, last) = line.split_at(line.len() - 1);
        format!("{start}{}\n", if last == "0" { "1" } else { "0" })
    });
    lines.collect::<String>().into_bytes()
}

#[test]
fn a_wrong_secret_opens_nothing() {
    for port in [14501, 14502, 14510, 14511, 14512, 14513] {
        let outcome = open_with(&flow_of_port(port), &wrong_keys(), usize::MAX, 0);
        assert_eq!(outcome.shut, Some(Shut::WrongSecret), "{port}");
        assert!(outcome.plain.client.octets.is_empty() && outcome.plain.server.octets.is_empty(), "{port}");
    }
}

#[test]
fn of_two_secrets_the_right_one_is_found() {
    for lines in [[keys("flows"), wrong_keys()].concat(), [wrong_keys(), keys("flows")].concat()] {
        for port in [14510, 14511, 14512, 14513] {
            let outcome = open_with(&flow_of_port(port), &lines, usize::MAX, 0);
            assert_eq!(outcome.shut, None, "{port}");
            assert_eq!(outcome.plain.server.octets, large_answer(), "{port}");
        }
    }
}

#[test]
fn traffic_secrets_are_enough() {
    let text = String::from_utf8(keys("flows")).unwrap();
    let lines: String = text.lines().filter(|line| !line.contains("HANDSHAKE")).map(|line| line.to_owned() + "\n").collect();
    for port in [14510, 14512] {
        let outcome = open_with(&flow_of_port(port), lines.as_bytes(), usize::MAX, 0);
        assert_eq!(outcome.shut, None, "{port}");
        assert_eq!(outcome.plain.server.octets, large_answer(), "{port}");
    }
}

#[test]
fn a_changed_octet_costs_its_record_only() {
    for port in [14510, 14511, 14512, 14513] {
        let flow = flow_of_port(port);
        let mut octets = stream(&flow, Side::Server);
        let place = octets.len() - 5000;
        octets[place] ^= 1;
        let outcome = open_with(&with_server(&flow, vec![Happening::Data(octets)]), &keys("flows"), usize::MAX, 0);
        assert_eq!(outcome.shut, None, "{port}");
        assert_eq!(outcome.plain.server.gaps.len(), 1, "{port}");
        assert_eq!(outcome.plain.server.octets.len(), large_answer().len() - 1024, "{port}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_the_stream_makes_wrong_plaintext(
        port in prop::sample::select(vec![14501u16, 14502, 14510, 14511, 14512, 14513]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        gap in prop::option::of((any::<prop::sample::Index>(), 1usize..4000)),
        piece in prop::sample::select(vec![usize::MAX, 1, 17, 1400]),
        skippable in prop::sample::select(vec![0, 0, u64::MAX]),
    ) {
        let flow = flow_of_port(port);
        let truth = open_with(&flow, &keys("flows"), usize::MAX, 0).plain;
        let mut octets = stream(&flow, Side::Server);
        for (place, octet) in changes {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        let happenings = match gap {
            Some((start, length)) => with_gap(&octets, start.index(octets.len()), length),
            None => vec![Happening::Data(octets)],
        };
        let outcome = open_with(&with_server(&flow, happenings), &keys("flows"), piece, skippable);
        let mut taken = 0;
        for &(before, _) in outcome.plain.server.gaps.iter().chain([&(outcome.plain.server.octets.len(), 0)]) {
            let found = &outcome.plain.server.octets[taken..before];
            let is_true = skippable > 0 || found.is_empty() || truth.server.octets.windows(found.len()).any(|window| window == found);
            prop_assert!(is_true, "{} octets that were never sent", found.len());
            taken = before;
        }
    }

    #[test]
    fn any_octets_are_taken(octets in prop::collection::vec(any::<u8>(), 0..2000), piece in 1usize..100) {
        let mut records = Vec::new();
        for chunk in octets.chunks(97) {
            records.extend([22, 3, 3, 0, chunk.len() as u8]);
            records.extend_from_slice(chunk);
        }
        for data in [octets, records] {
            let flow = with_server(&flow_of_port(14510), vec![Happening::Data(data.clone())]);
            open_with(&flow, &keys("flows"), piece, 0);
            let flow = Flow { happenings: vec![(Side::Client, Stamp::default(), Happening::Data(data))], ..flow };
            open_with(&flow, &keys("flows"), piece, 0);
        }
    }
}

#[test]
fn premaster_secrets_open_connections_with_the_extended_master_secret() {
    for piece in [usize::MAX, 1] {
        let outcomes = open(&capture("suites"), &keys("premaster"), piece, 0);
        for port in [14401, 14403] {
            let outcome = outcomes.iter().find(|outcome| outcome.server.port() == port).unwrap();
            assert_eq!(outcome.shut, None, "{port}");
            assert_eq!(outcome.plain.client.octets, b"GET /object HTTP/1.0\r\n\r\n");
            assert_eq!(outcome.plain.server.octets.len(), 2645);
        }
    }
}

#[test]
fn the_sides_need_not_be_in_step() {
    for port in [14502, 14503, 14504, 14505, 14510, 14511, 14513] {
        for first in [Side::Client, Side::Server] {
            let mut flow = flow_of_port(port);
            let expected = open_with(&flow, &keys("flows"), usize::MAX, 0).plain;
            flow.happenings.sort_by_key(|one| one.0 != first);
            let outcome = open_with(&flow, &keys("flows"), usize::MAX, 0);
            assert_eq!(outcome.shut, None, "{port} {first:?}");
            assert_eq!(outcome.plain.client, expected.client, "{port} {first:?}");
            assert_eq!(outcome.plain.server, expected.server, "{port} {first:?}");
        }
    }
}

#[test]
fn one_side_alone_shows_what_it_can() {
    for port in [14510, 14511] {
        let mut flow = flow_of_port(port);
        flow.happenings.retain(|one| one.0 == Side::Server);
        let outcome = open_with(&flow, &keys("flows"), usize::MAX, 0);
        assert_eq!(outcome.shut, Some(Shut::HandshakeNotCaptured), "{port}");
        assert!(outcome.view.suite.is_some() && outcome.view.version.is_some(), "{port}");
        flow = flow_of_port(port);
        flow.happenings.retain(|one| one.0 == Side::Client);
        let outcome = open_with(&flow, &keys("flows"), usize::MAX, 0);
        assert_eq!(outcome.shut, Some(Shut::HandshakeNotCaptured), "{port}");
        assert_eq!(outcome.view.sni.as_deref(), Some("store.example"), "{port}");
    }
}
