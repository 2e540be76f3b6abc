//! Where one connection is to go: decided by its route, by the client, or by where it was redirected from.

use std::net::{IpAddr, SocketAddr};

use crate::proxy::route::{AllowedTarget, Destination, Target, split_port};

/// Where a connection goes, and by what name the server has to prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) target: Target,
    /// The name that is asked for in TLS.
    pub(super) server_name: String,
    /// A second address to try, where the first refuses.
    pub(super) other: Option<SocketAddr>,
}

impl Goal {
    pub(super) fn of(target: Target) -> Self {
        let server_name = target.host.clone();
        Self { target, server_name, other: None }
    }
}

/// What the start of a request to a forward proxy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// CONNECT: a tunnel.
    Tunnel { host: String, port: u16 },
    /// The absolute form.
    Absolute { host: String, port: u16 },
}

impl Ask {
    /// Reads the head of a request; `None` where it asks for nothing that a forward proxy can do.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let line = head.split(|byte| *byte == b'\r').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if method == "CONNECT" {
            let (host, port) = split_port(target).ok()?;
            return Some(Self::Tunnel { host: host_name(host)?, port: port? });
        }
        let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
        let rest = target.get(scheme.len()..)?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = split_port(authority).ok()?;
        Some(Self::Absolute { host: host_name(host)?, port: port.unwrap_or(80) })
    }

    pub(super) fn place(&self) -> (&str, u16) {
        match self {
            Self::Tunnel { host, port } | Self::Absolute { host, port } => (host, *port),
        }
    }
}

fn host_name(host: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | ':');
    (!host.is_empty() && host.len() <= 253 && host.chars().all(is_plain)).then(|| host.to_ascii_lowercase())
}

/// Whether a forward proxy connects to this name at all.
pub(super) fn is_allowed(to: &Destination, host: &str, port: u16) -> bool {
    match to {
        Destination::Asked(allowed) => allowed.is_empty() || allowed.iter().any(|target| target.covers(host, port)),
        _ => true,
    }
}

/// Whether a forward proxy connects to this address of a name. Addresses of this machine and of its link are not for clients
/// to choose (metadata services are there), unless they were named.
pub(super) fn is_allowed_address(to: &Destination, host: &str, address: SocketAddr) -> bool {
    let Destination::Asked(allowed) = to else { return true };
    let is_named = |target: &AllowedTarget| target.covers(host, address.port());
    let is_special = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    };
    let is_link_local = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    // A name that resolves to a link-local address is a trick, also where the name is allowed.
    let is_literal = host.parse::<IpAddr>().is_ok();
    !is_special || (allowed.iter().any(is_named) && (is_literal || !is_link_local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_asks_for_is_read_from_its_first_line() {
        let tunnel = |host: &str, port| Some(Ask::Tunnel { host: host.to_owned(), port });
        let absolute = |host: &str, port| Some(Ask::Absolute { host: host.to_owned(), port });
        for (line, ask) in [
            ("CONNECT Store:9000 HTTP/1.1", tunnel("store", 9000)),
            ("CONNECT [::1]:9 HTTP/1.1", tunnel("::1", 9)),
            ("CONNECT store HTTP/1.1", None),
            ("GET http://store:9000/b/k HTTP/1.1", absolute("store", 9000)),
            ("GET HTTP://store?x HTTP/1.1", absolute("store", 80)),
            ("GET http://a@store/ HTTP/1.1", None),
            ("GET https://store/ HTTP/1.1", None),
            ("GET /b/k HTTP/1.1", None),
        ] {
            assert_eq!(Ask::read(format!("{line}\r\n\r\n").as_bytes()), ask, "{line}");
        }
    }

    #[test]
    fn addresses_of_the_machine_and_its_link_are_not_for_clients_to_choose() {
        let asked =
            |allowed: &[&str]| Destination::Asked(allowed.iter().map(|text| AllowedTarget::parse(text).unwrap()).collect());
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (allowed, host, address, is_allowed) in [
            (asked(&[]), "s3.example.org", "93.184.216.34:443", true),
            (asked(&[]), "store", "10.0.0.9:9000", true),
            (asked(&[]), "evil", "169.254.169.254:80", false),
            (asked(&[]), "evil", "127.0.0.1:9000", false),
            (asked(&[]), "evil", "[::ffff:127.0.0.1]:9000", false),
            (asked(&[]), "evil", "[fe80::1]:80", false),
            (asked(&[]), "evil", "0.0.0.0:80", false),
            (asked(&["localhost:9000"]), "localhost", "127.0.0.1:9000", true),
            (asked(&["localhost:9000"]), "localhost", "127.0.0.1:22", false),
            (asked(&["*.example.org"]), "a.example.org", "169.254.169.254:80", false),
            (asked(&["169.254.169.254"]), "169.254.169.254", "169.254.169.254:80", true),
        ] {
            assert_eq!(is_allowed_address(&allowed, host, at(address)), is_allowed, "{host} {address}");
        }
        assert!(!is_allowed(&asked(&["a:1"]), "a", 2) && is_allowed(&asked(&["*.b"]), "a.b", 2));
    }
}
