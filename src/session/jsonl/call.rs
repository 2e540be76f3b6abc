//! The `s3` member of an exchange: what the call means.

use std::borrow::Cow;

use crate::s3::{Auth, Call, Encryption};
use crate::session::json_text::JsonText;
use crate::session::redact::Redactor;

/// Writes the call as an object.
pub(super) fn write_call(json: &mut JsonText, call: &Call<'_>, redactor: &Redactor) {
    let text = |json: &mut JsonText, name: &'static str, value: Option<&[u8]>| write_text(json, name, value, redactor);
    json.open(b'{');
    json.key("operation");
    json.string(call.operation.name());
    text(json, "bucket", call.address.bucket.as_deref());
    text(json, "key", call.address.key.as_deref());
    text(json, "version_id", bytes(&call.version_id()));
    text(json, "upload_id", bytes(&call.upload_id()));
    json.key("part_number");
    match call.part_number() {
        Some(number) => json.number(number.into()),
        None => json.null(),
    }
    write_copy_source(json, call, redactor);
    let client = call.client();
    json.key("client");
    json.open(b'{');
    json.key("sdk");
    json.string(client.sdk.label());
    text(json, "version", client.version.map(str::as_bytes));
    json.close(b'}');
    text(json, "invocation_id", call.invocation_id());
    json.key("attempt");
    match call.attempt() {
        Some(attempt) => json.number(attempt.into()),
        None => json.null(),
    }
    text(json, "request_id", call.request_id().map(str::as_bytes));
    let (in_request, in_response) = call.has_encryption_headers();
    json.key("encryption");
    json.open(b'{');
    write_kinds(json, "request", (in_request || !call.query.is_empty()).then(|| call.request_encryption()));
    write_kinds(json, "response", in_response.then(|| call.response_encryption()));
    json.close(b'}');
    write_auth(json, &call.auth(), redactor);
    json.key("payload");
    json.string(call.payload().label());
    json.key("object_bytes");
    match call.object_bytes() {
        Some(count) => json.number(count),
        None => json.null(),
    }
    write_audit(json, call, redactor);
    json.key("error");
    match call.error() {
        Some(error) => {
            json.open(b'{');
            text(json, "code", Some(error.code.as_bytes()));
            json.key("message");
            json.bytes(&redactor.url(error.message.as_bytes()));
            json.close(b'}');
        }
        None => json.null(),
    }
    json.close(b'}');
}

fn write_text(json: &mut JsonText, name: &'static str, value: Option<&[u8]>, redactor: &Redactor) {
    json.key(name);
    match value {
        Some(value) => json.bytes(&redactor.url(value)),
        None => json.null(),
    }
}

fn write_copy_source(json: &mut JsonText, call: &Call<'_>, redactor: &Redactor) {
    json.key("copy_source");
    let Some(source) = call.copy_source() else {
        json.null();
        return;
    };
    json.open(b'{');
    write_text(json, "bucket", Some(&source.bucket), redactor);
    write_text(json, "key", Some(&source.key), redactor);
    write_text(json, "version_id", source.version_id.as_deref(), redactor);
    json.close(b'}');
}

fn write_kinds(json: &mut JsonText, name: &'static str, encryption: Option<Encryption<'_>>) {
    json.key(name);
    json.open(b'[');
    for kind in encryption.iter().filter(|encryption| !encryption.is_none()).flat_map(Encryption::kinds) {
        json.string(kind.label());
    }
    json.close(b']');
}

fn write_auth(json: &mut JsonText, auth: &Auth<'_>, redactor: &Redactor) {
    json.key("auth");
    json.open(b'{');
    json.key("scheme");
    json.string(auth.scheme.label());
    for (name, value) in [
        ("access_key", bytes(&auth.access_key)),
        ("region", bytes(&auth.region)),
        ("signed_headers", bytes(&auth.signed_headers)),
    ] {
        json.key(name);
        match value {
            Some(value) => json.bytes(&redactor.scrub(value)),
            None => json.null(),
        }
    }
    json.close(b'}');
}

fn bytes<'v, T: ToOwned + AsRef<[u8]> + ?Sized>(value: &'v Option<Cow<'_, T>>) -> Option<&'v [u8]> {
    value.as_ref().map(|value| (**value).as_ref())
}

fn write_audit(json: &mut JsonText, call: &Call<'_>, redactor: &Redactor) {
    json.key("audit");
    let Some(audit) = call.audit() else {
        json.null();
        return;
    };
    json.open(b'{');
    let members = [
        ("op", audit.op.map(str::as_bytes)),
        ("path", audit.p1.as_deref()),
        ("path2", audit.p2.as_deref()),
        ("span_id", audit.span_id.map(str::as_bytes)),
        ("filesystem_id", audit.fs.map(str::as_bytes)),
        ("process_id", audit.ps.map(str::as_bytes)),
        ("principal", audit.pr.as_deref()),
        ("job_id", audit.ji.map(str::as_bytes)),
        ("task_attempt_id", audit.ta.map(str::as_bytes)),
        ("range", audit.rg.map(str::as_bytes)),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            json.key(name);
            json.bytes(&redactor.scrub(value));
        }
    }
    json.close(b'}');
}
