//! Headers, targets, bodies and whole exchanges in; the secrets in them, with their places and kinds, out.

use crate::model::{Anomaly, Exchange, HeaderName, HeaderNames, Headers, Response, Side};
use crate::s3::names_aws_scheme;
use crate::session::secrets::names::{Named, Scope, named};
use crate::session::secrets::text::{in_text, in_url};
use crate::session::secrets::{Form, Kind, Secret, authorization};

/// A secret of an exchange.
#[derive(Clone, Copy)]
pub struct Exposed<'x> {
    /// Who sent it.
    pub from: Side,
    /// What it is.
    pub kind: Kind,
    /// How it was written.
    pub form: Form,
    /// Itself, as sent. It has no `Debug`.
    pub value: &'x [u8],
    /// The text that it is in: a header value, the target, or a body.
    pub text: &'x [u8],
    /// The header field that it is in, where it is in one.
    pub field: Option<HeaderName>,
}

/// Finds the secrets in a header value. They come in order and do not overlap.
pub fn in_header(known: HeaderName, name: &[u8], value: &[u8], found: &mut Vec<Secret>) {
    if let Some(fold) = memchr::memchr(b'\n', value) {
        return in_folded_header(known, name, value, fold, found);
    }
    let kind = match known {
        HeaderName::Authorization | HeaderName::ProxyAuthorization => return in_authorization(value, found),
        HeaderName::Cookie | HeaderName::SetCookie => Kind::Cookie,
        HeaderName::XAmzSecurityToken => Kind::SessionToken,
        HeaderName::XAmzRequestToken => Kind::Bearer,
        HeaderName::XAmzServerSideEncryptionContext => Kind::EncryptionContext,
        HeaderName::XAmzServerSideEncryptionCustomerKey | HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey => {
            Kind::CustomerKey
        }
        HeaderName::XAmzServerSideEncryptionCustomerKeyMd5 | HeaderName::XAmzCopySourceServerSideEncryptionCustomerKeyMd5 => {
            Kind::CustomerKeyMd5
        }
        HeaderName::Host | HeaderName::XForwardedHost => return in_authority(value, found),
        HeaderName::Location | HeaderName::Referer | HeaderName::XAmzCopySource => return in_url(value, found),
        HeaderName::Other => match named(name, Scope::Field) {
            Some(Named::Secret(kind)) => kind,
            Some(Named::Authorization) => return in_authorization(value, found),
            None => return in_text(value, found),
        },
        _ if may_hold_text(value) => return in_text(value, found),
        _ => return,
    };
    if !value.is_empty() {
        found.push(Secret { range: 0..value.len(), kind, form: Form::Field });
    }
}

/// Whether [`in_header`] can find anything in that field: a quick look before the long one.
pub fn may_hold_secret(known: HeaderName, value: &[u8]) -> bool {
    NAMES_WITH_SECRETS.contains(known) || may_hold_text(value)
}

/// Whether a value that is no secret by its name has a URL in it, or what was folded from another line.
fn may_hold_text(value: &[u8]) -> bool {
    memchr::memchr3(b'?', b'@', b'\n', value).is_some() || memchr::memchr(b'%', value).is_some()
}

/// Finds the secrets in a request target.
pub fn in_target(target: &[u8], found: &mut Vec<Secret>) {
    if !target.starts_with(b"/") && memchr::memchr(b'@', target).is_some() && memchr::memmem::find(target, b"://").is_none() {
        return in_authority(target, found);
    }
    in_url(target, found);
}

/// Finds the secrets in a body that is no object: XML, JSON, forms of both sorts, and messages.
pub fn in_body(body: &[u8], found: &mut Vec<Secret>) {
    if !body.is_empty() && !is_listing(body) {
        in_text(body, found);
    }
}

/// Finds the secrets of an exchange. `bodies` says whether request and response bodies are to be read: the contents of objects
/// are the users'.
pub fn in_exchange<'x>(exchange: &'x Exchange, bodies: [bool; 2], found: &mut Vec<Exposed<'x>>) {
    let mut scan = Scan { places: Vec::new(), found };
    let request = &exchange.request;
    let target = request.target();
    in_target(target, &mut scan.places);
    scan.take(Side::Client, None, target);
    let is_folded = exchange.anomalies.contains(&Anomaly::ObsoleteFold);
    let head = request.method().len() + 1 + target.len();
    scan.headers(Side::Client, &request.headers, head, is_folded);
    let [reads_request, reads_response] = bodies;
    scan.trailers(Side::Client, request.body.trailers.as_deref());
    if reads_request {
        scan.body(Side::Client, &request.body.kept);
    }
    if let Some(response) = exchange.response() {
        let body = &response.body.kept;
        if target.starts_with(METADATA_TOKEN) && response.status < 300 && !body.is_empty() {
            scan.places.push(Secret { range: 0..body.trim_ascii_end().len(), kind: Kind::Bearer, form: Form::Text });
            scan.take(Side::Server, None, body);
        }
        scan.response(response, is_folded, reads_response || hands_out_credentials(target));
    }
}

/// Whether a path is one at which an instance or a container gets its credentials, whatever a store would call it.
fn hands_out_credentials(target: &[u8]) -> bool {
    const PATHS: [&[u8]; 5] =
        [b"/latest/meta-data/", b"/latest/api/token", b"/computeMetadata/", b"/v2/credentials/", b"/metadata/identity/"];
    PATHS.iter().any(|path| target.starts_with(path))
}

/// Where version 2 of the instance metadata service returns a token as its whole body.
const METADATA_TOKEN: &[u8] = b"/latest/api/token";

struct Scan<'s, 'x> {
    places: Vec<Secret>,
    found: &'s mut Vec<Exposed<'x>>,
}

impl<'x> Scan<'_, 'x> {
    fn response(&mut self, response: &'x Response, is_folded: bool, reads_body: bool) {
        self.headers(Side::Server, &response.headers, 0, is_folded);
        self.trailers(Side::Server, response.body.trailers.as_deref());
        if reads_body {
            self.body(Side::Server, &response.body.kept);
        }
    }

    fn headers(&mut self, from: Side, headers: &'x Headers, start: usize, is_folded: bool) {
        let names = headers.names();
        // The signature of a request is of no use elsewhere, and reading it for every request would cost time.
        let proves_otherwise = headers.get(HeaderName::Authorization).is_some_and(|value| !names_aws_scheme(value));
        let has_text = is_folded || may_hold_text_in_head(headers.text().get(start..).unwrap_or_default());
        if !has_text && !proves_otherwise && !names.intersects(NAMES_WITH_LASTING_SECRETS) {
            return;
        }
        for (known, name, value) in headers.known() {
            let is_wanted = match known {
                HeaderName::Authorization => proves_otherwise,
                known => NAMES_WITH_LASTING_SECRETS.contains(known) || (has_text && may_hold_text(value)),
            };
            if is_wanted {
                in_header(known, name, value, &mut self.places);
                self.take(from, Some(known), value);
            }
        }
    }

    fn trailers(&mut self, from: Side, trailers: Option<&'x Headers>) {
        if let Some(trailers) = trailers {
            // The signature of the trailers themselves belongs to that of the request.
            let is_other = |name: &[u8]| !name.eq_ignore_ascii_case(b"x-amz-trailer-signature");
            for (known, name, value) in trailers.known().filter(|(_, name, _)| is_other(name)) {
                in_header(known, name, value, &mut self.places);
                self.take(from, Some(known), value);
            }
        }
    }

    fn body(&mut self, from: Side, body: &'x [u8]) {
        let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
        in_body(body, &mut self.places);
        self.take(from, None, body);
    }

    fn take(&mut self, from: Side, field: Option<HeaderName>, text: &'x [u8]) {
        for Secret { range, kind, form } in self.places.drain(..) {
            if let Some(value) = text.get(range) {
                self.found.push(Exposed { from, kind, form, value, text, field });
            }
        }
    }
}

/// Whether a head has what [`may_hold_text`] looks for, all fields at once; the ends of lines are no folds.
fn may_hold_text_in_head(head: &[u8]) -> bool {
    memchr::memchr3(b'?', b'@', b'%', head).is_some()
}

/// Lines that a sender folded into the value before (RFC 9112 section 5.2), or that begin with a space by mistake: each may be
/// a field of its own.
fn in_folded_header(known: HeaderName, name: &[u8], value: &[u8], fold: usize, found: &mut Vec<Secret>) {
    let before = found.len();
    in_header(known, name, value.get(..fold).unwrap_or_default().trim_ascii_end(), found);
    if found.get(before..).is_some_and(|found| found.iter().any(|secret| secret.form == Form::Field)) {
        // The rest of a secret, for all that is known.
        if let Some(last) = found.last_mut() {
            last.range.end = value.len();
        }
        return;
    }
    let mut at = fold + 1;
    for line in value.get(at..).unwrap_or_default().split(|byte| *byte == b'\n') {
        let start = at + (line.len() - line.trim_ascii_start().len());
        let text = line.trim_ascii();
        at += line.len() + 1;
        let first = found.len();
        match memchr::memchr(b':', text) {
            Some(colon) => {
                let (name, rest) = text.split_at_checked(colon).unwrap_or((text, &[]));
                let rest = rest.get(1..).unwrap_or_default();
                let shift = start + colon + 1 + (rest.len() - rest.trim_ascii_start().len());
                let name = name.trim_ascii();
                in_header(HeaderName::recognise(name), name, rest.trim_ascii(), found);
                shift_by(found, first, shift);
            }
            None => {
                in_text(text, found);
                shift_by(found, first, start);
            }
        }
    }
}

fn shift_by(found: &mut [Secret], first: usize, by: usize) {
    for secret in found.get_mut(first..).unwrap_or_default() {
        secret.range = secret.range.start + by..secret.range.end + by;
    }
}

fn in_authorization(value: &[u8], found: &mut Vec<Secret>) {
    authorization::find(value, 0, found);
}

/// `user:password@host`, where no scheme is before it: Host, and the target of CONNECT.
fn in_authority(value: &[u8], found: &mut Vec<Secret>) {
    match memchr::memrchr(b'@', value) {
        Some(at) if at > 0 && memchr::memmem::find(value, b"://").is_none() => {
            found.push(Secret { range: 0..at, kind: Kind::Password, form: Form::Url });
        }
        _ => in_url(value, found),
    }
}

/// Whether a body is the list of a bucket: the longest of all bodies, the most frequent, and without secrets.
fn is_listing(body: &[u8]) -> bool {
    const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let root = body.strip_prefix(DECLARATION).unwrap_or(body).trim_ascii_start();
    root.starts_with(b"<ListBucketResult")
}

/// The headers that may hold a secret by their name; unknown names are looked at one by one.
const NAMES_WITH_SECRETS: HeaderNames = NAMES_WITH_LASTING_SECRETS.with(HeaderName::Authorization);

/// Those of them whose secret serves longer than the signature of one request.
const NAMES_WITH_LASTING_SECRETS: HeaderNames = HeaderNames::of(&[
    HeaderName::ProxyAuthorization,
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

/// Responses that hold credentials are far smaller; listings are larger and hold none.
const BODY_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (&'static str, &'static [(&'static str, Kind)]);

    fn check(what: &str, text: &str, expected: &[(&str, Kind)], find: impl Fn(&[u8], &mut Vec<Secret>)) {
        let mut found = Vec::new();
        find(text.as_bytes(), &mut found);
        let found: Vec<_> = found.iter().map(|secret| (&text[secret.range.clone()], secret.kind)).collect();
        assert_eq!(found, expected, "{what} {text}");
    }

    #[test]
    fn finds_secrets_in_headers() {
        use Kind::{Bearer, Cookie, CustomerKey, CustomerKeyMd5, Password, SecretKey, SessionToken, Signature};
        let cases: &[(&str, Case)] = &[
            (
                "Authorization",
                (
                    "AWS4-HMAC-SHA256 Credential=AK/20261123/r/s3/aws4_request, SignedHeaders=host, Signature=abc",
                    &[("abc", Signature)],
                ),
            ),
            ("authorization", ("AWS4-HMAC-SHA256 Signature=abc,Credential=AK/x", &[("abc", Signature)])),
            ("Authorization", ("AWS4-HMAC-SHA256 Credential=AK/x, signature\t= abc", &[("abc", Signature)])),
            ("X-Forwarded-Authorization", ("GOOG4-RSA-SHA256 Credential=AK/x, Signature=abc", &[("abc", Signature)])),
            ("Authorization", ("AWS AK:c2ln", &[("c2ln", Signature)])),
            ("Authorization", ("OSS AK:c2ln", &[("c2ln", Signature)])),
            ("Authorization", ("q-sign-algorithm=sha1&q-ak=AK&q-signature=abc", &[("abc", Signature)])),
            ("Authorization", ("Basic dTpw", &[("dTpw", Password)])),
            ("Authorization", ("Bearer t.t.t", &[("t.t.t", Bearer)])),
            ("Authorization", ("opaque", &[("opaque", Bearer)])),
            ("X-Amz-Security-Token", ("tok", &[("tok", SessionToken)])),
            ("x-amz-server-side-encryption-customer-key", ("k", &[("k", CustomerKey)])),
            ("x-amz-server-side-encryption-customer-key-MD5", ("m", &[("m", CustomerKeyMd5)])),
            ("x-goog-encryption-key", ("k", &[("k", CustomerKey)])),
            ("X-Auth-Key", ("k", &[("k", SecretKey)])),
            ("Set-Cookie", ("a=b; Path=/", &[("a=b; Path=/", Cookie)])),
            ("Location", ("http://u:p@h/x?a=1&X-Amz-Signature=s#f", &[("u:p", Password), ("s", Signature)])),
            ("X-Original-Url", ("/b/k?Signature=z&Expires=1", &[("z", Signature)])),
            ("x-amz-copy-source", ("/b/k?X-Amz-Signature=z", &[("z", Signature)])),
            ("Host", ("user:pass@store", &[("user:pass", Password)])),
            ("Host", ("store:9000", &[])),
            ("Link", ("<https://h/v?f=https%3A%2F%2Fs%2Fk%3FX-Amz-Signature%3Dff%26x%3D1>; rel=next", &[("ff", Signature)])),
            ("X-Debug", ("{\"token\":\"a\\u003db\",\"n\":1}", &[("a\\u003db", SessionToken)])),
            ("User-Agent", ("curl/8\r\n X-Amz-Security-Token: tok", &[("tok", SessionToken)])),
            ("X-Note", ("nothing: here = at all", &[])),
            ("ETag", ("\"0123456789abcdef\"", &[])),
        ];
        for (name, (value, expected)) in cases {
            let known = HeaderName::recognise(name.as_bytes());
            check(name, value, expected, |text, found| in_header(known, name.as_bytes(), text, found));
        }
    }

    #[test]
    fn finds_secrets_in_targets() {
        use Kind::{Bearer, CustomerKey, CustomerKeyMd5, Password, SessionToken, Signature};
        let cases: &[Case] = &[
            (
                "/b/k?X-Amz-Credential=AK%2F1&X-Amz-Signature=ff&x-amz-security-token=T%2B",
                &[("ff", Signature), ("T%2B", SessionToken)],
            ),
            ("/b/k?X-Amz-Signatur%65=ff", &[("ff", Signature)]),
            ("/b/k?X-Goog-Signature=ff&sig=ab%3D", &[("ff", Signature), ("ab%3D", Signature)]),
            ("/b/k?list-type=2&continuation-token=abc", &[]),
            ("/b/k?SSECustomerKey=a2V5&SSECustomerKeyMD5=bWQ1", &[("a2V5", CustomerKey), ("bWQ1", CustomerKeyMd5)]),
            ("/b/k?Signature=", &[]),
            ("/b?a=b=Signature=z&Signature=c2ln==&x", &[("z", Signature), ("c2ln==", Signature)]),
            ("/b?Signature=s#Signature=t?Signature=u", &[("s", Signature), ("t", Signature), ("u", Signature)]),
            ("http://user@proxy/b?x", &[("user", Password)]),
            ("user:p%40ss@host:443", &[("user:p%40ss", Password)]),
            ("/b/k?next=https%3A%2F%2Fs%2Fk%3FX-Amz-Signature%3Dff%26a%3D1&b=2", &[("ff", Signature)]),
            ("/b/k?next=https%253A%252F%252Fs%253FX-Amz-Security-Token%253Da%25252Bb%2526c", &[("a%25252Bb", SessionToken)]),
            ("/b/k?u=https%3A%2F%2Fu:pw@h%2F", &[("u:pw", Password)]),
            ("/b/k?access_token=abc&password=a%26b", &[("abc", Bearer), ("a%26b", Password)]),
            ("/b/key=1/part:2?prefix=a%2Fb%3D", &[]),
            ("/b/token=abc/signature=1/part?x-id=GetObject", &[]),
            ("https://app/cb#access_token=abc", &[("abc", Bearer)]),
        ];
        for (target, expected) in cases {
            check("target", target, expected, in_target);
        }
    }

    #[test]
    fn finds_secrets_in_bodies() {
        use Kind::{Bearer, CustomerKey, Password, SecretKey, SessionToken, Signature, SignedText};
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        let cases: &[Case] = &[
            (
                "<?xml?><R><Credentials><SecretAccessKey>s</SecretAccessKey><sts:SessionToken a='1'>t",
                &[("s", SecretKey), ("t", SessionToken)],
            ),
            ("<R><SecretAccessKey><![CDATA[a<b]]></SecretAccessKey></R>", &[("a<b", SecretKey)]),
            ("<Error><Code>X</Code><CanonicalRequest>GET\n/</CanonicalRequest></Error>", &[("GET\n/", SignedText)]),
            (
                "<CanonicalRequest>GET\nx-amz-security-token:tok\n\nhost</CanonicalRequest>",
                &[("GET\nx-amz-security-token:", SignedText), ("tok", SessionToken), ("\n\nhost", SignedText)],
            ),
            ("<Error><Token-0>abcdef</Token-0></Error>", &[("abcdef", SessionToken)]),
            (
                "<Error><Message>The provided token AbCd/+1234567890xyz== is malformed</Message></Error>",
                &[("AbCd/+1234567890xyz==", SessionToken)],
            ),
            ("<!-- IQoJb3JpZ2luX2VjEAAaCXVzLWVhc3Q -->", &[("IQoJb3JpZ2luX2VjEAAaCXVzLWVhc3Q", SessionToken)]),
            ("<Message>The specified key does/not/exist/1234567890 here</Message>", &[]),
            (
                "{\"Code\":\"Success\",\"SecretAccessKey\" : \"a\\\"b\",\"Token\":\"t\",\"n\":1}",
                &[("a\\\"b", SecretKey), ("t", SessionToken)],
            ),
            ("{\"a\":\"{\\\"password\\\":\\\"pw\\\"}\"}", &[("pw", Password)]),
            (
                "[{\"name\":\"x-amz-security-token\",\"value\":\"tok\"},{\"name\":\"host\",\"value\":\"h\"}]",
                &[("tok", SessionToken)],
            ),
            ("Action=AssumeRoleWithWebIdentity&WebIdentityToken=jwt&Version=1", &[("jwt", Bearer)]),
            ("LDAPUsername=a&LDAPPassword=p%26w;x", &[("p%26w", Password)]),
            ("url=\"https://h/k?X-Amz-Signature=ff&amp;x=1\"", &[("ff", Signature)]),
            (
                "--B\r\nContent-Disposition: form-data; name=\"x-amz-security-token\"\r\n\r\ntok\r\n--B\r\nContent-Disposition: form-data; name=\"policy\"\r\n\r\ne30=\r\n--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\npassword=x\r\n--B--",
                &[("tok", SessionToken), ("e30=", SignedText)],
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", &[("\nMIIB\n", SecretKey)]),
            ("aws_secret_access_key = abc\nregion = r", &[("abc", SecretKey)]),
            (
                "GET / HTTP/1.1\r\nx-amz-server-side-encryption-customer-key: k3y\r\nAuthorization: Basic dTpw\r\n",
                &[("k3y", CustomerKey), ("dTpw", Password)],
            ),
            ("{\"max_token\": 5, \"token\": null}", &[]),
            ("<Token/><Code>1</Code>", &[]),
            ("Cookie: a[redacted:cookie:0123456789abcdef]b; x", &[("a[redacted:cookie:0123456789abcdef]b; x", Kind::Cookie)]),
            ("x [redacted:cookie:0123456789abcdef] y [redacted:cookie:0123456789abcdef]z\n", &[]),
            ("token [redacted:session-token:0123456789abcdef] is malformed", &[]),
            (
                "{\"token\":\"[redacted:session-token:0123456789abcdef]\"}",
                &[("[redacted:session-token:0123456789abcdef]", SessionToken)],
            ),
            ("", &[]),
        ];
        for (body, expected) in cases {
            check("body", body, expected, in_body);
        }
        check("body", &format!("denied: {jwt}."), &[(&format!("{jwt}."), Bearer)], in_body);
    }

    #[test]
    fn the_quick_look_at_a_field_lets_through_all_that_can_hold_a_secret() {
        for &name in HeaderName::ALL {
            let value = b"http://u:p@h/?Signature=s";
            let mut found = Vec::new();
            in_header(name, name.as_str().as_bytes(), value, &mut found);
            assert!(!found.is_empty() && may_hold_secret(name, value), "{}", name.as_str());
        }
    }
}
