//! A forward proxy: the client says where to, with CONNECT or in the absolute form of its targets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::proxy::accept::{first_byte, handshake};
use crate::proxy::door::Door;
use crate::proxy::goal::{Ask, Goal, is_allowed};
use crate::proxy::notice::other;
use crate::proxy::relay::{self, Client};
use crate::proxy::route::{Scheme, Target};
use crate::proxy::stream::{Stream, Tap};

/// Serves a client of a forward proxy.
pub(super) async fn serve(door: &Door, mut tap: Tap) {
    let bounds = &door.shared.bounds;
    let Ok(Some(head)) = timeout(bounds.idle, peek_head(&mut tap, bounds.head)).await else { return };
    let Some(ask) = Ask::read(&head) else {
        door.report(other(
            "not-a-proxy-request",
            "a request does not say where to",
            "set hopwire as the client's proxy, not as its endpoint",
        ));
        relay::decline(
            door,
            Stream::Plain(tap),
            "NotAProxyRequest",
            "this is a forward proxy: the request has no absolute target",
        )
        .await;
        return;
    };
    if !is_permitted(door, &ask) {
        relay::decline(door, Stream::Plain(tap), "TargetNotAllowed", "the target is not allowed").await;
        return;
    }
    if let Ask::Tunnel { host, port } = &ask {
        let mut head = vec![0; head.len()];
        if tap.read_exact(&mut head).await.is_ok() {
            tunnel(door, tap, host, *port).await;
        }
        return;
    }
    let mut next = Some((Stream::Plain(tap), Vec::new(), ask));
    while let Some((stream, first, ask)) = next.take() {
        let client = Client { stream, first, goal: goal(&ask, Scheme::Http), asked: Some(ask), is_opaque: false };
        let Some((stream, first)) = relay::serve(door, client).await else { return };
        let Some(ask) = Ask::read(&first) else { return };
        if is_permitted(door, &ask) && matches!(ask, Ask::Absolute { .. }) {
            next = Some((stream, first, ask));
        }
    }
}

fn is_permitted(door: &Door, ask: &Ask) -> bool {
    let (host, port) = ask.place();
    let is_permitted = is_allowed(&door.route.to, host, port);
    if !is_permitted {
        door.report(other(
            "target-not-allowed",
            format!("a client asked for {host}:{port}, which is not allowed"),
            format!("if it is right, allow it: --allow-target {host}:{port}"),
        ));
    }
    is_permitted
}

fn goal(ask: &Ask, scheme: Scheme) -> Goal {
    let (host, port) = ask.place();
    Goal::of(Target { scheme, host: host.to_owned(), port })
}

/// Agrees to a tunnel, and serves what is spoken inside.
async fn tunnel(door: &Door, mut tap: Tap, host: &str, port: u16) {
    tap.flow().comment("made by hopwire: the tunnel ends here");
    if tap.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
        return;
    }
    let bounds = &door.shared.bounds;
    let Ok(Some(first)) = timeout(bounds.idle, first_byte(&tap)).await else { return };
    let goal = |scheme| goal(&Ask::Tunnel { host: host.to_owned(), port }, scheme);
    let plain = |tap, is_opaque| Client {
        stream: Stream::Plain(tap),
        first: Vec::new(),
        goal: goal(Scheme::Http),
        asked: None,
        is_opaque,
    };
    let client = match (first, &door.presenter) {
        (TLS, Some(presenter)) => {
            let shaken = timeout(bounds.handshake, handshake(door, presenter, tap, Some(host))).await;
            let Ok(Some((stream, _))) = shaken else { return };
            Client { stream, first: Vec::new(), goal: goal(Scheme::Https), asked: None, is_opaque: false }
        }
        (TLS, None) => {
            door.report(other("tls-passes", "TLS passes undecrypted: there is no CA", "give one with --ca-cert and --ca-key"));
            plain(tap, true)
        }
        _ => plain(tap, false),
    };
    relay::serve(door, client).await;
}

/// The head of the first request, which stays in the socket; `None` where the client left.
async fn peek_head(tap: &mut Tap, time: Duration) -> Option<Vec<u8>> {
    let mut text = vec![0; PEEKED_BYTES_MAX];
    let mut waited = Duration::ZERO;
    loop {
        let count = tap.socket().peek(&mut text).await.ok().filter(|count| *count > 0)?;
        let end = memchr::memmem::find(text.get(..count)?, b"\r\n\r\n");
        if let Some(end) = end {
            text.truncate(end + 4);
            return Some(text);
        }
        if count == text.len() || waited >= time {
            return None;
        }
        // There is no way to wait for more than is there.
        sleep(PEEK_STEP).await;
        waited += PEEK_STEP;
    }
}

/// The first byte of a TLS handshake record.
pub(super) const TLS: u8 = 0x16;

const PEEK_STEP: Duration = Duration::from_millis(5);

/// A first head that is longer is not for a proxy.
const PEEKED_BYTES_MAX: usize = 64 << 10;
