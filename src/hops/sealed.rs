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

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use crate::model::{ExchangeId, SealedExchange, SealedPartner, Timestamp};
use candidates::Group;

pub use front::Front;

/// What waits to be joined by size and time.
#[derive(Default)]
pub struct Sealings {
    fronts: VecDeque<Front>,
    sealed: Vec<Waiting>,
    /// Where the machine that captured its loopback traffic is seen outside.
    host: Option<IpAddr>,
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
        let asked: HashSet<IpAddr> = fronts.values().map(|front| self.relay_of(front)).collect();
        let mut proxies: HashSet<IpAddr> = HashSet::new();
        for (waiting, found) in std::mem::take(&mut self.sealed).into_iter().zip(partners) {
            let partner = waiting.told.unwrap_or(found);
            // A call that is due takes along what it led to, though that began after it.
            let is_taken_along = partner.is_some_and(|partner| fronts.contains_key(&partner.downstream));
            if !is_taken_along && !is_due(waiting.exchange.request.start) {
                self.sealed.push(waiting);
                continue;
            }
            let proxy = waiting.exchange.endpoints.client.ip;
            if asked.contains(&proxy) || partner.is_some() {
                proxies.insert(proxy);
                let front = partner.and_then(|partner| fronts.remove(&partner.downstream));
                settled.sealed.push(SealedMember { exchange: waiting.exchange, partner, front });
            }
        }
        let alone = order.iter().filter_map(|id| fronts.remove(id));
        settled.alone = alone.map(|front| Lone { has_sealed: proxies.contains(&self.relay_of(&front)), front }).collect();
        settled
    }

    /// The address from which the server of a call asks elsewhere.
    fn relay_of(&self, front: &Front) -> IpAddr {
        let ip = front.server.ip;
        self.host.filter(|_| ip.is_loopback()).unwrap_or(ip)
    }

    /// Takes note of the address under which the machine that captured its loopback traffic is seen outside.
    pub const fn set_host(&mut self, host: Option<IpAddr>) {
        self.host = host;
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
            let group = by_proxy.get(&self.relay_of(front)).and_then(|index| groups.get_mut(*index));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hops::HopId;
    use crate::hops::sealed::front::Octets;
    use crate::model::{Endpoint, Endpoints, FlowId, SealedMessage, Stamp};

    fn id(flow: u64) -> ExchangeId {
        ExchangeId { flow: FlowId(flow), ordinal: 1 }
    }

    fn endpoint(last: u8, port: u16) -> Endpoint {
        Endpoint::new(IpAddr::from([10, 0, 0, last]), port)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(i64::try_from(millis * 1_000_000).unwrap())
    }

    /// A call of so many octets either way, from its start to its end in milliseconds, to the proxy 10.0.0.4.
    fn front(number: u64, [asked, answered]: [u64; 2], [start, end]: [u64; 2]) -> Front {
        let octets = |length: u64, kind| Some(Octets { range: length..=length, kind });
        Front {
            id: id(number),
            trace: id(number),
            hop: HopId(0),
            server: endpoint(4, 8091),
            start: at(start),
            first_byte: Some(at(end)),
            end: Some(at(end)),
            is_retry: false,
            has_waited: true,
            request_end: Some(at(start)),
            asked: octets(asked, 1),
            answered: octets(answered, 2),
        }
    }

    /// The same from the proxy to the store.
    fn sealed(number: u64, [asked, answered]: [u64; 2], [start, end]: [u64; 2]) -> Box<SealedExchange> {
        let message = |length: u64, millis| SealedMessage::begin(length..=length, Stamp { at: at(millis), ..Stamp::default() });
        let endpoints = Endpoints { client: endpoint(4, 40_000), server: endpoint(2, 9000) };
        Box::new(SealedExchange { id: id(number), endpoints, request: message(asked, start), response: message(answered, end) })
    }

    /// The calls that the sealed exchanges are joined to, in order, and whether surely.
    fn joins(sealings: &mut Sealings) -> Vec<Option<(u64, bool)>> {
        let settled = sealings.settle(true);
        let partner = |member: &SealedMember| member.partner.map(|partner| (partner.downstream.flow.0, partner.is_sole));
        settled.sealed.iter().map(partner).collect()
    }

    #[test]
    fn the_one_within_a_call_is_its_next_leg_and_one_beside_it_is_not() {
        let mut sealings = Sealings::default();
        sealings.offer(front(1, [900, 400], [10, 30]));
        sealings.offer(front(2, [900, 400], [40, 60]));
        sealings.handle_sealed(sealed(11, [1000, 380], [12, 28]));
        sealings.handle_sealed(sealed(12, [1000, 380], [35, 58]));
        sealings.handle_sealed(sealed(13, [9000, 380], [42, 58]));
        assert_eq!(joins(&mut sealings), [Some((1, true)), None, None]);
    }

    #[test]
    fn two_that_fit_alike_are_not_joined_unless_the_other_is_taken() {
        let mut sealings = Sealings::default();
        sealings.offer(front(1, [900, 400], [10, 40]));
        sealings.offer(front(2, [900, 400], [11, 41]));
        sealings.handle_sealed(sealed(11, [1000, 380], [14, 28]));
        sealings.handle_sealed(sealed(12, [1000, 380], [15, 28]));
        assert_eq!(joins(&mut sealings), [None, None]);
        // The second answer came too late for the first call.
        let mut sealings = Sealings::default();
        sealings.offer(front(1, [900, 400], [10, 30]));
        sealings.offer(front(2, [900, 400], [11, 50]));
        sealings.handle_sealed(sealed(11, [1000, 380], [14, 28]));
        sealings.handle_sealed(sealed(12, [1000, 380], [15, 45]));
        assert_eq!(joins(&mut sealings), [Some((1, false)), Some((2, false))]);
    }

    #[test]
    fn what_a_proxy_usually_adds_tells_calls_apart_that_run_at_once() {
        let mut sealings = Sealings::default();
        for number in 0..40 {
            let (asked, answered) = (900 + number * number * 7919 % 397, 400 + number * number * number * 104_729 % 389);
            sealings.offer(front(number, [asked, answered], [10, 100]));
            sealings.handle_sealed(sealed(100 + number, [asked + 95, answered - 31], [20, 90]));
        }
        // The proxy's own request, of a length that is near some of the others.
        sealings.handle_sealed(sealed(999, [1012, 377], [20, 90]));
        let expected: Vec<_> = (0..40).map(Some).chain([None]).collect();
        let found: Vec<_> = joins(&mut sealings).into_iter().map(|join| join.map(|(flow, _)| flow)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_recorded_partner_is_taken_as_it_was_told() {
        let mut sealings = Sealings::default();
        sealings.offer(front(1, [900, 400], [10, 40]));
        let partner = SealedPartner { trace: id(1), downstream: id(1), is_sole: false };
        sealings.handle_recorded(sealed(11, [5, 5], [70, 80]), Some(partner));
        sealings.handle_recorded(sealed(12, [1000, 380], [12, 28]), None);
        assert_eq!(joins(&mut sealings), [Some((1, false)), None]);
    }

    #[test]
    fn calls_that_found_none_are_told_with_whether_there_was_something_to_find() {
        let mut sealings = Sealings::default();
        sealings.offer(front(1, [900, 400], [10, 40]));
        sealings.offer(Front { server: endpoint(7, 80), ..front(2, [900, 400], [10, 40]) });
        sealings.handle_sealed(sealed(11, [1000, 380], [70, 80]));
        let alone = sealings.settle(true).alone;
        assert_eq!(
            alone.iter().map(|lone| (lone.front.id, lone.has_sealed)).collect::<Vec<_>>(),
            [(id(1), true), (id(2), false)]
        );
    }

    #[test]
    fn what_waits_is_bounded_and_the_younger_half_goes_on_waiting() {
        let mut sealings = Sealings::default();
        let count = Sealings::FRONTS_MAX as u64;
        for number in 0..count {
            sealings.offer(front(number, [900, 400], [10 + 4 * number, 12 + 4 * number]));
        }
        sealings.handle_sealed(sealed(count, [1000, 380], [11, 12]));
        sealings.handle_sealed(sealed(count + 1, [1000, 380], [4 * count - 1, 4 * count]));
        assert!(sealings.is_full());
        let settled = sealings.settle(false);
        assert_eq!(settled.sealed.len(), 1);
        assert!(settled.sealed[0].front.is_some() && settled.alone.len() as u64 >= count / 2 - 1);
        assert!(!sealings.is_full());
        assert_eq!(joins(&mut sealings).len(), 1);
        // Also where all are of one moment.
        for number in 0..count {
            sealings.offer(front(number, [900, 400], [10, 12]));
        }
        sealings.settle(false);
        assert!(!sealings.is_full());
    }
}
