//! What sort of secret a value is: the label in outputs, how long it serves, and which finding its exposure is.

/// What sort of secret a value is. The label is part of the output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A customer key (SSE-C, and the same of other clouds), of the object or of the copy source.
    CustomerKey,
    /// A digest of a customer key: it verifies guesses.
    CustomerKeyMd5,
    /// A KMS encryption context (base64 of JSON).
    EncryptionContext,
    /// A session token of temporary credentials.
    SessionToken,
    /// A secret access key, a client secret, or another key that signs.
    SecretKey,
    /// A request signature.
    Signature,
    /// What was signed: a policy, or what error responses repeat. It holds header values.
    SignedText,
    /// A password, or user and password of HTTP Basic.
    Password,
    /// A bearer token, or the credentials of another scheme.
    Bearer,
    /// A cookie.
    Cookie,
}

/// Which finding a secret on a plaintext hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exposure {
    /// A key that decrypts objects: `sse-c-key-in-clear`.
    CustomerKey,
    /// The token of temporary credentials: `session-token-in-clear`.
    SessionToken,
    /// Whatever else lets somebody act as the client: `credential-in-clear`.
    Credential,
    /// A proof for one request: `presigned-url-in-clear` in a URL, else `signature-in-clear`.
    Signature,
    /// `encryption-context-in-clear`.
    EncryptionContext,
    /// A digest of a customer key: `sse-header-in-clear`.
    KeyDigest,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::CustomerKey,
        Self::CustomerKeyMd5,
        Self::EncryptionContext,
        Self::SessionToken,
        Self::SecretKey,
        Self::Signature,
        Self::SignedText,
        Self::Password,
        Self::Bearer,
        Self::Cookie,
    ];

    /// The word used in outputs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CustomerKey => "sse-c-key",
            Self::CustomerKeyMd5 => "sse-c-key-md5",
            Self::EncryptionContext => "encryption-context",
            Self::SessionToken => "session-token",
            Self::SecretKey => "secret-key",
            Self::Signature => "signature",
            Self::SignedText => "signed-text",
            Self::Password => "password",
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }

    /// Which finding it is when it is sent in plaintext.
    pub const fn exposure(self) -> Exposure {
        match self {
            Self::CustomerKey => Exposure::CustomerKey,
            Self::CustomerKeyMd5 => Exposure::KeyDigest,
            Self::EncryptionContext => Exposure::EncryptionContext,
            Self::SessionToken => Exposure::SessionToken,
            Self::SecretKey | Self::Password | Self::Bearer | Self::Cookie => Exposure::Credential,
            Self::Signature | Self::SignedText => Exposure::Signature,
        }
    }

    /// Whether the value is worth looking for elsewhere. A signature is made for one request, and there are as many of them
    /// as there are requests; the text that was signed is long and differs each time.
    pub const fn is_lasting(self) -> bool {
        !matches!(self, Self::Signature | Self::SignedText)
    }
}
