//! One connection to the target: bytes out and in, each teed into the decoder, so that what passed is recorded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::decode::http1::{Config, Connection};
use crate::model::{
    Close, Endpoint, Endpoints, Exchange, FlowId, Frame, HeaderName, Side, Stamp, Timestamp, TlsVersion, TlsView, Transport,
    Version,
};
use crate::replay::send::Door;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// An open connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    http: Connection,
    patience: Duration,
    buffer: Vec<u8>,
    is_open: bool,
}

const BUFFER_BYTES: usize = 64 << 10;

impl Wire {
    /// Connects, and shakes hands where the target speaks TLS.
    pub(super) async fn open(door: &Door, flow: u64, config: &Arc<Config>) -> io::Result<Self> {
        let connect = TcpStream::connect((door.host.as_str(), door.port));
        let stream = timeout(door.patience, connect).await.map_err(|_| timed_out("connecting"))??;
        stream.set_nodelay(true)?;
        let end = |address: std::net::SocketAddr| Endpoint::new(address.ip(), address.port());
        let endpoints = Endpoints { client: end(stream.local_addr()?), server: end(stream.peer_addr()?) };
        let (stream, transport): (Box<dyn Stream>, Transport) = match &door.tls {
            None => (Box::new(stream), Transport::Clear),
            Some((tls, name)) => {
                let handshake = TlsConnector::from(Arc::clone(tls)).connect(name.clone(), stream);
                let stream = timeout(door.patience, handshake).await.map_err(|_| timed_out("the TLS handshake"))?;
                let stream = stream.map_err(|error| io::Error::new(error.kind(), format!("TLS: {error}")))?;
                let (_, session) = stream.get_ref();
                let version = match session.protocol_version() {
                    Some(rustls::ProtocolVersion::TLSv1_2) => Some(TlsVersion::Tls12),
                    Some(rustls::ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
                    _ => None,
                };
                let suite = session.negotiated_cipher_suite().map(|suite| u16::from(suite.suite()));
                let sni = Some(name.to_str().into_owned());
                (Box::new(stream), Transport::Tls(Arc::new(TlsView { version, suite, sni, ..TlsView::default() })))
            }
        };
        let http = Connection::new(FlowId(flow), endpoints, transport, config);
        Ok(Self { stream, http, patience: door.patience, buffer: vec![0; BUFFER_BYTES], is_open: true })
    }

    /// Whether another request can be sent: the connection is open, and the server has not closed it meanwhile.
    pub(super) fn is_usable(&mut self) -> bool {
        if self.is_open {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut byte = [0; 1];
            let mut buffer = ReadBuf::new(&mut byte);
            // Bytes that nobody asked for, an end and an error all mean that it is not to be used again.
            self.is_open = Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending();
        }
        self.is_open
    }

    /// Sends bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.http.handle_data(Side::Client, stamp(), bytes);
        let written = timeout(self.patience, self.stream.write_all(bytes)).await;
        written.map_err(|_| timed_out("sending")).flatten().inspect_err(|_| self.is_open = false)
    }

    /// Sends what a stream with TLS may hold back.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await.inspect_err(|_| self.is_open = false)
    }

    /// Waits for the response; gives the exchange, whole or as far as it went.
    pub(super) async fn read(&mut self) -> (Option<Box<Exchange>>, Option<io::Error>) {
        loop {
            if let Some(exchange) = self.http.poll() {
                let keeps = exchange.response().is_some_and(|response| {
                    let says_close =
                        response.headers.get(HeaderName::Connection).is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
                    response.version == Version::Http11 && !says_close && response.body.complete
                });
                self.is_open &= keeps;
                return (Some(exchange), None);
            }
            let stream = &mut self.stream;
            let buffer = &mut self.buffer;
            let got = timeout(self.patience, stream.read(buffer)).await;
            let (count, error) = match got {
                Ok(Ok(count)) => (count, None),
                Ok(Err(error)) => (0, Some(error)),
                Err(_) => (0, Some(timed_out("the response"))),
            };
            if count == 0 {
                self.is_open = false;
                let how = if error.is_some() { Close::Reset } else { Close::Finished };
                self.http.handle_close(Side::Server, stamp(), how);
                self.http.handle_close(Side::Client, stamp(), Close::Finished);
                let error =
                    error.or_else(|| Some(io::Error::new(io::ErrorKind::UnexpectedEof, "the target closed the connection")));
                let exchange = self.http.poll();
                let is_answered =
                    exchange.as_ref().is_some_and(|exchange| exchange.response().is_some_and(|one| one.body.complete));
                return (exchange, error.filter(|_| !is_answered));
            }
            let data = self.buffer.get(..count).unwrap_or_default();
            self.http.handle_data(Side::Server, stamp(), data);
        }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

/// Now. There are no frames.
fn stamp() -> Stamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp { at: Timestamp::from_nanos(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)), frame: Frame::new(0, 0) }
}
