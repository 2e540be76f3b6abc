//! Every anomaly that this room names, each by a message that shows it.

use crate::decode::http1::Config;
use crate::decode::http1::tests::{check, check_with, events, run};
use crate::model::Anomaly;

/// A request given by the lines of its head; it must come out with exactly these anomalies.
#[track_caller]
fn request(head: &str, rest: &str, expected: &str) {
    check(&format!("> {}\n>\n{rest}", head.replace('\n', "\n> ")), expected);
}

/// A response to GET, likewise.
#[track_caller]
fn response(head: &str, rest: &str, expected: &str) {
    let transcript = format!("> GET / HTTP/1.1\n> Host: a\n>\n< {}\n<\n{rest}\n! close <", head.replace('\n', "\n< "));
    check(&transcript, &format!("1.1 GET / HTTP/1.1 1h [1 @1-1] -> {expected}"));
}

#[test]
fn odd_heads() {
    for (head, seen) in [
        ("GET / HTTP/1.1\nHost: a\nX : y", "GET / HTTP/1.1 2h !space-before-colon"),
        ("GET / HTTP/1.1\nHost: a\nX(y): y", "GET / HTTP/1.1 2h !invalid-header-name"),
        ("GET / HTTP/1.1\nHost: a\n: y", "GET / HTTP/1.1 2h !invalid-header-name"),
        (r"GET / HTTP/1.1\nHost: a", "GET / HTTP/1.1 1h !bare-line-feed"),
        (r"GET / HTTP/1.1\r\nHost: a\nX: y", "GET / HTTP/1.1 2h !bare-line-feed"),
        (r"GET / HTTP/1.1\r\nHost: a\rX: y", "GET / HTTP/1.1 1h !bare-carriage-return"),
        ("GET / HTTP/1.1\nHost: a\nX: y\n z", "GET / HTTP/1.1 2h !obsolete-line-folding"),
        (r"GET / HTTP/1.1\r\nHost: a\r\nX: \x00", "GET / HTTP/1.1 2h !nul-in-head"),
        ("GET / HTTP/1.1\nHost: a\nnothing", "GET / HTTP/1.1 1h !line-without-colon"),
        ("GET  /  HTTP/1.1\nHost: a", "GET / HTTP/1.1 1h !odd-start-line"),
        (r"GET\t/\tHTTP/1.1\r\nHost: a", "GET / HTTP/1.1 1h !odd-start-line"),
        (" GET / HTTP/1.1\nHost: a", "GET / HTTP/1.1 1h !odd-start-line"),
        ("GET / http/1.1\nHost: a", "GET / HTTP/1.1 1h !odd-start-line"),
        ("GET / HTTP/1.12\nHost: a", "GET / HTTP/1.1 1h !odd-start-line"),
        ("GET /a b HTTP/1.1\nHost: a", "GET /a b HTTP/1.1 1h !odd-start-line"),
        ("G@T /a HTTP/1.1\nHost: a", "G@T /a HTTP/1.1 1h !odd-start-line"),
        ("get /a HTTP/1.1\nHost: a", "get /a HTTP/1.1 1h"),
        ("PROPFIND /a HTTP/1.1\nHost: a", "PROPFIND /a HTTP/1.1 1h"),
        ("\nGET / HTTP/1.1\nHost: a", "GET / HTTP/1.1 1h !odd-start-line"),
        ("GET /", "GET / HTTP/0.9 0h !http-0.9"),
        ("GET / HTTP/1.1", "GET / HTTP/1.1 0h !invalid-host"),
        ("GET / HTTP/1.0", "GET / HTTP/1.0 0h"),
        ("GET / HTTP/1.1\nHost: a\nhost: b", "GET / HTTP/1.1 2h !invalid-host"),
    ] {
        let got = run(&events(&format!("> {}\n>", head.replace('\n', "\n> "))), &Config::default());
        assert_eq!(got.replace(" [1 @1-1] -> unanswered", ""), format!("1.1 {seen}\n"), "{head}");
    }
}

#[test]
fn odd_request_framing() {
    for (fields, seen) in [
        ("Content-Length: 3\nContent-Length: 3", "length 3 has 3 !repeated-content-length"),
        ("Content-Length: 3, 3", "length 3 has 3 !repeated-content-length"),
        ("Content-Length: 1\nContent-Length: 3", "length 3 has 3 !conflicting-content-lengths"),
        ("Content-Length: +3", "length 3 has 3 !invalid-content-length"),
        ("Content-Length: 3 3", "length 3 has 3 !invalid-content-length"),
        (
            "Content-Length: 3\nTransfer-Encoding: xchunked",
            "length 3 has 3 !content-length-with-transfer-encoding !invalid-transfer-encoding",
        ),
        (
            "Content-Length: 3\nTransfer-Encoding: identity",
            "length 3 has 3 !content-length-with-transfer-encoding !invalid-transfer-encoding",
        ),
    ] {
        request(
            &format!("PUT / HTTP/1.1\nHost: a\n{fields}"),
            "> abc\\",
            &format!(
                "1.1 PUT / HTTP/1.1 {}h {} [1 @1-1] -> unanswered{}",
                fields.lines().count() + 1,
                head_of(seen),
                notes_of(seen)
            ),
        );
    }
    for fields in ["Content-Length: -3", "Content-Length: 0x3", "Content-Length: 18446744073709551616", "Content-Length: "] {
        let seen = "1.1 PUT / HTTP/1.1 2h [1 @1-1] -> unanswered !invalid-content-length";
        request(&format!("PUT / HTTP/1.1\nHost: a\n{fields}"), "", seen);
    }
}

#[test]
fn odd_chunked_requests() {
    for (fields, chunks, seen) in [
        ("Transfer-Encoding: chunked\nContent-Length: 3", "3\n> abc\n> 0\n>", "!content-length-with-transfer-encoding"),
        ("transfer-encoding: chunked, identity", "3\n> abc\n> 0\n>", "!invalid-transfer-encoding"),
        ("transfer-encoding: gzip, chunked", "3\n> abc\n> 0\n>", "!invalid-transfer-encoding"),
        ("transfer-encoding: chunked\ntransfer-encoding: chunked", "3\n> abc\n> 0\n>", "!invalid-transfer-encoding"),
        ("transfer-encoding: chunked", "3;a=b\n> abc\n> 0\n>", "!chunk-extension"),
        ("transfer-encoding: chunked", "0x3\n> abc\n> 0\n>", "!invalid-chunk-size"),
        ("transfer-encoding: chunked", "3 \n> abc\n> 0\n>", "!invalid-chunk-size"),
        ("transfer-encoding: chunked", "00000000000000003\n> abc\n> 0\n>", "!invalid-chunk-size"),
        ("transfer-encoding: chunked", "3\\n\\\n> abc\n> 0\n>", "!bare-line-feed"),
        ("transfer-encoding: chunked", "3\n> abc\\n\\\n> 0\n>", "!invalid-chunk-end"),
        ("transfer-encoding: chunked", "3\n> abc0\n>", "!invalid-chunk-end"),
    ] {
        let count = fields.lines().count() + 1;
        request(
            &format!("PUT / HTTP/1.1\nHost: a\n{fields}"),
            &format!("> {chunks}"),
            &format!("1.1 PUT / HTTP/1.1 {count}h chunked has 3 [1 @1-1] -> unanswered {seen}"),
        );
    }
    request(
        "PUT / HTTP/1.0\nTransfer-Encoding: chunked",
        "> 3\n> abc\n> 0\n>",
        "1.1 PUT / HTTP/1.0 1h chunked has 3 [1 @1-1] -> unanswered !transfer-encoding-in-http10",
    );
    request(
        "PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked",
        "> 10000000000000000\n> abc\n> 0\n>",
        "1.1 PUT / HTTP/1.1 2h chunked (cut) [1 @1-?] -> unanswered !invalid-chunk-size
         lost 29 not-http at 1",
    );
}

#[test]
fn odd_responses() {
    response("HTTP/1.1 200", "", "HTTP/1.1 200  0h until-close [2 @2-2]");
    response(r"http/1.1 200 OK", "< abc\\", "HTTP/1.1 200 OK 0h until-close has 3 [2 @2-2] !odd-start-line");
    response("HTTP/1.1 2x0 OK", "< abc\\", "HTTP/1.1 2 OK 0h until-close has 3 [2 @2-2] !odd-start-line");
    response("HTTP/1.1 OK", "< abc\\", "HTTP/1.1 0  0h until-close has 3 [2 @2-2] !odd-start-line");
    response("HTTP/1.1\\t200\\tOK", "< abc\\", "HTTP/1.1 200 OK 0h until-close has 3 [2 @2-2] !odd-start-line");
    response("HTTP/2.0 200 OK", "< abc\\", "HTTP/1.1 200 OK 0h until-close has 3 [2 @2-2] !odd-start-line");
    response("HTTP/1.1 200 \\xff", "< abc\\", "HTTP/1.1 200 \\xff 0h until-close has 3 [2 @2-2]");
    response(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
        "< <html>\\",
        "HTTP/1.1 200 OK 1h chunked (cut) [2 @2-?] !body-cut-short",
    );
    response(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
        "< <html>\n< abc\\",
        "HTTP/1.1 200 OK 1h until-close has 11 [2 @2-2] !invalid-chunk-size",
    );
    response(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked, gzip",
        "< abc\\",
        "HTTP/1.1 200 OK 1h until-close has 3 [2 @2-2] !invalid-transfer-encoding",
    );
    response(
        "HTTP/1.1 200 OK\nContent-Length: x",
        "< abc\\",
        "HTTP/1.1 200 OK 1h until-close has 3 [2 @2-2] !invalid-content-length",
    );
    response("HTTP/1.1 204 No Content\nContent-Length: 3", "", "HTTP/1.1 204 No Content 1h [2 @2-2] !unexpected-body");
}

#[test]
fn simple_requests_and_responses() {
    check(
        r"
        > GET /old
        < <html>\
        !
        < </html>\
        ! close <
        ",
        "1.1 GET /old HTTP/0.9 0h [1 @1-1] -> HTTP/0.9 200  0h until-close has 13 '<html></html>' [2,3 @2-3] !http-0.9",
    );
}

#[test]
fn bodies_where_none_belong() {
    request(
        "GET / HTTP/1.1\nHost: a\nContent-Length: 3",
        "> abc\\",
        "1.1 GET / HTTP/1.1 2h length 3 has 3 [1 @1-1] -> unanswered !unexpected-body",
    );
}

#[test]
fn octets_between_messages() {
    check(
        r"
        > POST /1 HTTP/1.1
        > Host: a
        > Content-Length: 1
        >
        > x
        < HTTP/1.1 204 No Content
        <
        < body of a 204\r\n\
        > GET /2 HTTP/1.1
        > Host: a
        >
        < HTTP/1.1 204 No Content
        <
        ",
        "1.1 POST /1 HTTP/1.1 2h length 1 has 1 [1 @1-1] -> HTTP/1.1 204 No Content 0h [2 @2-2]
         1.2 GET /2 HTTP/1.1 1h [3 @3-3] -> HTTP/1.1 204 No Content 0h [4 @4-4] !bytes-after-end
         lost 15 not-http at 2",
    );
}

#[test]
fn heads_cut_by_the_end() {
    check("> GET / HTTP/1.1\n> Host: a\n! close >", "1.1 GET / HTTP/1.1 1h (cut) [1 @1-?] -> closed by Client !head-cut-short");
    check("> GET / HTTP/1.1\n> Host: a", "1.1 GET / HTTP/1.1 1h (cut) [1 @1-?] -> unanswered !gap-in-head");
    check("> GET / HTT\\\n! close >", "1.1 GET / HTTP/1.1 0h (cut) [1 @1-?] -> closed by Client !head-cut-short");
    check("> GET /ab\\\n! close >", "lost 7 before-first-message at 1");
    check(
        "< HTTP/1.1 404 No\\\n! close <",
        "1.1 ?  HTTP/1.1 0h (cut) [ @0-?] -> HTTP/1.1 404 No 0h (cut) [1 @1-?] !head-cut-short !response-without-request",
    );
    check(
        "> GET / HTTP/1.1\n> Host: a\n< HTTP/1.1 408 Request Timeout\n< Content-Length: 0\n<",
        "1.1 GET / HTTP/1.1 1h (cut) [1 @1-?] -> HTTP/1.1 408 Request Timeout 1h length 0 [2 @2-2] !head-cut-short",
    );
}

#[test]
fn bounds_on_heads() {
    let config = Config { head_bytes_max: 60, fields_max: 3, interim_max: 1, ..Config::default() };
    check_with(
        &config,
        "> GET / HTTP/1.1\n> Host: a\n> 1: 1\n> 2: 2\n> 3: 3\n>",
        "lost 10 head-beyond-limits at 1\n1.1 GET / HTTP/1.1 3h [1 @1-1] -> unanswered !too-many-headers",
    );
    check_with(
        &config,
        "> GET / HTTP/1.1\n> Host: a\n> X: 0123456789012345678901234567890123456789\n> 2: 2\n>",
        "lost 18 head-beyond-limits at 1\n1.1 GET / HTTP/1.1 2h [1 @1-1] -> unanswered !head-too-long",
    );
    check_with(
        &config,
        "> GET / HTTP/1.1\n> Host: a\n>\n< HTTP/1.1 100 Continue\n<\n< HTTP/1.1 100 Continue\n<\n< HTTP/1.1 204 No\n<",
        "1.1 GET / HTTP/1.1 1h [1 @1-1] ~ 100 -> HTTP/1.1 204 No 0h [2 @2-2] !too-many-interim-responses",
    );
}

#[test]
fn anomalies_of_the_stream_are_attached() {
    check(
        "! anomaly > urgent-data\n> GET / HTTP/1.1\n> Host: a\n>\n! anomaly < overlap-differs\n< HTTP/1.1 204 No\n<",
        "1.1 GET / HTTP/1.1 1h [2 @2-2] -> HTTP/1.1 204 No 0h [4 @4-4] !overlap-differs !urgent-data",
    );
}

#[test]
fn a_tls_alert_in_place_of_a_response_is_named() {
    check(
        "> GET / HTTP/1.1\n> Host: a\n>\n< \\x15\\x03\\x01\\x00\\x02\\x02\\x46\\\n! close <\n! close >",
        "1.1 GET / HTTP/1.1 1h [1 @1-1] -> closed by Server !tls-answer\nlost 7 tls-shut at 2",
    );
}

#[test]
fn the_preface_of_http2_is_named() {
    check(
        r"
        > PRI * HTTP/2.0
        >
        > SM
        >
        < \x00\x00\x00\x04\
        ",
        "lost 24 http2-not-decoded at 1
         lost 4 http2-not-decoded at 2",
    );
}

#[test]
fn every_anomaly_of_heads_and_bodies_is_shown_above() {
    // Those of other rooms: reassembly, TLS.
    let others = [Anomaly::DataAfterReset, Anomaly::RecordsSkipped, Anomaly::EarlyData];
    let tests = [include_str!("anomalies.rs"), include_str!("loss.rs"), include_str!("traffic.rs")].concat();
    for anomaly in Anomaly::ALL.iter().filter(|anomaly| !others.contains(anomaly)) {
        assert!(tests.contains(&format!("!{}", anomaly.name())), "{} has no test", anomaly.name());
    }
}

fn head_of(seen: &str) -> &str {
    seen.split(" !").next().unwrap()
}

fn notes_of(seen: &str) -> &str {
    &seen[head_of(seen).len()..]
}
