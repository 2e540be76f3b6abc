//! Feeds one HTTP/1 connection by hand, as a proxy does that reads both of its sockets: `cargo run --example feed_connection`

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use hopwire::decode::http1::{Config, Connection};
use hopwire::model::{Close, Endpoint, Endpoints, Exchange, FlowId, Frame, Side, Stamp, Timestamp, Transport, Untrusted};

fn main() -> Result<(), Box<dyn Error>> {
    let request = b"PUT /bucket/key HTTP/1.1\r\nHost: store\r\nContent-Length: 5\r\n\r\nhello".as_slice();
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".as_slice();
    // In pieces, as sockets give them.
    let sent = request.chunks(20).map(|piece| (Side::Client, piece)).chain([(Side::Server, response)]);
    for exchange in exchanges(sent) {
        let target = Untrusted(exchange.request.target());
        writeln!(io::stdout(), "{target}: {} bytes, {:?}", exchange.request.body.length, exchange.status())?;
    }
    Ok(())
}

/// Reads what two sides sent, in the order in which it came.
pub fn exchanges<'a>(sent: impl Iterator<Item = (Side, &'a [u8])>) -> Vec<Exchange> {
    let endpoints =
        Endpoints { client: Endpoint::new([192, 0, 2, 1].into(), 40_000), server: Endpoint::new([192, 0, 2, 2].into(), 9000) };
    let config = Arc::new(Config::default());
    let mut connection = Connection::new(FlowId(1), endpoints, Transport::Clear, &config);
    let mut exchanges = Vec::new();
    let mut now = Timestamp::EPOCH;
    for (side, bytes) in sent {
        now = now.after(std::time::Duration::from_millis(1));
        // The number of a packet, as evidence; bytes from a socket have none.
        connection.handle_data(side, Stamp { at: now, frame: Frame::default() }, bytes);
        exchanges.extend(std::iter::from_fn(|| connection.poll()).map(|exchange| *exchange));
    }
    for side in [Side::Client, Side::Server] {
        connection.handle_close(side, Stamp { at: now, frame: Frame::default() }, Close::Finished);
    }
    exchanges.extend(std::iter::from_fn(|| connection.poll()).map(|exchange| *exchange));
    exchanges
}
