//! S3 calls: what the client asks, and the heads and bodies of both messages as AWS SDKs and MinIO write them.

use crate::outgoing::Piece;
use crate::request::request_head;
use crate::response::response_head;
use crate::wire::Wire;

/// The operations of the mix, by their AWS names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// HEAD of an object.
    HeadObject = 0,
    /// GET of an object.
    GetObject = 1,
    /// GET of a bucket with `list-type=2`.
    ListObjectsV2 = 2,
    /// PUT of an object.
    PutObject = 3,
}

impl Operation {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::HeadObject, Self::GetObject, Self::ListObjectsV2, Self::PutObject];

    /// The AWS name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeadObject => "HeadObject",
            Self::GetObject => "GetObject",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::PutObject => "PutObject",
        }
    }
}

/// The SDK that sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// aws-sdk-java 1.12.262 under Hadoop 3.3.4.
    JavaV1,
    /// aws-sdk-java 2.24.6 under Hadoop 3.4.1.
    JavaV2,
    /// boto3 1.44.5.
    Boto3,
}

/// How the bytes of a PUT travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// As they are.
    Plain,
    /// The same, after `100 Continue`.
    AfterContinue,
    /// In signed chunks of 64 KiB (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD`).
    AwsChunked,
}

/// What a client asks for; a retry asks for the same again.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The operation.
    pub operation: Operation,
    /// The key, or the prefix of a list.
    pub key: String,
    /// Bytes of the object, or keys of the list.
    pub amount: u64,
    /// How a PUT travels.
    pub upload: Upload,
    /// Whether a list is answered in chunks.
    pub chunked: bool,
    /// Whether the object is missing.
    pub missing: bool,
    /// Who asks.
    pub sdk: Sdk,
    /// Unsigned, without any id.
    pub anonymous: bool,
    /// The same for all attempts of a call.
    pub invocation_id: String,
    /// From 1.
    pub attempt: u32,
    /// Where in the noise the object bytes start.
    pub noise_at: usize,
}

impl Plan {
    /// Chooses the next call of a client by the mix of the kind of traffic.
    pub fn choose(sdk: Sdk, wire: &mut Wire) -> Self {
        let is_bulk = wire.options.kind.is_bulk();
        let random = &mut wire.random;
        let operation = match (is_bulk, random.below(100)) {
            (true, 0..50) => Operation::GetObject,
            (true, _) => Operation::PutObject,
            (false, 0..35) => Operation::HeadObject,
            (false, 35..73) => Operation::GetObject,
            (false, 73..88) => Operation::ListObjectsV2,
            (false, _) => Operation::PutObject,
        };
        let amount = match operation {
            _ if is_bulk => random.within(1 << 20..=8 << 20),
            Operation::HeadObject => random.within(1..=100_000_000),
            Operation::GetObject => random.within(200..=2_000),
            Operation::ListObjectsV2 => random.within(1..=25),
            Operation::PutObject => random.within(200..=3_000),
        };
        let upload = match random.below(8) {
            0 | 1 if is_bulk => Upload::AwsChunked,
            _ if random.chance(500) => Upload::AfterContinue,
            _ => Upload::Plain,
        };
        let table = random.below(40);
        let key = if operation == Operation::ListObjectsV2 {
            format!("warehouse/t{table:02}/_temporary/{}/", random.below(9))
        } else {
            format!("warehouse/t{table:02}/part-{:05}-{}-c000.snappy.parquet", random.below(100_000), uuid(random))
        };
        Self {
            operation,
            key,
            amount,
            upload,
            chunked: operation == Operation::ListObjectsV2 && random.chance(300),
            missing: !is_bulk && operation == Operation::GetObject && random.chance(60),
            sdk,
            anonymous: wire.options.two_hop && random.chance(20),
            invocation_id: uuid(random),
            attempt: 1,
            noise_at: random.bits() as usize,
        }
    }
}

/// Who answers a call, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The store, as asked.
    Store,
    /// The store, with 503 SlowDown.
    SlowDown,
    /// The proxy on its own: no backend is up.
    BackendDown,
}

/// The body of a message.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// As it goes on the wire, transfer coding included.
    pub pieces: Vec<Piece>,
    /// Bytes without the transfer coding; those of `Content-Length`.
    pub bytes: u64,
    /// Bytes without aws-chunked either.
    pub object_bytes: u64,
    /// In `Transfer-Encoding: chunked`.
    pub chunked: bool,
    /// In signed chunks.
    pub aws_chunked: bool,
}

/// One call with both messages.
pub struct Call {
    /// What was asked.
    pub plan: Plan,
    /// The status of the answer.
    pub status: u16,
    /// The head of the request, as the client sends it.
    pub request: Vec<u8>,
    /// The body of the request.
    pub request_body: Body,
    /// The head of the response, as the store sends it.
    pub response: Vec<u8>,
    /// The body of the response.
    pub response_body: Body,
    /// The store's request id.
    pub request_id: String,
}

impl Call {
    /// Writes both messages of a call.
    pub fn build(plan: Plan, answer: Answer, host: &str, wire: &mut Wire) -> Self {
        let status = match answer {
            Answer::SlowDown => 503,
            Answer::BackendDown => 502,
            Answer::Store if plan.missing => 404,
            Answer::Store => 200,
        };
        let request_body = request_body(&plan, wire);
        let request = request_head(&plan, &request_body, host, wire);
        wire.truth.calls += 1;
        // MinIO's request id is the time of the answer in nanoseconds; the count of calls stands for their last digits.
        let request_id = format!("{:016X}", wire.clock.micros() * 1000 + wire.truth.calls % 1000);
        let response_body = response_body(&plan, status, &request_id, wire);
        let response = response_head(&plan, status, &response_body, &request_id, wire);
        Self { plan, status, request, request_body, response, response_body, request_id }
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.plan.operation == Operation::PutObject && self.plan.upload == Upload::AfterContinue
    }
}

/// The bucket of all calls.
pub const BUCKET: &str = "spark-data";

fn request_body(plan: &Plan, wire: &mut Wire) -> Body {
    if plan.operation != Operation::PutObject {
        return Body::default();
    }
    if plan.upload != Upload::AwsChunked {
        return object(plan);
    }
    let mut body = Body { object_bytes: plan.amount, aws_chunked: true, ..Body::default() };
    let mut sent = 0;
    loop {
        let len = (plan.amount - sent).min(AWS_CHUNK_BYTES);
        let mut line = format!("{len:x};chunk-signature=").into_bytes();
        wire.random.hex(64, &mut line);
        line.extend(b"\r\n");
        body.bytes += line.len() as u64 + len + 2;
        body.pieces.push(Piece::Bytes(line));
        if len > 0 {
            body.pieces.push(Piece::Noise(plan.noise_at.wrapping_add(sent as usize), len as usize));
        }
        body.pieces.push(Piece::Bytes(b"\r\n".to_vec()));
        sent += len;
        if len == 0 {
            return body;
        }
    }
}

fn response_body(plan: &Plan, status: u16, request_id: &str, wire: &mut Wire) -> Body {
    if plan.operation == Operation::HeadObject {
        return Body::default();
    }
    if status != 200 {
        return text(error_xml(plan, status, request_id), false);
    }
    match plan.operation {
        Operation::GetObject => object(plan),
        Operation::ListObjectsV2 => text(list_xml(plan, wire), plan.chunked),
        Operation::HeadObject | Operation::PutObject => Body::default(),
    }
}

fn object(plan: &Plan) -> Body {
    Body {
        pieces: vec![Piece::Noise(plan.noise_at, plan.amount as usize)],
        bytes: plan.amount,
        object_bytes: plan.amount,
        ..Body::default()
    }
}

fn text(text: Vec<u8>, chunked: bool) -> Body {
    let bytes = text.len() as u64;
    if !chunked {
        return Body { pieces: vec![Piece::Bytes(text)], bytes, object_bytes: bytes, ..Body::default() };
    }
    let mut coded = Vec::with_capacity(text.len() + 32);
    for chunk in text.chunks(HTTP_CHUNK_BYTES) {
        coded.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        coded.extend_from_slice(chunk);
        coded.extend(b"\r\n");
    }
    coded.extend(b"0\r\n\r\n");
    Body { pieces: vec![Piece::Bytes(coded)], bytes, object_bytes: bytes, chunked: true, aws_chunked: false }
}

const AWS_CHUNK_BYTES: u64 = 65_536;
const HTTP_CHUNK_BYTES: usize = 2_048;

fn error_xml(plan: &Plan, status: u16, request_id: &str) -> Vec<u8> {
    let (code, message) = match status {
        404 => ("NoSuchKey", "The specified key does not exist."),
        503 => ("SlowDown", "Resource requested is unreadable, please reduce your request rate"),
        _ => ("BackendDown", "All backend servers are offline"),
    };
    let key = &plan.key;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><Key>{key}</Key>\
         <BucketName>{BUCKET}</BucketName><Resource>/{BUCKET}/{key}</Resource><RequestId>{request_id}</RequestId></Error>"
    )
    .into_bytes()
}

fn list_xml(plan: &Plan, wire: &mut Wire) -> Vec<u8> {
    let (prefix, count) = (&plan.key, plan.amount);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys>\
         <Delimiter>/</Delimiter><IsTruncated>false</IsTruncated>"
    )
    .into_bytes();
    for number in 0..count {
        xml.extend_from_slice(b"<Contents><Key>");
        xml.extend_from_slice(prefix.as_bytes());
        xml.extend_from_slice(b"part-");
        xml.extend(format!("{number:05}-").into_bytes());
        wire.random.hex(32, &mut xml);
        xml.extend_from_slice(b".parquet</Key><LastModified>2026-11-23T12:59:58.123Z</LastModified><ETag>&#34;");
        wire.random.hex(32, &mut xml);
        xml.extend_from_slice(b"&#34;</ETag><Size>");
        xml.extend(wire.random.below(100_000_000).to_string().into_bytes());
        xml.extend_from_slice(b"</Size><StorageClass>STANDARD</StorageClass></Contents>");
    }
    xml.extend_from_slice(b"</ListBucketResult>");
    xml
}

fn uuid(random: &mut crate::random::Random) -> String {
    let mut digits = Vec::with_capacity(32);
    random.hex(32, &mut digits);
    let mut uuid = String::with_capacity(36);
    for (at, &digit) in digits.iter().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(if at == 12 { '4' } else { digit as char });
    }
    uuid
}
