//! A connection to a server, as a client or a proxy holds it: bytes of a request out, a whole response in.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::lab::mailbox::{Mailbox, Message};
use crate::model::{Response, Side};

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// An open connection.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    mailbox: Mailbox,
}

impl Link {
    /// Connects from an address of this host; with `tls` the name of the server is checked.
    pub(super) fn open(from: Ipv4Addr, server: SocketAddr, tls: Option<(&Arc<ClientConfig>, &str)>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&server.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mailbox = Mailbox::new(stream.local_addr()?, server);
        let stream: Box<dyn Stream> = match tls {
            Some((config, name)) => {
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(connection, stream))
            }
            None => Box::new(stream),
        };
        Ok(Self { stream, mailbox })
    }

    /// Sends a request and waits for its final response.
    pub(super) fn exchange(&mut self, request: &[u8]) -> io::Result<(Response, Vec<u8>)> {
        self.mailbox.handle_data(Side::Client, request);
        self.stream.write_all(request)?;
        self.stream.flush()?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(message) = self.mailbox.poll() {
                if let Message::Response(response, body) = message {
                    return Ok((*response, body));
                }
            }
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                self.mailbox.handle_close(Side::Server);
                return match self.mailbox.poll() {
                    Some(Message::Response(response, body)) => Ok((*response, body)),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            self.mailbox.handle_data(Side::Server, buffer.get(..read).unwrap_or_default());
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 << 10;
