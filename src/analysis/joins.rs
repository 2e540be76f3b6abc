//! What is counted of joined calls, per pair of hops: by which key, how long each leg took, and what the proxy changed.

use crate::analysis::histogram::Histogram;
use crate::analysis::{HeaderChanges, JoinRow, LatencySplit};
use crate::hops::{Change, ChangeKind, Front, HopId, Join, JoinKey, Lone, Member, Topology};
use crate::model::{Exchange, HeaderName, Response, SealedExchange};
use crate::s3::Call;

/// Counts of joined calls. Bounded by the pairs of hops.
#[derive(Default)]
pub(super) struct Joins {
    pairs: Vec<Pair>,
    /// By hop: calls that lack a partner nearer the store, and nearer the client.
    unmatched: Vec<[u64; 2]>,
}

struct Pair {
    downstream: HopId,
    upstream: HopId,
    joined: u64,
    resends: u64,
    retries: u64,
    by: [u64; JoinKey::ALL.len()],
    confidence: [u64; CONFIDENCES.len()],
    client_leg: Histogram,
    proxy: Histogram,
    store_leg: Histogram,
    request: Tally,
    response: Tally,
}

/// Names with counts, by what happened; the last list is of those that were signed.
#[derive(Default)]
struct Tally([Names; 4]);

/// Names as first seen, with counts.
type Names = Vec<(HeaderName, Box<[u8]>, u64)>;

const CONFIDENCES: [&str; 4] = ["certain", "strong", "likely", "possible"];

/// How many pairs of hops are told apart; further ones are not counted.
const PAIRS_MAX: usize = 256;

/// How many names are counted in each list.
const NAMES_MAX: usize = 64;

impl Joins {
    /// Counts a call on `downstream` that was seen as `back` on `upstream`.
    pub(super) fn add(
        &mut self,
        hops: [HopId; 2],
        call: &Call<'_>,
        back: &Exchange,
        join: Join,
        [request, response]: [&[Change<'_>]; 2],
    ) {
        let Some(pair) = self.pair(hops) else {
            return;
        };
        pair.count(join, call.attempt().is_some_and(|attempt| attempt > 1));
        pair.request.add(request);
        let front = call.exchange;
        if let (Some(relayed), Some(answer)) = (front.response(), back.response()) {
            pair.response.add(response);
            // Where a request was lost only its answer is there, and no time to count from.
            if front.request.method().is_empty() || back.request.method().is_empty() {
                return;
            }
            let end = |response: &Response| response.end.unwrap_or(response.start);
            let kept_request = back.request.start.since(front.request.start);
            pair.client_leg.add(end(relayed).since(front.request.start));
            pair.proxy.add(kept_request.saturating_add(relayed.start.since(answer.start)));
            pair.store_leg.add(end(answer).since(back.request.start));
        }
    }

    /// Counts a call that is held to be the sealed exchange `back` on the next hop.
    pub(super) fn add_sealed(&mut self, hops: [HopId; 2], front: &Front, back: &SealedExchange, join: Join) {
        let Some(pair) = self.pair(hops) else {
            return;
        };
        pair.count(join, front.is_retry);
        if let (Some(first_byte), Some(end)) = (front.first_byte, front.end) {
            let kept_request = back.request.start.since(front.start);
            pair.client_leg.add(end.since(front.start));
            pair.proxy.add(kept_request.saturating_add(first_byte.since(back.response.start)));
            pair.store_leg.add(back.response.end.since(back.request.start));
        }
    }

    /// Counts a call that found no sealed exchange either: where there were some, or where it waited for a partner in clear.
    pub(super) fn add_lone(&mut self, lone: &Lone) {
        if lone.has_sealed || lone.front.has_waited {
            self.count_unmatched(lone.front.hop, [true, false]);
        }
    }

    /// Counts a request that the proxy sent once more.
    pub(super) fn add_resend(&mut self, hops: [HopId; 2]) {
        if let Some(pair) = self.pair(hops) {
            pair.resends += 1;
        }
    }

    /// Counts a call that waited in vain, where it did.
    pub(super) fn add_unmatched(&mut self, hop: HopId, member: &Member) {
        // What may have gone on unseen is counted once that is decided.
        self.count_unmatched(hop, [member.lacks_upstream && !member.may_go_on, member.lacks_downstream]);
    }

    fn count_unmatched(&mut self, hop: HopId, lacks: [bool; 2]) {
        if lacks == [false; 2] {
            return;
        }
        let index = hop.0 as usize;
        if index >= self.unmatched.len() {
            self.unmatched.resize(index + 1, [0; 2]);
        }
        if let Some([up, down]) = self.unmatched.get_mut(index) {
            let [lacks_up, lacks_down] = lacks.map(u64::from);
            *up += lacks_up;
            *down += lacks_down;
        }
    }

    /// The rows, by hop. Two hops of which both were decoded and one leads to the other have a row even where nothing joined.
    pub(super) fn rows(mut self, topology: &Topology) -> Vec<JoinRow> {
        let has_calls = |hop: HopId| topology.hop(hop).is_some_and(|hop| hop.calls > 0);
        for hop in topology.hops().iter().map(|hop| hop.id).filter(|hop| has_calls(*hop)) {
            if let Some(next) = topology.upstream(hop).filter(|next| has_calls(*next)) {
                self.pair([hop, next]);
            }
        }
        let unmatched = |hop: HopId, side: usize| self.unmatched.get(hop.0 as usize).and_then(|both| both.get(side)).copied();
        let mut rows: Vec<JoinRow> = self.pairs.iter().map(Pair::row).collect();
        rows.sort_by_key(|row| (row.downstream, row.upstream));
        // A call without a partner belongs to the hop and not to a pair: it counts in the pair of that hop with most calls.
        for index in 0..rows.len() {
            let Some((downstream, upstream)) = rows.get(index).map(|row| (row.downstream, row.upstream)) else { continue };
            let is_main = |same: fn(&JoinRow) -> HopId, hop: HopId| {
                let of_hop = rows.iter().enumerate().filter(|(_, row)| same(row) == hop);
                of_hop.max_by_key(|(at, row)| (row.joined, usize::MAX - at)).is_some_and(|(at, _)| at == index)
            };
            let down = if is_main(|row| row.downstream, downstream) { unmatched(downstream, 0) } else { None };
            let up = if is_main(|row| row.upstream, upstream) { unmatched(upstream, 1) } else { None };
            if let Some(row) = rows.get_mut(index) {
                row.unmatched_downstream = down.unwrap_or(0);
                row.unmatched_upstream = up.unwrap_or(0);
            }
        }
        rows
    }

    fn pair(&mut self, [downstream, upstream]: [HopId; 2]) -> Option<&mut Pair> {
        let at = self.pairs.iter().position(|pair| (pair.downstream, pair.upstream) == (downstream, upstream));
        if at.is_none() && self.pairs.len() < PAIRS_MAX {
            self.pairs.push(Pair::new(downstream, upstream));
            return self.pairs.last_mut();
        }
        self.pairs.get_mut(at?)
    }
}

impl Pair {
    fn new(downstream: HopId, upstream: HopId) -> Self {
        Self {
            downstream,
            upstream,
            joined: 0,
            resends: 0,
            retries: 0,
            by: Default::default(),
            confidence: Default::default(),
            client_leg: Histogram::default(),
            proxy: Histogram::default(),
            store_leg: Histogram::default(),
            request: Tally::default(),
            response: Tally::default(),
        }
    }

    fn count(&mut self, join: Join, is_retry: bool) {
        self.joined += 1;
        self.retries += u64::from(is_retry);
        count(&mut self.by, JoinKey::ALL.iter().position(|key| *key == join.key));
        count(&mut self.confidence, CONFIDENCES.iter().position(|one| *one == join.confidence()));
    }

    fn row(&self) -> JoinRow {
        let named = |names: &[&'static str], counts: &[u64]| {
            names.iter().copied().zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
        };
        JoinRow {
            downstream: self.downstream,
            upstream: self.upstream,
            joined: self.joined,
            unmatched_downstream: 0,
            unmatched_upstream: 0,
            resends: self.resends,
            retries: self.retries,
            by: named(&JoinKey::ALL.map(JoinKey::label), &self.by),
            confidence: named(&CONFIDENCES, &self.confidence),
            latency: LatencySplit {
                client_leg: self.client_leg.latency(),
                proxy: self.proxy.latency(),
                store_leg: self.store_leg.latency(),
            },
            request_headers: self.request.changes(),
            response_headers: self.response.changes(),
        }
    }
}

impl Tally {
    fn add(&mut self, changes: &[Change<'_>]) {
        let [added, dropped, changed, signed] = &mut self.0;
        for change in changes {
            let list = match change.kind {
                ChangeKind::Added => &mut *added,
                ChangeKind::Dropped => &mut *dropped,
                ChangeKind::Changed => &mut *changed,
            };
            count_name(list, change);
            if change.signed {
                count_name(signed, change);
            }
        }
    }

    fn changes(&self) -> HeaderChanges {
        let [added, dropped, changed, signed] = self.0.each_ref().map(|list| {
            let mut rows: Vec<(String, u64)> = list.iter().map(|(_, name, count)| (text(name), *count)).collect();
            rows.sort_by(|(one, one_count), (other, other_count)| other_count.cmp(one_count).then_with(|| one.cmp(other)));
            rows
        });
        HeaderChanges { added, dropped, changed, signed }
    }
}

fn count_name(list: &mut Names, change: &Change<'_>) {
    /// A name from the wire is cut to a length that reports can bear.
    const NAME_BYTES_MAX: usize = 128;
    let name = change.name.get(..NAME_BYTES_MAX).unwrap_or(change.name);
    for (header, have, count) in &mut *list {
        if *header == change.header && (*header != HeaderName::Other || have.eq_ignore_ascii_case(name)) {
            *count += 1;
            return;
        }
    }
    if list.len() < NAMES_MAX {
        list.push((change.header, name.into(), 1));
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

fn count(counts: &mut [u64], at: Option<usize>) {
    if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}
