//! A proxy that clients name as theirs, and one that changes traffic on purpose.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

#[path = "proxy/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hopwire::proxy::{AllowedTarget, Experiment, Route, Settings};
use support::{Origin, Started, exchanges, read_all, start_routes, start_with};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-key: secret\r\n\r\nok";

fn forward(allowed: &[String]) -> Started {
    let allowed: Vec<_> = allowed.iter().map(|text| AllowedTarget::parse(text).unwrap()).collect();
    let route = Route::parse_forward("proxy=http://:0").unwrap().allowing(&allowed);
    start_routes(Settings { routes: vec![route], ..Settings::default() })
}

fn ask(socket: &mut TcpStream, request: &str, bytes: usize) -> String {
    socket.write_all(request.as_bytes()).unwrap();
    String::from_utf8(read_all(socket, bytes)).unwrap()
}

#[test]
fn absolute_targets_go_where_they_say_on_one_connection_too() {
    let request = |origin: &Origin, path: &str| format!("GET http://{}{path} HTTP/1.1\r\nHost: s\r\n\r\n", origin.address());
    let length = request(&Origin::answering(1, b""), "/1").len();
    let origins = [Origin::answering_each(length, OK), Origin::answering_each(length, OK)];
    let proxy = forward(&origins.each_ref().map(|origin| origin.address().to_string()));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    for (origin, path) in [(&origins[0], "/1"), (&origins[1], "/2"), (&origins[1], "/3"), (&origins[0], "/4")] {
        let text = request(origin, path);
        if text.len() != length {
            return; // A port of other length was given.
        }
        assert_eq!(ask(&mut client, &text, OK.len()).as_bytes(), OK, "{path}");
    }
    drop(client);
    proxy.stop();
    assert_eq!(origins[0].received(), format!("{}{}", request(&origins[0], "/1"), request(&origins[0], "/4")).as_bytes());
    assert_eq!(origins[1].received(), format!("{}{}", request(&origins[1], "/2"), request(&origins[1], "/3")).as_bytes());
}

#[test]
fn a_tunnel_leads_to_the_target_and_nothing_of_connect_does() {
    let request = "GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let origin = Origin::answering(request.len(), OK);
    let proxy = forward(&[origin.address().to_string()]);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let agreed = "HTTP/1.1 200 Connection established\r\n\r\n";
    let connect = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address());
    assert_eq!(ask(&mut client, &connect, agreed.len()), agreed);
    assert_eq!(ask(&mut client, request, OK.len()).as_bytes(), OK);
    drop(client);
    proxy.stop();
    assert_eq!(origin.received(), request.as_bytes());
}

#[test]
fn targets_that_are_not_allowed_are_not_connected_to() {
    let origin = Origin::answering(1, b"");
    let elsewhere = forward(&["store.example.org:9000".to_owned()]);
    let anywhere = forward(&[]);
    for (proxy, code) in [(elsewhere, "TargetNotAllowed"), (anywhere, "UpstreamUnreachable")] {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        let mut answer = String::new();
        client.write_all(format!("GET http://{}/ HTTP/1.1\r\nHost: s\r\n\r\n", origin.address()).as_bytes()).unwrap();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(code), "{answer}");
        proxy.stop();
    }
    assert_eq!(origin.connections(), 0, "addresses of this machine are not for clients to choose");
}

fn experiment(experiment: Experiment, request: &str) -> (Origin, Started) {
    let origin = Origin::answering_each(request.len(), OK);
    let proxy = start_with(&origin, Settings { experiments: vec![Arc::new(experiment)], threads: 1, ..Settings::default() });
    (origin, proxy)
}

#[test]
fn a_dropped_header_is_missing_at_the_client_alone() {
    let head = "HEAD /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let (_origin, proxy) = experiment(Experiment::parse_dropped_header("X-Key,operation=GetObject").unwrap(), head);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let get = "GET /b/k HTTP/1.1\r\nHost:  s\r\n\r\n";
    assert_eq!(get.len(), head.len());
    let dropped = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(ask(&mut client, get, dropped.len()), dropped);
    let exchanges = exchanges_of(client, proxy);
    let has = exchanges.iter().map(|exchange| exchange.response().unwrap().headers.find("x-key").is_some());
    assert_eq!(has.collect::<Vec<_>>(), [false, true], "the server's side is recorded as it was");
}

fn exchanges_of(client: TcpStream, proxy: Started) -> Vec<hopwire::model::Exchange> {
    drop(client);
    exchanges(&proxy.stop())
}

#[test]
fn a_fault_answers_in_place_of_the_server_so_often_as_it_says() {
    let request = "GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let (origin, proxy) = experiment(Experiment::parse_fault("operation=GetObject,status=503,times=2").unwrap(), request);
    for expected in ["HTTP/1.1 503 ", "HTTP/1.1 503 ", "HTTP/1.1 200 "] {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        let answer = ask(&mut client, request, OK.len());
        assert!(answer.starts_with(expected), "{answer}");
    }
    assert!(proxy.notices().iter().any(|notice| notice.contains("experiment took effect")));
    proxy.stop();
    assert_eq!(origin.received(), request.as_bytes(), "only the last one reached the server");
}

#[test]
fn a_response_is_cut_off_where_that_is_asked_for() {
    let request = "GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let (_origin, proxy) = experiment(Experiment::parse_fault("reset=40").unwrap(), request);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    let ended = client.read_to_end(&mut received);
    assert_eq!((ended.unwrap_err().kind(), received.len() <= 40), (std::io::ErrorKind::ConnectionReset, true));
    proxy.stop();
}

#[test]
fn a_delayed_response_comes_later_and_whole() {
    let request = "GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let (_origin, proxy) = experiment(Experiment::parse_fault("delay=300ms").unwrap(), request);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let begun = Instant::now();
    assert_eq!(ask(&mut client, request, OK.len()).as_bytes(), OK);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    proxy.stop();
}
