//! Signing and sending one request: the body is streamed from its blob, so that memory stays flat at any size.

use std::cell::RefCell;
use std::io::{self, Read, Seek as _};

use ring::digest;

use crate::blobs::Blobs;
use crate::model::{Body, Headers, Timestamp};
use crate::replay::rewrite::{Outgoing, OutgoingBody, PayloadMode};
use crate::replay::send::StepOutcome;
use crate::replay::send::wire::Wire;
use crate::s3::aws_chunked::{Decoder, Mode};
use crate::s3::sigv4::{ChunkChain, EMPTY_SHA256, Signer, UNSIGNED_PAYLOAD, body_hash, hex};

/// Where recorded content is.
pub(super) struct Source<'s> {
    pub(super) blobs: Option<&'s Blobs>,
    pub(super) recorded: &'s Body,
}

/// The content of a request, to be read from its start.
enum Reading {
    None,
    Bytes(Vec<u8>),
    Blob { file: std::fs::File, framing: Option<Mode> },
    MadeUp,
}

/// What is known of the content before it is sent.
struct Known {
    length: u64,
    sha256: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

const BLOCK_BYTES: usize = 64 << 10;
const STREAMING: &[u8] = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// Signs and sends a request and waits for its response.
pub(super) async fn send(
    wire: &mut Wire,
    outgoing: Outgoing,
    source: &Source<'_>,
    signer: &RefCell<Option<Signer>>,
    mode: PayloadMode,
    now: Timestamp,
) -> StepOutcome {
    let failed = |error: io::Error, is_sent| StepOutcome::Failed { exchange: None, error: error.to_string(), is_sent };
    let (mut reading, known) = match open(&outgoing.body, source) {
        Ok(opened) => opened,
        Err(error) => return failed(error, false),
    };
    let has_body = !matches!(outgoing.body, OutgoingBody::None);
    let mode = if known.length == 0 { PayloadMode::Hash } else { mode };
    let Outgoing { method, path, query, mut headers, .. } = outgoing;
    for (name, value) in known.trailers.iter().filter(|(name, _)| name.to_ascii_lowercase().starts_with(b"x-amz-checksum-")) {
        headers.append(name, value);
    }
    let chain = sign(signer, mode, (&method, &path, &query), &mut headers, &known, now);
    if has_body {
        let length = if chain.is_some() { framed_length(known.length) } else { known.length };
        headers.append(b"Content-Length", length.to_string().as_bytes());
    }
    let head = head(&method, &path, &query, &headers);
    // Small requests go out in one piece.
    let mut sent = match &mut reading {
        Reading::Bytes(bytes) if chain.is_none() && bytes.len() <= BLOCK_BYTES => {
            wire.write(&[head.as_slice(), bytes].concat()).await
        }
        _ => match wire.write(&head).await {
            Ok(()) => content(wire, &mut reading, known.length, chain).await,
            Err(error) => Err(error),
        },
    };
    if sent.is_ok() {
        sent = wire.flush().await;
    }
    // A store may answer and close before it took the whole body.
    let (exchange, error) = wire.read().await;
    match (exchange, sent.err().or(error)) {
        (Some(exchange), _) if exchange.response().is_some_and(|response| response.body.complete) => {
            StepOutcome::Answered(exchange)
        }
        (exchange, Some(error)) => StepOutcome::Failed { exchange, error: error.to_string(), is_sent: true },
        (exchange, None) => StepOutcome::Failed { exchange, error: "the response ended early".to_owned(), is_sent: true },
    }
}

fn sign(
    signer: &RefCell<Option<Signer>>,
    mode: PayloadMode,
    (method, path, query): (&[u8], &[u8], &[u8]),
    headers: &mut Headers,
    known: &Known,
    now: Timestamp,
) -> Option<ChunkChain> {
    let mut signer = signer.borrow_mut();
    let signer = signer.as_mut()?;
    let payload = match mode {
        PayloadMode::Hash => known.sha256.as_slice(),
        PayloadMode::Unsigned => UNSIGNED_PAYLOAD,
        PayloadMode::Chunks => {
            headers.append(b"x-amz-decoded-content-length", known.length.to_string().as_bytes());
            headers.append(b"content-encoding", b"aws-chunked");
            STREAMING
        }
    };
    let signed = signer.sign(method, path, query, headers, payload, now);
    (mode == PayloadMode::Chunks).then(|| signer.chunks(&signed))
}

fn head(method: &[u8], path: &[u8], query: &[u8], headers: &Headers) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend([method, b" ", path].concat());
    if !query.is_empty() {
        out.push(b'?');
        out.extend(query);
    }
    out.extend(b" HTTP/1.1\r\n");
    for (name, value) in headers.iter() {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend(b"\r\n");
    out
}

/// Opens the content, and reads it once where its hash or length is not known yet.
fn open(body: &OutgoingBody, source: &Source<'_>) -> io::Result<(Reading, Known)> {
    let known = |length, sha256| Known { length, sha256, trailers: Vec::new() };
    Ok(match body {
        OutgoingBody::None => (Reading::None, known(0, EMPTY_SHA256.to_vec())),
        OutgoingBody::Bytes(bytes) => (Reading::Bytes(bytes.clone()), known(bytes.len() as u64, body_hash(bytes))),
        OutgoingBody::MadeUp(length) => {
            let mut context = digest::Context::new(&digest::SHA256);
            let block = [MADE_UP; BLOCK_BYTES];
            let mut left = *length;
            while left > 0 {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
                context.update(block.get(..count).unwrap_or_default());
                left -= count as u64;
            }
            (Reading::MadeUp, known(*length, hex(context.finish().as_ref())))
        }
        OutgoingBody::Stored { length, framing, sha256 } => {
            let file = source.blobs.map(|blobs| blobs.open(source.recorded)).transpose()?.flatten();
            let mut file = file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the blob of the body is not there"))?;
            match framing {
                None => (Reading::Blob { file, framing: None }, known(*length, hex(sha256))),
                Some(mode) => {
                    let known = read_through(&mut file, *mode)?;
                    file.rewind()?;
                    (Reading::Blob { file, framing: Some(*mode) }, known)
                }
            }
        }
    })
}

/// What bodies that were not kept are made of.
const MADE_UP: u8 = b'h';

fn read_through(file: &mut std::fs::File, mode: Mode) -> io::Result<Known> {
    let mut decoder = Decoder::new(mode);
    let mut context = digest::Context::new(&digest::SHA256);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            break;
        }
        decoder.handle_data(block.get(..count).unwrap_or_default(), |data| context.update(data));
    }
    let summary = decoder.summary();
    Ok(Known { length: summary.object_bytes, sha256: hex(context.finish().as_ref()), trailers: summary.trailers.clone() })
}

/// Sends the content, framed with chunk signatures where there is a chain.
async fn content(wire: &mut Wire, reading: &mut Reading, length: u64, mut chain: Option<ChunkChain>) -> io::Result<()> {
    let mut left = length;
    let mut pending: Vec<u8> = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut decoder = match reading {
        Reading::Blob { framing: Some(mode), .. } => Some(Decoder::new(*mode)),
        _ => None,
    };
    let mut at = 0;
    while left > 0 {
        match reading {
            Reading::None => break,
            Reading::Bytes(bytes) => {
                let part = bytes.get(at..(at + BLOCK_BYTES).min(bytes.len())).unwrap_or_default();
                at += part.len();
                pending.extend_from_slice(part);
            }
            Reading::MadeUp => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
                pending.resize(pending.len() + count, MADE_UP);
            }
            Reading::Blob { file, .. } => {
                let count = file.read(&mut block)?;
                if count == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is shorter than the body"));
                }
                let data = block.get(..count).unwrap_or_default();
                match &mut decoder {
                    Some(decoder) => decoder.handle_data(data, |data| pending.extend_from_slice(data)),
                    None => pending.extend_from_slice(data),
                }
            }
        }
        while pending.len() >= BLOCK_BYTES || pending.len() as u64 == left {
            let rest = pending.split_off(pending.len().min(BLOCK_BYTES));
            let chunk = std::mem::replace(&mut pending, rest);
            if chunk.is_empty() {
                break;
            }
            left -= chunk.len() as u64;
            match &mut chain {
                None => wire.write(&chunk).await?,
                Some(chain) => wire.write(&framed(chain, &chunk)).await?,
            }
        }
    }
    match &mut chain {
        Some(chain) => wire.write(&framed(chain, b"")).await,
        None => Ok(()),
    }
}

fn framed(chain: &mut ChunkChain, data: &[u8]) -> Vec<u8> {
    let signature = chain.sign_chunk(digest::digest(&digest::SHA256, data).as_ref());
    let mut out = format!("{:x};chunk-signature=", data.len()).into_bytes();
    out.extend(signature);
    out.extend(b"\r\n");
    out.extend(data);
    out.extend(b"\r\n");
    out
}

/// The length of a body with chunk signatures: `SIZE;chunk-signature=` and 64 digits, and two line ends, for each chunk.
fn framed_length(length: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    let chunk = |size: u64| if size == 0 { 0 } else { format!("{size:x}").len() as u64 + 17 + 64 + 4 + size };
    (length / block) * chunk(block) + chunk(length % block) + 86
}
