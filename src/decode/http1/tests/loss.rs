//! Gaps, and flows of which only a part was captured.

use crate::decode::http1::Config;
use crate::decode::http1::tests::{check, check_with, events, run};

#[test]
fn a_gap_in_a_known_body_is_arithmetic() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 200 OK
        < Content-Length: 10
        <
        < 0\
        ! gap < 5
        < 6789\
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h length 10 has 10 lacks 1..6 [2,4 @2-4] !gap-in-body
         1.2 GET /2 HTTP/1.1 1h [5 @5-5] -> HTTP/1.1 204 No Content 0h [6 @6-6]",
    );
}

#[test]
fn a_lost_response_leaves_its_request_unanswered() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        ! gap < 200
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        > GET /3 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 404 Not Found
        < Content-Length: 0
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> unanswered !gap-in-head
         1.2 GET /2 HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 204 No Content 0h [4 @4-4]
         1.3 GET /3 HTTP/1.1 1h [5 @5-5] -> HTTP/1.1 404 Not Found 1h length 0 [6 @6-6]",
    );
}

#[test]
fn a_gap_that_is_noticed_late_does_not_shift_the_pairing() {
    // Two more requests came before the receiver's acknowledgement proved the gap: the times of capture tell.
    use crate::decode::http1::tests::{connection, drain, stamp};
    use crate::model::Side::{Client, Server};
    let mut connection = connection(&Config::default());
    connection.handle_data(Client, stamp(1), b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.handle_data(Client, stamp(3), b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.handle_data(Client, stamp(5), b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.handle_gap(Server, stamp(4), 100);
    connection.handle_data(Server, stamp(4), b"HTTP/1.1 202 Two\r\nContent-Length: 0\r\n\r\n");
    connection.handle_data(Server, stamp(6), b"HTTP/1.1 203 Three\r\nContent-Length: 0\r\n\r\n");
    let mut out = String::new();
    drain(&mut connection, &mut out, false);
    assert_eq!(
        out,
        "1.1 GET /1 HTTP/1.1 1h -> unanswered !gap-in-head\n\
         1.2 GET /2 HTTP/1.1 1h -> HTTP/1.1 202 Two 1h length 0\n\
         1.3 GET /3 HTTP/1.1 1h -> HTTP/1.1 203 Three 1h length 0\n"
    );
}

#[test]
fn a_gap_under_pipelining_takes_the_response_that_was_due() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        > GET /2 HTTP/1.1
        > Host: a
        >
        > GET /3 HTTP/1.1
        > Host: a
        >
        ! gap < 100
        < HTTP/1.1 202 Two
        < Content-Length: 0
        <
        < HTTP/1.1 203 Three
        < Content-Length: 0
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> unanswered !gap-in-head
         1.2 GET /2 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 202 Two 1h length 0 [3 @3-3]
         1.3 GET /3 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 203 Three 1h length 0 [3 @3-3]",
    );
}

#[test]
fn a_gap_over_the_end_of_a_body_is_followed_by_a_search() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 200 OK
        < Content-Length: 10
        <
        < 01\
        ! gap < 20
        < rest of a lost head\r\n\r\nbody\
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h length 10 has 10 lacks 2..10 [2 @2-?] !gap-in-body
         1.2 GET /2 HTTP/1.1 1h [5 @5-5] -> HTTP/1.1 204 No Content 0h [6 @6-6]
         lost 27 after-gap at 4",
    );
}

#[test]
fn a_gap_in_chunked_framing_ends_the_body() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 200 OK
        < Transfer-Encoding: chunked
        <
        < 10
        < 01\
        ! gap < 20
        < rest
        < 0
        <
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h chunked has 16 lacks 2..16 (cut) [2 @2-?] !gap-in-body
         1.2 GET /2 HTTP/1.1 1h [5 @5-5] -> HTTP/1.1 204 No Content 0h [6 @6-6]
         lost 11 after-gap at 4",
    );
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 200 OK
        < Transfer-Encoding: chunked
        <
        < 10
        < 01\
        ! gap < 14
        <
        < 0
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h chunked has 16 lacks 2..16 [2,4 @2-4] !gap-in-body",
    );
}

#[test]
fn a_head_cut_by_a_gap_counts_by_its_start_line() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        > X-Long: aaa\
        ! gap > 30
        < HTTP/1.1 200 OK
        < Content-Length: 5
        < Dat\
        ! gap < 100
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h (cut) [1 @1-?] -> HTTP/1.1 200 OK 1h (cut) [3 @3-?] !gap-in-head
         1.2 GET /2 HTTP/1.1 1h [5 @5-5] -> HTTP/1.1 204 No Content 0h [6 @6-6]",
    );
}

#[test]
fn the_end_of_a_request_line_is_enough_after_a_gap() {
    check(
        r"
        ! gap > 10
        > /to/key?x HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 ? /to/key?x HTTP/1.1 1h [2 @2-2] -> HTTP/1.1 204 No Content 0h [3 @3-3] !start-missing",
    );
}

#[test]
fn responses_without_their_requests_are_decoded() {
    check(
        r"
        < HTTP/1.1 200 OK
        < Content-Length: 1000
        <
        !
        < HTTP/1.1 100 Continue
        <
        < HTTP/1.1 201 Created
        < Content-Length: 2
        <
        < ok\
        ",
        "1.1 ?  HTTP/1.1 0h (cut) [ @0-?] -> HTTP/1.1 200 OK 1h [1 @1-1] !response-without-request
         1.2 ?  HTTP/1.1 0h (cut) [ @0-?] ~ 100 -> HTTP/1.1 201 Created 1h length 2 has 2 [2 @2-2] !response-without-request",
    );
}

#[test]
fn a_response_older_than_the_request_that_waits_is_not_its_answer() {
    use crate::decode::http1::tests::{connection, drain, stamp};
    use crate::model::Side::{Client, Server};
    let mut connection = connection(&Config::default());
    connection.handle_gap(Client, stamp(1), 100);
    connection.handle_data(Client, stamp(3), b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.handle_data(Server, stamp(2), b"HTTP/1.1 201 One\r\nContent-Length: 0\r\n\r\n");
    connection.handle_data(Server, stamp(4), b"HTTP/1.1 202 Two\r\nContent-Length: 0\r\n\r\n");
    let mut out = String::new();
    drain(&mut connection, &mut out, false);
    assert_eq!(
        out,
        "1.1 ?  HTTP/1.1 0h (cut) -> HTTP/1.1 201 One 1h length 0 !response-without-request\n\
         1.2 GET /2 HTTP/1.1 1h -> HTTP/1.1 202 Two 1h length 0\n"
    );
}

#[test]
fn a_capture_that_starts_in_the_middle_finds_the_next_messages() {
    check(
        r"
        < \x00\x01binary\
        > tail of a body\
        !
        < more\r\nof it\
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "lost 14 before-first-message at 2
         1.1 GET /2 HTTP/1.1 1h [4 @4-4] -> HTTP/1.1 204 No Content 0h [5 @5-5]
         lost 19 before-first-message at 1",
    );
}

#[test]
fn one_lost_segment_costs_one_response_among_a_thousand() {
    let mut transcript = String::new();
    for number in 0..1000 {
        transcript.push_str(&format!("> GET /{number} HTTP/1.1\n> Host: a\n>\n"));
        if number == 500 {
            transcript.push_str("! gap < 60\n");
        } else {
            transcript.push_str("< HTTP/1.1 200 OK\n< Content-Length: 5\n<\n< hello\\\n");
        }
    }
    let out = run(&events(&transcript), &Config::default());
    assert_eq!(out.lines().count(), 1000);
    assert_eq!(out.lines().filter(|line| line.contains("has 5 [")).count(), 999);
    assert!(
        out.lines().nth(500).is_some_and(|line| line.contains("GET /500 HTTP/1.1 1h") && line.contains("unanswered")),
        "{out}"
    );
}

#[test]
fn an_unread_head_is_a_loss_and_not_a_gap() {
    check(
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        ! skip < 100
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> unanswered !gap-in-head
         1.2 GET /2 HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 204 No Content 0h [4 @4-4]
         lost 100 after-gap at 2",
    );
}

#[test]
fn bodies_cut_by_the_end_are_incomplete() {
    for (end, note) in [("! close <", " !body-cut-short"), ("! reset <", " !body-cut-short"), ("! unseen <", "")] {
        check(
            &format!("> GET / HTTP/1.1\n> Host: a\n>\n< HTTP/1.1 200 OK\n< Content-Length: 9\n<\n< abc\\\n{end}"),
            &format!("1.1 GET / HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 200 OK 1h length 9 has 3 (cut) [2 @2-?]{note}"),
        );
    }
}

#[test]
fn requests_beyond_the_bound_are_given_out_and_the_pairing_holds() {
    let config = Config { pipelined_max: 2, ..Config::default() };
    check_with(
        &config,
        r"
        > GET /1 HTTP/1.1
        > Host: a
        >
        > GET /2 HTTP/1.1
        > Host: a
        >
        > GET /3 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 201 One
        < Content-Length: 0
        <
        < HTTP/1.1 202 Two
        < Content-Length: 0
        <
        < HTTP/1.1 203 Three
        < Content-Length: 0
        <
        ",
        "1.1 GET /1 HTTP/1.1 1h [1 @1-1] -> unanswered
         1.2 ?  HTTP/1.1 0h (cut) [ @0-?] -> HTTP/1.1 201 One 1h length 0 [2 @2-2] !response-without-request
         1.3 GET /2 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 202 Two 1h length 0 [2 @2-2]
         1.4 GET /3 HTTP/1.1 1h [1 @1-1] -> HTTP/1.1 203 Three 1h length 0 [2 @2-2]",
    );
}
