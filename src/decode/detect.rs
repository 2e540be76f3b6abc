//! What a flow carries, by its first bytes: HTTP/1, TLS, or something that is not decoded. A PROXY header before it is taken off.

use crate::decode::http1;
use crate::decode::proxy_header::{self, Header};
use crate::decode::tls;
use crate::model::{Loss, LossReason, ProxyHeader, Side, Stamp};

/// Octets whose protocol is not known.
#[derive(Default)]
pub(super) struct Search {
    pieces: Vec<(Side, Stamp, Vec<u8>)>,
    pub(super) pieces_bytes: usize,
    tries: u16,
    /// What it is, where it is known and not decoded.
    pub(super) known: Option<LossReason>,
    pub(super) lost: Option<Loss>,
    pub(super) has_start: bool,
    /// The PROXY header of the client.
    pub(super) proxy_header: Option<ProxyHeader>,
}

/// Octets that are kept while it is open what they are.
const UNDECIDED_BYTES_MAX: usize = 4096;
/// How many times the start of later segments is tried once the first octets were not recognised.
const TRIES_MAX: u16 = 256;
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// How both sides of SSH begin (RFC 4253 section 4.2); nearly all that follows is encrypted.
const SSH_GREETING: &[u8] = b"SSH-";

/// What was recognised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Http,
    /// HTTP with the sides exchanged.
    Reversed,
    Tls,
}

impl Search {
    /// A search from the first bytes on; `has_start` tells whether those are the first of their flow.
    pub(super) fn new(has_start: bool) -> Self {
        Self { has_start, ..Self::default() }
    }

    /// Looks at bytes; gives what they are once that is known, with what was held back before them.
    pub(super) fn handle_data(&mut self, from: Side, stamp: Stamp, data: &[u8], is_outermost: bool) -> Option<Found> {
        if self.is_over() {
            self.lose(stamp, data.len() as u64);
            return None;
        }
        let skip = if is_outermost { self.take_proxy_header(from, stamp, data) } else { 0 };
        let data = data.get(skip..).unwrap_or_default();
        if data.is_empty() {
            return None;
        }
        self.recognise(from, stamp, data, is_outermost).map(|(pieces, verdict)| Found { pieces, verdict, skip })
    }

    /// Whether nothing more is tried.
    pub(super) fn is_over(&self) -> bool {
        self.known.is_some() || self.tries >= TRIES_MAX
    }

    /// Takes a PROXY header off the start of what the client sends; gives how many of these bytes are of it, or wait to be.
    fn take_proxy_header(&mut self, from: Side, stamp: Stamp, data: &[u8]) -> usize {
        if from != Side::Client || self.proxy_header.is_some() || self.tries > 0 {
            return 0;
        }
        let before: Vec<u8> =
            self.pieces.iter().filter(|(side, ..)| *side == from).flat_map(|(.., bytes)| bytes).copied().collect();
        let start = [before.as_slice(), data].concat();
        match proxy_header::read(&start) {
            Header::Whole { version, client, server, length } => {
                self.proxy_header = Some(ProxyHeader { version, client, server, stamp });
                self.pieces.retain(|(side, ..)| *side != from);
                self.pieces_bytes = self.pieces.iter().map(|(.., bytes)| bytes.len()).sum();
                length.saturating_sub(before.len())
            }
            Header::Partial if self.pieces_bytes + data.len() <= UNDECIDED_BYTES_MAX => {
                self.pieces_bytes += data.len();
                self.pieces.push((from, stamp, data.to_vec()));
                data.len()
            }
            Header::Partial | Header::No => 0,
        }
    }

    fn recognise(&mut self, from: Side, stamp: Stamp, data: &[u8], is_outermost: bool) -> Option<(Vec<Piece>, Verdict)> {
        let before: Vec<u8> =
            self.pieces.iter().filter(|(side, ..)| *side == from).flat_map(|(.., bytes)| bytes).copied().collect();
        let joined = if before.is_empty() { None } else { Some([before.as_slice(), data].concat()) };
        let start = joined.as_deref().unwrap_or(data);
        let is_ssh = self.tries == 0 && start.starts_with(SSH_GREETING);
        if start.starts_with(HTTP2_PREFACE) || is_ssh {
            self.known = Some(if is_ssh { LossReason::Encrypted } else { LossReason::Http2 });
            self.give_up_pieces();
            self.lose(stamp, data.len() as u64);
            return None;
        }
        let http = http1::probe(from, start);
        let tls = if is_outermost { tls::probe(start) } else { tls::Probe::No };
        match (http, tls) {
            (_, tls::Probe::Yes) => Some((std::mem::take(&mut self.pieces), Verdict::Tls)),
            (http1::Probe::Yes, _) => Some((std::mem::take(&mut self.pieces), Verdict::Http)),
            (http1::Probe::No, tls::Probe::No) if is_outermost && http1::is_surely(from.other(), data) => {
                self.give_up_pieces();
                Some((Vec::new(), Verdict::Reversed))
            }
            (http1::Probe::No, tls::Probe::No) => {
                self.give_up_pieces();
                self.lose(stamp, data.len() as u64);
                self.tries += 1;
                None
            }
            (http1::Probe::Unsure, _) | (_, tls::Probe::Unsure) => {
                if self.pieces_bytes + data.len() > UNDECIDED_BYTES_MAX {
                    self.give_up_pieces();
                    self.lose(stamp, data.len() as u64);
                    self.tries += 1;
                } else {
                    self.pieces_bytes += data.len();
                    self.pieces.push((from, stamp, data.to_vec()));
                }
                None
            }
        }
    }

    pub(super) fn give_up_pieces(&mut self) {
        self.pieces_bytes = 0;
        for (_, stamp, bytes) in std::mem::take(&mut self.pieces) {
            self.lose(stamp, bytes.len() as u64);
        }
    }

    pub(super) fn lose(&mut self, stamp: Stamp, bytes: u64) {
        let reason = match (self.known, self.has_start) {
            (Some(reason), _) => reason,
            (None, true) => LossReason::NotHttp,
            (None, false) => LossReason::BeforeFirstMessage,
        };
        let lost = self.lost.get_or_insert(Loss { reason, flow: None, bytes: 0, stamp });
        lost.bytes += bytes;
        if let Some(reason) = self.known {
            lost.reason = reason;
        }
    }
}

/// Bytes of a side that were held back.
pub(super) type Piece = (Side, Stamp, Vec<u8>);

/// What a flow was recognised as.
pub(super) struct Found {
    /// What was held back.
    pub(super) pieces: Vec<Piece>,
    /// What it is.
    pub(super) verdict: Verdict,
    /// How many of the bytes given last belong to a PROXY header.
    pub(super) skip: usize,
}
