//! Captures in memory, and conversions of them.

use std::io::Cursor;

use hopwire::capture::write::pcapng::{InterfaceDescription, PacketRecord, Writer};
use hopwire::capture::{Batch, Input, PacketSource as _, SavedCapture};
use hopwire::convert::{Choice, ConvertError, Format, Options, Report, convert, prove};
use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Event, Exchange, LinkType, Secret, Timestamp};

pub(crate) fn options(format: Format) -> Options {
    Options {
        format,
        keylogs: Vec::new(),
        strip_secrets: false,
        drop_names: false,
        drop_comments: false,
        drop_undecrypted: false,
        scrub: false,
        keep_undecoded: false,
        choice: Choice::default(),
        once: false,
    }
}

pub(crate) fn scrubbing() -> Options {
    Options { scrub: true, ..options(Format::Pcapng) }
}

pub(crate) fn open(bytes: &[u8]) -> SavedCapture {
    let input = Input { name: "test".to_owned(), stream: Box::new(Cursor::new(bytes.to_vec())), positioned: None };
    SavedCapture::open(vec![input]).unwrap()
}

/// Converts, and proves what was scrubbed.
pub(crate) fn run(input: &[u8], options: &Options) -> Result<(Vec<u8>, Report), ConvertError> {
    let (report, out, proof) = convert(&mut || Ok(open(input)), Vec::new(), options)?;
    if let Some(proof) = proof {
        prove(&proof, out.as_slice(), open(&out))?;
    }
    Ok((out, report))
}

/// A capture of Ethernet frames, with a comment and a secret in it.
pub(crate) fn capture(packets: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "test", &["about the section"]).unwrap();
    let interface = writer.add_interface(LinkType(1), &InterfaceDescription::default()).unwrap();
    writer.write_secret(&Secret::new(format!("CLIENT_RANDOM {} {}\n", "ab".repeat(32), "cd".repeat(48)).into_bytes())).unwrap();
    for (index, (at, bytes)) in packets.iter().enumerate() {
        let comments: &[&str] = if index == 0 { &["seen by the lab"] } else { &[] };
        let at = Timestamp::from_nanos(*at);
        writer.write_packet(interface, &PacketRecord { at, bytes, original: bytes.len() as u32, comments }).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) struct Read {
    pub packets: Vec<Vec<u8>>,
    pub secrets: usize,
    pub comments: usize,
    pub exchanges: Vec<Exchange>,
}

/// All that is in a capture.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let mut capture = open(bytes);
    let mut read = Read { packets: Vec::new(), secrets: 0, comments: 0, exchanges: Vec::new() };
    let mut decoder = Decoder::new(Limits::default());
    let mut batch = Batch::new();
    while capture.read_batch(&mut batch).unwrap() {
        read.secrets += batch.secrets().len();
        read.comments += batch.comments().len();
        for packet in batch.packets() {
            read.packets.push(packet.bytes.to_vec());
            decoder.handle_packet(&packet);
        }
    }
    decoder.handle_end();
    while let Some(event) = decoder.poll() {
        if let Event::Exchange(exchange) = event {
            read.exchanges.push(*exchange);
        }
    }
    read
}

/// What of an exchange is no secret.
pub(crate) fn shown(exchanges: &[Exchange]) -> Vec<(String, String, Option<u16>, u64)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all: Vec<_> = exchanges
        .iter()
        .map(|exchange| {
            let path = text(exchange.request.target().split(|byte| *byte == b'?').next().unwrap_or_default());
            let length = exchange.response().map_or(0, |response| response.body.length);
            (text(exchange.request.method()), path, exchange.status(), length)
        })
        .collect();
    all.sort();
    all
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
