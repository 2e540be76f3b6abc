//! Which bucket and key a request addresses: Host and target in, bucket and key out.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::s3::operation::{Level, Operation};
use crate::s3::query::{Query, decode_percent};

/// How a request names its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// No bucket: `/`.
    Root,
    /// In the path: `/bucket/key`.
    Path,
    /// In the host name: `bucket.s3.example.com/key`.
    VirtualHost,
    /// A path of the store or proxy itself: `/minio/health/live`.
    Service,
}

/// Bucket and key of a request, percent-decoded. `//`, `.` and `..` in keys stay as they are, as S3 wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address<'x> {
    /// How the bucket is named.
    pub style: Style,
    /// The bucket.
    pub bucket: Option<Cow<'x, [u8]>>,
    /// The key; `None` at bucket level.
    pub key: Option<Cow<'x, [u8]>>,
}

impl<'x> Address<'x> {
    /// Reads the target (in any form of RFC 9112 section 3.2) and the value of `Host`; gives the query too.
    pub fn read(method: &[u8], target: &'x [u8], host: Option<&'x [u8]>, domains: &Domains) -> (Self, Query<'x>) {
        let (authority, path, query) = split_target(target);
        let query = Query::new(query);
        let host = authority.or(host).unwrap_or_default();
        let from_host = match domains.read_host(host) {
            HostName::Bucket(bucket) => Some(bucket),
            _ if Operation::of_service_path(path).is_some() => {
                return (Self { style: Style::Service, bucket: None, key: None }, query);
            }
            HostName::Base => None,
            HostName::Unknown => infer_from_root_request(method, path, query, host),
        };
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let Some(bucket) = from_host else {
            return (Self::from_path(path), query);
        };
        let key = (!path.is_empty()).then(|| decode_percent(path));
        (Self { style: Style::VirtualHost, bucket: Some(lower_case(bucket)), key }, query)
    }

    /// The path of a target, without authority and query; empty for `*` and authority-form.
    pub fn path_of(target: &[u8]) -> &[u8] {
        split_target(target).1
    }

    /// What is addressed.
    pub const fn level(&self) -> Level {
        match (self.style, &self.bucket, &self.key) {
            (Style::Service, _, _) => Level::Service,
            (_, None, _) => Level::Root,
            (_, Some(_), None) => Level::Bucket,
            (_, Some(_), Some(_)) => Level::Object,
        }
    }

    fn from_path(path: &'x [u8]) -> Self {
        let (bucket, key) = match memchr::memchr(b'/', path).and_then(|at| path.split_at_checked(at)) {
            Some((bucket, rest)) => (bucket, rest.get(1..).unwrap_or_default()),
            None => (path, &[][..]),
        };
        if bucket.is_empty() {
            // `//` is what S3 Browser sends for the list of buckets; a key without a bucket does not exist.
            return Self { style: Style::Root, bucket: None, key: None };
        }
        let (bucket, key) = match memchr::memchr(b'%', path) {
            Some(_) => (decode_percent(bucket), decode_percent(key)),
            None => (Cow::Borrowed(bucket), Cow::Borrowed(key)),
        };
        Self { style: Style::Path, bucket: Some(bucket), key: Some(key).filter(|key| !key.is_empty()) }
    }
}

/// Under which names a store is known, so that the rest of a host name is a bucket.
///
/// A host name carries a bucket when
/// 1. it ends in a configured domain (as with `MINIO_DOMAIN`), or
/// 2. it is one of AWS's forms (`bucket.s3.region.amazonaws.com` and the like), or
/// 3. one of its labels after the first is `s3` or begins with `s3-`, and no label is `svc` (a Kubernetes service is no
///    bucket), or it ends in the domain of a known public service, or
/// 4. the request is for `/` and asks for what only a bucket has (`?list-type=2`, `?delete`, `PUT /`, …): then the bucket is
///    the first label.
///
/// In all other cases, and for every address and every name of one label, the bucket is read from the path.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    configured: Vec<String>,
}

impl Domains {
    /// With configured base domains, such as `s3.example.com`; a port, a leading or trailing dot and case do not matter.
    pub fn new(configured: Vec<String>) -> Self {
        let tidy = |domain: String| {
            let name = host_name(domain.trim().trim_start_matches("*.").trim_start_matches('.').as_bytes());
            String::from_utf8_lossy(name).to_ascii_lowercase()
        };
        let mut configured: Vec<String> = configured.into_iter().map(tidy).filter(|domain| !domain.is_empty()).collect();
        // The longest domain that fits decides, so that `a.b` does not hide `s3.a.b`.
        configured.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self { configured }
    }

    /// The bucket in a `Host` value, by the first three rules.
    pub fn bucket_of<'h>(&self, host: &'h [u8]) -> Option<&'h [u8]> {
        match self.read_host(host) {
            HostName::Bucket(bucket) => Some(bucket),
            HostName::Base | HostName::Unknown => None,
        }
    }

    fn read_host<'h>(&self, host: &'h [u8]) -> HostName<'h> {
        let name = host_name(host);
        for domain in &self.configured {
            if name.eq_ignore_ascii_case(domain.as_bytes()) {
                return HostName::Base;
            }
            if let Some(bucket) = before_suffix(name, domain.as_bytes()) {
                return HostName::Bucket(bucket);
            }
        }
        if memchr::memchr(b'.', name).is_none() || is_ip_address(name) {
            // Nothing stands before a name of one label, and nothing before an address.
            return HostName::Base;
        }
        match before_suffix(name, b"amazonaws.com").or_else(|| before_suffix(name, b"amazonaws.com.cn")) {
            Some(rest) => bucket_before_aws_service(rest).map_or(HostName::Base, HostName::Bucket),
            None => infer_from_name(name),
        }
    }
}

/// What a host name says about buckets.
#[derive(Clone, Copy)]
enum HostName<'h> {
    /// It names this one.
    Bucket(&'h [u8]),
    /// It is that of a store: buckets are in the path.
    Base,
    /// Nothing.
    Unknown,
}

/// The bucket before `s3.region`, `s3-region`, `s3.dualstack.region`, `vpce-….s3.region.vpce`, …
fn bucket_before_aws_service(rest: &[u8]) -> Option<&[u8]> {
    let before = before_service_label(rest)?;
    if memchr::memmem::find(rest, b"s3-control").is_some() || memchr::memmem::find(rest, b"s3express-control").is_some() {
        return None;
    }
    let (names, last) = split_last_label(before);
    if !last.starts_with(b"vpce-") {
        return Some(before);
    }
    let (names, kind) = split_last_label(names);
    (kind == b"bucket" || kind == b"accesspoint").then_some(names).filter(|names| !names.is_empty())
}

fn infer_from_name(name: &[u8]) -> HostName<'_> {
    for service in PUBLIC_SERVICES {
        if name.eq_ignore_ascii_case(service.domain.as_bytes()) {
            return HostName::Base;
        }
        if let Some(mut rest) = before_suffix(name, service.domain.as_bytes()) {
            if service.has_region {
                rest = split_last_label(rest).0;
            }
            return if rest.is_empty() { HostName::Base } else { HostName::Bucket(rest) };
        }
    }
    if name.split(|byte| *byte == b'.').any(|label| label.eq_ignore_ascii_case(b"svc")) {
        return HostName::Base;
    }
    match before_service_label(name) {
        // MinIO reserves this name, so it is no bucket but the store.
        Some(bucket) if bucket.eq_ignore_ascii_case(b"minio") => HostName::Base,
        Some(bucket) if is_bucket_name(bucket) => HostName::Bucket(bucket),
        Some(_) => HostName::Unknown,
        None if is_service_label(name.split(|byte| *byte == b'.').next().unwrap_or_default()) => HostName::Base,
        None => HostName::Unknown,
    }
}

/// Rule 4 of [`Domains`].
fn infer_from_root_request<'h>(method: &[u8], path: &[u8], query: Query<'_>, host: &'h [u8]) -> Option<&'h [u8]> {
    if path != b"/" && !path.is_empty() {
        return None;
    }
    if method == b"GET" && query.is_empty() {
        return None;
    }
    let asks_for_bucket = match method {
        b"PUT" | b"DELETE" => true,
        b"GET" | b"POST" => BUCKET_ONLY_KEYS.iter().any(|key| query.has(key)),
        _ => false,
    };
    let name = host_name(host);
    if !asks_for_bucket || is_ip_address(name) {
        return None;
    }
    let at = memchr::memchr(b'.', name)?;
    name.get(..at).filter(|label| is_bucket_name(label))
}

/// What stands before the last label that is `s3` or begins with `s3-` or `s3express-`.
fn before_service_label(name: &[u8]) -> Option<&[u8]> {
    let mut end = name.len();
    loop {
        let (before, label) = split_last_label(name.get(..end)?);
        if is_service_label(label) {
            return Some(before).filter(|before| !before.is_empty());
        }
        if before.is_empty() {
            return None;
        }
        end = before.len();
    }
}

fn is_service_label(label: &[u8]) -> bool {
    label.eq_ignore_ascii_case(b"s3") || starts_ignoring_case(label, b"s3-") || starts_ignoring_case(label, b"s3express-")
}

/// `a.b.c` → (`a.b`, `c`); `c` → (``, `c`).
fn split_last_label(name: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'.', name) {
        Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default()),
        None => (&[], name),
    }
}

/// `bucket.domain` → `bucket`, ignoring case.
fn before_suffix<'h>(name: &'h [u8], domain: &[u8]) -> Option<&'h [u8]> {
    let at = name.len().checked_sub(domain.len())?;
    let (before, suffix) = name.split_at_checked(at)?;
    if !suffix.eq_ignore_ascii_case(domain) {
        return None;
    }
    before.strip_suffix(b".").filter(|bucket| !bucket.is_empty())
}

/// Splits a target into authority (absolute-form), path and query. `*` and authority-form give no path.
fn split_target(target: &[u8]) -> (Option<&[u8]>, &[u8], &[u8]) {
    let (authority, rest) = match target {
        [b'/', ..] | [] => (None, target),
        _ => match absolute_form(target) {
            Some((authority, rest)) => (Some(authority), rest),
            None => return (None, &[], &[]),
        },
    };
    match memchr::memchr(b'?', rest).and_then(|at| rest.split_at_checked(at)) {
        Some((path, query)) => (authority, path, query.get(1..).unwrap_or_default()),
        None => (authority, rest, &[]),
    }
}

/// `http://user@host:port/path?query` → (`host:port`, `/path?query`).
fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = [&b"http://"[..], b"https://"]
        .iter()
        .find_map(|scheme| starts_ignoring_case(target, scheme).then(|| target.get(scheme.len()..).unwrap_or_default()))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    let host = memchr::memrchr(b'@', authority).and_then(|at| authority.get(at + 1..)).unwrap_or(authority);
    Some((host, rest))
}

/// A `Host` value without port and trailing dot.
fn host_name(host: &[u8]) -> &[u8] {
    if host.starts_with(b"[") {
        return host;
    }
    let end = memchr::memchr(b':', host).unwrap_or(host.len());
    let name = host.get(..end).unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name)
}

fn is_ip_address(name: &[u8]) -> bool {
    name.starts_with(b"[")
        || (name.first().is_some_and(u8::is_ascii_digit)
            && std::str::from_utf8(name).is_ok_and(|text| text.parse::<IpAddr>().is_ok()))
}

/// Whether a name keeps the rules for buckets: 3 to 63 letters, digits, dots and hyphens (AWS's naming rules, case aside).
fn is_bucket_name(name: &[u8]) -> bool {
    (3..=63).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.last().is_some_and(u8::is_ascii_alphanumeric)
}

fn lower_case(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().any(u8::is_ascii_uppercase) { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
}

fn starts_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A public S3 service with a domain of its own.
struct PublicService {
    domain: &'static str,
    /// Whether a region stands between bucket and domain.
    has_region: bool,
}

const PUBLIC_SERVICES: &[PublicService] = &[
    PublicService { domain: "storage.googleapis.com", has_region: false },
    PublicService { domain: "digitaloceanspaces.com", has_region: true },
    PublicService { domain: "linodeobjects.com", has_region: true },
];

/// Query keys that mean something on a bucket and nothing on the root.
const BUCKET_ONLY_KEYS: &[&str] = &[
    "list-type",
    "delete",
    "location",
    "uploads",
    "versions",
    "versioning",
    "policy",
    "acl",
    "cors",
    "tagging",
    "lifecycle",
    "encryption",
    "object-lock",
    "notification",
    "replication",
    "website",
    "logging",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(domains: &Domains, method: &str, target: &str, host: &str) -> String {
        let (address, query) = Address::read(method.as_bytes(), target.as_bytes(), Some(host.as_bytes()), domains);
        let show = |part: Option<Cow<'_, [u8]>>| part.map_or("-".to_owned(), |part| String::from_utf8_lossy(&part).into_owned());
        format!("{:?} {} {} ?{}", address.style, show(address.bucket), show(address.key), String::from_utf8_lossy(query.raw()))
    }

    #[test]
    fn paths_are_read_as_bucket_and_key() {
        let domains = Domains::default();
        for (target, shown) in [
            ("/", "Root - - ?"),
            ("//", "Root - - ?"),
            ("", "Root - - ?"),
            ("*", "Root - - ?"),
            ("/b1", "Path b1 - ?"),
            ("/b1/", "Path b1 - ?"),
            ("/b1/?list-type=2&prefix=a%2F", "Path b1 - ?list-type=2&prefix=a%2F"),
            ("/b1/k", "Path b1 k ?"),
            ("/b1/dir/", "Path b1 dir/ ?"),
            ("/b1//k", "Path b1 /k ?"),
            ("/b1/a//b/../c/./d", "Path b1 a//b/../c/./d ?"),
            ("/b1/a%2Fb%20c+d", "Path b1 a/b c+d ?"),
            ("/b1/a b", "Path b1 a b ?"),
            ("/b1/año", "Path b1 año ?"),
            ("/b1/a%C3%B1o", "Path b1 año ?"),
            ("/b1/a#b?acl", "Path b1 a#b ?acl"),
            ("/b1/k?", "Path b1 k ?"),
            ("http://10.0.0.1:9000/b1/k?acl", "Path b1 k ?acl"),
            ("HTTPS://store/b1/k", "Path b1 k ?"),
            ("http://b1.s3.amazonaws.com/k", "VirtualHost b1 k ?"),
            ("http://store", "Root - - ?"),
            ("http://store?acl", "Root - - ?acl"),
            ("store:443", "Root - - ?"),
            ("/minio/health/live", "Service - - ?"),
            ("/minio/admin/v3/info?x", "Service - - ?x"),
            ("/minio/metrics/v3/api", "Service - - ?"),
            ("/minio/k", "Path minio k ?"),
        ] {
            assert_eq!(read(&domains, "GET", target, "store:9000"), shown, "{target}");
        }
    }

    #[test]
    fn hosts_are_read_as_buckets_where_that_is_known() {
        let domains = Domains::new(vec!["Store.Example.com:9000".to_owned(), "*.example.com".to_owned(), String::new()]);
        for (host, bucket) in [
            ("b1.store.example.com", Some("b1")),
            ("B1.STORE.example.com:9000", Some("b1")),
            ("my.dotted.bucket.store.example.com.", Some("my.dotted.bucket")),
            ("store.example.com", None),
            ("example.com:80", None),
            ("b1.s3.amazonaws.com", Some("b1")),
            ("my.s3.bucket.s3.amazonaws.com", Some("my.s3.bucket")),
            ("b1.s3.us-west-2.amazonaws.com", Some("b1")),
            ("b1.s3-us-west-2.amazonaws.com", Some("b1")),
            ("b1.s3.dualstack.us-west-2.amazonaws.com", Some("b1")),
            ("b1.s3-accelerate.amazonaws.com", Some("b1")),
            ("b1.s3-fips.us-gov-west-1.amazonaws.com", Some("b1")),
            ("b1.s3.cn-north-1.amazonaws.com.cn", Some("b1")),
            ("b1--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", Some("b1--use1-az4--x-s3")),
            ("ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com", Some("ap-123456789012")),
            ("b1.bucket.vpce-1a2b-5c.s3.us-east-1.vpce.amazonaws.com", Some("b1")),
            ("bucket.vpce-1a2b-5c.s3.us-east-1.vpce.amazonaws.com", None),
            ("123456789012.s3-control.us-west-2.amazonaws.com", None),
            ("s3.amazonaws.com", None),
            ("s3.us-west-2.amazonaws.com", None),
            ("ec2.us-west-2.amazonaws.com", None),
            ("bucket-1.s3.internal", Some("bucket-1")),
            ("bucket-1.storage.googleapis.com", Some("bucket-1")),
            ("storage.googleapis.com", None),
            ("bucket-1.nyc3.digitaloceanspaces.com", Some("bucket-1")),
            ("nyc3.digitaloceanspaces.com", None),
            ("minio.s3.internal", None),
            ("s3.internal", None),
            ("minio.s3.svc.cluster.local", None),
            ("minio.internal.net", None),
            ("aistor", None),
            ("10.1.2.3:9000", None),
            ("[2001:db8::1]:9000", None),
            ("", None),
        ] {
            let (address, _) = Address::read(b"GET", b"/k%2F1", Some(host.as_bytes()), &domains);
            match bucket {
                Some(bucket) => {
                    assert_eq!(
                        (address.style, address.bucket.as_deref()),
                        (Style::VirtualHost, Some(bucket.as_bytes())),
                        "{host}"
                    );
                    assert_eq!(address.key.as_deref(), Some(&b"k/1"[..]));
                }
                None => assert_eq!((address.style, address.bucket.as_deref()), (Style::Path, Some(&b"k/1"[..])), "{host}"),
            }
        }
    }

    #[test]
    fn a_request_that_only_a_bucket_can_answer_names_it_in_its_host() {
        let domains = Domains::default();
        for (method, target, host, shown) in [
            ("GET", "/?list-type=2", "photos.objects.net", "VirtualHost photos - ?list-type=2"),
            ("POST", "/?delete", "photos.objects.net:80", "VirtualHost photos - ?delete"),
            ("PUT", "/", "photos.objects.net", "VirtualHost photos - ?"),
            ("GET", "/", "objects.net", "Root - - ?"),
            ("HEAD", "/", "objects.net", "Root - - ?"),
            ("POST", "/", "objects.net", "Root - - ?"),
            ("GET", "/?max-buckets=5", "objects.net", "Root - - ?max-buckets=5"),
            ("PUT", "/", "s3.us-west-2.amazonaws.com", "Root - - ?"),
            ("PUT", "/", "10.1.2.3", "Root - - ?"),
            ("PUT", "/", "store", "Root - - ?"),
        ] {
            assert_eq!(read(&domains, method, target, host), shown, "{method} {target} {host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_target_and_host_are_survived(target in proptest::collection::vec(proptest::num::u8::ANY, 0..80), host in "[a-z0-9.:\\[\\]@-]{0,40}") {
            let domains = Domains::new(vec!["a.b".to_owned(), host.clone()]);
            let _ = Address::read(b"GET", &target, Some(host.as_bytes()), &domains);
            let absolute = [b"http://", &target[..]].concat();
            let _ = Address::read(b"PUT", &absolute, None, &Domains::default());
        }
    }
}
