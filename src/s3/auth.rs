//! How a request proves who sends it: headers, query and form in, scheme and credential out.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::model::{HeaderName, Headers, Timestamp};
use crate::s3::form::FormFields;
use crate::s3::http_date;
use crate::s3::query::{Query, decode_form};

/// An authentication scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `Authorization: AWS4-HMAC-SHA256 …`
    SigV4,
    /// `?X-Amz-Signature=…`
    SigV4Presigned,
    /// `AWS4-ECDSA-P256-SHA256`, by header or query.
    SigV4a,
    /// `Authorization: AWS KEY:SIGNATURE`
    SigV2,
    /// `?AWSAccessKeyId=…&Signature=…`
    SigV2Presigned,
    /// A signed form (POST Object).
    PostPolicy,
    /// `Authorization: Bearer …`
    Bearer,
    /// A request to the token service that is not signed.
    Sts,
    /// Nothing.
    Anonymous,
    /// More than one of them, which stores refuse.
    Several,
}

impl Scheme {
    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SigV4 => "sigv4",
            Self::SigV4Presigned => "sigv4-presigned",
            Self::SigV4a => "sigv4a",
            Self::SigV2 => "sigv2",
            Self::SigV2Presigned => "sigv2-presigned",
            Self::PostPolicy => "post-policy",
            Self::Bearer => "bearer",
            Self::Sts => "sts",
            Self::Anonymous => "anonymous",
            Self::Several => "several",
        }
    }

    /// Whether the credential travels in the URL.
    pub const fn is_presigned(self) -> bool {
        matches!(self, Self::SigV4Presigned | Self::SigV2Presigned)
    }
}

/// The credential of a request. With several schemes the fields are those of the header.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth<'x> {
    /// The scheme.
    pub scheme: Scheme,
    /// The access key id.
    pub access_key: Option<Cow<'x, str>>,
    /// The date of the scope, `yyyymmdd`.
    pub scope_date: Option<Cow<'x, str>>,
    /// The region of the scope.
    pub region: Option<Cow<'x, str>>,
    /// The service of the scope.
    pub service: Option<Cow<'x, str>>,
    /// The names of the signed headers, joined with `;`.
    pub signed_headers: Option<Cow<'x, [u8]>>,
    /// The signature.
    pub signature: Option<Cow<'x, [u8]>>,
    /// When it was signed.
    pub signed_at: Option<Timestamp>,
    /// How long it is good for, counted from `signed_at` (SigV4) or from the epoch (SigV2): presigned URLs only.
    pub expires: Option<Duration>,
    /// The session token: a secret.
    pub session_token: Option<Cow<'x, [u8]>>,
}

impl<'x> Auth<'x> {
    /// Reads a request's headers, query and, for a form upload, its fields. `is_sts` tells that the request goes to the token
    /// service.
    pub fn read(headers: &'x Headers, query: Query<'x>, form: Option<FormFields<'x>>, is_sts: bool) -> Self {
        let by_header = headers.get(HeaderName::Authorization).and_then(Self::of_authorization);
        let by_query = Self::of_query(query);
        let by_form = form.and_then(Self::of_form);
        let count = usize::from(by_header.is_some()) + usize::from(by_query.is_some()) + usize::from(by_form.is_some());
        let repeated = headers.all(HeaderName::Authorization).nth(1).is_some();
        let unsigned = if is_sts { Scheme::Sts } else { Scheme::Anonymous };
        let mut auth = by_header.or(by_query).or(by_form).unwrap_or_else(|| Self::empty(unsigned));
        if auth.session_token.is_none() {
            auth.session_token = headers.get(HeaderName::XAmzSecurityToken).map(Cow::Borrowed);
        }
        if auth.signed_at.is_none() && !auth.scheme.is_presigned() && auth.scheme != Scheme::PostPolicy {
            let date = headers.get(HeaderName::XAmzDate).or_else(|| headers.get(HeaderName::Date));
            auth.signed_at = date.and_then(http_date::parse);
        }
        if count > 1 || repeated {
            auth.scheme = Scheme::Several;
        }
        auth
    }

    /// Whether the request proves who sends it.
    pub const fn is_signed(&self) -> bool {
        !matches!(self.scheme, Scheme::Anonymous | Scheme::Sts)
    }

    /// The names of the signed headers, one by one.
    pub fn signed_header_names(&self) -> impl Iterator<Item = &[u8]> {
        self.signed_headers.as_deref().unwrap_or_default().split(|byte| *byte == b';').filter(|name| !name.is_empty())
    }

    /// When a presigned URL stops to work.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let from = self.signed_at.unwrap_or(Timestamp::EPOCH);
        self.expires.map(|expires| from.after(expires))
    }

    /// Reads the value of `Authorization`; `None` for schemes that S3 does not have (`Basic`, …).
    pub fn of_authorization(value: &'x [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let end = memchr::memchr2(b' ', b'\t', value).unwrap_or(value.len());
        let (scheme, rest) = value.split_at_checked(end)?;
        let rest = rest.trim_ascii();
        match scheme {
            b"AWS4-HMAC-SHA256" => Some(Self::of_sigv4_fields(Scheme::SigV4, rest)),
            b"AWS4-ECDSA-P256-SHA256" => Some(Self::of_sigv4_fields(Scheme::SigV4a, rest)),
            b"AWS" => {
                let mut auth = Self::empty(Scheme::SigV2);
                // No access key holds a colon or a bracket; what stands for a signature that was redacted does.
                if let Some(at) = memchr::memchr2(b':', b'[', rest).filter(|at| rest.get(*at) == Some(&b':')) {
                    auth.access_key = rest.get(..at).and_then(some_text);
                    auth.signature = rest.get(at + 1..).map(Cow::Borrowed);
                }
                Some(auth)
            }
            _ if scheme.eq_ignore_ascii_case(b"Bearer") => Some(Self::empty(Scheme::Bearer)),
            _ => None,
        }
    }

    /// `Credential=…, SignedHeaders=…, Signature=…`, with or without spaces, in any order.
    fn of_sigv4_fields(scheme: Scheme, fields: &'x [u8]) -> Self {
        let mut auth = Self::empty(scheme);
        for field in fields.split(|byte| *byte == b',') {
            let field = field.trim_ascii();
            if let Some(credential) = field.strip_prefix(b"Credential=") {
                auth.set_credential(Cow::Borrowed(value_alone(credential)));
            } else if let Some(names) = field.strip_prefix(b"SignedHeaders=") {
                auth.signed_headers = Some(Cow::Borrowed(value_alone(names)));
            } else if let Some(signature) = field.strip_prefix(b"Signature=") {
                auth.signature = Some(Cow::Borrowed(signature));
            }
        }
        auth
    }

    fn of_query(query: Query<'x>) -> Option<Self> {
        // One walk tells for nearly all requests that the query signs nothing.
        let is_signature = |name: &[u8]| matches!(name, b"X-Amz-Signature" | b"Signature");
        if !query.raw_pairs().any(|(name, _)| name.len() >= 9 && is_signature(&decode_form(name))) {
            return None;
        }
        if let (Some(credential), true) = (query.get("X-Amz-Credential"), query.has("X-Amz-Signature")) {
            let is_ecdsa = query.get("X-Amz-Algorithm").as_deref() == Some(b"AWS4-ECDSA-P256-SHA256");
            let mut auth = Self::empty(if is_ecdsa { Scheme::SigV4a } else { Scheme::SigV4Presigned });
            auth.set_credential(credential);
            auth.signed_headers = query.get("X-Amz-SignedHeaders");
            auth.signature = query.get("X-Amz-Signature");
            auth.signed_at = query.get("X-Amz-Date").and_then(|date| http_date::parse_basic(&date));
            auth.expires = query.get("X-Amz-Expires").and_then(|seconds| parse_seconds(&seconds));
            auth.session_token = query.get("X-Amz-Security-Token");
            return Some(auth);
        }
        let access_key = query.get("AWSAccessKeyId")?;
        let mut auth = Self::empty(Scheme::SigV2Presigned);
        auth.signature = Some(query.get("Signature")?);
        auth.access_key = Some(owned_text(access_key));
        auth.expires = query.get("Expires").and_then(|seconds| parse_seconds(&seconds));
        auth.session_token = query.get("x-amz-security-token");
        Some(auth)
    }

    fn of_form(form: FormFields<'x>) -> Option<Self> {
        form.get("policy")?;
        let mut auth = Self::empty(Scheme::PostPolicy);
        if let Some(credential) = form.get("x-amz-credential") {
            auth.set_credential(Cow::Borrowed(credential));
            auth.signature = form.get("x-amz-signature").map(Cow::Borrowed);
            auth.signed_at = form.get("x-amz-date").and_then(http_date::parse_basic);
        } else {
            auth.access_key = form.get("AWSAccessKeyId").and_then(some_text);
            auth.signature = form.get("signature").map(Cow::Borrowed);
        }
        auth.session_token = form.get("x-amz-security-token").map(Cow::Borrowed);
        Some(auth)
    }

    /// `KEY/yyyymmdd/region/service/aws4_request`, read from the end because a key may hold a `/`. SigV4a has no region.
    fn set_credential(&mut self, credential: Cow<'x, [u8]>) {
        match credential {
            Cow::Borrowed(bytes) => {
                let mut parts = bytes.rsplitn(self.credential_parts(), |byte| *byte == b'/');
                parts.next();
                self.service = parts.next().and_then(scope_word);
                if self.scheme != Scheme::SigV4a {
                    self.region = parts.next().and_then(scope_word);
                }
                self.scope_date = parts.next().and_then(scope_word);
                self.access_key = parts.next().and_then(some_text);
            }
            Cow::Owned(bytes) => {
                let mut read = Auth::empty(self.scheme);
                read.set_credential(Cow::Borrowed(&bytes));
                let keep = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
                self.service = keep(read.service);
                self.region = keep(read.region);
                self.scope_date = keep(read.scope_date);
                self.access_key = keep(read.access_key);
            }
        }
    }

    fn credential_parts(&self) -> usize {
        if self.scheme == Scheme::SigV4a { 4 } else { 5 }
    }

    const fn empty(scheme: Scheme) -> Self {
        Self {
            scheme,
            access_key: None,
            scope_date: None,
            region: None,
            service: None,
            signed_headers: None,
            signature: None,
            signed_at: None,
            expires: None,
            session_token: None,
        }
    }
}

/// Shows the scheme only: signatures and tokens are secrets.
impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({})", self.scheme.label())
    }
}

/// A part of a scope: a date, a region or a service. Anything else in its place may be a piece of a secret, cut at its `/`.
fn scope_word(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let is_word = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    if is_word { some_text(bytes) } else { None }
}

fn some_text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes))
}

fn owned_text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn parse_seconds(digits: &[u8]) -> Option<Duration> {
    std::str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_secs)
}

/// A value up to what cannot be part of it. Without its comma the next field would be taken for a part of this one, and a
/// signature be shown with the names of headers.
fn value_alone(value: &[u8]) -> &[u8] {
    let end = memchr::memchr3(b' ', b'\t', b'=', value).unwrap_or(value.len());
    value.get(..end).unwrap_or(value)
}

/// Whether an `Authorization` value is of a scheme of AWS, with something behind its name.
pub fn names_aws_scheme(value: &[u8]) -> bool {
    match value {
        [b'A', b'W', b'S', b'4', b'-', rest @ ..] => rest.iter().any(u8::is_ascii_whitespace),
        [b'A', b'W', b'S', next, ..] => next.is_ascii_whitespace(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)], query: &str) -> String {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.append(name.as_bytes(), value.as_bytes());
        }
        show(&Auth::read(&all, Query::new(query.as_bytes()), None, false))
    }

    #[test]
    fn a_lost_comma_does_not_make_a_signature_part_of_another_field() {
        for field in ["SignedHeaders=host Signature=feed", "SignedHeaders=host\tSignature=feed", "Credential=a Signature=feed"] {
            let shown = read(&[("Authorization", &format!("AWS4-HMAC-SHA256 {field}"))], "");
            assert!(!shown.contains("feed"), "{shown}");
        }
    }

    fn show(auth: &Auth<'_>) -> String {
        let bytes = |value: &Option<Cow<'_, [u8]>>| {
            value.as_deref().map_or("-".to_owned(), |value| String::from_utf8_lossy(value).into_owned())
        };
        let text = |value: &Option<Cow<'_, str>>| value.as_deref().unwrap_or("-").to_owned();
        [
            auth.scheme.label().to_owned(),
            text(&auth.access_key),
            text(&auth.scope_date),
            text(&auth.region),
            text(&auth.service),
            bytes(&auth.signed_headers),
            bytes(&auth.signature),
            auth.signed_at.map_or("-".to_owned(), |at| at.to_string().chars().take(19).collect()),
            auth.expires.map_or("-".to_owned(), |expires| expires.as_secs().to_string()),
            bytes(&auth.session_token),
        ]
        .join(" ")
    }

    const V4: &str =
        "AWS4-HMAC-SHA256 Credential=AK/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc";

    #[test]
    fn every_scheme_is_read() {
        let date = ("x-amz-date", "20261123T131505Z");
        let presigned = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20261123%2Feu%2Fs3%2Faws4_request&X-Amz-Date=20261123T131505Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-date&X-Amz-Signature=abc&X-Amz-Security-Token=tok%2Ben";
        for (headers, query, shown) in [
            (&[][..], "", "anonymous - - - - - - - - -"),
            (
                &[("Authorization", V4), date][..],
                "",
                "sigv4 AK 20261123 us-east-1 s3 host;x-amz-date abc 2026-11-23T13:15:05 - -",
            ),
            (
                &[(
                    "Authorization",
                    "AWS4-HMAC-SHA256 Signature=abc,SignedHeaders=host,Credential=A/K/20261123/r/s3/aws4_request",
                )],
                "",
                "sigv4 A/K 20261123 r s3 host abc - - -",
            ),
            (
                &[("Authorization", V4), ("X-Amz-Security-Token", "tok")],
                "",
                "sigv4 AK 20261123 us-east-1 s3 host;x-amz-date abc - - tok",
            ),
            (
                &[(
                    "authorization",
                    "AWS4-ECDSA-P256-SHA256 Credential=AK/20261123/s3/aws4_request, SignedHeaders=host, Signature=ff",
                )],
                "",
                "sigv4a AK 20261123 - s3 host ff - - -",
            ),
            (
                &[("Authorization", "AWS AK:c2ln="), ("Date", "Mon, 23 Nov 2026 13:15:05 GMT")],
                "",
                "sigv2 AK - - - - c2ln= 2026-11-23T13:15:05 - -",
            ),
            (&[("Authorization", "Bearer ey.J")], "", "bearer - - - - - - - - -"),
            (&[("Authorization", "Basic abc")], "", "anonymous - - - - - - - - -"),
            (&[], presigned, "sigv4-presigned AK 20261123 eu s3 host;x-amz-date abc 2026-11-23T13:15:05 3600 tok+en"),
            (&[], "AWSAccessKeyId=AK&Signature=c2ln%3D&Expires=1795439705", "sigv2-presigned AK - - - - c2ln= - 1795439705 -"),
            (&[("Authorization", V4)], presigned, "several AK 20261123 us-east-1 s3 host;x-amz-date abc - - -"),
            (&[("Authorization", V4), ("Authorization", V4)], "", "several AK 20261123 us-east-1 s3 host;x-amz-date abc - - -"),
            (&[("Authorization", "AWS4-HMAC-SHA256")], "", "sigv4 - - - - - - - - -"),
            (&[("Authorization", "AWS4-HMAC-SHA256 Credential=AK")], "", "sigv4 - - - - - - - - -"),
        ] {
            assert_eq!(read(headers, query), shown, "{headers:?} {query}");
        }
    }

    #[test]
    fn forms_and_the_token_service_are_read() {
        let part = |name: &str, value: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        let v4 = part("policy", "e30=")
            + &part("X-Amz-Credential", "AK/20261123/r/s3/aws4_request")
            + &part("X-Amz-Signature", "ff")
            + &part("X-Amz-Date", "20261123T131505Z")
            + "--X--";
        let v2 = part("policy", "e30=") + &part("AWSAccessKeyId", "AK") + &part("signature", "c2ln") + "--X--";
        let anonymous = part("key", "k") + "--X--";
        let headers = Headers::default();
        for (body, shown) in [
            (&v4, "post-policy AK 20261123 r s3 - ff 2026-11-23T13:15:05 - -"),
            (&v2, "post-policy AK - - - - c2ln - - -"),
            (&anonymous, "anonymous - - - - - - - - -"),
        ] {
            let form = FormFields::read(b"multipart/form-data; boundary=X", body.as_bytes());
            assert_eq!(show(&Auth::read(&headers, Query::default(), form, false)), shown);
        }
        assert_eq!(Auth::read(&headers, Query::default(), None, true).scheme, Scheme::Sts);
    }

    #[test]
    fn expiry_is_counted_from_the_right_time() {
        let headers = Headers::default();
        for (query, at) in [
            ("X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-Date=20261123T131505Z&X-Amz-Expires=60", 1_795_439_765),
            ("AWSAccessKeyId=a&Signature=b&Expires=1795439705", 1_795_439_705),
        ] {
            let auth = Auth::read(&headers, Query::new(query.as_bytes()), None, false);
            assert_eq!(auth.expires_at(), Some(Timestamp::from_parts(at, 0)), "{query}");
            assert!(auth.scheme.is_presigned() && auth.is_signed());
        }
        let far = Auth::read(&headers, Query::new(b"AWSAccessKeyId=a&Signature=b&Expires=18446744073709551615"), None, false);
        assert_eq!(far.expires_at(), Some(Timestamp::from_nanos(i64::MAX)));
    }

    #[test]
    fn the_published_signatures_are_read() {
        let Ok(cases) = std::fs::read_dir("../shared/corpora/seeds-sigv4/tests/unit/auth/aws4_testsuite") else {
            return crate::require::skip(crate::require::Need::Shared, "../shared/corpora");
        };
        let mut count = 0;
        for file in cases.flatten().filter_map(|case| std::fs::read_dir(case.path()).ok()).flatten().flatten() {
            if file.path().extension().is_none_or(|extension| extension != "authz") {
                continue;
            }
            let value = std::fs::read(file.path()).unwrap();
            let auth = Auth::of_authorization(&value).unwrap();
            let at = file.path();
            assert_eq!((auth.scheme, auth.access_key.as_deref()), (Scheme::SigV4, Some("AKIDEXAMPLE")), "{at:?}");
            assert_eq!(
                (auth.scope_date.as_deref(), auth.region.as_deref(), auth.service.as_deref()),
                (Some("20150830"), Some("us-east-1"), Some("service")),
                "{at:?}"
            );
            assert_eq!(auth.signature.as_deref().map(<[u8]>::len), Some(64), "{at:?}");
            assert!(auth.signed_header_names().any(|name| name == b"host"), "{at:?}");
            count += 1;
        }
        assert!(count >= 20, "{count}");
    }

    proptest::proptest! {
        #[test]
        fn any_authorization_and_query_are_survived(value in "(AWS4-HMAC-SHA256 |AWS |Bearer )?[ -~]{0,80}", query in "(X-Amz-Credential=|AWSAccessKeyId=)?[ -~]{0,60}&X-Amz-Signature=&Signature") {
            let mut headers = Headers::default();
            headers.append(b"authorization", value.as_bytes());
            let _ = Auth::read(&headers, Query::new(query.as_bytes()), None, false);
        }
    }
}
