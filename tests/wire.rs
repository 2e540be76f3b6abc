//! What stands before, around or in place of HTTP/1 on a connection: PROXY headers, tunnels, HTTP/2, TLS that fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that meets the unexpected shall fail")]

mod support;

use hopwire::decode::Limits;
use hopwire::model::{Handshake, LossReason, Protocol, Side, TlsFailureKind};
use support::{Connection, Seen, decode};

const REQUEST: &[u8] = b"PUT /bucket/key HTTP/1.1\r\nHost: store\r\nContent-Length: 5\r\n\r\nhello";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What both sides send, in order.
type Talk<'a> = &'a [(Side, &'a [u8])];

fn seen(talk: Talk<'_>, segment_max: usize) -> Seen {
    let mut connection = Connection::open(40_000, 0, segment_max, 1_000_000, 2_000_000);
    for (side, bytes) in talk {
        match side {
            Side::Client => connection.client(bytes),
            Side::Server => connection.server(bytes),
        }
    }
    connection.close();
    decode(&connection.sent, Limits::default())
}

#[test]
fn a_proxy_header_in_one_segment_with_the_request_hides_nothing() {
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.9 4321 443\r\n".as_slice();
    let both = [header, REQUEST].concat();
    for segment_max in [1, 20, 1400] {
        let seen = seen(&[(Side::Client, &both), (Side::Server, OK)], segment_max);
        assert_eq!((seen.exchanges.len(), seen.exchanges[0].request.target()), (1, &b"/bucket/key"[..]));
        let proxied = seen.closed[0].proxied.as_deref().unwrap();
        assert_eq!((proxied.header.version, proxied.status, proxied.is_refused), (1, Some(200), false));
        assert_eq!(proxied.header.client.unwrap().to_string(), "192.0.2.7:4321");
        assert!(seen.closed[0].undecoded.is_empty(), "{:?}", seen.closed[0].undecoded);
    }
}

#[test]
fn a_server_that_answers_400_to_all_refuses_the_proxy_header() {
    let both = [b"PROXY UNKNOWN\r\n".as_slice(), REQUEST].concat();
    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".as_slice();
    let seen = seen(&[(Side::Client, &both), (Side::Server, refusal)], 1400);
    assert!(seen.closed[0].proxied.as_deref().unwrap().is_refused);
}

#[test]
fn what_passes_in_a_tunnel_is_a_connection_to_the_target_that_was_named() {
    let connect = b"CONNECT minio.example:9000 HTTP/1.1\r\nHost: minio.example:9000\r\n\r\n".as_slice();
    let agreed = b"HTTP/1.1 200 Connection established\r\n\r\n".as_slice();
    let talk = [(Side::Client, connect), (Side::Server, agreed), (Side::Client, REQUEST), (Side::Server, OK)];
    for segment_max in [1, 1400] {
        let seen = seen(&talk, segment_max);
        let shown: Vec<_> =
            seen.exchanges.iter().map(|one| (one.id.ordinal, one.status(), one.tunnel.as_deref().unwrap_or("-"))).collect();
        assert_eq!(shown, [(1, Some(200), "-"), (2, Some(200), "minio.example:9000")]);
        assert_eq!(seen.closed[0].tunnel.as_deref(), Some("minio.example:9000"));
    }
    let alert = [(Side::Client, connect), (Side::Server, agreed), (Side::Client, HELLO), (Side::Server, UNKNOWN_VERSION)];
    let seen = seen(&alert, 1400);
    let Protocol::Tls { handshake: Handshake::Failed(failure), .. } = &seen.closed[0].protocol else {
        panic!("{:?}", seen.closed)
    };
    assert_eq!((failure.kind, failure.from), (TlsFailureKind::Alert(70), Side::Server));
}

#[test]
fn plaintext_of_another_protocol_is_counted_by_what_it_is() {
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    let upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n".as_slice();
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n".as_slice();
    let cases: [(Talk<'_>, Option<LossReason>); 4] = [
        (&[(Side::Client, http2)], Some(LossReason::Http2)),
        (&[(Side::Client, b"\x01\x02\x03 no protocol that is known\n")], Some(LossReason::NotHttp)),
        (&[(Side::Client, get), (Side::Server, upgraded), (Side::Client, b"\x81\x05hello")], Some(LossReason::Tunnel)),
        (&[(Side::Client, b"SSH-2.0-OpenSSH_9.2\r\n"), (Side::Server, b"SSH-2.0-OpenSSH_9.2\r\n")], None),
    ];
    for (talk, expected) in cases {
        let seen = seen(talk, 1400);
        let reasons: Vec<_> = seen.closed[0].undecoded.iter().map(|one| one.reason).collect();
        assert_eq!(reasons, expected.into_iter().collect::<Vec<_>>(), "{talk:?}");
    }
}

/// A ClientHello of TLS 1.2 with one cipher suite.
const HELLO: &[u8] =
    b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x02\x00\x2f\x01\x00";
/// A fatal alert, protocol_version.
const UNKNOWN_VERSION: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";
