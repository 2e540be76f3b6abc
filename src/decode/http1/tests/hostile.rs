//! Smuggling samples, bombs, and the seeds of other projects.

use std::path::{Path, PathBuf};

use crate::decode::http1::Config;
use crate::decode::http1::tests::{check, connection, drain, events, hashing, run, stamp};
use crate::model::{Close, Side};
use crate::require::{Need, skip};

#[test]
fn smuggled_requests_are_seen_as_a_strict_recipient_sees_them() {
    // CL.TE: the chunked reading ends early, what follows is a request of its own.
    check(
        r"
        > POST / HTTP/1.1
        > Host: a
        > Content-Length: 44
        > Transfer-Encoding: chunked
        >
        > 0
        >
        > GET /admin HTTP/1.1
        > Host: a
        >
        ",
        "1.1 POST / HTTP/1.1 3h chunked [1 @1-1] -> unanswered !content-length-with-transfer-encoding
         1.2 GET /admin HTTP/1.1 1h [1 @1-1] -> unanswered",
    );
    // TE.TE with one hidden coding.
    check(
        r"
        > POST / HTTP/1.1
        > Host: a
        > Content-Length: 4
        > Transfer-Encoding: chunked
        > Transfer-encoding: cow
        >
        > 5c
        ! fill > 92
        >
        > 0
        >
        ",
        "1.1 POST / HTTP/1.1 4h chunked has 92 [1,2,3 @1-3] -> unanswered !content-length-with-transfer-encoding !invalid-transfer-encoding",
    );
    // A response split by a wrong length: the second one answers nothing that was asked.
    check(
        r"
        > GET / HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 200 OK
        < Content-Length: 0
        <
        < HTTP/1.1 200 Forged
        < Content-Length: 0
        <
        ",
        "1.1 GET / HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h length 0 [2 @2-2]
         1.2 ?  HTTP/1.1 0h (cut) [ @0-?] -> HTTP/1.1 200 Forged 1h length 0 [2 @2-2] !response-without-request",
    );
}

#[test]
fn a_header_of_a_gibibyte_stays_bounded() {
    let mut connection = connection(&Config::default());
    connection.handle_data(Side::Client, stamp(1), b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let block = vec![b'a'; 1 << 20];
    for _ in 0..1024 {
        connection.handle_data(Side::Client, stamp(2), &block);
        let held = connection.client.gather.as_ref().map_or(0, |gather| gather.text.capacity());
        assert!(held <= 2 * Config::default().head_bytes_max as usize, "{held}");
    }
    connection.handle_data(Side::Client, stamp(3), b"\r\nContent-Length: 5\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut out = String::new();
    connection.handle_close(Side::Client, stamp(4), Close::Finished);
    connection.handle_close(Side::Server, stamp(4), Close::Unseen);
    drain(&mut connection, &mut out, false);
    assert_eq!(
        out,
        "1.1 GET / HTTP/1.1 2h -> closed by Client !head-too-long\n1.2 GET /2 HTTP/1.1 1h -> closed by Client\nlost 1073479731 head-beyond-limits at 1\n"
    );
}

#[test]
fn a_flood_of_interim_responses_and_of_chunk_extensions_stays_bounded() {
    let mut connection = connection(&Config::default());
    connection.handle_data(Side::Client, stamp(1), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..10_000 {
        connection.handle_data(Side::Server, stamp(2), b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    connection.handle_data(Side::Server, stamp(3), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    for _ in 0..10_000 {
        connection.handle_data(Side::Server, stamp(4), &[b'e'; 1000]);
        assert!(connection.server.gather.as_ref().is_none_or(|gather| gather.text.capacity() <= 8192));
    }
    connection.handle_data(Side::Server, stamp(5), b"\r\nx\r\n0\r\n\r\n");
    let exchange = connection.poll().unwrap();
    assert_eq!((exchange.interim.len(), exchange.response().unwrap().body.length), (Config::default().interim_max as usize, 1));
}

#[test]
fn the_seeds_of_other_projects_are_survived_and_cut_alike() {
    let names = ["seeds-llhttp", "seeds-libhtp", "seeds-http-garden", "seeds-http-desync-guardian", "seeds-zeek-fuzz"];
    for name in names {
        let root = Path::new("../shared/corpora").join(name);
        let files = files_below(&root);
        if files.is_empty() {
            return skip(Need::Shared, root.display());
        }
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            for size in [usize::MAX, 7, 1] {
                feed_both(&bytes, size);
            }
        }
    }
}

/// Feeds the octets as what each side sent: whole, in turns, and split where the fuzzers mark packets.
fn feed_both(bytes: &[u8], size: usize) {
    let mut all = connection(&hashing());
    let mut turns = connection(&Config::default());
    let mut out = String::new();
    for (at, part) in bytes.chunks(size.min(bytes.len().max(1))).enumerate() {
        let stamp = stamp(at as u64);
        all.handle_data(Side::Client, stamp, part);
        all.handle_data(Side::Server, stamp, part);
        turns.handle_data(if at % 2 == 0 { Side::Client } else { Side::Server }, stamp, part);
    }
    for connection in [&mut all, &mut turns] {
        for side in [Side::Client, Side::Server] {
            connection.handle_close(side, stamp(1 << 20), Close::Finished);
        }
        drain(connection, &mut out, true);
    }
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

#[test]
fn conversations_of_libhtp_give_their_requests() {
    let root = Path::new("../shared/corpora/seeds-libhtp/rust/htp/src/test/files");
    for (name, requests) in [("01-get.t", 1), ("03-post-urlencoded.t", 2), ("04-post-urlencoded-chunked.t", 1)] {
        let Ok(bytes) = std::fs::read(root.join(name)) else {
            return skip(Need::Shared, root.display());
        };
        let out = run(&libhtp(&bytes), &Config::default());
        let answered = out.lines().filter(|line| line.contains(" -> HTTP/1.")).count();
        assert_eq!(answered, requests, "{name}: {out}");
    }
}

/// Reads a libhtp test file: blocks after lines `>>>` and `<<<`.
fn libhtp(bytes: &[u8]) -> Vec<super::Event> {
    let mut all = events("");
    let mut side = Side::Client;
    let mut block = Vec::new();
    let mut end = |side, block: &mut Vec<u8>| {
        // The line end before a marker belongs to the marker.
        let data = block.strip_suffix(b"\r\n").or(block.strip_suffix(b"\n")).unwrap_or(block).to_vec();
        if !data.is_empty() {
            all.push(super::Event::Data(side, data));
        }
        block.clear();
    };
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.trim_ascii_end() {
            b">>>" | b"<<<" => {
                end(side, &mut block);
                side = if line.starts_with(b">") { Side::Client } else { Side::Server };
            }
            _ => block.extend_from_slice(line),
        }
    }
    end(side, &mut block);
    all
}

/// Requests of a file of http_desync_guardian: those that its authors call severe, by name.
fn guardian(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for case in text.split("\n- name: ").skip(1) {
        let (name, body) = case.split_once('\n').unwrap();
        if !body.contains("    tier: Severe") {
            continue;
        }
        let field = |key: &str| {
            let line = body.lines().find(|line| line.starts_with(&format!("  {key}: ")));
            line.map(|line| value_of(line.split_once(": ").unwrap().1))
        };
        let (Some(method), Some(uri), Some(version)) = (field("method"), field("uri"), field("version")) else { continue };
        let mut request = [&method[..], b" ", &uri, b" ", &version, b"\r\n"].concat();
        let headers = body.split("\n  expected:").next().unwrap();
        for part in headers.split("    - name: ").skip(1) {
            let name = value_of(part.lines().next().unwrap());
            let value = part.lines().find_map(|line| line.trim().strip_prefix("value: ")).map(value_of).unwrap_or_default();
            request.extend([&name[..], b": ", &value, b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        all.push((name.to_owned(), request));
    }
    all
}

/// A YAML scalar, plain or quoted.
fn value_of(text: &str) -> Vec<u8> {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => super::unescape(text),
        None => text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text).as_bytes().to_vec(),
    }
}

#[test]
fn what_http_desync_guardian_calls_severe_is_named() {
    let files = files_below(Path::new("../shared/corpora/seeds-http-desync-guardian"));
    if files.is_empty() {
        return skip(Need::Shared, "the seeds of http_desync_guardian");
    }
    let texts = files.iter().filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    let cases: Vec<_> = texts.flat_map(|file| guardian(&std::fs::read_to_string(file).unwrap())).collect();
    assert!(cases.len() > 40, "{} cases read", cases.len());
    let mut quiet = Vec::new();
    for (name, request) in cases {
        let out = run(&[super::Event::Data(Side::Client, request)], &Config::default());
        // Its vectors mostly lack a Host; that alone does not count.
        if !out.replace("!invalid-host", "").contains('!') && !out.contains("lost ") {
            quiet.push((name, out));
        }
    }
    assert!(quiet.is_empty(), "{quiet:#?}");
}
