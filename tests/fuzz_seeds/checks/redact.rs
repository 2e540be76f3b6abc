//! Secrets: whatever stands around a planted one, and in whatever form it is repeated, no written session holds it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hopwire::model::{Exchange, Outcome};
use hopwire::s3::{Call, Domains};
use hopwire::session::Redactor;
use hopwire::session::jsonl::{Reader, Record, Writer};

use super::bytes::Bytes;
use super::call::exchange;

/// The first octet tells how the secret is planted, the next line ends it, and the rest is an exchange as in `call`, in which
/// `{0}` to `{9}` stand for the secret in ten forms.
pub fn redact(input: &[u8]) {
    let mut input = Bytes(input);
    let place = PLACES[usize::from(input.byte()) % PLACES.len()];
    // Letters that no form of writing changes would prove too little, so that some others follow.
    let tail = input.until(b'\n');
    let secret: Vec<u8> = [SECRET, tail.get(..tail.len().min(40)).unwrap_or_default()].concat();
    let secret: Vec<u8> =
        secret.iter().map(|octet| if octet.is_ascii_graphic() && !b"[]{}".contains(octet) { *octet } else { b'+' }).collect();
    let telling = exchange(&plant(b"PUT /b/k HTTP\n", place, &secret));
    let other = exchange(&fill(input.0, &secret));
    let mut redactor = Redactor::new([5; 32]);
    let mut writer = Writer::new(Vec::new());
    for heard in [&telling, &other] {
        redactor.learn(heard);
        write(&mut writer, heard, &redactor);
    }
    let session = writer.finish().unwrap();
    for (name, form) in forms(&secret) {
        assert!(!contains(&session, &form), "{name} of the secret is in\n{}", String::from_utf8_lossy(&session));
    }
    check_again(&session);
}

/// What is redacted stays as it is. What it means is read anew, and texts without their secrets can be easier to read.
fn check_again(session: &[u8]) {
    let mut reader = Reader::new(session);
    let mut writer = Writer::new(Vec::new());
    while let Some(record) = reader.read().expect("a session that was just written can be read") {
        let Record::Exchange(recorded) = record else { continue };
        write(&mut writer, &recorded.exchange, &Redactor::new([6; 32]));
    }
    let again = writer.finish().unwrap();
    let (one, other) = (String::from_utf8_lossy(session), String::from_utf8_lossy(&again));
    for (one, other) in one.lines().zip(other.lines()) {
        let ((one_sent, one_auth), (other_sent, other_auth)) = (parts(one), parts(other));
        let is_same = one_sent == other_sent && (one_auth.is_none() || other_auth.is_none() || one_auth == other_auth);
        assert!(is_same, "redacted\n{one}\nonce more\n{other}");
    }
}

/// What was sent, and who signed it by its S3 reading.
fn parts(line: &str) -> (&str, Option<&str>) {
    let (sent, read) = line.split_at(line.rfind(r#","s3":"#).unwrap_or(line.len()));
    let auth = read.find(r#""auth":"#).and_then(|at| read[at..].split('}').next());
    (sent, auth)
}

fn write(writer: &mut Writer<Vec<u8>>, exchange: &Exchange, redactor: &Redactor) {
    let domains = Domains::new(Vec::new());
    let call = Call::read(exchange, &domains);
    writer.write_exchange(exchange, call.as_ref(), "hop", None, redactor).unwrap();
    assert!(matches!(exchange.outcome, Outcome::Answered(_) | Outcome::Unanswered));
}

/// An exchange that tells a redactor of the secret.
fn plant(start: &[u8], place: &str, secret: &[u8]) -> Vec<u8> {
    let (before, after) = place.split_once("{}").unwrap();
    let shown = if before.contains('%') { percent(secret) } else { secret.to_vec() };
    [start, before.trim_start_matches('%').as_bytes(), &shown, after.as_bytes(), b"\n\n"].concat()
}

fn fill(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let forms = forms(secret);
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match rest {
            [b'{', digit @ b'0'..=b'9', b'}', after @ ..] => {
                out.extend_from_slice(&forms[usize::from(digit - b'0')].1);
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// The forms in which a secret may be repeated, and by which it could be known again.
fn forms(secret: &[u8]) -> [(&'static str, Vec<u8>); 10] {
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let inside = |offset: usize, standard: bool| {
        let text = [b"xyz".get(..offset).unwrap_or_default(), secret, b"xyz"].concat();
        let encoded = if standard { STANDARD.encode(&text) } else { URL_SAFE_NO_PAD.encode(&text) };
        // Only the letters that the secret alone decides.
        encoded.as_bytes()[(offset * 8).div_ceil(6)..(offset + secret.len()) * 8 / 6].to_vec()
    };
    [
        ("the raw form", secret.to_vec()),
        ("the URL form", percent(secret)),
        ("the doubled URL form", percent(&percent(secret))),
        ("lower hexadecimal", hex.clone().into_bytes()),
        ("upper hexadecimal", hex.to_uppercase().into_bytes()),
        ("base64", inside(0, true)),
        ("base64 after one octet", inside(1, true)),
        ("base64 after two octets", inside(2, true)),
        ("base64 of URLs", inside(0, false)),
        ("base64 of URLs after one octet", inside(1, false)),
    ]
}

fn percent(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for octet in text {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) {
            out.push(*octet);
        } else {
            out.extend(format!("%{octet:02X}").bytes());
        }
    }
    out
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Where a secret tells that it is one: a field of the request.
const PLACES: &[&str] = &[
    "x-amz-security-token: {}",
    "x-amz-server-side-encryption-customer-key: {}",
    "X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key: {}",
    "Cookie: session={}",
    "Proxy-Authorization: Bearer {}",
    "Authorization: Bearer {}",
    "%Referer: http://s/b/k?X-Amz-Security-Token={}",
    "\n<Credentials><SecretAccessKey>{}</SecretAccessKey></Credentials>",
];
const SECRET: &[u8] = b"+CanarY/Secret+0123456789=";
