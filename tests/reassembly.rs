//! Any order, duplication or cutting of segments gives the same exchanges, and what is missing is accounted for.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use hopwire::decode::Limits;
use hopwire::model::{Exchange, FlowClosed};
use proptest::prelude::*;
use support::{Connection, Random, Sent, decode, render};

/// A few connections with keep-alive requests of every kind of body, interleaved in time.
fn traffic(seed: u64, segment_max: usize) -> Vec<Sent> {
    let mut random = Random(seed);
    let mut packets = Vec::new();
    for flow in 0..4u16 {
        let (client_isn, server_isn) = (random.next() as u32, u32::MAX - random.below(3000) as u32);
        let mut talk = Connection::open(40_000 + flow, i64::from(flow) * 700_000, segment_max, client_isn, server_isn);
        for call in 0..6 {
            exchange(&mut talk, &mut random, flow, call);
            talk.wait(random.below(40_000_000) as i64);
        }
        talk.close();
        packets.append(&mut talk.sent);
    }
    packets.sort_by_key(|sent| sent.at_nanos);
    packets
}

fn exchange(talk: &mut Connection, random: &mut Random, flow: u16, call: u16) {
    let body = vec![b'x'; random.below(9000) as usize];
    match random.below(4) {
        0 => {
            talk.client(format!("HEAD /b/k{flow}-{call} HTTP/1.1\r\nHost: s\r\n\r\n").as_bytes());
            talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
        }
        1 => {
            talk.client(format!("GET /b/k{flow}-{call} HTTP/1.1\r\nHost: s\r\n\r\n").as_bytes());
            talk.server(&[format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat());
        }
        2 => {
            talk.client(format!("GET /b/?list-type=2&prefix={flow}-{call} HTTP/1.1\r\nHost: s\r\n\r\n").as_bytes());
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in body.chunks(1000) {
                answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                answer.extend_from_slice(piece);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            talk.server(&answer);
        }
        _ => {
            let head = format!(
                "PUT /b/k{flow}-{call} HTTP/1.1\r\nHost: s\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
                body.len()
            );
            talk.client(head.as_bytes());
            talk.server(b"HTTP/1.1 100 Continue\r\n\r\n");
            talk.client(&body);
            talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

/// Packets as they would be captured if each were late by up to `window_nanos`.
fn shuffled(packets: &[Sent], random: &mut Random, window_nanos: u64) -> Vec<Sent> {
    let mut keyed: Vec<(i64, Sent)> =
        packets.iter().map(|sent| (sent.at_nanos + random.below(window_nanos) as i64, sent.clone())).collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(at_nanos, sent)| Sent { at_nanos, ..sent }).collect()
}

fn doubled(packets: &[Sent], random: &mut Random) -> Vec<Sent> {
    let mut out = Vec::new();
    for sent in packets {
        out.push(sent.clone());
        if random.below(5) == 0 {
            out.push(sent.clone());
        }
    }
    out
}

fn balance(closed: &[FlowClosed]) {
    for flow in closed {
        for stream in [flow.client, flow.server] {
            assert!(
                stream.delivered + stream.missing + 1 >= stream.acknowledged,
                "flow {}: {} delivered, {} missing, {} acknowledged",
                flow.flow,
                stream.delivered,
                stream.missing,
                stream.acknowledged
            );
        }
    }
}

fn ordinals_are_dense(exchanges: &[Exchange]) -> bool {
    let mut ids: Vec<_> = exchanges.iter().map(|exchange| exchange.id).collect();
    ids.sort();
    ids.windows(2).all(|pair| pair[0].flow != pair[1].flow || pair[0].ordinal + 1 == pair[1].ordinal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn order_duplication_and_cutting_do_not_matter(seed in 0u64..1 << 48, segment_max in 40usize..3000) {
        let plain = traffic(seed, 1448);
        let expected = render(&decode(&plain, Limits::default()).exchanges);
        prop_assert_eq!(expected.len(), 24);
        let mut random = Random(seed ^ 1);
        let cut = traffic(seed, segment_max);
        prop_assert_eq!(&render(&decode(&cut, Limits::default()).exchanges), &expected);
        let mixed = shuffled(&doubled(&cut, &mut random), &mut random, 50_000_000);
        let seen = decode(&mixed, Limits::default());
        prop_assert_eq!(&render(&seen.exchanges), &expected);
        balance(&seen.closed);
        prop_assert!(seen.closed.iter().all(|flow| flow.client.missing + flow.server.missing == 0));
    }

    #[test]
    fn lost_packets_are_reported_and_nothing_is_invented(seed in 0u64..1 << 48) {
        let mut random = Random(seed ^ 2);
        let plain = traffic(seed, 1448);
        let whole = decode(&plain, Limits::default());
        let kept: Vec<Sent> = plain.iter().filter(|_| random.below(50) != 0).cloned().collect();
        let lost: usize = plain.iter().map(|sent| sent.payload).sum::<usize>() - kept.iter().map(|sent| sent.payload).sum::<usize>();
        let seen = decode(&kept, Limits::default());
        balance(&seen.closed);
        let missing: u64 = seen.closed.iter().map(|flow| flow.client.missing + flow.server.missing).sum();
        // A FIN that was not captured counts as an octet where more is missing before it.
        prop_assert!(missing <= lost as u64 + 8, "{} missing of {} lost", missing, lost);
        prop_assert!(seen.exchanges.iter().filter(|exchange| !exchange.request.method().is_empty()).count() <= whole.exchanges.len());
        prop_assert!(ordinals_are_dense(&seen.exchanges));
        let known = render(&whole.exchanges);
        for exchange in seen.exchanges.iter().filter(|exchange| exchange.is_complete() && !exchange.request.method().is_empty()) {
            let line = format!("{} {}", exchange.request.target().escape_ascii(), exchange.status().unwrap_or(0));
            let (target, status) = line.split_once(' ').unwrap();
            prop_assert!(
                known.iter().any(|known| known.contains(&format!(" {target} ")) && known.contains(&format!("Some({status})"))),
                "{} was never sent like this", line
            );
        }
    }
}

#[test]
fn one_lost_response_segment_is_one_gap_and_all_requests_stay() {
    let mut talk = Connection::open(40_000, 0, 1448, 7, 9);
    for call in 0..100 {
        talk.client(format!("GET /b/k{call} HTTP/1.1\r\nHost: s\r\n\r\n").as_bytes());
        talk.server(&[b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n".as_slice(), &[b'y'; 4000]].concat());
    }
    talk.close();
    let body_segment = talk.sent.iter().enumerate().filter(|(_, sent)| sent.payload == 1448).nth(41).map(|(at, _)| at).unwrap();
    talk.sent.remove(body_segment);
    let seen = decode(&talk.sent, Limits::default());
    assert_eq!(seen.exchanges.len(), 100);
    assert_eq!(seen.exchanges.iter().filter(|exchange| exchange.is_complete()).count(), 99);
    let missing: u64 = seen.closed.iter().map(|flow| flow.server.missing).sum();
    assert_eq!(missing, 1448);
}

#[test]
fn a_reused_port_is_a_new_flow() {
    let mut first = Connection::open(40_000, 0, 1448, 1000, 2000);
    first.client(b"GET /b/one HTTP/1.1\r\nHost: s\r\n\r\n");
    first.server(b"HTTP/1.1 204 No Content\r\n\r\n");
    first.close();
    let mut second = Connection::open(40_000, 900_000_000, 1448, 5_000_000, 6_000_000);
    second.client(b"GET /b/two HTTP/1.1\r\nHost: s\r\n\r\n");
    second.server(b"HTTP/1.1 204 No Content\r\n\r\n");
    second.close();
    let seen = decode(&[first.sent, second.sent].concat(), Limits::default());
    assert_eq!(seen.closed.len(), 2);
    assert_eq!(seen.exchanges.len(), 2);
    assert_ne!(seen.exchanges[0].id.flow, seen.exchanges[1].id.flow);
}

#[test]
fn a_capture_that_starts_in_the_middle_is_read_from_the_next_message() {
    let mut talk = Connection::open(40_000, 0, 1448, 1000, 2000);
    talk.client(b"GET /b/one HTTP/1.1\r\nHost: s\r\n\r\n");
    talk.server(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".as_slice(), &[b'z'; 5000]].concat());
    talk.client(b"GET /b/two HTTP/1.1\r\nHost: s\r\n\r\n");
    talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let middle = talk.sent.split_off(6);
    let seen = decode(&middle, Limits::default());
    let requests: Vec<_> = seen.exchanges.iter().map(|exchange| exchange.request.target().to_vec()).collect();
    assert!(requests.contains(&b"/b/two".to_vec()), "{:?}", render(&seen.exchanges));
    assert!(!seen.closed[0].has_start);
}
