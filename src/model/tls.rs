//! What is known of a TLS connection from outside, and of why it stayed shut.

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
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
            Self::WrongSecret => "wrong-secret",
            Self::PacketMissing(_) => "packet-missing",
            Self::Malformed => "malformed",
        }
    }
}
