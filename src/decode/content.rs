//! What a flow carries: the ordered octets of both sides go in, the protocol is recognised, exchanges come out.

use std::cell::Cell;
use std::sync::Arc;

use crate::decode::detect::{Found, Search, Verdict};
use crate::decode::http1::{self, Connection};
use crate::decode::limits::Limits;
use crate::decode::tls::{self, Plain, Secrets};
use crate::decode::tunnel::Tunnel;
use crate::model::{
    Anomaly, Close, Endpoints, Event, ExchangeId, FlowId, Handshake, Loss, LossReason, Protocol, ProxyHeader, SealedExchange,
    Side, Stamp, TlsFailure, TlsFailureKind, Transport,
};

/// What the reader above a flow has to know of it.
pub(super) struct Place<'a> {
    pub(super) flow: FlowId,
    pub(super) endpoints: Endpoints,
    /// Whether the first octet of the flow was seen.
    pub(super) has_start: bool,
    pub(super) limits: &'a Limits,
    /// Takes the PROXY header before the content, where there is one.
    pub(super) proxy_header: Cell<Option<ProxyHeader>>,
}

/// The reader of a flow's octets.
#[derive(Default)]
pub(super) enum Content {
    /// Nothing came yet.
    #[default]
    Silent,
    /// Octets in clear.
    Clear(Box<Text>),
    /// TLS records.
    Sealed(Box<Sealed>),
    /// The content of a tunnel, behind the HTTP/1 that asked for it.
    Tunnel(Box<Tunnel>),
    /// HTTP/1 that both sides have ended and all of which was given out: so many exchanges.
    Over(u32),
}

/// The octets of a flow in clear, or those inside its TLS.
#[expect(clippy::large_enum_variant, reason = "nearly every flow is HTTP in the end, and the whole is boxed")]
pub(super) enum Text {
    /// Not recognised (yet).
    Search(Search),
    /// HTTP/1.
    Http(Connection),
}

/// TLS, and what is inside.
pub(super) struct Sealed {
    tls: tls::Connection,
    inner: Inner,
    answer: FirstAnswer,
}

/// How the server answered the first bytes of TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstAnswer {
    /// Not yet.
    Due,
    /// With TLS, as far as is known.
    Sealed,
    /// Without TLS: it does not speak TLS on this port.
    Plain(TlsFailureKind, Stamp),
}

struct Inner {
    text: Text,
    flow: FlowId,
    endpoints: Endpoints,
    config: Arc<http1::Config>,
    transport: Transport,
    early_data: bool,
}

impl Content {
    /// Octets in order. Tells whether they show that the sides were taken for each other: from now on, and for these octets,
    /// `from` is to be the other one.
    pub(super) fn handle_data(
        &mut self,
        place: &Place<'_>,
        from: Side,
        stamp: Stamp,
        data: &[u8],
        secrets: &mut Secrets<'_>,
    ) -> Roles {
        match self {
            Self::Silent => {
                *self = Self::Clear(Box::new(Text::Search(Search::new(place.has_start))));
            }
            Self::Over(exchanges) => {
                let http = Connection::new(place.flow, place.endpoints, Transport::Clear, &place.limits.http1);
                *self = Self::Clear(Box::new(Text::Http(http.after(*exchanges))));
            }
            Self::Clear(_) | Self::Sealed(_) | Self::Tunnel(_) => self.enter_tunnel(),
        }
        match self {
            Self::Silent | Self::Over(_) => {}
            Self::Clear(text) => {
                if let Text::Search(search) = text.as_mut() {
                    let found = search.handle_data(from, stamp, data, true);
                    if search.proxy_header.is_some() {
                        place.proxy_header.set(search.proxy_header);
                    }
                    let Some(found) = found else { return Roles::Known };
                    return self.handle_verdict(place, found, (from, stamp, data), secrets);
                }
                if let Text::Http(http) = text.as_mut() {
                    http.handle_data(from, stamp, data);
                }
            }
            Self::Sealed(sealed) => sealed.handle_data(from, stamp, data, secrets),
            Self::Tunnel(tunnel) => tunnel.handle_data(place, from, stamp, data, secrets),
        }
        Roles::Known
    }

    /// What comes after a tunnel was agreed to is a connection of its own.
    fn enter_tunnel(&mut self) {
        if !matches!(self, Self::Clear(text) if matches!(text.as_ref(), Text::Http(http) if http.is_tunnel())) {
            return;
        }
        if let Self::Clear(text) = std::mem::take(self)
            && let Text::Http(outer) = *text
        {
            *self = Self::Tunnel(Box::new(Tunnel::new(outer)));
        }
    }

    /// Octets in order of what was recognised as HTTP/1 in clear; tells whether it was, and they were taken.
    #[inline]
    pub(super) fn read_on(&mut self, from: Side, stamp: Stamp, data: &[u8]) -> bool {
        if let Self::Clear(text) = self
            && let Text::Http(http) = text.as_mut()
            && !http.is_tunnel()
        {
            http.handle_data(from, stamp, data);
            return true;
        }
        false
    }

    /// The protocol is known now: what was held back and what came last are given to its reader.
    fn handle_verdict(
        &mut self,
        place: &Place<'_>,
        Found { pieces, verdict, skip }: Found,
        (from, stamp, data): (Side, Stamp, &[u8]),
        secrets: &mut Secrets<'_>,
    ) -> Roles {
        let data = data.get(skip..).unwrap_or_default();
        let (roles, endpoints) = match verdict {
            Verdict::Reversed => {
                let Endpoints { client, server } = place.endpoints;
                (Roles::Reversed, Endpoints { client: server, server: client })
            }
            Verdict::Http | Verdict::Tls => (Roles::Known, place.endpoints),
        };
        *self = match verdict {
            Verdict::Tls => Self::Sealed(Box::new(Sealed::new(place))),
            Verdict::Http | Verdict::Reversed => {
                Self::Clear(Box::new(Text::http(place.flow, endpoints, Transport::Clear, &place.limits.http1)))
            }
        };
        let side = |side: Side| if roles == Roles::Reversed { side.other() } else { side };
        for (from, stamp, bytes) in pieces {
            self.handle_data(place, side(from), stamp, &bytes, secrets);
        }
        self.handle_data(place, side(from), stamp, data, secrets);
        roles
    }

    /// Takes octets in order from which nothing can follow yet; tells whether they were such.
    pub(super) fn absorb(&mut self, from: Side, data: &[u8]) -> bool {
        match self {
            Self::Sealed(sealed) if !sealed.is_plain(from) => sealed.tls.absorb(from, data),
            Self::Tunnel(tunnel) => tunnel.inner.absorb(from, data),
            Self::Silent | Self::Clear(_) | Self::Sealed(_) | Self::Over(_) => false,
        }
    }

    /// Octets in order that are in the capture and need not be read.
    pub(super) fn handle_skip(&mut self, from: Side, stamp: Stamp, length: u64, secrets: &mut Secrets<'_>) {
        match self {
            Self::Silent | Self::Over(_) => {}
            Self::Clear(text) => text.handle_skip(from, stamp, length),
            Self::Tunnel(tunnel) => tunnel.inner.handle_skip(from, stamp, length, secrets),
            Self::Sealed(sealed) if sealed.is_plain(from) => {}
            Self::Sealed(sealed) => sealed.tls.handle_skip(from, stamp, length, secrets, &mut sealed.inner),
        }
    }

    /// Octets that the capture lacks.
    pub(super) fn handle_gap(&mut self, from: Side, stamp: Stamp, length: u64, secrets: &mut Secrets<'_>) {
        match self {
            Self::Silent | Self::Over(_) => {}
            Self::Clear(text) => text.handle_gap(from, stamp, length),
            Self::Tunnel(tunnel) => tunnel.inner.handle_gap(from, stamp, length, secrets),
            Self::Sealed(sealed) if sealed.is_plain(from) => {}
            Self::Sealed(sealed) => sealed.tls.handle_gap(from, stamp, length, secrets, &mut sealed.inner),
        }
    }

    /// The end of one side.
    pub(super) fn handle_close(&mut self, from: Side, stamp: Stamp, how: Close, secrets: &mut Secrets<'_>) {
        match self {
            Self::Silent | Self::Over(_) => {}
            Self::Clear(text) => text.handle_close(from, stamp, how),
            Self::Tunnel(tunnel) => tunnel.handle_close(from, stamp, how, secrets),
            Self::Sealed(sealed) => sealed.tls.handle_close(from, stamp, how, secrets, &mut sealed.inner),
        }
    }

    /// Something odd about the flow. Tells whether there is a reader that can attach it to an exchange.
    pub(super) fn handle_anomaly(&mut self, from: Side, anomaly: Anomaly) -> bool {
        if let Self::Clear(text) = self
            && let Text::Http(http) = text.as_mut()
        {
            http.handle_anomaly(from, anomaly);
            return true;
        }
        if let Self::Tunnel(tunnel) = self {
            return tunnel.inner.handle_anomaly(from, anomaly);
        }
        false
    }

    /// Octets that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Silent | Self::Over(_) => 0,
            Self::Clear(text) => text.held_bytes(),
            Self::Tunnel(tunnel) => tunnel.held_bytes(),
            Self::Sealed(sealed) => sealed.tls.held_bytes() + sealed.inner.text.held_bytes(),
        }
    }

    /// How many of the next octets of a side need not be given.
    pub(super) fn skippable(&self, from: Side) -> u64 {
        match self {
            Self::Silent | Self::Over(_) => 0,
            Self::Clear(text) => text.skippable(from),
            Self::Tunnel(tunnel) => tunnel.inner.skippable(from),
            Self::Sealed(sealed) if sealed.is_plain(from) => u64::MAX,
            Self::Sealed(sealed) => sealed.tls.skippable(from),
        }
    }

    /// Hands the finished exchanges and losses to `out`; tells how many exchanges there were.
    pub(super) fn drain(&mut self, out: &mut dyn FnMut(Event)) -> u32 {
        match self {
            Self::Silent | Self::Over(_) => 0,
            Self::Clear(text) => text.drain(out),
            Self::Tunnel(tunnel) => tunnel.drain(out),
            Self::Sealed(sealed) => sealed.drain(out),
        }
    }

    /// The target that a CONNECT named, whose content this is.
    pub(super) fn tunnel_target(&self) -> Option<&Arc<str>> {
        match self {
            Self::Tunnel(tunnel) => tunnel.target.as_ref(),
            Self::Silent | Self::Clear(_) | Self::Sealed(_) | Self::Over(_) => None,
        }
    }

    /// Both sides have ended: what was read in clear to its end needs no reader any more, so that flows which are kept for the
    /// sake of late packets are small.
    pub(super) fn settle(&mut self) {
        if let Self::Clear(text) = self
            && let Text::Http(http) = text.as_ref()
            && let Some(exchanges) = http.given_out()
        {
            *self = Self::Over(exchanges);
        }
    }

    /// What was recognised.
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Silent => Protocol::Silent,
            Self::Over(_) => Protocol::Http1,
            Self::Tunnel(tunnel) => tunnel.protocol(),
            Self::Clear(text) => match text.as_ref() {
                Text::Http(_) => Protocol::Http1,
                Text::Search(search) if search.known == Some(LossReason::Http2) => Protocol::Http2,
                Text::Search(_) => Protocol::Other,
            },
            Self::Sealed(sealed) => Protocol::Tls {
                view: sealed.tls.view().clone(),
                shut: if sealed.is_plain(Side::Server) { None } else { sealed.tls.shut().cloned() },
                sealed_bytes: sealed.tls.sealed_bytes(),
                handshake: sealed.handshake(),
            },
        }
    }
}

/// Whether the sides of a flow are what they were taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Roles {
    /// As far as is known.
    Known,
    /// The side that accepted the flow sends the requests: data in a SYN-ACK, or a proxy that the server was told to use.
    Reversed,
}

impl Text {
    fn http(flow: FlowId, endpoints: Endpoints, transport: Transport, config: &Arc<http1::Config>) -> Self {
        Self::Http(Connection::new(flow, endpoints, transport, config))
    }

    fn handle_skip(&mut self, from: Side, stamp: Stamp, length: u64) {
        match self {
            Self::Search(search) => search.lose(stamp, length),
            Self::Http(http) => http.handle_skip(from, stamp, length),
        }
    }

    fn handle_gap(&mut self, from: Side, stamp: Stamp, length: u64) {
        match self {
            Self::Search(search) => {
                search.give_up_pieces();
                search.has_start = false;
            }
            Self::Http(http) => http.handle_gap(from, stamp, length),
        }
    }

    fn handle_close(&mut self, from: Side, stamp: Stamp, how: Close) {
        match self {
            Self::Search(search) => {
                if how == Close::Unseen {
                    search.give_up_pieces();
                }
            }
            Self::Http(http) => http.handle_close(from, stamp, how),
        }
    }

    fn skippable(&self, from: Side) -> u64 {
        match self {
            Self::Search(search) if search.is_over() => u64::MAX,
            Self::Search(_) => 0,
            // What follows is read by another one.
            Self::Http(http) if http.is_tunnel() => 0,
            Self::Http(http) => http.skippable(from),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Search(search) => search.pieces_bytes,
            Self::Http(http) => http.held_bytes(),
        }
    }

    fn drain(&mut self, out: &mut dyn FnMut(Event)) -> u32 {
        let mut exchanges = 0;
        if let Self::Http(http) = self
            && http.has_news()
        {
            while let Some(exchange) = http.poll() {
                exchanges += 1;
                out(Event::Exchange(exchange));
            }
            while let Some(loss) = http.poll_loss() {
                out(Event::Lost(loss));
            }
        }
        exchanges
    }

    /// The loss of a flow that was never recognised, at its end.
    fn take_loss(&mut self, flow: FlowId) -> Option<Loss> {
        match self {
            Self::Search(search) => {
                search.give_up_pieces();
                search.lost.take().map(|loss| Loss { flow: Some(flow), ..loss })
            }
            Self::Http(_) => None,
        }
    }
}

impl Content {
    /// What is left to report when the flow has ended.
    pub(super) fn drain_end(&mut self, flow: FlowId, secrets: &mut Secrets<'_>, out: &mut dyn FnMut(Event)) -> u32 {
        if let Self::Sealed(sealed) = self {
            sealed.tls.handle_end(secrets, &mut sealed.inner);
        }
        let exchanges = self.drain(out);
        let loss = match self {
            Self::Silent | Self::Over(_) => None,
            Self::Clear(text) => text.take_loss(flow),
            Self::Sealed(sealed) => sealed.inner.text.take_loss(flow),
            Self::Tunnel(tunnel) => return exchanges + tunnel.drain_end(flow, secrets, out),
        };
        if let Some(loss) = loss {
            out(Event::Lost(loss));
        }
        exchanges
    }
}

impl Sealed {
    fn new(place: &Place<'_>) -> Self {
        let tls = tls::Connection::new(place.limits);
        let inner = Inner {
            text: Text::Search(Search::new(true)),
            flow: place.flow,
            endpoints: place.endpoints,
            config: Arc::clone(&place.limits.http1),
            transport: Transport::Tls(Arc::new(tls.view().clone())),
            early_data: false,
        };
        Self { tls, inner, answer: FirstAnswer::Due }
    }

    fn handle_data(&mut self, from: Side, stamp: Stamp, data: &[u8], secrets: &mut Secrets<'_>) {
        if self.answer == FirstAnswer::Due && from == Side::Server {
            self.answer = self.first_answer(stamp, data);
        }
        if !self.is_plain(from) {
            self.tls.handle_data(from, stamp, data, secrets, &mut self.inner);
        }
    }

    /// What the first bytes of the server are. A response such as 400 in plaintext tells why the connection failed.
    fn first_answer(&self, stamp: Stamp, data: &[u8]) -> FirstAnswer {
        if http1::is_surely(Side::Server, data) {
            let status = data.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            FirstAnswer::Plain(TlsFailureKind::PlainHttp(status.unwrap_or_default()), stamp)
        } else if self.tls.has_client_hello() && !tls::may_be_record(data) {
            FirstAnswer::Plain(TlsFailureKind::NotTls, stamp)
        } else {
            FirstAnswer::Sealed
        }
    }

    /// Whether the bytes of a side are none of TLS.
    fn is_plain(&self, from: Side) -> bool {
        from == Side::Server && matches!(self.answer, FirstAnswer::Plain(..))
    }

    fn handshake(&self) -> Handshake {
        match self.answer {
            FirstAnswer::Plain(kind, stamp) => Handshake::Failed(TlsFailure { kind, from: Side::Server, stamp }),
            FirstAnswer::Due | FirstAnswer::Sealed => self.tls.handshake_state(),
        }
    }

    fn drain(&mut self, out: &mut dyn FnMut(Event)) -> u32 {
        if let (Transport::Tls(known), Text::Http(http)) = (&self.inner.transport, &mut self.inner.text)
            && **known != *self.tls.view()
        {
            self.inner.transport = Transport::Tls(Arc::new(self.tls.view().clone()));
            http.set_transport(self.inner.transport.clone());
        }
        if self.tls.has_early_data() && !self.inner.early_data {
            self.inner.early_data = true;
            if let Text::Http(http) = &mut self.inner.text {
                http.handle_anomaly(Side::Client, Anomaly::EarlyData);
            }
        }
        while let Some(pair) = self.tls.poll_sealed() {
            let id = ExchangeId { flow: self.inner.flow, ordinal: pair.ordinal };
            let (endpoints, request, response) = (self.inner.endpoints, pair.request, pair.response);
            out(Event::Sealed(Box::new(SealedExchange { id, endpoints, request, response })));
        }
        self.inner.text.drain(out)
    }
}

impl tls::Sink for Inner {
    fn plain(&mut self, plain: Plain<'_>) {
        match plain {
            Plain::Data { from, stamp, bytes } => self.handle_data(from, stamp, bytes),
            Plain::Skip { from, stamp, length } => self.text.handle_skip(from, stamp, length),
            Plain::Gap { from, stamp, length } => self.text.handle_gap(from, stamp, length),
            Plain::Close { from, stamp, how } => self.text.handle_close(from, stamp, how),
        }
    }

    fn skippable(&self, from: Side) -> u64 {
        self.text.skippable(from)
    }
}

impl Inner {
    fn handle_data(&mut self, from: Side, stamp: Stamp, bytes: &[u8]) {
        if let Text::Search(search) = &mut self.text {
            let Some(Found { pieces, .. }) = search.handle_data(from, stamp, bytes, false) else { return };
            self.text = Text::http(self.flow, self.endpoints, self.transport.clone(), &self.config);
            for (side, stamp, bytes) in pieces {
                self.handle_data(side, stamp, &bytes);
            }
        }
        if let Text::Http(http) = &mut self.text {
            http.handle_data(from, stamp, bytes);
        }
    }
}
