//! Transcripts: what both sides sent, and the exchanges that come out. `> ` and `< ` give a line of the client or the server
//! (CR LF is added, unless it ends in `\`; escapes `\r \n \t \xNN` work), neighbouring lines of one side are one packet,
//! `!` commands are listed in `Event::of`.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::decode::http1::{Config, Connection, Retain};
use crate::model::{
    Anomaly, Close, Endpoint, Endpoints, Exchange, FlowId, Frame, Frames, Framing, Outcome, Side, Stamp, Timestamp, Transport,
    Untrusted,
};

mod anomalies;
mod hostile;
mod laws;
mod loss;
mod observed;
mod traffic;

/// One thing that happens to a connection.
#[derive(Clone, Debug)]
enum Event {
    Data(Side, Vec<u8>),
    Skip(Side, u64),
    Gap(Side, u64),
    Close(Side, Close),
    Anomaly(Side, Anomaly),
}

impl Event {
    /// `gap < 100`, `skip > 100`, `fill < 100` (so many `x`), `close <`, `reset <`, `unseen <`, `anomaly > NAME`.
    fn of(command: &str) -> Self {
        let mut words = command.split(' ');
        let (word, mark, rest) = (words.next().unwrap(), words.next().unwrap(), words.next());
        let side = if mark == ">" { Side::Client } else { Side::Server };
        let number = || rest.unwrap().parse().unwrap();
        match word {
            "gap" => Self::Gap(side, number()),
            "skip" => Self::Skip(side, number()),
            "fill" => Self::Data(side, vec![b'x'; number() as usize]),
            "close" => Self::Close(side, Close::Finished),
            "reset" => Self::Close(side, Close::Reset),
            "unseen" => Self::Close(side, Close::Unseen),
            "anomaly" => Self::Anomaly(side, *Anomaly::ALL.iter().find(|known| Some(known.name()) == rest).unwrap()),
            other => panic!("unknown command {other}"),
        }
    }
}

impl Event {
    fn feed(&self, connection: &mut Connection, stamp: Stamp) {
        match self {
            Self::Data(side, data) => connection.handle_data(*side, stamp, data),
            Self::Skip(side, length) => connection.handle_skip(*side, stamp, *length),
            Self::Gap(side, length) => connection.handle_gap(*side, stamp, *length),
            Self::Close(side, how) => connection.handle_close(*side, stamp, *how),
            Self::Anomaly(side, anomaly) => connection.handle_anomaly(*side, *anomaly),
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail.first()) {
            (b'\\', Some(b'r')) => (out.push(b'\r'), rest = &tail[1..]).1,
            (b'\\', Some(b'n')) => (out.push(b'\n'), rest = &tail[1..]).1,
            (b'\\', Some(b't')) => (out.push(b'\t'), rest = &tail[1..]).1,
            (b'\\', Some(b'x')) => {
                out.push(u8::from_str_radix(std::str::from_utf8(&tail[1..3]).unwrap(), 16).unwrap());
                rest = &tail[3..];
            }
            _ => out.push(byte),
        }
    }
    out
}

fn line(text: &str) -> Vec<u8> {
    match text.strip_suffix('\\') {
        Some(part) => unescape(part),
        None => [unescape(text), b"\r\n".to_vec()].concat(),
    }
}

/// Reads a transcript; `!` alone separates packets.
fn events(transcript: &str) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    let mut joins = false;
    for text in transcript.lines().map(str::trim_start).filter(|text| !text.is_empty()) {
        let side = match text.as_bytes()[0] {
            b'>' => Side::Client,
            b'<' => Side::Server,
            _ => {
                all.extend((text != "!").then(|| Event::of(text.strip_prefix("! ").unwrap())));
                joins = false;
                continue;
            }
        };
        let bytes = line(text.get(2..).unwrap_or_default());
        match all.last_mut() {
            Some(Event::Data(last, data)) if joins && *last == side => data.extend(bytes),
            _ => all.push(Event::Data(side, bytes)),
        }
        joins = true;
    }
    all
}

fn connection(config: &Config) -> Connection {
    let unknown = Endpoints { client: Endpoint::UNKNOWN, server: Endpoint::UNKNOWN };
    Connection::new(FlowId(1), unknown, Transport::Clear, &Arc::new(config.clone()))
}

/// Hashes all bodies, and keeps the start of readable ones.
fn hashing() -> Config {
    Config { retain: |_| Retain::All, ..Config::default() }
}

/// Frame `number` was captured so many milliseconds after the epoch.
fn stamp(number: u64) -> Stamp {
    Stamp { at: Timestamp::from_nanos(number as i64 * 1_000_000), frame: Frame::new(0, number) }
}

/// Feeds events, one frame each, and renders what comes out; both sides end unseen where the transcript does not say.
fn run(events: &[Event], config: &Config) -> String {
    let mut connection = connection(config);
    let mut out = String::new();
    for (at, event) in events.iter().enumerate() {
        event.feed(&mut connection, stamp(at as u64 + 1));
        drain(&mut connection, &mut out, true);
    }
    for side in [Side::Client, Side::Server] {
        connection.handle_close(side, stamp(events.len() as u64 + 1), Close::Unseen);
    }
    drain(&mut connection, &mut out, true);
    out
}

fn drain(connection: &mut Connection, out: &mut String, with_frames: bool) {
    while let Some(exchange) = connection.poll() {
        render(&exchange, out, with_frames);
    }
    while let Some(loss) = connection.poll_loss() {
        writeln!(out, "lost {} {} at {}", loss.bytes, loss.reason.label(), loss.stamp.frame.number()).unwrap();
    }
}

fn render(exchange: &Exchange, out: &mut String, with_frames: bool) {
    let request = &exchange.request;
    let method = if request.method().is_empty() { b"?" } else { request.method() };
    let (method, target) = (Untrusted(method), Untrusted(request.target()));
    write!(out, "{} {method} {target} {}", exchange.id, request.version.label()).unwrap();
    render_message(&request.headers, &request.body, out);
    render_frames(&request.frames, (request.start, request.end), out, with_frames);
    for interim in &exchange.interim {
        write!(out, " ~ {}", interim.status).unwrap();
    }
    match &exchange.outcome {
        Outcome::Answered(response) => {
            let reason = Untrusted(response.reason());
            write!(out, " -> {} {} {reason}", response.version.label(), response.status).unwrap();
            render_message(&response.headers, &response.body, out);
            render_frames(&response.frames, (response.start, response.end), out, with_frames);
        }
        Outcome::ClosedEarly { by } => write!(out, " -> closed by {by:?}").unwrap(),
        Outcome::Reset { by } => write!(out, " -> reset by {by:?}").unwrap(),
        Outcome::Unanswered => out.push_str(" -> unanswered"),
    }
    for anomaly in &exchange.anomalies {
        write!(out, " !{}", anomaly.name()).unwrap();
    }
    out.push('\n');
}

fn render_message(headers: &crate::model::Headers, body: &crate::model::Body, out: &mut String) {
    write!(out, " {}h", headers.len()).unwrap();
    match body.framing {
        Framing::None => {}
        Framing::Length(length) => write!(out, " length {length}").unwrap(),
        Framing::Chunked => out.push_str(" chunked"),
        Framing::UntilClose => out.push_str(" until-close"),
        Framing::Tunnel => out.push_str(" tunnel"),
    }
    if body.length > 0 {
        write!(out, " has {}", body.length).unwrap();
    }
    for gap in &body.missing {
        write!(out, " lacks {}..{}", gap.start, gap.end).unwrap();
    }
    if !body.kept.is_empty() {
        write!(out, " '{}'", Untrusted(&body.kept)).unwrap();
    }
    if let Some([first, second, ..]) = body.sha256.as_deref() {
        write!(out, " sha {first:02x}{second:02x}").unwrap();
    }
    for (name, value) in body.trailers.iter().flat_map(|trailers| trailers.iter()) {
        write!(out, " +{}={}", Untrusted(name), Untrusted(value)).unwrap();
    }
    if !body.complete {
        out.push_str(" (cut)");
    }
}

fn render_frames(frames: &Frames, (start, end): (Timestamp, Option<Timestamp>), out: &mut String, with_frames: bool) {
    if !with_frames {
        return;
    }
    let numbers: Vec<String> = frames.iter().map(|frame| frame.number().to_string()).collect();
    let millis = |time: Timestamp| time.as_nanos() / 1_000_000;
    write!(out, " [{} @{}", numbers.join(","), millis(start)).unwrap();
    match end {
        Some(end) => write!(out, "-{}]", millis(end)).unwrap(),
        None => out.push_str("-?]"),
    }
}

/// Checks what a transcript gives.
#[track_caller]
fn check(transcript: &str, expected: &str) {
    check_with(&Config::default(), transcript, expected);
}

#[track_caller]
fn check_with(config: &Config, transcript: &str, expected: &str) {
    let want: Vec<&str> = expected.lines().map(str::trim).filter(|text| !text.is_empty()).collect();
    let got = run(&events(transcript), config);
    let got: Vec<&str> = got.lines().collect();
    assert!(got == want, "got\n{}\nwant\n{}\n", got.join("\n"), want.join("\n"));
}
