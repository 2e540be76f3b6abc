//! What a proxy did to a head: the fields before and after in, those it added, dropped and changed out. Order and case of names
//! do not count.

use crate::hops::fingerprint::{is_unseen, signature_of, signed_names_of};
use crate::model::{HeaderName, Headers, Request};

/// What happened to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is there only after the proxy.
    Added,
    /// It is there only before the proxy.
    Dropped,
    /// Its value is another.
    Changed,
}

/// A field that is not the same on both sides of a proxy. A name counts once, however many fields have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'x> {
    /// What happened.
    pub kind: ChangeKind,
    /// The recognised name.
    pub header: HeaderName,
    /// The name as sent; wire text.
    pub name: &'x [u8],
    /// Whether the signature that crossed covers it.
    pub signed: bool,
    /// The first value before that is not there after, and the first value after that was not there before; wire text, and it
    /// may be a secret.
    pub values: [Option<&'x [u8]>; 2],
}

/// What became of the signature of a request at a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Neither request has one.
    None,
    /// The same one is on both sides: the store checks what the client signed.
    Kept,
    /// The proxy signed, or signed anew: the client's signature covers nothing any more.
    Own,
    /// The proxy removed it.
    Removed,
}

/// Compares the signatures of a request on both sides of a proxy.
pub fn signature_between(asked: &Request, passed: &Request) -> Signature {
    match (signature_of(asked), signature_of(passed)) {
        (None, None) => Signature::None,
        (Some(one), Some(other)) if one == other => Signature::Kept,
        (_, Some(_)) => Signature::Own,
        (Some(_), None) => Signature::Removed,
    }
}

/// The changes from one head to the next.
pub fn changes<'x>(before: &'x Headers, after: &'x Headers) -> Vec<Change<'x>> {
    let mut matched = 0_u128;
    let mut left: Vec<(HeaderName, &[u8], &[u8])> = Vec::new();
    for (header, name, value) in before.known() {
        let found = if header == HeaderName::Other || after.has(header) {
            let is_same = |(at, (other, other_name, other_value)): &(u32, (HeaderName, &[u8], &[u8]))| {
                *other == header
                    && *other_value == value
                    && matched & (1 << at) == 0
                    && (header != HeaderName::Other || other_name.eq_ignore_ascii_case(name))
            };
            (0..FIELDS_MAX).zip(after.known()).find(is_same)
        } else {
            None
        };
        match found {
            Some((at, _)) => matched |= 1 << at,
            None => left.push((header, name, value)),
        }
    }
    let rest = (0..FIELDS_MAX).zip(after.known()).filter(|(at, _)| matched & (1 << at) == 0);
    let mut changes: Vec<Change<'x>> = Vec::new();
    for (_, (header, name, value)) in rest {
        let was_there = left.iter().find(|(other, other_name, _)| is_same_name((*other, other_name), (header, name)));
        let kind = if was_there.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        push(&mut changes, kind, (header, name), [was_there.map(|(.., before)| *before), Some(value)]);
    }
    for (header, name, value) in left {
        push(&mut changes, ChangeKind::Dropped, (header, name), [Some(value), None]);
    }
    changes
}

/// The changes from the request that came to the request that went on, with what the signature says of them. Where the proxy
/// signed anew, the old signature covers nothing any more.
pub fn request_changes<'x>(asked: &'x Request, passed: &'x Request) -> Vec<Change<'x>> {
    if is_unseen(asked) || is_unseen(passed) {
        return Vec::new();
    }
    let mut changes = changes(&asked.headers, &passed.headers);
    if !changes.is_empty() && signature_between(asked, passed) == Signature::Kept {
        let covered = Covered::of(asked);
        for change in &mut changes {
            change.signed = covered.holds(change);
        }
    }
    changes
}

/// What the signature of a request covers of its headers.
enum Covered<'x> {
    /// SigV4 lists the names.
    Listed(&'x [u8]),
    /// SigV2 covers a fixed set: `Content-MD5`, `Content-Type`, `Date` and all `x-amz-…` (Amazon S3, "Signing and authenticating
    /// REST requests"). The date is not covered where `x-amz-date` or an expiry replaces it, and the host only where it
    /// names the bucket.
    Implied { date: bool },
}

impl<'x> Covered<'x> {
    fn of(request: &'x Request) -> Self {
        let by_header = request.headers.get(HeaderName::Authorization);
        let is_version2 = match by_header {
            Some(value) => value.starts_with(b"AWS "),
            None => signed_names_of(request).is_empty(),
        };
        match is_version2 {
            true => Self::Implied { date: by_header.is_some() && !request.headers.has(HeaderName::XAmzDate) },
            false => Self::Listed(signed_names_of(request)),
        }
    }

    fn holds(&self, change: &Change<'_>) -> bool {
        match self {
            Self::Listed(names) => lists(names, change.name),
            Self::Implied { date } => match change.header {
                HeaderName::ContentMd5 | HeaderName::ContentType => true,
                HeaderName::Date => *date,
                _ => is_amazon_name(change.name),
            },
        }
    }
}

impl Change<'_> {
    /// Whether the header's name begins with `x-amz-`: a signature has to cover every such header that reaches the store.
    pub fn is_amazon(&self) -> bool {
        is_amazon_name(self.name)
    }
}

fn is_amazon_name(name: &[u8]) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-"))
}

/// Fields beyond this many are not compared.
const FIELDS_MAX: u32 = 128;

/// Adds a change, unless the name has one already.
fn push<'x>(
    changes: &mut Vec<Change<'x>>,
    kind: ChangeKind,
    (header, name): (HeaderName, &'x [u8]),
    values: [Option<&'x [u8]>; 2],
) {
    if !changes.iter().any(|change| is_same_name((change.header, change.name), (header, name))) {
        changes.push(Change { kind, header, name, signed: false, values });
    }
}

fn is_same_name((one, one_name): (HeaderName, &[u8]), (other, other_name): (HeaderName, &[u8])) -> bool {
    one == other && (one != HeaderName::Other || one_name.eq_ignore_ascii_case(other_name))
}

/// Whether a list of names, joined with `;` (`%3B` in a URL), holds this one.
fn lists(signed: &[u8], name: &[u8]) -> bool {
    let mut start = 0;
    // A name stands in the list as a whole, so each place where its letters begin is looked at.
    while let Some(rest) = signed.get(start..) {
        let end = rest.iter().position(|byte| matches!(byte, b';' | b'%')).unwrap_or(rest.len());
        if rest.get(..end).is_some_and(|one| one.eq_ignore_ascii_case(name)) {
            return true;
        }
        if end >= rest.len() {
            return false;
        }
        start += end + if rest.get(end) == Some(&b'%') { 3 } else { 1 };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    fn headers(fields: &str) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields.split(" | ").filter(|field| !field.is_empty()).map(|field| field.split_once(": ").unwrap()) {
            headers.append(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn check(before: &str, after: &str, expected: &str) {
        let (before, after) = (headers(before), headers(after));
        let shown: Vec<String> = changes(&before, &after)
            .iter()
            .map(|change| format!("{:?} {}", change.kind, String::from_utf8_lossy(change.name)))
            .collect();
        assert_eq!(shown.join(", "), expected);
    }

    #[test]
    fn order_and_case_do_not_count_and_each_name_counts_once() {
        check("x-amz-date: D | host: h | X-Own: 1", "Host: h | x-own: 1 | X-Amz-Date: D", "");
        check(
            "Host: h | Connection: close",
            "Host: h | X-Real-Ip: 1 | X-Other: 2",
            "Added X-Real-Ip, Added X-Other, Dropped Connection",
        );
        check("Host: front", "host: back", "Changed host");
        check("Server: MinIO", "Server: SideKick | Server: MinIO", "Added Server");
        check("Vary: a | Vary: b", "Vary: b", "Dropped Vary");
        check("X-Own: a | X-Own: b", "x-own: c | x-own: d", "Changed x-own");
    }

    #[test]
    fn version_2_covers_a_fixed_set_of_headers() {
        let request = |fields: &str, authorization: &str| {
            let mut request = Request::from_parts(b"PUT", b"/b/k", Version::Http11);
            request.headers = headers(fields);
            request.headers.append(b"Authorization", authorization.as_bytes());
            request
        };
        let signed = |before: &str, after: &str| {
            let (asked, passed) = (request(before, "AWS lab:c2ln"), request(after, "AWS lab:c2ln"));
            request_changes(&asked, &passed).iter().map(|change| change.signed).collect::<Vec<_>>()
        };
        assert_eq!(
            signed("Content-Type: a | Date: D | Host: front", "Content-Type: b | Date: E | Host: back"),
            [true, true, false]
        );
        assert_eq!(signed("Date: D | x-amz-date: X", "Date: E | x-amz-date: X"), [false]);
        assert_eq!(signed("Date: D", "Date: D | X-Amz-Acl: private | Via: p"), [true, false]);
        assert_eq!(signature_between(&request("", "AWS lab:c2ln"), &request("", "AWS proxy:b3du")), Signature::Own);
    }

    #[test]
    fn what_the_signature_covers_is_told() {
        let request = |fields: &str, signed: &str| {
            let mut request = Request::from_parts(b"GET", b"/b/k", Version::Http11);
            request.headers = headers(fields);
            let value = format!("AWS4-HMAC-SHA256 Credential=A/20261123/r/s3/aws4_request, SignedHeaders={signed}, Signature=ff");
            request.headers.append(b"Authorization", value.as_bytes());
            request
        };
        let asked = request("Host: front | x-amz-date: D | X-Amz-Meta-a: 1", "host;x-amz-date");
        let passed = request("Host: back | x-amz-date: D | X-Amz-Meta-a: 2", "host;x-amz-date");
        let changes = request_changes(&asked, &passed);
        assert_eq!(changes.iter().map(|change| change.signed).collect::<Vec<_>>(), [true, false]);
        assert_eq!(changes[0].values, [Some(&b"front"[..]), Some(&b"back"[..])]);
        assert!(lists(b"content-type%3Bhost%3Bx-amz-date", b"Host") && !lists(b"content-type;host", b"type"));
    }
}
