//! The machine that captured its own loopback traffic: under which address it is seen outside. A relay on the client's own host
//! (stunnel, a sidecar) is asked at a loopback address and asks elsewhere from that one.

use std::net::IpAddr;

use crate::model::Endpoints;

/// What the connections show of the capturing machine's address.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The first loopback address that was asked.
    loopback: Option<IpAddr>,
    /// The addresses that are an end of every other connection: client and server of the first, those that are left later.
    outside: Option<[Option<IpAddr>; 2]>,
    /// Whether the loopback address was asked before any other.
    is_asked_first: bool,
}

impl Host {
    /// Takes note of a connection.
    pub(super) fn observe(&mut self, Endpoints { client, server }: Endpoints) {
        if client.ip.is_loopback() || server.ip.is_loopback() {
            if self.loopback.is_none() {
                self.is_asked_first = self.outside.is_none();
                self.loopback = Some(server.ip);
            }
            return;
        }
        let is_end = |ip: &IpAddr| *ip == client.ip || *ip == server.ip;
        self.outside = Some(match self.outside {
            None => [Some(client.ip), Some(server.ip)],
            Some(both) => both.map(|one| one.filter(is_end)),
        });
    }

    /// The address under which the machine is seen outside, where the capture holds its loopback traffic and one address is an end of
    /// all other connections. Where both ends are, the machine is the one that acts second: a relay asks after it was asked, and a
    /// TLS front asks its store after it was asked.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.loopback?;
        match self.outside? {
            [Some(client), Some(server)] => Some(if self.is_asked_first { client } else { server }),
            [client, server] => client.or(server),
        }
    }

    /// The other address of the same machine: its outside one for a loopback address, and the reverse.
    pub(super) fn alias(&self, ip: IpAddr) -> Option<IpAddr> {
        let address = self.address()?;
        if ip.is_loopback() { Some(address) } else { self.loopback.filter(|_| ip == address) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn host(connections: &[(&str, &str)]) -> Host {
        let mut host = Host::default();
        for (client, server) in connections {
            let end = |ip: &str| Endpoint::new(ip.parse().unwrap(), 80);
            host.observe(Endpoints { client: end(client), server: end(server) });
        }
        host
    }

    #[test]
    fn the_machine_is_an_end_of_every_connection_and_acts_second() {
        let (local, relay) = (("127.0.0.1", "127.0.0.1"), ("10.0.0.5", "10.0.0.9"));
        let address = |connections: &[(&str, &str)]| host(connections).address().map(|ip| ip.to_string());
        assert_eq!(address(&[local, relay]).as_deref(), Some("10.0.0.5"));
        assert_eq!(address(&[relay, local]).as_deref(), Some("10.0.0.9"));
        assert_eq!(address(&[relay, ("10.0.0.5", "10.0.0.7"), local]).as_deref(), Some("10.0.0.5"));
        assert_eq!(address(&[local, relay, ("10.0.0.6", "10.0.0.7")]), None);
        assert_eq!(address(&[relay]), None);
        assert_eq!(address(&[local]), None);
        assert_eq!(host(&[local, relay]).alias("10.0.0.5".parse().unwrap()), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(host(&[local, relay]).alias("10.0.0.9".parse().unwrap()), None);
    }
}
