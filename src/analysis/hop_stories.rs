//! Calls over several hops as text: which exchanges are held to be one call, why, and what is told of it.
//!
//! ```text
//! F = 10.0.0.5 10.0.0.4:8091                                    a connection (`tls` after it: inside TLS, opened)
//! F 0..10 GET /b/k | Name: value => 200 | Name: value           an exchange on it, from and to in ms, and its answer (`-`: none)
//! ```

use std::collections::HashMap;
use std::time::Duration;

use crate::analysis::{Analysis, JoinRow, Judged, Options, Sink, Summary};
use crate::hops::Correlator;
use crate::model::{
    Endpoint, Endpoints, Event, Exchange, ExchangeId, FlowId, FlowOpened, Frame, Headers, Loss, Outcome, Request, Response, Side,
    Stamp, Timestamp, TlsVersion, TlsView, Transport, Version,
};

/// What came of it: the exchanges in the order told, as `F1`, with their traces as `F1<F1`.
struct Told {
    order: String,
    summary: Summary,
}

impl Told {
    fn join(&self) -> &JoinRow {
        let [row] = self.summary.joins.as_slice() else { panic!("{:?}", self.summary.joins) };
        row
    }

    fn by(&self) -> String {
        let [row] = self.summary.joins.as_slice() else { return format!("{} rows", self.summary.joins.len()) };
        let text =
            |list: &[(&str, u64)]| list.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(" ");
        format!(
            "{} joined: {}, {}; {} and {} alone",
            row.joined,
            text(&row.by),
            text(&row.confidence),
            row.unmatched_downstream,
            row.unmatched_upstream
        )
    }
}

fn run(text: &str) -> Told {
    struct Ear(Vec<(ExchangeId, Option<ExchangeId>)>);
    impl Sink for Ear {
        fn exchange(&mut self, record: &Judged<'_>) {
            self.0.push((record.exchange.id, record.trace));
        }
        fn loss(&mut self, _loss: &Loss) {}
    }
    let (events, names) = events_of(text);
    let mut analysis = Analysis::new(Options::default());
    let mut ear = Ear(Vec::new());
    for event in events {
        analysis.handle_event(event, &mut ear);
    }
    let summary = analysis.finish(&mut ear);
    let name = |id: &ExchangeId| format!("{}{}", names[&id.flow], id.ordinal);
    let show = |(id, trace): &(ExchangeId, Option<ExchangeId>)| match trace {
        Some(trace) => format!("{}<{}", name(id), name(trace)),
        None => name(id),
    };
    Told { order: ear.0.iter().map(show).collect::<Vec<_>>().join(" "), summary }
}

/// The events of a text in the order in which the exchanges end.
fn events_of(text: &str) -> (Vec<Event>, HashMap<FlowId, String>) {
    let mut flows: HashMap<String, (FlowOpened, bool, u32)> = HashMap::new();
    let (mut opened, mut exchanges) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().map(str::trim).filter(|line| !line.is_empty()).zip(1..) {
        let (label, rest) = line.split_once(' ').unwrap();
        if let Some(ends) = rest.strip_prefix("= ") {
            let words: Vec<_> = ends.split(' ').collect();
            let server: std::net::SocketAddr = words[1].parse().unwrap();
            let client = Endpoint::new(words[0].parse().unwrap(), 40_000 + number);
            let endpoints = Endpoints { client, server: Endpoint::new(server.ip(), server.port()) };
            let first = Stamp { at: Timestamp::EPOCH, frame: Frame::new(0, u64::from(number)) };
            let flow = FlowOpened { flow: FlowId(u64::from(number)), endpoints, first, syn: None };
            opened.push(Event::FlowOpened(flow.clone()));
            flows.insert(label.to_owned(), (flow, words.len() > 2, 0));
        } else {
            let (flow, is_tls, ordinal) = flows.get_mut(label).unwrap();
            *ordinal += 1;
            let id = ExchangeId { flow: flow.flow, ordinal: *ordinal };
            exchanges.push(exchange(rest, id, flow.endpoints, *is_tls, u64::from(number)));
        }
    }
    exchanges.sort_by_key(|(end, _)| *end);
    opened.extend(exchanges.into_iter().map(|(_, exchange)| Event::Exchange(Box::new(exchange))));
    (opened, flows.into_iter().map(|(label, (flow, ..))| (flow.flow, label)).collect())
}

fn exchange(text: &str, id: ExchangeId, endpoints: Endpoints, is_tls: bool, number: u64) -> (u64, Exchange) {
    let (span, rest) = text.split_once(' ').unwrap();
    let (start, end) = span.split_once("..").unwrap();
    let (start, end): (u64, u64) = (start.parse().unwrap(), end.parse().unwrap());
    let at = |ms: u64| Timestamp::EPOCH.after(Duration::from_millis(ms));
    let (asked, told) = rest.split_once(" => ").unwrap();
    let (line, fields) = asked.split_once(" | ").unwrap_or((asked, ""));
    let (method, target) = line.split_once(' ').unwrap();
    let method = if method == "?" { "" } else { method };
    let mut request =
        Request::from_parts(method.as_bytes(), if method.is_empty() { b"" } else { target.as_bytes() }, Version::Http11);
    if !method.is_empty() {
        add_fields(&mut request.headers, fields);
        (request.start, request.end) = (at(start), Some(at(start)));
        request.frames = [Frame::new(0, number * 10)].into_iter().collect();
        request.body.complete = true;
    }
    let outcome = match told.split_once(" | ").unwrap_or((told, "")) {
        ("-", _) => Outcome::Reset { by: Side::Server },
        (status, fields) => {
            let mut response = Response::from_parts(status.parse().unwrap(), b"", Version::Http11);
            add_fields(&mut response.headers, fields);
            (response.start, response.end, response.body.complete) = (at(end), Some(at(end)), true);
            response.frames = [Frame::new(0, number * 10 + 1)].into_iter().collect();
            Outcome::Answered(Box::new(response))
        }
    };
    let view = TlsView { version: Some(TlsVersion::Tls13), ..TlsView::default() };
    let transport = if is_tls { Transport::Tls(std::sync::Arc::new(view)) } else { Transport::Clear };
    (
        end,
        Exchange {
            id,
            endpoints,
            transport,
            request,
            interim: Vec::new(),
            outcome,
            ending: None,
            tunnel: None,
            anomalies: Vec::new(),
        },
    )
}

fn add_fields(headers: &mut Headers, fields: &str) {
    for (name, value) in fields.split(" | ").filter(|field| !field.is_empty()).map(|field| field.split_once(": ").unwrap()) {
        headers.append(name.as_bytes(), value.as_bytes());
    }
}

const HOPS: &str = "F = 10.0.0.5 10.0.0.4:8091\nB = 10.0.0.4 10.0.0.2:9000\n";
const AGENT: &str = "User-Agent: Boto3/1.44.5";

fn signed(signature: &str) -> String {
    format!(
        "x-amz-date: 20261123T130000Z | Authorization: AWS4-HMAC-SHA256 Credential=lab/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
    )
}

#[test]
fn each_key_joins_where_the_surer_ones_are_missing() {
    for (front, back, answer, expected) in [
        (AGENT.to_owned(), AGENT.to_owned(), "200 | x-amz-request-id: 18EA", "request-id 1, certain 1"),
        (signed("ab"), signed("ab"), "200", "signature 1, strong 1"),
        (
            "amz-sdk-invocation-id: i | amz-sdk-request: attempt=1".to_owned(),
            "Amz-Sdk-Request: attempt=1 | Amz-Sdk-Invocation-Id: i".to_owned(),
            "200",
            "invocation-id 1, strong 1",
        ),
        (AGENT.to_owned(), format!("{AGENT} | X-Real-Ip: 10.0.0.5"), "200", "target-and-time 1, likely 1"),
        // The proxy signs what came unsigned.
        (AGENT.to_owned(), signed("ab"), "200", "target-and-time 1, likely 1"),
    ] {
        let told = run(&format!(
            "{HOPS}F 0..10 GET /b/k?list-type=2 | {front} => {answer}\nB 2..8 GET /b/k?list-type=2 | {back} => {answer}"
        ));
        assert_eq!(told.order, "B1<F1 F1<F1", "{expected}");
        assert_eq!(told.by(), format!("1 joined: {expected}; 0 and 0 alone"));
    }
}

#[test]
fn what_speaks_against_it_keeps_them_apart() {
    let attempt = |number: u32| format!("amz-sdk-invocation-id: i | amz-sdk-request: attempt={number}");
    for (front, back) in [
        // Another object, though the store's request ids never change (S3Proxy).
        (
            format!("GET /b/k1 | {AGENT} => 200 | x-amz-request-id: 4442"),
            format!("GET /b/k2 | {AGENT} => 200 | x-amz-request-id: 4442"),
        ),
        (format!("GET /b/k | {AGENT} => 200 | x-amz-request-id: 1"), format!("GET /b/k | {AGENT} => 200 | x-amz-request-id: 2")),
        (format!("GET /b/k | {} => 200", attempt(1)), format!("GET /b/k | {} => 200", attempt(2))),
        (format!("GET /b/k | {} => 200", signed("ab")), format!("GET /b/k | {} => 200", signed("cd"))),
        (format!("GET /b/k | {AGENT} => 200"), format!("HEAD /b/k | {AGENT} => 200")),
        (format!("GET /b/k | {AGENT} => 200"), format!("GET /b/k | {AGENT} | X-Real-Ip: 10.0.0.6 => 200")),
        (format!("GET /b/k?versionId=1 | {AGENT} => 200"), format!("GET /b/k?versionId=2 | {AGENT} => 200")),
    ] {
        let told = run(&format!("{HOPS}F 0..10 {front}\nB 2..8 {back}"));
        assert_eq!(told.order, "B1 F1", "{front} {back}");
        assert_eq!(told.by(), "0 joined: , ; 1 and 1 alone");
    }
}

#[test]
fn a_call_must_lie_within_the_one_that_led_to_it() {
    for (front, back, is_one) in [("0..10", "2..8", true), ("5..10", "2..8", false), ("0..6", "2..9", false)] {
        let told = run(&format!("{HOPS}F {front} GET /b/k | {AGENT} => 200 | X-Proxy: true\nB {back} GET /b/k | {AGENT} => 200"));
        assert_eq!(told.join().joined, u64::from(is_one), "{front} {back}");
    }
}

#[test]
fn a_retry_is_another_call_and_a_resend_is_the_same() {
    let attempt = |number: u32, signature: &str| {
        format!("amz-sdk-invocation-id: i | amz-sdk-request: attempt={number} | {}", signed(signature))
    };
    let (one, two) = (attempt(1, "ab"), attempt(2, "cd"));
    let told = run(&format!(
        "{HOPS}
        F 0..10 GET /b/k | {one} => 503\nB 1..9 GET /b/k | {one} => 503
        F 20..30 GET /b/k | {two} => 200\nB 21..29 GET /b/k | {two} => 200"
    ));
    assert_eq!(told.order, "B1<F1 F1<F1 B2<F2 F2<F2");
    assert_eq!((told.join().joined, told.join().retries, told.join().resends), (2, 1, 0));

    let told = run(&format!(
        "{HOPS}C = 10.0.0.4 10.0.0.3:9000
        B 1..3 GET /b/k | {one} => -\nC 4..8 GET /b/k | {one} => 200\nF 0..10 GET /b/k | {one} => 200"
    ));
    assert_eq!(told.order, "B1<F1 C1<F1 F1<F1");
    assert_eq!((told.join().joined, told.join().retries, told.join().resends), (1, 0, 1));
    assert_eq!((told.join().unmatched_downstream, told.join().unmatched_upstream), (0, 0));
}

#[test]
fn a_call_with_more_resends_than_a_chain_holds_is_given_out_with_all_of_them() {
    let same = format!("amz-sdk-invocation-id: i | amz-sdk-request: attempt=1 | {}", signed("ab"));
    let mut text = format!("{HOPS}C = 10.0.0.4 10.0.0.3:9000\n");
    for time in 1..60 {
        text.push_str(&format!("B {time}..{} GET /b/k | {same} => -\n", time + 1));
    }
    text.push_str(&format!("C 61..62 GET /b/k | {same} => 200\nF 0..70 GET /b/k | {same} => 200"));
    let told = run(&text);
    assert_eq!(told.order.split(' ').count(), 61, "{}", told.order);
}

#[test]
fn equal_requests_at_one_time_are_told_apart_by_their_answers() {
    let told = run(&format!(
        "{HOPS}G = 10.0.0.5 10.0.0.4:8091\nC = 10.0.0.4 10.0.0.2:9000
        F 0..10 HEAD /b/k | {AGENT} => 200 | X-Ratelimit-Remaining: 7
        G 0..11 HEAD /b/k | {AGENT} => 200 | X-Ratelimit-Remaining: 8
        B 2..7 HEAD /b/k | {AGENT} => 200 | X-Ratelimit-Remaining: 8
        C 2..8 HEAD /b/k | {AGENT} => 200 | X-Ratelimit-Remaining: 7"
    ));
    assert_eq!(told.order, "C1<F1 F1<F1 B1<G1 G1<G1");
}

#[test]
fn what_has_no_partner_is_a_result_and_keeps_its_place() {
    let told = run(&format!(
        "{HOPS}
        F 0..10 GET /b/1 | {AGENT} => 502 | Server: SideKick
        B 20..21 GET /minio/health/cluster => 200
        B 25..30 GET /b/own | {AGENT} => 200 | x-amz-request-id: 5
        F 40..50 GET /b/2 | {AGENT} => 200 | x-amz-request-id: 6\nB 42..48 GET /b/2 | {AGENT} => 200 | x-amz-request-id: 6
        F 9000..9010 GET /b/3 | {AGENT} => 200 | x-amz-request-id: 7\nB 9001..9002 GET /b/3 | {AGENT} => 200 | x-amz-request-id: 7"
    ));
    assert_eq!(told.order, "B1 B3<F2 F2<F2 F1 B2 B4<F3 F3<F3");
    assert_eq!(told.by(), "2 joined: request-id 2, certain 2; 1 and 1 alone");
}

#[test]
fn a_partner_that_comes_too_late_is_none() {
    let late = |end: u64| {
        run(&format!(
            "{HOPS}B 2..8 GET /b/k | {AGENT} => 200 | x-amz-request-id: 1\nF 0..{end} GET /b/k | {AGENT} => 200 | x-amz-request-id: 1
            B 3300..3400 GET /b/own | {AGENT} => 200"
        ))
    };
    assert_eq!(late(2500).join().joined, 1);
    assert_eq!(late(3500).join().joined, 0);
}

#[test]
fn a_trace_spans_three_hops() {
    let told = run(&format!(
        "A = 10.0.0.6 10.0.0.5:80\n{HOPS}
        A 0..20 GET /b/k | {AGENT} => 200 | x-amz-request-id: 1
        F 2..18 GET /b/k | {AGENT} => 200 | x-amz-request-id: 1
        B 4..16 GET /b/k | {AGENT} => 200 | x-amz-request-id: 1"
    ));
    assert_eq!(told.order, "B1<A1 F1<A1 A1<A1");
    assert_eq!(told.summary.joins.iter().map(|row| row.joined).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn addresses_need_not_tell_the_way() {
    let calls = format!(
        "F 0..10 GET /b/k | {AGENT} => 200 | x-amz-request-id: 1\nB 2..8 GET /b/k | {AGENT} => 200 | x-amz-request-id: 1
        F 20..30 GET /b/k | {AGENT} => 200\nB 22..28 GET /b/k | {AGENT} => 200"
    );
    for hops in [
        // All on one machine.
        "F = 127.0.0.1 127.0.0.1:8091\nB = 127.0.0.1 127.0.0.1:9000",
        // A proxy with an address on either side.
        "F = 10.0.0.5 10.0.0.4:8091\nB = 10.1.0.4 10.1.0.2:9000",
    ] {
        let told = run(&format!("{hops}\n{calls}"));
        assert_eq!(told.order, "B1<F1 F1<F1 B2<F2 F2<F2", "{hops}");
        let (front, back) = (told.join().downstream, told.join().upstream);
        assert_eq!(told.summary.hops.iter().find(|hop| hop.id == front).unwrap().upstream, Some(back));
    }
}

#[test]
fn an_answer_whose_request_was_lost_is_joined_by_its_id_alone() {
    let answer = "200 | x-amz-request-id: 1";
    let told = run(&format!("{HOPS}B 2..8 ? ? => {answer}\nF 0..10 GET /b/k | {AGENT} => {answer}"));
    assert_eq!(told.order, "B1<F1 F1<F1");
    assert_eq!(told.join().request_headers.added, []);
    let told = run(&format!("{HOPS}B 2..8 ? ? => 200\nF 0..10 ? ? => 200"));
    assert_eq!(told.order, "B1 F1");
}

#[test]
fn what_the_proxy_did_is_counted() {
    let own = signed("ab");
    let told = run(&format!(
        "{HOPS}
        F 0..20 GET /b/k | Host: s:8091 | connection: close | {own} => 200 | x-amz-request-id: 1 | Server: SideKick | Server: MinIO | X-Proxy: true
        B 3..15 GET /b/k | Host: s:8091 | X-Real-Ip: 10.0.0.5 | {own} => 200 | X-Amz-Request-Id: 1 | Server: MinIO"
    ));
    let row = told.join();
    let one = |name: &str| vec![(name.to_owned(), 1)];
    assert_eq!((&row.request_headers.added, &row.request_headers.dropped), (&one("x-real-ip"), &one("connection")));
    assert_eq!(row.response_headers.added, [("server".to_owned(), 1), ("x-proxy".to_owned(), 1)]);
    assert_eq!((&row.request_headers.signed, &row.request_headers.changed), (&Vec::new(), &Vec::new()));
    let legs = [row.latency.client_leg, row.latency.proxy, row.latency.store_leg].map(|leg| leg.unwrap().max.as_millis());
    assert_eq!(legs, [20, 3 + 5, 12]);
    assert!(!told.summary.findings.iter().any(|finding| finding.rule.name == "header-changed-between-hops"));
}

#[test]
fn a_signed_header_that_differs_is_reported_unless_the_proxy_signs_anew() {
    let story = |back: &str| {
        let own = signed("ab");
        run(&format!(
            "{HOPS}F 0..20 GET /b/k | Host: s:8091 | {own} => 403 | x-amz-request-id: 1\nB 3..15 GET /b/k | Host: store:9000 | {back} => 403 | x-amz-request-id: 1"
        ))
    };
    let told = story(&signed("ab"));
    let finding = told.summary.findings.iter().find(|finding| finding.rule.name == "header-changed-between-hops").unwrap();
    assert!(
        finding.message.contains("The header host") && finding.message.contains("refused 1 of them (403)"),
        "{}",
        finding.message
    );
    assert_eq!(finding.evidence.len(), 2);
    assert_eq!(told.join().request_headers.signed, [("host".to_owned(), 1)]);
    let told = story(&signed("cd"));
    assert!(!told.summary.findings.iter().any(|finding| finding.rule.name == "header-changed-between-hops"));
}

#[test]
fn rules_tell_what_the_store_saw_behind_the_proxy() {
    let key = "x-amz-server-side-encryption-customer-key: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let told = run(&format!(
        "F = 10.0.0.5 10.0.0.4:8091\nB = 10.0.0.4 10.0.0.2:9000 tls
        F 0..20 PUT /b/k | {AGENT} | {key} => 200 | x-amz-request-id: 1\nB 3..15 PUT /b/k | {AGENT} | {key} => 200 | x-amz-request-id: 1"
    ));
    let find = |name: &str| told.summary.findings.iter().find(|finding| finding.rule.name == name).unwrap();
    assert!(
        find("sse-c-key-in-clear").message.contains("1 of them reached the store inside TLS"),
        "{}",
        find("sse-c-key-in-clear").message
    );
    assert!(find("clear-before-tls").message.ends_with("Each was seen on both hops."));
    assert_eq!(find("clear-before-tls").evidence.len(), 2);
}

#[test]
fn what_waits_is_bounded() {
    let mut text = HOPS.to_owned();
    for number in 0..20_000 {
        text += &format!("B 2000..2000 GET /b/{number} | {AGENT} => 200 | x-amz-request-id: {number}\n");
    }
    let (events, _) = events_of(&text);
    let mut correlator = Correlator::default();
    let (mut waiting, mut most, mut told) = (0_usize, 0, Vec::new());
    for event in events {
        correlator.observe(&event);
        let Event::Exchange(exchange) = event else { continue };
        if !correlator.is_hop(exchange.endpoints) {
            continue;
        }
        waiting += 1;
        correlator.handle_exchange(exchange);
        while let Some(chain) = correlator.next_chain() {
            waiting -= chain.members.len();
            told.extend(chain.members.iter().map(|member| member.exchange.id.ordinal));
        }
        most = most.max(waiting);
    }
    assert!(most <= Correlator::EXCHANGES_MAX && most > 1000, "{most}");
    // What has waited in vain so often waits no longer.
    assert!(told.len() + waiting < 20_000 && told.is_sorted(), "{} {waiting}", told.len());
}

fn finding<'t>(told: &'t Told, rule: &str) -> Option<&'t crate::rules::Finding> {
    told.summary.findings.iter().find(|finding| finding.rule.name == rule)
}

const CHANGED: &str = "request-changed-between-hops";

#[test]
fn a_changed_request_line_is_joined_by_its_signature_and_named() {
    let sign = signed("ab12");
    for (asked, passed, words) in [
        ("GET /store/b/k", "GET /b/k", "another path: /store/b/k became /b/k"),
        ("GET /b//k", "GET /b/k", "another path: /b//k became /b/k"),
        ("GET /b/other", "GET /elsewhere", "another path: /b/other became /elsewhere"),
        ("HEAD /b/k", "GET /b/k", "another method: HEAD became GET"),
        ("GET /b?list-type=2&prefix=a", "GET /b?list-type=2", "another query: the query: prefix removed"),
    ] {
        let text = format!(
            "{HOPS}F 0..10 {asked} | {AGENT} | {sign} => 403\nB 2..8 {passed} | {sign} => 403 | x-minio-error-code: SignatureDoesNotMatch\n"
        );
        let told = run(&text);
        assert_eq!(told.join().joined, 1, "{asked}");
        let found = finding(&told, CHANGED).unwrap();
        assert!(found.message.contains(words), "{}", found.message);
        assert!(found.message.contains("refused 1 of them (403 SignatureDoesNotMatch)"), "{}", found.message);
        assert_eq!((found.count, found.severity), (1, crate::rules::Severity::Error));
    }
}

#[test]
fn an_unsigned_header_that_the_proxy_adds_is_named() {
    let sign = signed("ab12");
    let run_with = |status: u16| {
        run(&format!(
            "{HOPS}F 0..10 GET /b/k | {AGENT} | {sign} => {status}\nB 2..8 GET /b/k | {sign} | x-amz-cf-id: 1 | Via: cdn => {status} | x-minio-error-code: AccessDenied\n"
        ))
    };
    let told = run_with(403);
    let found = finding(&told, CHANGED).unwrap();
    assert!(found.message.contains("the header x-amz-cf-id was added"), "{}", found.message);
    assert_eq!(found.severity, crate::rules::Severity::Error);
    assert_eq!(finding(&run_with(200), CHANGED).unwrap().severity, crate::rules::Severity::Warning);
}

#[test]
fn a_proxy_that_signs_anew_may_change_what_it_signs() {
    let (own, other) = (signed("ab12"), signed("cd34"));
    let id = "x-amz-request-id: 18EAAF997433FBBA";
    let told =
        run(&format!("{HOPS}F 0..10 GET /store/b/k | {AGENT} | {own} => 200 | {id}\nB 2..8 GET /b/k | {other} => 200 | {id}\n"));
    assert_eq!(told.join().joined, 1);
    assert!(finding(&told, CHANGED).is_none());
}

#[test]
fn an_id_that_the_store_repeats_joins_no_other_path() {
    let id = "x-amz-request-id: 4442587FB7D0A2F9";
    let text = format!(
        "{HOPS}F 0..10 GET /b/a | {AGENT} => 200 | {id}\nB 2..8 GET /b/a => 200 | {id}\nF 20..30 GET /b/c | {AGENT} => 200 | {id}\nB 22..28 GET /b/d => 200 | {id}\n"
    );
    assert_eq!(run(&text).join().joined, 1);
    // Ids of its own for each request are enough, whatever the path.
    let text = text.replacen(id, "x-amz-request-id: 18EAAF997433FBB1", 2);
    assert_eq!(run(&text).join().joined, 2);
}

#[test]
fn a_cached_response_is_not_joined_to_an_older_request_of_the_same_id() {
    let id = "x-amz-request-id: 18EAAF997433FBBA";
    let told = run(&format!(
        "{HOPS}F 0..10 GET /b/k | {AGENT} => 200 | {id}\nB 2..8 GET /b/k => 200 | {id}\nF 1500..1501 GET /b/k?v | {AGENT} => 200 | {id}\n"
    ));
    assert_eq!(told.join().joined, 1);
    assert_eq!(told.order, "B1<F1 F1<F1 F2");
}

#[test]
fn a_response_that_the_proxy_encodes_is_named_and_its_own_headers_are_not() {
    let told = run(&format!(
        "{HOPS}F 0..10 GET /b/k | {AGENT} => 200 | x-amz-request-id: 18EAAF997433FBBA | Content-Encoding: gzip | ETag: W/\"a\" | Via: proxy\nB 2..8 GET /b/k => 200 | x-amz-request-id: 18EAAF997433FBBA | Content-Length: 3600 | ETag: \"a\" | Connection: close\n"
    ));
    let found = finding(&told, "response-changed-between-hops").unwrap();
    for words in
        ["content-encoding added as \"gzip\" (1)", "content-length removed (1)", "etag changed from \"a\" to W/\"a\" (1)"]
    {
        assert!(found.message.contains(words), "{}", found.message);
    }
    assert!(!found.message.contains("via") && !found.message.contains("connection"), "{}", found.message);
    let told = run(&format!(
        "{HOPS}F 0..10 GET /b/k | {AGENT} => 200 | x-amz-request-id: 18EAAF997433FBBA | X-Cache: MISS\nB 2..8 GET /b/k => 200 | x-amz-request-id: 18EAAF997433FBBA\n"
    ));
    assert!(finding(&told, "response-changed-between-hops").is_none());
}

#[test]
fn a_relay_on_the_clients_own_host_joins_its_two_sides() {
    let relay = "L = 127.0.0.1 127.0.0.1:8080\nB = 10.0.0.5 10.0.0.9:9000\n";
    let told = run(&format!(
        "{relay}L 0..10 GET /b/k | {AGENT} | {} => 200\nB 2..8 GET /b/k | {} => 200\n",
        signed("ab12"),
        signed("ab12")
    ));
    assert_eq!(told.join().joined, 1);
    assert_eq!(told.order, "B1<L1 L1<L1");
    // With a third machine in the capture nothing tells which of them holds the loopback address.
    let told = run(&format!(
        "{relay}X = 10.0.0.7 10.0.0.8:9000\nL 0..10 GET /b/k | {AGENT} | {} => 200\nB 2..8 GET /b/k | {} => 200\n",
        signed("ab12"),
        signed("ab12")
    ));
    assert!(told.summary.joins.is_empty());
}

#[test]
fn a_proxy_that_passes_on_the_stores_name_is_not_called_the_store() {
    let server = "x-amz-request-id: 18EAAF997433FBBA | Server: MinIO";
    let told = run(&format!("{HOPS}F 0..10 GET /b/k | {AGENT} => 200 | {server}\nB 2..8 GET /b/k | {AGENT} => 200 | {server}\n"));
    let names: Vec<_> = told.summary.hops.iter().map(|hop| hop.name.as_str()).collect();
    assert_eq!(names, ["proxy-store", "boto3-proxy"]);
}
