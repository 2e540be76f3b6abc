//! TLS connections that failed: by which alert of which side, and what to do about it.

use crate::model::{Side, TlsFailureKind, alert_name};
use crate::rules::quote::counted;
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, Severity, TlsFailures, View, Watch, rule};

rule! {
    /// ## What it reports
    /// TLS connections whose handshake failed, by hop and cause: the alert that ended them and the side that sent it, or that they
    /// were closed in the middle of the handshake. A server that asks for a client certificate refuses in TLS 1.3 only after the
    /// client has finished, so that requests may have been sent before its alert.
    ///
    /// ## Why it matters
    /// No request is served on such a connection. The alert is on the wire in plaintext (except where TLS 1.3 encrypts it), and
    /// says more than the client's message.
    ///
    /// ## Example
    /// `unknown_ca` from the client: it does not trust the CA that signed the certificate of the proxy.
    ///
    /// ## What to do
    /// By the cause: give the client the CA certificate, give it a certificate of its own, or enable a common version or cipher
    /// suite.
    "tls-handshake-failed" Error Failure since "0.2.0"
}

#[derive(Default)]
pub(super) struct State;

impl Watch for State {
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let is_handshake = |row: &&TlsFailures| !matches!(row.kind, TlsFailureKind::PlainHttp(_) | TlsFailureKind::NotTls);
        for row in view.tls_failures.iter().filter(is_handshake) {
            findings.report(finding(row, view));
        }
    }
}

fn finding(row: &TlsFailures, view: &View<'_>) -> Finding {
    let cause = Cause::of(row.kind, row.from);
    let sent = match row.requests {
        0 => String::new(),
        requests => format!(" {} had been sent on them and got no response.", counted(requests, "request", "requests")),
    };
    let message = format!(
        "{} on {} failed: {} ({}).{sent}",
        counted(row.count, "TLS handshake", "TLS handshakes"),
        view.hop_name(row.hop),
        cause.reason(),
        how(row.kind, row.from)
    );
    let confidence = if matches!(row.kind, TlsFailureKind::Alert(_)) { Confidence::Certain } else { Confidence::Likely };
    let frames = Some(row.first).filter(|frame| frame.number() > 0).into_iter().collect();
    let mut finding = Finding::new(&RULE, confidence, Some(row.hop), row.count, message)
        .about("alert", row.kind.label())
        .about("from", side(row.from))
        .shown_by(vec![Evidence { frames, ..Evidence::default() }]);
    if view.hops.hop(row.hop).is_some_and(|hop| hop.calls > row.requests) {
        // Others come through.
        finding.severity = Severity::Warning;
    }
    for (action, note) in cause.fixes() {
        finding = finding.fixed_by(Fix::untested(action, note));
    }
    finding
}

/// How the end was seen.
fn how(kind: TlsFailureKind, from: Side) -> String {
    let from = side(from);
    match kind {
        TlsFailureKind::Alert(code) => match alert_name(code) {
            Some(name) => format!("alert {name} ({code}) from the {from}"),
            None => format!("alert {code} from the {from}"),
        },
        TlsFailureKind::EncryptedAlert => format!("an encrypted alert from the {from}; a key log shows which"),
        _ => format!("closed by the {from} without an alert"),
    }
}

const fn side(from: Side) -> &'static str {
    match from {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    ServerNotTrusted,
    ServerExpired,
    ClientCertificate,
    ClientNotTrusted,
    Version,
    Suite,
    Name,
    Application,
    ClientGaveUp,
    ServerGaveUp,
    Protocol,
}

impl Cause {
    const fn of(kind: TlsFailureKind, from: Side) -> Self {
        match (kind, from) {
            (TlsFailureKind::Alert(44 | 45), Side::Client) => Self::ServerExpired,
            (TlsFailureKind::Alert(42 | 43 | 46 | 48 | 113), Side::Client) => Self::ServerNotTrusted,
            (TlsFailureKind::Alert(41 | 116), Side::Server) => Self::ClientCertificate,
            (TlsFailureKind::Alert(42..=46 | 48 | 49), Side::Server) => Self::ClientNotTrusted,
            (TlsFailureKind::Alert(70 | 86), _) => Self::Version,
            (TlsFailureKind::Alert(40 | 60 | 71), _) => Self::Suite,
            (TlsFailureKind::Alert(112), _) => Self::Name,
            (TlsFailureKind::Alert(120), _) => Self::Application,
            (TlsFailureKind::Alert(_), _) => Self::Protocol,
            (_, Side::Client) => Self::ClientGaveUp,
            (TlsFailureKind::EncryptedAlert, Side::Server) => Self::ClientNotTrusted,
            (_, Side::Server) => Self::ServerGaveUp,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::ServerNotTrusted => "the client does not trust the certificate of the server",
            Self::ServerExpired => "the client says that the certificate of the server is expired or revoked",
            Self::ClientCertificate => "the server requires a client certificate, and the client sent none",
            Self::ClientNotTrusted => "the server does not accept the certificate of the client, or its lack of one",
            Self::Version => "client and server have no TLS version in common",
            Self::Suite => "client and server agree on no cipher suite, or the server requires a client certificate",
            Self::Name => "the server does not know the host name that the client asks for",
            Self::Application => "client and server have no application protocol in common",
            Self::ClientGaveUp => "the client ended the handshake, most often because it does not trust the certificate",
            Self::ServerGaveUp => "the server ended the handshake",
            Self::Protocol => "one side could not go on with what the other sent",
        }
    }

    const fn fixes(self) -> &'static [(&'static str, &'static str)] {
        const TRUST: (&str, &str) = (
            "let the client trust the CA: -Djavax.net.ssl.trustStore=FILE for Spark (driver and executors), AWS_CA_BUNDLE=FILE for boto3 and \
             the AWS CLI",
            "check too that the certificate names the host that the client uses",
        );
        const CERTIFICATE: (&str, &str) = (
            "give the client a certificate of a CA that the server accepts: -Djavax.net.ssl.keyStore=FILE, client_cert of botocore's Config",
            "",
        );
        match self {
            Self::ServerNotTrusted | Self::ClientGaveUp => &[TRUST],
            Self::ServerExpired => &[("renew the certificate of the server", "check the clock of the client, too")],
            Self::ClientCertificate | Self::ClientNotTrusted => &[CERTIFICATE],
            Self::Version => &[("enable a common version on one side, TLS 1.2 at least", "")],
            Self::Suite => &[("enable a common cipher suite on one side", ""), CERTIFICATE],
            Self::Name => &[("use a host name that the server's certificate has, or add it there", "")],
            Self::Application => &[("offer http/1.1 by ALPN on both sides", "")],
            Self::ServerGaveUp | Self::Protocol => &[("look at the log of the server at this time", "")],
        }
    }
}
