//! Which flows and exchanges to keep, and which of their packets that means.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::convert::ConvertError;
use crate::convert::copy::Cuts;
use crate::decode::segment::Segment;
use crate::model::{Endpoint, Endpoints, Event, Exchange, ExchangeId, FlowId, Protocol, Transport};

/// What to keep of a capture; all of it where nothing is named.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Whole flows.
    pub flows: Vec<FlowId>,
    /// Single exchanges: the packets of their flow from the first to the last that carried them. Of TLS the whole flow is
    /// kept, since records are opened by their number.
    pub exchanges: Vec<ExchangeId>,
}

impl Choice {
    /// Whether everything is kept.
    pub const fn is_all(&self) -> bool {
        self.flows.is_empty() && self.exchanges.is_empty()
    }

    /// Whether an exchange is kept.
    pub fn keeps(&self, id: ExchangeId) -> bool {
        self.is_all() || self.flows.contains(&id.flow) || self.exchanges.contains(&id)
    }
}

/// What becomes of the flows of a capture.
#[derive(Default)]
pub(super) struct Flows {
    /// By their endpoints in order of address: the flows in order of their first packet.
    by_ends: HashMap<(Endpoint, Endpoint), Vec<Fate>, RandomState>,
    all: bool,
    /// Drops what stays shut, and all of TLS where nobody will have the keys.
    drop_all_tls: bool,
}

/// What becomes of one flow.
#[derive(Debug)]
pub(super) struct Fate {
    first_ordinal: u64,
    is_whole: bool,
    /// Frames from the first to the last of a chosen exchange.
    frames: Vec<(u64, u64)>,
    /// Its payload cannot be read.
    is_shut: bool,
    /// Its payload is plaintext of which no message was decoded.
    is_undecoded: bool,
}

impl Flows {
    pub(super) fn new(choice: &Choice, drop_all_tls: bool) -> Self {
        Self { all: choice.is_all(), drop_all_tls, ..Self::default() }
    }

    /// Learns what a decoder says of flows and exchanges.
    pub(super) fn handle_event(&mut self, event: &Event, choice: &Choice) {
        match event {
            Event::FlowOpened(opened) => {
                let is_whole = self.all || choice.flows.contains(&opened.flow);
                let fate =
                    Fate { first_ordinal: opened.flow.0, is_whole, frames: Vec::new(), is_shut: false, is_undecoded: false };
                self.by_ends.entry(in_order(opened.endpoints.client, opened.endpoints.server)).or_default().push(fate);
            }
            Event::Exchange(exchange) if choice.exchanges.contains(&exchange.id) => self.keep_exchange(exchange),
            Event::FlowClosed(closed) => {
                let is_shut = match &closed.protocol {
                    Protocol::Tls { shut, .. } => shut.is_some() || self.drop_all_tls,
                    Protocol::Other | Protocol::Http2 => true,
                    Protocol::Silent | Protocol::Http1 => false,
                };
                let is_undecoded = match &closed.protocol {
                    Protocol::Tls { .. } => closed.protocol.is_readable(),
                    Protocol::Other | Protocol::Http2 => true,
                    Protocol::Silent | Protocol::Http1 => false,
                };
                if let Some(fate) = self.find(closed.endpoints, closed.flow) {
                    (fate.is_shut, fate.is_undecoded) = (is_shut, is_undecoded);
                }
            }
            _ => {}
        }
    }

    /// Whether all that was chosen is there.
    pub(super) fn check(&self, choice: &Choice) -> Result<(), ConvertError> {
        let fates = || self.by_ends.values().flatten();
        for flow in &choice.flows {
            if !fates().any(|fate| fate.first_ordinal == flow.0) {
                return Err(ConvertError::NotFound(format!("flow {flow}")));
            }
        }
        for id in &choice.exchanges {
            if !fates().any(|fate| fate.first_ordinal == id.flow.0 && (fate.is_whole || !fate.frames.is_empty())) {
                return Err(ConvertError::NotFound(format!("exchange {id}")));
            }
        }
        Ok(())
    }

    /// What becomes of the flow of a segment.
    fn fate(&self, segment: &Segment, ordinal: u64) -> Option<&Fate> {
        let fates = self.by_ends.get(&in_order(segment.source, segment.destination))?;
        let after = fates.partition_point(|fate| fate.first_ordinal <= ordinal);
        fates.get(after.checked_sub(1)?)
    }

    /// Whether the payload of a segment is plaintext of a connection of which nothing was decoded.
    pub(super) fn is_undecoded(&self, segment: &Segment, ordinal: u64) -> bool {
        self.fate(segment, ordinal).is_some_and(|fate| fate.is_undecoded)
    }

    /// The flows of which nothing was decoded though anybody can read them.
    pub(super) fn undecoded(&self) -> HashSet<FlowId, RandomState> {
        self.by_ends.values().flatten().filter(|fate| fate.is_undecoded).map(|fate| FlowId(fate.first_ordinal)).collect()
    }

    /// Whether the payload of a segment is cut off.
    pub(super) fn cuts(&self, segment: &Segment, ordinal: u64, cuts: Cuts) -> bool {
        let is_cut = |fate: &Fate| (cuts.undecrypted && fate.is_shut) || (cuts.undecoded && fate.is_undecoded);
        self.fate(segment, ordinal).is_some_and(is_cut)
    }

    /// Whether a packet with this segment is kept.
    pub(super) fn keeps(&self, segment: &Segment, ordinal: u64, frame: u64) -> bool {
        self.all || self.fate(segment, ordinal).is_some_and(|fate| fate.keeps(frame))
    }

    /// Whether everything is kept, also what belongs to no flow.
    pub(super) const fn keeps_all(&self) -> bool {
        self.all
    }

    fn keep_exchange(&mut self, exchange: &Exchange) {
        let clear = matches!(exchange.transport, Transport::Clear);
        let request = &exchange.request.frames;
        let response = exchange.response().map(|response| &response.frames);
        let frames = || request.iter().chain(response.into_iter().flat_map(|frames| frames.iter())).map(|frame| frame.number());
        let (first, last) = (frames().min(), frames().max());
        if let Some(fate) = self.find(exchange.endpoints, exchange.id.flow) {
            fate.is_whole |= !clear;
            fate.frames.extend(first.zip(last));
        }
    }

    fn find(&mut self, ends: Endpoints, flow: FlowId) -> Option<&mut Fate> {
        let fates = self.by_ends.get_mut(&in_order(ends.client, ends.server))?;
        let at = fates.binary_search_by_key(&flow.0, |fate| fate.first_ordinal).ok()?;
        fates.get_mut(at)
    }
}

impl Fate {
    fn keeps(&self, frame: u64) -> bool {
        self.is_whole || self.frames.iter().any(|(first, last)| (*first..=*last).contains(&frame))
    }
}

fn in_order(one: Endpoint, other: Endpoint) -> (Endpoint, Endpoint) {
    if one <= other { (one, other) } else { (other, one) }
}
