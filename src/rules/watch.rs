//! What a rule hears, and what it may look up while it thinks.

use std::net::IpAddr;
use std::time::Duration;

use crate::hops::{Change, ClientId, Clients, HopId, HopTransport, LineChange, Topology};
use crate::model::{Exchange, Frame, LossReason, Proxied, Side, Timestamp, TlsFailureKind};
use crate::rules::quote::quote_text;
use crate::rules::{Completeness, Finding, Gaps, Interrupted};
use crate::s3::client_log::ClientLog;
use crate::s3::sigv4::{Check, Credential};
use crate::s3::{Call, Encryption};
use crate::session::secrets::{Exposed, Exposure};

/// A rule at work. Events come in capture order; every state is bounded.
pub trait Watch: Send {
    /// One S3 call that is no health check.
    fn handle_call(&mut self, _call: &Call<'_>, _context: &Context<'_>, _findings: &mut Findings) {}

    /// One exchange that is odd or no S3 call. It comes before [`Watch::handle_call`] of the same exchange.
    fn handle_exchange(&mut self, _exchange: &Exchange, _hop: HopId, _view: &View<'_>, _findings: &mut Findings) {}

    /// An exchange on a plaintext hop that holds secrets, S3 or not. It comes before [`Watch::handle_call`] of the same exchange.
    /// The signature in the `Authorization` of a signed call is not among them: every call has one.
    fn handle_secrets(&mut self, _disclosed: &Disclosure<'_>, _findings: &mut Findings) {}

    /// A call was found to be the same as one on the next hop. [`Watch::handle_call`] came before for either: when a partner
    /// comes cannot be told, so that calls are judged without waiting for it.
    fn handle_join(&mut self, _joined: &Joined<'_>, _findings: &mut Findings) {}

    /// The proxy sent a joined call again on the next hop: the response came from another attempt. [`Watch::handle_join`] is not
    /// called for it.
    fn handle_resend(&mut self, _joined: &Joined<'_>) {}

    /// A call was ended by its peers before it was complete. [`Watch::handle_call`] came before; this comes when its connection
    /// has ended and is known to lack nothing.
    fn handle_interrupted(&mut self, _call: &Interrupted, _view: &View<'_>, _findings: &mut Findings) {}

    /// The end of the capture: what is found is reported here, and here only.
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings);
}

/// What stands around a call.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What else is known.
    pub view: View<'a>,
    /// The hop it was seen on.
    pub hop: HopId,
    /// Who sent it.
    pub client: ClientId,
    /// Whether anybody on the path could read it.
    pub is_clear: bool,
    /// What came of its signature, where secrets were given.
    pub signature: Option<&'a Check>,
    /// Whether the request names any encryption.
    pub request_encrypted: bool,
    /// Whether the response names any encryption.
    pub response_encrypted: bool,
    /// What the request asks for: read once for all rules.
    pub asked: &'a Encryption<'a>,
    /// What the response tells.
    pub told: &'a Encryption<'a>,
}

/// An exchange on a plaintext hop, with the secrets in it: those that redaction replaces.
#[derive(Clone, Copy)]
pub struct Disclosure<'a> {
    /// What else is known.
    pub view: View<'a>,
    /// The hop it was seen on.
    pub hop: HopId,
    /// Who sent it, where it is a call of an S3 client.
    pub client: Option<ClientId>,
    /// The exchange.
    pub exchange: &'a Exchange,
    /// What it means in S3, where it does.
    pub call: Option<&'a Call<'a>>,
    /// Its secrets.
    pub secrets: &'a [Exposed<'a>],
}

impl<'a> Disclosure<'a> {
    /// The secrets of one sort.
    pub fn of(&self, exposure: Exposure) -> impl Iterator<Item = &'a Exposed<'a>> {
        self.secrets.iter().filter(move |secret| secret.kind.exposure() == exposure)
    }

    /// Whether a recording replaced the secret, so that nothing is known of its form.
    pub fn is_redacted(&self, secret: &Exposed<'_>) -> bool {
        let request = &self.exchange.request;
        let (headers, body, is_target) = match (secret.from, self.exchange.response()) {
            (Side::Server, Some(response)) => (&response.headers, &response.body, false),
            _ => (&request.headers, &request.body, request.is_target_redacted && secret.text == request.target()),
        };
        is_target || headers.is_redacted_value(secret.text) || (body.is_redacted && secret.text == body.kept)
    }

    /// Whether the server's response is a success.
    pub fn is_accepted(&self) -> bool {
        self.exchange.status().is_some_and(|status| (200..300).contains(&status))
    }
}

/// A call that was seen on two hops.
#[derive(Clone, Copy)]
pub struct Joined<'a> {
    /// What else is known.
    pub view: View<'a>,
    /// The hop nearer the client.
    pub hop: HopId,
    /// Who sent it there.
    pub client: Option<ClientId>,
    /// The call on that hop.
    pub downstream: &'a Call<'a>,
    /// The call on the next hop towards the store.
    pub upstream: &'a Call<'a>,
    /// What the proxy did to the headers of the request.
    pub request_changes: &'a [Change<'a>],
    /// What it did to the request line.
    pub line_changes: &'a [LineChange<'a>],
    /// What it did to the headers of the response, from the store's to the client's.
    pub response_changes: &'a [Change<'a>],
}

/// What a rule may look up.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The hops so far.
    pub hops: &'a Topology,
    /// The clients so far.
    pub clients: &'a Clients,
    /// What is missing of whose flows.
    pub gaps: &'a Gaps,
    /// What is missing in all.
    pub completeness: &'a Completeness,
    /// TLS flows that stayed shut.
    pub shut: &'a [ShutFlows],
    /// What clients sent inside TLS that was not decrypted, by their address.
    pub regular: &'a [Regular],
    /// Plaintext that was not decoded.
    pub undecoded: &'a [UndecodedFlows],
    /// TLS connections that failed.
    pub tls_failures: &'a [TlsFailures],
    /// Connections that begin with a PROXY header.
    pub proxied: &'a [ProxiedFlows],
    /// The clients' own logs, by file.
    pub logs: &'a [(String, ClientLog)],
    /// The secrets that the user gave to verify signatures with.
    pub credentials: &'a [Credential],
    /// The capture time of the last event.
    pub now: Timestamp,
}

/// TLS flows of one hop that stayed shut for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutFlows {
    /// The hop.
    pub hop: HopId,
    /// Why.
    pub reason: &'static str,
    /// Flows.
    pub count: u64,
    /// Octets of application data that stayed shut.
    pub sealed_bytes: u64,
    /// Where the first of them began.
    pub first: Frame,
}

/// Requests of one client address inside TLS that was not decrypted: whether they look like health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regular {
    /// The address.
    pub client: IpAddr,
    /// Requests.
    pub requests: u64,
    /// Requests that have another size than the first, or came sooner after the one before than health checks do.
    pub irregular: u64,
    /// Bytes of the first request.
    pub request_bytes: u64,
    /// When the last began.
    pub last: Timestamp,
}

impl Regular {
    /// How many addresses are told apart.
    pub const CLIENTS_MAX: usize = 256;
    /// Health checks come seconds apart; requests of a job come within milliseconds.
    const GAP_MIN: Duration = Duration::from_secs(1);
    /// The head of a health check is small.
    const BYTES_MAX: u64 = 1024;

    /// Starts with the first request of an address.
    pub const fn new(client: IpAddr, bytes: u64, at: Timestamp) -> Self {
        Self { client, requests: 1, irregular: 0, request_bytes: bytes, last: at }
    }

    /// Adds a request.
    pub fn add(&mut self, bytes: u64, at: Timestamp) {
        self.requests += 1;
        self.irregular += u64::from(bytes != self.request_bytes || at.since(self.last) < Self::GAP_MIN);
        self.last = self.last.max(at);
    }

    /// Adds what another run saw of the same address.
    pub fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.irregular += other.irregular + u64::from(self.request_bytes != other.request_bytes);
        self.last = self.last.max(other.last);
    }

    /// Whether all of them look like health checks: two at least, small, of one size, and seconds apart.
    pub const fn is_regular(&self) -> bool {
        self.requests >= 2 && self.irregular == 0 && self.request_bytes <= Self::BYTES_MAX
    }
}

/// Plaintext flows of one hop that were not decoded, or not wholly, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndecodedFlows {
    /// The hop.
    pub hop: HopId,
    /// Why.
    pub reason: LossReason,
    /// Flows.
    pub count: u64,
    /// Bytes that were not decoded.
    pub bytes: u64,
    /// Where the first of them were.
    pub first: Frame,
}

/// TLS connections of one hop that failed for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailures {
    /// The hop.
    pub hop: HopId,
    /// What was seen.
    pub kind: TlsFailureKind,
    /// The side that ended them.
    pub from: Side,
    /// Connections.
    pub count: u64,
    /// Requests that had been sent on them.
    pub requests: u64,
    /// Where the first of them failed.
    pub first: Frame,
}

/// Connections of one hop that begin with a PROXY header of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxiedFlows {
    /// The hop.
    pub hop: HopId,
    /// The version, 1 or 2.
    pub version: u8,
    /// Connections.
    pub count: u64,
    /// Those of them on which every response was 400.
    pub refused: u64,
    /// The status of the first response on any of them.
    pub status: Option<u16>,
    /// The clients that the headers name; the first [`ProxiedFlows::CLIENTS_MAX`].
    pub clients: Vec<IpAddr>,
    /// Whether there are others.
    pub has_more_clients: bool,
    /// Where the first header was.
    pub first: Frame,
}

impl ProxiedFlows {
    /// How many clients are listed.
    pub const CLIENTS_MAX: usize = 4;

    /// Counts a connection.
    pub fn add(&mut self, proxied: &Proxied) {
        self.count += 1;
        self.refused += u64::from(proxied.is_refused);
        self.status = self.status.or(proxied.status);
        self.first = self.first.min(proxied.header.stamp.frame);
        if let Some(client) = proxied.header.client.map(|client| client.ip).filter(|ip| !self.clients.contains(ip)) {
            if self.clients.len() < Self::CLIENTS_MAX {
                self.clients.push(client);
            } else {
                self.has_more_clients = true;
            }
        }
    }
}

impl View<'_> {
    /// The name of a hop.
    pub fn hop_name(&self, hop: HopId) -> &str {
        self.hops.name(hop)
    }

    /// A client in words: `172.18.0.5 (Hadoop 3.3.4, aws-sdk-java-v1 1.12.262)`. Wire text is escaped.
    pub fn client_text(&self, id: ClientId) -> String {
        let Some(client) = self.clients.client(id) else {
            return "a client".to_owned();
        };
        if client.is_rest {
            return "further clients".to_owned();
        }
        let hadoop = client.hadoop.as_deref().map(|version| format!("Hadoop {}, ", quote_text(version)));
        let version = client.version.as_deref().map(|version| format!(" {}", quote_text(version)));
        format!("{} ({}{}{})", client.ip, hadoop.unwrap_or_default(), client.sdk.label(), version.unwrap_or_default())
    }

    /// Whether no other decoded hop leads to this one: what happens upstream is then not told twice.
    pub fn is_nearest_client(&self, hop: HopId) -> bool {
        !self.hops.downstream(hop).any(|nearer| self.hops.hop(nearer).is_some_and(|nearer| nearer.calls > 0))
    }

    /// The next hop towards the store, where it is wholly inside TLS.
    pub fn upstream_in_tls(&self, hop: HopId) -> Option<HopId> {
        let upstream = self.hops.upstream(hop)?;
        (self.hops.hop(upstream)?.transport == HopTransport::Tls).then_some(upstream)
    }

    /// How long ago that was.
    pub fn age(&self, then: Timestamp) -> Duration {
        self.now.since(then)
    }
}

/// Where rules put what they find.
#[derive(Debug, Default)]
pub struct Findings {
    pub(super) reported: Vec<Finding>,
    pub(super) raised: Vec<Finding>,
}

impl Findings {
    /// Tells those who watch live that something new is wrong. It is reported at the end all the same.
    pub fn raise(&mut self, finding: Finding) {
        self.raised.push(finding);
    }

    /// Reports a finding at the end.
    pub fn report(&mut self, finding: Finding) {
        self.reported.push(finding);
    }
}
