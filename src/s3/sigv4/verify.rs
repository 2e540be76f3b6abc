//! Verification of a recorded signature with a given secret.

use ring::digest;

use crate::model::Body;
use crate::s3::aws_chunked::Mode;
use crate::s3::sigv4::canonical::{Canonical, Parts, PathRule};
use crate::s3::sigv4::chunks::{ChunkChain, ChunkFault};
use crate::s3::sigv4::credential::{Credential, Scope};
use crate::s3::sigv4::{EMPTY_SHA256, UNSIGNED_PAYLOAD, hex};
use crate::s3::{Address, Auth, Call, Payload, Scheme, http_date};

/// What came of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It verifies, and so do the body hash and the chunks, where they could be computed.
    Verified,
    /// It does not verify.
    Differs,
    /// The signature verifies; the body is not the one that it covers.
    BodyDiffers(BodyFault),
    /// It was not looked at.
    NotChecked(NotChecked),
}

/// How a body differs from what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Its SHA-256.
    Hash,
    /// A chunk or the trailer.
    Chunk(ChunkFault),
}

/// Why a signature was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotChecked {
    /// The request is not signed.
    Unsigned,
    /// The scheme is not SigV4: its name.
    Scheme(Scheme),
    /// It is signed with an access key whose secret was not given.
    OtherAccessKey,
    /// A recorded session holds no signature: it was redacted.
    Redacted,
    /// `Authorization` lacks a part, or there is no date.
    Incomplete,
}

impl NotChecked {
    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unsigned => "not signed",
            Self::Scheme(scheme) => scheme.label(),
            Self::OtherAccessKey => "signed with another access key",
            Self::Redacted => "redacted in the recording",
            Self::Incomplete => "incomplete signature",
        }
    }
}

/// A signed request with all that its signature was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) canonical: Canonical,
    /// `yyyymmddThhmmssZ`
    pub(super) date: Vec<u8>,
    pub(super) scope: Scope,
    pub(super) access_key: String,
    /// In lower case.
    pub(super) signature: Vec<u8>,
}

impl Claim {
    /// Reads what a call claims to be signed over.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, NotChecked> {
        let auth = call.auth();
        match auth.scheme {
            Scheme::SigV4 | Scheme::SigV4Presigned => {}
            Scheme::Anonymous | Scheme::Sts => return Err(NotChecked::Unsigned),
            scheme => return Err(NotChecked::Scheme(scheme)),
        }
        let signature = auth.signature.as_deref().ok_or(NotChecked::Incomplete)?.to_ascii_lowercase();
        if signature.starts_with(b"[redacted") {
            return Err(NotChecked::Redacted);
        }
        let part = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(|text| text.as_bytes().to_vec());
        let scope = Scope {
            date: part(&auth.scope_date).ok_or(NotChecked::Incomplete)?,
            region: part(&auth.region).ok_or(NotChecked::Incomplete)?,
            service: part(&auth.service).ok_or(NotChecked::Incomplete)?,
        };
        let access_key = auth.access_key.as_deref().ok_or(NotChecked::Incomplete)?.to_owned();
        let date = date_of(call, &auth).ok_or(NotChecked::Incomplete)?;
        let rule = rule_of(call);
        let payload = payload_of(call, &auth);
        let canonical = Canonical::new(&parts_of(call), rule, auth.signed_header_names(), &payload);
        Ok(Self { canonical, date, scope, access_key, signature })
    }

    pub(super) fn verifies(&self, credential: &Credential) -> bool {
        let key = credential.signing_key(&self.scope);
        key.sign_request(&self.date, &self.scope, self.canonical.sha256().as_ref()) == self.signature
    }
}

/// By what is asked for, not by the service of the scope, which may be what differs.
pub(super) fn rule_of(call: &Call<'_>) -> PathRule {
    if call.operation.is_sts() { PathRule::NormalizedTwice } else { PathRule::Once }
}

/// The request of a call, as signatures see it.
pub(super) fn parts_of<'x>(call: &Call<'x>) -> Parts<'x> {
    let request = &call.exchange.request;
    Parts {
        method: request.method(),
        path: Address::path_of(request.target()),
        query: call.query,
        headers: &request.headers,
        body_length: request.body.length,
    }
}

/// Verifies the signature of a call, and the body where it is at hand.
pub fn verify(call: &Call<'_>, credentials: &[Credential]) -> Check {
    let claim = match Claim::read(call) {
        Ok(claim) => claim,
        Err(reason) => return Check::NotChecked(reason),
    };
    let Some(credential) = credentials.iter().find(|one| one.access_key == claim.access_key) else {
        // A changed access key leaves a signature that one of the secrets has made.
        let is_known = credentials.iter().any(|credential| claim.verifies(credential));
        return if is_known { Check::Differs } else { Check::NotChecked(NotChecked::OtherAccessKey) };
    };
    if !claim.verifies(credential) {
        return Check::Differs;
    }
    match body_fault(call, &claim, credential) {
        Some(fault) => Check::BodyDiffers(fault),
        None => Check::Verified,
    }
}

/// The body, against what the verified head says of it; `None` also where the body is not at hand.
fn body_fault(call: &Call<'_>, claim: &Claim, credential: &Credential) -> Option<BodyFault> {
    let body = &call.exchange.request.body;
    let payload = Payload::recognise(&claim.canonical.payload);
    if payload == Payload::SignedHash {
        let hash = body_sha256(body)?;
        return (hash.as_slice() != claim.canonical.payload.to_ascii_lowercase()).then_some(BodyFault::Hash);
    }
    if !matches!(payload, Payload::StreamingSigned | Payload::StreamingSignedTrailer) {
        return None;
    }
    let mode = Mode::of_payload(payload)?;
    let whole = whole(body)?;
    let key = credential.signing_key(&claim.scope);
    let chain = ChunkChain::new(key, &claim.date, &claim.scope, &claim.signature);
    chain.verify(mode, whole).err().map(BodyFault::Chunk)
}

/// The hash of a body in hexadecimal, where it is known or can be computed.
pub(super) fn body_sha256(body: &Body) -> Option<Vec<u8>> {
    if let Some(hash) = &body.sha256 {
        return Some(hex(hash.as_slice()));
    }
    whole(body).map(|body| hex(digest::digest(&digest::SHA256, body).as_ref()))
}

/// All of a body, where it was kept.
fn whole(body: &Body) -> Option<&[u8]> {
    let is_whole = body.complete && body.missing.is_empty() && body.kept.len() as u64 == body.length;
    is_whole.then_some(body.kept.as_slice())
}

/// The last line of the canonical request (MinIO `getContentSha256Cksum`).
fn payload_of(call: &Call<'_>, auth: &Auth<'_>) -> Vec<u8> {
    let request = &call.exchange.request;
    if let Some(value) = request.headers.find("x-amz-content-sha256") {
        return value.to_vec();
    }
    if auth.scheme == Scheme::SigV4Presigned {
        let value = call.query.get_ignoring_case("X-Amz-Content-Sha256");
        let absent = if rule_of(call) == PathRule::Once { UNSIGNED_PAYLOAD } else { EMPTY_SHA256 };
        return value.map_or_else(|| absent.to_vec(), std::borrow::Cow::into_owned);
    }
    // Services other than S3 always sign the body's hash.
    if rule_of(call) == PathRule::Once {
        return EMPTY_SHA256.to_vec();
    }
    body_sha256(&request.body).unwrap_or_else(|| EMPTY_SHA256.to_vec())
}

/// The date of the request as the string to sign has it.
fn date_of(call: &Call<'_>, auth: &Auth<'_>) -> Option<Vec<u8>> {
    let headers = &call.exchange.request.headers;
    if auth.scheme == Scheme::SigV4Presigned {
        return call.query.get("X-Amz-Date").map(std::borrow::Cow::into_owned);
    }
    if let Some(date) = headers.find("x-amz-date") {
        return Some(date.trim_ascii().to_vec());
    }
    auth.signed_at.map(http_date::write_basic)
}
