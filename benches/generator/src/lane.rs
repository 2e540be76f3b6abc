//! One client connection and the calls on it, as a script of steps; with a proxy, each call borrows a connection to the store.

use std::collections::VecDeque;

use crate::connection::{Connection, Side};
use crate::outgoing::{Outgoing, Piece};
use crate::places::{Places, STORE_HOST, host_of};
use crate::s3::{Answer, Body, Call, Plan, Sdk};
use crate::sidekick::{request_to_store, response_to_client};
use crate::wire::Wire;

/// One client connection with its calls.
pub struct Lane {
    sdk: Sdk,
    client: Connection,
    upstream: Option<Connection>,
    script: VecDeque<Step>,
    current: Option<(Hop, Outgoing)>,
    retry: Option<Plan>,
}

/// The proxy's idle connections to the store, and where all programs live.
pub struct Proxy {
    /// Addresses and ports.
    pub places: Places,
    /// Open connections that no call uses.
    pub idle: Vec<Connection>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hop {
    Client = 0,
    Upstream = 1,
}

enum Step {
    Open(Hop),
    Send(Hop, Side, Vec<Piece>),
    // The call that goes upstream: its key on the client's hop, and its request id.
    TakeUpstream(Option<[String; 2]>),
    GiveUpstream,
    SayGoodbye(Hop),
    Close(Hop),
}

impl Lane {
    /// A client with a new connection and its first call planned.
    pub fn new(proxy: &mut Proxy, wire: &mut Wire) -> Self {
        let sdk = [Sdk::JavaV1, Sdk::JavaV2, Sdk::Boto3][wire.random.index(3)];
        let client = proxy.places.client_connection(wire);
        let script = VecDeque::from([Step::Open(Hop::Client)]);
        let mut lane = Self { sdk, client, upstream: None, script, current: None, retry: None };
        lane.next_call(wire);
        lane
    }

    /// Sends up to `packets` data segments; false when the connection is closed.
    pub fn burst(&mut self, packets: u64, proxy: &mut Proxy, wire: &mut Wire) -> bool {
        let mut left = packets;
        while left > 0 {
            if self.send_one(wire) {
                left -= 1;
                continue;
            }
            self.current = None;
            if self.script.is_empty() && !self.next_call(wire) {
                return false;
            }
            if let Some(step) = self.script.pop_front() {
                self.begin(step, proxy, wire);
            }
        }
        true
    }

    fn send_one(&mut self, wire: &mut Wire) -> bool {
        let Some((hop, outgoing)) = &mut self.current else { return false };
        let connection = match hop {
            Hop::Client => Some(&mut self.client),
            Hop::Upstream => self.upstream.as_mut(),
        };
        connection.is_some_and(|connection| outgoing.send_one(connection, wire))
    }

    fn begin(&mut self, step: Step, proxy: &mut Proxy, wire: &mut Wire) {
        match step {
            Step::Open(hop) => self.open(hop, wire),
            Step::Send(hop, side, pieces) => self.current = Some((hop, Outgoing::new(side, pieces))),
            Step::TakeUpstream(pair) => self.take_upstream(pair, proxy, wire),
            Step::GiveUpstream => self.give_upstream(proxy),
            Step::SayGoodbye(hop) => self.say_goodbye(hop),
            Step::Close(hop) => {
                if let Some(connection) = self.connection(hop) {
                    connection.close(wire);
                }
            }
        }
    }

    const fn connection(&mut self, hop: Hop) -> Option<&mut Connection> {
        match hop {
            Hop::Client => Some(&mut self.client),
            Hop::Upstream => self.upstream.as_mut(),
        }
    }

    fn open(&mut self, hop: Hop, wire: &mut Wire) {
        let Some(connection) = self.connection(hop) else { return };
        let flights = connection.tls.as_mut().map(|tls| {
            wire.publish_secrets(&tls.key_log);
            let random = &mut wire.random;
            let server = (tls.client_hello(random), tls.server_flight(random));
            [
                (Side::Client, server.0),
                (Side::Server, server.1),
                (Side::Client, tls.client_finished()),
                (Side::Server, tls.session_ticket(random)),
            ]
        });
        connection.open(wire);
        let Some(flights) = flights else { return };
        wire.truth.tls_connections += 1;
        for (side, records) in flights.into_iter().rev() {
            self.script.push_front(Step::Send(hop, side, vec![Piece::Records(records)]));
        }
    }

    fn say_goodbye(&mut self, hop: Hop) {
        let Some(tls) = self.connection(hop).and_then(|connection| connection.tls.as_mut()) else { return };
        let alerts = [Side::Server, Side::Client].map(|side| (side, tls.close_notify(side)));
        for (side, alert) in alerts {
            self.script.push_front(Step::Send(hop, side, vec![Piece::Records(alert)]));
        }
    }

    fn take_upstream(&mut self, pair: Option<[String; 2]>, proxy: &mut Proxy, wire: &mut Wire) {
        // Some connections are opened though others are idle, so that the pool grows and is not one to one.
        if proxy.idle.is_empty() || wire.random.chance(10) {
            self.upstream = Some(proxy.places.upstream_connection(wire));
            self.script.push_front(Step::Open(Hop::Upstream));
        } else {
            let at = wire.random.index(proxy.idle.len());
            self.upstream = Some(proxy.idle.swap_remove(at));
        }
        let Some(upstream) = &mut self.upstream else { return };
        upstream.requests += 1;
        if let Some([client_key, request_id]) = pair {
            wire.truth.pairs.push([client_key, key(upstream), request_id]);
        }
    }

    fn give_upstream(&mut self, proxy: &mut Proxy) {
        let Some(connection) = self.upstream.take() else { return };
        if connection.requests < connection.requests_left {
            proxy.idle.push(connection);
            return;
        }
        self.upstream = Some(connection);
        self.script.push_front(Step::Close(Hop::Upstream));
        self.script.push_front(Step::SayGoodbye(Hop::Upstream));
    }

    // Writes the script of the next call, or of the end; false after the end.
    fn next_call(&mut self, wire: &mut Wire) -> bool {
        let is_over = self.client.requests > 0 && (!wire.has_room() || self.client.requests >= self.client.requests_left);
        if is_over {
            if self.client.requests == u32::MAX {
                return false;
            }
            self.client.requests = u32::MAX;
            self.script.extend([Step::SayGoodbye(Hop::Client), Step::Close(Hop::Client)]);
            return true;
        }
        self.client.requests += 1;
        if wire.options.two_hop {
            self.proxied_call(wire);
        } else {
            self.direct_call(wire);
        }
        true
    }

    fn direct_call(&mut self, wire: &mut Wire) {
        let plan = Plan::choose(self.sdk, wire);
        let call = Call::build(plan, Answer::Store, host_of(&wire.options), wire);
        wire.truth.hops[0].count(&call, &call.request, &call.response);
        let request = Message::new(&call.request, &call.request_body, wire);
        let response = Message::new(&call.response, &call.response_body, wire);
        if call.expects_continue() {
            wire.truth.continues += 1;
            self.send(Hop::Client, Side::Client, request.head);
            self.send(Hop::Client, Side::Server, continue_head());
            self.send(Hop::Client, Side::Client, request.body);
        } else {
            self.send(Hop::Client, Side::Client, request.whole());
        }
        self.send(Hop::Client, Side::Server, response.whole());
    }

    fn proxied_call(&mut self, wire: &mut Wire) {
        if wire.random.chance(3) {
            self.health_check(wire);
        }
        let is_retry = self.retry.is_some();
        wire.truth.retries += u64::from(is_retry);
        let plan = self.retry.take().unwrap_or_else(|| Plan::choose(self.sdk, wire));
        let answer = match wire.random.below(1000) {
            0..5 if !is_retry => Answer::SlowDown,
            5..8 => Answer::BackendDown,
            _ => Answer::Store,
        };
        let call = Call::build(plan, answer, host_of(&wire.options), wire);
        if answer == Answer::SlowDown {
            self.retry = Some(Plan { attempt: 2, ..call.plan.clone() });
        }
        if answer == Answer::BackendDown {
            self.refused_by_proxy(&call, wire);
        } else {
            self.relayed_call(&call, wire);
        }
    }

    fn relayed_call(&mut self, call: &Call, wire: &mut Wire) {
        let to_store = request_to_store(&call.request, self.client.client().ip);
        let to_client = response_to_client(&call.response, wire.options.hide_request_ids);
        wire.truth.hops[0].count(call, &call.request, &to_client);
        wire.truth.hops[1].count(call, &to_store, &call.response);
        let front = Message::new(&call.request, &call.request_body, wire);
        let back = Message::new(&to_store, &call.request_body, wire);
        let answer = Message::new(&call.response, &call.response_body, wire).whole();
        let relayed = Message::new(&to_client, &call.response_body, wire).whole();
        let pair = [key(&self.client), call.request_id.clone()];
        if call.expects_continue() {
            wire.truth.continues += 2;
            self.send(Hop::Client, Side::Client, front.head);
            self.script.push_back(Step::TakeUpstream(Some(pair)));
            self.send(Hop::Upstream, Side::Client, back.head);
            self.send(Hop::Upstream, Side::Server, continue_head());
            self.send(Hop::Client, Side::Server, continue_head());
            self.send(Hop::Client, Side::Client, front.body);
            self.send(Hop::Upstream, Side::Client, back.body);
        } else {
            self.send(Hop::Client, Side::Client, front.whole());
            self.script.push_back(Step::TakeUpstream(Some(pair)));
            self.send(Hop::Upstream, Side::Client, back.whole());
        }
        self.send(Hop::Upstream, Side::Server, answer);
        self.script.push_back(Step::GiveUpstream);
        self.send(Hop::Client, Side::Server, relayed);
    }

    fn refused_by_proxy(&mut self, call: &Call, wire: &mut Wire) {
        wire.truth.proxy_errors += 1;
        wire.truth.hops[0].count(call, &call.request, &call.response);
        let request = Message::new(&call.request, &call.request_body, wire);
        if call.expects_continue() {
            // Sidekick asks for the body before it knows that no backend is up.
            wire.truth.continues += 1;
            self.send(Hop::Client, Side::Client, request.head);
            self.send(Hop::Client, Side::Server, continue_head());
            self.send(Hop::Client, Side::Client, request.body);
        } else {
            self.send(Hop::Client, Side::Client, request.whole());
        }
        let response = Message::new(&call.response, &call.response_body, wire);
        self.send(Hop::Client, Side::Server, response.whole());
    }

    fn health_check(&mut self, wire: &mut Wire) {
        let request = format!(
            "GET /minio/health/cluster HTTP/1.1\r\nHost: {STORE_HOST}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"
        );
        let response = format!(
            "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 0\r\nServer: MinIO\r\nVary: Origin\r\n\
             X-Minio-Storage-Class-Defaults: true\r\nX-Minio-Write-Quorum: 1\r\nDate: {}\r\n\r\n",
            wire.clock.http_date()
        );
        wire.truth.health_checks += 1;
        wire.truth.hops[1].others += 1;
        wire.truth.hops[1].header_bytes += (request.len() + response.len()) as u64;
        wire.outstanding_bytes += (request.len() + response.len()) as u64;
        self.script.push_back(Step::TakeUpstream(None));
        self.send(Hop::Upstream, Side::Client, vec![Piece::Bytes(request.into_bytes())]);
        self.send(Hop::Upstream, Side::Server, vec![Piece::Bytes(response.into_bytes())]);
        self.script.push_back(Step::GiveUpstream);
    }

    fn send(&mut self, hop: Hop, side: Side, pieces: Vec<Piece>) {
        self.script.push_back(Step::Send(hop, side, pieces));
    }
}

impl Proxy {
    /// Closes what is idle.
    pub fn close_idle(&mut self, wire: &mut Wire) {
        for mut connection in self.idle.drain(..) {
            let alerts =
                connection.tls.as_mut().map(|tls| [Side::Client, Side::Server].map(|side| (side, tls.close_notify(side))));
            for (side, alert) in alerts.into_iter().flatten() {
                let mut outgoing = Outgoing::new(side, vec![Piece::Records(alert)]);
                while outgoing.send_one(&mut connection, wire) {}
            }
            connection.close(wire);
        }
    }
}

// A message in pieces: the head, perhaps cut in two, and the body, which often starts in the head's last segment.
struct Message {
    head: Vec<Piece>,
    body: Vec<Piece>,
    joined: bool,
}

impl Message {
    fn new(head: &[u8], body: &Body, wire: &mut Wire) -> Self {
        wire.outstanding_bytes += head.len() as u64 + body.bytes;
        // A small body mostly leaves in the same write as its head.
        let joined = wire.random.chance(if wire.options.kind.is_bulk() { 500 } else { 900 });
        let head = if wire.options.split_heads > 0 && wire.random.chance(wire.options.split_heads) {
            let cut = 1 + wire.random.index(head.len() - 1);
            vec![Piece::Bytes(head[..cut].to_vec()), Piece::Flush, Piece::Bytes(head[cut..].to_vec())]
        } else {
            vec![Piece::Bytes(head.to_vec())]
        };
        Self { head, body: body.pieces.clone(), joined }
    }

    fn whole(self) -> Vec<Piece> {
        let mut pieces = self.head;
        if !self.joined && !self.body.is_empty() {
            pieces.push(Piece::Flush);
        }
        pieces.extend(self.body);
        pieces
    }
}

fn key(connection: &Connection) -> String {
    format!("{}#{}", connection.name(), connection.requests)
}

fn continue_head() -> Vec<Piece> {
    vec![Piece::Bytes(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())]
}
