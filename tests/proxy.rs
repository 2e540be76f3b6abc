//! The proxy on loopback: what a server receives and a client reads is what the other side sent, and the recording shows it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

#[path = "proxy/support.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use hopwire::proxy::{Bounds, Settings};
use support::{Origin, Started, exchanges, read_all, start_with};

fn start(origin: &Origin) -> Started {
    start_with(origin, Settings::default())
}

/// Sends `request` through a proxy to an origin that answers with `response`; gives what either side received.
fn relay(request: &[u8], response: &[u8], ends_client_side: bool) -> (Vec<u8>, Vec<u8>) {
    let origin = Origin::answering(request.len(), response);
    let proxy = start(&origin);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(request).unwrap();
    if ends_client_side {
        client.shutdown(Shutdown::Write).unwrap();
    }
    let received = read_all(&mut client, response.len());
    drop(client);
    proxy.stop();
    (origin.received(), received)
}

#[test]
fn bytes_of_both_sides_arrive_as_they_were_sent() {
    let long = vec![b'x'; 300_000];
    let with_length = [b"PUT /b/k HTTP/1.1\r\nhOsT:  s \r\nContent-Length: 300000\r\n\r\n".as_slice(), &long].concat();
    let ok = b"HTTP/1.1 200 OK\r\nx-Odd-CASE:\t v\r\nContent-Length: 2\r\n\r\nok".as_slice();
    let until_close = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &long].concat();
    for (request, response) in [
        (with_length.as_slice(), ok),
        (b"GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n", until_close.as_slice()),
        (b"HEAD /b/k HTTP/1.1\r\nHost: s\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (
            b"PUT /b/k HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx-amz-trailer: 1\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (
            b"GET /1 HTTP/1.1\r\nHost: s\r\n\r\nGET /2 HTTP/1.1\r\nHost: s\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01\x02\r\n\r\n\xff",
        ),
    ] {
        for ends_client_side in [false, true] {
            let (at_server, at_client) = relay(request, response, ends_client_side);
            assert!(at_server == request, "{}", String::from_utf8_lossy(&at_server[..at_server.len().min(200)]));
            assert!(at_client == response, "{}", String::from_utf8_lossy(&at_client[..at_client.len().min(200)]));
        }
    }
}

#[test]
fn the_recording_has_the_exchange_on_both_legs() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-amz-request-id: 1\r\n\r\nok";
    let request = b"GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let origin = Origin::answering(request.len(), response);
    let proxy = start(&origin);
    let front = proxy.address().port();
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(request).unwrap();
    read_all(&mut client, response.len());
    drop(client);
    let exchanges = exchanges(&proxy.stop());
    let ports: Vec<_> = exchanges.iter().map(|exchange| exchange.endpoints.server.port).collect();
    assert_eq!(ports, [front, origin.address().port()]);
    for exchange in &exchanges {
        assert!(exchange.is_complete() && exchange.anomalies.is_empty(), "{:?}", exchange.anomalies);
        assert_eq!((exchange.request.target(), exchange.status()), (b"/b/k".as_slice(), Some(200)));
        assert_eq!(exchange.response().unwrap().body.length, 2);
    }
}

#[test]
fn an_ambiguous_request_is_answered_with_400_and_recorded_and_never_reaches_the_server() {
    let request = b"PUT /b/k HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let origin = Origin::answering(1, b"");
    let proxy = start(&origin);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(request).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Content-Length together with Transfer-Encoding"), "{answer}");
    let notices = proxy.notices();
    assert!(notices.iter().any(|notice| notice.contains("refused")), "{notices:?}");
    let exchanges = exchanges(&proxy.stop());
    assert_eq!(exchanges.iter().map(|exchange| exchange.status()).collect::<Vec<_>>(), [Some(400)]);
    assert!(origin.received().is_empty());
}

#[test]
fn an_ambiguous_request_is_forwarded_where_that_is_asked_for() {
    let request = b"PUT /b/k HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::answering(request.len(), response);
    let proxy = start_with(&origin, Settings { forwards_ambiguous: true, ..Settings::default() });
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(request).unwrap();
    assert_eq!(read_all(&mut client, response.len()), response);
    proxy.stop();
    assert_eq!(origin.received(), request);
}

#[test]
fn a_target_that_does_not_answer_is_502_with_the_reason() {
    let origin = Origin::answering(1, b"");
    let proxy = start(&origin);
    origin.close();
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: s\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("cannot connect"), "{answer}");
    proxy.stop();
}

#[test]
fn a_connection_of_one_client_serves_the_next() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let request = b"GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let origin = Origin::answering_each(request.len(), response);
    let proxy = start_with(&origin, Settings { threads: 1, ..Settings::default() });
    for _ in 0..3 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(request).unwrap();
        assert_eq!(read_all(&mut client, response.len()), response);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the proxy ends its side once the connection is kept");
    }
    assert_eq!(origin.connections(), 1);
    proxy.stop();
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced_without_the_client_noticing() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let request = b"GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    // Each connection serves one request, and is closed by the server where a second one comes.
    let origin = Origin::closing_at_the_second(request.len(), response);
    let proxy = start_with(&origin, Settings { threads: 1, ..Settings::default() });
    for _ in 0..3 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(request).unwrap();
        assert_eq!(read_all(&mut client, response.len()), response);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(origin.connections(), 3);
    proxy.stop();
}

#[test]
fn a_head_that_does_not_end_is_answered_with_408() {
    let origin = Origin::answering(1, b"");
    let bounds = Bounds { head: Duration::from_millis(200), ..Bounds::default() };
    let proxy = start_with(&origin, Settings { bounds, ..Settings::default() });
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: s\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    proxy.stop();
}

#[test]
fn a_reset_of_the_server_reaches_the_client_as_a_reset() {
    let request = b"GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
    let origin = Origin::resetting(request.len(), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npart");
    let proxy = start(&origin);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(request).unwrap();
    let mut received = Vec::new();
    let error = client.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let exchanges = exchanges(&proxy.stop());
    assert_eq!(exchanges.len(), 2, "both legs are recorded");
    assert!(exchanges.iter().all(|exchange| !exchange.is_complete()));
}
