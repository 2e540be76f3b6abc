//! The log of a client program (Spark, an SDK): lines in, refusals out.

use std::io::{self, BufRead, BufReader, Read};

use crate::model::Timestamp;
use crate::s3::client::Sdk;

/// What a client's log tells of requests that were refused before they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLog {
    /// The refusals in order; the first [`ClientLog::REFUSALS_MAX`] are kept.
    pub refusals: Vec<Refusal>,
    /// All refusals, also those not kept.
    pub refusal_count: u64,
    /// The version of Hadoop, where the log names it.
    pub hadoop: Option<String>,
    /// The SDK and its version, where the log names them.
    pub sdk: Option<(Sdk, String)>,
    /// The version of Spark, where the log names it.
    pub spark: Option<String>,
    /// The first and last time of a log line, read as UTC: most logs do not name a zone.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Lines read.
    pub lines: u64,
}

/// A request that a client refused to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line of its text, from 1.
    pub line: u64,
    /// The refusal's text, as listed for the SDK.
    pub text: &'static str,
    /// The SDK whose text it is.
    pub sdk: Sdk,
    /// Which check refused it, by the distance of two stack frames (AWS SDK for Java 1.x only).
    pub branch: Option<Branch>,
    /// What was to be done: `copyFile`, `innerMkdirs`, …, or the SDK's method.
    pub operation: Option<String>,
    /// The first argument: for `copyFile` the key to copy.
    pub source_key: Option<String>,
    /// The second argument of `copyFile`.
    pub destination_key: Option<String>,
    /// The time of the log line that began the stack trace, read as UTC.
    pub time: Option<Timestamp>,
}

/// Which check of the AWS SDK for Java 1.x refused a request: known from how far `assertHttps` stands below its caller in the
/// source, `line(assertHttps) - line(checkHttps)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Branch {
    /// 26: a request with a customer key (SSE-C).
    CustomerKey,
    /// 21: a CopyObject with a customer key.
    CopyObjectCustomerKey,
    /// 15: an UploadPartCopy with a customer key.
    CopyPartCustomerKey,
    /// 8: KMS parameters. There is no customer key at all.
    KmsParams,
}

impl Branch {
    /// The check at that distance of lines.
    pub const fn of_delta(delta: u32) -> Option<Self> {
        match delta {
            26 => Some(Self::CustomerKey),
            21 => Some(Self::CopyObjectCustomerKey),
            15 => Some(Self::CopyPartCustomerKey),
            8 => Some(Self::KmsParams),
            _ => None,
        }
    }

    /// The distance of lines.
    pub const fn delta(self) -> u32 {
        match self {
            Self::CustomerKey => 26,
            Self::CopyObjectCustomerKey => 21,
            Self::CopyPartCustomerKey => 15,
            Self::KmsParams => 8,
        }
    }
}

impl ClientLog {
    /// How many refusals are kept.
    pub const REFUSALS_MAX: usize = 10_000;

    /// Reads a log. Lines are read up to a bound; bytes that are not UTF-8 are passed over.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut log = Self::default();
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while next_line(&mut from, &mut line)? {
            log.lines += 1;
        }
        Ok(log)
    }
}

/// Reads a line into `line`, its first [`LINE_BYTES_MAX`] octets; `false` at the end.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut is_any = false;
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(is_any);
        }
        is_any = true;
        let end = memchr::memchr(b'\n', buffer);
        let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let room = LINE_BYTES_MAX.saturating_sub(line.len()).min(piece.len());
        line.extend_from_slice(piece.get(..room).unwrap_or_default());
        let used = end.map_or(buffer.len(), |at| at + 1);
        from.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

const LINE_BYTES_MAX: usize = 64 << 10;
