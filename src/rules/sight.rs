//! Sights: where something was seen, kept as a few numbers until a finding needs them as evidence.

use crate::model::{Exchange, ExchangeId, Frame, Side, Timestamp};
use crate::rules::Evidence;

/// One exchange that shows something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// The exchange.
    pub(super) exchange: ExchangeId,
    frames: [Option<Frame>; 2],
    /// When the request began.
    pub(super) at: Timestamp,
}

impl Sight {
    /// The request shows it.
    pub(super) fn of_request(exchange: &Exchange) -> Self {
        Self { exchange: exchange.id, frames: [exchange.request.frames.first(), None], at: exchange.request.start }
    }

    /// The response shows it.
    pub(super) fn of_response(exchange: &Exchange) -> Self {
        let first = exchange.response().and_then(|response| response.frames.first());
        Self { frames: [first, None], ..Self::of_request(exchange) }
    }

    /// One of the two sides shows it.
    pub(super) fn of_side(exchange: &Exchange, side: Side) -> Self {
        match side {
            Side::Client => Self::of_request(exchange),
            Side::Server => Self::of_response(exchange),
        }
    }

    /// Request and response together show it.
    pub(super) fn of_both(exchange: &Exchange) -> Self {
        let second = exchange.response().and_then(|response| response.frames.first());
        let first = exchange.request.frames.first();
        Self { frames: [first, second.filter(|_| second != first)], ..Self::of_request(exchange) }
    }

    /// The request and the packet that ended its connection show it.
    pub(super) fn of_ending(exchange: &Exchange, end: Option<Frame>) -> Self {
        let first = exchange.request.frames.first();
        Self { frames: [first, end.filter(|end| Some(*end) != first)], ..Self::of_request(exchange) }
    }

    /// As evidence. A frame number of 0 stands for data without packets: then the exchange alone is the evidence.
    pub(super) fn evidence(&self) -> Evidence {
        let frames = self.frames.into_iter().flatten().filter(|frame| frame.number() > 0).collect();
        Evidence { frames, flow: Some(self.exchange.flow), exchange: Some(self.exchange), log_line: None }
    }
}

/// Many exchanges that show the same: counted, the first few and the last kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sights {
    /// How many.
    pub(super) count: u64,
    first: [Option<Sight>; Self::FIRST_MAX],
    last: Option<Sight>,
}

impl Sights {
    const FIRST_MAX: usize = 4;

    /// Adds one.
    pub(super) fn add(&mut self, sight: Sight) {
        let place = usize::try_from(self.count).unwrap_or(usize::MAX);
        *self.first.get_mut(place).unwrap_or(&mut self.last) = Some(sight);
        self.count += 1;
    }

    /// Adds many.
    pub(super) fn add_all(&mut self, others: &Self) {
        let kept: Vec<Sight> = others.first.iter().flatten().chain(&others.last).copied().collect();
        let uncounted = others.count.saturating_sub(kept.len() as u64);
        kept.into_iter().for_each(|sight| self.add(sight));
        self.count = self.count.saturating_add(uncounted);
    }

    /// Whether an exchange is among those that are kept.
    pub(super) fn holds(&self, sight: Sight) -> bool {
        self.first.iter().chain([&self.last]).flatten().any(|have| have.exchange == sight.exchange)
    }

    /// Keeps one more exchange as evidence of those that are counted.
    pub(super) fn add_evidence(&mut self, sight: Sight) {
        if self.last.is_none() {
            self.last = Some(sight);
        }
    }

    /// When the first was.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.first.iter().flatten().next().map(|sight| sight.at)
    }

    /// When the last was.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.last.iter().chain(self.first.iter().flatten()).map(|sight| sight.at).max()
    }

    /// As evidence.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        self.first.iter().flatten().chain(&self.last).map(Sight::evidence).collect()
    }
}
