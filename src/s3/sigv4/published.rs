//! Signatures against those of others: AWS's published cases, and the signer of the AWS SDK for Rust.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use proptest::prelude::*;

use crate::model::{Headers, Timestamp};
use crate::s3::Query;
use crate::s3::sigv4::{Canonical, Credential, Parts, PathRule, Scope, Signer, body_hash};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const CASES: &str = "../shared/corpora/seeds-sigv4/tests/unit/auth/aws4_testsuite";

struct Request {
    method: Vec<u8>,
    target: Vec<u8>,
    headers: Headers,
    body: Vec<u8>,
}

/// Reads a request of the suite: lines end in LF, folded lines belong to the value before.
fn read_request(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let (method, rest) = first.split_once(' ').unwrap();
    let (target, _) = rest.rsplit_once(' ').unwrap();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        match line.strip_prefix(' ') {
            Some(more) => fields.last_mut().unwrap().1 += &format!(" {more}"),
            None => {
                let (name, value) = line.split_once(':').unwrap();
                fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    let mut headers = Headers::default();
    for (name, value) in &fields {
        headers.append(name.as_bytes(), value.trim().as_bytes());
    }
    Request { method: method.into(), target: target.into(), headers, body: body.as_bytes().to_vec() }
}

fn check_case(folder: &Path) -> bool {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let read = |suffix: &str| std::fs::read_to_string(folder.join(format!("{name}.{suffix}")));
    let Ok(request) = read("req") else { return false };
    let expected = |suffix: &str| read(suffix).unwrap().replace('\r', "");
    let mut request = read_request(&request.replace('\r', ""));
    // The suite keeps the token of temporary credentials in the canonical request alone.
    let token = expected("creq").lines().find_map(|line| line.strip_prefix("x-amz-security-token:").map(str::to_owned));
    if let Some(token) = token.filter(|_| request.headers.find("x-amz-security-token").is_none()) {
        request.headers.append(b"x-amz-security-token", token.as_bytes());
    }
    let (path, query) = match memchr::memchr(b'?', &request.target) {
        Some(at) => (&request.target[..at], &request.target[at + 1..]),
        None => (&request.target[..], &[][..]),
    };
    let parts = Parts { method: &request.method, path, query: Query::new(query), headers: &request.headers, body_length: 0 };
    let authorization = expected("authz");
    let names = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    let payload = body_hash(&request.body);
    let canonical = Canonical::new(&parts, PathRule::NormalizedTwice, names.split(';').map(str::as_bytes), &payload);
    assert_eq!(String::from_utf8(canonical.text()).unwrap(), expected("creq"), "{name}");
    let scope = Scope { date: b"20150830".to_vec(), region: b"us-east-1".to_vec(), service: b"service".to_vec() };
    let key = Credential::new("AKIDEXAMPLE", SECRET, None).signing_key(&scope);
    let signature = key.sign_request(b"20150830T123600Z", &scope, canonical.sha256().as_ref());
    let published = authorization.trim().rsplit_once("Signature=").unwrap().1;
    assert_eq!(String::from_utf8(signature).unwrap(), published, "{name}");
    true
}

#[test]
fn the_published_cases_give_the_published_canonical_requests_and_signatures() {
    let Ok(entries) = std::fs::read_dir(CASES) else {
        return crate::require::skip(crate::require::Need::Shared, CASES);
    };
    let mut count = 0;
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let inner = std::fs::read_dir(entry.path()).unwrap().flatten().filter(|inner| inner.path().is_dir());
        count += inner.filter(|inner| check_case(&inner.path())).count();
        count += usize::from(check_case(&entry.path()));
    }
    assert!(count >= 30, "{count}");
}

/// The signature that the AWS SDK for Rust makes, in the settings of S3: `None` for the header, or the seconds of a URL.
fn foreign(method: &str, url: &str, headers: &[(String, String)], body: &str, expires: Option<u32>) -> String {
    let identity = Credentials::new("AK", SECRET, Some("token/+=".to_owned()), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.session_token_mode = SessionTokenMode::Include;
    let signable = match expires {
        None => SignableBody::Bytes(body.as_bytes()),
        Some(_) => SignableBody::UnsignedPayload,
    };
    match expires {
        None => settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256,
        Some(seconds) => {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(u64::from(seconds)));
        }
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(1_795_439_705))
        .settings(settings)
        .build()
        .unwrap();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(method, url, pairs, signable).unwrap();
    sign(request, &params.into()).unwrap().signature().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn header_and_query_signatures_are_those_of_the_sdk(
        method in prop::sample::select(vec!["GET", "PUT", "DELETE", "POST", "HEAD"]),
        key in "[ -~]{0,12}",
        names in prop::collection::btree_set("[a-z]{1,6}", 0..4),
        value in "[ -~]{0,10}",
        fields in prop::collection::btree_map("x-amz-meta-[a-z]{1,5}", "[!-~]([ -~]{0,9}[!-~])?", 0..4),
        body in "[ -~]{0,40}",
        expires in prop::option::of(1u32..604_800),
    ) {
        let path = [b"/bucket/".as_slice(), &crate::s3::encode_path(key.as_bytes())].concat();
        let pairs: Vec<_> = names.iter().map(|name| {
            format!("{name}={}", String::from_utf8(crate::s3::encode_query(value.as_bytes())).unwrap())
        }).collect();
        let query = pairs.join("&");
        let mut url = format!("http://store.example:9000{}", String::from_utf8(path.clone()).unwrap());
        if !query.is_empty() {
            url += &format!("?{query}");
        }
        let fields: Vec<(String, String)> = fields.into_iter().collect();
        let mut headers = Headers::default();
        headers.append(b"Host", b"store.example:9000");
        for (name, value) in &fields {
            headers.append(name.as_bytes(), value.as_bytes());
        }
        let at = Timestamp::from_parts(1_795_439_705, 0);
        let mut signer = Signer::new(Credential::new("AK", SECRET, Some("token/+=")), "eu-west-1");
        let ours = match expires {
            None => signer.sign(method.as_bytes(), &path, query.as_bytes(), &mut headers, &body_hash(body.as_bytes()), at).signature,
            Some(seconds) => {
                let query = signer.presign(method.as_bytes(), &path, query.as_bytes(), &headers, seconds, at);
                Query::new(&query).get("X-Amz-Signature").unwrap().into_owned()
            }
        };
        prop_assert_eq!(String::from_utf8(ours).unwrap(), foreign(method, &url, &fields, &body, expires));
    }
}
