//! Clients that just connected: what they speak, and so how they are served.

use std::net::SocketAddr;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use crate::model::Endpoint;
use crate::proxy::door::{Door, endpoint};
use crate::proxy::forward::{self, TLS};
use crate::proxy::goal::Goal;
use crate::proxy::notice::{client_handshake, name_not_allowed, other, plaintext_to_tls};
use crate::proxy::relay::{self, Client};
use crate::proxy::route::{Destination, Scheme, Target};
use crate::proxy::stream::{Stream, Tap};
use crate::proxy::trust::{NotPresented, Presenter};

/// Serves a client to its end.
pub(super) async fn serve(door: &Door, socket: TcpStream, peer: SocketAddr) {
    match &door.route.to {
        Destination::Target(target) => {
            let Some(tap) = tap(door, socket, peer, None) else { return };
            let stream = match (&door.presenter, door.route.listen.scheme) {
                (Some(presenter), Scheme::Https) => secure(door, presenter, tap, None).await.map(|(stream, _)| stream),
                _ => Some(Stream::Plain(tap)),
            };
            if let Some(stream) = stream {
                relay::serve(door, Client::of(stream, Goal::of(target.clone()))).await;
            }
        }
        Destination::Asked(_) => {
            if let Some(tap) = tap(door, socket, peer, None) {
                forward::serve(door, tap).await;
            }
        }
        Destination::Intercepted { port, .. } => intercepted(door, socket, peer, *port).await,
    }
}

impl Client {
    const fn of(stream: Stream, goal: Goal) -> Self {
        Self { stream, first: Vec::new(), goal, asked: None, is_opaque: false }
    }
}

/// A client that wanted to connect to the server whose port is redirected: with or without TLS, as it begins.
async fn intercepted(door: &Door, socket: TcpStream, peer: SocketAddr, port: u16) {
    let Some(original) = original_destination(&socket) else { return };
    let Some(tap) = tap(door, socket, peer, Some(endpoint(original))) else { return };
    let Ok(Some(first)) = timeout(door.shared.bounds.idle, first_byte(&tap)).await else { return };
    let name = &door.route.name;
    // The server is asked by loopback first, so that the two legs have different addresses.
    let goal = |scheme, server_name: Option<String>| Goal {
        target: Target { scheme, host: loopback(original).to_owned(), port },
        server_name: server_name.unwrap_or_else(|| name.clone()),
        other: Some(SocketAddr::new(original.ip().to_canonical(), port)),
    };
    let client = match (first, &door.presenter) {
        (TLS, Some(presenter)) => match secure(door, presenter, tap, Some(name)).await {
            Some((stream, server_name)) => Client::of(stream, goal(Scheme::Https, server_name)),
            None => return,
        },
        (TLS, None) => {
            door.report(other("tls-passes", "TLS passes undecrypted: there is no CA", "give one with --ca-cert and --ca-key"));
            Client { is_opaque: true, ..Client::of(Stream::Plain(tap), goal(Scheme::Http, None)) }
        }
        _ => Client::of(Stream::Plain(tap), goal(Scheme::Http, None)),
    };
    relay::serve(door, client).await;
}

fn tap(door: &Door, socket: TcpStream, peer: SocketAddr, server: Option<Endpoint>) -> Option<Tap> {
    door.client_tap(socket, peer, server).ok()
}

const fn loopback(original: SocketAddr) -> &'static str {
    match original.ip().to_canonical() {
        std::net::IpAddr::V4(_) => "127.0.0.1",
        std::net::IpAddr::V6(_) => "::1",
    }
}

/// Where a redirected client wanted to connect to.
fn original_destination(socket: &TcpStream) -> Option<SocketAddr> {
    use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
    match socket.peer_addr().ok()?.ip().to_canonical() {
        std::net::IpAddr::V4(_) => ip_original_dst(socket).ok().map(SocketAddr::V4),
        std::net::IpAddr::V6(_) => ipv6_original_dst(socket).ok().map(SocketAddr::V6),
    }
}

/// The first byte that a client sends, which stays in the socket; `None` where it left.
pub(super) async fn first_byte(tap: &Tap) -> Option<u8> {
    let mut first = [0];
    let count = tap.socket().peek(&mut first).await.ok()?;
    first.first().copied().filter(|_| count > 0)
}

/// TLS with a client, in time; `None` where it failed, which is reported.
async fn secure(door: &Door, presenter: &Presenter, tap: Tap, granted: Option<&str>) -> Option<(Stream, Option<String>)> {
    match timeout(door.shared.bounds.handshake, shake(door, presenter, tap, granted)).await {
        Ok(shaken) => shaken,
        Err(_) => {
            door.report(other(
                "handshake-timeout",
                "a client began a TLS handshake and did not go on",
                "check the client, and what else connects to this port",
            ));
            None
        }
    }
}

async fn shake(door: &Door, presenter: &Presenter, tap: Tap, granted: Option<&str>) -> Option<(Stream, Option<String>)> {
    if first_byte(&tap).await?.is_ascii_alphabetic() {
        door.report(plaintext_to_tls());
        relay::decline(door, Stream::Plain(tap), "PlaintextToTls", "this port speaks TLS: use https").await;
        return None;
    }
    handshake(door, presenter, tap, granted).await
}

/// The TLS handshake with a client, and the name that it asked for; `None` where it failed, which is reported. `granted` is a
/// name that is allowed here in addition.
pub(super) async fn handshake(
    door: &Door,
    presenter: &Presenter,
    mut tap: Tap,
    granted: Option<&str>,
) -> Option<(Stream, Option<String>)> {
    let address = tap.flow().ends().server.ip;
    let mut acceptor = Box::pin(LazyConfigAcceptor::new(Acceptor::default(), tap));
    let started = match acceptor.as_mut().await {
        Ok(started) => started,
        Err(error) => {
            door.report(client_handshake(&error));
            return None;
        }
    };
    let name = started.client_hello().server_name().map(str::to_owned);
    let config = match presenter.config(name.as_deref(), address, granted) {
        Ok(config) => config,
        Err(NotPresented::Name(name)) => {
            door.report(name_not_allowed(&name));
            return None;
        }
        Err(NotPresented::Failed(reason)) => {
            door.report(other("certificate", format!("no certificate can be made: {reason}"), "check the CA"));
            return None;
        }
    };
    match started.into_stream(config).await {
        Ok(stream) => Some((Stream::Accepted(Box::new(stream)), name)),
        Err(error) => {
            door.report(client_handshake(&error));
            None
        }
    }
}
