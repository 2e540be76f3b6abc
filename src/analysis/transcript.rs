//! Test support: a compact text becomes events, and events a run.
//!
//! ```text
//! = 172.18.0.5 172.18.0.4:8091        a new flow in clear (`tls` after it: inside TLS, opened)
//! @ 0.8                               seconds go by
//! * User-Agent: x                     a header that all requests from here on carry
//! > PUT /b/k | Name: value | .body    a request
//! < 200 | Name: value | .body         its answer (`< -`: none), 3 ms later
//! x client closed 5.0 | 1000 of 5000  how the exchange before was cut: by whom, closed or reset, seconds after the request,
//!                                     and how much of the body passed (of the request where it has no response)
//! ! missing 512                       the flow ends (before the capture does), with so many octets of its client missing
//! ! no-start                          the flow ends; its first packet was not seen
//! ! end                               the flow ends (`one-sided`: seen in one direction; `acknowledged`: its client has all bytes)
//! ! shut sidekick                     the flow is TLS and stayed shut; the server name asked for
//! ! dropped 7                         the capture lost packets
//! ```

use std::time::Duration;

use crate::analysis::{Analysis, Counts, Judged, Options, Sink, Summary};
use crate::model::{
    Body, Close, Ending, Endpoint, Endpoints, Event, Exchange, ExchangeId, FlowClosed, FlowId, FlowOpened, Frame, Framing,
    Handshake, Headers, Loss, Outcome, Protocol, Request, Response, Shut, Side, Stamp, StreamCount, Timestamp, TlsVersion,
    TlsView, Transport, Version,
};
use crate::rules::{Finding, Outcome as VerdictOutcome};

/// What a run said.
pub(crate) struct Told {
    pub(crate) summary: Summary,
    /// Hop and operation of each exchange, as the sink heard them.
    pub(crate) exchanges: Vec<(String, Option<&'static str>)>,
    pub(crate) raised: Vec<&'static str>,
}

impl Told {
    pub(crate) fn finding(&self, rule: &str) -> Option<&Finding> {
        self.summary.findings.iter().find(|finding| finding.rule.name == rule)
    }

    pub(crate) fn fired(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.summary.findings.iter().map(|finding| finding.rule.name).collect();
        names.dedup();
        names
    }

    pub(crate) fn outcome(&self) -> VerdictOutcome {
        self.summary.verdict.outcome
    }

    /// Checks what must and must not be reported, and that every finding has evidence.
    pub(crate) fn check(&self, outcome: VerdictOutcome, must: &[&str], must_not: &[&str]) {
        let fired = self.fired();
        for rule in must {
            assert!(fired.contains(rule), "{rule} did not fire; {fired:?}");
        }
        for rule in must_not {
            assert!(!fired.contains(rule), "{rule} fired: {}", self.finding(rule).unwrap().message);
        }
        assert_eq!(self.outcome(), outcome, "{}", self.summary.verdict.message);
        for finding in &self.summary.findings {
            assert!(!finding.evidence.is_empty(), "{} has no evidence", finding.rule.name);
        }
    }
}

/// Runs a transcript.
pub(crate) fn run(text: &str) -> Told {
    run_with(text, Options::default())
}

/// Runs a transcript with options.
pub(crate) fn run_with(text: &str, options: Options) -> Told {
    struct Ear(Vec<(String, Option<&'static str>)>, Vec<&'static str>);
    impl Sink for Ear {
        fn exchange(&mut self, record: &Judged<'_>) {
            self.0.push((record.hop.to_owned(), record.call.map(|call| call.operation.name())));
        }
        fn loss(&mut self, _loss: &Loss) {}
        fn raised(&mut self, finding: &Finding) {
            self.1.push(finding.rule.name);
        }
    }
    let mut script = Script::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        script.read_line(line);
    }
    script.end_all();
    let mut analysis = Analysis::new(options);
    let mut ear = Ear(Vec::new(), Vec::new());
    analysis.handle_counts(&script.counts);
    for event in script.events {
        analysis.handle_event(event, &mut ear);
    }
    let summary = analysis.finish(&mut ear);
    Told { summary, exchanges: ear.0, raised: ear.1 }
}

#[derive(Default)]
struct Script {
    events: Vec<Event>,
    open: Vec<(FlowClosed, Transport)>,
    common: Vec<(String, String)>,
    now: Timestamp,
    frame: u64,
    ordinal: u32,
    request: Option<Request>,
    counts: Counts,
}

impl Script {
    fn read_line(&mut self, line: &str) {
        let (mark, rest) = line.split_once(' ').unwrap();
        match mark {
            "=" => self.open_flow(rest),
            "@" => {
                let seconds: f64 = rest.parse().unwrap();
                let span = Duration::from_secs_f64(seconds.abs());
                self.now = if seconds < 0.0 { self.now.before(span) } else { self.now.after(span) };
            }
            "*" => {
                let (name, value) = rest.split_once(": ").unwrap();
                self.common.retain(|(have, _)| have != name);
                self.common.push((name.to_owned(), value.to_owned()));
            }
            ">" => self.request = Some(self.read_request(rest)),
            "<" => self.answer(rest),
            "x" => self.cut(rest),
            "!" => self.happen(rest),
            _ => panic!("{line}"),
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.frame += 1;
        Stamp { at: self.now, frame: Frame::new(0, self.frame) }
    }

    fn open_flow(&mut self, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let first = self.stamp();
        let port = 40_000 + u16::try_from(self.frame).unwrap();
        let server: std::net::SocketAddr = words[1].parse().unwrap();
        let endpoints = Endpoints {
            client: Endpoint::new(words[0].parse().unwrap(), port),
            server: Endpoint::new(server.ip(), server.port()),
        };
        let is_tls = words.get(2) == Some(&"tls");
        let view = TlsView { version: Some(TlsVersion::Tls13), suite: Some(0x1301), ..TlsView::default() };
        let transport = if is_tls { Transport::Tls(std::sync::Arc::new(view.clone())) } else { Transport::Clear };
        let protocol = if is_tls {
            Protocol::Tls { view, shut: None, sealed_bytes: 1000, handshake: Handshake::Established }
        } else {
            Protocol::Http1
        };
        let flow = FlowId(self.frame);
        self.events.push(Event::FlowOpened(FlowOpened { flow, endpoints, first, syn: None }));
        let count = StreamCount { delivered: 1000, ..StreamCount::default() };
        let closed = FlowClosed {
            flow,
            endpoints,
            first,
            last: first,
            has_start: true,
            both_sides: true,
            close: Close::Finished,
            protocol,
            client: count,
            server: count,
            packets: 10,
            exchanges: 0,
            anomalies: Vec::new(),
            first_gap: None,
            undecoded: Vec::new(),
            proxied: None,
            tunnel: None,
        };
        self.open.push((closed, transport));
        self.ordinal = 0;
    }

    fn happen(&mut self, rest: &str) {
        let (what, value) = rest.split_once(' ').unwrap_or((rest, ""));
        if what == "dropped" {
            self.counts.packets_dropped = value.parse().unwrap();
            return;
        }
        let (mut closed, _) = self.open.pop().unwrap();
        match what {
            "missing" => closed.client.missing = value.parse().unwrap(),
            "missing-answers" => closed.server.missing = value.parse().unwrap(),
            "no-start" => closed.has_start = false,
            "one-sided" => closed.both_sides = false,
            "end" => {}
            "acknowledged" => closed.server.acknowledged = closed.server.delivered,
            "unacknowledged" => closed.server.acknowledged = 0,
            "shut" => {
                let view = TlsView { sni: Some(value.to_owned()), version: Some(TlsVersion::Tls13), ..TlsView::default() };
                closed.protocol =
                    Protocol::Tls { view, shut: Some(Shut::NoSecret), sealed_bytes: 4000, handshake: Handshake::Established };
            }
            _ => panic!("{rest}"),
        }
        closed.last.at = self.now;
        self.events.push(Event::FlowClosed(Box::new(closed)));
    }

    fn end_all(&mut self) {
        for (mut closed, _) in std::mem::take(&mut self.open) {
            closed.last.at = self.now;
            self.events.push(Event::FlowClosed(Box::new(closed)));
        }
    }

    fn read_request(&mut self, rest: &str) -> Request {
        let mut parts = rest.split(" | ");
        let (method, target) = parts.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::from_parts(method.as_bytes(), target.as_bytes(), Version::Http11);
        for (name, value) in &self.common {
            request.headers.append(name.as_bytes(), value.as_bytes());
        }
        request.body = read_fields(parts, &mut request.headers);
        request.frames = [self.stamp().frame].into_iter().collect();
        request.start = self.now;
        request.end = Some(self.now);
        request
    }

    fn answer(&mut self, rest: &str) {
        let request = self.request.take().unwrap();
        let mut parts = rest.split(" | ");
        let status = parts.next().unwrap();
        self.now = self.now.after(Duration::from_millis(3));
        let outcome = if status == "-" {
            Outcome::Reset { by: Side::Server }
        } else {
            let mut response = Response::from_parts(status.parse().unwrap(), b"", Version::Http11);
            response.body = read_fields(parts, &mut response.headers);
            response.frames = [self.stamp().frame].into_iter().collect();
            response.start = self.now;
            response.end = Some(self.now);
            Outcome::Answered(Box::new(response))
        };
        self.ordinal += 1;
        let (closed, transport) = self.open.last().unwrap();
        let id = ExchangeId { flow: closed.flow, ordinal: self.ordinal };
        let (endpoints, transport) = (closed.endpoints, transport.clone());
        let exchange = Exchange {
            id,
            endpoints,
            transport,
            request,
            interim: Vec::new(),
            outcome,
            ending: None,
            tunnel: None,
            anomalies: Vec::new(),
        };
        self.events.push(Event::Exchange(Box::new(exchange)));
    }
}

impl Script {
    /// The last exchange was cut short by a peer.
    fn cut(&mut self, rest: &str) {
        let stamp = self.stamp();
        let Some(Event::Exchange(exchange)) = self.events.last_mut() else { panic!("{rest}") };
        let (how, lengths) = rest.split_once(" | ").unwrap_or((rest, ""));
        let words: Vec<&str> = how.split(' ').collect();
        let by = if words[0] == "client" { Side::Client } else { Side::Server };
        let seconds: f64 = words[2].parse().unwrap();
        let start = exchange.request.start;
        let span = Duration::from_secs_f64(seconds.abs());
        let at = if seconds < 0.0 { start.before(span) } else { start.after(span) };
        let how = if words[1] == "reset" { Close::Reset } else { Close::Finished };
        let idle_since = (seconds < 0.0).then(|| at.before(Duration::from_secs(30)));
        exchange.ending = Some(Box::new(Ending { by, how, stamp: Stamp { at, frame: stamp.frame }, idle_since }));
        if exchange.response().is_none() {
            exchange.outcome = if how == Close::Reset { Outcome::Reset { by } } else { Outcome::ClosedEarly { by } };
        }
        if let Some((passed, declared)) = lengths.split_once(" of ") {
            let body = match &mut exchange.outcome {
                Outcome::Answered(response) => &mut response.body,
                _ => &mut exchange.request.body,
            };
            body.framing = Framing::Length(declared.parse().unwrap());
            (body.length, body.complete) = (passed.parse().unwrap(), false);
        }
    }
}

fn read_fields<'t>(parts: impl Iterator<Item = &'t str>, headers: &mut Headers) -> Body {
    let mut body = Body { complete: true, ..Body::default() };
    for part in parts {
        if let Some(text) = part.strip_prefix('.') {
            body.kept = text.as_bytes().to_vec();
            body.length = text.len() as u64;
        } else {
            let (name, value) = part.split_once(": ").unwrap();
            headers.append(name.as_bytes(), value.as_bytes());
        }
    }
    body
}
