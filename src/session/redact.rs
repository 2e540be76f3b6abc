//! Keeps secrets out of every output: exchanges go in to be learnt from, texts go in and come out without secrets.
//!
//! A secret is found in two ways. By name: headers, query parameters and body fields that hold secrets by their definition.
//! By value: what was learnt by name is looked for in every other text, also in its URL, base64, hexadecimal, JSON and XML forms.
//! In its place stands a keyed digest (HMAC-SHA256, with a key that is new in every run): equal secrets can be recognised
//! within one run, and none can be guessed.

use std::borrow::Cow;
use std::collections::HashMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::model::{Exchange, FieldValue, HeaderName};
use crate::session::secrets::{self, BYTES_MIN, Exposed, Hit, Kind, Matcher, Secret, Unescaped, encodings};

/// Replaces secrets in texts. It has no `Debug`, since it remembers them.
pub struct Redactor {
    opened: bool,
    mac: Hmac<Sha256>,
    learnt: HashMap<Box<[u8]>, u32>,
    marks: Vec<(Kind, String)>,
    matcher: Matcher,
}

/// A value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// As sent, but for placeholders in it.
    Text(Cow<'a, [u8]>),
    /// All of it was secret.
    Redacted {
        /// The kind's label.
        kind: &'static str,
        /// The keyed digest.
        id: Cow<'a, str>,
    },
    /// As sent, where that looks like the placeholder of a secret: it must not be taken for one.
    Bytes(&'a [u8]),
}

impl Redactor {
    /// A redactor whose digests are keyed with `salt`: random in a run, fixed in a test.
    pub fn new(salt: [u8; 32]) -> Self {
        let mut key = [0; 64];
        for (to, from) in key.iter_mut().zip(salt) {
            *to = from;
        }
        Self { opened: false, mac: Hmac::new(&key.into()), learnt: HashMap::new(), marks: Vec::new(), matcher: Matcher::new() }
    }

    /// A redactor that shows everything, for `--show-secrets`.
    pub fn showing_secrets() -> Self {
        Self { opened: true, ..Self::new([0; 32]) }
    }

    /// Remembers the lasting secrets of an exchange, to recognise them elsewhere.
    pub fn learn(&mut self, exchange: &Exchange) {
        let mut found = Vec::new();
        secrets::in_exchange(exchange, [true, true], &mut found);
        self.learn_secrets(&found);
    }

    /// Remembers those of these secrets that last.
    pub fn learn_secrets(&mut self, secrets: &[Exposed<'_>]) {
        if self.opened {
            return;
        }
        for secret in secrets {
            self.learn_value(secret.kind, secret.value);
        }
    }

    /// A header value as it may be shown.
    pub fn header<'a>(&self, known: HeaderName, name: &[u8], value: FieldValue<'a>) -> Shown<'a> {
        let bytes = value.shown();
        let mut found = Vec::new();
        if !self.opened && secrets::may_hold_secret(known, bytes) {
            secrets::in_header(known, name, bytes, &mut found);
        }
        self.show(value, &found)
    }

    /// A header name as it may be shown: a broken client can send anything in its place.
    pub fn name<'a>(&self, known: HeaderName, name: &'a [u8]) -> Cow<'a, [u8]> {
        if known == HeaderName::Other { self.scrub(name) } else { Cow::Borrowed(name) }
    }

    /// A URL, or a part of one, as it may be shown in the account of a call, which is not read back.
    pub fn url<'a>(&self, url: &'a [u8]) -> Cow<'a, [u8]> {
        if self.opened {
            return Cow::Borrowed(url);
        }
        let mut found = Vec::new();
        secrets::in_url(url, &mut found);
        self.censor(FieldValue::Redacted(url), &found)
    }

    /// A request target as it may be shown.
    pub fn target<'a>(&self, target: FieldValue<'a>) -> Shown<'a> {
        let mut found = Vec::new();
        if !self.opened {
            secrets::in_target(target.shown(), &mut found);
        }
        self.show(target, &found)
    }

    /// A kept body as it may be shown.
    pub fn body<'a>(&self, body: FieldValue<'a>) -> Shown<'a> {
        let mut found = Vec::new();
        if !self.opened {
            secrets::in_body(body.shown(), &mut found);
        }
        self.show(body, &found)
    }

    /// A sentence of a report as it may be shown: it may quote a URL, or what was learnt.
    pub fn sentence<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.url(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Any other text as it may be shown: the secrets learnt so far are replaced in it.
    pub fn scrub<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.opened || self.matcher.is_empty() || text.len() < BYTES_MIN {
            return Cow::Borrowed(text);
        }
        let hits = self.matcher.find_all(text);
        if hits.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        self.replace(text, &hits, &mut out);
        Cow::Owned(out)
    }

    /// [`Redactor::scrub`] for text.
    pub fn scrub_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.scrub(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// A value with these secrets in it.
    fn show<'a>(&self, value: FieldValue<'a>, found: &[Secret]) -> Shown<'a> {
        let bytes = value.shown();
        if let (FieldValue::Redacted(_), Some((kind, id))) = (value, parse_placeholder(bytes)) {
            return Shown::Redacted { kind, id: Cow::Borrowed(id) };
        }
        if let [Secret { range, kind, .. }] = found
            && range.start == 0
            && range.end == bytes.len()
        {
            return Shown::Redacted { kind: kind.label(), id: Cow::Owned(self.id(bytes)) };
        }
        let text = self.censor(value, found);
        if let Cow::Owned(replaced) = &text
            && let Some((kind, id)) = parse_placeholder(replaced)
        {
            // All of it is a secret that was learnt elsewhere: written, and read back, as one whose name tells of it.
            return Shown::Redacted { kind, id: Cow::Owned(id.to_owned()) };
        }
        if value.sent().is_none() || !has_placeholder(bytes) {
            return Shown::Text(text);
        }
        match text {
            Cow::Borrowed(_) => Shown::Bytes(bytes),
            // Beside placeholders of ours, those that were sent cannot be told from them.
            Cow::Owned(_) => {
                let kind = found.first().map_or(Kind::SignedText, |secret| secret.kind);
                Shown::Redacted { kind: kind.label(), id: Cow::Owned(self.id(bytes)) }
            }
        }
    }

    /// Replaces these secrets, and in what is left the learnt values.
    fn censor<'a>(&self, value: FieldValue<'a>, places: &[Secret]) -> Cow<'a, [u8]> {
        let text = value.shown();
        if places.is_empty() {
            return self.scrub(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for Secret { range, kind, .. } in places {
            self.scrub_into(text.get(at..range.start).unwrap_or_default(), &mut out);
            let secret = text.get(range.clone()).unwrap_or_default();
            if value.sent().is_none() && parse_placeholder(secret).is_some() {
                out.extend_from_slice(secret);
            } else {
                out.extend_from_slice(placeholder(kind.label(), &self.id(secret)).as_bytes());
            }
            at = range.end;
        }
        self.scrub_into(text.get(at..).unwrap_or_default(), &mut out);
        Cow::Owned(out)
    }

    fn scrub_into(&self, text: &[u8], out: &mut Vec<u8>) {
        self.replace(text, &self.matcher.find_all(text), out);
    }

    fn replace(&self, text: &[u8], hits: &[Hit], out: &mut Vec<u8>) {
        let mut at = 0;
        for hit in hits {
            let start = usize::try_from(hit.start).unwrap_or(usize::MAX);
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            if let Some((kind, id)) = self.marks.get(hit.mark as usize) {
                out.extend_from_slice(placeholder(kind.label(), id).as_bytes());
            }
            at = start.saturating_add(hit.length);
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
    }

    /// The digest of a value, whatever escapes it was sent in.
    fn id(&self, value: &[u8]) -> String {
        let plain = Unescaped::new(value);
        if let Some((_, id)) = self.learnt.get(plain.bytes()).and_then(|mark| self.marks.get(*mark as usize)) {
            return id.clone();
        }
        let mut mac = self.mac.clone();
        mac.update(plain.bytes());
        mac.finalize().into_bytes().iter().take(ID_BYTES).fold(String::with_capacity(ID_BYTES * 2), |mut id, byte| {
            id.extend([byte >> 4, byte & 15].iter().filter_map(|nibble| char::from_digit(u32::from(*nibble), 16)));
            id
        })
    }

    fn learn_value(&mut self, kind: Kind, value: &[u8]) {
        let worthwhile = kind.is_lasting() && value.len() >= BYTES_MIN && value.len() <= SECRET_BYTES_MAX;
        if !worthwhile || self.marks.len() >= LEARNT_MAX {
            return;
        }
        let plain = Unescaped::new(value);
        if self.learnt.contains_key(plain.bytes()) || parse_placeholder(value).is_some() {
            return;
        }
        let id = self.id(value);
        let mark = u32::try_from(self.marks.len()).unwrap_or(u32::MAX);
        self.marks.push((kind, id));
        self.learnt.insert(plain.bytes().into(), mark);
        for text in encodings(kind, value) {
            self.matcher.add(&text, mark);
        }
    }
}

/// Whether a body holds a secret, by the name or form of it.
pub fn has_secret_by_place(body: &[u8]) -> bool {
    let mut found = Vec::new();
    secrets::in_body(body, &mut found);
    !found.is_empty()
}

/// The text that stands for a secret, in values of which only a part is secret, and in sessions that are read back.
pub fn placeholder(kind: &str, id: &str) -> String {
    format!("[redacted:{kind}:{id}]")
}

/// Whether something in a text looks like a placeholder.
pub fn has_placeholder(text: &[u8]) -> bool {
    let starts = memchr::memchr_iter(b'[', text).filter_map(|at| text.get(at..));
    let whole =
        |rest: &[u8]| memchr::memchr(b']', rest).is_some_and(|end| rest.get(..=end).and_then(parse_placeholder).is_some());
    starts.filter(|rest| rest.starts_with(PLACEHOLDER_START)).any(whole)
}

const PLACEHOLDER_START: &[u8] = b"[redacted:";

/// The kind's label and the id of a placeholder.
pub fn parse_placeholder(value: &[u8]) -> Option<(&'static str, &str)> {
    let inner = value.strip_prefix(PLACEHOLDER_START)?.strip_suffix(b"]")?;
    let (kind, id) = std::str::from_utf8(inner).ok()?.split_once(':')?;
    let kind = Kind::ALL.iter().map(|known| known.label()).find(|label| *label == kind)?;
    (id.len() == ID_BYTES * 2 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((kind, id))
}

/// 64 bits tell apart more secrets than a run can hold.
const ID_BYTES: usize = 8;
/// Beyond this many distinct secrets the rest are replaced by name only.
const LEARNT_MAX: usize = 512;
/// Longer values are replaced by name only: their many forms would take too much memory.
const SECRET_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Request, Version};
    use crate::session::testing::exchange;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn redactor() -> Redactor {
        Redactor::new([7; 32])
    }

    #[test]
    fn keeps_what_is_no_secret_of_an_authorization() {
        let value = b"AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0ff1ce";
        let Shown::Text(text) = redactor().header(HeaderName::Authorization, b"Authorization", FieldValue::Sent(value)) else {
            panic!("text expected")
        };
        let text = String::from_utf8(text.into_owned()).unwrap();
        assert!(text.starts_with("AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=[redacted:signature:"), "{text}");
        assert!(!text.contains("0ff1ce"));
    }

    #[test]
    fn equal_secrets_have_equal_ids_within_a_run_only() {
        let id = |redactor: &Redactor, value: &'static [u8]| match redactor.header(
            HeaderName::Cookie,
            b"cookie",
            FieldValue::Sent(value),
        ) {
            Shown::Redacted { kind: "cookie", id } => id.into_owned(),
            other => panic!("{other:?}"),
        };
        let (one, two) = (Redactor::new([1; 32]), Redactor::new([2; 32]));
        assert_eq!(id(&one, b"a=1"), id(&one, b"a=1"));
        assert_ne!(id(&one, b"a=1"), id(&one, b"a=2"));
        assert_ne!(id(&one, b"a=1"), id(&two, b"a=1"));
    }

    #[test]
    fn what_is_redacted_already_stays_as_it_is() {
        let text = placeholder("session-token", "0123456789abcdef");
        assert_eq!(
            redactor().header(HeaderName::XAmzSecurityToken, b"x-amz-security-token", FieldValue::Redacted(text.as_bytes())),
            Shown::Redacted { kind: "session-token", id: Cow::Borrowed("0123456789abcdef") }
        );
        let target = format!("/b/k?X-Amz-Security-Token={text}");
        assert_eq!(redactor().target(FieldValue::Redacted(target.as_bytes())), Shown::Text(Cow::Borrowed(target.as_bytes())));
        assert_eq!(parse_placeholder(b"[redacted:anything:0123456789abcdef]"), None);
        assert_eq!(parse_placeholder(b"[redacted:cookie:0123]"), None);
    }

    #[test]
    fn what_was_sent_is_never_taken_for_a_placeholder() {
        let text = placeholder("session-token", "0123456789abcdef");
        let (name, sent) = (b"x-amz-security-token", FieldValue::Sent(text.as_bytes()));
        let Shown::Redacted { id, .. } = redactor().header(HeaderName::XAmzSecurityToken, name, sent) else {
            panic!("it is secret")
        };
        assert_ne!(id, "0123456789abcdef");
        assert_eq!(redactor().header(HeaderName::Range, b"range", sent), Shown::Bytes(text.as_bytes()));
        assert_eq!(Redactor::showing_secrets().header(HeaderName::Cookie, b"cookie", sent), Shown::Bytes(text.as_bytes()));
        // Beside a secret that is replaced, the whole is.
        let target = format!("/b/{text}?X-Amz-Signature=abcdef");
        assert!(matches!(redactor().target(FieldValue::Sent(target.as_bytes())), Shown::Redacted { .. }));
        let in_body = format!("<Error><Message>{text}</Message></Error>");
        assert!(!matches!(redactor().body(FieldValue::Sent(in_body.as_bytes())), Shown::Text(_)));
        assert!(has_placeholder(in_body.as_bytes()) && !has_placeholder(b"a[b]c [redacted:x] [redacted:cookie:12]"));
    }

    #[test]
    fn opened_it_shows_everything() {
        let open = Redactor::showing_secrets();
        assert_eq!(open.header(HeaderName::Cookie, b"cookie", FieldValue::Sent(b"a=1")), Shown::Text(Cow::Borrowed(b"a=1")));
        assert_eq!(open.target(FieldValue::Sent(b"/?Signature=x")), Shown::Text(Cow::Borrowed(b"/?Signature=x")));
    }

    #[test]
    fn the_number_of_learnt_secrets_is_bounded_and_the_rest_go_by_name() {
        let mut redactor = redactor();
        for number in 0..LEARNT_MAX + 10 {
            redactor.learn_value(Kind::Cookie, format!("session={number:08}").as_bytes());
        }
        assert_eq!(redactor.marks.len(), LEARNT_MAX);
        let last = format!("session={:08}", LEARNT_MAX + 9);
        assert!(matches!(
            redactor.header(HeaderName::Cookie, b"cookie", FieldValue::Sent(last.as_bytes())),
            Shown::Redacted { .. }
        ));
    }

    /// Every way in which this test writes a secret down.
    fn written(secret: &str) -> Vec<String> {
        let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let url = secret
            .bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") });
        vec![
            secret.to_owned(),
            hex.clone(),
            hex.to_uppercase(),
            url.collect(),
            STANDARD.encode(secret),
            STANDARD.encode(format!("x{secret}")),
        ]
    }

    proptest! {
        #[test]
        fn no_text_holds_a_learnt_secret_in_any_form(
            secret in "[A-Za-z0-9+/=]{12,60}",
            name in prop::sample::select(vec![
                "x-amz-security-token", "X-Amz-Server-Side-Encryption-Customer-Key", "cookie",
                "x-amz-copy-source-server-side-encryption-customer-key-MD5", "Proxy-Authorization",
            ]),
            around in "[a-z ]{0,12}",
        ) {
            // Base64 of text around the secret keeps only the letters that the secret alone decides.
            let telling = |form: &str| form.get(2..form.len().saturating_sub(2)).unwrap_or_default().to_owned();
            let mut heard = exchange(Request::from_parts(b"GET", b"/b/k", Version::Http11));
            heard.request.headers.append(name.as_bytes(), secret.as_bytes());
            let mut redactor = redactor();
            redactor.learn(&heard);
            for form in written(&secret) {
                let text = format!("{around}{form}{around}");
                let shown = String::from_utf8_lossy(&redactor.scrub(text.as_bytes())).into_owned();
                prop_assert!(!shown.contains(&telling(&form)), "{} in {}", form, shown);
            }
        }
    }
}
