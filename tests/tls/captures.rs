//! TLS of recorded captures against what their servers and other decoders say of them.

use std::collections::BTreeSet;
use std::fs;

use hopwire::model::{Shut, TlsVersion};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Capture, Outcome, fixture, open, shared};

/// Request lines, wherever they stand: a body without a line end may come before one.
fn requests(octets: &[u8]) -> usize {
    let is_line_end = |window: &&[u8]| *window == b" HTTP/1.1\r\n";
    octets.windows(11).filter(is_line_end).count()
}

/// Octets of the response heads' request ids, as the store logged them.
fn request_ids(octets: &[u8]) -> BTreeSet<String> {
    let name = "x-amz-request-id: ";
    let text = String::from_utf8_lossy(octets).to_ascii_lowercase();
    text.match_indices(name).filter_map(|(at, _)| text.get(at + name.len()..at + name.len() + 16).map(str::to_owned)).collect()
}

fn check_lab(name: &str) {
    let Some(path) = shared(&format!("captures/{name}.pcapng")) else { return };
    let truth: Value = serde_json::from_slice(&fs::read(path.with_file_name(format!("{name}.truth.json"))).unwrap()).unwrap();
    let capture = Capture::read(&path);
    let outcomes = open(&capture, &capture.secrets, usize::MAX, 0);
    assert!(!outcomes.is_empty());
    let calls = truth["calls"].as_array().unwrap();
    for hop in ["client_port", "store_port"] {
        let port = truth[hop].as_u64().unwrap() as u16;
        let of_hop: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.server.port() == port).collect();
        if of_hop.is_empty() {
            assert_eq!(hop, "store_port", "{name}: the client's hop is TLS");
            continue;
        }
        let mut ids = BTreeSet::new();
        let mut seen = 0;
        for outcome in &of_hop {
            // Who watched the store during the run has left no secrets; all that took part have.
            assert!(matches!(outcome.shut, None | Some(Shut::NoSecret)), "{name} {}", outcome.client);
            assert_eq!(outcome.view.version, Some(TlsVersion::Tls13));
            assert_eq!(outcome.shut.is_some(), outcome.plain.client.octets.is_empty());
            seen += requests(&outcome.plain.client.octets);
            ids.extend(request_ids(&outcome.plain.server.octets));
        }
        eprintln!("{name} {hop}: {} flows, {seen} requests, {} calls", of_hop.len(), calls.len());
        assert!(seen >= calls.len(), "{name} {hop}: {seen} requests for {} calls", calls.len());
        for call in calls {
            let id = call["request_id"].as_str().unwrap().to_ascii_lowercase();
            assert!(ids.contains(&id), "{name} {hop}: {id} is missing");
        }
    }
}

#[test]
fn every_call_of_the_lab_is_in_the_plaintext() {
    check_lab("spark33-https");
    check_lab("spark33-direct");
    check_lab("mc-https");
}

fn sha256(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The directions that another decoder found, each as its length and hash, without empty ones.
fn expected_directions(oracle: &Value) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for flow in oracle["follow_tls"].as_array().unwrap() {
        for node in ["node0", "node1"] {
            let bytes = flow[format!("{node}_bytes")].as_u64().unwrap();
            if bytes > 0 {
                all.push((bytes, flow[format!("{node}_sha256")].as_str().unwrap().to_owned()));
            }
        }
    }
    all
}

#[test]
fn plaintext_of_the_corpora_is_what_tshark_finds() {
    let Some(folder) = shared("corpora/oracle/tls") else { return };
    let corpora = folder.join("../..");
    let (mut equal, mut all) = (0, 0);
    let mut missing = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let oracle: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let name = oracle["capture"].as_str().unwrap();
        let capture = Capture::read(&corpora.join(name));
        let mut lines = capture.secrets.clone();
        if let Some(keys) = oracle["keylog"].as_str() {
            lines.extend(fs::read(corpora.join(keys)).unwrap());
        }
        for piece in [usize::MAX, 7] {
            let outcomes = open(&capture, &lines, piece, 0);
            let mut found: Vec<(u64, String)> = outcomes
                .iter()
                .flat_map(|outcome| [&outcome.plain.client, &outcome.plain.server])
                .map(|side| (side.octets.len() as u64, sha256(&side.octets)))
                .collect();
            for direction in expected_directions(&oracle) {
                all += 1;
                match found.iter().position(|one| *one == direction) {
                    Some(place) => {
                        found.swap_remove(place);
                        equal += 1;
                    }
                    None => missing.push(format!("{name}: {direction:?}")),
                }
            }
            if piece == usize::MAX {
                for outcome in &outcomes {
                    let lengths = (outcome.plain.client.octets.len(), outcome.plain.server.octets.len());
                    eprintln!("{name} {} {:04x?} {:?} {lengths:?}", outcome.client, outcome.view.suite, outcome.shut);
                }
            }
        }
    }
    eprintln!("{equal} of {all} directions are equal");
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn renegotiations_that_resume_are_followed() {
    let Some(path) = shared("corpora/wireshark/test/captures/tls-renegotiation.pcap") else { return };
    let lines = fs::read(fixture("renegotiation.keys")).unwrap();
    for piece in [usize::MAX, 1] {
        let outcomes = open(&Capture::read(&path), &lines, piece, 0);
        assert_eq!(outcomes[0].shut, None);
        assert_eq!(sha256(&outcomes[0].plain.client.octets), "4e608dfee075720fd375f7f50bfda3ba663e3f568cfafb4b1c3d6f0846c342bf");
        assert_eq!(sha256(&outcomes[0].plain.server.octets), "bbaa785c8e8955302ade8c5af8ed464518bbe0224919924d9ec9f5a42b3e4ba3");
    }
}

/// Connections without secrets: how many are seen, and how many of them show a name, as in `tls_handshakes.json`.
#[test]
fn connections_without_secrets_are_listed_with_name_and_reason() {
    let Some(oracle) = shared("corpora/oracle/tls_handshakes.json") else { return };
    let oracle: Value = serde_json::from_slice(&fs::read(oracle).unwrap()).unwrap();
    let (mut equal, mut all) = (0, 0);
    let mut different = Vec::new();
    for (name, capture) in oracle.as_object().unwrap() {
        let path = shared(&format!("corpora/{name}")).unwrap();
        let outcomes = open(&Capture::read(&path), b"", usize::MAX, 0);
        let streams: Vec<&Value> = capture["streams"].as_object().unwrap().values().collect();
        let of = |key: &str| -> Vec<String> {
            let mut found: Vec<String> = streams.iter().filter_map(|one| one[key].as_str()).map(str::to_owned).collect();
            found.sort();
            found
        };
        let mut names: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.view.sni.clone()).collect();
        names.sort();
        let mut suites: Vec<String> =
            outcomes.iter().filter_map(|outcome| outcome.view.suite).map(|suite| format!("0x{suite:04x}")).collect();
        suites.sort();
        all += streams.len();
        if outcomes.is_empty() || streams.is_empty() {
            // Inside a tunnel, or cut short: more than this naive way to the flows can read.
            continue;
        }
        if (&names, &suites) == (&of("sni"), &of("suite")) {
            equal += streams.len();
        } else {
            different.push(format!("{name}: {names:?} {suites:?}, not {:?} {:?}", of("sni"), of("suite")));
        }
    }
    eprintln!("{equal} of {all} flows show the same name and suite");
    assert_eq!(different, Vec::<String>::new());
    assert!(equal >= 78);
}
