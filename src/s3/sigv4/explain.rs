//! Why a signature does not verify: which single component, put back to what the client may have signed, makes it fit.

use crate::model::HeaderName;
use crate::s3::Call;
use crate::s3::sigv4::Credential;
use crate::s3::sigv4::canonical::Canonical;
use crate::s3::sigv4::verify::{BodyFault, Check, Claim, verify};
use crate::s3::sigv4::{candidates, search};

/// The part of a request that is not the one that was signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The method.
    Method,
    /// The path, or how it is encoded.
    Path,
    /// The query.
    Query,
    /// The value of this signed header, in lower case.
    Header(String),
    /// The list of signed headers.
    SignedHeaders,
    /// `x-amz-content-sha256`, or what stands for it.
    PayloadHash,
    /// The body: it has another hash than the request states.
    Body,
    /// A chunk of an aws-chunked body, its signature, or the trailer.
    Chunk,
    /// `x-amz-date`.
    Date,
    /// The day of the credential scope.
    ScopeDate,
    /// The region of the credential scope.
    Region,
    /// The service of the credential scope.
    Service,
    /// The access key: the signature was made with the secret of another.
    AccessKey,
    /// The signature itself.
    Signature,
    /// The secret: nothing else explains it, and no other request of this access key verifies.
    Secret,
    /// No single component explains it.
    Unknown,
}

impl Component {
    /// The name in reports: `path`, `header host`, …
    pub fn label(&self) -> String {
        let label = match self {
            Self::Header(name) => return format!("header {name}"),
            Self::Method => "method",
            Self::Path => "path",
            Self::Query => "query",
            Self::SignedHeaders => "signed headers",
            Self::PayloadHash => "payload hash",
            Self::Body => "body",
            Self::Chunk => "chunk",
            Self::Date => "date",
            Self::ScopeDate => "credential scope date",
            Self::Region => "region",
            Self::Service => "service",
            Self::AccessKey => "access key",
            Self::Signature => "signature",
            Self::Secret => "secret",
            Self::Unknown => "unknown",
        };
        label.to_owned()
    }
}

/// Why a signature does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The component that differs.
    pub component: Component,
    /// What about it, in words: a sentence without a full stop. Wire text in it is not escaped.
    pub why: String,
    claim: Claim,
    /// The canonical request that the signature fits, where one was found.
    pub signed: Option<Canonical>,
}

/// Values that other requests of the run had: what a changed header most likely was.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    values: Vec<(Vec<u8>, Vec<u8>)>,
    /// Lists of signed headers.
    names: Vec<Vec<u8>>,
    regions: Vec<Vec<u8>>,
}

/// Values kept of each kind.
const HINTS_MAX: usize = 256;

impl Hints {
    /// Learns from a request.
    pub fn learn(&mut self, call: &Call<'_>) {
        let auth = call.auth();
        for name in auth.signed_header_names() {
            if VARYING.contains(&name) {
                continue;
            }
            let text = std::str::from_utf8(name).unwrap_or_default();
            if let Some(value) = call.exchange.request.headers.find(text) {
                add(&mut self.values, (name.to_ascii_lowercase(), value.to_vec()));
            }
        }
        for name in [HeaderName::Host, HeaderName::XForwardedHost] {
            if let Some(value) = call.exchange.request.headers.get(name) {
                add(&mut self.values, (b"host".to_vec(), value.to_vec()));
            }
        }
        if let Some(names) = auth.signed_headers.as_deref() {
            add(&mut self.names, names.to_vec());
        }
        if let Some(region) = auth.region.as_deref() {
            add(&mut self.regions, region.as_bytes().to_vec());
        }
    }

    pub(super) fn values_of<'h>(&'h self, name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
        self.values.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_slice())
    }

    pub(super) fn name_lists(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(Vec::as_slice)
    }

    pub(super) fn regions(&self) -> impl Iterator<Item = &[u8]> {
        self.regions.iter().map(Vec::as_slice)
    }
}

/// Headers whose values are those of one request only.
const VARYING: [&[u8]; 6] = [
    b"x-amz-date",
    b"x-amz-content-sha256",
    b"amz-sdk-invocation-id",
    b"content-length",
    b"content-md5",
    b"x-amz-decoded-content-length",
];

fn add<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if values.len() < HINTS_MAX && !values.contains(&value) {
        values.push(value);
    }
}

impl Mismatch {
    /// Explains why the signature of a call does not verify with the secret of its access key, by what programs are known to
    /// change: some hundred trials. `None` where it verifies, or where it cannot be checked.
    pub fn explain(call: &Call<'_>, credentials: &[Credential], hints: &Hints) -> Option<Self> {
        let claim = Claim::read(call).ok()?;
        let mismatch = |component, why: String, signed| Self { component, why, claim: claim.clone(), signed };
        match verify(call, credentials) {
            Check::Verified | Check::NotChecked(_) => return None,
            Check::BodyDiffers(BodyFault::Hash) => {
                let why = "the body does not have the SHA-256 that the request states".to_owned();
                return Some(mismatch(Component::Body, why, None));
            }
            Check::BodyDiffers(BodyFault::Chunk(fault)) => return Some(mismatch(Component::Chunk, fault.to_string(), None)),
            Check::Differs => {}
        }
        let Some(credential) = credentials.iter().find(|one| one.access_key == claim.access_key) else {
            let why = "the signature was made with the secret of another access key than the request names".to_owned();
            return Some(mismatch(Component::AccessKey, why, None));
        };
        if let Some((component, why, signed)) = candidates::find(call, &claim, credentials, credential, hints) {
            return Some(mismatch(component, why, signed));
        }
        let why = "no single component explains the signature".to_owned();
        Some(mismatch(Component::Unknown, why, None))
    }

    /// Searches for a single byte of the canonical request or the credential scope that was changed: some hundred thousand
    /// trials, below a second.
    pub fn search(&self, credential: &Credential) -> Option<Self> {
        let (component, signed) = search::one_byte(&self.claim, credential)?;
        let why = "one byte of it is not the one that was signed".to_owned();
        Some(Self { component, why, claim: self.claim.clone(), signed: Some(signed) })
    }

    /// The canonical request of what is on the wire.
    pub const fn sent(&self) -> &Canonical {
        &self.claim.canonical
    }

    /// Explains a signature that verifies on one hop and not on the next: the first component that the proxy changed.
    pub fn between(front: &Call<'_>, back: &Call<'_>) -> Option<Self> {
        let (signed, sent) = (Claim::read(front).ok()?, Claim::read(back).ok()?);
        if signed.signature != sent.signature {
            return None;
        }
        let component = difference(&signed.canonical, &sent.canonical)?;
        let why = "the proxy changed it".to_owned();
        Some(Self { component, why, claim: sent, signed: Some(signed.canonical) })
    }

    /// Both canonical requests, line by line: name, as sent, as signed. Secrets are left out.
    pub fn side_by_side(&self) -> Vec<(String, String, String)> {
        let sent = self.sent();
        let other = self.signed.as_ref().unwrap_or(sent);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let row = |name: &str, sent: &[u8], signed: &[u8]| (name.to_owned(), text(sent), text(signed));
        let mut rows = vec![
            row("method", &sent.method, &other.method),
            row("path", &sent.path, &other.path),
            row("query", &without_secrets(&sent.query), &without_secrets(&other.query)),
        ];
        let names = sent.headers.iter().chain(&other.headers).map(|(name, _)| name.as_slice());
        let mut seen: Vec<&[u8]> = Vec::new();
        for name in names {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let value = |canonical: &Canonical| -> Vec<u8> {
                match canonical.header(name) {
                    Some(_) if is_secret(name) => b"(secret)".to_vec(),
                    Some(value) => value.to_vec(),
                    None => b"(absent)".to_vec(),
                }
            };
            rows.push(row(&text(name), &value(sent), &value(other)));
        }
        rows.push(row("signed headers", &sent.names, &other.names));
        rows.push(row("payload", &sent.payload, &other.payload));
        rows
    }
}

/// The first component in which two canonical requests differ.
pub(super) fn difference(signed: &Canonical, sent: &Canonical) -> Option<Component> {
    if signed.method != sent.method {
        return Some(Component::Method);
    }
    if signed.path != sent.path {
        return Some(Component::Path);
    }
    if signed.query != sent.query {
        return Some(Component::Query);
    }
    if signed.names != sent.names {
        return Some(Component::SignedHeaders);
    }
    let header = signed.headers.iter().find(|(name, value)| sent.header(name) != Some(value));
    if let Some((name, _)) = header {
        return Some(Component::Header(String::from_utf8_lossy(name).into_owned()));
    }
    (signed.payload != sent.payload).then_some(Component::PayloadHash)
}

/// Whether the value of a header must not be shown.
fn is_secret(name: &[u8]) -> bool {
    let has = |word: &[u8]| memchr::memmem::find(name, word).is_some();
    has(b"customer-key") || has(b"security-token") || has(b"encryption-context") || has(b"session-token") || name == b"cookie"
}

/// A canonical query without the values of secrets.
fn without_secrets(query: &[u8]) -> Vec<u8> {
    let shown = query.split(|byte| *byte == b'&').map(|pair| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (name, _) = pair.split_at_checked(end).unwrap_or((pair, &[]));
        let lower = name.to_ascii_lowercase();
        let is_key = lower.starts_with(b"ssecustomerkey") || is_secret(&lower);
        if is_key { [name, b"=(secret)"].concat() } else { pair.to_vec() }
    });
    shown.collect::<Vec<_>>().join(&b'&')
}
