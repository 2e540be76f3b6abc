//! Captures of the lab: what is planted in them goes, everything else stays, and tshark agrees.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::craft::{capture, contains, open, options, read, run, scrubbing, shown};
use crate::support::Connection;
use crate::support::require::{Need, skip};
use hopwire::capture::PacketSource as _;
use hopwire::convert::{Choice, ConvertError, Format, Options};
use hopwire::model::{FlowId, HeaderName, Secret};

const SSE_C: [&str; 2] = ["spark40-http-sse-c", "boto3-http-sse-c"];

/// A capture of the project.
fn lab(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(name)).unwrap()
}

/// A field per packet that passes a filter, by tshark; `None` where it is not installed.
fn tshark(capture: &[u8], filter: &str, fields: &[&str]) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("a.pcapng");
    std::fs::write(&path, capture).unwrap();
    let mut command = Command::new("tshark");
    command.args(["-o", "tcp.check_checksum:TRUE", "-T", "fields", "-Y", filter, "-r"]).arg(&path);
    for field in fields {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        skip(Need::Tshark, "tshark");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn a_scrubbed_capture_has_the_same_exchanges_and_none_of_its_secrets() {
    for name in SSE_C {
        let input = lab(&format!("{name}.pcapng"));
        let (output, report) = run(&input, &scrubbing()).unwrap();
        let (before, after) = (read(&input), read(&output));
        let clear = |exchanges: Vec<hopwire::model::Exchange>| -> Vec<_> {
            exchanges.into_iter().filter(|exchange| exchange.transport.is_clear()).collect()
        };
        let (before, after) = (clear(before.exchanges), clear(after.exchanges));
        assert_eq!(shown(&before), shown(&after), "{name}");
        let mut planted = 0;
        for exchange in &before {
            for known in [
                HeaderName::XAmzServerSideEncryptionCustomerKey,
                HeaderName::XAmzServerSideEncryptionCustomerKeyMd5,
                HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey,
            ] {
                for value in exchange.request.headers.all(known) {
                    planted += 1;
                    assert!(contains(&input, value) && !contains(&output, value), "{name}");
                }
            }
            if let Some(value) = exchange.request.headers.get(HeaderName::Authorization) {
                let signature = value.rsplit(|byte| *byte == b'=').next().unwrap();
                assert!(signature.len() < 64 || !contains(&output, signature), "{name}");
            }
        }
        assert!(planted > 10, "{name}: {planted} planted");
        assert!(report.packets_masked > 10);
    }
}

#[test]
fn tshark_sees_the_same_exchanges_with_right_checksums() {
    for name in SSE_C {
        let input = lab(&format!("{name}.pcapng"));
        // Without secrets tshark sees the clear hop only, as in what was scrubbed.
        let (plain, _) = run(&input, &Options { strip_secrets: true, ..options(Format::Pcapng) }).unwrap();
        let (output, report) = run(&input, &scrubbing()).unwrap();
        let fields = ["frame.number", "http.request.method", "http.host", "http.response.code", "http.content_length"];
        let lenient = |capture: &[u8]| tshark_without_checksums(capture, &fields);
        let (Some(before), Some(after)) = (lenient(&plain), lenient(&output)) else { return };
        assert_eq!(before, after, "{name}");
        assert!(before.len() > 10, "{name}");
        let Some(right) = tshark(&output, "tcp.checksum.status == 1", &["frame.number"]) else { return };
        let frames_changed: Vec<String> = (1..)
            .zip(read(&plain).packets.iter().zip(&read(&output).packets))
            .filter(|(_, (one, other))| one != other)
            .map(|(number, _): (u64, _)| number.to_string())
            .collect();
        assert_eq!(frames_changed.len() as u64, report.packets_masked, "{name}");
        assert!(frames_changed.iter().all(|frame| right.contains(frame)), "{name}");
    }
}

fn tshark_without_checksums(capture: &[u8], fields: &[&str]) -> Option<Vec<String>> {
    // Offloading left all checksums of the lab wrong, and tshark reassembles nothing where it checks them.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcapng");
    std::fs::write(&path, capture).unwrap();
    let mut command = Command::new("tshark");
    command.args(["-T", "fields", "-Y", "http.request or http.response", "-r"]).arg(&path);
    for field in fields {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        skip(Need::Tshark, "tshark");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn tshark_opens_tls_with_the_embedded_key_log() {
    let (input, keys) = (lab("spark33-https.no-secrets.pcap"), lab("spark33-https.keys.txt"));
    let other = format!("CLIENT_RANDOM {} {}\n", "ab".repeat(32), "cd".repeat(48));
    let lines = String::from_utf8(keys).unwrap();
    let with = Options { keylogs: vec![Secret::new(format!("{other}{lines}").into_bytes())], ..options(Format::Pcapng) };
    let (output, report) = run(&input, &with).unwrap();
    assert_eq!(report.keys_left_out, 1);
    assert!(report.keys_written > 4);
    assert!(!contains(&output, "ab".repeat(32).as_bytes()));
    let block = [10, 0, 0, 0];
    let secrets_at = memchr::memmem::find(&output, &block).unwrap();
    let first_packet = memchr::memmem::find(&output, &read(&output).packets[0]).unwrap();
    assert!(secrets_at < first_packet);
    let Some(requests) = tshark(&output, "http.request", &["frame.number"]) else { return };
    let Some(none) = tshark(&input, "http.request", &["frame.number"]) else { return };
    assert!(requests.len() > 50 && none.is_empty(), "{} with keys, {} without", requests.len(), none.len());
    let (stripped, _) = run(&output, &Options { strip_secrets: true, ..options(Format::Pcapng) }).unwrap();
    assert_eq!(read(&stripped).secrets, 0);
}

#[test]
fn a_pcap_comes_back_octet_for_octet() {
    let input = lab("spark33-https.no-secrets.pcap");
    let (through, _) = run(&input, &options(Format::Pcapng)).unwrap();
    let (back, _) = run(&through, &options(Format::Pcap)).unwrap();
    assert_eq!(back, input);
}

#[test]
fn nanoseconds_stay_and_two_link_types_do_not_fit_a_pcap() {
    let frames = Connection::open(4000, 1_000_000_001, 100, 1, 1).sent;
    let packets: Vec<_> = frames.into_iter().map(|sent| (sent.at_nanos, sent.bytes)).collect();
    let (out, _) = run(&capture(&packets), &options(Format::Pcap)).unwrap();
    assert_eq!(out[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let (again, _) = run(&out, &options(Format::Pcapng)).unwrap();
    assert_eq!(open_first_nanos(&again), packets[0].0);
    let mut writer = hopwire::capture::write::pcapng::Writer::new(Vec::new(), "test", &[]).unwrap();
    for link in [1, 113] {
        let description = hopwire::capture::write::pcapng::InterfaceDescription::default();
        let interface = writer.add_interface(hopwire::model::LinkType(link), &description).unwrap();
        let record = hopwire::capture::write::pcapng::PacketRecord {
            at: hopwire::model::Timestamp::EPOCH,
            bytes: &packets[0].1,
            original: 54,
            comments: &[],
        };
        writer.write_packet(interface, &record).unwrap();
    }
    let mixed = writer.finish().unwrap();
    assert!(matches!(run(&mixed, &options(Format::Pcap)), Err(ConvertError::LinkTypes { first: 1, second: 113 })));
}

fn open_first_nanos(bytes: &[u8]) -> i64 {
    let mut batch = hopwire::capture::Batch::new();
    open(bytes).read_batch(&mut batch).unwrap();
    batch.packet(0).at.as_nanos()
}

#[test]
fn chosen_flows_and_exchanges_are_kept_whole() {
    let input = lab("boto3-http-sse-c.pcapng");
    let before = read(&input);
    let chosen = before.exchanges.iter().filter(|exchange| exchange.transport.is_clear()).nth(3).unwrap();
    let with = |choice| Options { choice, ..options(Format::Pcapng) };
    let of_flow: Vec<_> = before.exchanges.iter().filter(|exchange| exchange.id.flow == chosen.id.flow).cloned().collect();
    let (flow, _) = run(&input, &with(Choice { flows: vec![chosen.id.flow], exchanges: Vec::new() })).unwrap();
    assert_eq!(shown(&read(&flow).exchanges), shown(&of_flow));
    let (one, _) = run(&input, &with(Choice { flows: Vec::new(), exchanges: vec![chosen.id] })).unwrap();
    assert!(shown(&read(&one).exchanges).contains(&shown(std::slice::from_ref(chosen))[0]));
    assert!(read(&one).packets.len() < read(&flow).packets.len());
    let missing = run(&input, &with(Choice { flows: vec![FlowId(987_654)], exchanges: Vec::new() }));
    assert!(matches!(missing, Err(ConvertError::NotFound(what)) if what == "flow 987654"));
}

#[test]
fn payload_that_nobody_can_read_is_cut_on_request() {
    let input = lab("boto3-http-sse-c.pcapng");
    let (output, report) = run(&input, &Options { drop_undecrypted: true, ..scrubbing() }).unwrap();
    assert!(report.packets_cut > 10);
    assert!(!contains(&output, b"\x17\x03\x03"), "no record of application data is left");
    let clear: Vec<_> = read(&input).exchanges.into_iter().filter(|exchange| exchange.transport.is_clear()).collect();
    assert_eq!(shown(&read(&output).exchanges), shown(&clear));
}
