//! Messages, whole and cut, good and bad, through a gate.

use super::*;

/// Runs both sides through a gate in pieces of `size` bytes; gives the steps as text, heads as `h`, bodies as `b`.
fn pass(gate: &mut Gate, side: char, data: &[u8], size: usize) -> Result<usize, Refusal> {
    let mut held: Vec<u8> = Vec::new();
    let mut passed = 0;
    for piece in data.chunks(size.max(1)) {
        held.extend_from_slice(piece);
        loop {
            let step = match side {
                '>' => gate.request(&held)?,
                _ => gate.response(&held)?.0,
            };
            let (Step::Head(count) | Step::Body(count)) = step else { break };
            held.drain(..count);
            passed += count;
            if held.is_empty() {
                break;
            }
        }
    }
    Ok(passed)
}

#[test]
fn whole_messages_pass_however_they_are_cut() {
    let requests = b"\r\nPUT /b/k HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhelloHEAD / HTTP/1.1\r\nHost: s\r\n\r\n\
        PUT /c HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: s\r\n\r\n";
    let responses =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    for size in 1..requests.len() {
        let mut gate = Gate::new();
        assert_eq!(pass(&mut gate, '>', requests, size), Ok(requests.len()), "{size}");
        assert_eq!((gate.requests(), gate.awaits_response()), (4, true));
        assert_eq!(pass(&mut gate, '<', responses, size), Ok(responses.len()), "{size}");
        assert!(gate.is_reusable(), "{size}");
    }
}

#[test]
fn what_two_readers_cut_differently_is_refused() {
    let with = |fields: &str| format!("PUT / HTTP/1.1\r\nHost: s\r\n{fields}\r\n\r\n");
    let chunked = |body: &str| format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for (message, refusal) in [
        (with("Content-Length: 1\r\nContent-Length: 2"), Refusal::TwoLengths),
        (with("Content-Length: 1\r\nContent-Length: 1"), Refusal::TwoLengths),
        (with("Content-Length: 1, 1"), Refusal::TwoLengths),
        (with("Content-Length: 1\r\nTransfer-Encoding: chunked"), Refusal::LengthWithChunked),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 1"), Refusal::LengthWithChunked),
        (with("Content-Length: +1"), Refusal::Length),
        (with("Content-Length: 01"), Refusal::Length),
        (with("Content-Length: 0x1"), Refusal::Length),
        (with("Content-Length: "), Refusal::Length),
        (with("Content-Length: 9999999999999999999"), Refusal::Length),
        (with("Content-Length: 1\r\n 2"), Refusal::FoldedLine),
        (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Refusal::Coding),
        (with("Transfer-Encoding: gzip, chunked"), Refusal::Coding),
        (with("Transfer-Encoding: xchunked"), Refusal::Coding),
        (with("Transfer-Encoding : chunked"), Refusal::NotHttp),
        (with("A: b\nContent-Length: 1"), Refusal::BareLineFeed),
        (with("A: b\rc"), Refusal::NotHttp),
        (with("A\0: b"), Refusal::NotHttp),
        ("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), Refusal::CodingInHttp10),
        ("GET / HTTP/1.1\nHost: s\n\n".to_owned(), Refusal::BareLineFeed),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Refusal::Http2),
        ("\u{16}\u{3}\u{1}".to_owned(), Refusal::Tls),
        ("hello\r\n\r\n".to_owned(), Refusal::NotHttp),
        (chunked("g\r\n"), Refusal::Chunk),
        (chunked("+1\r\n"), Refusal::Chunk),
        (chunked("0x1\r\n"), Refusal::Chunk),
        (chunked(" 1\r\n"), Refusal::Chunk),
        (chunked("1 \r\n"), Refusal::Chunk),
        (chunked("\r\n"), Refusal::Chunk),
        (chunked("1111111111111111\r\n"), Refusal::Chunk),
        (chunked("1\nx"), Refusal::BareLineFeed),
        (chunked("1;a\rb\r\nx"), Refusal::Chunk),
        (chunked("1\r\nxy\r\n"), Refusal::Chunk),
        (with(&format!("A: {}", "x".repeat(65_536))), Refusal::TooLong),
        (with(&vec!["A: b"; 200].join("\r\n")), Refusal::TooLong),
    ] {
        for size in [1, 7, message.len()] {
            let mut gate = Gate::new();
            assert_eq!(pass(&mut gate, '>', message.as_bytes(), size), Err(refusal), "{size}: {message:?}");
        }
    }
}

#[test]
fn a_connection_is_not_used_again_after_an_end_that_only_closing_shows() {
    for (request, response) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nrest"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        ("GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
        ("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let mut gate = Gate::new();
        pass(&mut gate, '>', request.as_bytes(), 4).unwrap();
        pass(&mut gate, '<', response.as_bytes(), 4).unwrap();
        assert!(!gate.is_reusable(), "{request:?} {response:?}");
    }
}

#[test]
fn another_protocol_passes_unread_once_both_sides_agreed() {
    let mut gate = Gate::new();
    pass(&mut gate, '>', b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 9).unwrap();
    assert_eq!(gate.request(b"\x16\x03\0"), Ok(Step::Wait), "it waits for the response");
    pass(&mut gate, '<', b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 9).unwrap();
    assert!(gate.is_opaque() && !gate.is_reusable());
    assert_eq!(gate.request(b"\x16\x03\0"), Ok(Step::Body(3)));

    let mut gate = Gate::new();
    pass(&mut gate, '>', b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 9).unwrap();
    pass(&mut gate, '<', b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 9).unwrap();
    assert_eq!(gate.request(b"GET / HTTP/1.1\r\n\r\n"), Ok(Step::Head(18)));
}
