//! Words for the two ends of a hop, from what its messages tell: `sidekick`, `store`, `spark`, … Always lower-case ASCII.

use std::net::IpAddr;

use crate::model::{Exchange, HeaderName, Headers};
use crate::s3::{Client, Sdk};

/// What the messages of one server endpoint tell about its two ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    server: Option<String>,
    sni: Option<String>,
    /// The program of the first client that is no health check, by its address.
    agent: Option<(IpAddr, String)>,
    /// Who asks, except for health checks: the first few.
    clients: Vec<IpAddr>,
    /// The ports of authorities that requests were first sent to, by proxies' headers or the kept `Host`.
    forwarded_ports: Vec<u16>,
    proxy: Option<&'static str>,
    is_minio: bool,
    exchanges: u64,
}

impl Evidence {
    /// Beyond so many exchanges an endpoint is known.
    const EXCHANGES_MAX: u64 = 64;
    const PORTS_MAX: usize = 8;
    const CLIENTS_MAX: usize = 4;

    pub(super) fn observe_exchange(&mut self, exchange: &Exchange) {
        if self.is_full() {
            return;
        }
        self.exchanges += 1;
        if self.server.is_none() {
            self.server = exchange.response().and_then(|response| server_word(&response.headers));
        }
        let is_minio = |server: &[u8]| server.eq_ignore_ascii_case(b"MinIO") || server.eq_ignore_ascii_case(b"AIStor");
        self.is_minio |= exchange.response().is_some_and(|response| response.headers.all(HeaderName::Server).any(is_minio));
        let headers = &exchange.request.headers;
        self.observe_forwarding(headers, exchange.endpoints.server.port);
        let is_health =
            exchange.request.target().starts_with(b"/minio/health/") || exchange.request.target().starts_with(b"/v1/health");
        let client = exchange.endpoints.client.ip;
        if !is_health && self.clients.len() < Self::CLIENTS_MAX && !self.clients.contains(&client) {
            self.clients.push(client);
        }
        if self.agent.is_none() && !is_health {
            self.agent = agent_word(headers).map(|word| (exchange.endpoints.client.ip, word));
        }
    }

    /// Whether further exchanges are not looked at.
    pub(super) const fn is_full(&self) -> bool {
        self.exchanges >= Self::EXCHANGES_MAX
    }

    pub(super) fn observe_tls(&mut self, sni: Option<&str>) {
        if self.sni.is_none() {
            self.sni = sni.and_then(host_word);
        }
    }

    /// What the server is.
    pub(super) fn server_word(&self) -> Option<String> {
        self.server.clone().or_else(|| self.sni.clone())
    }

    /// Whether an address asks here, other than for health checks.
    pub(super) fn is_asked_by(&self, ip: IpAddr) -> bool {
        self.clients.contains(&ip)
    }

    /// What the server names itself in its responses, and nothing that was only looked up.
    pub(super) fn software(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Whether responses come from MinIO, also through a proxy.
    pub(super) const fn is_minio(&self) -> bool {
        self.is_minio
    }

    /// What the client at `ip` is, as far as its own requests tell.
    pub(super) fn client_word(&self, ip: IpAddr) -> Option<String> {
        if let Some(word) = self.proxy {
            return Some(word.to_owned());
        }
        self.agent.as_ref().filter(|(have, _)| *have == ip).or(self.agent.as_ref()).map(|(_, word)| word.clone())
    }

    /// Whether requests seen here were first sent to that port.
    pub(super) fn forwards_for(&self, port: u16) -> bool {
        self.forwarded_ports.contains(&port)
    }

    fn observe_forwarding(&mut self, headers: &Headers, own_port: u16) {
        let forwarded_host = headers.text_of(HeaderName::XForwardedHost);
        let forwarded_for = headers.text_of(HeaderName::XForwardedFor);
        if forwarded_host.is_none() && forwarded_for.is_none() && !headers.has(HeaderName::XRealIp) {
            return;
        }
        if self.proxy.is_none() {
            let is_sidekick = forwarded_host.is_some()
                && headers.has(HeaderName::XRealIp)
                && forwarded_for.is_some_and(|list| list.contains(','));
            self.proxy = Some(if is_sidekick { "sidekick" } else { "proxy" });
        }
        for authority in [forwarded_host, headers.text_of(HeaderName::Host)].into_iter().flatten() {
            let port = authority.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
            if let Some(port) = port
                && port != own_port
                && self.forwarded_ports.len() < Self::PORTS_MAX
                && !self.forwarded_ports.contains(&port)
            {
                self.forwarded_ports.push(port);
            }
        }
    }
}

/// A host name as a word: the first label in lower case, where it is a plain name and no address.
pub(super) fn host_word(name: &str) -> Option<String> {
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    word(name.split('.').next().unwrap_or(name))
}

/// Letters, digits and `-`, at most 32 of them; anything else ends the word.
fn word(text: &str) -> Option<String> {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let word: String = text.trim().chars().take_while(plain).take(32).collect::<String>().to_ascii_lowercase().replace('_', "-");
    let word = word.trim_matches('-');
    if word.is_empty() { None } else { Some(word.to_owned()) }
}

/// The first `Server` line is the nearest program's.
fn server_word(headers: &Headers) -> Option<String> {
    let text = std::str::from_utf8(headers.get(HeaderName::Server)?).ok()?;
    let is_proxied = headers.has(HeaderName::XProxy);
    let first = word(text)?;
    Some(match first.as_str() {
        "minio" | "aistor" | "minio-aistor" if is_proxied => "proxy".to_owned(),
        "minio" | "aistor" | "minio-aistor" => "store".to_owned(),
        "amazons3" => "s3".to_owned(),
        _ => first,
    })
}

fn agent_word(headers: &Headers) -> Option<String> {
    let client = Client::of_headers(headers);
    if client.hadoop.is_some() {
        return Some("spark".to_owned());
    }
    match client.sdk {
        Sdk::Unknown => None,
        Sdk::Other => client.agent.and_then(|agent| word(std::str::from_utf8(agent).ok()?)),
        sdk => word(sdk.label()),
    }
}
