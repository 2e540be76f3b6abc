//! Joins calls with the sealed exchanges they led to, where the next hop is TLS that stays shut: by time, and by how much longer
//! or shorter a message becomes inside the proxy.
//!
//! A sealed exchange is told late, when no secret can come any more, so that calls wait as a few numbers each, in a bounded
//! number, and are told before. What a proxy adds to a message is learnt from the capture. Where several would fit, nothing is
//! joined unless all others are taken.

mod candidates;
mod choose;
mod front;
mod usual;

use std::collections::VecDeque;
use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt as _};

use crate::model::{ExchangeId, SealedExchange, SealedPartner, Timestamp};
use candidates::Group;

pub use front::Front;

/// What waits to be joined by size and time.
#[derive(Default)]
pub struct Sealings {
    fronts: VecDeque<Front>,
    sealed: Vec<Waiting>,
}

/// A sealed exchange, and its partner where a recorded run has told it already.
struct Waiting {
    exchange: Box<SealedExchange>,
    told: Option<Option<SealedPartner>>,
}

/// What became of those that waited.
#[derive(Default)]
pub struct Settled {
    /// The sealed exchanges that could have had a partner, in order of arrival.
    pub sealed: Vec<SealedMember>,
    /// The calls that found none.
    pub alone: Vec<Lone>,
}

/// A sealed exchange with what is known of it.
pub struct SealedMember {
    /// The exchange.
    pub exchange: Box<SealedExchange>,
    /// The call that led to it.
    pub partner: Option<SealedPartner>,
    /// The same, as far as it is remembered.
    pub front: Option<Front>,
}

/// A call without a partner.
pub struct Lone {
    /// The call.
    pub front: Front,
    /// Whether there were sealed exchanges behind its server, of which none could be told to be its.
    pub has_sealed: bool,
}

impl Sealings {
    /// How many calls wait at most.
    pub const FRONTS_MAX: usize = 1 << 15;
    /// How many sealed exchanges wait at most.
    pub const SEALED_MAX: usize = 1 << 15;

    /// Takes a call that was not seen on the next hop.
    pub fn offer(&mut self, front: Front) {
        self.fronts.push_back(front);
    }

    /// Takes an exchange of a flow that stays shut.
    pub fn handle_sealed(&mut self, exchange: Box<SealedExchange>) {
        self.sealed.push(Waiting { exchange, told: None });
    }

    /// Takes an exchange of a recorded run, which has told its partner or that it has none.
    pub fn handle_recorded(&mut self, exchange: Box<SealedExchange>, partner: Option<SealedPartner>) {
        self.sealed.push(Waiting { exchange, told: Some(partner) });
    }

    /// Whether more waits than may.
    pub fn is_full(&self) -> bool {
        self.fronts.len() >= Self::FRONTS_MAX || self.sealed.len() >= Self::SEALED_MAX
    }

    /// Joins what waits. Before the end of a run only the older half of the calls is decided on: for the others, sealed exchanges
    /// may still come.
    pub fn settle(&mut self, is_end: bool) -> Settled {
        let until = if is_end { None } else { self.middle() };
        let is_due = |start: Timestamp| until.is_none_or(|until| start <= until);
        let partners = self.partners(&is_due);
        let mut settled = Settled::default();
        let mut fronts: HashMap<ExchangeId, Front> = HashMap::new();
        let mut order = Vec::new();
        for front in std::mem::take(&mut self.fronts) {
            if is_due(front.start) {
                order.push(front.id);
                fronts.insert(front.id, front);
            } else {
                self.fronts.push_back(front);
            }
        }
        let mut proxies: Vec<IpAddr> = Vec::new();
        for (waiting, found) in std::mem::take(&mut self.sealed).into_iter().zip(partners) {
            if !is_due(waiting.exchange.request.start) {
                self.sealed.push(waiting);
                continue;
            }
            let proxy = waiting.exchange.endpoints.client.ip;
            let partner = waiting.told.unwrap_or(found);
            if !proxies.contains(&proxy) && fronts.values().any(|front| front.server.ip == proxy) {
                proxies.push(proxy);
            }
            if proxies.contains(&proxy) || partner.is_some() {
                let front = partner.and_then(|partner| fronts.remove(&partner.downstream));
                settled.sealed.push(SealedMember { exchange: waiting.exchange, partner, front });
            }
        }
        let alone = order.iter().filter_map(|id| fronts.remove(id));
        settled.alone = alone.map(|front| Lone { has_sealed: proxies.contains(&front.server.ip), front }).collect();
        settled
    }

    /// The partner of each sealed exchange, of those calls that are due.
    fn partners(&self, is_due: &dyn Fn(Timestamp) -> bool) -> Vec<Option<SealedPartner>> {
        let mut partners = vec![None; self.sealed.len()];
        for group in self.groups() {
            for choice in choose::choose(&group) {
                let Some(front) = self.fronts.get(choice.front).filter(|front| is_due(front.start)) else { continue };
                if let Some(partner) = partners.get_mut(choice.sealed) {
                    *partner = Some(SealedPartner { trace: front.trace, downstream: front.id, is_sole: choice.is_sole });
                }
            }
        }
        partners
    }

    /// What may belong together: the calls to an address, and the sealed exchanges from it.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut by_proxy: HashMap<IpAddr, usize> = HashMap::new();
        for (place, waiting) in self.sealed.iter().enumerate().filter(|(_, waiting)| waiting.told.is_none()) {
            let index = *by_proxy.entry(waiting.exchange.endpoints.client.ip).or_insert_with(|| {
                groups.push(Group::default());
                groups.len() - 1
            });
            groups.get_mut(index).into_iter().for_each(|group| group.sealed.push((place, &*waiting.exchange)));
        }
        for (place, front) in self.fronts.iter().enumerate().filter(|(_, front)| front.is_whole()) {
            let group = by_proxy.get(&front.server.ip).and_then(|index| groups.get_mut(*index));
            group.into_iter().for_each(|group| group.fronts.push((place, front)));
        }
        groups.iter_mut().for_each(Group::sort);
        groups
    }

    fn middle(&self) -> Option<Timestamp> {
        let mut starts: Vec<Timestamp> = self.fronts.iter().map(|front| front.start).collect();
        starts.extend(self.sealed.iter().map(|waiting| waiting.exchange.request.start));
        let middle = starts.len() / 2;
        (middle > 0).then(|| *starts.select_nth_unstable(middle).1)
    }
}
