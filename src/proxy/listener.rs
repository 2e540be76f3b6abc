//! Listening sockets that threads share.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// As many listeners on one address as there are threads; the kernel shares connections out among them. One on `[::]` takes
/// IPv4 too.
pub(super) fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let open = |address: SocketAddr, is_shared: bool| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(is_shared)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(TcpListener::from(socket))
    };
    // Another process of the same user that shares its port would get half of the connections in silence.
    let address = open(address, false)?.local_addr()?;
    (0..count).map(|_| open(address, true)).collect()
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
