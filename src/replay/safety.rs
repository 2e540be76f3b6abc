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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Endpoints, Exchange, ExchangeId, Outcome, Request, Transport, Version};
    use crate::s3::{Domains, Method, OPERATIONS, OperationRow};

    fn exchange(method: &str, host: &str, target: &str, headers: &[(&str, &str)]) -> Exchange {
        let mut request = Request::from_parts(method.as_bytes(), target.as_bytes(), Version::Http11);
        request.headers.append(b"host", host.as_bytes());
        request.headers.append(b"x-amz-date", b"20261123T131505Z");
        for (name, value) in headers {
            request.headers.append(name.as_bytes(), value.as_bytes());
        }
        Exchange {
            id: ExchangeId::default(),
            endpoints: Endpoints { client: Endpoint::UNKNOWN, server: Endpoint::UNKNOWN },
            transport: Transport::Clear,
            tunnel: None,
            request,
            interim: Vec::new(),
            outcome: Outcome::Unanswered,
            ending: None,
            anomalies: Vec::new(),
        }
    }

    const METHODS: [(Method, &str); 6] = [
        (Method::Get, "GET"),
        (Method::Head, "HEAD"),
        (Method::Put, "PUT"),
        (Method::Post, "POST"),
        (Method::Delete, "DELETE"),
        (Method::Options, "OPTIONS"),
    ];

    /// The request of a row of the table, in path style and in virtual-host style.
    fn requests(row: &OperationRow) -> Vec<Exchange> {
        let method = METHODS.iter().find(|(method, _)| *method == row.method).map_or("GET", |(_, name)| name);
        let keys: Vec<String> =
            row.query_keys.iter().map(|key| if key.contains('=') { (*key).to_owned() } else { format!("{key}=1") }).collect();
        let query = if keys.is_empty() { String::new() } else { format!("?{}", keys.join("&")) };
        let headers: Vec<(&str, &str)> = row.headers.iter().map(|name| (name.as_str(), "b/k")).collect();
        let (in_path, in_host) = match row.level {
            Level::Root | Level::Service => ("/", "/"),
            Level::Bucket => ("/bucket", "/"),
            Level::Object => ("/bucket/key", "/key"),
        };
        vec![
            exchange(method, "store:9000", &format!("{in_path}{query}"), &headers),
            exchange(method, "bucket.s3.example.com", &format!("{in_host}{query}"), &headers),
        ]
    }

    #[test]
    fn without_permission_no_operation_of_the_table_that_changes_anything_is_sent() {
        let domains = Domains::new(vec!["s3.example.com".to_owned()]);
        let mut sent = 0;
        for row in OPERATIONS {
            for exchange in requests(row) {
                let Some(call) = Call::read(&exchange, &domains) else { continue };
                let held = judge(&call, Permissions::default());
                let method = exchange.request.method();
                let is_reading = matches!(method, b"GET" | b"HEAD") || call.operation == Operation::SELECT_OBJECT_CONTENT;
                assert_eq!(held.is_none(), is_reading, "{} {held:?}", row.operation);
                // What MinIO would make of it, by its own routes.
                if held.is_none() {
                    let handler = row.minio_handler;
                    let changes = ["Put", "Delete", "Copy", "New", "Complete", "Abort", "Post", "Restore", "Reset"];
                    assert!(!changes.iter().any(|word| handler.starts_with(word)), "{} reaches {handler}", row.operation);
                    sent += 1;
                }
            }
        }
        assert!(sent > 60, "{sent}");
    }

    #[test]
    fn sub_resources_that_fall_through_to_a_plain_operation_are_held_back_even_where_writes_are_allowed() {
        let allowed = Permissions { writes: true, subresources: false };
        let domains = Domains::default();
        for (method, target, is_held) in [
            ("DELETE", "/b?ownershipControls", true),
            ("DELETE", "/b?publicAccessBlock", true),
            ("DELETE", "/b?analytics&id=1", true),
            ("DELETE", "/b?intelligent-tiering&id=1", true),
            ("PUT", "/b/k?renameObject", true),
            ("PUT", "/b/k?encryption", true),
            ("PUT", "/b/k?somethingNew", true),
            ("DELETE", "/b/k?annotation", true),
            ("DELETE", "/b", false),
            ("DELETE", "/b/k?versionId=1", false),
            ("PUT", "/b/k?x-id=PutObject", false),
            ("PUT", "/b/k?partNumber=1&uploadId=2", false),
            ("PUT", "/b/k?tagging", false),
            ("PUT", "/b/k?X-Amz-Signature=1&X-Amz-Credential=2", false),
        ] {
            let exchange = exchange(method, "store:9000", target, &[]);
            let call = Call::read(&exchange, &domains).unwrap();
            let held = judge(&call, allowed);
            assert_eq!(matches!(held, Some(Held::SubResource(_))), is_held, "{method} {target} {held:?}");
            let forced = judge(&call, Permissions { writes: true, subresources: true });
            assert_eq!(forced, None, "{method} {target}");
        }
        let forced_delete = exchange("DELETE", "store:9000", "/b", &[("x-minio-force-delete", "true")]);
        let call = Call::read(&forced_delete, &domains).unwrap();
        assert!(matches!(judge(&call, allowed), Some(Held::SubResource(_))));
    }

    #[test]
    fn what_is_no_call_of_a_client_to_a_bucket_is_never_sent() {
        let all = Permissions { writes: true, subresources: true };
        for (method, target) in [
            ("GET", "/minio/admin/v3/info"),
            ("POST", "/?Action=AssumeRole"),
            ("GET", "/b?events=s3:ObjectCreated:*"),
            ("GET", "/minio/health/live"),
        ] {
            let exchange = exchange(method, "store:9000", target, &[("content-type", "application/x-www-form-urlencoded")]);
            if let Some(call) = Call::read(&exchange, &Domains::default()) {
                assert!(matches!(judge(&call, all), Some(Held::NotReplayable(_))), "{method} {target}");
            }
        }
    }
}
