//! Response heads as MinIO writes them.

use crate::request::add_varied_fields;
use crate::s3::{Body, Operation, Plan};
use crate::wire::Wire;

/// The head of a response, the empty line included.
pub fn response_head(plan: &Plan, status: u16, body: &Body, request_id: &str, wire: &mut Wire) -> Vec<u8> {
    if status == 502 {
        return backend_down_head(body, wire);
    }
    let mut head = Vec::with_capacity(640);
    put(&mut head, &["HTTP/1.1 ", &status.to_string(), " ", reason(status), "\r\nAccept-Ranges: bytes\r\n"]);
    if body.chunked {
        put(&mut head, &["Transfer-Encoding: chunked\r\n"]);
    } else {
        // The answer to HEAD tells the length of what it does not send.
        let length = if plan.operation == Operation::HeadObject && status == 200 { plan.amount } else { body.bytes };
        put(&mut head, &["Content-Length: ", &length.to_string(), "\r\n"]);
    }
    if status != 200 || plan.operation == Operation::ListObjectsV2 {
        put(&mut head, &["Content-Type: application/xml\r\n"]);
    } else {
        if plan.operation != Operation::PutObject {
            put(&mut head, &["Content-Type: application/octet-stream\r\nLast-Modified: Mon, 23 Nov 2026 12:59:58 GMT\r\n"]);
        }
        put(&mut head, &["ETag: \""]);
        wire.random.hex(32, &mut head);
        put(&mut head, &["\"\r\n"]);
    }
    if status == 503 {
        put(&mut head, &["Retry-After: 60\r\n"]);
    }
    put(&mut head, &["Server: MinIO\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\n"]);
    put(&mut head, &["Vary: Origin\r\nVary: Accept-Encoding\r\n", X_AMZ_ID_2, "X-Amz-Request-Id: ", request_id, "\r\n"]);
    add_varied_fields(&mut head, wire);
    put(&mut head, &["X-Content-Type-Options: nosniff\r\nX-Ratelimit-Limit: 7018\r\nX-Ratelimit-Remaining: 7017\r\n"]);
    put(&mut head, &["X-Xss-Protection: 1; mode=block\r\nDate: ", &wire.clock.http_date(), "\r\n\r\n"]);
    head
}

fn backend_down_head(body: &Body, wire: &Wire) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    put(&mut head, &["HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/xml; charset=utf-8\r\nRetry-After: 120\r\n"]);
    put(&mut head, &["Server: SideKick\r\nDate: ", &wire.clock.http_date(), "\r\n"]);
    put(&mut head, &["Content-Length: ", &body.bytes.to_string(), "\r\n\r\n"]);
    head
}

const X_AMZ_ID_2: &str = "X-Amz-Id-2: dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8\r\n";

const fn reason(status: u16) -> &'static str {
    match status {
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "OK",
    }
}

fn put(head: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        head.extend_from_slice(part.as_bytes());
    }
}
