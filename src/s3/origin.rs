//! Who wrote a response: the store, or a proxy before it. Headers and the start of the body in, a name out.

use crate::model::{HeaderName, Headers, Response};
use crate::s3::error::S3Error;

/// The program that wrote a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It has what only a store writes: a request id, or an S3 error document.
    Store,
    /// It has nothing of a store, and names a proxy (`nginx`, `HAProxy`, …); `a proxy` where it is an error page without a name.
    Proxy(&'static str),
    /// It does not say.
    Unknown,
}

impl Origin {
    /// `store`, `unknown`, or the name of the proxy.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Proxy(name) => name,
            Self::Unknown => "unknown",
        }
    }

    /// Reads a response. A proxy that passes a store's response on keeps the store's request id, also where it writes its own
    /// `Server`; MinIO Sidekick's own error is an S3 error document with the code `BackendDown`.
    pub fn of_response(response: &Response) -> Self {
        let headers = &response.headers;
        if headers.find("x-squid-error").is_some() {
            return Self::Proxy("Squid");
        }
        let error = S3Error::of_response(response);
        let is_backend_down = error.as_ref().is_some_and(|error| error.code == "BackendDown") && !headers.has(HeaderName::XProxy);
        if is_backend_down {
            return Self::Proxy("MinIO Sidekick");
        }
        if error.is_some() || headers.has(HeaderName::XAmzRequestId) || headers.has(HeaderName::XAmzId2) {
            return Self::Store;
        }
        if let Some(name) = proxy_name(headers) {
            return Self::Proxy(name);
        }
        let body = response.body.kept.trim_ascii_start();
        let is_page = [&b"<html"[..], b"<!doctype html"].iter().any(|start| starts_with_ignoring_case(body, start));
        if is_page && response.status >= 400 { Self::Proxy("a proxy") } else { Self::Unknown }
    }
}

/// The proxy that `Server` or a header of its own names.
fn proxy_name(headers: &Headers) -> Option<&'static str> {
    const SERVERS: [(&str, &str); 13] = [
        ("sidekick", "MinIO Sidekick"),
        ("nginx", "nginx"),
        ("openresty", "OpenResty"),
        ("haproxy", "HAProxy"),
        ("envoy", "Envoy"),
        ("istio-envoy", "Envoy"),
        ("squid", "Squid"),
        ("cloudflare", "Cloudflare"),
        ("caddy", "Caddy"),
        ("varnish", "Varnish"),
        ("apache", "Apache"),
        ("traefik", "Traefik"),
        ("awselb", "AWS load balancer"),
    ];
    let of_server = headers.text_of(HeaderName::Server).and_then(|server| {
        let server = server.trim().to_ascii_lowercase();
        SERVERS.iter().find(|(start, _)| server.starts_with(start)).map(|(_, name)| *name)
    });
    let own = [("cf-ray", "Cloudflare"), ("x-varnish", "Varnish"), ("x-envoy-upstream-service-time", "Envoy")];
    of_server.or_else(|| own.iter().find(|(header, _)| headers.find(header).is_some()).map(|(_, name)| *name))
}

fn starts_with_ignoring_case(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|have| have.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    fn origin(status: u16, headers: &[(&str, &str)], body: &str) -> Origin {
        let mut response = Response::from_parts(status, b"", Version::Http11);
        for (name, value) in headers {
            response.headers.append(name.as_bytes(), value.as_bytes());
        }
        response.body.kept = body.as_bytes().to_vec();
        Origin::of_response(&response)
    }

    #[test]
    fn a_store_is_known_by_what_only_stores_write() {
        let xml = "<Error><Code>AccessDenied</Code></Error>";
        for (status, headers, body, wanted) in [
            (403, &[("Server", "MinIO")][..], xml, Origin::Store),
            (403, &[("Server", "nginx"), ("x-amz-request-id", "18EA")], "", Origin::Store),
            (404, &[("x-amz-id-2", "x")], "", Origin::Store),
            (413, &[("Server", "nginx/1.22.1")], "<html><title>413</title></html>", Origin::Proxy("nginx")),
            (503, &[], "<html><body><h1>503 Service Unavailable</h1>", Origin::Proxy("a proxy")),
            (403, &[("Server", "squid/5.7"), ("X-Squid-Error", "ERR_ACCESS_DENIED 0")], "<html>", Origin::Proxy("Squid")),
            (502, &[("Server", "SideKick")], "<Error><Code>BackendDown</Code></Error>", Origin::Proxy("MinIO Sidekick")),
            (502, &[("Server", "SideKick"), ("X-Proxy", "true"), ("Server", "MinIO")], xml, Origin::Store),
            (400, &[("Content-Type", "text/plain")], "400 Bad Request", Origin::Unknown),
            (200, &[], "<html>an object</html>", Origin::Unknown),
            (503, &[("CF-RAY", "8a")], "", Origin::Proxy("Cloudflare")),
        ] {
            assert_eq!(origin(status, headers, body), wanted, "{status} {headers:?} {body}");
        }
    }
}
