//! One route on one thread: connections with its target, new ones and idle ones that wait to be used again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use rustls::ClientConfig;
use rustls::pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::model::{Endpoint, Endpoints, Side};
use crate::proxy::experiment::Experiment;
use crate::proxy::flow::Flow;
use crate::proxy::goal::{Goal, is_allowed_address};
use crate::proxy::namespace::Sockets;
use crate::proxy::notice::{Explained, Notice, upstream};
use crate::proxy::route::{Route, Scheme};
use crate::proxy::settings::Bounds;
use crate::proxy::stream::{Stream, Tap};
use crate::proxy::tape::Tape;
use crate::proxy::trust::Presenter;

/// What all threads share.
pub(super) struct Shared {
    pub(super) tape: Arc<Tape>,
    pub(super) notify: Box<dyn Fn(Notice) + Send + Sync>,
    pub(super) bounds: Bounds,
    pub(super) forwards_ambiguous: bool,
    pub(super) experiments: Arc<[Arc<Experiment>]>,
    pub(super) upstream: Arc<ClientConfig>,
    pub(super) connections: AtomicUsize,
    pub(super) counts: Counts,
}

/// What a proxy has done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted from clients.
    pub accepted: AtomicU64,
    /// Connections opened to targets.
    pub connected: AtomicU64,
    /// Times that an idle connection to a target was used again.
    pub reused: AtomicU64,
    /// Requests or responses that were not forwarded.
    pub refused: AtomicU64,
}

/// A route as one thread serves it.
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) route: Route,
    /// The places of its legs: the client's and the upstream one.
    pub(super) legs: [u16; 2],
    /// What clients are shown, where they speak TLS.
    pub(super) presenter: Option<Arc<Presenter>>,
    pub(super) pool: RefCell<Vec<Parked>>,
    /// Makes sockets where the target is, if that is another network namespace.
    pub(super) sockets: Option<Sockets>,
    /// Servers that were told of, by leg.
    pub(super) known: RefCell<Vec<(u16, Endpoint)>>,
}

/// A connection that waits for another client.
pub(super) struct Parked {
    goal: Goal,
    stream: Stream,
    since: Instant,
}

impl Door {
    pub(super) fn report(&self, explained: Explained) {
        (self.shared.notify)(explained.on(&self.route.name));
    }

    /// An accepted socket whose bytes are recorded.
    /// The recording names `server` as its other end, where that is not the socket's own address.
    pub(super) fn client_tap(&self, socket: TcpStream, peer: SocketAddr, server: Option<Endpoint>) -> io::Result<Tap> {
        let local = server.map_or_else(|| socket.local_addr().map(endpoint), Ok)?;
        let [leg, _] = self.legs;
        self.name_server(leg, local);
        let ends = Endpoints { client: endpoint(peer), server: local };
        let flow = Flow::open(Arc::clone(&self.shared.tape), leg, ends);
        Ok(Tap::new(socket, flow, Side::Server))
    }

    /// An idle connection to the same place that is still open.
    pub(super) async fn take_pooled(&self, goal: &Goal) -> Option<Stream> {
        loop {
            let (mut stream, since) = {
                let mut pool = self.pool.borrow_mut();
                let at = pool.iter().rposition(|parked| parked.goal == *goal)?;
                let parked = pool.swap_remove(at);
                (parked.stream, parked.since)
            };
            if since.elapsed() < self.shared.bounds.pooled && is_quiet(&mut stream).await {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection for another client.
    pub(super) fn park(&self, goal: &Goal, stream: Stream) {
        let mut pool = self.pool.borrow_mut();
        let now = Instant::now();
        let bounds = &self.shared.bounds;
        pool.retain(|parked| now.duration_since(parked.since) < bounds.pooled);
        if pool.len() < bounds.pooled_max {
            pool.push(Parked { goal: goal.clone(), stream, since: now });
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self, goal: &Goal) -> Result<Stream, Explained> {
        let shown = goal.target.to_string();
        let late = || {
            let error = io::Error::new(io::ErrorKind::TimedOut, "no response in time");
            upstream(&error, &shown)
        };
        let connected = timeout(self.shared.bounds.connect, self.connect_any(goal)).await.map_err(|_| late())?;
        connected.map_err(|error| upstream(&error, &shown))
    }

    async fn connect_any(&self, goal: &Goal) -> io::Result<Stream> {
        let target = &goal.target;
        let mut addresses: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, target.port)],
            Err(_) => tokio::net::lookup_host((target.host.as_str(), target.port)).await?.collect(),
        };
        addresses.extend(goal.other);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            if !is_allowed_address(&self.route.to, &target.host, address) {
                last = io::Error::new(io::ErrorKind::PermissionDenied, "addresses of this machine and its link are not allowed");
                continue;
            }
            match self.open(address).await {
                Ok(socket) => return self.secure(socket, address, goal).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(sockets) = &self.sockets else { return TcpStream::connect(address).await };
        let socket = sockets.open(address).await?;
        TcpSocket::from_std_stream(socket.into()).connect(address).await
    }

    async fn secure(&self, socket: TcpStream, address: SocketAddr, goal: &Goal) -> io::Result<Stream> {
        let server = endpoint(address);
        let [_, leg] = self.legs;
        self.name_server(leg, server);
        let ends = Endpoints { client: endpoint(socket.local_addr()?), server };
        let flow = Flow::open(Arc::clone(&self.shared.tape), leg, ends);
        let tap = Tap::new(socket, flow, Side::Client);
        self.shared.counts.connected.fetch_add(1, Ordering::Relaxed);
        if goal.target.scheme == Scheme::Http {
            return Ok(Stream::Plain(tap));
        }
        let name = server_name(&goal.server_name)?;
        let stream = TlsConnector::from(Arc::clone(&self.shared.upstream)).connect(name, tap).await?;
        Ok(Stream::Connected(Box::new(stream)))
    }

    /// Says on the tape which server a leg leads to, the first time.
    fn name_server(&self, leg: u16, server: Endpoint) {
        let mut known = self.known.borrow_mut();
        if known.len() < SERVERS_MAX && !known.contains(&(leg, server)) {
            known.push((leg, server));
            self.shared.tape.add_server(leg, server);
        }
    }
}

/// Nothing came on an idle connection, not even its end.
async fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
        Poll::Pending => Poll::Ready(true),
        Poll::Ready(_) => Poll::Ready(false),
    })
    .await
}

/// IPv4 in IPv6 is IPv4.
pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::new(address.ip().to_canonical(), address.port())
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(ip.into()));
    }
    let name = DnsName::try_from(host.to_owned());
    name.map(ServerName::DnsName).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a host name"))
}

/// Servers that a leg is known by.
const SERVERS_MAX: usize = 256;
