//! Lines of JSON in, exchanges and losses out: a session written by [`Writer`](crate::session::jsonl::Writer), read back.
//!
//! Secrets that were redacted come back as placeholders: a value is there, equal secrets are equal, and none is known.

use std::io::{self, BufRead, Read as _};
use std::net::IpAddr;

use serde::Deserialize;
use thiserror::Error;

use crate::model::{
    Exchange, ExchangeId, FlowClosed, FlowId, FlowOpened, Frame, Loss, LossReason, SealedExchange, SealedPartner, Stamp,
    Timestamp,
};
use crate::session::jsonl::flow::{FlowLine, OpenedLine};
use crate::session::jsonl::parts::{ExchangeLine, parse_time};
use crate::session::jsonl::sealed::SealedLine;
use crate::session::source::Source;

/// Why a session cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The input failed.
    #[error("reading line {line}")]
    Io {
        /// The line, from 1.
        line: u64,
        /// What the input said.
        source: io::Error,
    },
    /// A line is no record of a session.
    #[error("line {line} is no record of a hopwire session: {reason}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line is longer than any that is written.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// The line, from 1.
        line: u64,
    },
}

/// One record of a session.
#[derive(Debug)]
pub enum Record {
    /// Where the exchanges came from.
    Source(Source),
    /// An exchange.
    Exchange(Box<Recorded>),
    /// An exchange that stayed shut.
    Sealed(Box<RecordedSealed>),
    /// The first packet of a connection.
    Opened(FlowOpened),
    /// A connection at its end.
    Flow(Box<RecordedFlow>),
    /// Something that was not decoded.
    Loss(Loss),
    /// What the recording run counted.
    Summary(Totals),
}

/// An exchange as it was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The exchange.
    pub exchange: Exchange,
    /// The hop's name.
    pub hop: String,
    /// The trace it belonged to.
    pub trace: Option<ExchangeId>,
}

/// An exchange that stayed shut, as it was recorded.
#[derive(Debug)]
pub struct RecordedSealed {
    /// The exchange.
    pub exchange: SealedExchange,
    /// The hop's name.
    pub hop: String,
    /// What is held to have led to it.
    pub partner: Option<SealedPartner>,
}

/// A connection as it was recorded.
#[derive(Debug)]
pub struct RecordedFlow {
    /// The connection.
    pub closed: FlowClosed,
    /// The name of its hop, where it belongs to one.
    pub hop: Option<String>,
}

/// Packet counts of the run that recorded the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Packets read.
    pub packets: u64,
    /// Packets cut by the snap length.
    pub packets_truncated: u64,
    /// Packets that could not be decoded.
    pub packets_undecodable: u64,
    /// Packets dropped while capturing.
    pub packets_dropped: u64,
    /// What was not seen or not judged; what connections lack is in their own lines, too.
    pub unseen: Vec<UnseenTotal>,
    /// The requests of each client inside TLS that was not decrypted.
    #[serde(skip)]
    pub undecrypted_clients: Vec<UndecryptedClient>,
}

impl Totals {
    /// Adds what another run counted.
    pub fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.packets_truncated = self.packets_truncated.saturating_add(other.packets_truncated);
        self.packets_undecodable = self.packets_undecodable.saturating_add(other.packets_undecodable);
        self.packets_dropped = self.packets_dropped.saturating_add(other.packets_dropped);
        self.unseen.extend(other.unseen);
        self.undecrypted_clients.extend(other.undecrypted_clients);
    }
}

/// The requests of one client address inside TLS that was not decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndecryptedClient {
    /// The address.
    pub client: IpAddr,
    /// How many.
    pub requests: u64,
    /// Those that have another size than the first, or came at an irregular time.
    pub irregular: u64,
    /// Bytes of the first.
    pub request_bytes: u64,
    /// When the last began.
    pub last: Timestamp,
}

/// How much of one kind was not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnseenTotal {
    /// The kind, as reports name it.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// Their bytes, where known.
    pub bytes: u64,
}

/// Reads a session, one record at a time.
pub struct Reader<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    torn: bool,
    turn: Option<u64>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`.
    pub const fn new(input: R) -> Self {
        Self { input, line: 0, buffer: Vec::new(), torn: false, turn: None }
    }

    /// The next record; lines of types that only reports need are passed over.
    pub fn read(&mut self) -> Result<Option<Record>, ReadError> {
        while self.read_line()? {
            match self.parse() {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => {}
                Err(_) if self.buffer.last() != Some(&b'\n') => {
                    // The writer was stopped in the middle of its last line: everything before it holds.
                    self.torn = true;
                    return Ok(None);
                }
                Err(reason) => return Err(ReadError::Malformed { line: self.line, reason }),
            }
        }
        Ok(None)
    }

    /// Whether the session ended in the middle of a line.
    pub const fn is_torn(&self) -> bool {
        self.torn
    }

    /// The place of the last record in the order of what happened, where it says one.
    pub const fn turn(&self) -> Option<u64> {
        self.turn
    }

    /// Bytes of the last line read.
    pub const fn line_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The last line read, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn read_line(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1);
        let length = limited.read_until(b'\n', &mut self.buffer).map_err(|source| ReadError::Io { line, source })?;
        if length > LINE_BYTES_MAX {
            return Err(ReadError::TooLong { line });
        }
        Ok(length > 0)
    }

    fn parse(&mut self) -> Result<Option<Record>, String> {
        self.turn = None;
        let text = self.buffer.trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        let tagged: Tagged = from_json(text)?;
        self.turn = tagged.turn;
        Ok(match tagged.kind.as_str() {
            "exchange" => Some(Record::Exchange(Box::new(from_json::<ExchangeLine>(text)?.build()?))),
            "opened" => Some(Record::Opened(from_json::<OpenedLine>(text)?.build()?)),
            "flow" => Some(Record::Flow(Box::new(from_json::<FlowLine>(text)?.build()?))),
            "sealed" => Some(Record::Sealed(Box::new(from_json::<SealedLine>(text)?.build()?))),
            "loss" => Some(Record::Loss(from_json::<LossLine>(text)?.build()?)),
            "source" => Some(Record::Source(from_json(text)?)),
            "summary" => Some(Record::Summary(from_json::<SummaryLine>(text)?.build()?)),
            _ => None,
        })
    }
}

fn from_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    turn: Option<u64>,
}

#[derive(Deserialize)]
struct SummaryLine {
    #[serde(default)]
    completeness: Totals,
    #[serde(default)]
    undecrypted_clients: Vec<UndecryptedClientPart>,
}

#[derive(Deserialize)]
struct UndecryptedClientPart {
    client: IpAddr,
    requests: u64,
    irregular: u64,
    request_bytes: u64,
    last: String,
}

impl SummaryLine {
    fn build(self) -> Result<Totals, String> {
        let client = |part: UndecryptedClientPart| {
            let UndecryptedClientPart { client, requests, irregular, request_bytes, last } = part;
            Ok(UndecryptedClient { client, requests, irregular, request_bytes, last: parse_time(&last)? })
        };
        let undecrypted_clients = self.undecrypted_clients.into_iter().map(client).collect::<Result<_, String>>()?;
        Ok(Totals { undecrypted_clients, ..self.completeness })
    }
}

#[derive(Deserialize)]
struct LossLine {
    reason: String,
    #[serde(default)]
    flow: Option<u64>,
    #[serde(default)]
    bytes: u64,
    time: String,
    #[serde(default)]
    file: u16,
    #[serde(default)]
    frame: u64,
}

impl LossLine {
    fn build(self) -> Result<Loss, String> {
        let reason = LossReason::ALL.iter().find(|reason| reason.label() == self.reason);
        Ok(Loss {
            reason: *reason.ok_or_else(|| format!("unknown loss {:?}", self.reason))?,
            flow: self.flow.map(FlowId),
            bytes: self.bytes,
            stamp: Stamp { at: parse_time(&self.time)?, frame: Frame::new(self.file, self.frame) },
        })
    }
}

/// Heads are at most 256 KiB each and hold no raw bodies, so that no written line comes near this.
const LINE_BYTES_MAX: usize = 16 << 20;
