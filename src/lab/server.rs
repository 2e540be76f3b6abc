//! Listening: one thread for each connection, until it is stopped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::lab::mailbox::{Mailbox, Message};
use crate::lab::reply::Reply;
use crate::model::{Request, Side};

/// Who answers requests.
pub(super) trait Service: Send + Sync {
    /// The response to a request with its body. `is_tls` says how it came.
    fn respond(&self, request: &Request, body: &[u8], client: SocketAddr, is_tls: bool) -> Reply;
}

/// A server that listens until this is dropped.
pub struct Running {
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Running {
    /// Listens on a free port of a loopback address.
    ///
    /// # Errors
    /// Where no port can be had.
    pub(super) fn start(at: Ipv4Addr, tls: Option<Arc<ServerConfig>>, service: Arc<dyn Service>) -> io::Result<Self> {
        let listener = TcpListener::bind((at, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let worker = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok((stream, client)) = listener.accept() else {
                    thread::sleep(ACCEPT_STEP);
                    continue;
                };
                let (tls, service, stop) = (tls.clone(), Arc::clone(&service), Arc::clone(&stop));
                thread::spawn(move || {
                    // A connection that fails is the client's to notice.
                    let _ = serve(stream, (client, address), tls, service.as_ref(), &stop);
                });
            }
        });
        Ok(Self { address, is_stopped, listener: Some(worker) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

fn serve(
    stream: TcpStream,
    (client, server): (SocketAddr, SocketAddr),
    tls: Option<Arc<ServerConfig>>,
    service: &dyn Service,
    is_stopped: &AtomicBool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(READ_STEP))?;
    stream.set_nodelay(true)?;
    let is_tls = tls.is_some();
    let mut stream: Box<dyn Stream> = match tls {
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(connection, stream))
        }
        None => Box::new(stream),
    };
    let mut mailbox = Mailbox::new(client, server);
    let mut buffer = vec![0; READ_BYTES];
    while !is_stopped.load(Ordering::Relaxed) {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        mailbox.handle_data(Side::Client, buffer.get(..read).unwrap_or_default());
        if mailbox.expects_continue() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            stream.flush()?;
        }
        while let Some(message) = mailbox.poll() {
            let Message::Request(request, body) = message else { continue };
            let reply = service.respond(&request, &body, client, is_tls);
            let bytes = reply.encode(request.method() == b"HEAD");
            stream.write_all(&bytes)?;
            stream.flush()?;
            mailbox.handle_data(Side::Server, &bytes);
        }
    }
    Ok(())
}

const ACCEPT_STEP: Duration = Duration::from_millis(5);
const READ_STEP: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 64 << 10;
