//! What an observer sees while messages flow, and what it has kept of their bodies.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use crate::decode::http1::tests::{connection, drain, events, stamp};
use crate::decode::http1::{Config, Connection, MessageHead, Observer, Retain, SideState};
use crate::model::{Body, Close, Side, Untrusted};

/// Writes down what it sees.
#[derive(Clone, Default)]
struct Notebook(Arc<Mutex<String>>);

impl Notebook {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Notebook {
    fn head(&mut self, head: &MessageHead<'_>) -> Retain {
        let mut text = self.0.lock().unwrap();
        match head {
            MessageHead::Request(request) => {
                write!(text, "{} {};", Untrusted(request.method()), Untrusted(request.target())).unwrap();
            }
            MessageHead::Response { request, response } => {
                write!(text, "{} to {};", response.status, Untrusted(request.target())).unwrap();
            }
        }
        match head.headers().find("keep") {
            Some(b"nothing") => Retain::Skip,
            Some(b"hash") => Retain::Hash,
            Some(b"two") => Retain::Prefix(2),
            _ => Retain::All,
        }
    }

    fn interim(&mut self, status: u16) {
        write!(self.0.lock().unwrap(), "interim {status};").unwrap();
    }

    fn content(&mut self, _: Side, content: &[u8]) {
        write!(self.0.lock().unwrap(), "'{}'", Untrusted(content)).unwrap();
    }

    fn missing(&mut self, _: Side, length: u64) {
        write!(self.0.lock().unwrap(), "missing {length};").unwrap();
    }

    fn end(&mut self, from: Side, body: &mut Body) {
        let state = if body.complete { "whole" } else { "cut" };
        let hash = body.sha256.as_deref().map_or_else(String::new, |hash| format!(" {:02x}{:02x}", hash[0], hash[1]));
        writeln!(self.0.lock().unwrap(), "{from:?} {state} {} kept '{}'{hash}", body.length, Untrusted(&body.kept)).unwrap();
    }
}

fn watched() -> (Connection, Notebook) {
    let notebook = Notebook::default();
    (connection(&Config::default()).observed(Box::new(notebook.clone())), notebook)
}

#[track_caller]
fn check(transcript: &str, expected: &str) {
    let (mut connection, notebook) = watched();
    for (at, event) in events(transcript).iter().enumerate() {
        event.feed(&mut connection, stamp(at as u64 + 1));
    }
    for side in [Side::Client, Side::Server] {
        connection.handle_close(side, stamp(99), Close::Unseen);
    }
    let want: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let got = notebook.take();
    assert_eq!(got.lines().collect::<Vec<_>>(), want);
}

#[test]
fn the_choice_is_made_from_the_head() {
    check(
        r"
        > PUT /all HTTP/1.1
        > Host: a
        > Content-Length: 3
        >
        > abc\
        > PUT /hash HTTP/1.1
        > Host: a
        > Keep: hash
        > Content-Length: 3
        >
        > abc\
        > PUT /two HTTP/1.1
        > Host: a
        > Keep: two
        > Content-Length: 3
        >
        > abc\
        > PUT /nothing HTTP/1.1
        > Host: a
        > Keep: nothing
        > Content-Type: text/plain
        > Content-Length: 3
        >
        > abc\
        < HTTP/1.1 100 Continue
        <
        < HTTP/1.1 204 Done
        <
        ",
        "PUT /all;'abc'Client whole 3 kept '' ba78
         PUT /hash;Client whole 3 kept '' ba78
         PUT /two;Client whole 3 kept 'ab'
         PUT /nothing;Client whole 3 kept ''
         interim 100;204 to /all;Server whole 0 kept ''",
    );
}

#[test]
fn content_comes_without_chunk_framing_and_readable_bodies_are_kept_beside_it() {
    check(
        r"
        > GET /k HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 404 Not Found
        < Transfer-Encoding: chunked
        <
        < 3
        < abc
        ! fill < 0
        < 2;x=y
        < de
        < 0
        < Trailer: x
        <
        ",
        "GET /k;Client whole 0 kept ''
         404 to /k;'abc''de'Server whole 5 kept 'abcde' 36bb",
    );
}

#[test]
fn what_is_missing_is_reported_and_such_a_body_has_no_hash() {
    check(
        r"
        > PUT /k HTTP/1.1
        > Host: a
        > Content-Length: 9
        >
        > abc\
        ! gap > 4
        > hi\
        < HTTP/1.1 200 OK
        < Content-Length: 5
        <
        < ab\
        ! close <
        ",
        "PUT /k;'abc'missing 4;Client whole 9 kept ''
         200 to /k;'ab'Server cut 2 kept ''",
    );
}

#[test]
fn a_response_that_is_given_up_is_ended_before_the_next_one() {
    let config = Config { pipelined_max: 1, ..Config::default() };
    let notebook = Notebook::default();
    let mut connection = connection(&config).observed(Box::new(notebook.clone()));
    connection.handle_data(Side::Client, stamp(1), b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.handle_data(Side::Server, stamp(2), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
    connection.handle_data(Side::Client, stamp(3), b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.handle_data(Side::Server, stamp(4), b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    let seen = notebook.take();
    assert!(seen.contains("200 to /1;'ab'Server cut 2 kept ''\nGET /2;"), "{seen}");
    assert!(seen.contains("200 to /2;'x'Server whole 1"), "{seen}");
}

#[test]
fn a_side_is_reused_only_between_messages_that_allow_it() {
    let mut plain = connection(&Config::default());
    assert_eq!((plain.state(Side::Client), plain.is_reusable()), (SideState::Idle, true));
    plain.handle_data(Side::Client, stamp(1), b"PUT /k HTTP/1.1\r\nHo");
    assert_eq!(plain.state(Side::Client), SideState::Head);
    plain.handle_data(Side::Client, stamp(1), b"st: a\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\na");
    assert_eq!(plain.state(Side::Client), SideState::Body { left: Some(2) });
    plain.handle_data(Side::Client, stamp(1), b"bc");
    assert_eq!((plain.state(Side::Client), plain.in_progress(), plain.is_reusable()), (SideState::Idle, 1, false));
    plain.handle_data(Side::Server, stamp(2), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(plain.state(Side::Server), SideState::Body { left: None });
    plain.handle_data(Side::Server, stamp(2), b"3\r\nabc\r\n0\r\n\r\n");
    assert_eq!((plain.state(Side::Server), plain.in_progress(), plain.is_reusable()), (SideState::Idle, 0, true));

    for (request, response, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 No\r\nConnection: foo, Close\r\n\r\n", SideState::MustClose),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 204 No\r\n\r\n", SideState::MustClose),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.0 204 No\r\nConnection: keep-alive\r\n\r\n", SideState::Idle),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nabc", SideState::Body { left: None }),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", SideState::Tunnel),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "nonsense that is no response\r\n\r\nSSH", SideState::Lost),
    ] {
        let mut connection = connection(&Config::default());
        connection.handle_data(Side::Client, stamp(1), b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.handle_data(Side::Server, stamp(1), b"HTTP/1.1 204 No\r\n\r\n");
        connection.handle_data(Side::Client, stamp(2), request.as_bytes());
        connection.handle_data(Side::Server, stamp(3), response.as_bytes());
        assert_eq!(connection.state(Side::Server), expected, "{response}");
        let is_reusable = expected == SideState::Idle && request.contains("1.1");
        assert_eq!(connection.is_reusable(), is_reusable, "{response}");
    }
    plain.handle_close(Side::Server, stamp(9), Close::Finished);
    assert_eq!((plain.state(Side::Server), plain.is_reusable()), (SideState::Closed, false));
}

/// Reads a socket to its end as a proxy does: the connection is given the bytes before they are forwarded.
fn pump(from: Side, mut source: TcpStream, mut sink: TcpStream, connection: &Mutex<Connection>, at: &Mutex<u64>) {
    let mut buffer = [0; 1000];
    loop {
        let length = source.read(&mut buffer).unwrap();
        let mut time = at.lock().unwrap();
        *time += 1;
        let mut connection = connection.lock().unwrap();
        if length == 0 {
            connection.handle_close(from, stamp(*time), Close::Finished);
            sink.shutdown(std::net::Shutdown::Write).unwrap();
            return;
        }
        connection.handle_data(from, stamp(*time), &buffer[..length]);
        sink.write_all(&buffer[..length]).unwrap();
    }
}

#[test]
fn a_connection_between_two_sockets_reports_heads_while_bodies_flow() {
    let [listener, store] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let (proxy, upstream) = (listener.local_addr().unwrap(), store.local_addr().unwrap());
    let (connection, notebook) = watched();
    let (connection, time) = (Mutex::new(connection), Mutex::new(0));
    thread::scope(|scope| {
        let (connection, time) = (&connection, &time);
        scope.spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(upstream).unwrap();
            let (to_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            scope.spawn(move || pump(Side::Client, client, to_server, connection, time));
            pump(Side::Server, server, to_client, connection, time);
        });
        scope.spawn(move || {
            let (mut socket, _) = store.accept().unwrap();
            let mut request = vec![0; b"PUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef".len()];
            socket.read_exact(&mut request).unwrap();
            assert!(request.ends_with(b"abcdef"));
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        });
        let mut client = TcpStream::connect(proxy).unwrap();
        client.write_all(b"PUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").unwrap();
        let mut seen = String::new();
        // The head and the first half of the body are reported although the rest was not sent yet.
        while !seen.ends_with("'abc'") {
            thread::sleep(Duration::from_millis(1));
            seen.push_str(&notebook.take());
        }
        assert_eq!(seen, "PUT /k;'abc'");
        assert_eq!(connection.lock().unwrap().state(Side::Client), SideState::Body { left: Some(3) });
        client.write_all(b"def").unwrap();
        let mut response = vec![0; b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".len()];
        client.read_exact(&mut response).unwrap();
        assert!(response.ends_with(b"ok"));
    });
    let mut connection = connection.into_inner().unwrap();
    let seen = notebook.take();
    assert!(seen.starts_with("'def'Client whole 6 kept '' bef5\n200 to /k;"), "{seen}");
    let mut out = String::new();
    drain(&mut connection, &mut out, false);
    assert_eq!(out, "1.1 PUT /k HTTP/1.1 2h length 6 has 6 sha bef5 -> HTTP/1.1 200 OK 1h length 2 has 2 sha 2689\n");
}

proptest! {
    /// However the input is cut, the observer is given the content of each body, and one end for each head.
    #[test]
    fn content_pieces_make_up_the_body(
        chunks in prop::collection::vec("[a-z]{1,9}", 0..6),
        sizes in prop::collection::vec(1usize..30, 1..50),
    ) {
        #[derive(Clone, Default)]
        struct Sum(Arc<Mutex<(Vec<u8>, usize, usize)>>);
        impl Observer for Sum {
            fn head(&mut self, _: &MessageHead<'_>) -> Retain {
                self.0.lock().unwrap().1 += 1;
                Retain::All
            }
            fn content(&mut self, _: Side, content: &[u8]) {
                self.0.lock().unwrap().0.extend_from_slice(content);
            }
            fn end(&mut self, _: Side, body: &mut Body) {
                let mut sum = self.0.lock().unwrap();
                sum.2 += 1;
                let hash = ring::digest::digest(&ring::digest::SHA256, &sum.0);
                assert_eq!(body.sha256.as_deref().map(<[u8; 32]>::as_slice), Some(hash.as_ref()));
            }
        }
        let framed: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
        let text = format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{framed}0\r\n\r\n");
        let sum = Sum::default();
        let mut connection = connection(&Config::default()).observed(Box::new(sum.clone()));
        let mut rest = text.as_bytes();
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            connection.handle_data(Side::Client, stamp(1), now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let (content, heads, ends) = sum.0.lock().unwrap().clone();
        prop_assert_eq!(String::from_utf8(content).unwrap(), chunks.concat());
        prop_assert_eq!((heads, ends), (1, 1));
    }
}
