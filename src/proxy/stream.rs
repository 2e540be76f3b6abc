//! Connections as they are relayed: a socket whose bytes are recorded as they cross, with or without TLS above it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use crate::model::Side;
use crate::proxy::flow::Flow;

/// A socket with a recording of all that crosses it.
pub(super) struct Tap {
    socket: TcpStream,
    flow: Flow,
    /// Which side of the connection this program is.
    own: Side,
    is_aborted: bool,
}

impl Tap {
    pub(super) fn new(socket: TcpStream, flow: Flow, own: Side) -> Self {
        // What is relayed shall not wait for more; where that cannot be set it is only slower.
        let _ = socket.set_nodelay(true);
        Self { socket, flow, own, is_aborted: false }
    }

    pub(super) const fn flow(&mut self) -> &mut Flow {
        &mut self.flow
    }

    pub(super) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Breaks the connection off with RST instead of ending it.
    pub(super) fn abort(&mut self) {
        self.is_aborted = true;
        // Closing then discards what is unsent and sends RST.
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO));
    }

    fn note_failure(&mut self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
            self.flow.reset(self.own.other());
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.is_aborted {
            self.flow.reset(self.own);
        } else {
            self.flow.end(self.own);
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.flow.tape().is_full(cx.waker()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let has_room = buf.remaining() > 0;
        let result = ready!(Pin::new(&mut this.socket).poll_read(cx, buf));
        let peer = this.own.other();
        match &result {
            Ok(()) => match buf.filled().get(before..) {
                Some(bytes) if !bytes.is_empty() => this.flow.data(peer, bytes),
                _ if has_room => this.flow.end(peer),
                _ => {}
            },
            Err(error) => this.note_failure(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.socket).poll_write(cx, bytes));
        match &result {
            Ok(count) => this.flow.data(this.own, bytes.get(..*count).unwrap_or(bytes)),
            Err(error) => this.note_failure(error),
        }
        Poll::Ready(result)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, slices));
        match &result {
            Ok(count) => {
                let mut left = *count;
                for slice in slices {
                    let part = slice.get(..left.min(slice.len())).unwrap_or(slice);
                    this.flow.data(this.own, part);
                    left -= part.len();
                }
            }
            Err(error) => this.note_failure(error),
        }
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.socket).poll_shutdown(cx));
        if result.is_ok() {
            this.flow.end(this.own);
        }
        Poll::Ready(result)
    }
}

/// A connection with either side of hopwire.
pub(super) enum Stream {
    /// Plaintext.
    Plain(Tap),
    /// TLS, towards a client.
    Accepted(Box<server::TlsStream<Tap>>),
    /// TLS, towards a server.
    Connected(Box<client::TlsStream<Tap>>),
}

impl Stream {
    /// The socket beneath.
    pub(super) fn tap(&mut self) -> &mut Tap {
        match self {
            Self::Plain(tap) => tap,
            Self::Accepted(stream) => stream.get_mut().0,
            Self::Connected(stream) => stream.get_mut().0,
        }
    }
}

macro_rules! beneath {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Plain(tap) => {
                let $inner = Pin::new(tap);
                $call
            }
            Stream::Accepted(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $call
            }
            Stream::Connected(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        beneath!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        beneath!(self, inner => inner.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        beneath!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        beneath!(self, inner => inner.poll_shutdown(cx))
    }
}
