//! What programs are known to change between signing and the wire, tried one by one.

use crate::model::HeaderName;
use crate::s3::query::{Query, decode_form, decode_percent, encode_path, encode_query};
use crate::s3::sigv4::canonical::{Canonical, canonical_query, normalized};
use crate::s3::sigv4::explain::{Component, Hints};
use crate::s3::sigv4::verify::{Claim, body_sha256, parts_of, rule_of};
use crate::s3::sigv4::{Credential, EMPTY_SHA256, SigningKey, UNSIGNED_PAYLOAD};
use crate::s3::{Call, Style};

pub(super) type Found = (Component, String, Option<Canonical>);

/// One try: the claim with one component put back.
pub(super) struct Trial<'c> {
    pub(super) claim: &'c Claim,
    key: SigningKey,
}

impl<'c> Trial<'c> {
    pub(super) fn new(claim: &'c Claim, credential: &Credential) -> Self {
        Self { claim, key: credential.signing_key(&claim.scope) }
    }

    pub(super) fn computed(&self, sha256: &[u8]) -> Vec<u8> {
        self.key.sign_request(&self.claim.date, &self.claim.scope, sha256)
    }

    fn fits(&self, canonical: &Canonical) -> bool {
        self.computed(canonical.sha256().as_ref()) == self.claim.signature
    }

    fn with(&self, change: impl FnOnce(&mut Canonical)) -> Option<Canonical> {
        let mut canonical = self.claim.canonical.clone();
        change(&mut canonical);
        self.fits(&canonical).then_some(canonical)
    }
}

pub(super) fn find(
    call: &Call<'_>,
    claim: &Claim,
    credentials: &[Credential],
    credential: &Credential,
    hints: &Hints,
) -> Option<Found> {
    let trial = Trial::new(claim, credential);
    signature(&trial)
        .or_else(|| other_secret(claim, credentials))
        .or_else(|| hosts(&trial, call, hints))
        .or_else(|| paths(&trial, call))
        .or_else(|| queries(&trial, call))
        .or_else(|| methods(&trial))
        .or_else(|| payloads(&trial, call))
        .or_else(|| headers(&trial, call, hints))
        .or_else(|| name_lists(&trial, call, hints))
        .or_else(|| scopes(claim, credential, hints))
        .or_else(|| dates(claim, credential))
}

/// A signature of which few digits differ was damaged; by chance no two signatures are that close.
fn signature(trial: &Trial<'_>) -> Option<Found> {
    const DIGITS_MAX: usize = 8;
    let computed = trial.computed(trial.claim.canonical.sha256().as_ref());
    let given = &trial.claim.signature;
    let differing = computed.iter().zip(given).filter(|(one, other)| one != other).count();
    let is_near = differing + computed.len().abs_diff(given.len()) <= DIGITS_MAX;
    is_near.then(|| (Component::Signature, format!("{} digits of it were changed", differing.max(1)), None))
}

fn other_secret(claim: &Claim, credentials: &[Credential]) -> Option<Found> {
    let other = credentials.iter().find(|one| one.access_key != claim.access_key && claim.verifies(one))?;
    let why = format!("the signature was made with the secret of {}, and the request names another access key", other.access_key);
    Some((Component::AccessKey, why, None))
}

fn hosts(trial: &Trial<'_>, call: &Call<'_>, hints: &Hints) -> Option<Found> {
    let sent = trial.claim.canonical.header(b"host")?;
    let headers = &call.exchange.request.headers;
    let mut bases: Vec<Vec<u8>> = vec![sent.to_vec()];
    bases.extend(headers.get(HeaderName::XForwardedHost).map(<[u8]>::to_vec));
    bases.push(call.exchange.endpoints.server.to_string().into_bytes());
    bases.extend(hints.values_of(b"host").map(<[u8]>::to_vec));
    let bucket = call.address.bucket.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    for base in bases {
        let end = memchr::memrchr(b':', &base).filter(|at| base.get(at + 1..).is_some_and(is_port)).unwrap_or(base.len());
        let name = base.get(..end).unwrap_or_default();
        for port in [&b""[..], b":80", b":443", b":9000", b":8080"] {
            all.push([name, port].concat());
        }
        let without_bucket = name.strip_prefix(bucket).and_then(|rest| rest.strip_prefix(b"."));
        all.extend(without_bucket.map(<[u8]>::to_vec));
        all.push([bucket, b".", &base].concat());
        all.push(name.to_ascii_lowercase());
        all.push(base);
    }
    let host = all.into_iter().find(|host| trial.with(|canonical| set_header(canonical, b"host", host)).is_some())?;
    let signed = trial.with(|canonical| set_header(canonical, b"host", &host));
    let why = format!("the client signed Host {}, the request has {}", lossy(&host), lossy(sent));
    Some((Component::Header("host".to_owned()), why, signed))
}

fn is_port(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn paths(trial: &Trial<'_>, call: &Call<'_>) -> Option<Found> {
    let parts = parts_of(call);
    let (raw, canonical) = (parts.path, &trial.claim.canonical.path);
    let decoded = decode_percent(raw);
    let bucket = call.address.bucket.as_deref().unwrap_or_default();
    let bucket_path = [b"/", encode_path(bucket).as_slice()].concat();
    let rest = canonical.strip_prefix(bucket_path.as_slice()).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let mut tries: Vec<(&str, Vec<u8>)> = vec![
        ("the path as it was sent, without the encoding of S3", raw.to_vec()),
        ("the decoded path", decoded.to_vec()),
        ("the path encoded twice", encode_path(raw)),
        ("the path with // and .. resolved", encode_path(&normalized(&decoded))),
        ("the path with + read as a space", encode_path(&decode_form(raw))),
        ("the path with !'()* unencoded", encode_keeping(&decoded, b"!'()*")),
        ("the path with the reserved characters unencoded", encode_keeping(&decoded, b"!$&'()*+,;=:@")),
        ("the path with lower-case escapes", lower_escapes(canonical)),
    ];
    if let Some(rest) = rest.filter(|_| call.address.style == Style::Path) {
        let rest = if rest.is_empty() { b"/" } else { rest };
        tries.push(("the path without the bucket, as for a bucket in the host name, and sent it with the bucket", rest.to_vec()));
    }
    let with_bucket = [bucket_path.as_slice(), canonical].concat();
    tries.push(("the path with the bucket, as for path style, and sent it without", with_bucket));
    let without_slash = canonical.strip_suffix(b"/").map(<[u8]>::to_vec);
    tries.push(("the path without the slash at its end", without_slash.unwrap_or_default()));
    tries.push(("the path with a slash at its end", [canonical, &b"/"[..]].concat()));
    first_fit(trial, Component::Path, tries, |canonical, path| canonical.path = path)
}

fn queries(trial: &Trial<'_>, call: &Call<'_>) -> Option<Found> {
    let raw = call.query.raw();
    let pairs: Vec<_> = call.query.raw_pairs().collect();
    let join = |pairs: &[(&[u8], &[u8])]| {
        pairs.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect::<Vec<_>>().join(&b'&')
    };
    let mut sorted = pairs.clone();
    sorted.sort_unstable();
    let plus_kept = pairs
        .iter()
        .map(|(name, value)| [encode_query(&decode_percent(name)), b"=".to_vec(), encode_query(&decode_percent(value))].concat());
    let mut plus_kept: Vec<_> = plus_kept.collect();
    plus_kept.sort();
    let mut tries: Vec<(&str, Vec<u8>)> = vec![
        ("no query", Vec::new()),
        ("the query as it was sent", raw.to_vec()),
        ("the query as it was sent, not sorted", join(&pairs)),
        ("the query sorted, without the encoding of S3", join(&sorted)),
        ("the query with + encoded as %2B", plus_kept.join(&b'&')),
    ];
    let all = join(&pairs);
    for at in 0..pairs.len() {
        let mut fewer = pairs.clone();
        fewer.remove(at);
        tries.push(("the query without one of its parameters", canonical_query(Query::new(&join(&fewer)))));
    }
    tries.push((
        "the query with x-id",
        canonical_query(Query::new(&[&all, &b"&x-id="[..], call.operation.name().as_bytes()].concat())),
    ));
    first_fit(trial, Component::Query, tries, |canonical, query| canonical.query = query)
}

fn methods(trial: &Trial<'_>) -> Option<Found> {
    let tries = ["GET", "HEAD", "PUT", "POST", "DELETE"].map(|method| (method, method.as_bytes().to_vec())).to_vec();
    first_fit(trial, Component::Method, tries, |canonical, method| canonical.method = method)
}

fn payloads(trial: &Trial<'_>, call: &Call<'_>) -> Option<Found> {
    let mut tries = vec![
        ("an unsigned payload", UNSIGNED_PAYLOAD.to_vec()),
        ("the hash of an empty body", EMPTY_SHA256.to_vec()),
        ("chunk signatures", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_vec()),
        ("chunk signatures and a trailer", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_vec()),
        ("an unsigned payload with a trailer", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_vec()),
    ];
    if let Some(hash) = body_sha256(&call.exchange.request.body) {
        tries.insert(0, ("the hash of the body, and the request states another", hash));
    }
    let sent = &trial.claim.canonical.payload;
    for at in 0..sent.len() {
        tries.extend(b"0123456789abcdef".iter().filter_map(|digit| {
            let mut hash = sent.clone();
            *hash.get_mut(at)? = *digit;
            Some(("another digit of the hash", hash))
        }));
    }
    // Where the value travels as a signed header too, both change together.
    first_fit(trial, Component::PayloadHash, tries, |canonical, payload| {
        if canonical.header(b"x-amz-content-sha256").is_some() {
            set_header(canonical, b"x-amz-content-sha256", &payload);
        }
        canonical.payload = payload;
    })
}

fn headers(trial: &Trial<'_>, call: &Call<'_>, hints: &Hints) -> Option<Found> {
    let request = &call.exchange.request.headers;
    for (name, sent) in &trial.claim.canonical.headers {
        if name == b"host" || name == b"x-amz-date" {
            continue;
        }
        let text = String::from_utf8_lossy(name).into_owned();
        let mut values: Vec<Vec<u8>> = hints.values_of(name).map(<[u8]>::to_vec).collect();
        values.extend(USUAL_VALUES.iter().filter(|(of, _)| of.as_bytes() == name).map(|(_, value)| value.as_bytes().to_vec()));
        values.push(Vec::new());
        let repeated: Vec<_> =
            request.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
        if let [first, .., last] = repeated.as_slice() {
            values.extend([first.to_vec(), last.to_vec(), repeated.join(&b", "[..])]);
        }
        values.extend(repeated.first().map(|value| value.to_vec()));
        let fit = values.iter().find_map(|value| trial.with(|canonical| set_header(canonical, name, value)).zip(Some(value)));
        if let Some((signed, value)) = fit {
            let why = match (sent.is_empty(), value.is_empty()) {
                (true, _) => "it is gone from the request".to_owned(),
                (_, true) => "the client signed it empty".to_owned(),
                _ => "the client signed another value of it".to_owned(),
            };
            return Some((Component::Header(text), why, Some(signed)));
        }
    }
    None
}

/// Values that clients send and proxies change.
const USUAL_VALUES: &[(&str, &str)] = &[
    ("accept-encoding", "identity"),
    ("accept-encoding", "gzip"),
    ("accept-encoding", "gzip, deflate"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-encoding", "gzip,deflate"),
    ("accept-encoding", "gzip, br"),
    ("accept-encoding", "*"),
    ("accept", "*/*"),
    ("connection", "keep-alive"),
    ("connection", "Keep-Alive"),
    ("connection", "close"),
    ("content-type", "application/octet-stream"),
    ("content-type", "binary/octet-stream"),
    ("content-type", "application/xml"),
    ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
    ("content-encoding", "aws-chunked"),
    ("content-length", "0"),
    ("te", "trailers"),
    ("transfer-encoding", "chunked"),
    ("expect", "100-continue"),
    ("user-agent", "Go-http-client/1.1"),
];

fn name_lists(trial: &Trial<'_>, call: &Call<'_>, hints: &Hints) -> Option<Found> {
    let sent = &trial.claim.canonical.names;
    let mut lists: Vec<Vec<u8>> = hints.name_lists().map(<[u8]>::to_vec).collect();
    let names: Vec<&[u8]> = sent.split(|byte| *byte == b';').collect();
    for at in 0..names.len() {
        let mut fewer = names.clone();
        fewer.remove(at);
        lists.push(fewer.join(&b';'));
    }
    let headers = &call.exchange.request.headers;
    for (at, name) in names.iter().enumerate() {
        let is_there = headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name));
        for (have, _) in headers.iter().filter(|_| !is_there) {
            let lower = have.to_ascii_lowercase();
            let mut other = names.clone();
            if let Some(place) = other.get_mut(at) {
                *place = &lower;
            }
            lists.push(other.join(&b';'));
        }
    }
    for (name, _) in headers.iter() {
        let mut more: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
        more.push(name.to_ascii_lowercase());
        more.sort();
        lists.push(more.join(&b';'));
    }
    let rule = rule_of(call);
    let canonicals = lists
        .iter()
        .filter(|list| *list != sent)
        .map(|list| Canonical::new(&parts_of(call), rule, list.split(|byte| *byte == b';'), &trial.claim.canonical.payload));
    let signed = canonicals.into_iter().find(|canonical| trial.fits(canonical))?;
    let why = format!("the client signed the headers {}", lossy(&signed.names));
    Some((Component::SignedHeaders, why, Some(signed)))
}

/// The credential scope. In a presigned URL it is part of the query as well.
fn scopes(claim: &Claim, credential: &Credential, hints: &Hints) -> Option<Found> {
    let mut tries: Vec<(Component, Claim)> = Vec::new();
    if let Some(day) = claim.date.get(..8).filter(|day| *day != claim.scope.date) {
        let mut other = claim.clone();
        other.scope.date = day.to_vec();
        tries.push((Component::ScopeDate, other));
    }
    for region in hints.regions().chain(USUAL_REGIONS.iter().map(|region| region.as_bytes())) {
        let mut other = claim.clone();
        other.scope.region = region.to_vec();
        tries.push((Component::Region, other));
    }
    for service in ["s3", "s3express", "s3-outposts", "sts"] {
        let mut other = claim.clone();
        other.scope.service = service.as_bytes().to_vec();
        tries.push((Component::Service, other));
    }
    for (component, mut other) in tries {
        other.canonical.query = with_parameter(&claim.canonical.query, b"X-Amz-Credential", &credential_of(&other));
        if other.verifies(credential) {
            let why = format!("the client signed for {}", lossy(&other.scope.text()));
            return Some((component, why, Some(other.canonical)));
        }
    }
    None
}

const USUAL_REGIONS: &[&str] =
    &["us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "auto", "garage", "US"];

/// A date of which one digit differs: it stands in the header (or query), in the string to sign, and its day in the scope.
fn dates(claim: &Claim, credential: &Credential) -> Option<Found> {
    for at in 0..claim.date.len() {
        for digit in b'0'..=b'9' {
            let mut date = claim.date.clone();
            let Some(place) = date.get_mut(at).filter(|place| **place != digit && place.is_ascii_digit()) else { continue };
            *place = digit;
            let mut other = claim.clone();
            set_header(&mut other.canonical, b"x-amz-date", &date);
            other.canonical.query = with_parameter(&claim.canonical.query, b"X-Amz-Date", &date);
            other.date.clone_from(&date);
            if other.verifies(credential) {
                let why = format!("the client signed {}", lossy(&date));
                return Some((Component::Date, why, Some(other.canonical)));
            }
        }
    }
    None
}

fn credential_of(claim: &Claim) -> Vec<u8> {
    [claim.access_key.as_bytes(), b"/", &claim.scope.text()].concat()
}

/// A canonical query with another value of a parameter that it has.
pub(super) fn with_parameter(query: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let start = [name, b"="].concat();
    let pairs = query
        .split(|byte| *byte == b'&')
        .map(|pair| if pair.starts_with(&start) { [start.as_slice(), &encode_query(value)].concat() } else { pair.to_vec() });
    pairs.collect::<Vec<_>>().join(&b'&')
}

fn set_header(canonical: &mut Canonical, name: &[u8], value: &[u8]) {
    if let Some((_, have)) = canonical.headers.iter_mut().find(|(have, _)| have == name) {
        *have = value.to_vec();
    }
}

fn first_fit(
    trial: &Trial<'_>,
    component: Component,
    tries: Vec<(&str, Vec<u8>)>,
    set: impl Fn(&mut Canonical, Vec<u8>),
) -> Option<Found> {
    tries.into_iter().find_map(|(what, value)| {
        let signed = trial.with(|canonical| set(canonical, value))?;
        Some((component.clone(), format!("the client signed {what}"), Some(signed)))
    })
}

fn encode_keeping(decoded: &[u8], kept: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(decoded.len());
    for byte in decoded {
        if kept.contains(byte) { out.push(*byte) } else { out.extend(encode_path(&[*byte])) }
    }
    out
}

fn lower_escapes(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    for at in memchr::memchr_iter(b'%', path) {
        out.get_mut(at + 1..at + 3).unwrap_or_default().make_ascii_lowercase();
    }
    out
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
