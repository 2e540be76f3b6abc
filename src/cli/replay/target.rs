//! The endpoint of a replay: a URL in, how to connect out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::cli::failure::Failure;
use crate::cli::replay::arguments::{Arguments, StyleName};
use crate::replay::send::Door;
use crate::replay::{AddressStyle, Target};

/// Where to send to.
pub(super) struct Endpoint {
    pub(super) target: Target,
    host: String,
    port: u16,
}

impl Endpoint {
    /// `http://HOST[:PORT]`, `https://HOST[:PORT]`, with or without a slash at the end.
    pub(super) fn parse(url: &str, style: StyleName) -> Result<Self, Failure> {
        let wrong = || Failure::usage(format!("{url} is no endpoint"), "give it as https://HOST:PORT");
        let (is_tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(wrong()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '@', '?', ' ']) {
            return Err(wrong());
        }
        let usual = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let style = match style {
            StyleName::Path => AddressStyle::Path,
            StyleName::Vhost => AddressStyle::VirtualHost,
        };
        let name = if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.clone() };
        // Clients leave the scheme's own port out of Host.
        let authority = if port == usual { name } else { format!("{name}:{port}") };
        Ok(Self { target: Target { is_tls, authority, style }, host, port })
    }

    /// How to connect.
    pub(super) fn door(&self, arguments: &Arguments) -> Result<Door, Failure> {
        let tls = if self.target.is_tls {
            let name = match self.host.parse::<IpAddr>() {
                Ok(ip) => ServerName::IpAddress(ip.into()),
                Err(_) => ServerName::try_from(self.host.clone()).map_err(|error| {
                    Failure::usage(format!("{} is no host name: {error}", self.host), "check the URL of --to")
                })?,
            };
            Some((Arc::new(config(&arguments.cacert)?), name))
        } else {
            None
        };
        Ok(Door { host: self.host.clone(), port: self.port, tls, patience: Duration::from_secs(arguments.timeout.max(1)) })
    }
}

fn config(files: &[String]) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in files {
        let cannot = |error: rustls::pki_types::pem::Error| {
            Failure::unreadable(error, format!("cannot read certificates from {path}"), "give a file in PEM form")
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(cannot)? {
            roots.add(certificate.map_err(cannot)?).map_err(|error| {
                Failure::usage(format!("{path} holds no CA certificate: {error}"), "give the CA's certificate")
            })?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::usage(format!("no TLS: {error}"), "use an http endpoint"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
