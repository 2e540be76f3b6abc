//! The log of a client program (Spark, an SDK): lines in, refusals out.

mod line;

use std::io::{self, BufRead, BufReader, Read};

use memchr::memmem;

use crate::model::Timestamp;
use crate::s3::client::Sdk;
use crate::s3::client_log::line::Attempt;
use crate::s3::refusals::{self, Known, Refused};

/// What a client's log tells of requests that were refused before they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLog {
    /// The refusals in order; the first [`ClientLog::REFUSALS_MAX`] are kept.
    pub refusals: Vec<Refusal>,
    /// All refusals, also those not kept.
    pub refusal_count: u64,
    /// Known texts of clients that send, though otherwise than over https.
    pub remarks: u64,
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
    /// Whether it holds bytes that no text has; then nothing more was read.
    pub is_binary: bool,
    /// Whether it is longer than [`ClientLog::BYTES_MAX`].
    pub is_cut: bool,
}

/// A request that a client refused to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line of its text, from 1.
    pub line: u64,
    /// The text, and whose it is.
    pub known: &'static Known,
    /// Which check refused it, by the distance of two stack frames (AWS SDK for Java 1.x only).
    pub branch: Option<Branch>,
    /// The distance of those frames, also where no check stands at it.
    pub delta: Option<u32>,
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

impl Refusal {
    /// Whether it is known that a customer key was refused, and not KMS parameters.
    pub const fn is_about_customer_key(&self) -> bool {
        matches!(self.branch, Some(Branch::CustomerKey | Branch::CopyObjectCustomerKey | Branch::CopyPartCustomerKey))
    }

    /// Whether it may be a refusal of KMS parameters by the AWS SDK for Java 1.x: its text says SSE-C for those too.
    pub fn may_be_kms(&self) -> bool {
        self.known.sdk == Sdk::JavaV1 && self.known.refused == Refused::Sse && !self.is_about_customer_key()
    }
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

    /// How much of a log is read: 1 GiB.
    pub const BYTES_MAX: u64 = 1 << 30;

    /// Reads a log. Of every line the first 64 KiB are read; bytes that are not UTF-8 do no harm.
    ///
    /// One stack trace with all its causes is one refusal, however often it repeats the text. A client may log the same
    /// refusal several times: each counts.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut reading = Reading::default();
        let mut from = from.take(Self::BYTES_MAX);
        let mut start = Vec::new();
        from.by_ref().take(START_BYTES).read_to_end(&mut start)?;
        reading.log.is_binary = memchr::memchr(0, &start).is_some();
        let mut from = BufReader::new(start.as_slice().chain(from));
        let mut line = Vec::new();
        while !reading.log.is_binary && next_line(&mut from, &mut line)? {
            reading.handle_line(line.strip_suffix(b"\r").unwrap_or(&line));
        }
        reading.end_trace();
        reading.log.is_cut = from.into_inner().into_inner().1.limit() == 0;
        Ok(reading.log)
    }
}

/// So much of a log is looked at to see whether it is text.
const START_BYTES: u64 = 8 << 10;

/// A log being read.
#[derive(Default)]
struct Reading {
    log: ClientLog,
    /// The time of the latest line that had one.
    time: Option<Timestamp>,
    trace: Trace,
}

/// What one stack trace has told so far.
#[derive(Default)]
struct Trace {
    refusal: Option<(u64, &'static Known)>,
    attempt: Option<Attempt>,
    sdk_method: Option<String>,
    asserted_line: Option<u32>,
    checked_line: Option<u32>,
    time: Option<Timestamp>,
}

impl Reading {
    fn handle_line(&mut self, line: &[u8]) {
        self.log.lines += 1;
        if !line::continues_trace(line) {
            self.end_trace();
            if let Some(at) = line::time_of(line) {
                self.time = Some(at);
                let first = self.log.span.map_or(at, |(first, _)| first.min(at));
                let last = self.log.span.map_or(at, |(_, last)| last.max(at));
                self.log.span = Some((first, last));
            }
            self.trace.time = self.time;
        }
        self.note_versions(line);
        self.note_frames(line);
        if self.trace.attempt.is_none() {
            self.trace.attempt = line::attempt_of(line);
        }
        if self.trace.refusal.is_none()
            && let Some(known) = refusals::recognise(line)
        {
            self.trace.refusal = Some((self.log.lines, known));
        }
    }

    fn note_frames(&mut self, line: &[u8]) {
        if memmem::find(line, b"AmazonS3Client").is_none() {
            return;
        }
        let trace = &mut self.trace;
        trace.asserted_line = trace.asserted_line.or_else(|| line::frame_line(line, b"assertHttps"));
        trace.checked_line = trace.checked_line.or_else(|| line::frame_line(line, b"checkHttps"));
        if trace.sdk_method.is_none() && trace.checked_line.is_some() {
            trace.sdk_method = line::sdk_method(line);
        }
    }

    fn note_versions(&mut self, line: &[u8]) {
        if self.log.spark.is_none() {
            self.log.spark = line::version_after(line, b"Running Spark version ");
        }
        if self.log.hadoop.is_none() {
            self.log.hadoop = [&b"hadoop-aws-"[..], b"hadoop-client-runtime-", b"Hadoop "]
                .iter()
                .find_map(|before| line::version_after(line, before));
        }
        if self.log.sdk.is_none() {
            self.log.sdk = SDK_MARKS.iter().find_map(|(before, sdk)| {
                let version = line::version_after(line, before)?;
                let is_v1 = version.starts_with("1.");
                (is_v1 == (*sdk == Sdk::JavaV1)).then_some((*sdk, version))
            });
        }
    }

    fn end_trace(&mut self) {
        let trace = std::mem::take(&mut self.trace);
        let Some((line, known)) = trace.refusal else { return };
        if known.refused == Refused::NotRefused {
            self.log.remarks += 1;
            return;
        }
        self.log.refusal_count += 1;
        if self.log.refusals.len() >= ClientLog::REFUSALS_MAX {
            return;
        }
        let delta = trace.asserted_line.zip(trace.checked_line).and_then(|(asserted, checked)| asserted.checked_sub(checked));
        let attempt = trace.attempt.unwrap_or_default();
        self.log.refusals.push(Refusal {
            line,
            known,
            branch: delta.and_then(Branch::of_delta),
            delta,
            operation: attempt.operation.or(trace.sdk_method),
            source_key: attempt.source,
            destination_key: attempt.destination,
            time: trace.time,
        });
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

/// What stands before the version of an SDK in class paths, stack traces and User-Agents.
const SDK_MARKS: &[(&[u8], Sdk)] = &[
    (b"aws-java-sdk-bundle-", Sdk::JavaV1),
    (b"aws-java-sdk-s3-", Sdk::JavaV1),
    (b"aws-sdk-java/", Sdk::JavaV1),
    (b"awssdk_bundle-", Sdk::JavaV2),
    (b"/bundle-", Sdk::JavaV2),
    (b"aws-sdk-java/", Sdk::JavaV2),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::policy;

    fn trace(asserted: u32, checked: u32) -> String {
        format!(
            "26/11/23 13:29:22 ERROR X: failed\njava.lang.IllegalArgumentException: {}\n\tat com.amazonaws.services.s3.AmazonS3Client.assertHttps(AmazonS3Client.java:{asserted})\n\tat com.amazonaws.services.s3.AmazonS3Client.checkHttps(AmazonS3Client.java:{checked})\n\tat com.amazonaws.services.s3.AmazonS3Client.invoke(AmazonS3Client.java:5412)\n\tat com.amazonaws.services.s3.AmazonS3Client.putObject(AmazonS3Client.java:1)\n",
            policy::JAVA_V1
        )
    }

    #[test]
    fn every_distance_of_frames_names_its_branch() {
        for (asserted, checked, branch) in [
            (4526, 4500, Some(Branch::CustomerKey)),
            (5690, 5669, Some(Branch::CopyObjectCustomerKey)),
            (5690, 5675, Some(Branch::CopyPartCustomerKey)),
            (5685, 5677, Some(Branch::KmsParams)),
            (5754, 5746, Some(Branch::KmsParams)),
            (5754, 5745, None),
            (10, 5745, None),
        ] {
            let log = ClientLog::read(trace(asserted, checked).as_bytes()).unwrap();
            assert_eq!(log.refusals.len(), 1);
            assert_eq!(log.refusals[0].branch, branch, "{asserted}-{checked}");
            assert_eq!(log.refusals[0].delta, asserted.checked_sub(checked));
            assert_eq!(log.refusals[0].operation.as_deref(), Some("putObject"));
            assert_eq!(log.refusals[0].line, 2);
        }
        for branch in [Branch::CustomerKey, Branch::CopyObjectCustomerKey, Branch::CopyPartCustomerKey, Branch::KmsParams] {
            assert_eq!(Branch::of_delta(branch.delta()), Some(branch));
        }
    }

    #[test]
    fn refusals_of_every_sdk_are_found_without_frames() {
        for (line, sdk) in [
            (
                "pyspark.errors.exceptions.captured.IllegalArgumentException: HTTPS must be used when sending customer encryption keys (SSE-C) to S3, in order to protect your encryption keys.",
                Sdk::JavaV1,
            ),
            ("ConfigError: cannot send SSE keys over HTTP.", Sdk::GoV1),
            ("ConfigError: Cannot send SSE keys over HTTP. Set 'sslEnabled'to 'true' in your configuration", Sdk::JsV2),
            (
                "Request contains headers which can only be transmitted over HTTPS: x-amz-server-side-encryption-customer-key",
                Sdk::DotNet,
            ),
            (
                "Request contains headers which can only be transmitted over HTTPS: x-amz-server-side-encryption-aws-kms-key-id",
                Sdk::DotNet,
            ),
            (
                "Request specifying Server Side Encryption with AWS KMS managed keys can only be transmitted over HTTPS",
                Sdk::DotNet,
            ),
            (
                "ArgumentError: Attempting to send customer-provided-keys for S3 server-side-encryption over HTTP; Please configure",
                Sdk::Ruby,
            ),
            ("IllegalArgumentException: SSE-C operations must be performed over a secure connection.", Sdk::MinioJava),
            ("IllegalArgumentException: SSE-KMS operations must be performed over a secure connection.", Sdk::MinioJava),
            ("Error: SSE operation must be performed over a secure connection", Sdk::MinioRs),
        ] {
            let log = ClientLog::read(line.as_bytes()).unwrap();
            assert_eq!((log.refusals.len(), log.refusals[0].known.sdk, log.refusals[0].branch), (1, sdk, None), "{line}");
        }
        assert_eq!(ClientLog::read(&b"HTTPS must be used here\nall is well\n"[..]).unwrap().refusal_count, 0);
    }

    #[test]
    fn refusals_beyond_the_bound_are_counted() {
        let many = "cannot send SSE keys over HTTP.\n".repeat(ClientLog::REFUSALS_MAX + 5);
        let log = ClientLog::read(many.as_bytes()).unwrap();
        assert_eq!((log.refusals.len(), log.refusal_count), (ClientLog::REFUSALS_MAX, 10_005));
    }

    #[test]
    fn a_line_beyond_the_bound_is_cut_and_the_next_is_read() {
        let text = format!("{}\ncannot send SSE keys over HTTP.", "x".repeat(3 * LINE_BYTES_MAX));
        let log = ClientLog::read(text.as_bytes()).unwrap();
        assert_eq!((log.lines, log.refusals[0].line), (2, 2));
    }

    #[test]
    fn the_failing_job_of_the_lab_is_understood() {
        let file = std::fs::File::open("captures/spark33-http.client.log").unwrap();
        let log = ClientLog::read(file).unwrap();
        assert!(log.refusals.len() >= 3, "{}", log.refusals.len());
        for refusal in &log.refusals {
            assert_eq!((refusal.known.sdk, refusal.branch), (Sdk::JavaV1, Some(Branch::KmsParams)), "line {}", refusal.line);
            assert_eq!(refusal.operation.as_deref(), Some("copyFile"));
            let source = refusal.source_key.as_deref().unwrap();
            let destination = refusal.destination_key.as_deref().unwrap();
            assert!(
                source.starts_with("a12/people/_temporary/0/_temporary/attempt_") && source.ends_with(".snappy.parquet"),
                "{source}"
            );
            assert!(
                destination.starts_with("a12/people/_temporary/0/task_") && destination.ends_with(".snappy.parquet"),
                "{destination}"
            );
            assert_eq!(source.rsplit('/').next(), destination.rsplit('/').next());
        }
        assert_eq!(log.refusals[0].line, 48);
        assert_eq!(log.refusals[0].time.unwrap().to_string(), "2026-11-23T13:29:22.000000000Z");
        assert_eq!(log.spark.as_deref(), Some("3.5.3"));
        assert_eq!(log.hadoop.as_deref(), Some("3.3.4"));
        assert_eq!(log.sdk, Some((Sdk::JavaV1, "1.12.262".to_owned())));
        let (first, last) = log.span.unwrap();
        assert_eq!(first.to_string(), "2026-11-23T13:27:48.000000000Z");
        assert_eq!(last.to_string(), "2026-11-23T13:29:53.000000000Z");
        assert_eq!(log.lines, 722);
    }
}
