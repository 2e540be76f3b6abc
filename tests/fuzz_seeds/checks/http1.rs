//! HTTP/1 of two sides: where every octet belongs to a message, any cutting gives the same exchanges. Elsewhere messages are
//! searched for where a piece begins, so that only the laws hold that hold for all inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use hopwire::decode::http1::{Config, Connection, MessageHead, Retain};
use hopwire::model::{
    Body, Close, Endpoint, Endpoints, Exchange, FlowId, Frame, Framing, Outcome, Response, Side, Stamp, Timestamp, Transport,
};

use super::bytes::cut;

/// The input is text. Lines `>>>` and `<<<` tell whose octets follow, `>!N` and `<!N` are gaps of N octets, `>.` and `<.` an
/// orderly end, `>x` and `<x` a reset; the line end before such a line belongs to it. A first line `#` asks for narrow limits.
pub fn http1(input: &[u8]) {
    let (config, text) = match input.strip_prefix(b"#\n") {
        Some(text) => (narrow(), text),
        None if input.len() % 2 == 1 => (Config { retain: |_| Retain::All, ..Config::default() }, input),
        None => (Config::default(), input),
    };
    let events = events(text);
    let whole = run(&events, &config, |data, piece| piece(data));
    let cut = run(&events, &config, |data, piece| cut(data, input, piece));
    let dribbled = run(&events, &config, |data, piece| data.chunks(1).for_each(piece));
    for seen in [&whole, &cut, &dribbled] {
        check_laws(seen, &events);
    }
    let has_gaps = events.iter().any(|event| matches!(event, Event::Gap(..)));
    if !has_gaps && whole.lost.is_empty() {
        same(&whole, &cut, "cut");
        same(&whole, &dribbled, "one by one");
    }
}

fn narrow() -> Config {
    let by_length = |head: &MessageHead<'_>| if head.headers().len() % 2 == 1 { Retain::Prefix(16) } else { Retain::Hash };
    Config { head_bytes_max: 200, fields_max: 4, pipelined_max: 3, interim_max: 2, retain: by_length, ..Config::default() }
}

/// What one side did.
#[derive(Debug)]
pub enum Event<'a> {
    Data(Side, &'a [u8]),
    Gap(Side, u64),
    Close(Side, Close),
}

/// Reads the text form.
pub fn events(text: &[u8]) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    let mut side = Side::Client;
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        let length = text[at..].iter().position(|octet| *octet == b'\n').map_or(text.len() - at, |end| end + 1);
        let line = &text[at..at + length];
        if let Some((from, command)) = command(line) {
            let data = &text[start..at];
            let data = if at == start {
                data
            } else {
                data.strip_suffix(b"\n").map_or(data, |data| data.strip_suffix(b"\r").unwrap_or(data))
            };
            push(&mut events, side, data);
            match command {
                Command::Data => side = from,
                Command::Gap(length) => events.push(Event::Gap(from, length)),
                Command::Close(how) => events.push(Event::Close(from, how)),
            }
            start = at + length;
        }
        at += length;
    }
    push(&mut events, side, &text[start..]);
    events
}

fn push<'a>(events: &mut Vec<Event<'a>>, side: Side, data: &'a [u8]) {
    if !data.is_empty() {
        events.push(Event::Data(side, data));
    }
}

enum Command {
    Data,
    Gap(u64),
    Close(Close),
}

fn command(line: &[u8]) -> Option<(Side, Command)> {
    let line = line.trim_ascii_end();
    let (side, rest) = match line {
        b">>>" => return Some((Side::Client, Command::Data)),
        b"<<<" => return Some((Side::Server, Command::Data)),
        [b'>', rest @ ..] => (Side::Client, rest),
        [b'<', rest @ ..] => (Side::Server, rest),
        _ => return None,
    };
    let command = match rest {
        b"." => Command::Close(Close::Finished),
        b"x" => Command::Close(Close::Reset),
        [b'!', digits @ ..] => Command::Gap(std::str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length < 1 << 40)?),
        _ => return None,
    };
    Some((side, command))
}

/// What came out.
#[derive(Default)]
struct Seen {
    exchanges: Vec<Exchange>,
    lost: BTreeMap<&'static str, u64>,
}

fn run<'a>(events: &[Event<'a>], config: &Config, mut cutting: impl FnMut(&'a [u8], &mut dyn FnMut(&'a [u8]))) -> Seen {
    let unknown = Endpoints { client: Endpoint::UNKNOWN, server: Endpoint::UNKNOWN };
    let mut connection = Connection::new(FlowId(1), unknown, Transport::Clear, &Arc::new(config.clone()));
    let mut seen = Seen::default();
    let mut number = 0;
    for event in events {
        number += 1;
        // All pieces of a run have its time: what is cut is still one thing that happened.
        let stamp = Stamp { at: Timestamp::from_nanos(number * 1_000_000), frame: Frame::new(0, number as u64) };
        match event {
            Event::Data(side, data) => cutting(data, &mut |piece| connection.handle_data(*side, stamp, piece)),
            Event::Gap(side, length) => connection.handle_gap(*side, stamp, *length),
            Event::Close(side, how) => connection.handle_close(*side, stamp, *how),
        }
        drain(&mut connection, &mut seen);
    }
    for side in [Side::Client, Side::Server] {
        connection.handle_close(side, Stamp::default(), Close::Unseen);
    }
    drain(&mut connection, &mut seen);
    seen
}

fn drain(connection: &mut Connection, seen: &mut Seen) {
    seen.exchanges.extend(std::iter::from_fn(|| connection.poll()).map(|exchange| *exchange));
    while let Some(loss) = connection.poll_loss() {
        *seen.lost.entry(loss.reason.label()).or_default() += loss.bytes;
    }
}

fn same(one: &Seen, other: &Seen, way: &str) {
    for (one, other) in one.exchanges.iter().zip(&other.exchanges) {
        let (left, right) = (text(one), text(other));
        if left != right && (is_searching(one) || is_searching(other)) {
            return;
        }
        assert!(left == right, "{way}:\n{left}\nbecomes\n{right}");
    }
    assert_eq!(one.exchanges.len(), other.exchanges.len(), "{way}: exchanges");
    assert_eq!(one.lost, other.lost, "{way}: losses");
}

/// Whether the end of a message was looked for by where the next one starts: at the start of a piece.
fn is_searching(exchange: &Exchange) -> bool {
    let until_close = |body: &Body| body.framing == Framing::UntilClose;
    !exchange.anomalies.is_empty() || exchange.response().is_some_and(|response| until_close(&response.body))
}

fn text(exchange: &Exchange) -> String {
    let request = &exchange.request;
    let message = |headers: &hopwire::model::Headers, body: &Body| {
        let fields: Vec<_> =
            headers.iter().map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())).collect();
        let trailers: Vec<_> = body
            .trailers
            .iter()
            .flat_map(|trailers| trailers.iter())
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        format!(
            "{fields:?} {:?} {} complete={} kept='{}' missing={:?} sha={:?} {trailers:?}",
            body.framing,
            body.length,
            body.complete,
            body.kept.escape_ascii(),
            body.missing,
            body.sha256.as_deref().map(|sha| sha[0])
        )
    };
    let outcome = match &exchange.outcome {
        Outcome::Answered(response) => {
            let Response { status, version, headers, body, .. } = &**response;
            format!("{status} {version:?} {} {}", response.reason().escape_ascii(), message(headers, body))
        }
        other => format!("{other:?}"),
    };
    let interim: Vec<_> = exchange.interim.iter().map(|interim| interim.status).collect();
    let names: Vec<_> = exchange.anomalies.iter().map(|anomaly| anomaly.name()).collect();
    format!(
        "{} '{}' '{}' {:?} {}\n  {interim:?} -> {outcome} {names:?}",
        exchange.id,
        request.method().escape_ascii(),
        request.target().escape_ascii(),
        request.version,
        message(&request.headers, &request.body)
    )
}

fn check_laws(seen: &Seen, events: &[Event<'_>]) {
    let came: u64 = events.iter().map(|event| if let Event::Data(_, data) = event { data.len() as u64 } else { 0 }).sum();
    let gaps: u64 = events.iter().map(|event| if let Event::Gap(_, length) = event { *length } else { 0 }).sum();
    let lost: u64 = seen.lost.values().sum();
    assert!(lost <= came, "{lost} octets lost of {came}");
    let mut content = 0;
    for (ordinal, exchange) in (1..).zip(&seen.exchanges) {
        assert_eq!(exchange.id.ordinal, ordinal);
        let bodies = [Some(&exchange.request.body), exchange.response().map(|response| &response.body)];
        for body in bodies.into_iter().flatten() {
            content += body.length;
            assert!(body.kept.len() as u64 <= body.length);
            assert!(body.missing_bytes() <= gaps, "{:?} missing, and {gaps} octets of gaps", body.missing);
            let mut end = 0;
            for range in &body.missing {
                assert!(
                    range.start >= end && range.start < range.end && range.end <= body.length,
                    "{:?} of {}",
                    body.missing,
                    body.length
                );
                end = range.end;
            }
        }
    }
    assert!(content <= came + gaps, "{content} octets of content, {came} came and {gaps} are missing");
}
