//! What odd, old and hostile TCP does to the exchanges: nothing is invented, what differs is named, and what is missing is told.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use hopwire::decode::{Decoder, Limits};
use hopwire::model::{
    Anomaly, Close, Event, Exchange, Frame, Handshake, LinkType, LossReason, Outcome, Packet, Protocol, Side, Tail, Timestamp,
    TlsFailureKind,
};
use support::{ACK, Connection, FIN, RST, SYN, Seen, Sent, decode, frame};

const URG: u8 = 32;
const GET: &[u8] = b"GET /b/key HTTP/1.1\r\nHost: s\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn open() -> Connection {
    Connection::open(40_000, 0, 1448, 1000, 9000)
}

fn back(octets: usize) -> u32 {
    0u32.wrapping_sub(octets as u32)
}

fn seen(talk: &Connection) -> Seen {
    decode(&talk.sent, Limits::default())
}

fn only(seen: &Seen) -> &Exchange {
    assert_eq!(seen.exchanges.len(), 1, "{:?}", support::render(&seen.exchanges));
    &seen.exchanges[0]
}

#[test]
fn different_bytes_for_the_same_place_are_named_and_the_first_are_used() {
    for (again, offset) in [
        (b"GET /b/evi HTTP/1.1\r\nHost: s\r\n\r\n".as_slice(), 0),
        (b"X", 5),
        (b"kEy", 7),
        (b"\r\n\r\nPOST /more HTTP/1.1\r\n", GET.len() - 4),
    ] {
        let mut talk = open();
        talk.client(GET);
        talk.packet(true, ACK, again, back(GET.len() - offset));
        let beyond = again.len().saturating_sub(GET.len() - offset);
        let is_same = GET[offset..].starts_with(&again[..again.len() - beyond]);
        if beyond == 0 {
            talk.server(OK);
            talk.close();
        }
        let seen = seen(&talk);
        let exchange = &seen.exchanges[0];
        assert_eq!(exchange.request.target(), b"/b/key");
        assert_eq!(exchange.anomalies.contains(&Anomaly::OverlapDiffers), !is_same, "{}", again.escape_ascii());
        assert_eq!(seen.closed[0].anomalies.contains(&Anomaly::OverlapDiffers), !is_same);
        assert_eq!(seen.closed[0].client.retransmitted, (again.len() - beyond) as u64);
    }
}

#[test]
fn the_same_bytes_again_are_no_anomaly_whatever_the_cut() {
    let mut talk = open();
    talk.client(GET);
    for (from, to) in [(0, GET.len()), (3, 9), (0, 1), (GET.len() - 1, GET.len())] {
        talk.packet(true, ACK, &GET[from..to], back(GET.len() - from));
    }
    talk.server(OK);
    talk.packet(false, ACK, OK, back(OK.len()));
    talk.close();
    let seen = seen(&talk);
    assert_eq!(only(&seen).anomalies, []);
    assert!(only(&seen).is_complete());
}

#[test]
fn a_response_that_comes_twice_in_two_versions_is_named() {
    let mut talk = open();
    talk.client(GET);
    let (head, body) = OK.split_at(OK.len() - 5);
    talk.server(head);
    talk.packet(false, ACK, b"HTTP/1.1 403", back(head.len()));
    talk.server(body);
    talk.close();
    let seen = seen(&talk);
    assert_eq!(only(&seen).status(), Some(200));
    assert!(only(&seen).anomalies.contains(&Anomaly::OverlapDiffers));
}

#[test]
fn a_keep_alive_octet_and_a_window_probe_are_no_data() {
    let mut talk = open();
    talk.client(GET);
    // A keep-alive: one octet of anything before the next one.
    talk.packet(true, ACK, b"\0", back(1));
    // A window probe: the first octet of what follows, which then comes again with the rest.
    talk.packet(false, ACK, &OK[..1], 0);
    talk.server(OK);
    talk.packet(false, ACK, b"\0", back(1));
    talk.close();
    let seen = seen(&talk);
    assert_eq!(only(&seen).anomalies, []);
    assert!(only(&seen).is_complete());
    assert_eq!(seen.closed[0].server.delivered, OK.len() as u64);
}

#[test]
fn an_acknowledgment_that_no_window_reaches_proves_nothing() {
    let mut talk = open();
    talk.client(GET);
    let (client_seq, server_seq) = (1001 + GET.len() as u32, 9001);
    let at_nanos = talk.sent.last().unwrap().at_nanos + 1;
    let bytes = frame(false, 40_000, server_seq, client_seq.wrapping_add((1 << 30) + 1000), ACK, b"");
    talk.sent.push(Sent { at_nanos, bytes, payload: 0 });
    talk.server(OK);
    talk.close();
    let seen = seen(&talk);
    assert!(only(&seen).is_complete());
    assert_eq!((seen.closed[0].client.missing, seen.closed[0].client.acknowledged), (0, GET.len() as u64));
}

#[test]
fn what_comes_after_both_have_ended_is_counted_as_lost() {
    let mut talk = open();
    talk.client(GET);
    talk.server(OK);
    talk.close();
    talk.client(GET);
    talk.server(OK);
    let seen = seen(&talk);
    assert_eq!(only(&seen).id.ordinal, 1);
    let lost: u64 = seen.lost.iter().filter(|loss| loss.reason == LossReason::NotHttp).map(|loss| loss.bytes).sum();
    assert_eq!(lost, (GET.len() + OK.len()) as u64);
    assert_eq!(seen.closed.len(), 1);
}

#[test]
fn an_injected_reset_ends_nothing_and_one_with_data_after_it_is_named() {
    let mut talk = open();
    talk.client(GET);
    talk.packet(false, RST, b"", 0x4000_0000);
    talk.server(OK);
    talk.close();
    let far = seen(&talk);
    assert!(only(&far).is_complete() && only(&far).anomalies.is_empty());
    let mut talk = open();
    talk.client(GET);
    talk.packet(false, RST, b"", 0);
    talk.server(OK);
    talk.close();
    let near = seen(&talk);
    assert!(only(&near).is_complete());
    assert!(only(&near).anomalies.contains(&Anomaly::DataAfterReset));
    assert_eq!(near.closed[0].close, Close::Finished);
}

#[test]
fn a_reset_instead_of_an_answer_is_told() {
    let mut talk = open();
    talk.client(GET);
    talk.packet(false, RST | ACK, b"", 0);
    let seen = seen(&talk);
    assert!(matches!(only(&seen).outcome, Outcome::Reset { by: Side::Server }));
}

#[test]
fn an_old_syn_does_not_end_a_connection() {
    let mut talk = open();
    talk.client(GET);
    talk.packet(true, SYN, b"", 0x1234_5678);
    talk.server(OK);
    talk.client(GET);
    talk.server(OK);
    talk.close();
    let seen = seen(&talk);
    assert_eq!((seen.exchanges.len(), seen.closed.len()), (2, 1));
    assert!(seen.exchanges.iter().all(Exchange::is_complete));
}

#[test]
fn each_side_alone_gives_its_half() {
    let mut talk = open();
    for _ in 0..3 {
        talk.client(GET);
        talk.server(OK);
    }
    let from_client = |sent: &Sent| sent.bytes[29] == 2;
    let requests: Vec<Sent> = talk.sent.iter().filter(|sent| from_client(sent)).cloned().collect();
    let seen = decode(&requests, Limits::default());
    assert_eq!(seen.exchanges.len(), 3);
    assert!(seen.exchanges.iter().all(|exchange| exchange.request.target() == b"/b/key" && exchange.response().is_none()));
    assert!(!seen.closed[0].both_sides);
    assert_eq!(seen.closed[0].server.missing, 3 * OK.len() as u64);
    let answers: Vec<Sent> = talk.sent.iter().filter(|sent| !from_client(sent)).cloned().collect();
    let seen = decode(&answers, Limits::default());
    assert_eq!(seen.exchanges.iter().filter_map(Exchange::status).collect::<Vec<_>>(), [200, 200, 200]);
    assert!(seen.exchanges.iter().all(|exchange| exchange.anomalies.contains(&Anomaly::ResponseWithoutRequest)));
}

#[test]
fn urgent_data_stays_in_the_stream_and_is_named() {
    let mut talk = open();
    talk.packet(true, ACK | URG, GET, 0);
    talk.server(b"");
    let seen = seen(&talk);
    assert_eq!(only(&seen).request.target(), b"/b/key");
    assert!(only(&seen).anomalies.contains(&Anomaly::UrgentData));
}

#[test]
fn time_that_goes_backwards_or_beyond_all_bounds_loses_nothing() {
    let mut talk = open();
    for _ in 0..4 {
        talk.client(GET);
        talk.server(OK);
    }
    talk.close();
    let mut backwards = talk.sent.clone();
    for (number, sent) in backwards.iter_mut().enumerate() {
        sent.at_nanos = -(number as i64) * 3_000_000_000;
    }
    assert_eq!(decode(&backwards, Limits::default()).exchanges.len(), 4);
    for far in [i64::MAX, i64::MIN] {
        for at in 0..talk.sent.len() {
            let mut jumping = talk.sent.clone();
            jumping[at].at_nanos = far;
            // Out of order too, so that something waits when time ends.
            jumping.swap(at, (at + 3) % talk.sent.len());
            let seen = decode(&jumping, Limits::default());
            assert!(!seen.exchanges.is_empty());
        }
    }
}

#[test]
fn a_hole_that_nobody_acknowledged_does_not_wait_beyond_the_end_of_time() {
    let mut talk = open();
    // Behind a hole, so that it waits; the other side is seen and acknowledges nothing of it.
    talk.packet(true, ACK, GET, 100);
    talk.packet(false, ACK, b"", 0);
    if let Some(last) = talk.sent.last_mut() {
        last.at_nanos = i64::MAX;
    }
    // Without an end to waking, this does not return.
    let seen = seen(&talk);
    // The jump closes the flow as idle, and the packet behind it opens another.
    assert_eq!(seen.closed.len(), 2);
}

#[test]
fn data_in_the_first_packets_is_read() {
    let mut sent = vec![frame(true, 40_000, 1000, 0, SYN, GET)];
    sent.push(frame(false, 40_000, 9000, 1001 + GET.len() as u32, SYN | ACK, b""));
    sent.push(frame(false, 40_000, 9001, 1001 + GET.len() as u32, ACK, OK));
    let seen = decode(&timed(sent), Limits::default());
    assert!(only(&seen).is_complete());
}

#[test]
fn the_side_that_accepted_may_send_the_requests() {
    // A client that registers with a proxy and is then asked by it, as SOCKS in reverse does.
    let mut talk = open();
    talk.client(b"\x05\x02\x00\x02");
    talk.server(b"\x05\x00");
    talk.server(GET);
    talk.client(OK);
    talk.server(GET);
    talk.client(OK);
    talk.close();
    let seen = seen(&talk);
    assert_eq!(seen.exchanges.len(), 2);
    for exchange in &seen.exchanges {
        assert!(exchange.is_complete());
        assert_eq!(exchange.endpoints.server.port, 40_000);
    }
    assert_eq!(seen.closed[0].endpoints.server.port, 40_000);
}

#[test]
fn an_answer_in_clear_to_tls_is_read() {
    let mut talk = open();
    talk.client(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00");
    talk.server(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 3\r\n\r\nTLS");
    talk.close();
    let seen = seen(&talk);
    assert!(seen.exchanges.is_empty(), "no request was sent");
    let Protocol::Tls { handshake: Handshake::Failed(failure), .. } = &seen.closed[0].protocol else {
        panic!("{:?}", seen.closed)
    };
    assert_eq!((failure.kind, failure.from), (TlsFailureKind::PlainHttp(400), Side::Server));
}

#[test]
fn a_start_line_that_the_snap_length_cut_behind_the_target_counts() {
    let mut talk = open();
    talk.client(b"GET /b/key?x=1 HTTP/1.1\r\nHost: s\r\n\r\n");
    talk.server(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n");
    let decode_cut = |keep: usize| {
        let mut decoder = Decoder::new(Limits::default());
        for (ordinal, sent) in (1..).zip(&talk.sent) {
            let bytes = &sent.bytes[..sent.bytes.len().min(54 + keep)];
            decoder.handle_packet(&Packet {
                ordinal,
                frame: Frame::new(0, ordinal),
                at: Timestamp::from_nanos(sent.at_nanos),
                link: LinkType(1),
                bytes,
                captured: bytes.len() as u32,
                original: sent.bytes.len() as u32,
                tail: Tail::NONE,
            });
        }
        decoder.handle_end();
        let mut found = Vec::new();
        while let Some(event) = decoder.poll() {
            if let Event::Exchange(exchange) = event {
                found.push(*exchange);
            }
        }
        found
    };
    let whole = decode_cut(18);
    assert_eq!(whole.len(), 1);
    assert_eq!((whole[0].request.target(), whole[0].status()), (b"/b/key?x=1".as_slice(), Some(206)));
    assert!(whole[0].anomalies.contains(&Anomaly::GapInHead));
    // A target that may go on is not told as if it were whole.
    assert!(decode_cut(14).iter().all(|exchange| exchange.request.target().is_empty()));
}

#[test]
fn tunnels_are_opened() {
    let inner = frame(true, 40_000, 1000, 0, ACK, GET);
    let ip = &inner[14..];
    let udp = |port: u16, rest: &[u8]| wrap(17, &[&[0x12, 0x34][..], &port.to_be_bytes(), &[0; 4], rest].concat());
    let gre = |head: &[u8], rest: &[u8]| wrap(47, &[head, rest].concat());
    for (name, packet) in [
        ("VXLAN", udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat())),
        ("VXLAN-GPE Ethernet", udp(4790, &[&[12, 0, 0, 3, 0, 0, 1, 0][..], &inner].concat())),
        ("VXLAN-GPE IPv4", udp(4790, &[&[12, 0, 0, 1, 0, 0, 1, 0][..], ip].concat())),
        ("AYIYA", udp(5072, &[&[0x41, 0x52, 0x11, 4][..], &[0; 40], ip].concat())),
        ("ERSPAN I", gre(&[0, 0, 0x88, 0xbe], &inner)),
        ("ERSPAN II", gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0], &inner)),
        ("ERSPAN III", gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &inner)),
        (
            "ERSPAN III with a platform header",
            gre(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8]].concat(), &inner),
        ),
        ("GRE", gre(&[0, 0, 8, 0], ip)),
        ("IP in IP", wrap(4, ip)),
    ] {
        let seen = decode(&timed(vec![packet]), Limits::default());
        assert_eq!(seen.exchanges.len(), 1, "{name}");
        assert_eq!(seen.exchanges[0].request.target(), b"/b/key", "{name}");
    }
}

#[test]
fn tunnels_inside_tunnels_without_end_are_given_up() {
    let mut packet = frame(true, 40_000, 1000, 0, ACK, GET);
    for _ in 0..1000 {
        packet = wrap(4, &packet[14..]);
    }
    assert!(decode(&timed(vec![packet]), Limits::default()).exchanges.is_empty());
}

#[test]
fn the_last_ack_of_a_close_and_its_doubles_change_nothing() {
    let mut talk = open();
    talk.client(GET);
    talk.server(OK);
    talk.close();
    for _ in 0..3 {
        talk.packet(true, FIN | ACK, b"", back(1));
        talk.packet(false, FIN | ACK, b"", back(1));
    }
    let seen = seen(&talk);
    assert!(only(&seen).is_complete() && only(&seen).anomalies.is_empty());
    assert_eq!(seen.closed.len(), 1);
}

#[test]
fn a_server_of_another_protocol_gives_no_answer() {
    for greeting in [b"SSH-2.0-OpenSSH_9.2p1\r\n".as_slice(), b"220 mail ESMTP\r\n", b"\x15\x03\x01\x00\x02\x02\x0a"] {
        let mut talk = open();
        talk.client(GET);
        talk.server(greeting);
        talk.close();
        let seen = seen(&talk);
        assert!(matches!(only(&seen).outcome, Outcome::ClosedEarly { .. }), "{}", greeting.escape_ascii());
    }
    let mut talk = open();
    talk.client(GET);
    talk.server(b"<html>old</html>");
    talk.close();
    let seen = seen(&talk);
    assert_eq!((only(&seen).status(), only(&seen).anomalies.as_slice()), (Some(200), [Anomaly::Http09].as_slice()));
}

#[test]
fn an_anomaly_before_the_first_octet_is_read_is_told_too() {
    let mut talk = open();
    // The second half comes first, in two versions.
    talk.packet(true, ACK, &GET[10..], 10);
    talk.packet(true, ACK, b"/1.1\r\nHost: evil\r\n", 15);
    talk.packet(true, ACK, &GET[..10], 0);
    let seen = seen(&talk);
    assert_eq!(only(&seen).request.target(), b"/b/key");
    assert!(only(&seen).anomalies.contains(&Anomaly::OverlapDiffers));
}

#[test]
fn heads_in_many_flows_are_bounded_together_and_what_goes_is_told() {
    let filler = [b"GET /b/key HTTP/1.1\r\nX-Filler: ".as_slice(), &[b'a'; 30_000]].concat();
    let mut packets: Vec<Vec<u8>> = (0..100).map(|port| frame(true, 10_000 + port, 1000, 0, SYN, &filler)).collect();
    packets.push(frame(true, 20_000, 1000, 0, SYN, GET));
    let mut decoder = Decoder::new(Limits { content_bytes_max: 1 << 20, ..Limits::default() });
    let (mut evicted, mut held, mut targets) = (0, 0, Vec::new());
    for (ordinal, sent) in (1..).zip(timed(packets)) {
        decoder.handle_packet(&Packet {
            ordinal,
            frame: Frame::new(0, ordinal),
            at: Timestamp::from_nanos(sent.at_nanos),
            link: LinkType(1),
            bytes: &sent.bytes,
            captured: sent.bytes.len() as u32,
            original: sent.bytes.len() as u32,
            tail: Tail::NONE,
        });
        while let Some(event) = decoder.poll() {
            match event {
                Event::Lost(loss) if loss.reason == LossReason::Evicted => (evicted, held) = (evicted + 1, held + loss.bytes),
                Event::Exchange(exchange) => targets.push(exchange.request.target().to_vec()),
                _ => {}
            }
        }
    }
    // At most 34 heads fit into a MiB; the others went, each with the request as far as it was known.
    assert!((66..=72).contains(&evicted), "{evicted}");
    assert_eq!((targets.len() as u64, held), (evicted, evicted * filler.len() as u64));
    assert!(targets.iter().all(|target| target == b"/b/key"));
}

#[test]
fn what_ended_weighs_nothing() {
    let mut packets = Vec::new();
    for port in 0..50 {
        let mut talk = Connection::open(10_000 + port, i64::from(port) * 1_000_000, 1448, 7, 9);
        for _ in 0..40 {
            talk.client(
                &[b"POST /b/k HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: 3000\r\n\r\n".as_slice(), &[b'x'; 3000]]
                    .concat(),
            );
            talk.server(OK);
        }
        packets.append(&mut talk.sent);
    }
    // Fifty open connections and two thousand exchanges in half the room of what passed through at once.
    let seen = decode(&packets, Limits { content_bytes_max: 16 << 10, ..Limits::default() });
    assert_eq!((seen.exchanges.len(), seen.closed.len()), (2000, 50));
    assert!(seen.exchanges.iter().all(Exchange::is_complete));
}

fn timed(packets: Vec<Vec<u8>>) -> Vec<Sent> {
    (0..).zip(packets).map(|(at, bytes)| Sent { at_nanos: at * 1000, bytes, payload: 0 }).collect()
}

/// An Ethernet frame with an IPv4 packet around a payload.
fn wrap(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0, 172, 16, 0, 1, 172, 16, 0, 2]);
    bytes.extend_from_slice(payload);
    bytes
}
