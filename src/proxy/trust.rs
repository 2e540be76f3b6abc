//! TLS on both sides of a route: what is shown to clients, and whom the upstream side trusts.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, KeyLog, RootCertStore, ServerConfig, SignatureScheme};

use crate::model::Secret;
use crate::proxy::authority::{Authority, AuthorityError};
use crate::proxy::route::name_matches;
use crate::proxy::tape::Tape;

/// Where the certificates that clients see come from.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Made for each name by a CA.
    Authority(Arc<Authority>),
    /// One for all names.
    Fixed(Arc<CertifiedKey>),
}

/// Whom the upstream side trusts, and what it shows of itself.
#[derive(Debug, Default)]
pub struct Upstream {
    /// CA certificates beside those of the system.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whether certificates are not verified at all.
    pub is_insecure: bool,
    /// A certificate for servers that ask for one.
    pub client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// What a TLS listener shows to its clients.
pub(super) struct Presenter {
    identity: Identity,
    /// Names that certificates are made for; `*.example.org` stands for all names below.
    allowed: Vec<String>,
    /// A name that is in every certificate in place of the true ones, to see what clients do.
    wrong_name: Option<String>,
    log: Arc<dyn KeyLog>,
    tickets: Arc<dyn ProducesTickets>,
    configs: Mutex<Vec<(String, Arc<ServerConfig>)>>,
}

/// Why no certificate can be shown.
#[derive(Debug)]
pub(super) enum NotPresented {
    /// The client asks for a name that is not allowed.
    Name(String),
    Failed(String),
}

impl Presenter {
    pub(super) fn new(
        identity: Identity,
        allowed: Vec<String>,
        wrong_name: Option<String>,
        tape: Arc<Tape>,
    ) -> Result<Self, rustls::Error> {
        let log = Arc::new(TapeLog(tape));
        let tickets = ring::Ticketer::new()?;
        Ok(Self { identity, allowed, wrong_name, log, tickets, configs: Mutex::new(Vec::new()) })
    }

    /// What a client is shown that asks for `name`, or by no name for the address it connected to.
    /// `granted` is a name that is allowed for this connection alone.
    pub(super) fn config(
        &self,
        name: Option<&str>,
        address: IpAddr,
        granted: Option<&str>,
    ) -> Result<Arc<ServerConfig>, NotPresented> {
        let key = name.map_or_else(|| granted.map_or_else(|| address.to_string(), str::to_owned), str::to_ascii_lowercase);
        if let Some(name) = name
            && matches!(self.identity, Identity::Authority(_))
            && !self.allows(name)
            && !granted.is_some_and(|granted| granted.eq_ignore_ascii_case(name))
        {
            return Err(NotPresented::Name(name.to_owned()));
        }
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(have, _)| *have == key) {
            return Ok(Arc::clone(config));
        }
        let mut names = vec![key.clone()];
        if name.is_none() {
            // It may know this address by any of the names.
            let others = std::iter::once(address.to_string()).chain(self.allowed.iter().cloned());
            names.extend(others.filter(|name| !name.contains('*') && *name != key));
            names.dedup();
        }
        let config = Arc::new(self.make(&names).map_err(|error| NotPresented::Failed(error.to_string()))?);
        if configs.len() >= CONFIGS_MAX {
            configs.remove(0);
        }
        configs.push((key, Arc::clone(&config)));
        Ok(config)
    }

    fn make(&self, names: &[String]) -> Result<ServerConfig, AuthorityError> {
        let certified = match &self.identity {
            Identity::Fixed(certified) => Arc::clone(certified),
            Identity::Authority(authority) => match &self.wrong_name {
                Some(wrong) => authority.leaf(std::slice::from_ref(wrong))?,
                None => authority.leaf(names)?,
            },
        };
        let builder =
            ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| AuthorityError::Make(error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Single(certified)));
        config.key_log = Arc::clone(&self.log);
        config.ticketer = Arc::clone(&self.tickets);
        config.send_tls13_tickets = 1;
        // HTTP/2 is not parsed here, so nobody shall choose it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn allows(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| name_matches(allowed, name))
    }
}

#[derive(Debug)]
struct Single(Arc<CertifiedKey>);

impl ResolvesServerCert for Single {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The upstream side's configuration.
pub(super) fn upstream_config(upstream: &Upstream, tape: Arc<Tape>) -> Result<ClientConfig, String> {
    let text = |error: rustls::Error| error.to_string();
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(text)?;
    let builder = if upstream.is_insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(upstream.roots.iter().cloned());
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let chained = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let chained = chained.map_err(|error| error.to_string())?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Verified { chained, given: upstream.roots.clone() }))
    };
    let mut config = match &upstream.client {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(text)?,
        None => builder.with_no_client_auth(),
    };
    config.key_log = Arc::new(TapeLog(tape));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS secrets go on the tape as soon as they are there, and so before the packets that they open.
struct TapeLog(Arc<Tape>);

impl std::fmt::Debug for TapeLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TapeLog")
    }
}

impl KeyLog for TapeLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        self.0.add_secret(Secret::new(line.into_bytes()));
    }

    fn will_log(&self, label: &str) -> bool {
        label != "EXPORTER_SECRET"
    }
}

/// Verifies as usual, and accepts a certificate for its names that was itself given as trusted: self-signed ones often say that
/// they are a CA, which is refused otherwise.
#[derive(Debug)]
struct Verified {
    chained: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.given.iter().any(|given| given == end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.chained.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chained.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chained.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chained.supported_verify_schemes()
    }
}

/// Accepts every certificate: only where the user asked for it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Configurations that are kept, one for each name.
const CONFIGS_MAX: usize = 256;
