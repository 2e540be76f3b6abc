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
}

/// The changes from one head to the next.
pub fn changes<'x>(before: &'x Headers, after: &'x Headers) -> Vec<Change<'x>> {
    let mut matched = 0_u128;
    let mut left: Vec<(HeaderName, &[u8])> = Vec::new();
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
            None => left.push((header, name)),
        }
    }
    let rest = (0..FIELDS_MAX).zip(after.known()).filter(|(at, _)| matched & (1 << at) == 0);
    let mut changes: Vec<Change<'x>> = Vec::new();
    for (_, (header, name, _)) in rest {
        let was_there = left.iter().any(|(other, other_name)| is_same_name((*other, other_name), (header, name)));
        push(&mut changes, if was_there { ChangeKind::Changed } else { ChangeKind::Added }, header, name);
    }
    for (header, name) in left {
        push(&mut changes, ChangeKind::Dropped, header, name);
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
    if signature_of(asked).is_some() && signature_of(asked) == signature_of(passed) {
        let signed = signed_names_of(asked);
        for change in &mut changes {
            change.signed = lists(signed, change.name);
        }
    }
    changes
}

/// Fields beyond this many are not compared.
const FIELDS_MAX: u32 = 128;

/// Adds a change, unless the name has one already.
fn push<'x>(changes: &mut Vec<Change<'x>>, kind: ChangeKind, header: HeaderName, name: &'x [u8]) {
    if !changes.iter().any(|change| is_same_name((change.header, change.name), (header, name))) {
        changes.push(Change { kind, header, name, signed: false });
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
        assert!(lists(b"content-type%3Bhost%3Bx-amz-date", b"Host") && !lists(b"content-type;host", b"type"));
    }
}
