//! Inputs: files and stdin, opened and told apart by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::analysis::{Analysis, Counts, Sink, Summary};
use crate::capture::{Input, Kind, OpenedFile, open_file, sniff};
use crate::cli::failure::{Failure, say};
use crate::model::{
    Event, Exchange, ExchangeId, FlowClosed, FlowId, FlowOpened, Frame, Frames, Loss, SealedExchange, SealedPartner, Timestamp,
};
use crate::rules::Unseen;
use crate::session::jsonl::{ReadError, Reader, Record, Totals};
use crate::session::source::Source;

/// What was given: captures, or sessions.
pub(super) enum Inputs {
    /// Files of packets.
    Packets(Vec<Input>),
    /// Recorded exchanges.
    Sessions(Vec<Session>),
}

/// A session to read.
pub(super) struct Session {
    name: String,
    reader: Reader<BufReader<Box<dyn Read + Send>>>,
    next: Option<Record>,
    sources: Vec<Source>,
    totals: Totals,
    /// Added to flow numbers, so that those of several sessions differ.
    flows_before: u64,
}

/// What an analysis gives.
pub(super) struct Ran {
    pub(super) summary: Summary,
    pub(super) sources: Vec<Source>,
}

/// Opens everything that was named.
pub(super) fn open(names: &[String]) -> Result<Inputs, Failure> {
    if names.iter().filter(|name| *name == "-").count() > 1 {
        return Err(Failure::usage("stdin is named twice", "name - only once"));
    }
    let mut packets = Vec::new();
    let mut sessions = Vec::new();
    for name in names {
        let (kind, input) = open_one(name)?;
        if kind == Kind::JsonLines {
            sessions.push(Session::new(input));
        } else {
            packets.push(input);
        }
    }
    match (packets.is_empty(), sessions.is_empty()) {
        (false, false) => Err(Failure::usage("captures and recorded sessions are mixed", "analyze them in separate runs")),
        (true, _) => Ok(Inputs::Sessions(sessions)),
        (false, true) => Ok(Inputs::Packets(packets)),
    }
}

/// Reads a small text file that a flag names, such as a key log.
pub(super) fn read_whole(path: &str, what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(WHOLE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| Failure::unreadable(error, format!("cannot read the {what} {path}"), CHECK_FILE))?;
    Ok(bytes)
}

/// Opens a file that a flag names, to read it piece by piece.
pub(super) fn open_text(path: &str, what: &str) -> Result<impl Read + use<>, Failure> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|error| Failure::unreadable(error, format!("cannot read the {what} {path}"), CHECK_FILE))
}

/// Runs sessions through the analysis, in the order of their times.
pub(super) fn analyze_sessions(mut sessions: Vec<Session>, mut analysis: Analysis, sink: &mut dyn Sink) -> Result<Ran, Failure> {
    for session in &mut sessions {
        session.advance()?;
    }
    let mut flows_max = 0;
    analysis.handle_recording();
    while let Some((index, session)) = earliest(&mut sessions) {
        let Some(record) = session.next.take() else { break };
        if session.flows_before == 0 && index > 0 {
            session.flows_before = flows_max;
        }
        let flow = match record {
            Record::Exchange(recorded) => {
                let exchange = session.place(index, recorded.exchange);
                let flow = exchange.id.flow.0;
                analysis.handle_hop_name(exchange.endpoints.server, &recorded.hop);
                analysis.handle_event(Event::Exchange(Box::new(exchange)), sink);
                flow
            }
            Record::Flow(recorded) => {
                let closed = session.place_flow(index, recorded.closed);
                let (flow, endpoints, first) = (closed.flow, closed.endpoints, closed.first);
                if let Some(hop) = &recorded.hop {
                    analysis.handle_hop_name(endpoints.server, hop);
                }
                // A session tells of connections at their end: what is counted at their beginning is counted here.
                analysis.handle_event(Event::FlowOpened(FlowOpened { flow, endpoints, first }), sink);
                analysis.handle_event(Event::FlowClosed(Box::new(closed)), sink);
                flow.0
            }
            Record::Sealed(recorded) => {
                let (exchange, partner) = session.place_sealed(index, recorded.exchange, recorded.partner);
                let flow = exchange.id.flow.0;
                analysis.handle_hop_name(exchange.endpoints.server, &recorded.hop);
                analysis.handle_recorded_sealed(Box::new(exchange), partner, sink);
                flow
            }
            Record::Loss(loss) => {
                let loss = session.place_loss(index, loss);
                let flow = loss.flow.map_or(0, |flow| flow.0);
                analysis.handle_event(Event::Lost(loss), sink);
                flow
            }
            Record::Source(_) | Record::Summary(_) => 0,
        };
        flows_max = flows_max.max(flow);
        session.advance()?;
    }
    analysis.handle_counts(&counts(&sessions));
    let summary = analysis.finish(sink);
    Ok(Ran { summary, sources: sessions.into_iter().flat_map(Session::into_sources).collect() })
}

impl Session {
    fn new(input: Input) -> Self {
        Self {
            name: input.name,
            reader: Reader::new(BufReader::with_capacity(1 << 20, input.stream)),
            next: None,
            sources: Vec::new(),
            totals: Totals::default(),
            flows_before: 0,
        }
    }

    /// Reads on to the next exchange or loss.
    fn advance(&mut self) -> Result<(), Failure> {
        loop {
            match self.reader.read().map_err(|error| self.failure(error))? {
                Some(Record::Source(source)) => self.sources.push(source),
                Some(Record::Summary(totals)) => self.totals = totals,
                next => {
                    if next.is_none() && self.reader.is_torn() {
                        say(format_args!(
                            "warning: {}: its last line {} is cut; what is before it was read",
                            self.name,
                            self.reader.line()
                        ));
                    }
                    self.next = next;
                    return Ok(());
                }
            }
        }
    }

    fn at(&self) -> Option<Timestamp> {
        match self.next.as_ref()? {
            Record::Exchange(recorded) => Some(recorded.exchange.request.start),
            Record::Sealed(recorded) => Some(recorded.exchange.response.end),
            Record::Flow(recorded) => Some(recorded.closed.last.at),
            Record::Loss(loss) => Some(loss.stamp.at),
            Record::Source(_) | Record::Summary(_) => None,
        }
    }

    fn failure(&self, error: ReadError) -> Failure {
        Failure::unreadable(error, format!("cannot read {}", self.name), "a session is written by hopwire with --format jsonl")
    }

    /// Keeps apart the flows and files of several sessions.
    fn place(&self, index: usize, mut exchange: Exchange) -> Exchange {
        exchange.id.flow = FlowId(exchange.id.flow.0 + self.flows_before);
        if index > 0 {
            let file = u16::try_from(index).unwrap_or(u16::MAX);
            let place = |frames: &Frames| {
                frames.iter().map(|frame| Frame::new(file, frame.number())).collect::<Frames>().with_count(frames.count())
            };
            exchange.request.frames = place(&exchange.request.frames);
            if let crate::model::Outcome::Answered(response) = &mut exchange.outcome {
                response.frames = place(&response.frames);
            }
        }
        exchange
    }

    fn place_flow(&self, index: usize, mut closed: FlowClosed) -> FlowClosed {
        closed.flow = FlowId(closed.flow.0 + self.flows_before);
        if index > 0 {
            let file = u16::try_from(index).unwrap_or(u16::MAX);
            closed.first.frame = Frame::new(file, closed.first.frame.number());
            closed.last.frame = Frame::new(file, closed.last.frame.number());
            closed.first_gap = closed.first_gap.map(|frame| Frame::new(file, frame.number()));
            for undecoded in &mut closed.undecoded {
                undecoded.first = Frame::new(file, undecoded.first.number());
            }
        }
        closed
    }

    fn place_sealed(
        &self,
        index: usize,
        mut sealed: SealedExchange,
        partner: Option<SealedPartner>,
    ) -> (SealedExchange, Option<SealedPartner>) {
        let place_id = |id: ExchangeId| ExchangeId { flow: FlowId(id.flow.0 + self.flows_before), ..id };
        sealed.id = place_id(sealed.id);
        if index > 0 {
            let file = u16::try_from(index).unwrap_or(u16::MAX);
            for message in [&mut sealed.request, &mut sealed.response] {
                message.frames = message.frames.map(|frame| Frame::new(file, frame.number()));
            }
        }
        let place = |partner: SealedPartner| SealedPartner {
            trace: place_id(partner.trace),
            downstream: place_id(partner.downstream),
            is_sole: partner.is_sole,
        };
        (sealed, partner.map(place))
    }

    fn place_loss(&self, index: usize, mut loss: Loss) -> Loss {
        loss.flow = loss.flow.map(|flow| FlowId(flow.0 + self.flows_before));
        if index > 0 {
            loss.stamp.frame = Frame::new(u16::try_from(index).unwrap_or(u16::MAX), loss.stamp.frame.number());
        }
        loss
    }

    /// The captures that the session was recorded from, or the session itself.
    fn into_sources(self) -> Vec<Source> {
        if self.sources.is_empty() {
            vec![Source { file: self.name, format: "jsonl".to_owned(), ..Source::default() }]
        } else {
            self.sources
        }
    }
}

fn earliest(sessions: &mut [Session]) -> Option<(usize, &mut Session)> {
    sessions.iter_mut().enumerate().filter(|(_, session)| session.next.is_some()).min_by_key(|(_, session)| session.at())
}

fn counts(sessions: &[Session]) -> Counts {
    let sum = |count: fn(&Totals) -> u64| sessions.iter().map(|session| count(&session.totals)).sum();
    let mut counts = Counts {
        packets: sum(|totals| totals.packets),
        packets_truncated: sum(|totals| totals.packets_truncated),
        packets_undecodable: sum(|totals| totals.packets_undecodable),
        packets_dropped: sum(|totals| totals.packets_dropped),
        ..Counts::default()
    };
    for unseen in sessions.iter().flat_map(|session| &session.totals.unseen) {
        // All else is in the lines of connections and losses.
        match Unseen::ALL.iter().find(|kind| kind.label() == unseen.reason) {
            Some(Unseen::Quic) => counts.packets_quic += unseen.count,
            Some(Unseen::EncryptedPackets) => counts.packets_encrypted += unseen.count,
            Some(Unseen::FileBytes) => {
                counts.file_places_unread += unseen.count;
                counts.file_bytes_unread += unseen.bytes;
            }
            _ => {}
        }
    }
    counts
}

fn open_one(name: &str) -> Result<(Kind, Input), Failure> {
    let cannot = |error: io::Error| Failure::unreadable(error, format!("cannot read {name}"), CHECK_FILE);
    if name == "-" {
        let mut stdin = BufReader::with_capacity(SNIFF_BYTES, io::stdin());
        let first = stdin.fill_buf().map_err(cannot)?.to_vec();
        return Ok((sniff_input(&first), Input { name: name.to_owned(), stream: Box::new(stdin), positioned: None }));
    }
    if Path::new(name).is_dir() {
        let error = anyhow::anyhow!("it is a directory");
        return Err(Failure::unreadable(
            error,
            format!("cannot read {name}"),
            format!("name the files in it, as in {}/*.pcapng", name.trim_end_matches('/')),
        ));
    }
    let OpenedFile { kind, input } = open_file(Path::new(name)).map_err(cannot)?;
    Ok((kind, input))
}

/// A session of a single line looks like one JSON document.
fn sniff_input(first: &[u8]) -> Kind {
    match sniff(first) {
        Kind::Json if first.starts_with(b"{\"type\":") => Kind::JsonLines,
        kind => kind,
    }
}

const CHECK_FILE: &str = "check the name, and that you may read it";
/// Enough to tell what a file is.
const SNIFF_BYTES: usize = 4096;
/// Key logs are far smaller; what is larger is something else.
const WHOLE_BYTES_MAX: u64 = 256 << 20;
