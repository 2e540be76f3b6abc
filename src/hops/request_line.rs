//! What a proxy did to the first line of a request: method, path and query before and after in, differences out.

use crate::hops::fingerprint::{is_unseen, query_of};
use crate::model::Request;
use crate::s3::{Address, Query, decode_percent};

/// A part of the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinePart {
    /// The method.
    Method,
    /// The path, decoded.
    Path,
    /// The path, only in how it is percent-encoded. Stores that compute the signature over the path as sent refuse it.
    Encoding,
    /// The parameters of the query: their names or values, not their order.
    Query,
}

/// A part of the request line that is not the same on both sides of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineChange<'x> {
    /// Which part.
    pub part: LinePart,
    /// The part before the proxy, as sent; a query may hold secrets.
    pub from: &'x [u8],
    /// The part behind it.
    pub to: &'x [u8],
}

/// The differences from the request that came to the request that was sent on.
pub fn request_line_changes<'x>(asked: &'x Request, passed: &'x Request) -> Vec<LineChange<'x>> {
    if is_unseen(asked) || is_unseen(passed) || (asked.target() == passed.target() && asked.method() == passed.method()) {
        return Vec::new();
    }
    let mut changes = Vec::new();
    let mut add = |part, from, to| changes.push(LineChange { part, from, to });
    if asked.method() != passed.method() {
        add(LinePart::Method, asked.method(), passed.method());
    }
    let (from, to) = (path_of(asked), path_of(passed));
    if from != to {
        let is_same = decode_percent(from) == decode_percent(to);
        add(if is_same { LinePart::Encoding } else { LinePart::Path }, from, to);
    }
    let (from, to) = (query_of(asked), query_of(passed));
    if from != to && parameters(from) != parameters(to) {
        add(LinePart::Query, from, to);
    }
    changes
}

/// An empty path is `/` (RFC 9110 section 4.2.3).
fn path_of(request: &Request) -> &[u8] {
    match Address::path_of(request.target()) {
        b"" => b"/",
        path => path,
    }
}

/// The parameters in an order of their own. A name without `=` has an empty value, as in the canonical query of SigV4.
fn parameters(query: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<_> = Query::new(query).iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    fn parts(asked: &str, passed: &str) -> Vec<LinePart> {
        let request = |line: &str| {
            let (method, target) = line.split_once(' ').unwrap();
            Request::from_parts(method.as_bytes(), target.as_bytes(), Version::Http11)
        };
        request_line_changes(&request(asked), &request(passed)).iter().map(|change| change.part).collect()
    }

    #[test]
    fn only_what_a_store_reads_otherwise_is_a_change() {
        for (asked, passed, wanted) in [
            ("GET /b/k", "GET /b/k", &[][..]),
            ("GET http://h:80/b/k?a=1", "GET /b/k?a=1", &[]),
            ("GET /b?a=1&b=2", "GET /b?b=2&a=1", &[]),
            ("POST /b?delete", "POST /b?delete=", &[]),
            ("GET /b?prefix=a%2Fb", "GET /b?prefix=a/b", &[]),
            ("GET /b//k", "GET /b/k", &[LinePart::Path]),
            ("GET /b/a%20k", "GET /b/a+k", &[LinePart::Path]),
            ("GET /b/%7Ek", "GET /b/~k", &[LinePart::Encoding]),
            ("GET /b/k?versionId=1", "GET /b/k", &[LinePart::Query]),
            ("HEAD /b/k", "GET /b/k", &[LinePart::Method]),
            ("HEAD /x/b", "GET /b?a", &[LinePart::Method, LinePart::Path, LinePart::Query]),
        ] {
            assert_eq!(parts(asked, passed), wanted, "{asked} {passed}");
        }
    }
}
