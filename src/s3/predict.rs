//! What would become of recorded requests over plain HTTP, by SDK: refused in the client, or sent with secrets readable.

use crate::s3::policy::{Policy, SseRequest, Verdict, over_http};
use crate::s3::{Call, Encryption, Sdk};

/// What can be read on the network path where a request is sent over plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leak {
    /// A raw customer key.
    CustomerKey,
    /// A session token.
    SessionToken,
    /// An encryption context.
    Context,
    /// A KMS key id.
    KmsKeyId,
}

impl Leak {
    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CustomerKey => "raw customer key (SSE-C)",
            Self::SessionToken => "session token",
            Self::Context => "encryption context",
            Self::KmsKeyId => "KMS key id",
        }
    }
}

/// Requests of one operation with one kind of encryption, and what an SDK does with them over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The SDK.
    pub sdk: Sdk,
    /// The operation.
    pub operation: &'static str,
    /// `sse-c`, `copy-source-sse-c`, `sse-kms`, `sse-s3`, or `none`.
    pub encryption: &'static str,
    /// What happens, and how that is known.
    pub policy: Policy,
    /// Requests.
    pub count: u64,
    /// What can be read where they are sent.
    pub leaks: Vec<Leak>,
}

/// The SDKs that predictions are made for.
pub const SDKS: [Sdk; 23] = [
    Sdk::JavaV1,
    Sdk::JavaV2,
    Sdk::Boto3,
    Sdk::AwsCli,
    Sdk::GoV1,
    Sdk::GoV2,
    Sdk::JsV2,
    Sdk::JsV3,
    Sdk::DotNet,
    Sdk::Ruby,
    Sdk::Php,
    Sdk::Cpp,
    Sdk::Rust,
    Sdk::MinioGo,
    Sdk::MinioJava,
    Sdk::MinioPy,
    Sdk::MinioJs,
    Sdk::MinioRs,
    Sdk::Mc,
    Sdk::Rclone,
    Sdk::S5cmd,
    Sdk::DuckDb,
    Sdk::ObjectStore,
];

/// Predicts for all SDKs, call by call.
#[derive(Clone, Debug, Default)]
pub struct Predictor {
    rows: Vec<Prediction>,
    calls: u64,
    returned_key_ids: u64,
    object_bytes: u64,
}

impl Predictor {
    /// Adds a call of the recording.
    pub fn add(&mut self, call: &Call<'_>) {
        self.calls += 1;
        self.object_bytes += call.object_bytes().unwrap_or(0);
        self.returned_key_ids += u64::from(call.response_encryption().kms_key_id.is_some());
        let asks = call.request_encryption();
        let mut leaks = leaks(&asks);
        if call.auth().session_token.is_some() {
            leaks.push(Leak::SessionToken);
        }
        leaks.sort_unstable();
        let kinds = kinds(&asks);
        for sdk in SDKS {
            // Where a request has several kinds, the first that is refused decides.
            let policies = kinds.iter().map(|(kind, label)| (over_http(sdk, None, *kind), *label));
            let refused = policies.clone().find(|(policy, _)| matches!(policy.verdict, Verdict::Refused { .. }));
            let unknown = policies.clone().find(|(policy, _)| policy.verdict == Verdict::Unverified);
            let plain = (Policy { verdict: Verdict::Sent, evidence: "no encryption is asked for" }, "none");
            let (policy, encryption) = refused.or(unknown).or_else(|| policies.clone().next()).unwrap_or(plain);
            self.count(Prediction { sdk, operation: call.operation.name(), encryption, policy, count: 1, leaks: leaks.clone() });
        }
    }

    fn count(&mut self, row: Prediction) {
        let is_same = |one: &Prediction| {
            one.sdk == row.sdk && one.operation == row.operation && one.encryption == row.encryption && one.leaks == row.leaks
        };
        match self.rows.iter_mut().find(|one| is_same(one)) {
            Some(one) => one.count += 1,
            None => self.rows.push(row),
        }
    }

    /// The predictions, by SDK in the order of [`SDKS`].
    pub fn rows(&self) -> impl Iterator<Item = &Prediction> {
        SDKS.into_iter().flat_map(|sdk| self.rows.iter().filter(move |row| row.sdk == sdk))
    }

    /// Calls so far.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Responses that name a KMS key id: readable over plain HTTP whatever the SDK is.
    pub const fn returned_key_ids(&self) -> u64 {
        self.returned_key_ids
    }

    /// Bytes of objects: readable over plain HTTP whatever the SDK is.
    pub const fn object_bytes(&self) -> u64 {
        self.object_bytes
    }
}

fn kinds(asks: &Encryption<'_>) -> Vec<(SseRequest, &'static str)> {
    let mut kinds = Vec::new();
    if asks.has_customer() {
        kinds.push((SseRequest::CustomerKey, "sse-c"));
    }
    if asks.has_copy_source() {
        kinds.push((SseRequest::CopySourceCustomerKey, "copy-source-sse-c"));
    }
    match asks.algorithm.as_deref() {
        Some(b"aws:kms" | b"aws:kms:dsse") => kinds.push((SseRequest::Kms { key_id: asks.kms_key_id.is_some() }, "sse-kms")),
        Some(b"AES256") => kinds.push((SseRequest::SseS3, "sse-s3")),
        _ => {}
    }
    kinds
}

fn leaks(asks: &Encryption<'_>) -> Vec<Leak> {
    let mut leaks = Vec::new();
    if asks.customer_key.is_some() || asks.copy_source_key.is_some() {
        leaks.push(Leak::CustomerKey);
    }
    if asks.kms_key_id.is_some() {
        leaks.push(Leak::KmsKeyId);
    }
    if asks.context.is_some() {
        leaks.push(Leak::Context);
    }
    leaks
}
