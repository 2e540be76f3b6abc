//! An S3 client as Hadoop S3A is one: its headers, its signatures, and what its SDK refuses over plain HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ClientConfig;

use crate::lab::link::Link;
use crate::model::{Headers, Response, Timestamp};
use crate::s3::policy::{SseRequest, Verdict, over_http};
use crate::s3::sigv4::{Credential, Signer, body_hash, hex};
use crate::s3::{Encryption, Sdk, encode_path};

/// Which program the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Hadoop S3A 3.3.4 with the AWS SDK for Java 1.12.262.
    S3a33,
    /// Hadoop S3A 3.4.1 with the AWS SDK for Java 2.24.6.
    S3a34,
}

/// The server that a client is configured with.
#[derive(Clone, Debug)]
pub struct ServerSide {
    /// Where it listens.
    pub address: SocketAddr,
    /// The client's trust, where it connects by TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Why a call has no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The SDK refused before anything was sent: its exception's text.
    #[error("{0}")]
    Refused(&'static str),
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

/// A response and its body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

/// A client.
pub struct Client {
    program: Program,
    server: ServerSide,
    bucket: String,
    signer: Signer,
    customer_key: Option<[u8; 32]>,
    link: Option<Link>,
    /// Responses so far.
    calls: usize,
}

/// What a call asks for, beside what all calls have.
#[derive(Default)]
pub(super) struct Wish<'w> {
    pub(super) method: &'static str,
    pub(super) key: &'w str,
    pub(super) query: &'w str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: &'w [u8],
}

impl Client {
    /// A client of one bucket.
    pub fn new(program: Program, server: ServerSide, bucket: &str, access_key: &str, secret: &str) -> Self {
        let signer = Signer::new(Credential::new(access_key, secret, None), "us-east-1");
        Self { program, server, bucket: bucket.to_owned(), signer, customer_key: None, link: None, calls: 0 }
    }

    /// The same with SSE-C: every object is written and read with this key.
    #[must_use]
    pub const fn with_customer_key(mut self, key: [u8; 32]) -> Self {
        self.customer_key = Some(key);
        self
    }

    /// How many calls it made.
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// The bucket.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Creates the bucket.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn create_bucket(&mut self) -> Result<u16, ClientError> {
        self.call(Wish { method: "PUT", ..Wish::default() }).map(|answer| answer.status)
    }

    /// The headers of SSE-C for an object that is written or read, or for the source of a copy.
    pub(super) fn customer_headers(&self, is_source: bool) -> Vec<(&'static str, String)> {
        let Some(key) = &self.customer_key else { return Vec::new() };
        let names = if is_source {
            [
                "x-amz-copy-source-server-side-encryption-customer-algorithm",
                "x-amz-copy-source-server-side-encryption-customer-key",
                "x-amz-copy-source-server-side-encryption-customer-key-MD5",
            ]
        } else {
            [
                "x-amz-server-side-encryption-customer-algorithm",
                "x-amz-server-side-encryption-customer-key",
                "x-amz-server-side-encryption-customer-key-MD5",
            ]
        };
        let values = ["AES256".to_owned(), STANDARD.encode(key), STANDARD.encode(Md5::digest(key))];
        names.into_iter().zip(values).collect()
    }

    /// Makes one call, on the connection of the one before where that is still open.
    pub(super) fn call(&mut self, wish: Wish<'_>) -> Result<Answer, ClientError> {
        let request = self.request(&wish)?;
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect()?,
        };
        let (response, body) = match link.exchange(&request) {
            Ok(answer) => answer,
            // A connection that was kept too long: SDKs try once more on a new one.
            Err(_) => {
                link = self.connect()?;
                link.exchange(&request)?
            }
        };
        self.link = Some(link);
        self.calls += 1;
        let Response { status, headers, .. } = response;
        Ok(Answer { status, headers, body })
    }

    fn connect(&self) -> io::Result<Link> {
        let name = self.server.address.ip().to_string();
        Link::open(CLIENT_ADDRESS, self.server.address, self.server.tls.as_ref().map(|config| (config, name.as_str())))
    }

    /// The bytes of a request, signed; or the refusal of the SDK.
    fn request(&mut self, wish: &Wish<'_>) -> Result<Vec<u8>, ClientError> {
        let path = format!(
            "/{}{}{}",
            self.bucket,
            if wish.key.is_empty() { "" } else { "/" },
            String::from_utf8_lossy(&encode_path(wish.key.as_bytes()))
        );
        let mut headers = Headers::over(Vec::new(), 16);
        headers.append(b"Host", self.server.address.to_string().as_bytes());
        for (name, value) in self.program.headers(wish.headers.iter().any(|(name, _)| *name == "x-amz-copy-source")) {
            headers.append(name.as_bytes(), value.as_bytes());
        }
        for (name, value) in &wish.headers {
            headers.append(name.as_bytes(), value.as_bytes());
        }
        self.check(&headers)?;
        let payload = if self.server.tls.is_some() { b"UNSIGNED-PAYLOAD".to_vec() } else { body_hash(wish.body) };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp::EPOCH.after(since);
        self.signer.sign(wish.method.as_bytes(), path.as_bytes(), wish.query.as_bytes(), &mut headers, &payload, at);
        let query = if wish.query.is_empty() { String::new() } else { format!("?{}", wish.query) };
        let mut bytes = format!("{} {path}{query} HTTP/1.1\r\n", wish.method).into_bytes();
        for (name, value) in headers.iter() {
            bytes.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
        }
        if !wish.body.is_empty() || matches!(wish.method, "PUT" | "POST") {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", wish.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"Connection: Keep-Alive\r\n\r\n");
        bytes.extend_from_slice(wish.body);
        Ok(bytes)
    }

    /// What the SDK does before it sends: over plain HTTP its policy decides.
    fn check(&self, headers: &Headers) -> Result<(), ClientError> {
        if self.server.tls.is_some() {
            return Ok(());
        }
        let encryption = Encryption::of_headers(headers);
        let wanted = if encryption.has_customer() || encryption.has_copy_source() {
            SseRequest::CustomerKey
        } else if encryption.kms_key_id.is_some() {
            SseRequest::Kms { key_id: true }
        } else {
            return Ok(());
        };
        match over_http(self.program.sdk(), None, wanted).verdict {
            Verdict::Refused { text } => Err(ClientError::Refused(text)),
            Verdict::Sent | Verdict::Unverified => Ok(()),
        }
    }
}

impl Program {
    const fn sdk(self) -> Sdk {
        match self {
            Self::S3a33 => Sdk::JavaV1,
            Self::S3a34 => Sdk::JavaV2,
        }
    }

    /// The headers that every call of the program has.
    fn headers(self, is_copy: bool) -> Vec<(&'static str, String)> {
        let invocation = ("amz-sdk-invocation-id", invocation_id());
        match self {
            Self::S3a33 => {
                let agent = "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.1.0 OpenJDK_64-Bit_Server_VM/17.0.15+6 java/17.0.15 \
                             scala/2.12.18 vendor/Debian cfg/retry-mode/legacy";
                let manager = " com.amazonaws.services.s3.transfer.TransferManager/1.12.262";
                let agent = if is_copy { format!("{agent}{manager}") } else { agent.to_owned() };
                let retry = [("amz-sdk-request", "attempt=1;max=21"), ("amz-sdk-retry", "0/0/500")];
                let retry = retry.map(|(name, value)| (name, value.to_owned()));
                [invocation, ("User-Agent", agent)].into_iter().chain(retry).collect()
            }
            Self::S3a34 => {
                let agent = "Hadoop 3.4.1, aws-sdk-java/2.24.6 Linux/6.1.0 OpenJDK_64-Bit_Server_VM/17.0.15+6 Java/17.0.15 \
                             scala/2.13.16 vendor/Debian io/sync http/Apache cfg/retry-mode/adaptive ft/s3-transfer";
                vec![invocation, ("User-Agent", agent.to_owned()), ("amz-sdk-request", "attempt=1; max=6".to_owned())]
            }
        }
    }
}

/// Where clients of the lab connect from.
pub const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// A random UUID.
fn invocation_id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers the id is that of nothing, and the call is made all the same.
    let _ = SystemRandom::new().fill(&mut bytes);
    let digits = String::from_utf8_lossy(&hex(&bytes)).into_owned();
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}
