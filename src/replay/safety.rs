//! What may be sent: the S3 operation decides, not the method.

use crate::s3::{Call, Encryption, Level, Operation};

/// Why a call is not sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// It changes something in the store, and that was not allowed.
    Writes,
    /// A sub-resource that some stores do not know: they would take the request for a plain PUT or DELETE.
    SubResource(String),
    /// A customer key would travel over http.
    CustomerKeyOverHttp,
    /// A value that was redacted in the recording: what holds it.
    Redacted(String),
    /// A request to the store's own paths, to the token service, or an endless stream.
    NotReplayable(&'static str),
    /// The recording lacks the body that decides what the request does.
    BodyMissing,
    /// An id that the store makes and that no call of this replay returned.
    IdMissing(&'static str),
}

impl Held {
    /// In words.
    pub fn text(&self) -> String {
        match self {
            Self::Writes => "it changes the store: needs --allow-writes".to_owned(),
            Self::SubResource(name) => {
                format!(
                    "the sub-resource {name} is not known to every store, which may take it for a plain PUT or DELETE: needs --force-subresources"
                )
            }
            Self::CustomerKeyOverHttp => {
                "a customer key (SSE-C) would travel over http: use an https target, --sse drop, or --force-sse-c-over-http"
                    .to_owned()
            }
            Self::Redacted(what) => format!("{what} is redacted in the recording: give it anew (--sse-c-key FILE, --sse drop)"),
            Self::NotReplayable(why) => (*why).to_owned(),
            Self::BodyMissing => "the recording lacks its body, which decides what it does: record with --bodies".to_owned(),
            Self::IdMissing(what) => format!("no call of this replay returned its {what}"),
        }
    }
}

/// What the user allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permissions {
    /// Calls that change the store.
    pub writes: bool,
    /// Sub-resources that some stores do not know.
    pub subresources: bool,
}

/// Whether a call may be sent; `None` where it may.
pub fn judge(call: &Call<'_>, permissions: Permissions) -> Option<Held> {
    if let Some(why) = never(call) {
        return Some(Held::NotReplayable(why));
    }
    let method = call.exchange.request.method();
    let is_read = call.is_read() && (matches!(method, b"GET" | b"HEAD") || call.operation == Operation::SELECT_OBJECT_CONTENT);
    if is_read && !call.is_ambiguous {
        return None;
    }
    if !permissions.writes {
        return Some(Held::Writes);
    }
    if !permissions.subresources
        && let Some(name) = trap(call)
    {
        return Some(Held::SubResource(name));
    }
    None
}

fn never(call: &Call<'_>) -> Option<&'static str> {
    match call.operation {
        Operation::UNKNOWN => Some("no operation of S3 that is known"),
        Operation::LISTEN_NOTIFICATION => Some("an endless stream of events"),
        Operation::GET_OBJECT_LAMBDA => Some("it calls a function of somebody else"),
        operation if operation.is_sts() => Some("a request for credentials: the replay has its own"),
        operation if operation.level() == Level::Service => Some("a path of the store or proxy itself"),
        _ => None,
    }
}

/// The name of a sub-resource that MinIO routes to a plain PUT or DELETE (`s3-operations`: the reached handler), or that is not
/// part of the operation at all.
fn trap(call: &Call<'_>) -> Option<String> {
    let row = call.operation.row();
    if let Some(row) = row {
        const PLAIN: [(&str, &str); 4] = [
            ("DeleteBucket", "DeleteBucket"),
            ("DeleteObject", "DeleteObject"),
            ("PutObject", "PutObject"),
            ("PutBucket", "CreateBucket"),
        ];
        let reached = PLAIN.iter().find(|(handler, operation)| row.minio_handler == *handler && row.operation != *operation);
        if reached.is_some() {
            return Some(row.query_keys.first().copied().unwrap_or(row.operation).to_owned());
        }
    }
    if let Some(name) = call.exchange.request.headers.find("x-minio-force-delete").map(|_| "x-minio-force-delete") {
        return Some(name.to_owned());
    }
    let known = row.map(|row| row.query_keys).unwrap_or_default();
    call.query.iter().map(|(name, _)| String::from_utf8_lossy(&name).into_owned()).find(|name| {
        let is_known = known.iter().any(|key| key.split('=').next() == Some(name));
        let lower = name.to_ascii_lowercase();
        !is_known && !HARMLESS.contains(&lower.as_str()) && !lower.starts_with("x-amz-") && !lower.starts_with("response-")
    })
}

/// Parameters that never select another operation.
const HARMLESS: [&str; 6] = ["x-id", "versionid", "awsaccesskeyid", "signature", "expires", "encoding-type"];

/// Whether a request names a customer key.
pub(super) fn has_customer_key(encryption: &Encryption<'_>) -> bool {
    encryption.has_customer() || encryption.has_copy_source()
}
