//! Lists the S3 calls of a capture: `cargo run --example list_calls -- run.pcapng`

use std::error::Error;
use std::io::{self, Write};

use hopwire::model::Untrusted;
use hopwire::s3::{Call, Domains};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a capture")?;
    list_calls(&path, &mut io::stdout().lock())
}

/// Writes a line for each call: when, between whom, what, and what came back.
pub fn list_calls(path: &str, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let domains = Domains::default();
    for exchange in hopwire::open(path)?.exchanges() {
        let Some(call) = Call::read(&exchange, &domains).filter(|call| !call.is_health_check()) else { continue };
        let status = call.status().map_or("no response".to_owned(), |status| status.to_string());
        // What is on the wire is hostile: Untrusted escapes what could drive a terminal.
        let target = Untrusted(exchange.request.target());
        writeln!(out, "{} {} {} {target} {status}", exchange.request.start, exchange.endpoints.client, call.operation.name())?;
    }
    Ok(())
}
