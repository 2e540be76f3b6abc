//! Interrupted calls gathered for a rule: which became retries, which of two hops was interrupted first, and groups that belong
//! together.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use crate::hops::{ClientId, HopId};
use crate::model::{ExchangeId, Side, Timestamp};
use crate::rules::interrupted::Interrupted;
use crate::rules::quote::list;
use crate::rules::same_call::same_call_key;
use crate::rules::sight::Sights;
use crate::rules::{Context, Joined, View};
use crate::s3::Call;

/// Interrupted calls of one rule.
#[derive(Default)]
pub(super) struct Interruptions {
    entries: Vec<Entry>,
    /// Calls beyond the bound.
    uncounted: u64,
    /// By exchange: its call on the next hop towards the client.
    downstream: Option<HashMap<ExchangeId, Front>>,
    /// By key: entries that were not sent again yet.
    unretried: Option<HashMap<u64, Vec<usize>>>,
    /// The latest calls, so that a retry that ended before its first attempt is recognised.
    recent: Recent,
}

/// An interrupted call.
pub(super) struct Entry {
    pub(super) call: Interrupted,
    /// Whether the client sent it again, and whether that worked.
    pub(super) retry: Option<Retry>,
}

/// What became of a retry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Worked,
    Failed,
}

#[derive(Clone, Copy)]
struct Front {
    exchange: ExchangeId,
    status: Option<u16>,
    /// Whether the proxy sent the request again on another connection, and the response came from that.
    is_resend: bool,
}

/// Interrupted calls of one hop with one cause.
pub(super) struct Group<'a, K> {
    pub(super) hop: HopId,
    pub(super) cause: K,
    pub(super) entries: Vec<&'a Entry>,
    pub(super) sights: Sights,
    /// Calls of which the next hop towards the store was interrupted first, with that hop and the side that ended it there.
    pub(super) first_on: Vec<(HopId, Side, u64)>,
    /// Calls to which the proxy responded with a status of its own.
    pub(super) responded: Vec<(u16, u64)>,
    /// Calls that the proxy sent again by itself.
    pub(super) resent: u64,
}

/// A retry comes within this time: waits of S3A reach one minute, those of jobs several.
const RETRY_WINDOW: Duration = Duration::from_secs(600);

impl Interruptions {
    /// How many calls are followed; further ones are counted.
    const ENTRIES_MAX: usize = 4096;

    /// Adds a call; `true` where it is the first.
    pub(super) fn add(&mut self, call: &Interrupted) -> bool {
        let index = self.entries.len();
        if index >= Self::ENTRIES_MAX {
            self.uncounted += 1;
            return false;
        }
        let retry = self.recent.find(call);
        if retry.is_none() {
            self.unretried.get_or_insert_with(HashMap::new).entry(call.key).or_default().push(index);
        }
        self.entries.push(Entry { call: call.clone(), retry });
        index == 0
    }

    /// Looks whether a call is a retry. Nothing is done for it where no call was interrupted before.
    pub(super) fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>) {
        let key = self.recent.add(call);
        let Some(unretried) = self.unretried.as_mut().filter(|all| !all.is_empty()) else { return };
        let Some(waiting) = unretried.get_mut(&key) else { return };
        let start = call.exchange.request.start;
        let retry = if call.is_success() { Retry::Worked } else { Retry::Failed };
        waiting.retain(|index| {
            let Some(entry) = self.entries.get_mut(*index) else { return false };
            let is_own = entry.call.sight.exchange == call.exchange.id || start <= entry.call.started();
            let is_late = start.since(entry.call.started()) > RETRY_WINDOW;
            if is_own || is_late || entry.call.hop != context.hop {
                return !is_late;
            }
            entry.retry = Some(retry);
            // A retry that failed may be followed by one that works.
            retry == Retry::Failed
        });
        if waiting.is_empty() {
            unretried.remove(&key);
        }
    }

    /// Takes note of the call on the next hop towards the client.
    pub(super) fn handle_join(&mut self, joined: &Joined<'_>, is_resend: bool) {
        let upstream = joined.upstream.exchange;
        let is_whole = upstream.ending.is_none() && upstream.response().is_some();
        let downstream = self.downstream.get_or_insert_with(HashMap::new);
        if is_whole || downstream.len() >= Self::ENTRIES_MAX {
            return;
        }
        let front = joined.downstream;
        downstream.insert(upstream.id, Front { exchange: front.exchange.id, status: front.status(), is_resend });
    }

    /// Whether no call was interrupted yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many calls are not among the entries.
    pub(super) const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// The calls by hop and cause. One that was interrupted on two hops is counted on that nearer the client.
    pub(super) fn groups<K: PartialEq>(&self, cause: impl Fn(&Interrupted) -> K) -> Vec<Group<'_, K>> {
        let by_exchange: HashMap<ExchangeId, &Entry> =
            self.entries.iter().map(|entry| (entry.call.sight.exchange, entry)).collect();
        let front_of = |entry: &Entry| self.downstream.as_ref()?.get(&entry.call.sight.exchange).copied();
        // An upstream call tells about the downstream one where that was interrupted as well.
        let mut backs: HashMap<ExchangeId, &Entry> = HashMap::new();
        let mut covered: HashSet<ExchangeId> = HashSet::new();
        for entry in &self.entries {
            if let Some(front) = front_of(entry).filter(|front| by_exchange.contains_key(&front.exchange)) {
                backs.insert(front.exchange, entry);
                covered.insert(entry.call.sight.exchange);
            }
        }
        let mut groups: Vec<Group<'_, K>> = Vec::new();
        for entry in self.entries.iter().filter(|entry| !covered.contains(&entry.call.sight.exchange)) {
            let (hop, cause) = (entry.call.hop, cause(&entry.call));
            let index = groups.iter().position(|group| group.hop == hop && group.cause == cause).unwrap_or_else(|| {
                groups.push(Group::new(hop, cause));
                groups.len() - 1
            });
            let Some(group) = groups.get_mut(index) else { continue };
            group.add(entry, front_of(entry));
            let mut front = entry;
            // The interruption nearest the store that came first is the cause.
            while let Some(back) = backs.get(&front.call.sight.exchange).copied() {
                let ended = |entry: &Entry| entry.call.ending.map(|ending| ending.stamp.at);
                if ended(back).zip(ended(front)).is_some_and(|(back, front)| back > front) {
                    break;
                }
                front = back;
            }
            if !std::ptr::eq(front, entry) {
                group.add_first(front);
            }
        }
        groups
    }
}

impl<'a, K> Group<'a, K> {
    fn new(hop: HopId, cause: K) -> Self {
        let (entries, first_on, responded) = (Vec::new(), Vec::new(), Vec::new());
        Self { hop, cause, entries, sights: Sights::default(), first_on, responded, resent: 0 }
    }

    fn add(&mut self, entry: &'a Entry, front: Option<Front>) {
        self.entries.push(entry);
        self.sights.add(entry.call.sight);
        let Some(front) = front else { return };
        self.resent += u64::from(front.is_resend);
        if let Some(status) = front.status.filter(|_| !front.is_resend) {
            match self.responded.iter_mut().find(|(have, _)| *have == status) {
                Some((_, count)) => *count += 1,
                None => self.responded.push((status, 1)),
            }
        }
    }

    fn add_first(&mut self, back: &Entry) {
        let (hop, by) = (back.call.hop, back.call.by());
        match self.first_on.iter_mut().find(|(have, side, _)| (*have, *side) == (hop, by)) {
            Some((.., count)) => *count += 1,
            None => self.first_on.push((hop, by, 1)),
        }
    }

    /// How many calls.
    pub(super) fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// ` 3 were sent again by the client, and 2 of these worked.`, or nothing.
    pub(super) fn retries_text(&self) -> String {
        let retried = self.entries.iter().filter(|entry| entry.retry.is_some()).count();
        let worked = self.entries.iter().filter(|entry| entry.retry == Some(Retry::Worked)).count();
        let was = |count: usize| if count == 1 { "was" } else { "were" };
        match (retried, worked) {
            (0, _) if self.resent > 0 => String::new(),
            (0, _) => " No retry followed.".to_owned(),
            (_, 0) => format!(" {retried} {} retried by the client; no retry worked.", was(retried)),
            _ => format!(" {retried} {} retried by the client, {worked} successfully.", was(retried)),
        }
    }

    /// What was seen of the same calls on other hops, or nothing.
    pub(super) fn hops_text(&self, view: &View<'_>) -> String {
        let mut text = String::new();
        for (hop, by, count) in &self.first_on {
            text += &format!(" In {count} of them the {} ended the connection on {} first.", side_text(*by), view.hop_name(*hop));
        }
        for (status, count) in &self.responded {
            text += &format!(" The proxy responded {status} to its client for {count} of them.");
        }
        if self.resent > 0 {
            text += &format!(" The proxy sent {} of them again, and its client noticed nothing.", self.resent);
        }
        text
    }

    /// The clients, at most eight.
    pub(super) fn clients_text(&self, view: &View<'_>) -> String {
        let mut clients: Vec<ClientId> = Vec::new();
        for entry in &self.entries {
            if !clients.contains(&entry.call.client) && clients.len() < 8 {
                clients.push(entry.call.client);
            }
        }
        list(&clients.iter().map(|client| view.client_text(*client)).collect::<Vec<_>>())
    }

    /// Operations with their counts, at most eight.
    pub(super) fn operations_text(&self) -> String {
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for entry in &self.entries {
            let name = entry.call.operation.name();
            match counts.iter_mut().find(|(have, _)| *have == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list(&counts.iter().take(8).map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>())
    }
}

/// `client`, `server`.
pub(super) const fn side_text(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// The latest calls: hash, start, and whether it worked. A ring.
struct Recent {
    calls: Box<[(u64, Timestamp, bool)]>,
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { calls: vec![(0, Timestamp::EPOCH, false); Self::LENGTH].into(), next: 0 }
    }
}

impl Recent {
    const LENGTH: usize = 512;

    fn add(&mut self, call: &Call<'_>) -> u64 {
        let key = same_call_key(call, call.exchange.endpoints.client.ip);
        if let Some(slot) = self.calls.get_mut(self.next) {
            *slot = (key, call.exchange.request.start, call.is_success());
        }
        self.next = (self.next + 1) % Self::LENGTH;
        key
    }

    /// A call that is the same and began later.
    fn find(&self, call: &Interrupted) -> Option<Retry> {
        let is_retry = |(key, start, _): &&(u64, Timestamp, bool)| {
            *key == call.key && *start > call.started() && start.since(call.started()) <= RETRY_WINDOW
        };
        let found: Vec<bool> = self.calls.iter().filter(is_retry).map(|(.., worked)| *worked).collect();
        match found.as_slice() {
            [] => None,
            found if found.contains(&true) => Some(Retry::Worked),
            _ => Some(Retry::Failed),
        }
    }
}

/// `1.0 s`, `12 ms`; one number where both are the same.
pub(super) fn span_text(spans: impl Iterator<Item = Duration> + Clone) -> Option<String> {
    let (least, most) = (spans.clone().min()?, spans.max()?);
    let (least, most) = (duration_text(least), duration_text(most));
    Some(if least == most { least } else { format!("{least} to {most}") })
}

/// `1.0 s`, `12 ms`.
pub(super) fn duration_text(span: Duration) -> String {
    match span.as_millis() {
        0 => "less than 1 ms".to_owned(),
        millis @ 1..1000 => format!("{millis} ms"),
        1000..120_000 => format!("{:.1} s", span.as_secs_f64()),
        _ => format!("{:.0} min", span.as_secs_f64() / 60.0),
    }
}
