//! Where secrets stand by name: header names, query parameters, XML elements and JSON members in; ranges and kinds out.

use std::ops::Range;

use crate::model::{HeaderName, HeaderNames};

/// What sort of secret a value is. The label is part of the output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A customer key (SSE-C), of the object or of the copy source.
    CustomerKey,
    /// The MD5 of a customer key: it verifies guesses.
    CustomerKeyMd5,
    /// A KMS encryption context (base64 of JSON).
    EncryptionContext,
    /// A session token, or another token that stands for an identity.
    SessionToken,
    /// A secret access key.
    SecretKey,
    /// A request signature.
    Signature,
    /// What was signed, as error answers repeat it: it holds header values.
    SignedText,
    /// A password, or user and password of HTTP Basic.
    Password,
    /// A bearer token, or the credentials of another scheme.
    Bearer,
    /// A cookie.
    Cookie,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::CustomerKey,
        Self::CustomerKeyMd5,
        Self::EncryptionContext,
        Self::SessionToken,
        Self::SecretKey,
        Self::Signature,
        Self::SignedText,
        Self::Password,
        Self::Bearer,
        Self::Cookie,
    ];

    /// The word used in outputs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CustomerKey => "sse-c-key",
            Self::CustomerKeyMd5 => "sse-c-key-md5",
            Self::EncryptionContext => "encryption-context",
            Self::SessionToken => "session-token",
            Self::SecretKey => "secret-key",
            Self::Signature => "signature",
            Self::SignedText => "signed-text",
            Self::Password => "password",
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }

    /// Whether the value is worth looking for elsewhere. A signature is made for one request, and there are as many of them
    /// as there are requests; the text that was signed is long and differs each time.
    pub(super) const fn is_lasting(self) -> bool {
        !matches!(self, Self::Signature | Self::SignedText)
    }
}

/// A secret inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

/// Finds the secrets in a header value. Places come in order and do not overlap.
pub(super) fn in_header(known: HeaderName, name: &[u8], value: &[u8], places: &mut Vec<Place>) {
    let kind = match known {
        HeaderName::Authorization | HeaderName::ProxyAuthorization => return in_authorization(value, places),
        HeaderName::Referer | HeaderName::Location | HeaderName::XAmzCopySource => return in_url(value, places),
        HeaderName::Cookie | HeaderName::SetCookie => Kind::Cookie,
        HeaderName::XAmzSecurityToken | HeaderName::XAmzRequestToken => Kind::SessionToken,
        HeaderName::XAmzServerSideEncryptionContext => Kind::EncryptionContext,
        HeaderName::XAmzServerSideEncryptionCustomerKey | HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey => {
            Kind::CustomerKey
        }
        HeaderName::XAmzServerSideEncryptionCustomerKeyMd5 | HeaderName::XAmzCopySourceServerSideEncryptionCustomerKeyMd5 => {
            Kind::CustomerKeyMd5
        }
        HeaderName::Other => match kind_by_name(name, &OTHER_HEADERS) {
            Some(kind) => kind,
            None => return in_url(value, places),
        },
        _ => return,
    };
    places.push(Place { range: 0..value.len(), kind });
}

/// Whether [`in_header`] can find anything under that name: a cheap gate.
pub(super) const fn may_hold_secret(known: HeaderName) -> bool {
    NAMES_WITH_SECRETS.contains(known)
}

/// The headers that may hold a secret; unknown names are looked at one by one.
const NAMES_WITH_SECRETS: HeaderNames = NAMES_WITH_LASTING_SECRETS.with(HeaderName::Authorization);

/// Those of them whose secret serves longer than the signature of one request.
pub(super) const NAMES_WITH_LASTING_SECRETS: HeaderNames = HeaderNames::of(&[
    HeaderName::ProxyAuthorization,
    HeaderName::Referer,
    HeaderName::Location,
    HeaderName::XAmzCopySource,
    HeaderName::Cookie,
    HeaderName::SetCookie,
    HeaderName::XAmzSecurityToken,
    HeaderName::XAmzRequestToken,
    HeaderName::XAmzServerSideEncryptionContext,
    HeaderName::XAmzServerSideEncryptionCustomerKey,
    HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey,
    HeaderName::XAmzServerSideEncryptionCustomerKeyMd5,
    HeaderName::XAmzCopySourceServerSideEncryptionCustomerKeyMd5,
    HeaderName::Other,
]);

/// Finds the secrets in a request target or a URL: user information and query parameters.
pub(super) fn in_url(url: &[u8], places: &mut Vec<Place>) {
    if memchr::memchr2(b'?', b'@', url).is_none() {
        return;
    }
    if let Some(range) = user_information(url) {
        places.push(Place { range, kind: Kind::Password });
    }
    if let Some(question) = memchr::memchr(b'?', url) {
        in_query(url, question + 1, places);
    }
}

/// Finds the secrets among `name=value` pairs of `text` from `start` on (a query string, or a form body).
pub(super) fn in_query(text: &[u8], start: usize, places: &mut Vec<Place>) {
    // ';' separates pairs for some readers, and '#' ends the query; '?' appears where a URL stands inside a URL.
    let separates = |byte: &u8| matches!(byte, b'&' | b';' | b'#' | b'?' | b' ');
    let mut at = start;
    let mut is_in_value = false;
    // From one '=' to the next: a body that is no form has few, and most of it is not looked at twice.
    while let Some(length) = memchr::memchr(b'=', text.get(at..).unwrap_or_default()) {
        let equals = at + length;
        let before = text.get(at..equals).unwrap_or_default();
        let name = match before.iter().rposition(separates) {
            Some(separator) => before.get(separator + 1..).unwrap_or_default(),
            None if is_in_value => {
                // Another '=' of the same pair.
                at = equals + 1;
                continue;
            }
            None => before,
        };
        at = equals + 1;
        is_in_value = true;
        if let Some(kind) = kind_of_parameter(name) {
            let rest = text.get(at..).unwrap_or_default();
            let length = rest.iter().position(separates).unwrap_or(rest.len());
            if length > 0 {
                places.push(Place { range: at..at + length, kind });
            }
            at += length;
        }
    }
}

/// Finds the secrets in a kept body: XML elements, JSON members, or form fields.
pub(super) fn in_body(body: &[u8], places: &mut Vec<Place>) {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match text.first() {
        Some(b'<') => in_xml(body, places),
        Some(b'{' | b'[') => in_json(body, places),
        Some(_) => in_query(body, 0, places),
        None => {}
    }
}

/// The credentials of an `Authorization` value: the signature for AWS schemes, everything after the scheme for others.
fn in_authorization(value: &[u8], places: &mut Vec<Place>) {
    let scheme = value.iter().position(u8::is_ascii_whitespace).unwrap_or(0);
    let word = value.get(..scheme).unwrap_or_default();
    let rest = scheme + usize::from(scheme > 0);
    if word.len() >= 4 && word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"AWS4")) {
        let mut at = rest;
        while let Some(found) = value.get(at..).and_then(|tail| find_ignoring_case(tail, b"signature=")) {
            let start = at + found + b"signature=".len();
            let tail = value.get(start..).unwrap_or_default();
            let length = tail.iter().position(|byte| matches!(byte, b',' | b' ' | b'\t')).unwrap_or(tail.len());
            places.push(Place { range: start..start + length, kind: Kind::Signature });
            at = start + length;
        }
        return;
    }
    if word.eq_ignore_ascii_case(b"AWS") {
        let tail = value.get(rest..).unwrap_or_default();
        // Without a key in front of it a placeholder stands alone, and its own colons part nothing.
        let colon = memchr::memchr(b':', tail).filter(|_| !tail.starts_with(b"[redacted:")).map_or(rest, |at| rest + at + 1);
        places.push(Place { range: colon..value.len(), kind: Kind::Signature });
        return;
    }
    let kind = if word.eq_ignore_ascii_case(b"Basic") { Kind::Password } else { Kind::Bearer };
    if rest < value.len() {
        places.push(Place { range: rest..value.len(), kind });
    }
}

/// The user information of an absolute URL, `user:password` before the `@` of its authority.
fn user_information(url: &[u8]) -> Option<Range<usize>> {
    let start = memchr::memchr_iter(b':', url).map(|at| at + 3).find(|end| url.get(end - 2..*end) == Some(b"//"))?;
    let authority = url.get(start..)?;
    let length = authority.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(authority.len());
    let at = memchr::memrchr(b'@', authority.get(..length)?)?;
    (at > 0).then_some(start..start + at)
}

/// Whether a body is the list of a bucket: the longest of all bodies, the most frequent, and without secrets.
pub(super) fn is_listing(body: &[u8]) -> bool {
    const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let root = body.strip_prefix(DECLARATION).unwrap_or(body).trim_ascii_start();
    root.starts_with(b"<ListBucketResult")
}

fn in_xml(body: &[u8], places: &mut Vec<Place>) {
    let mut at = 0;
    while let Some(open) = body.get(at..).and_then(|rest| memchr::memchr(b'<', rest)) {
        let name;
        (name, at) = tag_name(body, at + open + 1);
        let Some(kind) = kind_by_name(body.get(name).unwrap_or_default(), &BODY_NAMES) else { continue };
        let Some(close) = body.get(at..).and_then(|rest| memchr::memchr(b'>', rest)) else { return };
        let is_empty = body.get(at..at + close).is_some_and(|rest| rest.ends_with(b"/"));
        at += close + 1;
        if is_empty {
            continue;
        }
        let text = body.get(at..).unwrap_or_default();
        let length = memchr::memmem::find(text, b"</").unwrap_or(text.len());
        if length > 0 {
            places.push(Place { range: at..at + length, kind });
        }
        at += length;
    }
}

/// The local name of the tag whose name begins at `start`, empty for an end tag, and where what follows the name begins.
fn tag_name(body: &[u8], mut start: usize) -> (Range<usize>, usize) {
    let mut at = start;
    while let Some(byte) = body.get(at) {
        match byte {
            b'>' | b'/' | b'<' | b' ' | b'\t' | b'\r' | b'\n' => break,
            b':' => start = at + 1,
            _ => {}
        }
        at += 1;
    }
    (start..at, at)
}

fn in_json(body: &[u8], places: &mut Vec<Place>) {
    let mut at = 0;
    while let Some(quote) = body.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        let start = at + quote + 1;
        let end = string_end(body, start);
        at = end + 1;
        let name = body.get(start..end).unwrap_or_default();
        let Some(kind) = kind_by_name(name, &BODY_NAMES) else { continue };
        let after = body.get(at..).unwrap_or_default();
        let spaces = after.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b':').unwrap_or(after.len());
        if !after.get(..spaces).is_some_and(|gap| gap.contains(&b':')) {
            continue;
        }
        at += spaces;
        if body.get(at) == Some(&b'"') {
            let end = string_end(body, at + 1);
            if end > at + 1 {
                places.push(Place { range: at + 1..end, kind });
            }
            at = end + 1;
        }
    }
}

/// The place of the quote that ends the JSON string whose content begins at `start`, or the end of the text.
fn string_end(body: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    body.len()
}

fn kind_of_parameter(name: &[u8]) -> Option<Kind> {
    if name.contains(&b'%') {
        let plain = decode_percent(name);
        return kind_by_name(&plain, &PARAMETERS);
    }
    kind_by_name(name, &PARAMETERS)
}

fn kind_by_name(name: &[u8], table: &Table) -> Option<Kind> {
    let first = name.first()? | 0x20;
    if table.lengths & bit(name.len()) == 0 || table.firsts & bit(first as usize) == 0 {
        return None;
    }
    table.names.iter().find(|(have, _)| have.as_bytes().eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}

/// Names of secrets, and what tells at a glance that most names are none of them.
struct Table {
    names: &'static [(&'static str, Kind)],
    /// A bit for each length of a name, and for each first octet in lower case, counted modulo 64.
    lengths: u64,
    firsts: u64,
}

impl Table {
    const fn new(names: &'static [(&'static str, Kind)]) -> Self {
        let (mut lengths, mut firsts) = (0, 0);
        let mut rest = names;
        while let [(name, _), more @ ..] = rest {
            if let [first, ..] = name.as_bytes() {
                lengths |= bit(name.len());
                firsts |= bit((*first | 0x20) as usize);
            }
            rest = more;
        }
        Self { names, lengths, firsts }
    }
}

const fn bit(of: usize) -> u64 {
    1 << (of % 64)
}

/// Percent-decoding of a whole text; what is no escape stays.
pub(super) fn decode_percent(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = ((*high as char).to_digit(16), (*low as char).to_digit(16))
        {
            plain.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

/// The first place of `word`, which begins with a letter, in any case.
fn find_ignoring_case(text: &[u8], word: &[u8]) -> Option<usize> {
    let first = word.first()?;
    memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text)
        .find(|at| text.get(*at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
}

/// Headers that the recognised names do not cover.
static OTHER_HEADERS: Table = Table::new(&[
    ("x-amz-s3session-token", Kind::SessionToken),
    ("x-amz-sso_bearer_token", Kind::SessionToken),
    ("x-aws-ec2-metadata-token", Kind::SessionToken),
    ("x-amz-mfa", Kind::Password),
    ("x-auth-token", Kind::Bearer),
    ("x-api-key", Kind::Bearer),
    ("x-vault-token", Kind::Bearer),
    ("x-amz-signature", Kind::Signature),
]);

/// Query parameters and form fields.
static PARAMETERS: Table = Table::new(&[
    ("x-amz-signature", Kind::Signature),
    ("signature", Kind::Signature),
    ("x-amz-security-token", Kind::SessionToken),
    ("x-amz-s3session-token", Kind::SessionToken),
    ("x-amz-server-side-encryption-customer-key", Kind::CustomerKey),
    ("x-amz-server-side-encryption-customer-key-md5", Kind::CustomerKeyMd5),
    ("x-amz-copy-source-server-side-encryption-customer-key", Kind::CustomerKey),
    ("x-amz-copy-source-server-side-encryption-customer-key-md5", Kind::CustomerKeyMd5),
    ("x-amz-server-side-encryption-context", Kind::EncryptionContext),
    ("ssecustomerkey", Kind::CustomerKey),
    ("ssecustomerkeymd5", Kind::CustomerKeyMd5),
    ("copysourcessecustomerkey", Kind::CustomerKey),
    ("copysourcessecustomerkeymd5", Kind::CustomerKeyMd5),
    ("webidentitytoken", Kind::SessionToken),
    ("samlassertion", Kind::SessionToken),
    ("sessiontoken", Kind::SessionToken),
    ("token", Kind::SessionToken),
    ("tokencode", Kind::Password),
    ("access_token", Kind::Bearer),
    ("id_token", Kind::Bearer),
    ("refresh_token", Kind::Bearer),
    ("client_secret", Kind::SecretKey),
    ("secretkey", Kind::SecretKey),
    ("secretaccesskey", Kind::SecretKey),
    ("ldappassword", Kind::Password),
    ("password", Kind::Password),
]);

/// XML elements and JSON members of answers: STS, metadata services, and S3 errors that repeat what was signed.
static BODY_NAMES: Table = Table::new(&[
    ("secretaccesskey", Kind::SecretKey),
    ("secretkey", Kind::SecretKey),
    ("secret_key", Kind::SecretKey),
    ("sessiontoken", Kind::SessionToken),
    ("session_token", Kind::SessionToken),
    ("token", Kind::SessionToken),
    ("accesstoken", Kind::Bearer),
    ("access_token", Kind::Bearer),
    ("id_token", Kind::Bearer),
    ("refresh_token", Kind::Bearer),
    ("refreshtoken", Kind::Bearer),
    ("password", Kind::Password),
    ("signatureprovided", Kind::Signature),
    ("stringtosign", Kind::SignedText),
    ("stringtosignbytes", Kind::SignedText),
    ("canonicalrequest", Kind::SignedText),
    ("canonicalrequestbytes", Kind::SignedText),
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Vec<(String, Kind)> {
        let mut places = Vec::new();
        in_header(HeaderName::recognise(name.as_bytes()), name.as_bytes(), value.as_bytes(), &mut places);
        shown(value, &places)
    }

    fn shown(text: &str, places: &[Place]) -> Vec<(String, Kind)> {
        places.iter().map(|place| (text[place.range.clone()].to_owned(), place.kind)).collect()
    }

    #[test]
    fn finds_secrets_in_headers() {
        type Case = (&'static str, &'static str, &'static [(&'static str, Kind)]);
        let cases: &[Case] = &[
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=AK/20261123/r/s3/aws4_request, SignedHeaders=host, Signature=abc",
                &[("abc", Kind::Signature)],
            ),
            ("authorization", "AWS4-HMAC-SHA256 Signature=abc,Credential=AK/x", &[("abc", Kind::Signature)]),
            ("Authorization", "AWS AK:c2ln", &[("c2ln", Kind::Signature)]),
            ("Authorization", "Basic dTpw", &[("dTpw", Kind::Password)]),
            ("Authorization", "Bearer t.t.t", &[("t.t.t", Kind::Bearer)]),
            ("Authorization", "opaque", &[("opaque", Kind::Bearer)]),
            ("X-Amz-Security-Token", "tok", &[("tok", Kind::SessionToken)]),
            ("x-amz-server-side-encryption-customer-key", "k", &[("k", Kind::CustomerKey)]),
            ("x-amz-server-side-encryption-customer-key-MD5", "m", &[("m", Kind::CustomerKeyMd5)]),
            ("Location", "http://u:p@h/x?a=1&X-Amz-Signature=s#f", &[("u:p", Kind::Password), ("s", Kind::Signature)]),
            ("X-Original-Url", "/b/k?Signature=z&Expires=1", &[("z", Kind::Signature)]),
            ("Host", "store?Signature=z", &[]),
        ];
        for (name, value, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(text, kind)| ((*text).to_owned(), *kind)).collect();
            assert_eq!(header(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn pairs_end_where_any_reader_would_end_them() {
        let cases: [(&str, &[&str]); 6] = [
            ("a=b=Signature=z&Signature=c2ln==&x", &["c2ln=="]),
            ("Signature=&Signature=;Signature=s", &["s"]),
            ("=Signature=z Signature=s#Signature=t?Signature=u", &["s", "t", "u"]),
            ("Signature", &[]),
            ("no pair at all; Signature", &[]),
            ("a&Signature=s=t", &["s=t"]),
        ];
        for (text, expected) in cases {
            let mut places = Vec::new();
            in_query(text.as_bytes(), 0, &mut places);
            let found: Vec<_> = places.iter().map(|place| &text[place.range.clone()]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_gate_lets_through_all_that_can_hold_a_secret() {
        for &name in HeaderName::ALL {
            let mut places = Vec::new();
            in_header(name, name.as_str().as_bytes(), b"http://u:p@h/?Signature=s", &mut places);
            assert_eq!(!places.is_empty(), may_hold_secret(name), "{}", name.as_str());
        }
    }

    #[test]
    fn finds_secrets_in_targets() {
        let cases: &[(&str, &[&str])] = &[
            ("/b/k?X-Amz-Credential=AK%2F1&X-Amz-Signature=ff&x-amz-security-token=T%2B", &["ff", "T%2B"]),
            ("/b/k?X-Amz-Signatur%65=ff", &["ff"]),
            ("/b/k?list-type=2&continuation-token=abc", &[]),
            ("/b/k?SSECustomerKey=a2V5&SSECustomerKeyMD5=bWQ1", &["a2V5", "bWQ1"]),
            ("/b/k?Signature=", &[]),
            ("http://user@proxy/b?x", &["user"]),
        ];
        for (target, expected) in cases {
            let mut places = Vec::new();
            in_url(target.as_bytes(), &mut places);
            let found: Vec<_> = places.iter().map(|place| &target[place.range.clone()]).collect();
            assert_eq!(found, *expected, "{target}");
        }
    }

    #[test]
    fn finds_secrets_in_bodies() {
        let cases: &[(&str, &[(&str, Kind)])] = &[
            (
                "<?xml?><R><Credentials><SecretAccessKey>s</SecretAccessKey><sts:SessionToken a='1'>t",
                &[("s", Kind::SecretKey), ("t", Kind::SessionToken)],
            ),
            ("<Error><Code>X</Code><CanonicalRequest>GET\n/</CanonicalRequest></Error>", &[("GET\n/", Kind::SignedText)]),
            (
                r#"{"Code":"Success","SecretAccessKey" : "a\"b","Token":"t","n":1}"#,
                &[(r#"a\"b"#, Kind::SecretKey), ("t", Kind::SessionToken)],
            ),
            ("Action=AssumeRoleWithWebIdentity&WebIdentityToken=jwt&Version=1", &[("jwt", Kind::SessionToken)]),
            ("<Token/><Code>1</Code>", &[]),
            ("", &[]),
        ];
        for (body, expected) in cases {
            let mut places = Vec::new();
            in_body(body.as_bytes(), &mut places);
            let expected: Vec<_> = expected.iter().map(|(text, kind)| ((*text).to_owned(), *kind)).collect();
            assert_eq!(shown(body, &places), expected, "{body}");
        }
    }
}
