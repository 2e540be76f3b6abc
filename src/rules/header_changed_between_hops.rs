//! Signed headers that are not the same on both sides of a proxy.

use crate::hops::{Change, ChangeKind, HopId};
use crate::rules::quote::{counted, quote};
use crate::rules::refused::Refusals;
use crate::rules::shown_value::shown_header;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Finding, Findings, Fix, Joined, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Requests of which a header that the client signed has another value behind the proxy, or is gone. Both sides of the proxy
    /// were seen and the requests joined. SigV4 lists the headers it covers; SigV2 covers `Content-MD5`, `Content-Type`, `Date` and all
    /// `x-amz-` headers. A proxy that signs anew is not reported: then the old signature covers nothing.
    ///
    /// ## Why it matters
    /// The store computes the signature from what reaches it. If a signed header differs it answers 403
    /// `SignatureDoesNotMatch`, and client and store both look right from where they stand. Where the store answered all the
    /// same, it does not check signatures, or not this part.
    ///
    /// ## Example
    /// nginx before the store without `proxy_set_header Host $http_host`: the client signs `Host: proxy:8080`, the store sees
    /// its own name and refuses every request.
    ///
    /// ## What to do
    /// Make the proxy pass the named header on as it came. For `Host`: keep the client's (MinIO Sidekick does; nginx with
    /// `proxy_set_header Host $http_host`; HAProxy without `http-request set-header Host`).
    "header-changed-between-hops" Warning Cause since "0.1.0"
}

/// How many headers are told apart; further ones are not reported.
const ROWS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
}

struct Row {
    hop: HopId,
    /// In lower case.
    name: Vec<u8>,
    kind: ChangeKind,
    /// The first value before and after, where it can be shown.
    values: [Option<String>; 2],
    here: Sights,
    there: Sights,
    refused: Refusals,
}

impl Watch for State {
    fn handle_join(&mut self, joined: &Joined<'_>, findings: &mut Findings) {
        for change in joined.request_changes.iter().filter(|change| change.signed) {
            let Some((row, is_first)) = self.row(joined.hop, change) else { continue };
            row.here.add(Sight::of_request(joined.downstream.exchange));
            row.there.add(Sight::of_both(joined.upstream.exchange));
            row.refused.add(joined.upstream);
            if is_first {
                let finding = render(row, &joined.view);
                findings.raise(finding);
            }
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in &self.rows {
            findings.report(render(row, view));
        }
    }
}

impl State {
    fn row(&mut self, hop: HopId, change: &Change<'_>) -> Option<(&mut Row, bool)> {
        let (kind, name) = (change.kind, change.name);
        let is_same = |row: &Row| row.hop == hop && row.kind == kind && row.name.eq_ignore_ascii_case(name);
        if let Some(at) = self.rows.iter().position(is_same) {
            return self.rows.get_mut(at).map(|row| (row, false));
        }
        if self.rows.len() >= ROWS_MAX {
            return None;
        }
        let name = name.to_ascii_lowercase();
        let values = change.values.map(|value| shown_header(change.header, value?));
        let (here, there, refused) = (Sights::default(), Sights::default(), Refusals::default());
        self.rows.push(Row { hop, name, kind, values, here, there, refused });
        self.rows.last_mut().map(|row| (row, true))
    }
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let name = quote(&row.name);
    let what = match row.kind {
        ChangeKind::Changed => "has another value behind the proxy",
        ChangeKind::Dropped => "is gone behind the proxy",
        ChangeKind::Added => "was added to by the proxy",
    };
    let upstream = view.hops.upstream(row.hop).map(|next| format!(", seen on {}", view.hop_name(next))).unwrap_or_default();
    let what = match &row.values {
        [Some(from), Some(to)] => format!("{what} (from {from} to {to})"),
        [None, Some(to)] => format!("{what} (as {to})"),
        [Some(from), None] => format!("{what} (it was {from})"),
        [None, None] => what.to_owned(),
    };
    let came = match row.refused.count {
        0 => "the store refused none of them for it, so it does not check that part".to_owned(),
        refused => format!("the store refused {refused} of them ({})", row.refused.text()),
    };
    let message = format!(
        "The header {name}, which the signature covers, {what} in {} from {}{upstream}; {came}.",
        counted(row.here.count, "request", "requests"),
        view.hop_name(row.hop),
    );
    let mut evidence = row.here.evidence();
    evidence.extend(row.there.evidence());
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.here.count, message)
        .about("header", name.clone())
        .about("refused", row.refused.count.to_string())
        .refusing(row.refused.most())
        .shown_by(evidence)
        .fixed_by(Fix::untested(&format!("make the proxy pass on {name} as the client sent it"), ""))
}
