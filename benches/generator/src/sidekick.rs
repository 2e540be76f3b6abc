//! What MinIO Sidekick does to the heads that pass through it: names canonicalised and sorted, its own fields added.

use std::net::IpAddr;

/// The request head that the store sees.
pub fn request_to_store(head: &[u8], client: IpAddr) -> Vec<u8> {
    let (first_line, fields) = split(head);
    let host = value_of(&fields, "Host").unwrap_or_default();
    let client = client.to_string();
    let mut fields: Vec<(String, &[u8])> = fields.into_iter().filter(|(name, _)| name != "Connection").collect();
    let twice = format!("{client}, {client}");
    fields.push(("X-Forwarded-For".to_owned(), twice.as_bytes()));
    fields.push(("X-Forwarded-Host".to_owned(), host));
    fields.push(("X-Real-Ip".to_owned(), client.as_bytes()));
    // Go writes these first, then all others by name.
    fields.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
    join(first_line, &fields)
}

/// The response head that the client sees.
pub fn response_to_client(head: &[u8], hide_request_ids: bool) -> Vec<u8> {
    let (first_line, mut fields) = split(head);
    if hide_request_ids {
        fields.retain(|(name, _)| name != "X-Amz-Request-Id" && name != "X-Amz-Id-2");
    }
    let server = fields.iter().position(|(name, _)| name == "Server").unwrap_or(fields.len());
    fields.insert(server, ("Server".to_owned(), b"SideKick"));
    fields.push(("X-Proxy".to_owned(), b"true"));
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    join(first_line, &fields)
}

type Fields<'a> = Vec<(String, &'a [u8])>;

fn split(head: &[u8]) -> (&[u8], Fields<'_>) {
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first_line = lines.next().unwrap_or_default();
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((canonical(&line[..colon]), line[colon + 1..].trim_ascii()))
    });
    (first_line, fields.collect())
}

fn join(first_line: &[u8], fields: &Fields) -> Vec<u8> {
    let mut head = Vec::with_capacity(1200);
    head.extend_from_slice(first_line);
    for (name, value) in fields {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

fn value_of<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
}

fn rank(name: &str) -> u8 {
    match name {
        "Host" => 0,
        "User-Agent" => 1,
        "Content-Length" | "Transfer-Encoding" => 2,
        _ => 3,
    }
}

// Go's textproto.CanonicalMIMEHeaderKey.
fn canonical(name: &[u8]) -> String {
    let mut upper = true;
    let canonical = name.iter().map(|byte| {
        let byte = if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        upper = byte == b'-';
        byte as char
    });
    canonical.collect()
}

#[cfg(test)]
mod tests {
    use super::{request_to_store, response_to_client};

    #[test]
    fn requests_keep_host_and_values_but_lose_order_and_case() {
        let head = b"PUT /b/k HTTP/1.1\r\nHost: s:8091\r\nx-amz-date: D\r\namz-sdk-request: attempt=1\r\nContent-Length: 5\r\n\
                     User-Agent: U\r\nConnection: Keep-Alive\r\n\r\n";
        let expected = "PUT /b/k HTTP/1.1\r\nHost: s:8091\r\nUser-Agent: U\r\nContent-Length: 5\r\nAmz-Sdk-Request: attempt=1\r\n\
                        X-Amz-Date: D\r\nX-Forwarded-For: 172.20.1.5, 172.20.1.5\r\nX-Forwarded-Host: s:8091\r\n\
                        X-Real-Ip: 172.20.1.5\r\n\r\n";
        let seen = request_to_store(head, [172, 20, 1, 5].into());
        assert_eq!(String::from_utf8_lossy(&seen), expected);
    }

    #[test]
    fn responses_name_both_servers_and_the_same_request() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: MinIO\r\nETag: \"e\"\r\nX-Amz-Request-Id: 18EA\r\n\r\n";
        let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nEtag: \"e\"\r\nServer: SideKick\r\nServer: MinIO\r\n\
                        X-Amz-Request-Id: 18EA\r\nX-Proxy: true\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&response_to_client(head, false)), expected);
        assert!(!String::from_utf8_lossy(&response_to_client(head, true)).contains("18EA"));
    }
}
