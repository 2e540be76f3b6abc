//! The content of a tunnel that CONNECT or an upgrade opened: a connection of its own, to the target that was named.

use std::sync::Arc;

use crate::decode::content::{Content, Place};
use crate::decode::http1;
use crate::decode::tls::Secrets;
use crate::model::{Close, Event, FlowId, LossReason, Protocol, Side, Stamp};

/// A tunnel: the HTTP/1 that asked for it, and what passes in it.
pub(super) struct Tunnel {
    outer: http1::Connection,
    pub(super) inner: Content,
    /// The target that a CONNECT named; `None` after an upgrade.
    pub(super) target: Option<Arc<str>>,
    /// Exchanges before the tunnel: those in it are numbered from there on.
    before: u32,
}

impl Tunnel {
    /// What passes after `outer`, in which a tunnel was agreed on.
    pub(super) fn new(outer: http1::Connection) -> Self {
        Self { target: outer.tunnel_target().cloned(), before: outer.begun(), outer, inner: Content::Silent }
    }

    /// Bytes in order.
    pub(super) fn handle_data(&mut self, place: &Place<'_>, from: Side, stamp: Stamp, data: &[u8], secrets: &mut Secrets<'_>) {
        let place = Place { has_start: true, proxy_header: None.into(), ..*place };
        self.inner.handle_data(&place, from, stamp, data, secrets);
    }

    /// The end of one side, of the tunnel and of what it is in.
    pub(super) fn handle_close(&mut self, from: Side, stamp: Stamp, how: Close, secrets: &mut Secrets<'_>) {
        self.inner.handle_close(from, stamp, how, secrets);
        self.outer.handle_close(from, stamp, how);
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.inner.held_bytes() + self.outer.held_bytes()
    }

    /// Hands on what is finished; tells how many exchanges there were.
    pub(super) fn drain(&mut self, out: &mut dyn FnMut(Event)) -> u32 {
        let mut exchanges = 0;
        while let Some(exchange) = self.outer.poll() {
            exchanges += 1;
            out(Event::Exchange(exchange));
        }
        while let Some(loss) = self.outer.poll_loss() {
            out(Event::Lost(loss));
        }
        let (before, target) = (self.before, self.target.as_ref());
        exchanges + self.inner.drain(&mut |event| out(renamed(event, before, target)))
    }

    /// Hands on what is left at the end of the flow.
    pub(super) fn drain_end(&mut self, flow: FlowId, secrets: &mut Secrets<'_>, out: &mut dyn FnMut(Event)) -> u32 {
        let exchanges = self.drain(out);
        let (before, target) = (self.before, self.target.as_ref());
        exchanges + self.inner.drain_end(flow, secrets, &mut |event| out(renamed(event, before, target)))
    }

    /// What passes in it.
    pub(super) fn protocol(&self) -> Protocol {
        match self.inner.protocol() {
            Protocol::Silent => Protocol::Http1,
            inner => inner,
        }
    }
}

/// An event of the content, with its place in the flow.
fn renamed(mut event: Event, before: u32, target: Option<&Arc<str>>) -> Event {
    match &mut event {
        Event::Exchange(exchange) => {
            exchange.id.ordinal = exchange.id.ordinal.saturating_add(before);
            exchange.tunnel = target.cloned();
        }
        Event::Sealed(sealed) => sealed.id.ordinal = sealed.id.ordinal.saturating_add(before),
        Event::Lost(loss) if matches!(loss.reason, LossReason::NotHttp | LossReason::BeforeFirstMessage) => {
            loss.reason = LossReason::Tunnel;
        }
        Event::FlowOpened(_) | Event::FlowClosed(_) | Event::Lost(_) => {}
    }
    event
}
