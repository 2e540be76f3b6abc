//! Which flows form which hop: events in, hops out. Evidence is gathered when an event is first heard, names are given when a
//! hop is first used, and what leads to what is told from addresses, or on one machine from the headers that proxies add.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::naming::{self, Evidence};
use crate::hops::{Hop, HopId, HopTransport, Join, JoinKey};
use crate::model::{Endpoint, Endpoints, Exchange, FlowClosed, Handshake, Protocol};

/// A hop that the user named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredHop {
    /// The name, as given.
    pub name: String,
    /// Its servers: host as given, its address where it is one or was resolved, and port.
    pub servers: Vec<(String, Option<IpAddr>, Option<u16>)>,
}

/// The hops of a run.
#[derive(Debug, Default)]
pub struct Topology {
    declared: Vec<DeclaredHop>,
    names: HashMap<IpAddr, String>,
    evidence: HashMap<Endpoint, Evidence>,
    /// Names of hops as a recorded run gave them, by server.
    recorded: HashMap<Endpoint, String>,
    /// Whether the user named addresses, which then speak before recorded names.
    is_named_by_user: bool,
    by_server: HashMap<Endpoint, HopId>,
    /// Hops inside tunnels, by the proxy and the target that CONNECT named.
    by_target: HashMap<(Endpoint, Arc<str>), HopId>,
    hops: Vec<Hop>,
    /// Other addresses of servers, before they were translated.
    aliases: Vec<(Endpoint, Endpoint)>,
    last: Option<(Endpoint, HopId)>,
    /// Hops, where their calls were seen to go on, and how many calls.
    joined: Vec<(HopId, HopId, u64)>,
    /// The order of the hops, once it is settled.
    upstreams: Vec<Option<HopId>>,
    /// A server of which enough is known: most exchanges go where the one before went.
    last_known: Option<Endpoint>,
}

impl Topology {
    /// How many hops are told apart; servers beyond it join the last.
    pub const HOPS_MAX: usize = 256;
    /// How many server endpoints are remembered.
    pub const SERVERS_MAX: usize = 4096;
    /// Recorded names of hops are not longer.
    pub const NAME_BYTES_MAX: usize = 256;
    /// How many host names are remembered.
    pub const NAMES_MAX: usize = 65_536;

    /// Starts with what the user declared.
    pub fn new(declared: Vec<DeclaredHop>, names: impl IntoIterator<Item = (IpAddr, String)>) -> Self {
        let mut topology = Self { declared, names: HashMap::new(), ..Self::default() };
        for (ip, name) in names {
            topology.is_named_by_user = true;
            topology.handle_name(ip, &name);
        }
        topology
    }

    /// Another address of a server, before it was translated.
    pub fn handle_alias(&mut self, server: Endpoint, alias: Endpoint) {
        if server != alias && self.aliases.len() < Self::SERVERS_MAX && !self.aliases.contains(&(server, alias)) {
            self.aliases.push((server, alias));
        }
    }

    /// A host name from the capture. The first name of an address stays.
    pub fn handle_name(&mut self, ip: IpAddr, name: &str) {
        if self.names.len() < Self::NAMES_MAX
            && let Some(word) = naming::host_word(name)
        {
            self.names.entry(ip).or_insert(word);
        }
    }

    /// The name that a recorded run gave to the hop of a server. The first name of a server stays.
    pub fn handle_hop_name(&mut self, server: Endpoint, name: &str) {
        let is_usable = !name.is_empty() && name.len() <= Self::NAME_BYTES_MAX && !self.is_named_by_user;
        if is_usable && self.recorded.len() < Self::SERVERS_MAX && !self.recorded.contains_key(&server) {
            self.recorded.insert(server, name.to_owned());
        }
    }

    /// Gathers what an exchange tells about the parts of its two ends. Cheap once enough is known.
    pub fn observe_exchange(&mut self, exchange: &Exchange) {
        let server = exchange.endpoints.server;
        // What passes in a tunnel tells nothing of the proxy.
        if self.last_known == Some(server) || exchange.tunnel.is_some() {
            return;
        }
        if let Some(evidence) = self.evidence_of(server) {
            evidence.observe_exchange(exchange);
            if evidence.is_full() {
                self.last_known = Some(server);
            }
        }
    }

    /// Gathers what a closed flow tells.
    pub fn observe_flow(&mut self, closed: &FlowClosed) {
        let Protocol::Tls { view, .. } = &closed.protocol else {
            return;
        };
        if closed.tunnel.is_some() {
            return;
        }
        if let Some(evidence) = self.evidence_of(closed.endpoints.server) {
            evidence.observe_tls(view.sni.as_deref());
        }
    }

    /// The hop of an exchange, counted; names the hop where it is new.
    pub fn count_exchange(&mut self, exchange: &Exchange) -> HopId {
        let id = self.hop_in(exchange.endpoints, exchange.tunnel.as_ref(), transport_of(exchange));
        if let Some(hop) = self.hops.get_mut(id.0 as usize) {
            hop.exchanges += 1;
        }
        id
    }

    /// Hears that a call was seen on both hops, which tells their order where addresses do not.
    pub fn handle_join(&mut self, hop: HopId, upstream: HopId, join: Join) {
        // A relay on the client's own machine is asked at a loopback address, and only calls tell what it asks.
        let is_relay = self.is_loopback(hop) && !self.is_loopback(upstream);
        if (matches!(join.key, JoinKey::Target | JoinKey::RecordSizes) && !is_relay) || hop == upstream {
            return;
        }
        if let Some((.., calls)) = self.joined.iter_mut().find(|(from, to, _)| (*from, *to) == (hop, upstream)) {
            *calls += 1;
        } else if self.joined.len() < Self::HOPS_MAX {
            self.joined.push((hop, upstream, 1));
        }
    }

    fn is_loopback(&self, id: HopId) -> bool {
        self.hop(id).is_some_and(|hop| hop.servers.iter().all(|server| server.ip.is_loopback()))
    }

    /// Counts an S3 call.
    pub fn count_call(&mut self, id: HopId) {
        if let Some(hop) = self.hops.get_mut(id.0 as usize) {
            hop.calls += 1;
        }
    }

    /// The hop of a TLS flow that stayed shut, counted; `None` where the flow is no shut TLS flow with application data.
    pub fn count_shut_flow(&mut self, closed: &FlowClosed) -> Option<HopId> {
        let Protocol::Tls { shut: Some(_), sealed_bytes: 1.., handshake, .. } = &closed.protocol else {
            return None;
        };
        if matches!(handshake, Handshake::Failed(_)) {
            return None;
        }
        let id = self.hop_in(closed.endpoints, closed.tunnel.as_ref(), HopTransport::Tls);
        self.hops.get_mut(id.0 as usize)?.shut_flows += 1;
        Some(id)
    }

    /// The hop of a TLS flow that failed, counted; `None` where it did not fail.
    pub fn count_failed_flow(&mut self, closed: &FlowClosed) -> Option<HopId> {
        let Protocol::Tls { handshake: Handshake::Failed(_), .. } = &closed.protocol else {
            return None;
        };
        let id = self.hop_in(closed.endpoints, closed.tunnel.as_ref(), HopTransport::Tls);
        self.hops.get_mut(id.0 as usize)?.failed_flows += 1;
        Some(id)
    }

    /// The hop of a flow that begins with a PROXY header.
    pub fn proxied_hop(&mut self, closed: &FlowClosed) -> HopId {
        let is_tls = matches!(closed.protocol, Protocol::Tls { .. });
        self.hop_in(closed.endpoints, closed.tunnel.as_ref(), if is_tls { HopTransport::Tls } else { HopTransport::Clear })
    }

    /// The hop of a plaintext flow of which some bytes were not decoded, counted; `None` where there are no such bytes.
    pub fn count_undecoded_flow(&mut self, closed: &FlowClosed) -> Option<HopId> {
        if closed.undecoded.is_empty() || !closed.protocol.is_readable() {
            return None;
        }
        let id = self.hop_in(closed.endpoints, closed.tunnel.as_ref(), HopTransport::Clear);
        self.hops.get_mut(id.0 as usize)?.undecoded_flows += 1;
        Some(id)
    }

    /// The hop of an exchange that stays shut, which is not counted.
    pub fn sealed_hop(&mut self, endpoints: Endpoints) -> HopId {
        self.hop_of(endpoints, HopTransport::Tls)
    }

    /// The hop of a flow of which a recorded run says that it belongs to one.
    pub fn recorded_hop(&mut self, closed: &FlowClosed) -> Option<HopId> {
        let transport = match &closed.protocol {
            Protocol::Tls { .. } => HopTransport::Tls,
            _ => HopTransport::Clear,
        };
        let is_recorded = self.recorded.contains_key(&closed.endpoints.server);
        is_recorded.then(|| self.hop_of(closed.endpoints, transport))
    }

    /// The hop of an exchange, where it has been counted.
    pub fn find_exchange(&self, exchange: &Exchange) -> Option<HopId> {
        self.find_in(exchange.endpoints.server, exchange.tunnel.as_ref())
    }

    /// The hop of a flow, where something of it was counted.
    pub fn find_flow(&self, closed: &FlowClosed) -> Option<HopId> {
        self.find_in(closed.endpoints.server, closed.tunnel.as_ref())
    }

    fn find_in(&self, server: Endpoint, tunnel: Option<&Arc<str>>) -> Option<HopId> {
        match tunnel {
            Some(target) => self.by_target.get(&(server, Arc::clone(target))).copied(),
            None => self.find(server),
        }
    }

    /// The hop of a server, where it has been used.
    pub fn find(&self, server: Endpoint) -> Option<HopId> {
        self.by_server.get(&server).copied()
    }

    /// A hop.
    pub fn hop(&self, id: HopId) -> Option<&Hop> {
        self.hops.get(id.0 as usize)
    }

    /// The declared hops to which no server of the run belongs, by name.
    pub fn unmatched(&self) -> Vec<String> {
        let is_used = |declared: &DeclaredHop| {
            let mut servers = self.hops.iter().filter(|hop| hop.declared).flat_map(|hop| &hop.servers);
            servers.any(|server| self.declares(declared, *server))
        };
        self.declared.iter().filter(|declared| !is_used(declared)).map(|declared| declared.name.clone()).collect()
    }

    /// What the servers of a hop name themselves in their responses, as a word: `sidekick`, `nginx`, `store` for MinIO.
    pub fn software(&self, id: HopId) -> Option<&str> {
        self.hop(id)?.servers.iter().filter_map(|server| self.evidence.get(server)).find_map(Evidence::software)
    }

    /// Whether the store at the end of a hop is MinIO, as far as responses name it, also through a proxy.
    pub fn is_minio(&self, id: HopId) -> bool {
        self.hop(id).is_some_and(|hop| hop.servers.iter().filter_map(|server| self.evidence.get(server)).any(Evidence::is_minio))
    }

    /// The name of a hop.
    pub fn name(&self, id: HopId) -> &str {
        self.hop(id).map_or("", |hop| &hop.name)
    }

    /// All hops, in order of first sight. `Hop::upstream` is set by [`Topology::into_hops`].
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The next hop towards the store: the one whose client is the server of this one.
    pub fn upstream(&self, id: HopId) -> Option<HopId> {
        if self.upstreams.len() == self.hops.len() {
            return *self.upstreams.get(id.0 as usize)?;
        }
        let hop = self.hop(id)?;
        if let Some(next) = self.hops.iter().find(|next| next.id != id && self.leads_to(hop, next)) {
            return Some(next.id);
        }
        // Joins rest on times too: where packets came out of order, calls can seem to go the other way.
        let calls = |from, to| self.joined.iter().find(|(a, b, _)| (*a, *b) == (from, to)).map_or(0, |(.., calls)| *calls);
        let is_ahead =
            |to: HopId, there: u64| there > calls(to, id) && !self.hop(to).is_some_and(|next| self.leads_to(next, hop));
        let ahead = self.joined.iter().filter(|(from, to, there)| *from == id && is_ahead(*to, *there));
        ahead.max_by_key(|(.., there)| *there).map(|(_, next, _)| *next)
    }

    /// The hops nearer the client that lead to this one.
    pub fn downstream(&self, id: HopId) -> impl Iterator<Item = HopId> + '_ {
        self.hops.iter().map(|hop| hop.id).filter(move |hop| self.upstream(*hop) == Some(id))
    }

    /// Finds the order of the hops once for all questions that come after; for the end of a run.
    pub fn settle(&mut self) {
        self.upstreams.clear();
        self.upstreams = self.hops.iter().map(|hop| self.upstream(hop.id)).collect();
    }

    /// Ends the run: the hops with their order.
    pub fn into_hops(mut self) -> Vec<Hop> {
        self.settle();
        let aliases = self.aliases;
        let aliases_of =
            |hop: &Hop| aliases.iter().filter(|(server, _)| hop.servers.contains(server)).map(|(_, alias)| *alias).collect();
        let hops = self.hops.into_iter().zip(self.upstreams);
        hops.map(|(hop, upstream)| Hop { upstream, aliases: aliases_of(&hop), ..hop }).collect()
    }

    /// Whether the server of `hop` is the client of `next`. On one machine, where all addresses are equal, only the headers of
    /// the requests on `next` can tell, by the authority that was asked for.
    fn leads_to(&self, hop: &Hop, next: &Hop) -> bool {
        let forwarded_from = |server: &Endpoint| {
            next.servers.iter().filter_map(|next| self.evidence.get(next)).any(|evidence| evidence.forwards_for(server.port))
        };
        hop.servers.iter().any(|server| {
            let same_machine = next.servers.iter().any(|next| next.ip == server.ip);
            if same_machine {
                forwarded_from(server)
            } else {
                next.clients.contains(&server.ip) && !hop.clients.contains(&server.ip)
            }
        })
    }

    fn evidence_of(&mut self, server: Endpoint) -> Option<&mut Evidence> {
        if self.evidence.len() >= Self::SERVERS_MAX && !self.evidence.contains_key(&server) {
            return None;
        }
        Some(self.evidence.entry(server).or_default())
    }

    /// The hop of what passes between those ends, or inside a tunnel between them.
    fn hop_in(&mut self, endpoints: Endpoints, tunnel: Option<&Arc<str>>, transport: HopTransport) -> HopId {
        let Some(target) = tunnel else { return self.hop_of(endpoints, transport) };
        let key = (endpoints.server, Arc::clone(target));
        let id = match self.by_target.get(&key) {
            Some(id) => *id,
            None => self.add_tunnel(key, endpoints, transport),
        };
        self.note_use(id, endpoints, transport);
        id
    }

    fn add_tunnel(&mut self, key: (Endpoint, Arc<str>), endpoints: Endpoints, transport: HopTransport) -> HopId {
        let (server, target) = (&key.0, &key.1);
        let (host, port) = split_authority(target);
        let declared = self.declared.iter().find(|declared| declares_target(declared, host, port)).map(|one| one.name.clone());
        let is_declared = declared.is_some();
        let word = naming::host_word(host).unwrap_or_else(|| "server".to_owned());
        let name = declared.unwrap_or_else(|| self.unique(format!("{}-{word}", self.client_word(endpoints)), *server));
        let id = self.push(name, *server, transport, is_declared);
        if let Some(hop) = self.hops.get_mut(id.0 as usize).filter(|hop| hop.exchanges == 0 && hop.target.is_none()) {
            hop.target = Some(Arc::clone(target));
        }
        if self.by_target.len() < Self::SERVERS_MAX {
            self.by_target.insert(key, id);
        }
        id
    }

    fn hop_of(&mut self, endpoints: Endpoints, transport: HopTransport) -> HopId {
        let id = match self.last {
            Some((server, id)) if server == endpoints.server => id,
            _ => match self.by_server.get(&endpoints.server) {
                Some(id) => *id,
                None => self.add(endpoints, transport),
            },
        };
        self.last = Some((endpoints.server, id));
        self.note_use(id, endpoints, transport);
        id
    }

    /// Remembers who uses a hop, and how.
    fn note_use(&mut self, id: HopId, endpoints: Endpoints, transport: HopTransport) {
        if let Some(hop) = self.hops.get_mut(id.0 as usize) {
            if hop.transport != transport {
                hop.transport = HopTransport::Mixed;
            }
            if hop.clients.last() != Some(&endpoints.client.ip)
                && !hop.clients.contains(&endpoints.client.ip)
                && hop.clients.len() < Hop::CLIENTS_MAX
            {
                hop.clients.push(endpoints.client.ip);
            }
        }
    }

    fn add(&mut self, endpoints: Endpoints, transport: HopTransport) -> HopId {
        let server = endpoints.server;
        let declared =
            self.declared.iter().find(|declared| self.declares(declared, server)).map(|declared| declared.name.clone());
        let recorded = self.recorded.get(&server).filter(|_| declared.is_none()).cloned();
        let name = match declared.as_ref().or(recorded.as_ref()) {
            Some(name) => name.clone(),
            None => format!("{}-{}", self.client_word(endpoints), self.server_word(server)),
        };
        // Several servers behind one name, on the port they share, are one hop: a store of many nodes, a declared list.
        let same = self.hops.iter().position(|hop| {
            hop.name == name
                && (declared.is_some()
                    || recorded.is_some()
                    || (!hop.declared
                        && hop.target.is_none()
                        && hop.transport == transport
                        && hop.servers.iter().any(|have| have.port == server.port)))
        });
        let id = match same {
            Some(index) => self.join(index, server),
            None => {
                let name = if declared.is_some() { name } else { self.unique(name, server) };
                self.push(name, server, transport, declared.is_some())
            }
        };
        if self.by_server.len() < Self::SERVERS_MAX {
            self.by_server.insert(server, id);
        }
        id
    }

    /// Adds a hop; beyond the bound the last one stands for all.
    fn push(&mut self, name: String, server: Endpoint, transport: HopTransport, declared: bool) -> HopId {
        let number = u32::try_from(self.hops.len()).unwrap_or(u32::MAX);
        if self.hops.len() >= Self::HOPS_MAX {
            return HopId(number.saturating_sub(1));
        }
        self.hops.push(Hop {
            id: HopId(number),
            name,
            servers: vec![server],
            target: None,
            aliases: Vec::new(),
            clients: Vec::new(),
            transport,
            exchanges: 0,
            calls: 0,
            shut_flows: 0,
            failed_flows: 0,
            undecoded_flows: 0,
            declared,
            upstream: None,
        });
        HopId(number)
    }

    fn join(&mut self, index: usize, server: Endpoint) -> HopId {
        let Some(hop) = self.hops.get_mut(index) else {
            return HopId::default();
        };
        if hop.servers.len() < Hop::SERVERS_MAX {
            hop.servers.push(server);
        }
        hop.id
    }

    fn unique(&self, name: String, server: Endpoint) -> String {
        let taken = |name: &str| self.hops.iter().any(|hop| hop.name == name);
        if !taken(&name) {
            return name;
        }
        let with_port = format!("{name}:{}", server.port);
        if !taken(&with_port) {
            return with_port;
        }
        (2..).map(|number| format!("{with_port}.{number}")).find(|name| !taken(name)).unwrap_or(with_port)
    }

    fn declares(&self, declared: &DeclaredHop, server: Endpoint) -> bool {
        declared.servers.iter().any(|(host, ip, port)| {
            let same_host = match ip.or_else(|| host.parse().ok()) {
                Some(ip) => ip == server.ip || self.is_alias(server, ip),
                None => self.names.get(&server.ip).is_some_and(|name| naming::host_word(host).as_ref() == Some(name)),
            };
            same_host && port.is_none_or(|port| port == server.port)
        })
    }

    fn is_alias(&self, server: Endpoint, ip: IpAddr) -> bool {
        self.aliases.iter().any(|(of, alias)| *of == server && alias.ip == ip)
    }

    fn server_word(&self, server: Endpoint) -> String {
        self.names
            .get(&server.ip)
            .filter(|_| !server.ip.is_loopback())
            .cloned()
            .or_else(|| self.role_word(server, self.evidence.get(&server)?))
            .unwrap_or_else(|| "server".to_owned())
    }

    /// What a server is by its responses. A proxy that passes on the store's `Server` header is a proxy: it asks a server that names
    /// itself the same.
    fn role_word(&self, server: Endpoint, own: &Evidence) -> Option<String> {
        let word = own.server_word()?;
        let asks = |(other, evidence): (&Endpoint, &Evidence)| {
            let is_asked = match other.ip == server.ip || server.ip.is_loopback() {
                true => evidence.forwards_for(server.port),
                false => evidence.is_asked_by(server.ip),
            };
            *other != server && is_asked && evidence.server_word().as_ref() == Some(&word)
        };
        Some(if self.evidence.iter().any(asks) { "proxy".to_owned() } else { word })
    }

    /// The part of a client: the host name; the part its address plays as a server; what forwarding headers tell; its program.
    fn client_word(&self, Endpoints { client, server }: Endpoints) -> String {
        let elsewhere = !client.ip.is_loopback() && client.ip != server.ip;
        if elsewhere && let Some(name) = self.names.get(&client.ip) {
            return name.clone();
        }
        let evidence = self.evidence.get(&server);
        let serves = |(have, other): (&Endpoint, &Evidence)| {
            let same = if elsewhere { have.ip == client.ip } else { evidence.is_some_and(|own| own.forwards_for(have.port)) };
            if same && *have != server { self.role_word(*have, other).map(|word| (*have, word)) } else { None }
        };
        // The lowest endpoint, so that the answer does not depend on the order of a hash table.
        let as_server = self.evidence.iter().filter_map(serves).min().map(|(_, word)| word);
        as_server.or_else(|| evidence.and_then(|evidence| evidence.client_word(client.ip))).unwrap_or_else(|| "client".to_owned())
    }
}

/// Host and port of the target of a CONNECT.
fn split_authority(target: &str) -> (&str, Option<u16>) {
    match target.rsplit_once(':') {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.parse().ok()),
        None => (target, None),
    }
}

fn declares_target(declared: &DeclaredHop, host: &str, port: Option<u16>) -> bool {
    declared.servers.iter().any(|(name, ip, wanted)| {
        let same_host = name.eq_ignore_ascii_case(host) || ip.is_some_and(|ip| host.parse() == Ok(ip));
        same_host && wanted.is_none_or(|wanted| Some(wanted) == port)
    })
}

fn transport_of(exchange: &Exchange) -> HopTransport {
    if exchange.transport.is_clear() { HopTransport::Clear } else { HopTransport::Tls }
}
