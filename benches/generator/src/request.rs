//! Request heads as three AWS SDKs write them.

use crate::clock::DAY_BASIC;
use crate::s3::{BUCKET, Body, Operation, Plan, Sdk, Upload};
use crate::wire::Wire;

/// The head of a request, the empty line included.
pub fn request_head(plan: &Plan, body: &Body, host: &str, wire: &mut Wire) -> Vec<u8> {
    let mut head = Head { text: Vec::with_capacity(1024) };
    head.request_line(plan);
    head.field("Host", &[host]);
    let date = wire.clock.amz_date();
    match plan.sdk {
        Sdk::JavaV1 => java_v1(plan, body, &date, &mut head, wire),
        Sdk::JavaV2 => java_v2(plan, body, &date, &mut head, wire),
        Sdk::Boto3 => boto3(plan, body, &date, &mut head, wire),
    }
    head.text.extend_from_slice(b"\r\n");
    head.text
}

/// Adds fields that few others have, where many different sets of headers are asked for.
pub fn add_varied_fields(head: &mut Vec<u8>, wire: &mut Wire) {
    if !wire.options.varied {
        return;
    }
    for _ in 0..wire.random.below(6) {
        let (name, value_bytes) = VARIED_FIELDS[wire.random.index(VARIED_FIELDS.len())];
        head.extend_from_slice(name.as_bytes());
        if name.ends_with('-') {
            wire.random.hex(6, head);
        }
        head.extend_from_slice(b": ");
        let len = wire.random.within(0..=value_bytes) as usize;
        wire.random.hex(len, head);
        head.extend_from_slice(b"\r\n");
    }
}

struct Head {
    text: Vec<u8>,
}

impl Head {
    fn request_line(&mut self, plan: &Plan) {
        let method = match plan.operation {
            Operation::HeadObject => "HEAD",
            Operation::GetObject | Operation::ListObjectsV2 => "GET",
            Operation::PutObject => "PUT",
        };
        let parts: &[&str] = if plan.operation == Operation::ListObjectsV2 {
            &[method, " /", BUCKET, "/?list-type=2&delimiter=%2F&prefix=", &plan.key.replace('/', "%2F"), "&fetch-owner=false"]
        } else {
            &[method, " /", BUCKET, "/", &plan.key]
        };
        self.put(parts);
        self.put(&[" HTTP/1.1\r\n"]);
    }

    fn field(&mut self, name: &str, value: &[&str]) {
        self.put(&[name, ": "]);
        self.put(value);
        self.put(&["\r\n"]);
    }

    fn put(&mut self, parts: &[&str]) {
        for part in parts {
            self.text.extend_from_slice(part.as_bytes());
        }
    }

    fn authorization(&mut self, plan: &Plan, signed: &str, wire: &mut Wire) {
        if plan.anonymous {
            return;
        }
        let put = if plan.operation == Operation::PutObject { "content-length;" } else { "" };
        self.put(&["Authorization: AWS4-HMAC-SHA256 Credential=minioadmin/", DAY_BASIC, "/us-east-1/s3/aws4_request, "]);
        self.put(&["SignedHeaders=", put, signed, ", Signature="]);
        wire.random.hex(64, &mut self.text);
        self.put(&["\r\n"]);
    }

    fn invocation(&mut self, plan: &Plan, request: &str) {
        if !plan.anonymous {
            self.field("amz-sdk-invocation-id", &[&plan.invocation_id]);
            self.field("amz-sdk-request", &[&request.replace("{}", &plan.attempt.to_string())]);
        }
    }

    fn payload(&mut self, name: &str, plan: &Plan, wire: &mut Wire) {
        self.put(&[name, ": "]);
        match (plan.operation, plan.upload) {
            (Operation::PutObject, Upload::AwsChunked) => self.put(&["STREAMING-AWS4-HMAC-SHA256-PAYLOAD"]),
            (Operation::PutObject, _) => wire.random.hex(64, &mut self.text),
            _ if plan.sdk == Sdk::JavaV2 => self.put(&["UNSIGNED-PAYLOAD"]),
            _ => self.put(&["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]),
        }
        self.put(&["\r\n"]);
    }

    fn body_fields(&mut self, plan: &Plan, body: &Body) {
        if plan.operation != Operation::PutObject {
            return;
        }
        if body.aws_chunked {
            self.field("x-amz-decoded-content-length", &[&body.object_bytes.to_string()]);
        }
        self.field("Content-Length", &[&body.bytes.to_string()]);
        if plan.upload == Upload::AfterContinue {
            self.field("Expect", &["100-continue"]);
        }
    }
}

fn java_v1(plan: &Plan, body: &Body, date: &str, head: &mut Head, wire: &mut Wire) {
    head.invocation(plan, "attempt={};max=21");
    head.field("amz-sdk-retry", &[if plan.attempt == 1 { "0/0/500" } else { "1/0/495" }]);
    add_varied_fields(&mut head.text, wire);
    let signed =
        "amz-sdk-invocation-id;amz-sdk-request;amz-sdk-retry;content-type;host;user-agent;x-amz-content-sha256;x-amz-date";
    head.authorization(plan, signed, wire);
    head.field("Content-Type", &["application/octet-stream"]);
    let agent = "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.1.0-13-amd64 OpenJDK_64-Bit_Server_VM/17.0.15+6 java/17.0.15 \
                 scala/2.12.18 vendor/Debian cfg/retry-mode/legacy";
    head.field("User-Agent", &[agent]);
    head.payload("x-amz-content-sha256", plan, wire);
    head.field("X-Amz-Date", &[date]);
    head.body_fields(plan, body);
    head.field("Connection", &["Keep-Alive"]);
}

fn java_v2(plan: &Plan, body: &Body, date: &str, head: &mut Head, wire: &mut Wire) {
    head.invocation(plan, "attempt={}; max=6");
    let signed = "amz-sdk-invocation-id;amz-sdk-request;host;x-amz-content-sha256;x-amz-date";
    head.authorization(plan, signed, wire);
    add_varied_fields(&mut head.text, wire);
    if body.aws_chunked {
        head.field("Content-Encoding", &["aws-chunked"]);
    }
    let agent = "Hadoop 3.4.1, aws-sdk-java/2.24.6 Linux/6.1.0-13-amd64 OpenJDK_64-Bit_Server_VM/17.0.15+6 Java/17.0.15 \
                 scala/2.13.16 vendor/Debian io/sync http/Apache cfg/retry-mode/adaptive ft/s3-transfer";
    head.field("User-Agent", &[agent]);
    head.payload("x-amz-content-sha256", plan, wire);
    head.field("X-Amz-Date", &[date]);
    head.body_fields(plan, body);
    head.field("Connection", &["Keep-Alive"]);
}

fn boto3(plan: &Plan, body: &Body, date: &str, head: &mut Head, wire: &mut Wire) {
    head.field("Accept-Encoding", &["identity"]);
    let agent = "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1.0-13-amd64 md/arch#x86_64 lang/python#3.12.3 \
                 md/pyimpl#CPython m/Z,b,e cfg/retry-mode#legacy Botocore/1.44.5";
    head.field("User-Agent", &[agent]);
    add_varied_fields(&mut head.text, wire);
    head.field("X-Amz-Date", &[date]);
    head.payload("X-Amz-Content-SHA256", plan, wire);
    head.authorization(plan, "host;x-amz-content-sha256;x-amz-date", wire);
    head.invocation(plan, "attempt={}");
    head.body_fields(plan, body);
}

// Name and longest value. A name that ends in `-` gets a random tail. Values are hexadecimal digits, or empty.
const VARIED_FIELDS: [(&str, u64); 8] = [
    ("x-amz-meta-", 40),
    ("X-Amz-Meta-", 200),
    ("x-custom-", 16),
    ("Cache-Control", 12),
    ("Content-Language", 2),
    ("x-amz-storage-class", 8),
    ("X-B3-Traceid", 32),
    ("cookie", 120),
];
