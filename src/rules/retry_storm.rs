//! One call that fails and is tried again and again.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::ClientId;
use crate::model::{Outcome, Timestamp};
use crate::rules::quote::{counted, quote};
use crate::rules::same_call::same_call_key;
use crate::rules::sight::{Sight, Sights};
use crate::rules::aggregate::PerClient;
use crate::rules::{Confidence, Context, Finding, Findings, Severity, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// A request that one client sent at least five times, each within ten minutes of the one before, and that never worked:
    /// answered with 403, 408, 409, 429 or 5xx, or not at all. Looking for what is not there (404) and conditions that do not hold (304,
    /// 412) are answers, not failures. It is reported on any decoded hop, in clear or TLS, and once: on the one nearest the
    /// client.
    ///
    /// ## Why it matters
    /// The job waits, and the load on a store in trouble grows.
    ///
    /// ## Example
    /// `PUT /bucket/part-00000` answered with 503 `SlowDown` nine times in two minutes.
    ///
    /// ## What to do
    /// Look at the error: throttling asks for fewer connections or longer waits, 403 for other credentials, 502 of a proxy for
    /// its backends.
    "retry-storm" Warning since "0.1.0"
}

/// From how many tries on. SDKs try three or four times by themselves without anybody noticing.
const TRIES_MIN: u64 = 5;

/// A try later than this after the one before begins a new series: waits of S3A reach one minute, those of jobs several.
const WINDOW: Duration = Duration::from_secs(600);

/// How many failing calls are followed at a time; beyond it the one idle for longest is forgotten.
const CALLS_MAX: usize = 1024;

/// How many series are reported.
const FOUND_MAX: usize = 256;

#[derive(Default)]
pub(super) struct State {
    open: Option<HashMap<u64, Series>>,
    last_failure: Timestamp,
    /// Series that reached the bound and ended.
    ended: Vec<Series>,
    /// Series beyond the bound, by client.
    more: PerClient<u64>,
}

struct Series {
    client: ClientId,
    operation: &'static str,
    object: Vec<u8>,
    status: Option<u16>,
    sights: Sights,
    last: Timestamp,
    worked: bool,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let is_failure = match &call.exchange.outcome {
            Outcome::Answered(response) => matches!(response.status, 403 | 408 | 409 | 429 | 500..),
            // Whoever stopped the capture, or the job, was not retrying.
            Outcome::Unanswered => false,
            Outcome::ClosedEarly { .. } | Outcome::Reset { .. } => true,
        };
        let now = call.exchange.request.start;
        // A success matters to a series that is still going on, and most calls come where nothing failed lately.
        let is_calm = self.open.is_none() || now.since(self.last_failure) > WINDOW;
        if !is_failure && (is_calm || !call.is_success()) {
            return;
        }
        let key = same_call_key(call, call.exchange.endpoints.client.ip);
        let open = self.open.get_or_insert_with(HashMap::new);
        if !is_failure {
            if let Some(series) = open.get_mut(&key) {
                series.worked = true;
            }
            return;
        }
        self.last_failure = self.last_failure.max(now);
        if open.get(&key).is_some_and(|series| series.worked || now.since(series.last) > WINDOW) {
            self.end(key);
        }
        self.make_room(key);
        let open = self.open.get_or_insert_with(HashMap::new);
        let series = open.entry(key).or_insert_with(|| Series::new(call, context.client));
        series.sights.add(Sight::of_both(call.exchange));
        series.status = call.status();
        series.last = now;
        if series.sights.count == TRIES_MIN
            && let Some(finding) = series.render(&context.view)
        {
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let is_storm = |series: &Series| series.sights.count >= TRIES_MIN;
        let mut open: Vec<Series> = self.open.take().into_iter().flat_map(HashMap::into_values).filter(is_storm).collect();
        open.sort_by(|a, b| (a.sights.since(), &a.object).cmp(&(b.sights.since(), &b.object)));
        open.into_iter().for_each(|series| self.keep(series));
        let mut all: Vec<Series> = std::mem::take(&mut self.ended);
        all.sort_by(|a, b| (a.sights.since(), &a.object).cmp(&(b.sights.since(), &b.object)));
        let is_nearest = |client: ClientId| view.clients.client(client).is_some_and(|client| view.is_nearest_client(client.hop));
        for series in all.iter().filter(|series| is_nearest(series.client)) {
            series.render(view).into_iter().for_each(|finding| findings.report(finding));
        }
        for (client, row) in self.more.iter().filter(|(client, _)| is_nearest(*client)) {
            let Some(hop) = view.clients.client(client).map(|client| client.hop) else { continue };
            let message = format!("{} more on {} failed again and again.", counted(row.value, "call", "calls"), view.hop_name(hop));
            findings.report(
                Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
                    .about("client", view.client_text(client))
                    .shown_by(row.sights.evidence()),
            );
        }
    }
}

impl State {
    fn make_room(&mut self, key: u64) {
        let Some(open) = self.open.as_ref().filter(|open| open.len() >= CALLS_MAX && !open.contains_key(&key)) else {
            return;
        };
        if let Some(oldest) = open.iter().min_by_key(|(key, series)| (series.last, **key)).map(|(key, _)| *key) {
            self.end(oldest);
        }
    }

    fn end(&mut self, key: u64) {
        if let Some(series) = self.open.as_mut().and_then(|open| open.remove(&key))
            && series.sights.count >= TRIES_MIN
        {
            self.keep(series);
        }
    }

    /// Keeps a series, or counts it where there are too many.
    fn keep(&mut self, series: Series) {
        if self.ended.len() < FOUND_MAX {
            self.ended.push(series);
        } else if let Some(row) = self.more.row(series.client) {
            row.value += 1;
            row.sights.add_all(&series.sights);
        }
    }
}

impl Series {
    fn new(call: &Call<'_>, client: ClientId) -> Self {
        let bucket = call.address.bucket.as_deref().unwrap_or_default();
        let object = [bucket, b"/", call.address.key.as_deref().unwrap_or_default()].concat();
        let operation = call.operation.name();
        Self { client, operation, object, status: None, sights: Sights::default(), last: Timestamp::EPOCH, worked: false }
    }

    fn render(&self, view: &View<'_>) -> Option<Finding> {
        let hop = view.clients.client(self.client)?.hop;
        let span = match (self.sights.since(), self.sights.until()) {
            (Some(since), Some(until)) => until.since(since),
            _ => Duration::ZERO,
        };
        let message = format!(
            "{} of {} on {} failed {} in {:.1} s, last with {}{}.",
            self.operation,
            quote(&self.object),
            view.hop_name(hop),
            counted(self.sights.count, "time", "times"),
            span.as_secs_f64(),
            self.status.map_or("no response".to_owned(), |status| status.to_string()),
            if self.worked { ", and then worked" } else { "" }
        );
        // What worked in the end is throttling that does its work.
        let severity = if self.worked { Severity::Note } else { RULE.severity };
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), self.sights.count, message)
            .with_severity(severity)
            .about("client", view.client_text(self.client))
            .about("operation", self.operation)
            .about("object", quote(&self.object))
            .shown_by(self.sights.evidence());
        Some(finding)
    }
}
