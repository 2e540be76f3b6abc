//! How the body of a request is covered by its signature: `x-amz-content-sha256` in, mode out.

/// The payload mode of a request (AWS SigV4 for S3, `x-amz-content-sha256`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payload {
    /// No `x-amz-content-sha256`.
    None,
    /// The SHA-256 of the body.
    SignedHash,
    /// `UNSIGNED-PAYLOAD`
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: every chunk signed.
    StreamingSigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: every chunk and the trailer signed.
    StreamingSignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks with a trailer, nothing signed.
    StreamingUnsignedTrailer,
    /// `STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD`: as [`Payload::StreamingSigned`] with SigV4a.
    StreamingEcdsa,
    /// `STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER`.
    StreamingEcdsaTrailer,
    /// `STREAMING-AWS4-HMAC-SHA256-EVENTS`: an event stream.
    StreamingEvents,
    /// Anything else.
    Other,
}

impl Payload {
    /// Reads the value of `x-amz-content-sha256`.
    pub fn recognise(value: &[u8]) -> Self {
        match value {
            b"UNSIGNED-PAYLOAD" => Self::Unsigned,
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Self::StreamingSigned,
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Self::StreamingSignedTrailer,
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Self::StreamingUnsignedTrailer,
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" => Self::StreamingEcdsa,
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => Self::StreamingEcdsaTrailer,
            b"STREAMING-AWS4-HMAC-SHA256-EVENTS" => Self::StreamingEvents,
            hash if hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit) => Self::SignedHash,
            _ => Self::Other,
        }
    }

    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SignedHash => "signed-hash",
            Self::Unsigned => "unsigned",
            Self::StreamingSigned => "streaming-signed",
            Self::StreamingSignedTrailer => "streaming-signed-trailer",
            Self::StreamingUnsignedTrailer => "streaming-unsigned-trailer",
            Self::StreamingEcdsa => "streaming-ecdsa",
            Self::StreamingEcdsaTrailer => "streaming-ecdsa-trailer",
            Self::StreamingEvents => "streaming-events",
            Self::Other => "other",
        }
    }

    /// Whether the body is framed as aws-chunked, so that its length is not the object's.
    pub const fn is_aws_chunked(self) -> bool {
        matches!(
            self,
            Self::StreamingSigned
                | Self::StreamingSignedTrailer
                | Self::StreamingUnsignedTrailer
                | Self::StreamingEcdsa
                | Self::StreamingEcdsaTrailer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_apart() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (value, label, is_chunked) in [
            (hash, "signed-hash", false),
            ("UNSIGNED-PAYLOAD", "unsigned", false),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "streaming-signed", true),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "streaming-signed-trailer", true),
            ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "streaming-unsigned-trailer", true),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", "streaming-ecdsa-trailer", true),
            ("STREAMING-AWS4-HMAC-SHA256-EVENTS", "streaming-events", false),
            ("", "other", false),
            ("e3b0", "other", false),
        ] {
            let payload = Payload::recognise(value.as_bytes());
            assert_eq!((payload.label(), payload.is_aws_chunked()), (label, is_chunked), "{value}");
        }
    }
}
