//! Bodies beside a session: what `convert --bodies` writes is what was sent, so that every request can be sent again as it was.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says what it skips"
)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use hopwire::blobs::Blobs;
use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use hopwire::decode::Limits;
use hopwire::decode::segment::{Dissected, Segment, dissect};
use hopwire::decode::tls::{self, KeyLog, Plain, Secrets, Sessions, Sink};
use hopwire::model::{Endpoint, Framing, Request, Side, Stamp};
use hopwire::session::jsonl::{Reader, Record};
use hopwire::session::wire;
use support::Connection;
use support::require::{Need, skip};

fn convert(folder: &Path, arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("hopwire").unwrap().current_dir(folder).arg("convert").args(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The requests of a session with their bodies, as bytes, by connection and its number.
type Rebuilt = BTreeMap<(String, String), BTreeMap<u64, Vec<u8>>>;

fn rebuild(session: &Path) -> (Rebuilt, usize, usize) {
    let blobs = Blobs::beside(session);
    let mut reader = Reader::new(BufReader::new(File::open(session).unwrap()));
    let (mut all, mut requests, mut with_body) = (Rebuilt::new(), 0, 0);
    while let Some(record) = reader.read().unwrap() {
        let Record::Exchange(recorded) = record else { continue };
        let exchange = recorded.exchange;
        let ends = (exchange.endpoints.client.to_string(), exchange.endpoints.server.to_string());
        let sent = all.entry(ends).or_default().entry(exchange.id.flow.0).or_default();
        requests += 1;
        with_body += usize::from(exchange.request.body.length > 0);
        write_request(&exchange.request, &blobs, sent);
    }
    (all, requests, with_body)
}

fn write_request(request: &Request, blobs: &Blobs, out: &mut Vec<u8>) {
    out.extend(wire::request_head(request).unwrap());
    if request.body.length > 0 {
        let mut content = blobs.open(&request.body).unwrap().expect("the body is stored");
        assert!(wire::has_framing(&request.body));
        wire::write_body(&request.body, &mut content, out).unwrap();
    } else {
        wire::write_body(&request.body, &mut &b""[..], out).unwrap();
    }
}

/// A connection put together by another hand than the program's: bytes in order of sequence numbers, as they become known.
#[derive(Default)]
struct Seen {
    next: [Option<u32>; 2],
    held: [Vec<(u32, Vec<u8>)>; 2],
    pieces: Vec<(Side, Vec<u8>)>,
}

impl Seen {
    fn add(&mut self, side: Side, segment: &Segment, payload: &[u8]) {
        let at = usize::from(side == Side::Server);
        if segment.flags.syn() {
            self.next[at].get_or_insert(segment.seq.wrapping_add(1));
            return;
        }
        if payload.is_empty() {
            return;
        }
        self.held[at].push((segment.seq, payload.to_vec()));
        while let Some(next) = self.next[at] {
            let ahead = |seq: u32| seq.wrapping_sub(next).cast_signed();
            let is_next = |(seq, bytes): &(u32, Vec<u8>)| ahead(*seq) <= 0 && -ahead(*seq) < bytes.len() as i32;
            let Some(index) = self.held[at].iter().position(is_next) else { break };
            let (seq, bytes) = self.held[at].remove(index);
            let fresh = bytes[usize::try_from(-ahead(seq)).unwrap()..].to_vec();
            self.next[at] = Some(next.wrapping_add(fresh.len() as u32));
            self.pieces.push((side, fresh));
        }
    }

    fn of(&self, side: Side) -> Vec<u8> {
        self.pieces.iter().filter(|(from, _)| *from == side).flat_map(|(_, bytes)| bytes).copied().collect()
    }

    /// What the client sent inside TLS.
    fn decrypted(&self, keylog: &KeyLog) -> Vec<u8> {
        struct Client(Vec<u8>);
        impl Sink for Client {
            fn plain(&mut self, plain: Plain<'_>) {
                if let Plain::Data { from: Side::Client, bytes, .. } = plain {
                    self.0.extend_from_slice(bytes);
                }
            }
            fn skippable(&self, _: Side) -> u64 {
                0
            }
        }
        let (mut sessions, mut buffer, mut client) = (Sessions::new(), Vec::new(), Client(Vec::new()));
        let mut connection = tls::Connection::new(&Limits::default());
        for (from, bytes) in &self.pieces {
            let mut secrets = Secrets { keylog, sessions: &mut sessions, buffer: &mut buffer };
            connection.handle_data(*from, Stamp::default(), bytes, &mut secrets, &mut client);
        }
        client.0
    }
}

/// What the client of each connection sent, inside TLS where there is any; in order of the connections' first packets.
fn sent_by_clients(capture: &Path) -> HashMap<(String, String), Vec<Vec<u8>>> {
    let input = Input { name: "capture".to_owned(), stream: Box::new(File::open(capture).unwrap()), positioned: None };
    let (mut source, mut batch) = (SavedCapture::open(vec![input]).unwrap(), Batch::new());
    let (mut keylog, mut all) = (KeyLog::new(), Vec::<((Endpoint, Endpoint), Seen)>::new());
    while source.read_batch(&mut batch).unwrap() {
        batch.secrets().iter().for_each(|secret| _ = keylog.add(secret));
        for packet in batch.packets() {
            let Dissected::Segment(segment) = dissect(&packet, 8) else { continue };
            let (from, to) = (segment.source, segment.destination);
            if segment.flags.syn() && segment.ack.is_none() {
                let is_again = |(ends, seen): &((Endpoint, Endpoint), Seen)| {
                    *ends == (from, to) && seen.next[0] == Some(segment.seq.wrapping_add(1))
                };
                if !all.iter().any(is_again) {
                    all.push(((from, to), Seen::default()));
                }
            }
            let Some((ends, seen)) = all.iter_mut().rfind(|(ends, _)| *ends == (from, to) || *ends == (to, from)) else {
                continue;
            };
            let side = if *ends == (from, to) { Side::Client } else { Side::Server };
            seen.add(side, &segment, segment.payload(packet.bytes));
        }
    }
    let mut sent: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
    for ((client, server), seen) in all {
        let bytes = seen.of(Side::Client);
        let bytes = if bytes.first() == Some(&0x16) { seen.decrypted(&keylog) } else { bytes };
        sent.entry((client.to_string(), server.to_string())).or_default().push(bytes);
    }
    sent
}

fn captures() -> Vec<PathBuf> {
    let folders = ["captures", "../shared/captures"].map(Path::new);
    if !folders[1].exists() {
        skip(Need::Shared, "../shared/captures");
    }
    let files = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|suffix| suffix == "pcapng")).collect()
}

#[test]
fn every_request_of_the_lab_runs_is_rebuilt_from_session_and_blobs() {
    let (mut requests, mut with_body, mut inside_tls) = (0, 0, 0);
    for capture in captures() {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(&capture).unwrap();
        succeeds(&convert(folder.path(), &[path.to_str().unwrap(), "run.jsonl", "--bodies", "--show-secrets", "-q"]));
        let (rebuilt, count, bodies) = rebuild(&folder.path().join("run.jsonl"));
        requests += count;
        with_body += bodies;
        let sent = sent_by_clients(&path);
        for (ends, flows) in rebuilt {
            let sent: Vec<_> = sent[&ends].iter().filter(|bytes| !bytes.is_empty()).collect();
            assert_eq!(sent.len(), flows.len(), "{}: connections of {ends:?}", capture.display());
            for (seen, (flow, rebuilt)) in sent.into_iter().zip(flows) {
                let differs = seen.iter().zip(&rebuilt).position(|(one, other)| one != other);
                let around = |bytes: &[u8]| {
                    let at = differs.unwrap_or(seen.len().min(rebuilt.len()));
                    bytes[at.saturating_sub(60)..bytes.len().min(at + 60)].escape_ascii().to_string()
                };
                assert!(*seen == rebuilt, "{} flow {flow}: {}\nis not\n{}", capture.display(), around(&rebuilt), around(seen));
            }
        }
        inside_tls += usize::from(capture.to_string_lossy().contains("https"));
    }
    eprintln!("{requests} requests, {with_body} with a body, {inside_tls} runs inside TLS");
    assert!(requests > 100 && with_body > 50 && inside_tls > 1, "{requests} {with_body} {inside_tls}");
}

/// One connection with an upload in chunks, one with an object, and an answer with a secret in it.
fn folder_with_capture() -> tempfile::TempDir {
    let mut connection = Connection::open(40_000, 1_000_000_000, 1000, 5, 9);
    connection.client(b"PUT /b/chunked HTTP/1.1\r\nHost: s3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n1;x=y\r\ng\r\n0\r\nx-amz-checksum-crc32: AAAA\r\n\r\n");
    connection.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let object = vec![b'o'; 300_000];
    connection.client(b"GET /b/object HTTP/1.1\r\nHost: s3\r\n\r\n");
    connection.server(&[b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", object.as_slice()].concat());
    connection.client(&[b"PUT /b/copy HTTP/1.1\r\nHost: s3\r\nContent-Length: 300000\r\n\r\n", object.as_slice()].concat());
    connection.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let credentials = "<AssumeRoleResult><Credentials><SecretAccessKey>wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY</SecretAccessKey></Credentials></AssumeRoleResult>";
    let form = "Action=AssumeRole&Version=2011-06-15";
    connection.client(
        format!(
            "POST / HTTP/1.1\r\nHost: s3\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )
        .as_bytes(),
    );
    connection.server(
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{credentials}", credentials.len())
            .as_bytes(),
    );
    connection.close();
    let folder = tempfile::tempdir().unwrap();
    let packets: Vec<_> = connection.sent.into_iter().map(|sent| (sent.at_nanos, sent.bytes)).collect();
    fs::write(folder.path().join("in.pcap"), pcap(&packets)).unwrap();
    folder
}

fn pcap(packets: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.extend(word.to_le_bytes());
    }
    for (at, bytes) in packets {
        for word in [at / 1_000_000_000, at % 1_000_000_000, bytes.len() as i64, bytes.len() as i64] {
            file.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        file.extend_from_slice(bytes);
    }
    file
}

fn exchanges(session: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(session).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["type"] == "exchange").collect()
}

#[test]
fn blobs_are_private_named_by_their_content_and_written_once() {
    let folder = folder_with_capture();
    succeeds(&convert(folder.path(), &["in.pcap", "run.jsonl", "--bodies"]));
    let blobs = folder.path().join("run.blobs");
    assert_eq!(fs::metadata(&blobs).unwrap().permissions().mode() & 0o777, 0o700);
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&blobs).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let content = fs::read(entry.path()).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, &content);
        let name: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry.file_name().to_str().unwrap(), name);
        sizes.push(content.len());
    }
    sizes.sort_unstable();
    // The object is there once though it was read and written, and the answer with the secret is not there.
    assert_eq!(sizes, [7, 36, 300_000]);
    let lines = exchanges(&folder.path().join("run.jsonl"));
    assert_eq!(lines[0]["request"]["body"]["chunks"], serde_json::json!([[3, 2], [1, 1, "1;x=y"], [0, 1]]));
    assert_eq!(lines[1]["response"]["body"]["blob"], true);
    assert_eq!(lines[1]["response"]["body"]["sha256"], lines[2]["request"]["body"]["sha256"]);
    let answer = &lines[3]["response"]["body"];
    assert_eq!((answer.get("blob"), &answer["sha256"]), (None, &serde_json::Value::Null));
    assert!(!fs::read_to_string(folder.path().join("run.jsonl")).unwrap().contains("wJalrXUtnFEMI"));
}

#[test]
fn a_session_with_secrets_has_the_bodies_that_hold_them() {
    let folder = folder_with_capture();
    succeeds(&convert(folder.path(), &["in.pcap", "run.jsonl", "--bodies", "--show-secrets"]));
    assert_eq!(exchanges(&folder.path().join("run.jsonl"))[3]["response"]["body"]["blob"], true);
    assert_eq!(fs::read_dir(folder.path().join("run.blobs")).unwrap().count(), 4);
}

#[test]
fn of_chosen_exchanges_only_their_bodies_are_written() {
    let folder = folder_with_capture();
    succeeds(&convert(folder.path(), &["in.pcap", "run.jsonl", "--bodies", "--exchange", "1.1"]));
    let names: Vec<_> = fs::read_dir(folder.path().join("run.blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(fs::read(&names[0]).unwrap(), b"abcdefg");
}

#[test]
fn a_folder_of_bodies_is_never_overwritten_unasked_and_none_is_left_half_written() {
    let folder = folder_with_capture();
    fs::create_dir(folder.path().join("run.blobs")).unwrap();
    let output = convert(folder.path(), &["in.pcap", "run.jsonl", "--bodies"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run.blobs exists"));
    let output = convert(folder.path(), &["in.pcap", "-", "--format", "jsonl", "--bodies"]);
    assert_eq!(output.status.code(), Some(2));
    let output = convert(folder.path(), &["in.pcap", "other.pcapng", "--bodies"]);
    assert_eq!(output.status.code(), Some(2));
    succeeds(&convert(folder.path(), &["in.pcap", "run.jsonl", "--bodies", "--force"]));
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["in.pcap", "run.blobs", "run.jsonl"]);
}

#[test]
fn bodies_with_a_hole_are_not_stored() {
    let mut connection = Connection::open(40_000, 1_000_000_000, 1000, 5, 9);
    connection.client(&[b"PUT /b/k HTTP/1.1\r\nHost: s3\r\nContent-Length: 90000\r\n\r\n".as_slice(), &[b'x'; 90_000]].concat());
    connection.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    connection.close();
    let lost = connection.sent.iter().enumerate().filter(|(_, sent)| sent.payload == 1000).nth(50).unwrap().0;
    let mut packets: Vec<_> = connection.sent.into_iter().map(|sent| (sent.at_nanos, sent.bytes)).collect();
    packets.remove(lost);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.pcap"), pcap(&packets)).unwrap();
    succeeds(&convert(folder.path(), &["in.pcap", "run.jsonl", "--bodies"]));
    let body = &exchanges(&folder.path().join("run.jsonl"))[0]["request"]["body"];
    assert_eq!((body.get("blob"), &body["sha256"]), (None, &serde_json::Value::Null));
    assert!(body["missing"].as_u64().unwrap() > 0);
    assert_eq!(fs::read_dir(folder.path().join("run.blobs")).unwrap().count(), 0);
    assert_eq!(Framing::Length(90_000), Framing::Length(body["declared"].as_u64().unwrap()));
}
