//! Joins the exchanges of one call over its hops: exchanges in capture order in, chains of exchanges out. Only what can have a
//! partner waits, and only in a bounded window of capture time; what stays without one comes out alone.

mod waiting;

use std::net::IpAddr;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::fingerprint::{self, Fit, JoinKey, Keys};
use crate::hops::partners::{Partners, Sides};
use crate::model::{Endpoints, Event, Exchange, ExchangeId, Timestamp};
use waiting::{Bucket, Line, Waiting};

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
            (JoinKey::Target | JoinKey::RecordSizes, true) => "likely",
            (JoinKey::Target | JoinKey::RecordSizes, false) => "possible",
        }
    }
}

/// The exchanges that are held to be one call, in capture order; a single one where no partner came.
pub struct Chain {
    /// The exchanges.
    pub members: Vec<Member>,
    /// The exchange nearest the client, where there is more than one.
    pub trace: Option<ExchangeId>,
}

/// One exchange of a chain.
pub struct Member {
    /// The exchange.
    pub exchange: Box<Exchange>,
    /// Which member is the same call on the next hop towards the client, and why.
    pub downstream: Option<(usize, Join)>,
    /// Whether a partner nearer the store was waited for and none came.
    pub lacks_upstream: bool,
    /// Whether a partner nearer the client was waited for and none came.
    pub lacks_downstream: bool,
    /// Whether it was not seen on the next hop, which may be because that stays shut.
    pub may_go_on: bool,
}

/// Holds what waits.
#[derive(Default)]
pub struct Correlator {
    partners: Partners,
    line: Line,
    index: Index,
    ready: Vec<Chain>,
    now: Timestamp,
    is_over: bool,
}

/// Which exchanges wait with a key.
struct Index(HashMap<u64, Bucket>);

impl Default for Index {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// A proxy relays an answer as it comes, so that the two ends of a call are near each other. A slow client can be behind by
/// what the sockets between hold, and a flow that lacks a packet is read on only when no late packet can be hoped for.
const WINDOW: Duration = Duration::from_secs(3);

/// How many exchanges with one key are looked at. Keys that so many share tell little.
const CANDIDATES_MAX: usize = 64;

/// No way has more hops, and no request is sent more often.
const CHAIN_MAX: usize = 16;

impl Correlator {
    /// How many exchanges wait at most.
    pub const EXCHANGES_MAX: usize = 16_384;
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
            Event::Sealed(_) | Event::FlowClosed(_) | Event::Lost(_) => {}
        }
    }

    /// Time goes by, with the events or with the clock of a live source.
    pub fn handle_time(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Whether an exchange between these ends can have a partner on another hop.
    pub fn is_hop(&mut self, ends: Endpoints) -> bool {
        self.partners.sides_of(ends) != Sides::default()
    }

    /// Whether what is asked between these ends can have led to something that stays shut.
    pub fn may_go_on(&self, ends: Endpoints) -> bool {
        self.partners.asks_elsewhere(ends)
    }

    /// Whether what passes between these ends, and stays shut, can have been led to.
    pub fn may_come_from(&self, ends: Endpoints) -> bool {
        self.partners.is_asked_elsewhere(ends)
    }

    /// The address under which the machine that captured its loopback traffic is seen outside.
    pub fn host_address(&self) -> Option<IpAddr> {
        self.partners.host_address()
    }

    /// Takes an exchange that can have a partner.
    pub fn handle_exchange(&mut self, exchange: Box<Exchange>) {
        let sides = self.partners.sides_of(exchange.endpoints);
        let number = self.line.push(exchange, sides, self.now);
        self.find_partners(number);
        let members = self.members(number);
        let is_whole = |number: &u64| self.line.get(*number).is_none_or(Waiting::is_whole);
        if members.iter().all(is_whole) {
            self.release(&members);
        }
    }

    /// The next chain that need not wait any longer.
    pub fn next_chain(&mut self) -> Option<Chain> {
        if self.ready.is_empty() {
            let (number, oldest) = self.line.oldest()?;
            let is_full = self.line.is_beyond(Self::EXCHANGES_MAX, Self::BYTES_MAX);
            if !self.is_over && !is_full && self.now.since(oldest.arrived) <= WINDOW {
                return None;
            }
            self.release(&self.members(number));
        }
        self.ready.pop()
    }

    /// Ends the run: nothing waits any longer.
    pub const fn end(&mut self) {
        self.is_over = true;
    }

    /// Looks for the partners of what has just come.
    fn find_partners(&mut self, number: u64) {
        let Some(own) = self.line.get(number) else {
            return;
        };
        let (keys, sides) = (fingerprint::keys_of(&own.exchange), own.sides);
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
        // What has found all its partners is not looked for any more.
        if let Some(own) = self.line.get_mut(number).filter(|own| !own.is_whole()) {
            own.keys = keys;
            for key in keys {
                self.index.add(key, number);
            }
        }
    }

    /// The best partner on one side by the surest key that finds any.
    fn best(&self, number: u64, keys: &Keys, side: Side) -> Option<(u64, Join)> {
        let own = &self.line.get(number)?.exchange;
        JoinKey::ALL.iter().zip(keys).find_map(|(key, hash)| {
            let mut found: Vec<(Fit, u64, &Exchange)> = Vec::new();
            for (other, waiting) in self.candidates(*hash, number) {
                let (front, back, is_free): (&Exchange, &Exchange, bool) = match side {
                    Side::Up => (own, &waiting.exchange, waiting.sides.down && waiting.down.is_none()),
                    Side::Down => (&waiting.exchange, own, waiting.sides.up && waiting.up.is_none()),
                };
                if is_free
                    && self.may_lead(front, back)
                    && let Some(fit) = fingerprint::fit(*key, front, back, self.partners.repeats_ids(back.endpoints.server))
                {
                    found.push((fit, other, &waiting.exchange));
                }
            }
            let is_sole = found.len() == 1;
            let alike = |other: &Exchange| match side {
                _ if is_sole => 0,
                Side::Up => fingerprint::likeness(own, other),
                Side::Down => fingerprint::likeness(other, own),
            };
            // Of those that fit equally well the answer's own fields tell, then the time between, then who was first.
            let best =
                found.iter().max_by_key(|(fit, other, exchange)| (fit.is_sound(), alike(exchange), *fit, u64::MAX - other));
            best.map(|(_, other, _)| (*other, Join { key: *key, is_sole, is_resend: false }))
        })
    }

    /// Earlier sendings of the request that became `front`.
    fn link_resends(&mut self, front: u64, keys: &Keys) {
        for (key, hash) in keys_of_request(keys) {
            let others: Vec<u64> = self
                .candidates(hash, front)
                .filter(|(_, waiting)| waiting.sides.down && waiting.down.is_none())
                .filter(|(_, waiting)| {
                    self.line.get(front).is_some_and(|front| self.is_resend(&front.exchange, &waiting.exchange))
                })
                .map(|(other, _)| other)
                .take(CHAIN_MAX)
                .collect();
            for other in others {
                self.line.link_resend(front, other, Join { key, is_sole: true, is_resend: true });
            }
        }
    }

    /// What came may be a further sending of a request whose answer has been found.
    fn link_as_resend(&mut self, number: u64, keys: &Keys) {
        let front = keys_of_request(keys).find_map(|(key, hash)| {
            let own = self.line.get(number)?;
            let mut others = self.candidates(hash, number).filter(|(_, waiting)| waiting.up.is_some());
            let front = others.find(|(_, waiting)| self.is_resend(&waiting.exchange, &own.exchange))?;
            Some((front.0, key))
        });
        if let Some((front, key)) = front {
            self.line.link_resend(front, number, Join { key, is_sole: true, is_resend: true });
        }
    }

    fn is_resend(&self, front: &Exchange, back: &Exchange) -> bool {
        self.may_lead(front, back) && fingerprint::is_resend(front, back)
    }

    fn may_lead(&self, front: &Exchange, back: &Exchange) -> bool {
        let (there, here) = (front.endpoints, back.endpoints);
        self.partners.may_lead(there, here) && (!self.partners.may_lead(here, there) || fingerprint::precedes(front, back))
    }

    /// What waits with that key, the latest first.
    fn candidates(&self, hash: u64, own: u64) -> impl Iterator<Item = (u64, &Waiting)> {
        let numbers = if hash == 0 { None } else { self.index.0.get(&hash) };
        let latest = numbers.into_iter().flat_map(Bucket::latest).take(CANDIDATES_MAX);
        latest.filter(move |number| *number != own).filter_map(|number| Some((number, self.line.get(number)?)))
    }

    /// All that is joined to an exchange, directly or not: the one nearest the client first, then those it led to.
    fn members(&self, number: u64) -> Vec<u64> {
        let mut root = number;
        for _ in 0..CHAIN_MAX {
            match self.line.get(root).and_then(|waiting| waiting.down) {
                // One that was given out already, since the chain was too long, is not the root of what is left.
                Some((front, _)) if self.line.get(front).is_some() => root = front,
                Some(_) | None => break,
            }
        }
        let mut members = vec![root];
        let mut at = 0;
        while let Some(waiting) = members.get(at).and_then(|number| self.line.get(*number)) {
            let backs = waiting.up.map(|(back, _)| back).into_iter().chain(waiting.resends.iter().copied());
            for back in backs {
                if !members.contains(&back) && members.len() < CHAIN_MAX {
                    members.push(back);
                }
            }
            at += 1;
        }
        if !members.contains(&number) {
            // Beyond the longest chain: whoever is asked for is given, or nothing would ever leave the line.
            members = vec![number];
        }
        members
    }

    /// Takes a chain out of the line.
    fn release(&mut self, members: &[u64]) {
        let mut order = members.to_vec();
        order.sort_unstable();
        let mut chain = Chain { members: Vec::with_capacity(order.len()), trace: None };
        for number in &order {
            let Some(waiting) = self.line.take(*number) else { continue };
            for key in waiting.keys.into_iter().filter(|key| *key != 0) {
                self.index.remove(key, *number);
            }
            self.learn(&waiting);
            if members.len() > 1 && members.first() == Some(number) {
                chain.trace = Some(waiting.exchange.id);
            }
            let downstream = waiting.down.and_then(|(front, join)| Some((order.iter().position(|one| *one == front)?, join)));
            chain.members.push(Member {
                downstream,
                lacks_upstream: waiting.sides.up && waiting.up.is_none(),
                lacks_downstream: waiting.sides.down && waiting.down.is_none(),
                may_go_on: waiting.up.is_none() && self.may_go_on(waiting.exchange.endpoints),
                exchange: waiting.exchange,
            });
        }
        self.ready.push(chain);
    }

    fn learn(&mut self, waiting: &Waiting) {
        let server = waiting.exchange.endpoints.server;
        let found = Sides { up: waiting.up.is_some(), down: waiting.down.is_some() };
        let vain = Sides { up: waiting.sides.up && !found.up, down: waiting.sides.down && !found.down };
        if found != Sides::default() {
            self.partners.handle_found(server, found);
        }
        if vain != Sides::default() {
            self.partners.handle_vain(server, vain);
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Up,
    Down,
}

/// The keys that a request has before it is answered.
fn keys_of_request(keys: &Keys) -> impl Iterator<Item = (JoinKey, u64)> {
    let [_, signature, invocation, _] = *keys;
    [(JoinKey::Signature, signature), (JoinKey::Invocation, invocation)].into_iter()
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
