//! The first reading of a capture: what is in it, what becomes of its flows, and which secrets it shows.

use std::net::IpAddr;

use crate::capture::{Batch, PacketSource as _, SourceSummary};
use crate::convert::choice::Flows;
use crate::convert::copy::Options;
use crate::convert::keys::{Handshakes, Lines, subjects_of};
use crate::convert::scanner::Scanner;
use crate::convert::scrub::{Collector, Lines as StreamLines, Undecoded};
use crate::convert::walk::{Seen, Walk};
use crate::convert::{ConvertError, Open};
use crate::decode::segment::Segment;
use crate::decode::{Decoder, Limits};
use crate::model::{Event, LinkType, Packet, Secret};

/// What the first reading tells.
pub(super) struct Survey {
    pub(super) source: SourceSummary,
    /// The interfaces of packets in order of appearance: place, and link type.
    pub(super) interfaces: Vec<(usize, LinkType)>,
    /// Whether some time is finer than a microsecond.
    pub(super) is_fine: bool,
    /// Key-log lines for the output.
    pub(super) keys: Lines,
    pub(super) names: Vec<(IpAddr, String)>,
    pub(super) flows: Flows,
    /// The secrets, where the capture is to be scrubbed.
    pub(super) collector: Option<Collector>,
    /// Plaintext in decoded streams that belongs to no message.
    pub(super) undecoded: Undecoded,
}

/// The state of the reading.
struct Surveyor<'a> {
    options: &'a Options,
    decoder: Option<Decoder>,
    walk: Walk,
    scanner: Scanner<StreamLines>,
    collector: Option<Collector>,
    undecoded: Undecoded,
    flows: Flows,
    /// Subjects of handshakes, and where they were seen: which flows are kept is known at the end only.
    subjects: Vec<(Segment, u64, u64, Box<[u8]>)>,
}

/// Reads the capture for the first time.
pub(super) fn survey(open: &mut Open<'_>, options: &Options) -> Result<Survey, ConvertError> {
    let mut capture = open()?;
    let mut surveyor = Surveyor::new(options);
    let mut batch = Batch::new();
    let (mut secrets, mut names) = (Vec::new(), Vec::new());
    let (mut interfaces, mut is_fine) = (Vec::new(), false);
    while capture.read_batch(&mut batch)? {
        for secret in batch.secrets() {
            surveyor.handle_secret(secret);
            secrets.push(secret.clone());
        }
        for name in batch.names() {
            if names.len() < NAMES_MAX && !names.contains(name) {
                names.push(name.clone());
            }
        }
        for (index, packet) in batch.packets().enumerate() {
            is_fine |= packet.at.as_nanos() % 1000 != 0;
            let interface = batch.interface(index);
            if !interfaces.iter().rev().any(|(known, _)| *known == interface) {
                interfaces.push((interface, packet.link));
            }
            surveyor.handle_packet(&packet);
        }
        surveyor.check()?;
    }
    let source = capture.sources().into_iter().next().unwrap_or_default();
    surveyor.finish(source, interfaces, is_fine, &secrets, names)
}

impl<'a> Surveyor<'a> {
    fn new(options: &'a Options) -> Self {
        let decodes = options.scrub || options.drop_undecrypted || !options.choice.is_all();
        let mut surveyor = Self {
            options,
            decoder: decodes.then(|| Decoder::new(Limits::default())),
            walk: Walk::new(),
            scanner: Scanner::new(),
            collector: options.scrub.then(Collector::new),
            undecoded: Undecoded::default(),
            flows: Flows::new(&options.choice, options.scrub || options.strip_secrets),
            subjects: Vec::new(),
        };
        for keylog in &options.keylogs {
            surveyor.handle_secret(keylog);
        }
        surveyor
    }

    fn handle_secret(&mut self, secret: &Secret) {
        if let Some(decoder) = &mut self.decoder {
            decoder.handle_secret(secret);
        }
    }

    fn handle_packet(&mut self, packet: &Packet<'_>) {
        if let Some(decoder) = &mut self.decoder {
            decoder.handle_packet(packet);
        }
        self.poll();
        match self.walk.handle_packet(packet) {
            Seen::Segment(segment, place) => {
                let payload = segment.payload(packet.bytes);
                self.handle_payload(&segment, packet, payload);
                if let Some(collector) = &mut self.collector {
                    self.scanner.handle_segment(&segment, place, payload, collector);
                }
            }
            Seen::Datagram(datagram, place) => {
                let payload = datagram.segment.payload(&datagram.bytes);
                self.handle_payload(&datagram.segment, packet, payload);
                if let Some(collector) = &mut self.collector {
                    self.scanner.handle_segment(&datagram.segment, place, payload, collector);
                }
            }
            Seen::Fragment(_) | Seen::Other | Seen::Unknown => {}
        }
    }

    fn handle_payload(&mut self, segment: &Segment, packet: &Packet<'_>, payload: &[u8]) {
        let wants_keys = !self.options.strip_secrets && !self.options.scrub;
        if wants_keys && self.subjects.len() < SUBJECTS_MAX {
            subjects_of(payload, |subject| {
                self.subjects.push((*segment, packet.ordinal, packet.frame.number(), subject.into()));
            });
        }
    }

    fn poll(&mut self) {
        while let Some(event) = self.decoder.as_mut().and_then(Decoder::poll) {
            self.flows.handle_event(&event, &self.options.choice);
            match (&event, &mut self.collector) {
                (Event::Exchange(exchange), Some(collector)) => collector.handle_exchange(exchange),
                (Event::Lost(loss), Some(_)) => self.undecoded.handle_loss(loss),
                _ => {}
            }
        }
    }

    fn check(&mut self) -> Result<(), ConvertError> {
        self.collector.as_mut().map_or(Ok(()), Collector::check)
    }

    fn finish(
        mut self,
        source: SourceSummary,
        interfaces: Vec<(usize, LinkType)>,
        is_fine: bool,
        secrets: &[Secret],
        names: Vec<(IpAddr, String)>,
    ) -> Result<Survey, ConvertError> {
        if let Some(decoder) = &mut self.decoder {
            decoder.handle_end();
        }
        self.poll();
        if let Some(collector) = &mut self.collector {
            self.scanner.finish(collector);
        }
        self.check()?;
        self.flows.check(&self.options.choice)?;
        let keys = self.keys(secrets);
        let Self { flows, collector, mut undecoded, .. } = self;
        let cut = flows.undecoded();
        undecoded.forget(|flow| cut.contains(&flow));
        Ok(Survey { source, interfaces, is_fine, keys, names, flows, collector, undecoded })
    }

    /// Key logs hold the secrets of other connections, too, which are not the capture's business. What the capture holds
    /// already is kept, unless only some flows are.
    fn keys(&self, secrets: &[Secret]) -> Lines {
        let mut lines = Lines::default();
        if self.options.strip_secrets || self.options.scrub {
            return lines;
        }
        let mut handshakes = Handshakes::default();
        for (segment, ordinal, frame, subject) in &self.subjects {
            if self.flows.keeps(segment, *ordinal, *frame) {
                handshakes.add(subject);
            }
        }
        for secret in secrets {
            lines.add(secret, (!self.flows.keeps_all()).then_some(&handshakes));
        }
        for keylog in &self.options.keylogs {
            lines.add(keylog, Some(&handshakes));
        }
        lines
    }
}

const NAMES_MAX: usize = 4096;
const SUBJECTS_MAX: usize = 1 << 22;
