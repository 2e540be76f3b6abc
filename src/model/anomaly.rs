//! What is odd about an exchange that was decoded all the same.

macro_rules! anomalies {
    ($($(#[$doc:meta])* $word:ident = $name:literal,)*) => {
        /// Something odd: never an error, always named.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Anomaly {
            $($(#[$doc])* $word,)*
        }

        impl Anomaly {
            /// Every anomaly.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$word => $name,)*
                }
            }
        }
    };
}

anomalies! {
    /// Bytes of the request or response body are missing from the capture.
    GapInBody = "gap-in-body",
    /// Bytes of a head are missing from the capture.
    GapInHead = "gap-in-head",
    /// The connection ended within a head.
    HeadCutShort = "head-cut-short",
    /// The connection ended within a body of known length.
    BodyCutShort = "body-cut-short",
    /// A response without a request before it.
    ResponseWithoutRequest = "response-without-request",
    /// A response that began before its request was complete (an early answer).
    ResponseBeforeRequestEnd = "response-before-request-end",
    /// `Content-Length` and `Transfer-Encoding` together (RFC 9112 section 6.3).
    LengthAndTransferEncoding = "content-length-with-transfer-encoding",
    /// Several `Content-Length` values that differ.
    ConflictingLengths = "conflicting-content-lengths",
    /// Several `Content-Length` values that are equal.
    RepeatedLength = "repeated-content-length",
    /// A `Content-Length` that is no plain decimal number.
    InvalidLength = "invalid-content-length",
    /// A `Transfer-Encoding` other than `chunked` alone, or misspelt.
    InvalidTransferEncoding = "invalid-transfer-encoding",
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferEncodingInHttp10 = "transfer-encoding-in-http10",
    /// A chunk size that is no plain hexadecimal number.
    InvalidChunkSize = "invalid-chunk-size",
    /// A chunk extension (RFC 9112 section 7.1.1).
    ChunkExtension = "chunk-extension",
    /// A chunk that does not end in CR LF.
    InvalidChunkEnd = "invalid-chunk-end",
    /// A head line that ends in a bare LF.
    BareLineFeed = "bare-line-feed",
    /// A bare CR inside a head.
    BareCarriageReturn = "bare-carriage-return",
    /// A header continued on the next line (obs-fold).
    ObsoleteFold = "obsolete-line-folding",
    /// White space between a header name and its colon.
    SpaceBeforeColon = "space-before-colon",
    /// A header name with characters that no name may have.
    InvalidHeaderName = "invalid-header-name",
    /// A NUL byte in a head.
    NulInHead = "nul-in-head",
    /// A head line without a colon.
    LineWithoutColon = "line-without-colon",
    /// A start line that only a lenient reader accepts.
    OddStartLine = "odd-start-line",
    /// More than one `Host`, or none in HTTP/1.1.
    InvalidHost = "invalid-host",
    /// A head longer than the limit; the rest was dropped.
    HeadTooLong = "head-too-long",
    /// More header fields than servers usually take; those beyond the limit were dropped.
    TooManyHeaders = "too-many-headers",
    /// More interim responses than the limit; the rest were dropped.
    TooManyInterim = "too-many-interim-responses",
    /// A body where the method or status allows none.
    UnexpectedBody = "unexpected-body",
    /// Bytes after the end of the message.
    BytesAfterEnd = "bytes-after-end",
    /// HTTP/0.9: a request or response without a version.
    Http09 = "http-0.9",
    /// Two segments carried different bytes for the same place; the first was used.
    OverlapDiffers = "overlap-differs",
    /// Data came after an RST.
    DataAfterReset = "data-after-reset",
    /// TCP urgent data in the stream.
    UrgentData = "urgent-data",
    /// The connection became a tunnel.
    Tunnel = "tunnel",
    /// TLS records inside a known body were counted without opening them.
    RecordsSkipped = "tls-records-skipped",
    /// 0-RTT data (RFC 8446 section 2.3): it can be replayed by anybody.
    EarlyData = "tls-early-data",
    /// The server answered a request in plaintext with a record of TLS: its port expects TLS.
    TlsAnswer = "tls-answer",
    /// The start line of a request came without its first bytes.
    StartMissing = "start-missing",
}
