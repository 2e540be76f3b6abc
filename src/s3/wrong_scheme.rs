//! Requests in plaintext to a port that expects TLS: the response that says so, told from any other 400.

use crate::model::{Anomaly, Exchange};

/// What servers write where a request without TLS comes to their TLS port, in lower case.
const SENTENCES: [&[u8]; 6] = [
    // Go's net/http: MinIO, Caddy, Traefik.
    b"client sent an http request to an https server",
    // nginx.
    b"the plain http request was sent to https port",
    // Apache httpd.
    b"speaking plain http to an ssl-enabled server port",
    // Tomcat.
    b"this combination of host and port requires tls",
    // MinIO's own listener.
    b"cannot respond to plain-text request from tls-encrypted server",
    b"insecureclientrequest",
];

/// How much of a body is looked at.
const BODY_BYTES_MAX: usize = 4096;

/// Whether a request in plaintext was refused because the port expects TLS: by a sentence in a 400, or by a record of TLS.
pub fn is_plaintext_to_tls(exchange: &Exchange) -> bool {
    if exchange.anomalies.contains(&Anomaly::TlsAnswer) {
        return true;
    }
    let Some(response) = exchange.response().filter(|response| response.status == 400) else { return false };
    let body = response.body.kept.get(..BODY_BYTES_MAX).unwrap_or(&response.body.kept).to_ascii_lowercase();
    SENTENCES.iter().any(|sentence| memchr::memmem::find(&body, sentence).is_some())
}
