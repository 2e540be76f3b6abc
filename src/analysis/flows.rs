//! What is counted of flows and losses: how complete the view was, and what stayed shut.

use crate::analysis::{Counts, LossRow, TlsRow};
use crate::hops::HopId;
use crate::model::{Anomaly, Exchange, FlowClosed, Handshake, Loss, LossReason, Protocol, Proxied, SealedExchange};
use crate::rules::{Completeness, Gaps, ProxiedFlows, Regular, ShutFlows, TlsFailures, UndecodedFlows, Unseen};

/// How many rows of shut TLS flows that look different are kept; further ones join the last.
const TLS_ROWS_MAX: usize = 256;

/// Counts of flows.
#[derive(Default)]
pub(super) struct Flows {
    pub(super) completeness: Completeness,
    pub(super) gaps: Gaps,
    pub(super) losses: Vec<LossRow>,
    pub(super) tls: Vec<TlsRow>,
    pub(super) shut: Vec<ShutFlows>,
    pub(super) regular: Vec<Regular>,
    pub(super) undecoded: Vec<UndecodedFlows>,
    pub(super) tls_failures: Vec<TlsFailures>,
    pub(super) proxied: Vec<ProxiedFlows>,
}

impl Flows {
    pub(super) fn handle_counts(&mut self, counts: &Counts) {
        let total = &mut self.completeness;
        total.packets = total.packets.max(counts.packets);
        total.packets_truncated = total.packets_truncated.max(counts.packets_truncated);
        total.packets_undecodable = total.packets_undecodable.max(counts.packets_undecodable);
        total.packets_dropped = total.packets_dropped.max(counts.packets_dropped);
        total.unseen.raise(Unseen::PacketsDropped, counts.packets_dropped, 0);
        total.unseen.raise(Unseen::PacketsTruncated, counts.packets_truncated, 0);
        total.unseen.raise(Unseen::FileBytes, counts.file_places_unread, counts.file_bytes_unread);
        total.unseen.raise(Unseen::Quic, counts.packets_quic, 0);
        total.unseen.raise(Unseen::EncryptedPackets, counts.packets_encrypted, 0);
    }

    /// Counts a request inside TLS that was not decrypted.
    pub(super) fn observe_sealed(&mut self, sealed: &SealedExchange) {
        let (client, bytes, at) = (sealed.endpoints.client.ip, *sealed.request.octets.end(), sealed.request.start);
        if let Some(one) = self.regular.iter_mut().find(|one| one.client == client) {
            one.add(bytes, at);
        } else if self.regular.len() < Regular::CLIENTS_MAX {
            self.regular.push(Regular::new(client, bytes, at));
        }
    }

    /// Adds what a recorded run saw of a client.
    pub(super) fn add_regular(&mut self, regular: Regular) {
        match self.regular.iter_mut().find(|one| one.client == regular.client) {
            Some(one) => one.merge(regular),
            None => {
                self.regular.push(regular);
                self.regular.truncate(Regular::CLIENTS_MAX);
            }
        }
    }

    pub(super) const fn handle_open(&mut self) {
        self.completeness.flows += 1;
    }

    pub(super) fn handle_exchange(&mut self, exchange: &Exchange) {
        self.completeness.exchanges += 1;
        if exchange.anomalies.contains(&Anomaly::TooManyHeaders) {
            self.completeness.unseen.add(Unseen::LongHead, 1, 0);
        }
    }

    /// Counts exchanges of which a part is not in the capture.
    pub(super) fn add_incomplete(&mut self, count: u64) {
        self.completeness.exchanges_incomplete += count;
        self.completeness.unseen.add(Unseen::ExchangesIncomplete, count, 0);
    }

    /// Counts a flow's end; `hop` where it belongs to one.
    pub(super) fn handle_close(&mut self, closed: &FlowClosed, hop: Option<HopId>) {
        self.gaps.handle_flow(closed, hop);
        let total = &mut self.completeness;
        total.flows_without_start += u64::from(!closed.has_start);
        let sides = [closed.client, closed.server];
        total.stream_bytes = sides.iter().fold(total.stream_bytes, |sum, side| sum.saturating_add(side.delivered));
        total.stream_bytes_missing = sides.iter().fold(total.stream_bytes_missing, |sum, side| sum.saturating_add(side.missing));
        let missing = sides.iter().fold(0, |sum: u64, side| sum.saturating_add(side.missing));
        total.unseen.add(Unseen::StreamBytes, u64::from(missing > 0), missing);
        // TLS that cannot be decrypted for it is reported with that reason.
        let is_told_by_tls =
            matches!(&closed.protocol, Protocol::Tls { shut: Some(crate::model::Shut::HandshakeNotCaptured), .. });
        total.unseen.add(Unseen::WithoutStart, u64::from(!closed.has_start && !is_told_by_tls), 0);
        total.unseen.add(Unseen::OneSided, u64::from(!closed.both_sides), 0);
        for undecoded in &closed.undecoded {
            let kind = if closed.protocol.is_readable() { Unseen::of_loss(undecoded.reason) } else { Unseen::InsideTls };
            total.unseen.add(kind, 1, undecoded.bytes);
        }
        let Protocol::Tls { shut, sealed_bytes, handshake, .. } = &closed.protocol else {
            return;
        };
        total.unseen.add(
            Unseen::TlsUndecrypted,
            u64::from(shut.is_some() && *sealed_bytes > 0),
            if shut.is_some() { *sealed_bytes } else { 0 },
        );
        total.tls_flows += 1;
        if let Handshake::Failed(failure) = handshake {
            count_word(&mut total.tls_failed, failure.kind.label());
            return;
        }
        let Some(reason) = shut.as_ref().map(crate::model::Shut::label) else {
            total.tls_flows_decrypted += u64::from(*handshake != Handshake::Open);
            return;
        };
        count_word(&mut total.tls_undecrypted, reason);
        if let Some(hop) = hop {
            self.add_shut(closed, hop, reason);
        }
    }

    /// Counts a flow that begins with a PROXY header, by version.
    pub(super) fn add_proxied(&mut self, proxied: &Proxied, hop: HopId) {
        let header = &proxied.header;
        let known = self.proxied.iter().position(|row| (row.hop, row.version) == (hop, header.version));
        let at = known.unwrap_or_else(|| {
            let (version, first) = (header.version, header.stamp.frame);
            self.proxied.push(ProxiedFlows { hop, version, first, ..ProxiedFlows::default() });
            self.proxied.len() - 1
        });
        if let Some(row) = self.proxied.get_mut(at) {
            row.add(proxied);
        }
    }

    /// Counts a TLS flow that failed, by cause.
    pub(super) fn add_failed(&mut self, closed: &FlowClosed, hop: HopId) {
        let Protocol::Tls { handshake: Handshake::Failed(failure), .. } = &closed.protocol else { return };
        let (kind, from, first, requests) = (failure.kind, failure.from, failure.stamp.frame, u64::from(closed.exchanges));
        let same = |row: &TlsFailures| (row.hop, row.kind, row.from) == (hop, kind, from);
        match self.tls_failures.iter_mut().find(|row| same(row)) {
            Some(row) => {
                row.count += 1;
                row.requests += requests;
                row.first = row.first.min(first);
            }
            None => self.tls_failures.push(TlsFailures { hop, kind, from, count: 1, requests, first }),
        }
    }

    /// Counts the plaintext of a flow that was not decoded, by reason.
    pub(super) fn add_undecoded(&mut self, closed: &FlowClosed, hop: HopId) {
        for undecoded in &closed.undecoded {
            match self.undecoded.iter_mut().find(|row| row.hop == hop && row.reason == undecoded.reason) {
                Some(row) => {
                    row.count += 1;
                    row.bytes = row.bytes.saturating_add(undecoded.bytes);
                    row.first = row.first.min(undecoded.first);
                }
                None => self.undecoded.push(UndecodedFlows {
                    hop,
                    reason: undecoded.reason,
                    count: 1,
                    bytes: undecoded.bytes,
                    first: undecoded.first,
                }),
            }
        }
    }

    pub(super) fn handle_loss(&mut self, loss: &Loss) {
        // What the flows lost is counted when they end; this belongs to none, or ends one.
        if loss.flow.is_none() || matches!(loss.reason, LossReason::Evicted | LossReason::Encrypted) {
            self.completeness.unseen.add(Unseen::of_loss(loss.reason), 1, loss.bytes);
        }
        match self.losses.iter_mut().find(|row| row.reason == loss.reason) {
            Some(row) => {
                row.count += 1;
                row.bytes = row.bytes.saturating_add(loss.bytes);
            }
            None => {
                let (reason, bytes, first, at) = (loss.reason, loss.bytes, loss.stamp.frame, loss.stamp.at);
                self.losses.push(LossRow { reason, count: 1, bytes, first, at });
            }
        }
    }

    fn add_shut(&mut self, closed: &FlowClosed, hop: HopId, reason: &'static str) {
        let Protocol::Tls { view, sealed_bytes: sealed_bytes @ 1.., .. } = &closed.protocol else {
            return;
        };
        let first = closed.first.frame;
        match self.shut.iter_mut().find(|shut| shut.hop == hop && shut.reason == reason) {
            Some(shut) => {
                shut.count += 1;
                shut.sealed_bytes = shut.sealed_bytes.saturating_add(*sealed_bytes);
                shut.first = shut.first.min(first);
            }
            None => self.shut.push(ShutFlows { hop, reason, count: 1, sealed_bytes: *sealed_bytes, first }),
        }
        let is_full = self.tls.len() >= TLS_ROWS_MAX;
        let same = |row: &TlsRow| {
            row.hop == hop
                && row.reason == reason
                && row.sni == view.sni
                && row.version == view.version
                && row.suite == view.suite
        };
        let index = self.tls.iter().position(same).or(if is_full { Some(TLS_ROWS_MAX - 1) } else { None });
        match index.and_then(|index| self.tls.get_mut(index)) {
            Some(row) => {
                row.count += 1;
                row.sealed_bytes = row.sealed_bytes.saturating_add(*sealed_bytes);
                row.first = row.first.min(first);
            }
            None => self.tls.push(TlsRow {
                hop,
                sni: view.sni.clone(),
                version: view.version,
                suite: view.suite,
                reason,
                count: 1,
                sealed_bytes: *sealed_bytes,
                first,
            }),
        }
    }
}

fn count_word(counts: &mut Vec<(&'static str, u64)>, word: &'static str) {
    match counts.iter_mut().find(|(have, _)| *have == word) {
        Some((_, count)) => *count += 1,
        None => counts.push((word, 1)),
    }
}
