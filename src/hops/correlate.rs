//! Joins the exchanges of one call over its hops: events in capture order in, the same events in the same order out, each
//! exchange with its partners. Only what can have a partner waits, and only in a bounded window of capture time; what stays
//! without one comes out as it is.

mod waiting;

use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::fingerprint::{self, JoinKey};
use crate::hops::partners::{Partners, Sides};
use crate::model::{Event, Exchange, ExchangeId, HeaderName, Timestamp};
use waiting::{Bucket, Line, Link, Waiting};

/// Why two exchanges are held to be one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// What they have in common.
    pub key: JoinKey,
    /// Whether no other exchange could have been meant.
    pub is_sole: bool,
    /// Whether it is a further sending by the proxy: the answer came from another one.
    pub is_resend: bool,
}

impl Join {
    /// How surely: `certain`, `strong`, `likely`, `possible`.
    pub const fn confidence(&self) -> &'static str {
        match (self.key, self.is_sole) {
            (JoinKey::RequestId, true) => "certain",
            (JoinKey::RequestId | JoinKey::Signature | JoinKey::Invocation, _) => "strong",
            (JoinKey::Target, true) => "likely",
            (JoinKey::Target, false) => "possible",
        }
    }
}

/// The partners of one exchange.
#[derive(Clone, Copy, Default)]
pub struct Partnered<'a> {
    /// The exchange on the next hop towards the store.
    pub upstream: Option<(&'a Exchange, Join)>,
    /// The exchange on the next hop towards the client.
    pub downstream: Option<(&'a Exchange, Join)>,
    /// The exchange nearest the client, where there is more than one.
    pub trace: Option<ExchangeId>,
    /// Whether a partner nearer the store was waited for and none came.
    pub lacks_upstream: bool,
    /// Whether a partner nearer the client was waited for and none came.
    pub lacks_downstream: bool,
}

/// One event on its way out.
pub struct Turn {
    waiting: Waiting,
    number: u64,
    trace: Option<ExchangeId>,
}

/// Holds what waits.
#[derive(Default)]
pub struct Correlator {
    partners: Partners,
    line: Line,
    index: Index,
    now: Timestamp,
    is_over: bool,
}

struct Index(HashMap<u64, Bucket>);

impl Default for Index {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// A proxy relays an answer as it comes, so that the two ends of a call are near each other. A slow client can be behind by
/// what the sockets between hold.
const WINDOW: Duration = Duration::from_secs(3);

/// What the store answered was seen before the proxy passed it on, unless the capture puts packets out of order. So a proxy's
/// own answer, which has no request id, need not wait as long.
const GRACE: Duration = Duration::from_millis(250);

/// How many exchanges with one key are looked at. Keys that so many share tell little.
const CANDIDATES_MAX: usize = 64;

/// No way has more hops; addresses could make a ring of them.
const CHAIN_MAX: usize = 16;

impl Correlator {
    /// How many events wait at most.
    pub const EVENTS_MAX: usize = 16_384;
    /// How many octets wait at most.
    pub const BYTES_MAX: usize = 16 << 20;

    /// Hears an event as soon as it is known, long before its turn: who talks to whom.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::FlowOpened(opened) => self.partners.observe(opened.endpoints),
            Event::Exchange(exchange) => {
                self.partners.observe(exchange.endpoints);
                self.partners.observe_answer(exchange);
            }
            Event::FlowClosed(_) | Event::Lost(_) => {}
        }
    }

    /// Takes an event; gives it back at once where neither it nor anything before it waits. `is_call` tells exchanges that
    /// can have a partner from health checks. `at` is when it happened.
    pub fn take(&mut self, event: Event, is_call: bool, at: Timestamp) -> Option<Event> {
        self.now = self.now.max(at);
        let sides = match &event {
            Event::Exchange(exchange) if is_call => self.partners.sides_of(exchange.endpoints),
            _ => Sides::default(),
        };
        if sides == Sides::default() && self.line.is_empty() {
            return Some(event);
        }
        let number = self.line.push(event, sides, self.now);
        if sides != Sides::default() {
            self.find_partners(number);
        }
        None
    }

    /// The clock of a live source: what waits in vain need not wait for the next packet too.
    pub fn handle_time(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// The next event, where it need not wait any longer. It is given back by [`Correlator::finish`].
    pub fn next_turn(&mut self) -> Option<Turn> {
        let number = self.line.first()?;
        let is_full = self.line.len() > Self::EVENTS_MAX || self.line.bytes() > Self::BYTES_MAX;
        if !self.is_over && !is_full && !self.is_ready(number) {
            return None;
        }
        let trace = self.trace_of(number);
        let waiting = self.line.pop()?;
        for key in waiting.keys.into_iter().filter(|key| *key != 0) {
            self.index.remove(key, number);
        }
        if waiting.sides != Sides::default() {
            self.learn(&waiting);
        }
        Some(Turn { waiting, number, trace })
    }

    /// The partners of the exchange whose turn it is.
    pub fn partners<'a>(&'a self, turn: &'a Turn) -> Partnered<'a> {
        let Waiting { up, down, kept_up, kept_down, sides, .. } = &turn.waiting;
        let find = |link: &Option<Link>, kept: &'a Option<Box<Exchange>>| {
            let link = link.as_ref()?;
            let exchange = kept.as_deref().or_else(|| self.line.exchange(link.number))?;
            Some((exchange, link.join))
        };
        Partnered {
            upstream: find(up, kept_up),
            downstream: find(down, kept_down),
            trace: turn.trace,
            lacks_upstream: sides.up && up.is_none(),
            lacks_downstream: sides.down && down.is_none(),
        }
    }

    /// Ends a turn. The exchange is kept for a partner that still waits for its own.
    pub fn finish(&mut self, turn: Turn) {
        let Turn { waiting: Waiting { event, up, down, bytes, .. }, number, trace } = turn;
        let Event::Exchange(exchange) = event else {
            return;
        };
        let front = down.and_then(|link| self.line.get_mut(link.number));
        if let Some(front) = front.filter(|front| front.up.is_some_and(|up| up.number == number)) {
            front.kept_up = Some(exchange);
            return self.line.count_kept(bytes, down);
        }
        if let Some(back) = up.and_then(|link| self.line.get_mut(link.number)) {
            back.root = trace.or(Some(exchange.id));
            back.kept_down = Some(exchange);
            self.line.count_kept(bytes, up);
        }
    }

    /// Ends the run: nothing waits any longer.
    pub const fn end(&mut self) {
        self.is_over = true;
    }

    /// Looks for the partners of what has just come.
    fn find_partners(&mut self, number: u64) {
        let Some((exchange, sides)) = self.line.get(number).and_then(|own| Some((own.exchange()?, own.sides))) else {
            return;
        };
        let keys = fingerprint::keys_of(exchange);
        let back = if sides.up { self.best(number, &keys, Side::Up) } else { None };
        let front = if sides.down { self.best(number, &keys, Side::Down) } else { None };
        if let Some((back, join)) = back {
            self.line.link(number, back, join);
            self.link_resends(number, &keys);
        }
        match front {
            Some((front, join)) => self.line.link(front, number, join),
            None if sides.down => self.link_as_resend(number, &keys),
            None => {}
        }
        let needs_more = sides.up && back.is_none() || sides.down && front.is_none();
        // A client's own exchange that has found its partner is not looked for any more.
        if needs_more {
            for key in keys {
                self.index.add(key, number);
            }
            if let Some(own) = self.line.get_mut(number) {
                own.keys = keys;
            }
        }
    }

    /// The best partner on one side by the surest key that finds any.
    fn best(&self, number: u64, keys: &fingerprint::Keys, side: Side) -> Option<(u64, Join)> {
        let own = self.line.exchange(number)?;
        JoinKey::ALL.iter().zip(keys).find_map(|(key, hash)| {
            let mut found: Vec<(fingerprint::Fit, u64)> = Vec::new();
            for (other, waiting) in self.candidates(*hash, number) {
                let Some(exchange) = waiting.exchange() else { continue };
                let (front, back, is_free) = match side {
                    Side::Up => (own, exchange, waiting.sides.down && waiting.down.is_none()),
                    Side::Down => (exchange, own, waiting.sides.up && waiting.up.is_none()),
                };
                if is_free
                    && self.may_lead(front, back)
                    && let Some(fit) = fingerprint::fit(*key, front, back)
                {
                    found.push((fit, other));
                }
            }
            let is_sole = found.len() == 1;
            let alike = |other: u64| {
                self.line.exchange(other).map_or(0, |other| match side {
                    Side::Up => fingerprint::likeness(own, other),
                    Side::Down => fingerprint::likeness(other, own),
                })
            };
            // Of those that fit equally well the answer's own fields tell, and of those the older.
            let best = if is_sole {
                found.first().map(|(_, other)| *other)
            } else {
                found
                    .iter()
                    .max_by_key(|(fit, other)| (fit.is_sound(), alike(*other), *fit, u64::MAX - other))
                    .map(|(_, other)| *other)
            };
            best.map(|other| (other, Join { key: *key, is_sole, is_resend: false }))
        })
    }

    /// Earlier sendings of the request that became `front`.
    fn link_resends(&mut self, front: u64, keys: &fingerprint::Keys) {
        for (key, hash) in JoinKey::ALL.into_iter().zip(keys).skip(1).take(2) {
            let others: Vec<u64> = self
                .candidates(*hash, front)
                .filter(|(_, waiting)| waiting.sides.down && waiting.down.is_none())
                .filter(|(_, waiting)| self.can_be_resend(self.line.exchange(front), waiting.exchange()))
                .map(|(other, _)| other)
                .collect();
            for other in others {
                self.line.link_resend(front, other, Join { key, is_sole: true, is_resend: true });
            }
        }
    }

    /// What came may be a further sending of a request whose answer has been found.
    fn link_as_resend(&mut self, number: u64, keys: &fingerprint::Keys) {
        let front = JoinKey::ALL.into_iter().zip(keys).skip(1).take(2).find_map(|(key, hash)| {
            let mut others = self.candidates(*hash, number).filter(|(_, waiting)| waiting.up.is_some());
            let front = others.find(|(_, waiting)| self.can_be_resend(waiting.exchange(), self.line.exchange(number)))?;
            Some((front.0, key))
        });
        if let Some((front, key)) = front {
            self.line.link_resend(front, number, Join { key, is_sole: true, is_resend: true });
        }
    }

    fn may_lead(&self, front: &Exchange, back: &Exchange) -> bool {
        let (there, here) = (front.endpoints, back.endpoints);
        self.partners.may_lead(there, here) && (!self.partners.may_lead(here, there) || fingerprint::precedes(front, back))
    }

    fn can_be_resend(&self, front: Option<&Exchange>, back: Option<&Exchange>) -> bool {
        front.zip(back).is_some_and(|(front, back)| self.may_lead(front, back) && fingerprint::is_resend(front, back))
    }

    /// What waits with that key, the latest first.
    fn candidates(&self, hash: u64, own: u64) -> impl Iterator<Item = (u64, &Waiting)> {
        let numbers = if hash == 0 { None } else { self.index.0.get(&hash) };
        let latest = numbers.into_iter().flat_map(Bucket::latest).take(CANDIDATES_MAX);
        latest.filter(move |number| *number != own).filter_map(|number| Some((number, self.line.get(number)?)))
    }

    /// Whether all that can be known of the partners is known.
    fn is_ready(&self, number: u64) -> bool {
        let Some(own) = self.line.get(number) else {
            return true;
        };
        let has_up = own.up.is_some() || !own.sides.up || self.is_late(own, own.up_patience());
        has_up && self.is_root_known(number)
    }

    /// Whether the way down to the client is known: it names the trace.
    fn is_root_known(&self, number: u64) -> bool {
        let mut at = number;
        for _ in 0..CHAIN_MAX {
            let Some(waiting) = self.line.get(at) else {
                return true;
            };
            match waiting.down {
                Some(link) => at = link.number,
                None => return !waiting.sides.down || self.is_late(waiting, WINDOW),
            }
        }
        true
    }

    fn is_late(&self, waiting: &Waiting, patience: Duration) -> bool {
        self.now.since(waiting.arrived) > patience
    }

    fn trace_of(&self, number: u64) -> Option<ExchangeId> {
        let own = self.line.get(number)?;
        if own.up.is_none() && own.down.is_none() {
            return None;
        }
        let mut last = own;
        for _ in 0..CHAIN_MAX {
            match last.down.and_then(|link| self.line.get(link.number)) {
                Some(next) => last = next,
                None => break,
            }
        }
        last.root.or_else(|| last.exchange().map(|exchange| exchange.id))
    }

    fn learn(&mut self, waiting: &Waiting) {
        let Some(exchange) = waiting.exchange() else {
            return;
        };
        let found = Sides { up: waiting.up.is_some(), down: waiting.down.is_some() };
        let vain = Sides { up: waiting.sides.up && !found.up, down: waiting.sides.down && !found.down };
        if found != Sides::default() {
            self.partners.handle_found(exchange.endpoints.server, found);
        }
        if vain != Sides::default() {
            self.partners.handle_vain(exchange.endpoints.server, vain);
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Up,
    Down,
}

impl Turn {
    /// The event.
    pub const fn event(&self) -> &Event {
        &self.waiting.event
    }
}

impl Waiting {
    /// How long to wait for a partner nearer the store.
    fn up_patience(&self) -> Duration {
        let is_own_answer =
            |exchange: &Exchange| exchange.response().is_some_and(|response| !response.headers.has(HeaderName::XAmzRequestId));
        if self.exchange().is_some_and(is_own_answer) { GRACE } else { WINDOW }
    }
}

impl Index {
    fn add(&mut self, key: u64, number: u64) {
        if key != 0 {
            self.0.entry(key).and_modify(|bucket| bucket.add(number)).or_insert(Bucket::One(number));
        }
    }

    fn remove(&mut self, key: u64, number: u64) {
        if let Some(bucket) = self.0.get_mut(&key)
            && bucket.remove(number)
        {
            self.0.remove(&key);
        }
    }
}
