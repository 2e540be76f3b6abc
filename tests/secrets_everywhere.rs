//! Every kind of secret, in every place where one is sent, in every encoding: on a plaintext hop it is a finding of the right
//! severity, no session shows it, and no scrubbed capture holds it, which still gives the same exchanges.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that meets the unexpected shall fail")]

mod support;

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hopwire::analysis::{Analysis, Options as Judging, Summary};
use hopwire::capture::write::pcapng::{InterfaceDescription, PacketRecord, Writer};
use hopwire::capture::{Input, SavedCapture};
use hopwire::convert::{Choice, Format, Options, convert, prove};
use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Frame, LinkType, Packet, Tail, Timestamp};
use hopwire::report::Recorder;
use hopwire::rules::{Outcome, Severity};
use hopwire::session::{Kind, Redactor};
use support::{Connection, Random, Sent, decode};

const TOKEN: &str = "IQoJb3JpZ2luX2VjEHoaCXVz/Canary+Token0123456789abcdefGHIJ==";
const KEY: &str = "Q2FuYXJ5S2V5T2YzMkJ5dGVzRm9yQVRlc3QhISEhISE=";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYCANARYKEY1";
const SIGNATURE: &str = "5ca1ab1e0d15ea5e9f2c7a1be04d5f6877665544332211aabbccddeeff001122";
const PASSWORD: &str = "Pa55w0rd/Canary+hunter22";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlQ2FuYXJ5MTIz";
const COOKIE: &str = "abcdef0123456789XYZqrstuv";
const CONTEXT: &str = "eyJ0ZW5hbnQiOiJjYW5hcnktMTIzNDU2Nzg5MCJ9";

const LEAK: Severity = Severity::Error;
const EXPOSED: Severity = Severity::Warning;
const NOTE: Severity = Severity::Note;

/// One conversation with a secret in it.
struct Case {
    name: String,
    request: String,
    response: String,
    /// What must be in no output.
    hidden: Vec<String>,
    rule: Option<(&'static str, Severity)>,
}

const OK: &str = "HTTP/1.1 200 OK\r\nx-amz-request-id: R1\r\nServer: MinIO\r\nContent-Length: 0\r\n\r\n";

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: s3.example.org\r\nUser-Agent: aws-sdk-java/1.12.262 Linux\r\n{fields}\r\n")
}

fn post(target: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: s3.example.org\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn answer(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nx-amz-request-id: R1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn percent(text: &str) -> String {
    let one = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(one).collect()
}

/// Secrets in header fields.
fn field_cases() -> Vec<Case> {
    let key = ("sse-c-key-in-clear", LEAK);
    let token = ("session-token-in-clear", LEAK);
    let credential = ("credential-in-clear", LEAK);
    let signature = ("signature-in-clear", NOTE);
    let signed = format!("AWS4-HMAC-SHA256 Credential=AK/20261127/r/s3/aws4_request, SignedHeaders=host, Signature={SIGNATURE}");
    let spaced = signed.replace("Signature=", "Signature = ");
    let mut cases = Vec::new();
    let mut add = |name: &str, value: &str, secret: &str, rule: (&'static str, Severity)| {
        let name_of = format!("{name}: {value:.12}");
        for (how, line) in [
            ("", format!("{name}: {value}\r\n")),
            ("upper case ", format!("{}: {value}\r\n", name.to_uppercase())),
            ("no space ", format!("{name}:{value}\r\n")),
            ("after a space ", format!(" {name}: {value}\r\n")),
            ("after a tab ", format!("\t{name}: {value}\r\n")),
            ("space before the colon ", format!("{name} : {value}\r\n")),
        ] {
            cases.push(Case {
                name: format!("{how}{name_of}"),
                request: get("/bucket/key", &line),
                response: OK.to_owned(),
                hidden: vec![secret.to_owned()],
                rule: Some(rule),
            });
        }
    };
    for name in [
        "x-amz-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-key",
        "x-goog-encryption-key",
        "x-goog-copy-source-encryption-key",
        "x-ms-encryption-key",
        "x-oss-server-side-encryption-customer-key",
        "x-obs-server-side-encryption-customer-key",
        "x-cos-server-side-encryption-customer-key",
        "x_amz_server_side_encryption_customer_key",
    ] {
        add(name, KEY, KEY, key);
    }
    for name in
        ["x-amz-security-token", "x-amz-s3session-token", "x-oss-security-token", "x-obs-security-token", "x-cos-security-token"]
    {
        add(name, TOKEN, TOKEN, token);
    }
    for name in
        ["X-Auth-Token", "X-Storage-Token", "X-Subject-Token", "X-Service-Token", "X-Vault-Token", "X-Api-Key", "X-Access-Token"]
    {
        add(name, SECRET, SECRET, credential);
    }
    for name in ["X-Auth-Key", "X-Secret-Key", "x-amz-mfa"] {
        add(name, SECRET, SECRET, credential);
    }
    for name in ["Authorization", "Proxy-Authorization", "X-Forwarded-Authorization", "X-Original-Authorization"] {
        add(name, &format!("Bearer {JWT}"), JWT, credential);
        add(
            name,
            &format!("Basic {}", STANDARD.encode(format!("user:{PASSWORD}"))),
            &STANDARD.encode(format!("user:{PASSWORD}")),
            credential,
        );
        add(name, &format!("Negotiate {SECRET}"), SECRET, credential);
    }
    for name in ["X-Forwarded-Authorization", "Proxy-Authorization", "Authorization"] {
        add(name, &signed, SIGNATURE, signature);
        add(name, &spaced, SIGNATURE, signature);
        add(name, &format!("GOOG4-RSA-SHA256 Credential=AK/1, SignedHeaders=host, Signature={SIGNATURE}"), SIGNATURE, signature);
        add(name, &format!("OBS AK:{SIGNATURE}"), SIGNATURE, signature);
    }
    add("Cookie", &format!("theme=x; sid={COOKIE}; lang=de"), COOKIE, credential);
    add("X-Original-Cookie", &format!("sid={COOKIE}"), COOKIE, credential);
    add("x-amz-server-side-encryption-context", CONTEXT, CONTEXT, ("encryption-context-in-clear", EXPOSED));
    cases.retain(|case| {
        // As the only proof of a call, what begins with a space makes the call none of S3's signed ones.
        !(case.name.contains("Authorization") && case.rule == Some(signature) && case.name.starts_with("after"))
    });
    cases
}

/// Secrets in URLs, wherever URLs are.
fn url_cases() -> Vec<Case> {
    let presigned = ("presigned-url-in-clear", EXPOSED);
    let queries = [
        (
            format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F1%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20261127T000000Z&X-Amz-Expires=3600&X-Amz-Security-Token={}&X-Amz-Signature={SIGNATURE}",
                percent(TOKEN)
            ),
            vec![SIGNATURE.to_owned(), TOKEN[..24].to_owned()],
        ),
        (
            format!(
                "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20261127T000000Z&X-Goog-Expires=60&X-Goog-Signature={SIGNATURE}"
            ),
            vec![SIGNATURE.to_owned()],
        ),
        (format!("AWSAccessKeyId=AK&Signature={SIGNATURE}&Expires=1795444000"), vec![SIGNATURE.to_owned()]),
        (format!("sv=2024&se=2026&sig={SIGNATURE}"), vec![SIGNATURE.to_owned()]),
        (format!("OSSAccessKeyId=AK&Expires=1795444000&Signature={SIGNATURE}"), vec![SIGNATURE.to_owned()]),
        (format!("x-oss-signature={SIGNATURE}&x-oss-date=1"), vec![SIGNATURE.to_owned()]),
        (format!("q-sign-algorithm=sha1&q-ak=AK&q-signature={SIGNATURE}"), vec![SIGNATURE.to_owned()]),
    ];
    let mut cases = Vec::new();
    for (index, (query, hidden)) in queries.iter().enumerate() {
        let url = format!("https://s3.example.org/b/k?{query}");
        let (once, twice) = (percent(&url), percent(&percent(&url)));
        let html = url.replace('&', "&amp;");
        let json = url.replace('/', "\\/").replace('&', "\\u0026").replace('=', "\\u003d");
        let found = "HTTP/1.1 302 Found\r\nx-amz-request-id: R1\r\nContent-Length: 0\r\n";
        let places = [
            ("target", get(&format!("/b/k?{query}"), ""), OK.to_owned()),
            ("absolute target", get(&url.replace("https:", "http:"), ""), OK.to_owned()),
            ("nested in the target", get(&format!("/b/k?next={once}&x=1"), ""), OK.to_owned()),
            ("nested twice in the target", get(&format!("/b/k?next={twice}"), ""), OK.to_owned()),
            ("Location", get("/b/k", ""), format!("{found}Location: {url}\r\n\r\n")),
            ("nested in Location", get("/b/k", ""), format!("{found}Location: https://v.example.org/v.html?file={once}\r\n\r\n")),
            (
                "nested twice in Location",
                get("/b/k", ""),
                format!("{found}Location: https://v.example.org/v.html?file={twice}#p\r\n\r\n"),
            ),
            ("copy source", get("/b/k", &format!("x-amz-copy-source: /b/k?{query}\r\n")), OK.to_owned()),
            ("Referer", get("/b/k", &format!("Referer: {url}\r\n")), OK.to_owned()),
            ("X-Original-URL", get("/b/k", &format!("X-Original-URL: /b/k?{query}\r\n")), OK.to_owned()),
            ("X-Forwarded-Uri", get("/b/k", &format!("X-Forwarded-Uri: {once}\r\n")), OK.to_owned()),
            ("User-Agent", get("/b/k", &format!("User-Agent: tool ({url})\r\n")), OK.to_owned()),
            (
                "Link",
                get("/b/k", ""),
                format!("HTTP/1.1 200 OK\r\nx-amz-request-id: R\r\nLink: <{url}>; rel=\"next\"\r\nContent-Length: 0\r\n\r\n"),
            ),
            (
                "Refresh",
                get("/b/k", ""),
                format!("HTTP/1.1 200 OK\r\nx-amz-request-id: R\r\nRefresh: 0; url={url}\r\nContent-Length: 0\r\n\r\n"),
            ),
            (
                "JSON response",
                post("/b", "application/json", "{}"),
                answer("403 Forbidden", "application/json", &format!("{{\"url\":\"{url}\"}}")),
            ),
            (
                "escaped JSON response",
                post("/b", "application/json", "{}"),
                answer("403 Forbidden", "application/json", &format!("{{\"url\":\"{json}\"}}")),
            ),
            (
                "XML response",
                get("/b/k", ""),
                answer("403 Forbidden", "application/xml", &format!("<Error><Code>X</Code><Resource>{html}</Resource></Error>")),
            ),
            (
                "HTML response",
                get("/b/k", ""),
                answer("307 Temporary Redirect", "text/html", &format!("<a href=\"{html}\">here</a>")),
            ),
            ("form", post("/b", "application/x-www-form-urlencoded", &format!("a=1&url={once}&b=2")), OK.to_owned()),
            ("JSON request", post("/b", "application/json", &format!("{{\"source\": \"{url}\"}}")), OK.to_owned()),
        ];
        for (place, request, response) in places {
            let name = format!("presigned {index} in {place}");
            cases.push(Case { name, request, response, hidden: hidden.clone(), rule: Some(presigned) });
        }
    }
    let credential = ("credential-in-clear", LEAK);
    let (raw, user) = (PASSWORD.replace('/', "%2F"), "user:Pa55w0rd-Canary-hunter22");
    for (place, request) in [
        ("Host", get("/b/k", "").replace("Host: ", &format!("Host: {user}@"))),
        ("CONNECT", format!("CONNECT {user}@s3.example.org:443 HTTP/1.1\r\nHost: s3.example.org:443\r\n\r\n")),
        ("absolute target", get(&format!("http://user:{raw}@s3.example.org/b/k"), "")),
        ("Referer", get("/b/k", &format!("Referer: https://user:{raw}@h.example.org/\r\n"))),
        ("X-Forwarded-Host", get("/b/k", &format!("X-Forwarded-Host: {user}@s3.example.org\r\n"))),
        ("Origin", get("/b/k", &format!("Origin: https://{user}@s3.example.org\r\n"))),
        ("nested URL", get(&format!("/b/k?u=https%3A%2F%2F{}%40h%2F", percent(user)), "")),
    ] {
        let response = if place == "CONNECT" { "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" } else { OK };
        let hidden = vec!["Canary-hunter22".to_owned(), "Canary+hunter22".to_owned()];
        cases.push(Case {
            name: format!("user information in {place}"),
            request,
            response: response.to_owned(),
            hidden,
            rule: Some(credential),
        });
    }
    cases
}

/// Secrets in the bodies of token services, forms and errors.
fn body_cases() -> Vec<Case> {
    let (key, token, credential) =
        (("sse-c-key-in-clear", LEAK), ("session-token-in-clear", LEAK), ("credential-in-clear", LEAK));
    let mut cases = Vec::new();
    let mut add = |name: &str, request: String, response: String, secret: &str, rule| {
        cases.push(Case { name: name.to_owned(), request, response, hidden: vec![secret.to_owned()], rule: Some(rule) });
    };
    let sts = |action: &str| post("/", "application/x-www-form-urlencoded", &format!("Action={action}&Version=2011-06-15"));
    for element in ["SecretAccessKey", "sts:SecretAccessKey", "Secret", "SecretKey"] {
        let body = format!("<R><Credentials><AccessKeyId>AK</AccessKeyId><{element}>{SECRET}</{element}></Credentials></R>");
        add(element, sts("AssumeRole"), answer("200 OK", "text/xml", &body), SECRET, credential);
    }
    for body in [
        format!("<R><SessionToken>{TOKEN}</SessionToken></R>"),
        format!("<R>\n  <SessionToken>\n{TOKEN}\n  </SessionToken></R>"),
        format!("<R><SessionToken><![CDATA[{TOKEN}]]></SessionToken></R>"),
        format!("<R><!-- {TOKEN} --></R>"),
        format!("{{\"Credentials\":{{\"SessionToken\":\"{TOKEN}\"}}}}"),
        format!("{{ \"SessionToken\" :\n\t\"{}\" }}", TOKEN.replace('/', "\\/").replace('=', "\\u003d").replace('+', "\\u002B")),
        format!("{{\"Token\":\"{TOKEN}\",\"Expiration\":\"2026\"}}"),
    ] {
        let hidden = TOKEN.get(..21).unwrap();
        let kind = if body.starts_with('{') { "application/json" } else { "text/xml" };
        add(&format!("token {body:.30}"), sts("GetSessionToken"), answer("200 OK", kind, &body), hidden, token);
        add(&format!("denied token {body:.30}"), get("/b/k", ""), answer("403 Forbidden", kind, &body), hidden, token);
    }
    for body in [
        format!("<Error><Code>InvalidToken</Code><Message>The provided token {TOKEN} is malformed</Message></Error>"),
        format!("<Error><Code>ExpiredToken</Code><Token-0>{TOKEN}</Token-0></Error>"),
        format!(
            "<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>GET\n/b/k\n\nhost:h\nx-amz-security-token:{TOKEN}\n\nhost\ne3b0</CanonicalRequest></Error>"
        ),
        format!("GET /b/k HTTP/1.1\r\nx-amz-security-token: {TOKEN}\r\n"),
    ] {
        add(&format!("echo {body:.60}"), get("/b/k", ""), answer("403 Forbidden", "application/xml", &body), TOKEN, token);
    }
    let form = |fields: &[(&str, &str)]| {
        let parts: String = fields
            .iter()
            .map(|(name, value)| format!("--Bnd\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
            .collect();
        format!(
            "{parts}--Bnd\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\ndata\r\n--Bnd--\r\n"
        )
    };
    let upload = |fields: &[(&str, &str)]| post("/bucket", "multipart/form-data; boundary=Bnd", &form(fields));
    for (name, value, rule) in [
        ("x-amz-server-side-encryption-customer-key", KEY, key),
        ("x-amz-security-token", TOKEN, token),
        ("X-Amz-Signature", SIGNATURE, ("presigned-url-in-clear", EXPOSED)),
        ("signature", SIGNATURE, ("presigned-url-in-clear", EXPOSED)),
        ("policy", CONTEXT, ("presigned-url-in-clear", EXPOSED)),
    ] {
        let also = [
            ("key", "up/k"),
            ("policy", CONTEXT),
            ("x-amz-credential", "AK/1/r/s3/aws4_request"),
            ("X-Amz-Signature", SIGNATURE),
            (name, value),
        ];
        add(&format!("upload form {name}"), upload(&also), OK.to_owned(), value, rule);
    }
    for (name, value, rule) in [
        ("LDAPPassword", PASSWORD, credential),
        ("WebIdentityToken", JWT, credential),
        ("SAMLAssertion", SECRET, credential),
        ("Token", JWT, credential),
        ("client_secret", SECRET, credential),
        ("password", PASSWORD, credential),
        ("refresh_token", SECRET, credential),
        ("client_assertion", JWT, credential),
        ("assertion", JWT, credential),
        ("code_verifier", SECRET, credential),
        ("x-amz-server-side-encryption-customer-key", KEY, key),
        ("x-amz-security-token", TOKEN, token),
    ] {
        let rule = if name == "Token" { token } else { rule };
        let body = format!("Action=AssumeRoleX&Version=2011-06-15&{name}={}&x=1", percent(value));
        add(&format!("form {name}"), post("/", "application/x-www-form-urlencoded", &body), OK.to_owned(), &percent(value), rule);
        let json = format!("{{\"a\": 1, \"{name}\": \"{value}\"}}");
        add(&format!("JSON {name}"), post("/oauth2/token", "application/json", &json), OK.to_owned(), value, rule);
    }
    for (name, value) in [("access_token", JWT), ("id_token", JWT), ("refresh_token", SECRET)] {
        let json = format!("{{\"token_type\":\"Bearer\",\"{name}\":\"{value}\",\"expires_in\":3600}}");
        add(
            &format!("OAuth {name}"),
            post("/token", "application/x-www-form-urlencoded", "grant_type=x"),
            answer("200 OK", "application/json", &json),
            value,
            credential,
        );
    }
    let imds = "GET /latest/meta-data/iam/security-credentials/role HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".to_owned();
    let json = format!("{{\n  \"Code\" : \"Success\",\n  \"SecretAccessKey\" : \"{SECRET}\",\n  \"Expiration\" : \"2026\"\n}}");
    add("IMDS", imds, answer("200 OK", "text/plain", &json), SECRET, credential);
    let put = "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nContent-Length: 0\r\n\r\n".to_owned();
    add("IMDS token", put, answer("200 OK", "text/plain", SECRET), SECRET, credential);
    let created = format!(
        "<CreateSessionResult><Credentials><SecretAccessKey>{SECRET}</SecretAccessKey></Credentials></CreateSessionResult>"
    );
    add("CreateSession", get("/bucket?session", ""), answer("200 OK", "application/xml", &created), SECRET, credential);
    let log = format!("[{{\"name\":\"x-amz-security-token\",\"value\":\"{TOKEN}\"}}]");
    add("name and value", get("/b/k", ""), answer("400 Bad Request", "application/json", &log), TOKEN, token);
    cases
}

/// A secret that a field names, and again in another field, encoded.
fn encoded_cases() -> Vec<Case> {
    let mut random = Random(7);
    let mut cases = Vec::new();
    let half = |text: &str, random: &mut Random, encode: &dyn Fn(u8) -> String| -> String {
        text.bytes().map(|byte| if random.below(2) == 0 { encode(byte) } else { char::from(byte).to_string() }).collect()
    };
    for (field, secret) in [
        ("x-amz-security-token", TOKEN),
        ("x-amz-server-side-encryption-customer-key", KEY),
        ("X-Auth-Key", SECRET),
        ("Proxy-Authorization", JWT),
        ("X-Secret", PASSWORD),
    ] {
        let all = |encode: &dyn Fn(u8) -> String| secret.bytes().map(encode).collect::<String>();
        let some = |encode: &dyn Fn(u8) -> String| {
            secret
                .bytes()
                .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { encode(byte) })
                .collect::<String>()
        };
        let upper = |byte: u8| format!("%{byte:02X}");
        let lower = |byte: u8| format!("%{byte:02x}");
        let decimal = |byte: u8| format!("&#{byte};");
        let hexadecimal = |byte: u8| format!("&#x{byte:X};");
        let unicode = |byte: u8| format!("\\u{byte:04x}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let encodings = [
            ("raw", secret.to_owned()),
            ("percent", some(&upper)),
            ("lower percent", some(&lower)),
            ("percent throughout", all(&upper)),
            ("half percent", half(secret, &mut random, &upper)),
            (
                "mixed percent",
                secret.bytes().enumerate().map(|(at, byte)| if at % 2 == 0 { upper(byte) } else { lower(byte) }).collect(),
            ),
            ("percent twice", percent(&some(&upper))),
            ("percent three times", percent(&percent(&some(&upper)))),
            ("hexadecimal", hex.clone()),
            ("upper hexadecimal", hex.to_uppercase()),
            ("base64", STANDARD.encode(secret)),
            ("base64 of URLs", URL_SAFE_NO_PAD.encode(secret)),
            ("base64 after one byte", STANDARD.encode(format!("x{secret}"))),
            ("base64 after two bytes", STANDARD.encode(format!("xy{secret}z"))),
            ("base64 in percent", percent(&STANDARD.encode(secret))),
            ("JSON slashes", secret.replace('/', "\\/")),
            ("JSON unicode", some(&unicode)),
            ("JSON unicode throughout", all(&unicode)),
            ("half JSON unicode", half(secret, &mut random, &unicode)),
            ("JSON in JSON", some(&unicode).replace('\\', "\\\\")),
            ("decimal entities", some(&decimal)),
            ("decimal entities throughout", all(&decimal)),
            ("hexadecimal entities", some(&hexadecimal)),
            ("half entities", half(secret, &mut random, &hexadecimal)),
            ("entities in entities", some(&decimal).replace('&', "&amp;")),
            ("entities in percent", percent(&some(&decimal))),
            ("log escapes", all(&|byte| format!("\\x{byte:02X}"))),
            ("other case", secret.to_lowercase()),
        ];
        let value = if field == "Proxy-Authorization" { format!("Bearer {secret}") } else { secret.to_owned() };
        for (how, text) in encodings {
            // Of base64 only the letters that the secret alone decides can be known.
            let telling = text.get(3..text.len() - 4).unwrap().to_owned();
            for (place, request, response) in [
                ("field", get("/b/k", &format!("{field}: {value}\r\nX-Note: see {text} there\r\n")), OK.to_owned()),
                (
                    "target",
                    get(&format!("/b/k?note={}", text.replace('#', "%23").replace('&', "%26")), &format!("{field}: {value}\r\n")),
                    OK.to_owned(),
                ),
                (
                    "XML",
                    get("/b/k", &format!("{field}: {value}\r\n")),
                    answer("403 Forbidden", "application/xml", &format!("<Error><Code>X</Code><HostId>{text}</HostId></Error>")),
                ),
                (
                    "JSON",
                    get("/b/k", &format!("{field}: {value}\r\n")),
                    answer("403 Forbidden", "application/json", &format!("{{\"a\":\"{text}\"}}")),
                ),
            ] {
                let hidden = if place == "target" { vec![secret.to_owned()] } else { vec![telling.clone(), secret.to_owned()] };
                cases.push(Case { name: format!("{field} again in {place}, {how}"), request, response, hidden, rule: None });
            }
        }
    }
    cases
}

fn packets(case: &Case, segment: usize) -> Vec<Sent> {
    let mut connection = Connection::open(40_001, 1_795_440_000_000_000_000, segment, 7, 9);
    connection.client(case.request.as_bytes());
    connection.server(case.response.as_bytes());
    connection.close();
    connection.sent
}

/// The session as it is written, and what was found.
fn judge(packets: &[Sent]) -> (String, Summary) {
    let mut decoder = Decoder::new(Limits::default());
    let mut analysis = Analysis::new(Judging::default());
    let mut session = Vec::new();
    let mut recorder = Recorder::writing(Redactor::new([9; 32]), &mut session);
    for (ordinal, sent) in (1..).zip(packets) {
        let length = sent.bytes.len() as u32;
        decoder.handle_packet(&Packet {
            ordinal,
            frame: Frame::new(0, ordinal),
            at: Timestamp::from_nanos(sent.at_nanos),
            link: LinkType(1),
            bytes: &sent.bytes,
            tail: Tail::NONE,
            captured: length,
            original: length,
        });
        while let Some(event) = decoder.poll() {
            analysis.handle_event(event, &mut recorder);
        }
    }
    decoder.handle_end();
    while let Some(event) = decoder.poll() {
        analysis.handle_event(event, &mut recorder);
    }
    let summary = analysis.finish(&mut recorder);
    recorder.finish(&[], &summary).unwrap();
    (String::from_utf8(session).unwrap(), summary)
}

fn scrub(packets: &[Sent]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "test", &[]).unwrap();
    let interface = writer.add_interface(LinkType(1), &InterfaceDescription::default()).unwrap();
    for sent in packets {
        let record = PacketRecord {
            at: Timestamp::from_nanos(sent.at_nanos),
            bytes: &sent.bytes,
            original: sent.bytes.len() as u32,
            comments: &[],
        };
        writer.write_packet(interface, &record).unwrap();
    }
    let input = writer.finish().unwrap();
    let options = Options {
        format: Format::Pcapng,
        keylogs: Vec::new(),
        strip_secrets: false,
        drop_names: false,
        drop_comments: false,
        drop_undecrypted: false,
        scrub: true,
        keep_undecoded: false,
        choice: Choice::default(),
        once: false,
    };
    let (_, output, proof) = convert(&mut || Ok(open(&input)), Vec::new(), &options).unwrap();
    prove(&proof.unwrap(), output.as_slice(), open(&output)).unwrap();
    output
}

fn open(bytes: &[u8]) -> SavedCapture {
    let input = Input { name: "test".to_owned(), stream: Box::new(Cursor::new(bytes.to_vec())), positioned: None };
    SavedCapture::open(vec![input]).unwrap()
}

/// The payload of all packets of a direction one after the other, and the packets for a decoder.
fn payloads(capture: &[u8]) -> (Vec<u8>, Vec<Sent>) {
    use hopwire::capture::{Batch, PacketSource as _};
    let (mut text, mut sent) = (Vec::new(), Vec::new());
    let mut capture = open(capture);
    let mut batch = Batch::new();
    while capture.read_batch(&mut batch).unwrap() {
        for packet in batch.packets() {
            text.extend_from_slice(packet.bytes.get(54..).unwrap_or_default());
            sent.push(Sent { at_nanos: packet.at.as_nanos(), bytes: packet.bytes.to_vec(), payload: 0 });
        }
    }
    (text, sent)
}

fn shape(packets: &[Sent]) -> Vec<(String, Option<u16>, u64)> {
    let seen = decode(packets, Limits::default());
    seen.exchanges
        .iter()
        .map(|exchange| {
            let length = exchange.response().map_or(0, |response| response.body.length);
            (String::from_utf8_lossy(exchange.request.method()).into_owned(), exchange.status(), length)
        })
        .collect()
}

fn contains(text: &[u8], part: &str) -> bool {
    memchr::memmem::find(text, part.as_bytes()).is_some()
}

fn check(cases: &[Case]) {
    let mut problems = Vec::new();
    for case in cases {
        let sent = packets(case, 1400);
        let (session, summary) = judge(&sent);
        if let Some((rule, severity)) = case.rule {
            match summary.findings.iter().find(|finding| finding.rule.name == rule) {
                Some(finding) if finding.severity == severity => {}
                found => problems.push(format!("{}: no finding {rule} of that severity ({})", case.name, found.is_some())),
            }
            if severity == LEAK && summary.verdict.outcome != Outcome::Leaked {
                problems.push(format!("{}: {:?}", case.name, summary.verdict.outcome));
            }
        }
        for hidden in &case.hidden {
            if contains(session.as_bytes(), hidden) {
                problems.push(format!("{}: the session shows {hidden}", case.name));
            }
        }
        for segment in [1400, 17] {
            let sent = packets(case, segment);
            let output = scrub(&sent);
            let (text, after) = payloads(&output);
            for hidden in &case.hidden {
                if contains(&text, hidden) || contains(&output, hidden) {
                    problems.push(format!("{}: the scrubbed capture holds {hidden}", case.name));
                }
            }
            if shape(&sent) != shape(&after) || shape(&sent).len() != 1 {
                problems.push(format!("{}: {:?} became {:?}", case.name, shape(&sent), shape(&after)));
            }
        }
    }
    problems.dedup();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

#[test]
fn secrets_in_fields_are_found_redacted_and_masked() {
    check(&field_cases());
}

#[test]
fn secrets_in_urls_are_found_redacted_and_masked() {
    check(&url_cases());
}

#[test]
fn secrets_in_bodies_are_found_redacted_and_masked() {
    check(&body_cases());
}

#[test]
fn secrets_that_come_again_encoded_are_redacted_and_masked() {
    check(&encoded_cases());
}

#[test]
fn every_kind_has_a_case() {
    let cases: Vec<Case> = field_cases().into_iter().chain(url_cases()).chain(body_cases()).collect();
    let mut labels = std::collections::BTreeSet::new();
    for case in &cases {
        let (session, _) = judge(&packets(case, 1400));
        labels.extend(Kind::ALL.iter().filter(|kind| session.contains(kind.label())).map(|kind| kind.label()));
    }
    let digest = Case {
        name: String::new(),
        request: get("/b/k", "x-amz-server-side-encryption-customer-key-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n"),
        response: OK.to_owned(),
        hidden: vec!["1B2M2Y8AsgTpgAmY7PhCfg".to_owned()],
        rule: Some(("sse-header-in-clear", EXPOSED)),
    };
    labels.insert(Kind::CustomerKeyMd5.label());
    check(&[digest]);
    assert_eq!(labels.len(), Kind::ALL.len(), "{labels:?}");
}
