//! Experiments: what hopwire changes on purpose, only where it was asked to, to see what clients make of it.
//!
//! Each takes effect on the requests that it names, is reported, and is marked in the recording as made by hopwire.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{HeaderName, Headers};
use crate::s3::{Address, Domains, resolve};

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A header is left out of the response.
    DropResponseHeader(String),
    /// The request is answered with this status, and not forwarded.
    Status(u16),
    /// The response waits.
    Delay(Duration),
    /// Both connections are reset after so many bytes of the response, its head included.
    Reset(u64),
}

/// An experiment: which requests, what is done, and how often.
#[derive(Debug)]
pub struct Experiment {
    effect: Effect,
    operation: Option<String>,
    part: Option<u32>,
    bucket: Option<String>,
    key: Option<String>,
    /// How often it may still take effect.
    left: AtomicU64,
    text: String,
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Experiment {
    /// Reads `operation=UploadPart,part=3,status=503,times=2`: one of `status=`, `delay=` (seconds, or with `ms`) and `reset=`
    /// (bytes), and which requests (`operation`, `part`, `bucket`, `key`); without any of those it is all.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_fault(text: &str) -> Result<Self, String> {
        let mut effect = None;
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("status", value)) => effect = Some(Effect::Status(parse_status(value)?)),
                Some(("delay", value)) => effect = Some(Effect::Delay(parse_delay(value)?)),
                Some(("reset", value)) => {
                    let bytes = value.parse().map_err(|_| format!("{value:?} is not a number of bytes"))?;
                    effect = Some(Effect::Reset(bytes));
                }
                _ => {}
            }
        }
        let effect = effect.ok_or_else(|| format!("{text:?} says nothing to do: add status=503, delay=5s or reset=BYTES"))?;
        Self::matching(effect, text, text.split(','), &["status", "delay", "reset"])
    }

    /// Reads `NAME[,operation=HeadObject]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_dropped_header(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':' && byte != b'=') {
            return Err(format!("{name:?} is not the name of a header: expected NAME[,operation=HeadObject]"));
        }
        let shown = format!("drop-response-header={text}");
        Self::matching(Effect::DropResponseHeader(name.to_owned()), &shown, parts, &[])
    }

    fn matching<'a>(effect: Effect, text: &str, parts: impl Iterator<Item = &'a str>, known: &[&str]) -> Result<Self, String> {
        let mut experiment = Self {
            effect,
            operation: None,
            part: None,
            bucket: None,
            key: None,
            left: AtomicU64::new(u64::MAX),
            text: text.to_owned(),
        };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form NAME=VALUE"))?;
            let number = || value.parse::<u32>().map_err(|_| format!("{value:?} is not a number"));
            match name {
                "operation" => experiment.operation = Some(value.to_owned()),
                "part" => experiment.part = Some(number()?),
                "times" => experiment.left = AtomicU64::new(u64::from(number()?)),
                "bucket" => experiment.bucket = Some(value.to_owned()),
                "key" => experiment.key = Some(value.to_owned()),
                name if known.contains(&name) => {}
                name => return Err(format!("{name:?} is not known here: operation, part, bucket, key and times are")),
            }
        }
        Ok(experiment)
    }

    fn matches(&self, request: &Asked<'_>) -> bool {
        let same = |wanted: &Option<String>, have: &[u8]| wanted.as_ref().is_none_or(|wanted| wanted.as_bytes() == have);
        self.operation.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(request.operation))
            && self.part.is_none_or(|part| request.part == Some(part))
            && same(&self.bucket, &request.bucket)
            && same(&self.key, &request.key)
    }

    /// Counts one more time; `false` where it was as often as it may be.
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// What a request asks for, as far as experiments choose by it.
struct Asked<'a> {
    operation: &'a str,
    part: Option<u32>,
    bucket: Vec<u8>,
    key: Vec<u8>,
}

/// The experiments of one connection.
#[derive(Default)]
pub(super) struct Trials {
    all: Arc<[Arc<Experiment>]>,
    /// Effects on the responses of requests by number.
    due: Vec<(u64, usize)>,
    /// Bytes of the response that may still pass before the connections are reset.
    pub(super) cut_after: Option<u64>,
}

/// What becomes of a request.
pub(super) enum Fate {
    Forwarded,
    /// It waits for so long before its response is read.
    Delayed(Duration),
    Answered(u16),
}

/// A response's head with a header left out.
pub(super) struct Edited {
    pub(super) head: Vec<u8>,
    pub(super) note: String,
}

impl Trials {
    pub(super) fn new(all: &Arc<[Arc<Experiment>]>) -> Self {
        Self { all: Arc::clone(all), ..Self::default() }
    }

    pub(super) fn are_off(&self) -> bool {
        self.all.is_empty()
    }

    /// Decides over a request; also gives the experiment's text where one takes effect now.
    pub(super) fn request(&mut self, head: &[u8], number: u64) -> (Fate, Option<String>) {
        let mut fate = (Fate::Forwarded, None);
        let all = Arc::clone(&self.all);
        with_request(head, |asked| {
            for (index, experiment) in all.iter().enumerate().filter(|(_, experiment)| experiment.matches(asked)) {
                match experiment.effect {
                    // Whether the response has the header is not known yet.
                    Effect::DropResponseHeader(_) => self.due.push((number, index)),
                    _ if !experiment.take() => {}
                    Effect::Status(status) => fate = (Fate::Answered(status), Some(experiment.to_string())),
                    Effect::Delay(span) => fate = (Fate::Delayed(span), Some(experiment.to_string())),
                    Effect::Reset(bytes) => {
                        self.cut_after = Some(bytes);
                        fate = (Fate::Forwarded, Some(experiment.to_string()));
                    }
                }
            }
        });
        fate
    }

    /// The head of a response as it is to be sent, where it is to be changed.
    pub(super) fn response(&mut self, head: &[u8], request: u64, is_final: bool) -> Option<Edited> {
        let mut edited: Option<Edited> = None;
        for (_, index) in self.due.iter().filter(|(number, _)| *number == request) {
            let Some(experiment) = self.all.get(*index) else { continue };
            let Effect::DropResponseHeader(name) = &experiment.effect else { continue };
            let before = edited.as_ref().map_or(head, |edited| &edited.head);
            if let Some(head) = without(before, name)
                && experiment.take()
            {
                edited = Some(Edited { head, note: experiment.to_string() });
            }
        }
        if is_final {
            self.due.retain(|(number, _)| *number > request);
        }
        edited
    }
}

/// A head without the lines of a header; `None` where it has none.
fn without(head: &[u8], name: &str) -> Option<Vec<u8>> {
    let is_it = |line: &[u8]| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            && line.get(name.len()) == Some(&b':')
    };
    let lines = || head.split_inclusive(|byte| *byte == b'\n');
    lines().skip(1).any(is_it).then(|| lines().filter(|line| !is_it(line)).collect::<Vec<_>>().concat())
}

fn with_request(head: &[u8], decide: impl FnOnce(&Asked<'_>)) {
    let mut fields = [httparse::EMPTY_HEADER; crate::proxy::head::FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    if parsed.parse(head).is_err() {
        return;
    }
    let mut headers = Headers::default();
    for field in parsed.headers.iter() {
        headers.append(field.name.as_bytes(), field.value);
    }
    let (method, target) = (parsed.method.unwrap_or_default().as_bytes(), parsed.path.unwrap_or_default().as_bytes());
    let (address, query) = Address::read(method, target, headers.get(HeaderName::Host), &Domains::default());
    let (operation, _) = resolve(method, address.level(), query, &headers);
    let part = query.get("partNumber").and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
    let text = |part: Option<std::borrow::Cow<'_, [u8]>>| part.map(std::borrow::Cow::into_owned).unwrap_or_default();
    decide(&Asked { operation: operation.name(), part, bucket: text(address.bucket.clone()), key: text(address.key.clone()) });
}

fn parse_status(value: &str) -> Result<u16, String> {
    value
        .parse()
        .ok()
        .filter(|status| (400..600).contains(status))
        .ok_or_else(|| format!("{value:?} is not a status from 400 to 599"))
}

fn parse_delay(value: &str) -> Result<Duration, String> {
    let wrong = || format!("{value:?} is not a time: expected seconds, or a number with ms or s");
    let (number, factor) = match value.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (value.strip_suffix('s').unwrap_or(value), 1000),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_millis(u64::from(number) * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(fault: &str, heads: &[&str]) -> Vec<String> {
        let mut trials = Trials::new(&Arc::from([Arc::new(Experiment::parse_fault(fault).unwrap())]));
        let fate = |(number, head): (usize, &&str)| match trials.request(head.as_bytes(), number as u64).0 {
            Fate::Forwarded => "-".to_owned(),
            Fate::Delayed(span) => format!("{span:?}"),
            Fate::Answered(status) => status.to_string(),
        };
        heads.iter().enumerate().map(fate).collect()
    }

    #[test]
    fn a_fault_takes_effect_on_what_it_names_and_so_often_as_it_says() {
        let part = "PUT /b/k?partNumber=3&uploadId=x HTTP/1.1\r\nHost: s\r\n\r\n";
        let other = "PUT /b/k?partNumber=4&uploadId=x HTTP/1.1\r\nHost: s\r\n\r\n";
        let get = "GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n";
        let heads = [other, part, get, part, part];
        assert_eq!(fates("operation=UploadPart,part=3,status=503,times=2", &heads), ["-", "503", "-", "503", "-"]);
        assert_eq!(fates("operation=GetObject,delay=50ms", &heads), ["-", "-", "50ms", "-", "-"]);
        assert_eq!(fates("status=500,bucket=b,key=k", &heads), ["500"; 5]);
        assert_eq!(fates("status=500,bucket=c", &heads), ["-"; 5]);
    }

    #[test]
    fn a_header_is_dropped_from_responses_of_the_operation_alone() {
        let mut trials =
            Trials::new(&Arc::from([Arc::new(Experiment::parse_dropped_header("X-Key,operation=HeadObject").unwrap())]));
        let response = b"HTTP/1.1 200 OK\r\nA: 1\r\nx-key: 2\r\nX-KEY-Not: 3\r\nx-KEY:\r\n\r\n";
        trials.request(b"GET /b/k HTTP/1.1\r\nHost: s\r\n\r\n", 1);
        trials.request(b"HEAD /b/k HTTP/1.1\r\nHost: s\r\n\r\n", 2);
        assert!(trials.response(response, 1, true).is_none());
        let edited = trials.response(response, 2, true).unwrap();
        assert_eq!(edited.head, b"HTTP/1.1 200 OK\r\nA: 1\r\nX-KEY-Not: 3\r\n\r\n");
        assert!(trials.response(response, 2, true).is_none(), "its response is over");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("operation=GetObject", "says nothing to do"),
            ("status=200", "is not a status"),
            ("status=503,when=now", "is not known here"),
            ("status=503,part", "is not of the form"),
            ("delay=x", "is not a time"),
            ("reset=x", "is not a number of bytes"),
        ] {
            let error = Experiment::parse_fault(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Experiment::parse_dropped_header("a b").is_err());
    }
}
