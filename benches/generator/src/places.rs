//! Where the programs live: addresses, ports and names, and the connections between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::connection::Connection;
use crate::options::{Kind, Options};
use crate::packet::Endpoint;
use crate::tls::Session;
use crate::wire::Wire;

/// Hands out addresses and ports; no two connections have the same four.
#[derive(Default)]
pub struct Places {
    clients: u32,
    upstreams: u32,
}

impl Places {
    /// A new connection of a client, to the proxy where there is one, else to the store.
    pub fn client_connection(&mut self, wire: &mut Wire) -> Connection {
        let number = self.clients;
        self.clients += 1;
        let hosts = if wire.options.kind == Kind::Flows { 250 } else { 8 };
        let (host, port) = (number % hosts, PORT_FIRST + (number / hosts % PORT_COUNT) as u16);
        let client = Endpoint { ip: address([1 + (number / (hosts * PORT_COUNT)) as u8, 5 + host as u8], &wire.options), port };
        let server = if wire.options.two_hop {
            Endpoint { ip: address([0, 4], &wire.options), port: 8091 }
        } else {
            Endpoint { ip: address([0, 2], &wire.options), port: 9000 }
        };
        let random = &mut wire.random;
        let requests = match wire.options.kind {
            Kind::Bulk | Kind::Offload => random.within(4..=40),
            Kind::Chatty if random.chance(300) => random.within(1..=4),
            Kind::Chatty => random.within(5..=120),
            Kind::Flows => random.within(1..=2),
        };
        let name = if wire.options.two_hop { "sidekick-http" } else { "store" };
        let tls = if wire.options.tls { Some(Session::new(name, random)) } else { None };
        wire.outstanding_bytes += if tls.is_some() { HANDSHAKE_BYTES } else { 0 };
        Connection::new(client, server, requests as u32, tls, wire)
    }

    /// A new connection of the proxy to one of two stores.
    pub fn upstream_connection(&mut self, wire: &mut Wire) -> Connection {
        let number = self.upstreams;
        self.upstreams += 1;
        let client = Endpoint { ip: address([0, 4], &wire.options), port: PORT_FIRST + (number / 2 % PORT_COUNT) as u16 };
        let server = Endpoint { ip: address([0, 2 + number as u8 % 2], &wire.options), port: 9000 };
        let requests = wire.random.within(20..=200) as u32;
        let tls = if wire.options.upstream_tls { Some(Session::new("store", &mut wire.random)) } else { None };
        Connection::new(client, server, requests, tls, wire)
    }
}

/// The authority that clients name.
pub const fn host_of(options: &Options) -> &'static str {
    if options.two_hop { "sidekick-http:8091" } else { STORE_HOST }
}

/// The authority of the store.
pub const STORE_HOST: &str = "store:9000";
// About what the handshake of a TLS connection takes.
const HANDSHAKE_BYTES: u64 = 2_300;
const PORT_FIRST: u16 = 32_768;
const PORT_COUNT: u32 = 28_232;

fn address([net, host]: [u8; 2], options: &Options) -> IpAddr {
    if options.ipv6 {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from_be_bytes([net, host])))
    } else {
        IpAddr::V4(Ipv4Addr::new(172, 20, net, host))
    }
}
