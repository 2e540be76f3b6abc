//! Signing: a request in, the headers that prove who sends it out.

use ring::digest;

use crate::model::{Headers, Timestamp};
use crate::s3::http_date;
use crate::s3::query::{Query, encode_query};
use crate::s3::sigv4::canonical::{Canonical, Parts, PathRule};
use crate::s3::sigv4::chunks::ChunkChain;
use crate::s3::sigv4::credential::{Credential, Scope, SigningKey};
use crate::s3::sigv4::{ALGORITHM, UNSIGNED_PAYLOAD, hex};

/// Signs requests for one region of S3. The key of a day is derived once.
#[derive(Clone, Debug)]
pub struct Signer {
    credential: Credential,
    region: Vec<u8>,
    key: Option<(Scope, SigningKey)>,
}

/// What signing gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `yyyymmddThhmmssZ`
    pub date: Vec<u8>,
    /// The signature, which is the seed of a chunk chain.
    pub signature: Vec<u8>,
}

impl Signer {
    /// For a region, as in `us-east-1`.
    pub fn new(credential: Credential, region: &str) -> Self {
        Self { credential, region: region.as_bytes().to_vec(), key: None }
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` and `Authorization` to the headers, which must hold
    /// `Host` and none of these. `payload` is the hash of the body in hexadecimal or the name of a mode.
    pub fn sign(
        &mut self,
        method: &[u8],
        path: &[u8],
        query: &[u8],
        headers: &mut Headers,
        payload: &[u8],
        at: Timestamp,
    ) -> Signed {
        let date = http_date::write_basic(at);
        headers.append(b"x-amz-date", &date);
        headers.append(b"x-amz-content-sha256", payload);
        if let Some(token) = self.credential.session_token() {
            headers.append(b"x-amz-security-token", token.as_bytes());
        }
        let parts = Parts { method, path, query: Query::new(query), headers, body_length: 0 };
        let mut names: Vec<&[u8]> = headers.iter().map(|(name, _)| name).filter(|name| is_signed(name)).collect();
        names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
        names.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
        let canonical = Canonical::new(&parts, PathRule::Once, names.into_iter(), payload);
        let (scope, key) = self.key_of(&date);
        let signature = key.sign_request(&date, scope, canonical.sha256().as_ref());
        let scope = scope.text();
        let access_key = self.credential.access_key.as_bytes();
        let value: [&[u8]; 9] = [
            ALGORITHM,
            b" Credential=",
            access_key,
            b"/",
            &scope,
            b", SignedHeaders=",
            &canonical.names,
            b", Signature=",
            &signature,
        ];
        headers.append(b"authorization", &value.concat());
        Signed { date, signature }
    }

    /// The query of a presigned URL: `query` with the parameters of the signature. `headers` are those that the URL signs.
    pub fn presign(
        &mut self,
        method: &[u8],
        path: &[u8],
        query: &[u8],
        headers: &Headers,
        expires: u32,
        at: Timestamp,
    ) -> Vec<u8> {
        let date = http_date::write_basic(at);
        let (scope, key) = self.key_of(&date);
        let (scope, key) = (scope.clone(), key.clone());
        let mut names: Vec<Vec<u8>> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let credential = [self.credential.access_key.as_bytes(), b"/", &scope.text()].concat();
        let mut query = query.to_vec();
        let mut add = |name: &str, value: &[u8]| {
            let start: &[u8] = if query.is_empty() { b"" } else { b"&" };
            query.extend([start, name.as_bytes(), b"=", &encode_query(value)].concat());
        };
        add("X-Amz-Algorithm", ALGORITHM);
        add("X-Amz-Credential", &credential);
        add("X-Amz-Date", &date);
        add("X-Amz-Expires", expires.to_string().as_bytes());
        add("X-Amz-SignedHeaders", &names.join(&b';'));
        if let Some(token) = self.credential.session_token() {
            add("X-Amz-Security-Token", token.as_bytes());
        }
        let parts = Parts { method, path, query: Query::new(&query), headers, body_length: 0 };
        let canonical = Canonical::new(&parts, PathRule::Once, names.iter().map(Vec::as_slice), UNSIGNED_PAYLOAD);
        let signature = key.sign_request(&date, &scope, canonical.sha256().as_ref());
        [&query[..], b"&X-Amz-Signature=", &signature].concat()
    }

    /// The chain for the chunks of a request that was signed with a streaming mode.
    pub fn chunks(&mut self, signed: &Signed) -> ChunkChain {
        let (scope, key) = self.key_of(&signed.date);
        ChunkChain::new(key.clone(), &signed.date, scope, &signed.signature)
    }

    fn key_of(&mut self, date: &[u8]) -> (&Scope, &SigningKey) {
        let day = date.get(..8).unwrap_or_default();
        let cached = self.key.take().filter(|(scope, _)| scope.date == day);
        let (scope, key) = self.key.insert(cached.unwrap_or_else(|| {
            let scope = Scope { date: day.to_vec(), region: self.region.clone(), service: b"s3".to_vec() };
            let key = self.credential.signing_key(&scope);
            (scope, key)
        }));
        (scope, key)
    }
}

/// The hash of a body in hexadecimal.
pub fn body_hash(body: &[u8]) -> Vec<u8> {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

/// Whether a header is signed: all but those that proxies and HTTP itself change.
fn is_signed(name: &[u8]) -> bool {
    const NOT_SIGNED: &[&str] = &[
        "authorization",
        "user-agent",
        "expect",
        "connection",
        "transfer-encoding",
        "content-length",
        "accept",
        "accept-encoding",
        "te",
        "trailer",
        "upgrade",
        "proxy-connection",
        "x-amzn-trace-id",
    ];
    !NOT_SIGNED.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}
