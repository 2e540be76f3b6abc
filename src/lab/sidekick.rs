//! A stand-in for MinIO Sidekick 7: a reverse proxy that changes messages as the real one does (measured with v7.1.2).
//!
//! Requests: Host kept; the client's address added twice to `X-Forwarded-For`, and `X-Forwarded-Host`, `X-Real-Ip`; hop-by-hop fields
//! dropped; names canonicalised and sorted as Go writes them. Responses: a first `Server: SideKick`, and `X-Proxy: true`. Connections to the
//! store are pooled. Where the store does not answer: 502 with `BackendDown`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{ClientConfig, ServerConfig};

use crate::lab::link::Link;
use crate::lab::reply::Reply;
use crate::lab::server::{Running, Service};
use crate::model::{Headers, Request, Response};

/// The stand-in.
pub struct Sidekick {
    store: Mutex<Option<SocketAddr>>,
    tls: Arc<ClientConfig>,
    pool: Mutex<Vec<Link>>,
}

impl Sidekick {
    /// A proxy that reaches its store by TLS.
    pub fn new(tls: Arc<ClientConfig>) -> Arc<Self> {
        Arc::new(Self { store: Mutex::default(), tls, pool: Mutex::default() })
    }

    /// Says where the store is; connections to another one are given up.
    pub fn connect_to(&self, store: SocketAddr) {
        *lock(&self.store) = Some(store);
        lock(&self.pool).clear();
    }

    /// Opens a front on a free port of [`SIDEKICK_ADDRESS`], with TLS where a certificate is given.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn listen(self: &Arc<Self>, tls: Option<Arc<ServerConfig>>) -> io::Result<Running> {
        Running::start(SIDEKICK_ADDRESS, tls, Arc::<Self>::clone(self))
    }

    fn forward(&self, request: &[u8]) -> io::Result<(Response, Vec<u8>)> {
        let pooled = lock(&self.pool).pop();
        if let Some(mut link) = pooled
            && let Ok(answer) = link.exchange(request)
        {
            self.put_back(link);
            return Ok(answer);
        }
        let store = lock(&self.store).ok_or(io::ErrorKind::NotConnected)?;
        let name = store.ip().to_string();
        let mut link = Link::open(SIDEKICK_ADDRESS, store, Some((&self.tls, &name)))?;
        let answer = link.exchange(request)?;
        self.put_back(link);
        Ok(answer)
    }

    fn put_back(&self, link: Link) {
        lock(&self.pool).push(link);
    }
}

impl Service for Sidekick {
    fn respond(&self, request: &Request, body: &[u8], client: SocketAddr, _is_tls: bool) -> Reply {
        match self.forward(&forwarded(request, body, client)) {
            Ok((response, body)) => returned(&response, body),
            Err(_) => {
                let mut reply = Reply::new(502).header("Content-Type", "text/xml; charset=utf-8").header("Retry-After", "120");
                reply.body = DOWN.as_bytes().to_vec();
                reply.header("Server", "SideKick")
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request as it goes to the store.
fn forwarded(request: &Request, body: &[u8], client: SocketAddr) -> Vec<u8> {
    let find = |name: &str| request.headers.find(name).unwrap_or_default();
    let host = find("host");
    let mut bytes = [request.method(), b" ", request.target(), b" HTTP/1.1\r\nHost: ", host, b"\r\n"].concat();
    let agent = find("user-agent");
    if !agent.is_empty() {
        bytes.extend_from_slice(&[b"User-Agent: ", agent, b"\r\n"].concat());
    }
    if !body.is_empty() || matches!(request.method(), b"PUT" | b"POST") {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    let mut fields = end_to_end(&request.headers);
    let address = client.ip().to_string();
    let before = request.headers.find("x-forwarded-for").map(|value| format!("{}, ", String::from_utf8_lossy(value)));
    fields.retain(|(name, _)| !name.starts_with("X-Forwarded-") && name != "X-Real-Ip");
    fields.push(("X-Forwarded-For".to_owned(), format!("{}{address}, {address}", before.unwrap_or_default()).into_bytes()));
    fields.push(("X-Forwarded-Host".to_owned(), host.to_vec()));
    fields.push(("X-Real-Ip".to_owned(), address.into_bytes()));
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in fields {
        bytes.extend_from_slice(&[name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// The response as it goes to the client.
fn returned(response: &Response, body: Vec<u8>) -> Reply {
    let mut reply = Reply::new(response.status).header("Server", "SideKick");
    let mut fields = end_to_end(&response.headers);
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in fields {
        reply = reply.header(&name, String::from_utf8_lossy(&value));
    }
    let named = response.headers.find("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    reply.named_length = named;
    reply.body = body;
    reply.header("X-Proxy", "true")
}

/// The fields that a proxy hands on (RFC 9110 section 7.6.1), names as Go writes them; without what is written apart.
fn end_to_end(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    const APART: [&str; 12] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    let is_apart = |name: &[u8]| APART.iter().any(|apart| apart.as_bytes().eq_ignore_ascii_case(name));
    headers.iter().filter(|(name, _)| !is_apart(name)).map(|(name, value)| (canonical(name), value.to_vec())).collect()
}

/// `amz-sdk-request` as `Amz-Sdk-Request` (Go: net/textproto.CanonicalMIMEHeaderKey).
fn canonical(name: &[u8]) -> String {
    let mut starts = true;
    let letters = name.iter().map(|byte| {
        let letter = if starts { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        starts = *byte == b'-';
        char::from(letter)
    });
    letters.collect()
}

/// Where the stand-in listens and connects from.
pub const SIDEKICK_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const DOWN: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>BackendDown</Code><Message>remote server down</Message></Error>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_go_writes_them() {
        for (name, written) in
            [("amz-sdk-invocation-id", "Amz-Sdk-Invocation-Id"), ("ETag", "Etag"), ("x-amz-date", "X-Amz-Date")]
        {
            assert_eq!(canonical(name.as_bytes()), written);
        }
    }
}
