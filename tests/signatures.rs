//! Signatures of the recorded runs: all verify with the lab's secret, and a changed byte is found in its component.
//! Skipped where ../shared/captures is absent.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that meets the unexpected shall fail"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use hopwire::analysis::{Analysis, Judged, Options, Sink};
use hopwire::capture::{Input, SavedCapture};
use hopwire::decode::Limits;
use hopwire::decode::http1::{MessageHead, Retain, readable};
use hopwire::model::{Exchange, Loss, Request};
use hopwire::pipeline;
use hopwire::s3::sigv4::{Check, Component, Credential, Hints, Mismatch, verify};
use hopwire::s3::{Call, Domains, Scheme};

#[path = "support/require.rs"]
mod require;

use require::{Need, skip};

const CAPTURES: &str = "../shared/captures";

#[derive(Default)]
struct All(Vec<Exchange>);

impl Sink for All {
    fn exchange(&mut self, record: &Judged<'_>) {
        self.0.push(record.exchange.clone());
    }

    fn loss(&mut self, _loss: &Loss) {}
}

fn exchanges(path: &str) -> Vec<Exchange> {
    let input = Input { name: path.to_owned(), stream: Box::new(File::open(path).unwrap()), positioned: None };
    let mut secrets = Vec::new();
    secrets.extend(hopwire::capture::secrets_in(&Whole(std::fs::read(path).unwrap())).unwrap_or_default());
    let mut source = SavedCapture::open(vec![input]).unwrap();
    let mut limits = Limits::default();
    Arc::make_mut(&mut limits.http1).retain = |head| match head {
        MessageHead::Request(_) => Retain::Prefix(1 << 20),
        MessageHead::Response { .. } => readable(head),
    };
    let options = pipeline::Options { threads: 1, limits, secrets };
    let mut all = All::default();
    pipeline::run(&mut source, &options, Analysis::new(Options::default()), &mut all);
    all.0
}

struct Whole(Vec<u8>);

impl hopwire::capture::ReadAt for Whole {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// The captures, or nothing with a message.
fn captures() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(CAPTURES) else {
        skip(Need::Shared, CAPTURES);
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path().to_str().unwrap().to_owned()).collect();
    paths.retain(|path| path.ends_with(".pcapng"));
    paths.sort();
    paths
}

fn lab() -> Vec<Credential> {
    vec![Credential::new("minioadmin", "minioadmin", None)]
}

/// A byte that differs and keeps the kind of the text: a letter for a letter, a digit for a digit.
fn change(text: &mut [u8], pick: impl Fn(u8) -> bool) -> bool {
    let Some(at) = text.iter().rposition(|byte| pick(*byte)) else { return false };
    text[at] = match text[at] {
        b'9' => b'8',
        b'z' => b'y',
        b'Z' => b'Y',
        byte => byte + 1,
    };
    true
}

/// The same exchange with another request line or other headers.
fn rebuilt(exchange: &Exchange, method: &[u8], target: &[u8], mut field: impl FnMut(&[u8], &mut Vec<u8>)) -> Exchange {
    let mut other = exchange.clone();
    let mut request = Request::from_parts(method, target, exchange.request.version);
    for (name, value) in exchange.request.headers.iter() {
        let mut value = value.to_vec();
        field(&name.to_ascii_lowercase(), &mut value);
        request.headers.append(name, &value);
    }
    request.body = exchange.request.body.clone();
    request.start = exchange.request.start;
    other.request = request;
    other
}

/// Every exchange that one changed byte gives, with the component that holds it.
fn changed(exchange: &Exchange, call: &Call<'_>) -> Vec<(Component, Exchange)> {
    let request = &exchange.request;
    let (method, target) = (request.method(), request.target());
    let same = |_: &[u8], _: &mut Vec<u8>| {};
    let mut all = Vec::new();
    let mut other = method.to_vec();
    change(&mut other, |_| true);
    all.push((Component::Method, rebuilt(exchange, &other, target, same)));
    let split = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let mut other = target.to_vec();
    let is_escape_free = |byte: u8| byte.is_ascii_lowercase();
    if change(&mut other[..split], is_escape_free) {
        all.push((Component::Path, rebuilt(exchange, method, &other, same)));
    }
    let mut other = target.to_vec();
    if call.auth().scheme == Scheme::SigV4 && change(&mut other[split..], is_escape_free) {
        all.push((Component::Query, rebuilt(exchange, method, &other, same)));
    }
    let auth = call.auth();
    for name in auth.signed_header_names() {
        let component = match name {
            b"x-amz-date" => Component::Date,
            b"x-amz-content-sha256" => Component::PayloadHash,
            name => Component::Header(String::from_utf8(name.to_vec()).unwrap()),
        };
        let mut is_changed = false;
        let digits_only = name == b"x-amz-date";
        let other = rebuilt(exchange, method, target, |have, value| {
            if have == name && !is_changed {
                is_changed = change(value, |byte| if digits_only { byte.is_ascii_digit() } else { byte.is_ascii_alphanumeric() });
            }
        });
        if is_changed {
            all.push((component, other));
        }
    }
    let places: [(Component, &[u8], &[u8]); 6] = [
        (Component::AccessKey, b"Credential=", b"/"),
        (Component::ScopeDate, b"/", b"/"),
        (Component::Region, b"/", b"/s3"),
        (Component::Service, b"/s", b"/aws4"),
        (Component::SignedHeaders, b"SignedHeaders=", b", "),
        (Component::Signature, b"Signature=", b""),
    ];
    for (component, before, after) in places {
        let mut is_changed = false;
        let other = rebuilt(exchange, method, target, |have, value| {
            if have != b"authorization" {
                return;
            }
            let text = String::from_utf8(value.clone()).unwrap();
            let scope = text.find("Credential=").unwrap();
            let parts: Vec<&str> = text[scope..].split('/').collect();
            let from = match component {
                Component::ScopeDate => scope + parts[0].len() + 1,
                Component::Region => scope + parts[0].len() + parts[1].len() + 2,
                Component::Service => scope + parts[..3].iter().map(|part| part.len() + 1).sum::<usize>(),
                _ => text.find(std::str::from_utf8(before).unwrap()).unwrap() + before.len(),
            };
            let end = match component {
                Component::Signature => text.len(),
                Component::ScopeDate | Component::Region | Component::Service => from + text[from..].find('/').unwrap(),
                _ => from + text[from..].find(std::str::from_utf8(after).unwrap().trim()).unwrap_or(text.len() - from),
            };
            is_changed = change(&mut value[from..end], |byte| byte.is_ascii_alphanumeric());
        });
        if is_changed {
            all.push((component, other));
        }
    }
    if request.body.length > 0
        && request.body.kept.len() as u64 == request.body.length
        && call.payload() == hopwire::s3::Payload::SignedHash
    {
        let mut other = exchange.clone();
        other.request.body.kept[0] ^= 1;
        all.push((Component::Body, other));
    }
    if call.payload().is_aws_chunked() && request.body.kept.len() as u64 == request.body.length && auth.scheme == Scheme::SigV4 {
        let mut other = exchange.clone();
        let body = &mut other.request.body.kept;
        let at = body.iter().position(|byte| *byte == b'\r').unwrap();
        body[at - 1] = if body[at - 1] == b'0' { b'1' } else { b'0' };
        if call.payload() == hopwire::s3::Payload::StreamingSigned {
            all.push((Component::Chunk, other));
        }
    }
    all
}

#[test]
fn every_signed_request_of_the_recorded_runs_verifies() {
    let domains = Domains::default();
    let mut verified = 0;
    let captures = captures();
    for path in &captures {
        for exchange in exchanges(path) {
            let Some(call) = Call::read(&exchange, &domains) else { continue };
            match verify(&call, &lab()) {
                Check::Verified => verified += 1,
                Check::NotChecked(_) => {}
                differs => panic!("{path} {}: {differs:?}", exchange.id),
            }
        }
    }
    assert!(captures.is_empty() || verified > 1400, "{verified}");
}

/// One request of each kind (client, operation, signed headers) in each component; the searches take a while.
#[test]
fn a_changed_byte_is_named_by_its_component() {
    let domains = Domains::default();
    let mut kinds = BTreeSet::new();
    let mut components = BTreeSet::new();
    let mut count = 0;
    for path in captures() {
        let all = exchanges(&path);
        let mut hints = Hints::default();
        for exchange in &all {
            if let Some(call) = Call::read(exchange, &domains).filter(|call| verify(call, &lab()) == Check::Verified) {
                hints.learn(&call);
            }
        }
        for exchange in &all {
            let Some(call) = Call::read(exchange, &domains) else { continue };
            if verify(&call, &lab()) != Check::Verified {
                continue;
            }
            let signed = call.auth().signed_headers.map(|names| names.into_owned());
            if !kinds.insert((call.client().sdk.label(), call.operation, signed, call.payload())) {
                continue;
            }
            for (component, other) in changed(exchange, &call) {
                let Some(call) = Call::read(&other, &domains) else { continue };
                let found = Mismatch::explain(&call, &lab(), &hints).unwrap_or_else(|| panic!("{path} {component:?} verifies"));
                let found = match found.component {
                    Component::Unknown => found.search(&lab()[0]).unwrap_or(found),
                    _ => found,
                };
                assert_eq!(found.component, component, "{path} {} {}", exchange.id, found.why);
                components.insert(component);
                count += 1;
            }
            let wrong = [Credential::new("minioadmin", "minioadmim", None)];
            let found = Mismatch::explain(&call, &wrong, &hints).unwrap();
            assert_eq!(found.component, Component::Unknown);
        }
    }
    assert!(
        kinds.is_empty() || (kinds.len() > 40 && components.len() > 20 && count > 400),
        "{} {components:?} {count}",
        kinds.len()
    );
}
