//! Well-formed traffic.

use crate::decode::http1::Config;
use crate::decode::http1::tests::{check, check_with, hashing};

#[test]
fn requests_and_responses_of_known_length() {
    check(
        r"
        > PUT /b/k HTTP/1.1
        > Host: s3
        > Content-Length: 5
        >
        > hello\
        < HTTP/1.1 200 OK
        < Content-Length: 0
        <
        > GET /b/k HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 200 OK
        < Content-Length: 10
        <
        < 01234\
        !
        < 56789\
        ",
        "1.1 PUT /b/k HTTP/1.1 2h length 5 has 5 [1 @1-1] -> HTTP/1.1 200 OK 1h length 0 [2 @2-2]
         1.2 GET /b/k HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 200 OK 1h length 10 has 10 [4,5 @4-5]",
    );
}

#[test]
fn chunked_with_trailers() {
    check(
        r"
        > GET / HTTP/1.1
        > host: s3
        >
        < HTTP/1.1 200 OK
        < Transfer-Encoding: chunked
        <
        < 5
        < hello
        < A
        < 0123456789
        < 0
        < x-amz-checksum-crc32: AAAA
        <
        ",
        "1.1 GET / HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h chunked has 15 +x-amz-checksum-crc32=AAAA [2 @2-2]",
    );
}

#[test]
fn bodies_until_close() {
    check(
        r"
        > GET / HTTP/1.0
        >
        < HTTP/1.0 200 OK
        <
        < some\
        !
        < thing\
        ! close <
        ",
        "1.1 GET / HTTP/1.0 0h [1 @1-1] -> HTTP/1.0 200 OK 0h until-close has 9 [2,3 @2-3]",
    );
}

#[test]
fn no_body_after_head_204_304() {
    check(
        r"
        > HEAD /a HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 200 OK
        < Content-Length: 1000
        <
        > DELETE /a HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 204 No Content
        <
        > GET /a HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 304 Not Modified
        < Content-Length: 7
        <
        ",
        "1.1 HEAD /a HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h [2 @2-2]
         1.2 DELETE /a HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 204 No Content 0h [4 @4-4]
         1.3 GET /a HTTP/1.1 1h [5 @5-5] -> HTTP/1.1 304 Not Modified 1h [6 @6-6]",
    );
}

#[test]
fn continue_before_the_body() {
    check(
        r"
        > PUT /a HTTP/1.1
        > Host: s3
        > Expect: 100-continue
        > Content-Length: 3
        >
        < HTTP/1.1 100 Continue
        <
        > abc\
        < HTTP/1.1 103 Early Hints
        < Link: x
        <
        < HTTP/1.1 200 OK
        < Content-Length: 0
        <
        ",
        "1.1 PUT /a HTTP/1.1 3h length 3 has 3 [1,3 @1-3] ~ 100 ~ 103 -> HTTP/1.1 200 OK 1h length 0 [4 @4-4]",
    );
}

#[test]
fn a_refused_expectation_leaves_the_body_unsent() {
    check(
        r"
        > PUT /a HTTP/1.1
        > Host: s3
        > Expect: 100-continue
        > Content-Length: 300
        >
        < HTTP/1.1 403 Forbidden
        < Content-Length: 2
        <
        < no\
        > GET /b HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 PUT /a HTTP/1.1 3h length 300 (cut) [1 @1-?] -> HTTP/1.1 403 Forbidden 1h length 2 has 2 'no' [2 @2-2] !body-cut-short !response-before-request-end
         1.2 GET /b HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 204 No Content 0h [4 @4-4]",
    );
}

#[test]
fn pipelined_requests_pair_in_order() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 200 OK
        < Content-Length: 1
        <
        < 1HTTP/1.1 404 Not Found
        < Content-Length: 1
        <
        < 2\
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h length 1 has 1 [2 @2-2]
         1.2 GET /2 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 404 Not Found 1h length 1 has 1 '2' [2 @2-2]",
    );
}

#[test]
fn connect_and_upgrade_become_tunnels() {
    check(
        r"
        > CONNECT s3:443 HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 200 Connection established
        <
        > \x16\x03\x01\x00\x05hello\
        < \x16\x03\x03\
        ! skip > 100
        ",
        "1.1 CONNECT s3:443 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 Connection established 0h tunnel [2 @2-2] !tunnel
         lost 110 tunnel at 3
         lost 3 tunnel at 4",
    );
    check(
        r"
        > CONNECT s3:80 HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 200 OK
        <
        > GET / HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 CONNECT s3:80 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 0h tunnel [2 @2-2] !tunnel
         1.2 GET / HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 204 No Content 0h [4 @4-4]",
    );
    check(
        r"
        > GET /ws HTTP/1.1
        > Host: s3
        > Upgrade: websocket
        >
        < HTTP/1.1 101 Switching Protocols
        < Upgrade: websocket
        <
        < \x81\x02hi\
        > \x81\x82abcdef\
        ",
        "1.1 GET /ws HTTP/1.1 2h [1 @1-1] -> HTTP/1.1 101 Switching Protocols 1h tunnel [2 @2-2] !tunnel
         lost 8 tunnel at 3
         lost 4 tunnel at 2",
    );
}

#[test]
fn ends_of_connections_decide_the_outcome() {
    let request = "> GET / HTTP/1.1\n> Host: a\n>\n";
    for (end, outcome) in [
        ("! close <", "closed by Server"),
        ("! close >\n! close <", "closed by Client"),
        ("! reset <", "reset by Server"),
        ("! close >\n! reset <", "reset by Server"),
        ("! reset >\n! unseen <", "reset by Client"),
        ("! close <\n! reset >", "closed by Server"),
        ("! unseen <", "unanswered"),
    ] {
        check(&format!("{request}{end}"), &format!("1.1 GET / HTTP/1.1 1h [1 @1-1] -> {outcome}"));
    }
}

#[test]
fn error_bodies_and_small_text_are_kept() {
    let long = "x".repeat(5000);
    for (request, response, kept) in [
        ("GET / HTTP/1.1", "HTTP/1.1 500 Oops\n< Content-Type: image/png", true),
        ("GET / HTTP/1.1", "HTTP/1.1 200 OK\n< Content-Type: application/XML", true),
        ("GET / HTTP/1.1", "HTTP/1.1 200 OK\n< Content-Type: image/png", false),
        ("POST / HTTP/1.1", "HTTP/1.1 200 OK\n< Content-Type: application/json", true),
    ] {
        let transcript = format!("> {request}\n> Host: a\n>\n< {response}\n< Content-Length: 2\n<\n< ab\\");
        let got = super::run(&super::events(&transcript), &Config::default());
        assert_eq!(got.contains("'ab'"), kept, "{got}");
        let transcript = format!("> {request}\n> Host: a\n>\n< {response}\n< Content-Length: 5000\n<\n< {long}\\");
        let got = super::run(&super::events(&transcript), &Config::default());
        assert_eq!(got.contains("'xx"), kept && !transcript.contains("XML"), "{got}");
    }
}

#[test]
fn posted_forms_are_kept_in_part() {
    let transcript = "> POST / HTTP/1.1\n> Host: a\n> Content-Type: multipart/form-data; boundary=x\n> Content-Length: 20000\n>\n! fill > 20000";
    let got = super::run(&super::events(transcript), &Config::default());
    assert!(got.contains(&format!("'{}'", "x".repeat(8192))), "{got}");
}

#[test]
fn bodies_are_hashed_on_demand() {
    let config = hashing();
    check_with(
        &config,
        r"
        > PUT / HTTP/1.1
        > Host: a
        > Content-Length: 3
        >
        > abc\
        < HTTP/1.1 200 OK
        < Content-Length: 6
        <
        < abc\
        ! gap < 3
        ",
        "1.1 PUT / HTTP/1.1 2h length 3 has 3 sha ba78 [1 @1-1] -> HTTP/1.1 200 OK 1h length 6 has 6 lacks 3..6 [2 @2-?] !gap-in-body",
    );
}

#[test]
fn bodies_are_skipped_by_arithmetic() {
    use crate::decode::http1::tests::{connection, drain, stamp};
    use crate::model::Side;
    let mut connection = connection(&Config::default());
    connection.handle_data(Side::Client, stamp(1), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.skippable(Side::Client), 0);
    connection.handle_data(Side::Server, stamp(2), b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc");
    assert_eq!(connection.skippable(Side::Server), 99_997);
    connection.handle_skip(Side::Server, stamp(3), 99_990);
    assert_eq!(connection.skippable(Side::Server), 7);
    connection.handle_skip(Side::Server, stamp(4), 7);
    assert_eq!(connection.skippable(Side::Server), 0);
    let mut out = String::new();
    drain(&mut connection, &mut out, true);
    assert_eq!(out, "1.1 GET / HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h length 100000 has 100000 [2,3,4 @2-4]\n");
}

#[test]
fn an_idle_connection_is_small() {
    let bytes = size_of::<super::Connection>();
    assert!(bytes <= 448, "{bytes}");
}

#[test]
fn a_body_behind_a_response_to_head_is_counted_as_such() {
    let head = r"
        > HEAD /b/k HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 200 OK
        < Content-Length: 5
        <
        ";
    let next = r"
        > GET /b/k HTTP/1.1
        > Host: s3
        >
        < HTTP/1.1 200 OK
        < Content-Length: 0
        <
        ";
    let first = "1.1 HEAD /b/k HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h";
    check(
        &format!("{head}!\n< hello\\\n{next}"),
        &format!(
            "{first} [2 @2-2]\n1.2 GET /b/k HTTP/1.1 1h [4 @4-4] -> HTTP/1.1 200 OK 1h length 0 [5 @5-5] !bytes-after-end\nlost 5 body-after-head at 3"
        ),
    );
    check(
        &format!("{head}{next}"),
        &format!("{first} [2 @2-2]\n1.2 GET /b/k HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 200 OK 1h length 0 [4 @4-4]"),
    );
}
