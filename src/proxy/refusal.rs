//! Why a message is not forwarded, and what its sender is answered.

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More than one `Content-Length`.
    TwoLengths,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthWithChunked,
    /// A `Content-Length` that is not a plain decimal number.
    Length,
    /// A `Transfer-Encoding` other than `chunked` alone.
    Coding,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInHttp10,
    /// A chunk size that is not a plain hexadecimal number, or a chunk that does not end in CR LF.
    Chunk,
    /// A line that ends in LF without CR.
    BareLineFeed,
    /// A field continued on the next line.
    FoldedLine,
    /// A head or line that is too long, or with too many fields.
    TooLong,
    /// It is not a message of HTTP/1.
    NotHttp,
    /// HTTP/2 without TLS.
    Http2,
    /// TLS, where plaintext is expected.
    Tls,
}

impl Refusal {
    pub(super) const fn of(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLong,
            _ => Self::NotHttp,
        }
    }

    /// What it is called in reports.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TwoLengths => "more than one Content-Length",
            Self::LengthWithChunked => "Content-Length together with Transfer-Encoding",
            Self::Length => "a Content-Length that is not a plain decimal number",
            Self::Coding => "a Transfer-Encoding other than chunked alone",
            Self::CodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::Chunk => "a chunk whose size or end is malformed",
            Self::BareLineFeed => "a line that ends in LF without CR",
            Self::FoldedLine => "a header field continued on the next line",
            Self::TooLong => "a head that is too long or has too many fields",
            Self::NotHttp => "a message that is not HTTP/1",
            Self::Http2 => "HTTP/2 without TLS, which is not spoken here",
            Self::Tls => "TLS sent to a plaintext port",
        }
    }

    /// Whether the message is HTTP whose end two readers may see at different places, so that it can be forwarded where that
    /// is asked for.
    pub const fn is_ambiguous(self) -> bool {
        !matches!(self, Self::TooLong | Self::NotHttp | Self::Http2 | Self::Tls)
    }

    /// The status of the response to such a request.
    pub(super) const fn status(self) -> (u16, &'static str) {
        match self {
            Self::TooLong => (431, "Request Header Fields Too Large"),
            Self::Http2 => (505, "HTTP Version Not Supported"),
            _ => (400, "Bad Request"),
        }
    }
}
