//! One route on one thread: connections with its target, new ones and idle ones that wait to be used again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::Poll;

use rustls::ClientConfig;
use rustls::pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::model::{Endpoint, Endpoints, Side};
use crate::proxy::flow::Flow;
use crate::proxy::notice::{Explained, Notice, upstream};
use crate::proxy::route::{Route, Scheme, Target};
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
    pub(super) pool: RefCell<Vec<(Stream, Instant)>>,
    /// Servers that were told of, by leg.
    pub(super) known: RefCell<Vec<(u16, Endpoint)>>,
}

impl Door {
    pub(super) fn report(&self, explained: Explained) {
        (self.shared.notify)(explained.on(&self.route.name));
    }

    /// An accepted socket whose bytes are recorded.
    pub(super) fn client_tap(&self, socket: TcpStream, peer: SocketAddr) -> io::Result<Tap> {
        let local = endpoint(socket.local_addr()?);
        let [leg, _] = self.legs;
        self.name_server(leg, local);
        let ends = Endpoints { client: endpoint(peer), server: local };
        let flow = Flow::open(Arc::clone(&self.shared.tape), leg, ends);
        Ok(Tap::new(socket, flow, Side::Server))
    }

    /// An idle connection that is still open.
    pub(super) async fn take_pooled(&self) -> Option<Stream> {
        loop {
            let (mut stream, since) = self.pool.borrow_mut().pop()?;
            if since.elapsed() < self.shared.bounds.pooled && is_quiet(&mut stream).await {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection for another client.
    pub(super) fn park(&self, stream: Stream) {
        let mut pool = self.pool.borrow_mut();
        let now = Instant::now();
        let bounds = &self.shared.bounds;
        pool.retain(|(_, since)| now.duration_since(*since) < bounds.pooled);
        if pool.len() < bounds.pooled_max {
            pool.push((stream, now));
        }
    }

    /// A new connection with the target.
    pub(super) async fn connect(&self) -> Result<Stream, Explained> {
        let target = &self.route.target;
        let shown = target.to_string();
        let late = || {
            let error = io::Error::new(io::ErrorKind::TimedOut, "no response in time");
            upstream(&error, &shown)
        };
        let connected = timeout(self.shared.bounds.connect, self.connect_any(target)).await.map_err(|_| late())?;
        connected.map_err(|error| upstream(&error, &shown))
    }

    async fn connect_any(&self, target: &Target) -> io::Result<Stream> {
        let addresses: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, target.port)],
            Err(_) => tokio::net::lookup_host((target.host.as_str(), target.port)).await?.collect(),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(socket) => return self.secure(socket, address, target).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn secure(&self, socket: TcpStream, address: SocketAddr, target: &Target) -> io::Result<Stream> {
        let server = endpoint(address);
        let [_, leg] = self.legs;
        self.name_server(leg, server);
        let ends = Endpoints { client: endpoint(socket.local_addr()?), server };
        let flow = Flow::open(Arc::clone(&self.shared.tape), leg, ends);
        let tap = Tap::new(socket, flow, Side::Client);
        self.shared.counts.connected.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if target.scheme == Scheme::Http {
            return Ok(Stream::Plain(tap));
        }
        let name = server_name(&target.host)?;
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
