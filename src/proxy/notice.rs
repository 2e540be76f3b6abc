//! What the operator has to know while the proxy runs: a connection that failed and why, in words that lead to the fix.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::proxy::refusal::Refusal;

/// Something to report. Those with the same [`Notice::cause`] on one route say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The route.
    pub route: String,
    /// A short name of the cause.
    pub cause: &'static str,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.route, self.what)
    }
}

/// A cause, what happened, and what to do.
pub(super) struct Explained {
    pub(super) cause: &'static str,
    pub(super) what: String,
    pub(super) help: String,
}

impl Explained {
    fn new(cause: &'static str, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { cause, what: what.into(), help: help.into() }
    }

    pub(super) fn on(self, route: &str) -> Notice {
        Notice { route: route.to_owned(), cause: self.cause, what: self.what, help: self.help }
    }
}

/// Why a handshake with a client failed.
pub(super) fn client_handshake(error: &io::Error) -> Explained {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) if is_distrust(*alert) => Explained::new(
            "client-distrusts-ca",
            format!(
                "a client refused the certificate ({alert:?}): it does not trust this CA, or the name it connects to is another"
            ),
            "Java: keytool -importcert -noprompt -alias hopwire -file ca.crt -keystore truststore.jks -storepass changeit, \
             then -Djavax.net.ssl.trustStore=truststore.jks; Python: AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE; Go: SSL_CERT_FILE; curl: --cacert",
        ),
        Some(Error::AlertReceived(alert)) => Explained::new(
            "client-alert",
            format!("a client ended the handshake with the alert {alert:?}"),
            "the client's own log says why",
        ),
        Some(Error::PeerIncompatible(reason)) => Explained::new(
            "client-incompatible",
            format!("a client offers nothing in common: {}", incompatible(reason)),
            "TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and TLS 1.3, are spoken here; Java 8 with Hadoop's \
             Default_JSSE removes the GCM suites: set fs.s3a.ssl.channel.mode to default_jsse_with_gcm",
        ),
        Some(error) => {
            Explained::new("client-handshake", format!("a handshake with a client failed: {error}"), "see the recording")
        }
        None => Explained::new(
            "client-left",
            format!("a client left during the handshake: {error}"),
            "a client that does not trust the CA may close without an alert: check its trust store and its log",
        ),
    }
}

/// Why a connection with the target failed.
pub(super) fn upstream(error: &io::Error, target: &str) -> Explained {
    let Some(tls) = tls_error(error) else { return upstream_socket(error, target) };
    match tls {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => Explained::new(
            "upstream-unknown-ca",
            format!("the certificate of {target} is of a CA that is not trusted here"),
            "give the CA's certificate with --upstream-ca FILE",
        ),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => Explained::new(
            "upstream-name",
            format!(
                "the certificate of {target} is not for {}, but for {}",
                expected.to_str(),
                if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") }
            ),
            "write one of those names in the route's target (it has to resolve), or have a certificate made for this name",
        ),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Explained::new("upstream-expired", format!("the certificate of {target} has expired"), "renew it, or check the clock")
        }
        Error::InvalidCertificate(reason) => Explained::new(
            "upstream-certificate",
            format!("the certificate of {target} does not verify: {reason}"),
            "have it corrected; --insecure-upstream goes on without verification",
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired) => Explained::new(
            "upstream-wants-certificate",
            format!("{target} asks for a client certificate"),
            "give one with --upstream-cert FILE --upstream-key FILE",
        ),
        Error::AlertReceived(alert) => Explained::new(
            "upstream-alert",
            format!("{target} ended the handshake with the alert {alert:?}"),
            "it may want a client certificate (--upstream-cert, --upstream-key), another name, or suites that are not spoken here",
        ),
        Error::InvalidMessage(_) => Explained::new(
            "upstream-not-tls",
            format!("{target} does not speak TLS"),
            "write http:// in the route's target where the server speaks plaintext",
        ),
        Error::PeerIncompatible(reason) => Explained::new(
            "upstream-incompatible",
            format!("{target} offers nothing in common: {}", incompatible(reason)),
            "TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and TLS 1.3, are spoken here",
        ),
        error => {
            Explained::new("upstream-handshake", format!("the handshake with {target} failed: {error}"), "see the recording")
        }
    }
}

fn upstream_socket(error: &io::Error, target: &str) -> Explained {
    let help = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there: check host and port of the route, and that the server runs",
        io::ErrorKind::TimedOut => "it does not respond: check the address, the route to it, and firewalls",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "it closed during the handshake: it may speak plaintext (http://), or want another name"
        }
        _ => "check the target of the route",
    };
    Explained::new("upstream-unreachable", format!("cannot connect to {target}: {error}"), help)
}

/// A request that was not forwarded.
pub(super) fn refused(refusal: Refusal) -> Explained {
    let help = match refusal {
        Refusal::Tls => "write https:// in front of the route's listen address, or http:// in the client's endpoint",
        refusal if refusal.is_ambiguous() => {
            "find the client that sends it; --forward-ambiguous forwards such messages as they are"
        }
        _ => "check what connects to this port",
    };
    Explained::new("refused", format!("a request was refused: {}", refusal.text()), help)
}

/// A response that was not forwarded.
pub(super) fn refused_response(refusal: Refusal) -> Explained {
    Explained::new(
        "refused-response",
        format!("a response was not forwarded: {}", refusal.text()),
        "find the server that sends it; --forward-ambiguous forwards such messages as they are",
    )
}

/// HTTP came where TLS is spoken.
pub(super) fn plaintext_to_tls() -> Explained {
    Explained::new(
        "plaintext-to-tls",
        "a client sent plaintext HTTP to a TLS port",
        "write https:// in the client's endpoint, or http:// in front of the route's listen address",
    )
}

/// A name that no certificate is made for.
pub(super) fn name_not_allowed(name: &str) -> Explained {
    Explained::new(
        "name-not-allowed",
        format!("a client asked for the certificate of {name:?}, which is not allowed"),
        format!("if it is right, allow it: --allow-name {name}"),
    )
}

pub(super) fn other(cause: &'static str, what: impl Into<String>, help: impl Into<String>) -> Explained {
    Explained::new(cause, what, help)
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

const fn is_distrust(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
    )
}

fn incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::NoCipherSuitesInCommon => "no cipher suite in common".to_owned(),
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::SupportedVersionsExtensionRequired => "only versions before TLS 1.2".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "no key exchange group in common".to_owned(),
        PeerIncompatible::NoSignatureSchemesInCommon => "no signature scheme in common".to_owned(),
        other => format!("{other:?}"),
    }
}
