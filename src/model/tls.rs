//! What is known of a TLS connection from outside, of why it was not decrypted, and of how it failed.

use crate::model::{Side, Stamp};

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// SSL 2.0.
    Ssl20,
    /// SSL 3.0.
    Ssl30,
    /// RFC 2246.
    Tls10,
    /// RFC 4346.
    Tls11,
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// `tls1.2`, `tls1.3`, …
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ssl20 => "ssl2.0",
            Self::Ssl30 => "ssl3.0",
            Self::Tls10 => "tls1.0",
            Self::Tls11 => "tls1.1",
            Self::Tls12 => "tls1.2",
            Self::Tls13 => "tls1.3",
        }
    }
}

/// The outside of a TLS connection: what the handshake shows in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsView {
    /// The negotiated version, where the ServerHello was seen.
    pub version: Option<TlsVersion>,
    /// The negotiated cipher suite (IANA number).
    pub suite: Option<u16>,
    /// The server name the client asked for (RFC 6066); wire text.
    pub sni: Option<String>,
    /// The protocol agreed on by ALPN, or offered first where the answer is encrypted; wire text.
    pub alpn: Option<String>,
    /// Whether some application data was counted without opening it (and so was not authenticated).
    pub skipped: bool,
    /// Whether the cipher suite does not encrypt (RFC 4785, RFC 9150): what is inside can be read on the path.
    pub is_readable: bool,
}

/// Why a TLS flow stayed shut.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shut {
    /// No secret is known for the client random.
    NoSecret,
    /// The capture starts after the handshake.
    HandshakeNotCaptured,
    /// The cipher suite (IANA number) is not supported.
    SuiteNotSupported(u16),
    /// The version is not supported.
    VersionNotSupported,
    /// The records are compressed.
    Compression,
    /// The secret does not open the records.
    WrongSecret,
    /// Bytes are missing at this record number, and no place to continue was found.
    PacketMissing(u64),
    /// A record or handshake message that does not parse.
    Malformed,
}

impl Shut {
    /// A stable word for counting: `no-secret`, `handshake-not-captured`, …
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoSecret => "no-secret",
            Self::HandshakeNotCaptured => "handshake-not-captured",
            Self::SuiteNotSupported(_) => "suite-not-supported",
            Self::VersionNotSupported => "version-not-supported",
            Self::Compression => "compression-not-supported",
            Self::WrongSecret => "wrong-secret",
            Self::PacketMissing(_) => "packet-missing",
            Self::Malformed => "malformed",
        }
    }
}

/// What came of a TLS handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    /// It was neither finished nor ended, as far as was seen.
    #[default]
    Open,
    /// Both sides finished it.
    Established,
    /// It was ended, or what came right after it was.
    Failed(TlsFailure),
}

/// How a TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// What was seen.
    pub kind: TlsFailureKind,
    /// The side that ended it.
    pub from: Side,
    /// Where that was seen.
    pub stamp: Stamp,
}

/// What showed that a TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFailureKind {
    /// An alert with this description (RFC 8446 section 6).
    Alert(u8),
    /// An alert that is encrypted, so that its description is not known.
    EncryptedAlert,
    /// The connection was closed or reset without an alert.
    Closed,
    /// The server answered the ClientHello with HTTP in plaintext, with this status.
    PlainHttp(u16),
    /// The server answered the ClientHello with something that is not TLS.
    NotTls,
}

impl TlsFailureKind {
    /// A stable word for counting: the name of the alert, `encrypted-alert`, `closed`, `plaintext-http`, `not-tls`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Alert(description) => match alert_name(description) {
                Some(name) => name,
                None => "unknown-alert",
            },
            Self::EncryptedAlert => "encrypted-alert",
            Self::Closed => "closed",
            Self::PlainHttp(_) => "plaintext-http",
            Self::NotTls => "not-tls",
        }
    }
}

/// The name of an alert in the IANA registry.
pub const fn alert_name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}
