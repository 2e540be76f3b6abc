//! Finds customer encryption keys (SSE-C) that were sent in plaintext, and prints where, never the key:
//! `cargo run --example find_plaintext_keys -- run.pcapng`

use std::error::Error;
use std::io::{self, Write};

use hopwire::model::Event;
use hopwire::s3::{Call, Domains};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a capture")?;
    find_plaintext_keys(&path, &mut io::stdout().lock())
}

/// Writes a line for each request with a key, with the frames in which Wireshark shows it, and then what the capture lacks.
pub fn find_plaintext_keys(path: &str, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let domains = Domains::default();
    let (mut found, mut missing_bytes) = (0, 0);
    for event in hopwire::open(path)? {
        match event {
            Event::Exchange(exchange) if exchange.transport.is_clear() => {
                let Some(call) = Call::read(&exchange, &domains) else { continue };
                let encryption = call.request_encryption();
                if encryption.keys().next().is_some() {
                    found += 1;
                    let frames: Vec<_> = exchange.request.frames.iter().map(|frame| frame.number().to_string()).collect();
                    let operation = call.operation.name();
                    writeln!(
                        out,
                        "{} to {}: {operation}, frames {}",
                        exchange.request.start,
                        exchange.endpoints.server,
                        frames.join(" ")
                    )?;
                }
            }
            // Nothing found proves nothing where the capture has gaps.
            Event::FlowClosed(closed) => missing_bytes += closed.client.missing,
            _ => {}
        }
    }
    writeln!(out, "{found} requests with a key in plaintext; {missing_bytes} bytes of requests are not in the capture")?;
    Ok(())
}
