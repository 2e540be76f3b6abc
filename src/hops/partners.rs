//! Who can stand on both sides: addresses in, whether an exchange can have a partner on another hop out. A capture of one hop
//! shows nobody who is a server here and a client there, and then nothing ever waits.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::fingerprint;
use crate::hops::host::Host;
use crate::model::{Endpoint, Endpoints, Exchange, Timestamp};

/// Towards which ends of the way a partner is possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sides {
    /// Nearer the store.
    pub(super) up: bool,
    /// Nearer the client.
    pub(super) down: bool,
}

/// What is known of who talks to whom. Bounded; addresses beyond the bounds have no partner.
#[derive(Debug)]
pub(super) struct Partners {
    /// By address: the servers it opened connections to.
    opens: HashMap<IpAddr, Few>,
    /// By address: the endpoints on it that answer.
    serves: HashMap<IpAddr, Few>,
    /// Servers that were seen to answer with the same request id though addresses do not tell why: the one that was asked first,
    /// and the one it asked.
    links: Vec<(Endpoint, Endpoint)>,
    /// Servers that gave one request id to several requests.
    repeaters: Vec<Endpoint>,
    trials: HashMap<Endpoint, Trial>,
    ids: HashMap<u64, (Endpoints, Timestamp)>,
    /// The machine that captured, where its loopback traffic is here.
    host: Host,
    is_any: bool,
    last: Option<(IpAddr, Endpoint)>,
}

/// One endpoint, or the first two of several: all that has to be known is whether there is another one.
#[derive(Clone, Copy, Debug)]
struct Few {
    first: Endpoint,
    second: Option<Endpoint>,
}

/// How often exchanges of one server waited in vain, by side. What found a partner once always waits.
#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    up: Option<u32>,
    down: Option<u32>,
}

/// After so many exchanges without a partner those of the server wait no longer, until another server shows up.
const VAIN_MAX: u32 = 1024;

impl Default for Partners {
    fn default() -> Self {
        Self {
            opens: HashMap::new(),
            serves: HashMap::new(),
            links: Vec::new(),
            repeaters: Vec::new(),
            trials: HashMap::new(),
            ids: HashMap::new(),
            host: Host::default(),
            is_any: false,
            last: None,
        }
    }
}

impl Partners {
    /// How many addresses are remembered.
    const ADDRESSES_MAX: usize = 65_536;
    /// How many servers are remembered.
    const SERVERS_MAX: usize = 4096;
    /// How many links between servers are learnt.
    const LINKS_MAX: usize = 64;
    /// From how many first answers links are learnt.
    const IDS_MAX: usize = 1024;

    /// Hears of a connection.
    pub(super) fn observe(&mut self, Endpoints { client, server }: Endpoints) {
        if self.last == Some((client.ip, server)) {
            return;
        }
        self.last = Some((client.ip, server));
        self.host.observe(Endpoints { client, server });
        self.is_any |= self.host.address().is_some();
        let is_new = add(&mut self.opens, client.ip, server) | add(&mut self.serves, server.ip, server);
        if is_new {
            let meets = |ip: &IpAddr| {
                let (opened, served) = (self.opens.get(ip), self.serves.get(ip));
                opened.is_some_and(|opened| served.is_some_and(|served| served.has_other_than(opened)))
            };
            self.is_any |= meets(&client.ip) || meets(&server.ip);
        }
    }

    /// Learns from the first answers which servers pass on the same request ids: proxies with an address on either side.
    pub(super) fn observe_answer(&mut self, exchange: &Exchange) {
        if self.ids.len() >= Self::IDS_MAX {
            return;
        }
        let Some(key) = fingerprint::request_id_key(exchange).filter(|_| !fingerprint::is_unseen(&exchange.request)) else {
            return;
        };
        let own = (exchange.endpoints, fingerprint::start_of(&exchange.request));
        let other = *self.ids.entry(key).or_insert(own);
        let is_repeated = other.0.server == own.0.server && other != own;
        if is_repeated && self.repeaters.len() < Self::LINKS_MAX && !self.repeaters.contains(&own.0.server) {
            self.repeaters.push(own.0.server);
        }
        let (front, back) = if other.1 < own.1 { (other.0, own.0) } else { (own.0, other.0) };
        let is_plain = back.client.ip == front.server.ip || front.client.ip == back.server.ip;
        let link = (front.server, back.server);
        if front.server != back.server && !is_plain && !self.links.contains(&link) && self.links.len() < Self::LINKS_MAX {
            self.links.push(link);
            self.is_any = true;
        }
    }

    /// Whether a server gives one request id to several requests, as far as its first responses show.
    pub(super) fn repeats_ids(&self, server: Endpoint) -> bool {
        self.repeaters.contains(&server)
    }

    /// Where an exchange between these ends can have partners.
    pub(super) fn sides_of(&mut self, ends: Endpoints) -> Sides {
        if !self.is_any {
            return Sides::default();
        }
        let Endpoints { client, server } = ends;
        let up = self.links.iter().any(|(front, _)| *front == server) || self.has_other(&self.opens, server.ip, server);
        let down = self.links.iter().any(|(_, back)| *back == server) || self.has_other(&self.serves, client.ip, server);
        let Some(trial) = self.trial_of(server) else {
            return Sides::default();
        };
        let may = |tries: Option<u32>| tries.is_none_or(|tries| tries < VAIN_MAX);
        Sides { up: up && may(trial.up), down: down && may(trial.down) }
    }

    /// Whether who answers between these ends was seen to ask elsewhere.
    pub(super) fn asks_elsewhere(&self, ends: Endpoints) -> bool {
        self.is_any && self.has_other(&self.opens, ends.server.ip, ends.server)
    }

    /// Whether who asks between these ends was seen to be asked.
    pub(super) fn is_asked_elsewhere(&self, ends: Endpoints) -> bool {
        self.is_any && self.has_other(&self.serves, ends.client.ip, ends.server)
    }

    /// Whether `front` can be what led to `back`, by their ends. On one machine, where all addresses are equal, it is so both
    /// ways.
    pub(super) fn may_lead(&self, front: Endpoints, back: Endpoints) -> bool {
        front.server != back.server
            && (back.client.ip == front.server.ip
                || self.host.alias(front.server.ip) == Some(back.client.ip)
                || self.links.contains(&(front.server, back.server)))
    }

    /// The address under which the machine that captured its loopback traffic is seen outside.
    pub(super) fn host_address(&self) -> Option<IpAddr> {
        self.host.address()
    }

    /// Whether a table knows another endpoint than this one of an address, or of the same machine's other address.
    fn has_other(&self, table: &HashMap<IpAddr, Few>, ip: IpAddr, than: Endpoint) -> bool {
        let of = |ip: IpAddr| table.get(&ip).is_some_and(|few| few.has_other(than));
        of(ip) || self.host.alias(ip).is_some_and(of)
    }

    /// An exchange of this server found what it waited for, on the sides that are `true`.
    pub(super) fn handle_found(&mut self, server: Endpoint, found: Sides) {
        if let Some(trial) = self.trials.get_mut(&server) {
            if found.up {
                trial.up = None;
            }
            if found.down {
                trial.down = None;
            }
        }
    }

    /// An exchange of this server waited in vain, on the sides that are `true`.
    pub(super) fn handle_vain(&mut self, server: Endpoint, vain: Sides) {
        if let Some(trial) = self.trials.get_mut(&server) {
            let count = |tries: &mut Option<u32>| *tries = tries.map(|tries| tries.saturating_add(1));
            if vain.up {
                count(&mut trial.up);
            }
            if vain.down {
                count(&mut trial.down);
            }
        }
    }

    fn trial_of(&mut self, server: Endpoint) -> Option<Trial> {
        if let Some(trial) = self.trials.get(&server) {
            return Some(*trial);
        }
        if self.trials.len() >= Self::SERVERS_MAX {
            return None;
        }
        // With a new server the others get another chance.
        for trial in self.trials.values_mut() {
            let again = |tries: &mut Option<u32>| *tries = tries.map(|_| 0);
            again(&mut trial.up);
            again(&mut trial.down);
        }
        let trial = Trial { up: Some(0), down: Some(0) };
        self.trials.insert(server, trial);
        Some(trial)
    }
}

impl Few {
    fn has_other(&self, than: Endpoint) -> bool {
        self.first != than || self.second.is_some()
    }

    fn has_other_than(&self, other: &Self) -> bool {
        self.first != other.first || self.second.is_some() || other.second.is_some()
    }
}

/// Adds an endpoint to what is known of an address; tells whether that is new.
fn add(table: &mut HashMap<IpAddr, Few>, ip: IpAddr, endpoint: Endpoint) -> bool {
    let is_full = table.len() >= Partners::ADDRESSES_MAX;
    match table.get_mut(&ip) {
        Some(few) if few.second.is_some() || few.first == endpoint => false,
        Some(few) => {
            few.second = Some(endpoint);
            true
        }
        None if is_full => false,
        None => {
            table.insert(ip, Few { first: endpoint, second: None });
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, server: &str) -> Endpoints {
        let server: std::net::SocketAddr = server.parse().unwrap();
        Endpoints { client: Endpoint::new(client.parse().unwrap(), 40_000), server: Endpoint::new(server.ip(), server.port()) }
    }

    #[test]
    fn a_server_that_asks_elsewhere_stands_on_both_sides() {
        let (front, back) = (ends("10.0.0.5", "10.0.0.4:8091"), ends("10.0.0.4", "10.0.0.2:9000"));
        let mut partners = Partners::default();
        partners.observe(front);
        assert_eq!(partners.sides_of(front), Sides::default());
        partners.observe(back);
        assert_eq!(partners.sides_of(front), Sides { up: true, down: false });
        assert_eq!(partners.sides_of(back), Sides { up: false, down: true });
        assert!(partners.may_lead(front, back) && !partners.may_lead(back, front));
        // A client that asks the store itself has nothing to do with it.
        assert_eq!(partners.sides_of(ends("10.0.0.9", "10.0.0.2:9000")), Sides::default());
    }

    #[test]
    fn one_server_on_one_machine_never_waits_and_a_second_one_does() {
        let store = ends("127.0.0.1", "127.0.0.1:9000");
        let mut partners = Partners::default();
        partners.observe(store);
        assert_eq!(partners.sides_of(store), Sides::default());
        partners.observe(ends("127.0.0.1", "127.0.0.1:8091"));
        assert_eq!(partners.sides_of(store), Sides { up: true, down: true });
    }

    #[test]
    fn what_waits_in_vain_stops_to_wait_until_another_server_shows_up() {
        let (front, back) = (ends("10.0.0.5", "10.0.0.4:8091"), ends("10.0.0.4", "10.0.0.2:9000"));
        let mut partners = Partners::default();
        partners.observe(front);
        partners.observe(back);
        assert!(partners.sides_of(front).up);
        for _ in 0..VAIN_MAX {
            partners.handle_vain(front.server, Sides { up: true, down: false });
        }
        assert!(!partners.sides_of(front).up);
        assert!(partners.sides_of(back).down);
        assert!(partners.sides_of(front).up);
        partners.handle_found(front.server, Sides { up: true, down: false });
        for _ in 0..VAIN_MAX {
            partners.handle_vain(front.server, Sides { up: true, down: false });
        }
        assert!(partners.sides_of(front).up, "what found a partner once always waits");
    }
}
