//! What of an exchange survives a proxy: keys by which two exchanges can be found to be one call, and what speaks against it.
//!
//! Proxies keep method, path, query, signature and the store's answer; they change names of headers, their order, and the
//! connections. So connections are never compared, and paths are compared decoded.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use crate::model::{Exchange, HeaderName, Request, Response, Timestamp};
use crate::s3::{Address, Query, decode_percent};

/// What two exchanges have in common, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinKey {
    /// `x-amz-request-id` of the answer.
    RequestId,
    /// The signature, which covers the date.
    Signature,
    /// `amz-sdk-invocation-id` and the attempt.
    Invocation,
    /// Method, path, query, length, client address and time.
    Target,
    /// Time and the lengths of TLS records, where one of the two stayed shut.
    RecordSizes,
}

impl JoinKey {
    /// All keys, the surest first.
    pub const ALL: [Self; 5] = [Self::RequestId, Self::Signature, Self::Invocation, Self::Target, Self::RecordSizes];

    /// `request-id`, `signature`, `invocation-id`, `target-and-time`, `tls-record-sizes`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RequestId => "request-id",
            Self::Signature => "signature",
            Self::Invocation => "invocation-id",
            Self::Target => "target-and-time",
            Self::RecordSizes => "tls-record-sizes",
        }
    }
}

/// The hashes of an exchange's keys, in the order of [`JoinKey::ALL`] without the last; 0 where it has no such key.
pub(super) type Keys = [u64; 4];

/// Captures of several interfaces put packets that much out of order.
const SKEW_MAX: Duration = Duration::from_millis(1);

/// Captures of several machines put together: their clocks differ. Only a request id joins over that.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(2);

/// Request ids shorter than this may be counters or constants: 16 hexadecimal digits are usual.
const UNIQUE_ID_BYTES_MIN: usize = 12;

/// The keys of an exchange.
pub(super) fn keys_of(exchange: &Exchange) -> Keys {
    let request = &exchange.request;
    let request_id = request_id_key(exchange).unwrap_or(0);
    if is_unseen(request) {
        return [request_id, 0, 0, 0];
    }
    let mut target = hasher(JoinKey::Target);
    target.write(request.method());
    target.write(&decode_percent(Address::path_of(request.target())));
    target.write_u8(b'?');
    target.write(query_of(request));
    [
        request_id,
        signature_of(request).map_or(0, |signature| finish(JoinKey::Signature, &[signature])),
        invocation_of(request).map_or(0, |(id, attempt)| finish(JoinKey::Invocation, &[id, attempt])),
        target.finish().max(1),
    ]
}

/// The key of the answer's request id.
pub(super) fn request_id_key(exchange: &Exchange) -> Option<u64> {
    request_id_of(exchange).map(|id| finish(JoinKey::RequestId, &[id]))
}

/// Whether `front` and `back`, which were found by `key`, can be one call; how well they fit where they can. `repeats_ids` tells
/// that the server of `back` gives one request id to several requests, which then shows nothing by itself.
pub(super) fn fit(key: JoinKey, front: &Exchange, back: &Exchange, repeats_ids: bool) -> Option<Fit> {
    let (asked, passed) = (&front.request, &back.request);
    if is_unseen(asked) || is_unseen(passed) {
        return fit_answers(key, front, back);
    }
    if differ(invocation_of(asked), invocation_of(passed)) {
        return None;
    }
    // An id or a signature is enough where times agree, though the proxy changed the request line or the status. Over clocks that
    // differ, and for all other keys, these have to be the same: a cached response repeats an older id.
    let is_close = is_nested(front, back, SKEW_MAX);
    let is_line_free = is_close
        && match key {
            JoinKey::RequestId => !repeats_ids && request_id_of(back).is_some_and(|id| id.len() >= UNIQUE_ID_BYTES_MIN),
            JoinKey::Signature => true,
            JoinKey::Invocation | JoinKey::Target | JoinKey::RecordSizes => false,
        };
    let same_line = asked.method() == passed.method() && same_path(key, asked, passed);
    let same = match key {
        JoinKey::RequestId => request_id_of(front) == request_id_of(back) && (is_close || front.status() == back.status()),
        JoinKey::Signature => signature_of(asked) == signature_of(passed) && has_date_of(asked, passed),
        JoinKey::Invocation => true,
        JoinKey::Target => can_be_target(front, back),
        JoinKey::RecordSizes => false,
    };
    if !same || !(same_line || is_line_free) {
        return None;
    }
    if key != JoinKey::RequestId && differ(request_id_of(front), request_id_of(back)) {
        return None;
    }
    let skew = if key == JoinKey::RequestId { CLOCK_SKEW_MAX } else { SKEW_MAX };
    if !is_nested(front, back, skew) {
        return None;
    }
    Some(Fit {
        is_nested: is_close,
        same_line,
        same_status: front.status() == back.status(),
        gap: std::cmp::Reverse(gap(front, back)),
    })
}

/// Where packets are missing only the answer may have been seen: its id and status are then all there is.
fn fit_answers(key: JoinKey, front: &Exchange, back: &Exchange) -> Option<Fit> {
    let is_same = key == JoinKey::RequestId
        && request_id_of(front) == request_id_of(back)
        && front.status() == back.status()
        && is_nested(front, back, CLOCK_SKEW_MAX);
    is_same.then(|| Fit {
        is_nested: is_nested(front, back, SKEW_MAX),
        same_line: true,
        same_status: true,
        gap: std::cmp::Reverse(gap(front, back)),
    })
}

/// Whether the request was not captured and only its answer was.
pub(super) fn is_unseen(request: &Request) -> bool {
    request.method().is_empty()
}

/// Whether `back` is a further sending of the request that became `front`: a proxy sends again over another connection what
/// the first one lost, or asks another store when one fails.
pub(super) fn is_resend(front: &Exchange, back: &Exchange) -> bool {
    let (asked, passed) = (&front.request, &back.request);
    let same_key = match (signature_of(asked), signature_of(passed)) {
        (Some(one), Some(other)) => one == other && has_date_of(asked, passed),
        (None, None) => invocation_of(asked).is_some() && invocation_of(asked) == invocation_of(passed),
        _ => false,
    };
    same_key
        && asked.method() == passed.method()
        && !differ(invocation_of(asked), invocation_of(passed))
        && same_path(JoinKey::Signature, asked, passed)
        && is_nested(front, back, SKEW_MAX)
        && back.status().is_none_or(|status| status >= 500)
}

/// How well two exchanges fit; the greatest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    is_nested: bool,
    same_line: bool,
    same_status: bool,
    gap: std::cmp::Reverse<Duration>,
}

impl Fit {
    /// Whether time, request line and status are as they must be, the clocks being one.
    pub(super) const fn is_sound(self) -> (bool, bool, bool) {
        (self.is_nested, self.same_line, self.same_status)
    }
}

/// How many fields of the answers are the same: `Date`, `ETag`, limits and lengths tell apart answers to equal requests.
pub(super) fn likeness(front: &Exchange, back: &Exchange) -> usize {
    let (Some(relayed), Some(answer)) = (front.response(), back.response()) else {
        return 0;
    };
    let is_kept = |(name, sent, value): &(HeaderName, &[u8], &[u8])| {
        let mut others = relayed.headers.known();
        others.any(|(other, other_sent, other_value)| {
            other == *name && (other != HeaderName::Other || other_sent.eq_ignore_ascii_case(sent)) && other_value == *value
        })
    };
    answer.headers.known().filter(is_kept).count() + usize::from(relayed.body.length == answer.body.length)
}

/// The signature of a request, in the header or in the query.
pub(super) fn signature_of(request: &Request) -> Option<&[u8]> {
    if let Some(value) = request.headers.get(HeaderName::Authorization) {
        return after(value, b"Signature=", b',').or_else(|| {
            value.strip_prefix(b"AWS ").and_then(|rest| memchr::memrchr(b':', rest).and_then(|at| rest.get(at + 1..)))
        });
    }
    let query = query_of(request);
    if query.len() < 10 {
        return None;
    }
    Query::new(query).raw_pairs().find(|(name, _)| matches!(*name, b"X-Amz-Signature" | b"Signature")).map(|(_, value)| value)
}

/// The names of the headers that the signature covers, joined with `;`, as sent.
pub(super) fn signed_names_of(request: &Request) -> &[u8] {
    if let Some(value) = request.headers.get(HeaderName::Authorization) {
        return after(value, b"SignedHeaders=", b',').unwrap_or_default();
    }
    let mut pairs = Query::new(query_of(request)).raw_pairs();
    pairs.find(|(name, _)| *name == b"X-Amz-SignedHeaders").map_or(&[][..], |(_, value)| value)
}

fn request_id_of(exchange: &Exchange) -> Option<&[u8]> {
    exchange.response()?.headers.get(HeaderName::XAmzRequestId).filter(|id| !id.is_empty())
}

/// The id of the SDK's call, and the header that tells the attempt.
fn invocation_of(request: &Request) -> Option<(&[u8], &[u8])> {
    let id = request.headers.get(HeaderName::AmzSdkInvocationId).filter(|id| !id.is_empty())?;
    Some((id, request.headers.get(HeaderName::AmzSdkRequest).unwrap_or_default()))
}

fn has_date_of(asked: &Request, passed: &Request) -> bool {
    !differ(asked.headers.get(HeaderName::XAmzDate), passed.headers.get(HeaderName::XAmzDate))
}

/// Without any key of its own an exchange is told by what it asks for, who asked, and what came back.
fn can_be_target(front: &Exchange, back: &Exchange) -> bool {
    let (asked, passed) = (&front.request, &back.request);
    // A proxy may sign what comes unsigned; one that takes a signature away or replaces it shows no other sign of the call.
    if let Some(signature) = signature_of(asked)
        && signature_of(passed) != Some(signature)
    {
        return false;
    }
    let is_whole = asked.body.complete && passed.body.complete;
    if is_whole && asked.body.length != passed.body.length || query_of(asked) != query_of(passed) {
        return false;
    }
    let Some(forwarded) = passed.headers.get(HeaderName::XForwardedFor).or_else(|| passed.headers.get(HeaderName::XRealIp))
    else {
        return true;
    };
    let client = front.endpoints.client.ip;
    // From loopback, proxies name the address of the machine instead.
    client.is_loopback() || names_address(forwarded, client) || passed_on_from_elsewhere(asked, forwarded)
}

/// A proxy before this one may have named the client already; then this one repeats it first.
fn passed_on_from_elsewhere(asked: &Request, forwarded: &[u8]) -> bool {
    asked.headers.get(HeaderName::XForwardedFor).is_some_and(|earlier| forwarded.starts_with(earlier))
}

fn names_address(list: &[u8], address: std::net::IpAddr) -> bool {
    std::str::from_utf8(list).is_ok_and(|list| list.split(',').any(|one| one.trim().parse() == Ok(address)))
}

/// Proxies may put a prefix before a path or take one away, which only a request id can join.
fn same_path(key: JoinKey, asked: &Request, passed: &Request) -> bool {
    let (one, other) = (Address::path_of(asked.target()), Address::path_of(passed.target()));
    if one == other {
        return true;
    }
    let (one, other) = (decode_percent(one), decode_percent(other));
    one == other || key != JoinKey::Target && (one.ends_with(&other) || other.ends_with(&one))
}

/// Whether `back` lies within `front`: asked for after it was asked for, and answered before it was answered.
fn is_nested(front: &Exchange, back: &Exchange, skew: Duration) -> bool {
    let not_before = |later: Timestamp, earlier: Timestamp| earlier.since(later) <= skew;
    let is_seen = !is_unseen(&front.request) && !is_unseen(&back.request);
    if is_seen && !not_before(start_of(&back.request), start_of(&front.request)) {
        return false;
    }
    match (front.response(), back.response()) {
        (Some(relayed), Some(answer)) => not_before(relayed.start, answer.start),
        (Some(relayed), None) => not_before(end_of(relayed), start_of(&back.request)),
        (None, _) => true,
    }
}

/// Whether `front` was asked for before `back`, by the order in the capture: never both ways.
pub(super) fn precedes(front: &Exchange, back: &Exchange) -> bool {
    if is_unseen(&front.request) || is_unseen(&back.request) {
        let place = |exchange: &Exchange| (exchange.response().map(|response| response.start), exchange.id);
        return place(back) < place(front);
    }
    let place = |exchange: &Exchange| (start_of(&exchange.request), exchange.request.frames.first(), exchange.id);
    place(front) < place(back)
}

/// Between the first bytes of both answers, or of both requests where one is missing.
fn gap(front: &Exchange, back: &Exchange) -> Duration {
    let span = |one: Timestamp, other: Timestamp| one.since(other).max(other.since(one));
    match (front.response(), back.response()) {
        (Some(relayed), Some(answer)) => span(relayed.start, answer.start),
        _ => span(start_of(&front.request), start_of(&back.request)),
    }
}

/// When it was first seen. Where segments came out of order the first byte can have come after the last.
pub(super) fn start_of(request: &Request) -> Timestamp {
    request.end.map_or(request.start, |end| end.min(request.start))
}

fn end_of(response: &Response) -> Timestamp {
    response.end.unwrap_or(response.start).max(response.start)
}

/// The query as sent, without its `?`.
pub(super) fn query_of(request: &Request) -> &[u8] {
    let target = request.target();
    memchr::memchr(b'?', target).and_then(|at| target.get(at + 1..)).unwrap_or_default()
}

/// What follows a name in a list, up to its end.
fn after<'x>(value: &'x [u8], name: &[u8], end: u8) -> Option<&'x [u8]> {
    let start = memchr::memmem::find(value, name)? + name.len();
    let rest = value.get(start..)?;
    let field = rest.get(..memchr::memchr(end, rest).unwrap_or(rest.len()))?.trim_ascii();
    (!field.is_empty()).then_some(field)
}

/// Whether both are there and not the same.
fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

fn finish(key: JoinKey, parts: &[&[u8]]) -> u64 {
    let mut hasher = hasher(key);
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish().max(1)
}

/// A fixed seed: the same capture gives the same answer. What is found by a hash is compared before it counts.
fn hasher(key: JoinKey) -> impl std::hash::Hasher {
    foldhash::quality::FixedState::with_seed(key as u64).build_hasher()
}
