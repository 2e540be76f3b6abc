//! The header of HAProxy's PROXY protocol, by which a proxy names the client before anything else is sent (proxy-protocol.txt,
//! versions 1 and 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Endpoint;

/// What the start of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Not such a header.
    No,
    /// Perhaps the start of one.
    Partial,
    /// One of so many bytes.
    Whole {
        /// 1 or 2.
        version: u8,
        /// The client that is named.
        client: Option<Endpoint>,
        /// Where that client connected to.
        server: Option<Endpoint>,
        /// Its length in bytes.
        length: usize,
    },
}

const V1_START: &[u8] = b"PROXY ";
/// The longest header of version 1 (section 2.1).
const V1_BYTES_MAX: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of version 2: signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// Reads the start of what a client sends.
pub(super) fn read(start: &[u8]) -> Header {
    if begins(start, V1_START) {
        return read_v1(start);
    }
    if begins(start, V2_SIGNATURE) { read_v2(start) } else { Header::No }
}

/// Whether one is the beginning of the other.
fn begins(start: &[u8], mark: &[u8]) -> bool {
    let length = start.len().min(mark.len());
    start.get(..length) == mark.get(..length)
}

fn read_v1(start: &[u8]) -> Header {
    let window = start.get(..V1_BYTES_MAX.min(start.len())).unwrap_or_default();
    let Some(end) = memchr::memmem::find(window, b"\r\n") else {
        return if start.len() < V1_BYTES_MAX { Header::Partial } else { Header::No };
    };
    let Some(line) = window.get(..end).and_then(|line| std::str::from_utf8(line).ok()) else { return Header::No };
    let words: Vec<&str> = line.split(' ').collect();
    let (client, server) = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => (None, None),
        ["PROXY", "TCP4" | "TCP6", source, destination, source_port, destination_port] => {
            match (endpoint(source, source_port), endpoint(destination, destination_port)) {
                (Some(client), Some(server)) => (Some(client), Some(server)),
                _ => return Header::No,
            }
        }
        _ => return Header::No,
    };
    Header::Whole { version: 1, client, server, length: end + 2 }
}

fn endpoint(ip: &str, port: &str) -> Option<Endpoint> {
    Some(Endpoint::new(ip.parse().ok()?, port.parse().ok()?))
}

fn read_v2(start: &[u8]) -> Header {
    let Some(&[command, family, high, low]) = start.get(V2_SIGNATURE.len()..V2_FIXED_BYTES).and_then(|four| four.first_chunk())
    else {
        return Header::Partial;
    };
    if command >> 4 != 2 {
        return Header::No;
    }
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    let Some(addresses) = start.get(V2_FIXED_BYTES..length) else { return Header::Partial };
    // The command LOCAL (0) stands for the proxy's own connections, such as health checks.
    let (client, server) = if command & 0x0f == 1 { v2_ends(family >> 4, addresses) } else { (None, None) };
    Header::Whole { version: 2, client, server, length }
}

fn v2_ends(family: u8, addresses: &[u8]) -> (Option<Endpoint>, Option<Endpoint>) {
    let port = |at: usize| addresses.get(at..).and_then(|rest| rest.first_chunk::<2>()).map(|two| u16::from_be_bytes(*two));
    let v4 = |at: usize| addresses.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|ip| IpAddr::V4(Ipv4Addr::from(*ip)));
    let v6 = |at: usize| addresses.get(at..).and_then(|rest| rest.first_chunk::<16>()).map(|ip| IpAddr::V6(Ipv6Addr::from(*ip)));
    let end = |ip: Option<IpAddr>, port: Option<u16>| Some(Endpoint::new(ip?, port?));
    match family {
        1 => (end(v4(0), port(8)), end(v4(4), port(10))),
        2 => (end(v6(0), port(32)), end(v6(16), port(34))),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_nothing_else_is() {
        let client = Some(Endpoint::new([192, 0, 2, 7].into(), 4321));
        let server = Some(Endpoint::new([192, 0, 2, 9].into(), 443));
        let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.9 4321 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(read(v1), Header::Whole { version: 1, client, server, length: 41 });
        let v2 = [V2_SIGNATURE, &[0x21, 0x11, 0, 15], &[192, 0, 2, 7, 192, 0, 2, 9], &[0x10, 0xe1, 0x01, 0xbb], b"tlv", b"GET /"]
            .concat();
        assert_eq!(read(&v2), Header::Whole { version: 2, client, server, length: 31 });
        let local = [V2_SIGNATURE, &[0x20, 0, 0, 0]].concat();
        assert_eq!(read(&local), Header::Whole { version: 2, client: None, server: None, length: 16 });
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Header::Whole { version: 1, client: None, server: None, length: 15 });
        for length in 1..41 {
            assert_eq!(read(&v1[..length]), Header::Partial, "{length}");
        }
        for length in 1..31 {
            assert_eq!(read(&v2[..length]), Header::Partial, "{length}");
        }
        for other in
            [&b"PROXY nonsense\r\n"[..], b"PROXY TCP4 a b c d\r\n", b"PROPFIND / HTTP/1.1\r\n", b"\r\n\r\nGET /", &[b'P'; 200]]
        {
            assert_eq!(read(other), Header::No, "{other:?}");
        }
    }
}
