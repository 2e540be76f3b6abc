//! Presigned URLs that can be read on the network path.

use crate::model::{Headers, Timestamp};
use crate::rules::aggregate::Distinct;
use crate::rules::disclosed::{HopRow, PerHop};
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::Sight;
use crate::rules::{Disclosure, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Auth, Call, Query, Scheme};
use crate::session::secrets::{Exposed, Exposure, Form, Unescaped};

rule! {
    /// ## What it reports
    /// Plaintext messages that show a presigned URL, and until when the last of them can be used: requests by such a URL, and URLs in
    /// `Location`, `x-amz-copy-source`, other headers, other URLs and bodies. POST forms with a signed policy count too.
    ///
    /// ## Why it matters
    /// A presigned URL needs nothing else: who has it may do what it allows until it expires, up to seven days.
    ///
    /// ## Example
    /// `GET /bucket/a.txt?AWSAccessKeyId=…&Signature=…&Expires=…` through the plain HTTP front of a proxy.
    ///
    /// ## What to do
    /// Make presigned URLs for an `https://` endpoint and let them expire soon. To end one early, revoke the key that signed it.
    "presigned-url-in-clear" Warning Exposure since "0.1.0"
}

/// How many objects are named per hop.
const OBJECTS_MAX: usize = 16;

#[derive(Default)]
pub(super) struct State {
    hops: PerHop<Urls>,
}

#[derive(Debug, Default)]
struct Urls {
    objects: Distinct<Vec<u8>, OBJECTS_MAX>,
    until: Option<Timestamp>,
    /// Requests by such a URL that the store accepted.
    accepted: u64,
    /// Messages that carried a URL without being requests by it.
    carried: u64,
}

impl Watch for State {
    fn handle_secrets(&mut self, disclosed: &Disclosure<'_>, findings: &mut Findings) {
        let signed = || disclosed.of(Exposure::Signature).filter(|secret| matches!(secret.form, Form::Url | Form::Form));
        let Some(first) = signed().next() else { return };
        let Some((row, is_first)) = self.hops.add_disclosed(disclosed, Sight::of_side(disclosed.exchange, first.from)) else {
            return;
        };
        let urls = &mut row.value;
        match disclosed.call.map(|call| (call, call.auth())) {
            // A URL that comes with a second proof next to it (which stores reject) is disclosed all the same.
            Some((call, auth)) if auth.scheme.is_presigned() || matches!(auth.scheme, Scheme::PostPolicy | Scheme::Several) => {
                urls.until = urls.until.max(auth.expires_at());
                urls.accepted += u64::from(disclosed.is_accepted());
                urls.objects.add_bytes(&object_of(call));
            }
            _ => {
                urls.carried += 1;
                for secret in signed() {
                    urls.add_carried(secret);
                }
            }
        }
        if is_first {
            findings.raise(render(row, &disclosed.view));
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.hops.iter() {
            findings.report(render(row, view));
        }
    }
}

impl Urls {
    /// Reads a URL inside another text: what is before its query, and when it expires.
    fn add_carried(&mut self, secret: &Exposed<'_>) {
        let text = Unescaped::new(secret.text);
        let value = Unescaped::new(secret.value);
        let Some(at) = memchr::memmem::find(text.bytes(), value.bytes()) else { return };
        let (before, after) = text.bytes().split_at_checked(at).unwrap_or_default();
        let Some(question) = memchr::memrchr(b'?', before) else { return };
        let is_edge = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>');
        let query = before.get(question + 1..).unwrap_or_default();
        let rest = after.split(is_edge).next().unwrap_or_default();
        // Google's V4 signatures have the same parameters under a prefix of their own.
        let query = without_goog([query, rest].concat());
        let headers = Headers::default();
        self.until = self.until.max(Auth::read(&headers, Query::new(&query), None, false).expires_at());
        let path = before.get(..question).unwrap_or_default();
        let start = path.iter().rposition(|byte| is_edge(byte) || *byte == b'=').map_or(0, |at| at + 1);
        let path = path.get(start..).unwrap_or_default();
        let path = memchr::memmem::find(path, b"://").map_or(path, |at| path.get(at + 3..).unwrap_or_default());
        // What is before `@` is a secret of its own.
        let path = memchr::memrchr(b'@', path).map_or(path, |at| path.get(at + 1..).unwrap_or_default());
        self.objects.add_bytes(path);
    }
}

fn without_goog(mut query: Vec<u8>) -> Vec<u8> {
    let places: Vec<usize> = memchr::memmem::find_iter(&query, b"X-Goog-").collect();
    for at in places.into_iter().rev() {
        query.splice(at..at + b"X-Goog-".len(), *b"X-Amz-");
    }
    query
}

fn object_of(call: &Call<'_>) -> Vec<u8> {
    let bucket = call.address.bucket.as_deref().unwrap_or_default();
    let key = call.address.key.as_deref().unwrap_or_default();
    [bucket, b"/", key].concat()
}

fn render(row: &HopRow<Urls>, view: &View<'_>) -> Finding {
    let urls = &row.value;
    let until = match urls.until {
        Some(until) if until > view.now => format!("valid until {until}"),
        Some(until) => format!("expired at {until}, within the capture"),
        None => "with no expiry that can be read".to_owned(),
    };
    let mut message = format!(
        "{} in plaintext on {} showed a presigned URL for {}, {until}.",
        counted(row.sights.count, "exchange", "exchanges"),
        view.hop_name(row.hop),
        match urls.objects.values().len() {
            1 if !urls.objects.is_cut => "one object".to_owned(),
            _ => format!("{} objects", urls.objects.count_text()),
        },
    );
    let used = row.sights.count - urls.carried;
    if used > 0 {
        message += &format!(" The store accepted {} of {}.", urls.accepted, counted(used, "request by it", "requests by them"));
    }
    if urls.carried > 0 {
        message += &format!(" {} of the exchanges carried it in a header, a body or another URL.", urls.carried);
    }
    let objects: Vec<String> = urls.objects.values().iter().map(|object| quote(object)).take(4).collect();
    let mut finding = row.finding(&RULE, message, view).about("objects", list(&objects));
    if let Some(until) = urls.until {
        finding = finding.about("valid_until", until.to_string());
    }
    finding.fixed_by(Fix::tls_on_the_front()).fixed_by(Fix::untested(
        "make presigned URLs for the https endpoint, with a short life",
        "",
    ))
}
