//! How relaying ends: both sides are closed as the other side was, or the client is answered why not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::proxy::answer;
use crate::proxy::goal::Goal;
use crate::proxy::look::Stop;
use crate::proxy::notice::{Explained, other, refused, refused_response};
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::{End, Relay};
use crate::proxy::stream::Stream;
use crate::proxy::watchdog::Late;

impl Relay<'_> {
    pub(super) async fn finish(&mut self, mut client: Stream, mut upstream: Stream, goal: &Goal, end: End) {
        match end {
            End::ClientLeft if self.look.gate.is_reusable() => {
                shut(&mut client).await;
                self.door.park(goal, upstream);
            }
            End::Done | End::ClientLeft | End::Stale => {
                shut(&mut upstream).await;
                shut(&mut client).await;
            }
            End::UpstreamEnded => {
                drop(upstream);
                // A head that is not complete is not held back any more.
                let rest = self.down.take_held();
                let _ = timeout(ANSWER_TIME, client.write_all(&rest)).await;
                self.drain(&mut client).await;
            }
            End::ClientBroke => {
                client.tap().abort();
                upstream.tap().abort();
            }
            End::UpstreamBroke => client.tap().abort(),
            End::Cut => {
                client.tap().flow().comment("reset by hopwire, as an experiment");
                upstream.tap().flow().comment("reset by hopwire, as an experiment");
                client.tap().abort();
                upstream.tap().abort();
            }
            End::Stopped(stop) => {
                upstream.tap().abort();
                drop(upstream);
                self.stop(&mut client, stop).await;
            }
            End::StoppedResponse(stop) => {
                upstream.tap().abort();
                drop(upstream);
                if let Stop::Refused(refusal) = stop {
                    self.refuse_response(&mut client, refusal).await;
                }
            }
            End::Late(late) => {
                upstream.tap().abort();
                drop(upstream);
                self.late(&mut client, late).await;
            }
        }
    }

    /// A request that is not forwarded.
    pub(super) async fn stop(&mut self, client: &mut Stream, stop: Stop) {
        match stop {
            Stop::Refused(refusal) => self.refuse(client, refusal).await,
            Stop::Fault(status, note) => {
                let (reason, code) = fault_words(status);
                self.answer(client, (status, reason), code, &format!("experiment: {note}")).await;
            }
            Stop::Switch => {}
        }
    }

    async fn refuse(&mut self, client: &mut Stream, refusal: Refusal) {
        self.door.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.door.report(refused(refusal));
        if refusal == Refusal::Tls {
            return;
        }
        let text = format!("the request was not forwarded: {}", refusal.text());
        self.answer(client, refusal.status(), "AmbiguousRequest", &text).await;
    }

    async fn refuse_response(&mut self, client: &mut Stream, refusal: Refusal) {
        self.door.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.door.report(refused_response(refusal));
        let text = format!("the response was not forwarded: {}", refusal.text());
        self.answer(client, (502, "Bad Gateway"), "AmbiguousResponse", &text).await;
    }

    pub(super) async fn unreachable(&mut self, client: &mut Stream, explained: Explained) {
        let text = explained.what.clone();
        self.door.report(explained);
        self.answer(client, (502, "Bad Gateway"), "UpstreamUnreachable", &text).await;
    }

    pub(super) async fn late(&mut self, client: &mut Stream, late: Late) {
        let (what, status) = match late {
            Late::Idle => return,
            Late::Head => ("a request's head took too long", (408, "Request Timeout")),
            Late::Stall => ("nothing moved for too long", (504, "Gateway Timeout")),
        };
        self.door.report(other("timeout", what, "see in the recording which side stopped"));
        self.answer(client, status, "Timeout", what).await;
    }

    /// Sends a response of hopwire's own, where none is on its way, and ends the connection.
    pub(super) async fn answer(&mut self, client: &mut Stream, status: (u16, &str), code: &str, message: &str) {
        client.tap().flow().comment(&format!("made by hopwire: {message}"));
        if self.look.gate.is_in_response() || self.down.is_blocked() {
            client.tap().abort();
            return;
        }
        let text = answer::error(status.0, status.1, code, &format!("hopwire: {message}"));
        let _ = timeout(ANSWER_TIME, client.write_all(&text)).await;
        self.drain(client).await;
    }

    /// Ends the client's connection so that it can read what was sent: its own bytes are read and dropped meanwhile.
    async fn drain(&self, client: &mut Stream) {
        shut(client).await;
        if self.up.has_ended {
            return;
        }
        let mut scratch = vec![0; DRAINED_BYTES];
        let drained = async { while let Ok(1..) = client.read(&mut scratch).await {} };
        let _ = timeout(DRAIN_TIME, drained).await;
    }
}

/// Reason and S3 code of a status that an experiment answers with.
const fn fault_words(status: u16) -> (&'static str, &'static str) {
    match status {
        403 => ("Forbidden", "AccessDenied"),
        404 => ("Not Found", "NoSuchKey"),
        500 => ("Internal Server Error", "InternalError"),
        503 => ("Service Unavailable", "SlowDown"),
        400..500 => ("Bad Request", "InvalidRequest"),
        _ => ("Service Unavailable", "ServiceUnavailable"),
    }
}

/// Ends a side in good order, as far as that goes at once.
async fn shut(stream: &mut Stream) {
    let _ = timeout(ANSWER_TIME, stream.shutdown()).await;
}

/// Time for a response of hopwire's own.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Time for a client to notice the end.
const DRAIN_TIME: Duration = Duration::from_secs(2);

const DRAINED_BYTES: usize = 16 << 10;
