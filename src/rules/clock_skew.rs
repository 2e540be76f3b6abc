//! Clients whose clock differs from the store's.

use std::time::Duration;

use crate::hops::ClientId;
use crate::model::{HeaderName, Timestamp};
use crate::rules::aggregate::PerClient;
use crate::rules::quote::counted;
use crate::rules::refused::Refusals;
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::{Call, parse_http_date};

rule! {
    /// ## What it reports
    /// Clients that sign with a time (`x-amz-date`, or `Date` with SigV2) that is two minutes or more from the time of the store,
    /// by how much, and how many requests the store refused for it. The store's time is the `Date` of its responses; both are
    /// compared with the times of the packets, so that slow responses and the clock of the capturing machine do not matter. It looks at the
    /// first eight calls of each client and at all that were refused with `RequestTimeTooSkewed`. It is reported on any decoded hop, once: on the
    /// one nearest the client.
    ///
    /// ## Why it matters
    /// Stores refuse requests that were signed more than 15 minutes ago or ahead: 403 `RequestTimeTooSkewed`. Below that the requests
    /// work, until the clocks drift further.
    ///
    /// ## Example
    /// A virtual machine that was suspended: all requests get 403 `RequestTimeTooSkewed`, since its clock is 21 minutes behind.
    ///
    /// ## What to do
    /// Synchronise the clocks (chrony, NTP) of the machine named, in containers that of the host.
    "clock-skew" Warning Cause since "0.2.0"
}

/// From this difference on it is reported. Signing and sending are not one moment, and `Date` has whole seconds.
const SKEW_MIN: Duration = Duration::from_secs(120);

/// How far stores let clocks differ (S3, MinIO).
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

/// How many calls of a client are looked at where none was refused.
const LOOKED_AT_MAX: u32 = 8;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Skew>,
}

#[derive(Debug, Default)]
struct Skew {
    looked_at: u32,
    /// The largest difference in seconds; negative where the client's clock is behind.
    seconds: i64,
    /// The signing time that shows it, and the store's time then.
    times: Option<(Timestamp, Timestamp)>,
    /// Whether the store's responses told its time, or only the capture does.
    by_response: bool,
    refused: Refusals,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let Some(row) = self.clients.row(context.client) else { return };
        let is_refused = call.status() == Some(403) && call.error().is_some_and(|error| error.code == "RequestTimeTooSkewed");
        if row.value.looked_at >= LOOKED_AT_MAX && !is_refused {
            return;
        }
        row.value.looked_at += 1;
        let Some(shown) = skew_of(call) else { return };
        if shown.seconds.unsigned_abs() < SKEW_MIN.as_secs() && !is_refused {
            return;
        }
        row.sights.add(Sight::of_both(call.exchange));
        // The response to HEAD has no code.
        let is_beyond = call.status() == Some(403) && shown.seconds.unsigned_abs() >= TOLERANCE.as_secs();
        if is_refused || is_beyond {
            row.value.refused.add(call);
        }
        if row.value.times.is_none() || shown.seconds.unsigned_abs() > row.value.seconds.unsigned_abs() {
            let Shown { seconds, times, by_response } = shown;
            (row.value.seconds, row.value.times, row.value.by_response) = (seconds, Some(times), by_response);
        }
        if row.sights.count == 1
            && let Some(finding) = self.render(context.client, &context.view)
        {
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, _) in self.clients.iter() {
            let hop = view.clients.client(client).map(|client| client.hop);
            if let Some(finding) = self.render(client, view).filter(|_| hop.is_some_and(|hop| view.is_nearest_client(hop))) {
                findings.report(finding);
            }
        }
    }
}

/// The clocks of one call.
struct Shown {
    seconds: i64,
    times: (Timestamp, Timestamp),
    by_response: bool,
}

/// How far the client's clock is from the store's, where the call shows both.
fn skew_of(call: &Call<'_>) -> Option<Shown> {
    let request = &call.exchange.request;
    let headers = &request.headers;
    // A presigned URL says when it was made, not when it is used.
    if request.is_unseen() || !headers.has(HeaderName::Authorization) {
        return None;
    }
    let signed_at = parse_http_date(headers.get(HeaderName::XAmzDate).or_else(|| headers.get(HeaderName::Date))?)?;
    let response = call.exchange.response()?;
    let told = response.headers.get(HeaderName::Date).and_then(parse_http_date);
    // What a cache kept tells the time of an earlier response.
    let is_cached = response.headers.known().any(|(_, name, _)| name.eq_ignore_ascii_case(b"age"));
    let store = told.filter(|_| !is_cached);
    let between = |later: Timestamp, earlier: Timestamp| later.as_nanos().saturating_sub(earlier.as_nanos());
    let store_ahead = store.map_or(0, |store| between(store, response.start));
    let ahead = between(signed_at, request.start).saturating_sub(store_ahead);
    let store_then = Timestamp::from_nanos(request.start.as_nanos().saturating_add(store_ahead));
    let seconds = ahead.saturating_add(ahead.signum().saturating_mul(500_000_000)) / 1_000_000_000;
    Some(Shown { seconds, times: (signed_at, store_then), by_response: store.is_some() })
}

impl State {
    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let skew = &row.value;
        let (signed_at, store_then) = skew.times?;
        let hop = view.clients.client(client)?.hop;
        let way = if skew.seconds < 0 { "behind" } else { "ahead of" };
        let whose = if skew.by_response { "the store's clock" } else { "the time of the capture" };
        let came = match skew.refused.count {
            0 => "No request was refused for it; stores refuse from 15 min on.".to_owned(),
            refused => format!("The store refused {refused} of them ({}): it allows 15 min.", skew.refused.text()),
        };
        let message = format!(
            "The clock of {} is {} {way} {whose}: it signed {} on {} with {} when it was {}. {came}",
            view.client_text(client),
            span_text(skew.seconds),
            counted(row.sights.count, "request", "requests"),
            view.hop_name(hop),
            second_text(signed_at),
            second_text(store_then),
        );
        let confidence = if skew.by_response { Confidence::Certain } else { Confidence::Likely };
        let finding = Finding::new(&RULE, confidence, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .about("skew_seconds", skew.seconds.to_string())
            .about("refused", skew.refused.count.to_string())
            .refusing(skew.refused.most())
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::untested(
                "synchronise the clock of the client's machine (NTP); a container has the clock of its host",
                "AWS SDKs correct their clock from the first refusal, other clients do not",
            ));
        Some(finding)
    }
}

/// `21 min (1260 s)`, `130 s`.
fn span_text(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    if seconds < 300 { format!("{seconds} s") } else { format!("{} min ({seconds} s)", (seconds + 30) / 60) }
}

/// A time in whole seconds.
fn second_text(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}
