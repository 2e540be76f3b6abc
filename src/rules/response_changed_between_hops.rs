//! Responses that are not the same on both sides of a proxy.

use crate::hops::{Change, ChangeKind, HopId};
use crate::model::HeaderName;
use crate::rules::quote::{counted, list, quote};
use crate::rules::shown_value::shown_header;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Finding, Findings, Fix, Joined, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Responses that the proxy changed in what S3 clients read: `Content-Length`, `Content-Encoding`, `Content-Type`, `Content-Range`,
    /// `ETag`, `Accept-Ranges`, `Last-Modified`, an `x-amz-` header that is gone or has another value, the status, or the length of the
    /// body. Both sides of the proxy were seen and the calls joined. Headers of the connection, and what proxies add for
    /// themselves, are not reported.
    ///
    /// ## Why it matters
    /// A proxy that compresses removes the length and weakens the ETag: clients see objects of size 0, cannot read ranges,
    /// or report that the object is corrupt.
    ///
    /// ## Example
    /// nginx with `gzip on`: `HEAD` has no `Content-Length`, and `GET` returns 67 bytes with `Content-Encoding: gzip` where the store sent
    /// 3600.
    ///
    /// ## What to do
    /// Turn off compression and rewriting for the store's location (nginx: `gzip off`, Caddy: no `encode`, Cloudflare: a rule without
    /// compression), and let the proxy pass response headers on as they came.
    "response-changed-between-hops" Note since "0.2.0"
}

/// How many hops are told apart.
const ROWS_MAX: usize = 256;

/// How many changed headers are named per hop.
const NAMES_MAX: usize = 16;

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
}

/// Changed responses of one hop.
struct Row {
    hop: HopId,
    upstream: HopId,
    headers: Vec<Header>,
    /// How many bodies have another length, and the first of them: before and after.
    bodies: (u64, [u64; 2]),
    statuses: Vec<([u16; 2], u64)>,
    here: Sights,
    there: Sights,
}

struct Header {
    kind: ChangeKind,
    /// In lower case.
    name: Vec<u8>,
    count: u64,
    /// The first values, where they can be shown.
    values: [Option<String>; 2],
}

impl Watch for State {
    fn handle_join(&mut self, joined: &Joined<'_>, findings: &mut Findings) {
        let Some((relayed, answer)) = joined.downstream.exchange.response().zip(joined.upstream.exchange.response()) else {
            return;
        };
        let is_whole = |body: &crate::model::Body| body.complete && body.missing.is_empty();
        let has_other_length =
            relayed.body.length != answer.body.length && is_whole(&relayed.body) && is_whole(&answer.body);
        let has_other_status = relayed.status != answer.status;
        let mut changed = joined.response_changes.iter().filter(|change| is_read(change)).peekable();
        if changed.peek().is_none() && !has_other_length && !has_other_status {
            return;
        }
        let Some(upstream) = joined.view.hops.find_exchange(joined.upstream.exchange) else { return };
        let Some((row, is_first)) = self.row(joined.hop, upstream) else { return };
        changed.for_each(|change| row.add(change));
        if has_other_length {
            row.bodies.0 += 1;
            if row.bodies.0 == 1 {
                row.bodies.1 = [answer.body.length, relayed.body.length];
            }
        }
        if has_other_status {
            let pair = [answer.status, relayed.status];
            let has_room = row.statuses.len() < NAMES_MAX;
            match row.statuses.iter_mut().find(|(have, _)| *have == pair) {
                Some((_, count)) => *count += 1,
                None if has_room => row.statuses.push((pair, 1)),
                None => {}
            }
        }
        row.here.add(Sight::of_response(joined.downstream.exchange));
        row.there.add(Sight::of_response(joined.upstream.exchange));
        if is_first {
            let finding = render(row, &joined.view);
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in &self.rows {
            findings.report(render(row, view));
        }
    }
}

/// Whether S3 clients read what was changed.
fn is_read(change: &Change<'_>) -> bool {
    match change.header {
        HeaderName::ContentLength
        | HeaderName::ContentEncoding
        | HeaderName::ContentType
        | HeaderName::ContentRange
        | HeaderName::Etag
        | HeaderName::LastModified => true,
        HeaderName::AcceptRanges => change.kind != ChangeKind::Added,
        // Each server names its own request in these.
        HeaderName::XAmzRequestId | HeaderName::XAmzId2 => false,
        _ => change.kind != ChangeKind::Added && change.is_amazon(),
    }
}

impl State {
    fn row(&mut self, hop: HopId, upstream: HopId) -> Option<(&mut Row, bool)> {
        if let Some(at) = self.rows.iter().position(|row| row.hop == hop && row.upstream == upstream) {
            return self.rows.get_mut(at).map(|row| (row, false));
        }
        if self.rows.len() >= ROWS_MAX {
            return None;
        }
        let (headers, statuses) = (Vec::new(), Vec::new());
        let (here, there) = (Sights::default(), Sights::default());
        self.rows.push(Row { hop, upstream, headers, bodies: (0, [0; 2]), statuses, here, there });
        self.rows.last_mut().map(|row| (row, true))
    }
}

impl Row {
    fn add(&mut self, change: &Change<'_>) {
        let name = change.name.to_ascii_lowercase();
        let has_room = self.headers.len() < NAMES_MAX;
        match self.headers.iter_mut().find(|have| have.kind == change.kind && have.name == name) {
            Some(have) => have.count += 1,
            None if has_room => {
                let values = change.values.map(|value| shown_header(change.header, value?));
                self.headers.push(Header { kind: change.kind, name, count: 1, values });
            }
            None => {}
        }
    }
}

impl Header {
    fn text(&self) -> String {
        let name = quote(&self.name);
        let [from, to] = &self.values;
        let what = match (self.kind, from, to) {
            (ChangeKind::Dropped, ..) => "removed".to_owned(),
            (ChangeKind::Added, _, Some(to)) => format!("added as {to}"),
            (ChangeKind::Added, ..) => "added".to_owned(),
            (ChangeKind::Changed, Some(from), Some(to)) => format!("changed from {from} to {to}"),
            (ChangeKind::Changed, ..) => "changed".to_owned(),
        };
        format!("{name} {what} ({})", self.count)
    }
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let mut words: Vec<String> = row.headers.iter().map(Header::text).collect();
    words.extend(row.statuses.iter().map(|([from, to], count)| format!("status {from} became {to} ({count})")));
    if let (count @ 1.., [from, to]) = row.bodies {
        words.push(format!("the body has another length, first {from} bytes from the store and {to} to the client ({count})"));
    }
    let message = format!(
        "The proxy changed {} between {} and {}: {}.",
        counted(row.here.count, "response", "responses"),
        view.hop_name(row.upstream),
        view.hop_name(row.hop),
        list(&words)
    );
    let mut evidence = row.here.evidence();
    evidence.extend(row.there.evidence());
    let is_encoded = row.headers.iter().any(|header| header.name == b"content-encoding");
    let action = match is_encoded {
        true => "turn off compression at the proxy for the store (nginx: gzip off; Caddy: no encode)",
        false => "let the proxy pass on response headers as the store sent them",
    };
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.here.count, message)
        .about("headers", list(&row.headers.iter().map(|header| quote(&header.name)).collect::<Vec<_>>()))
        .shown_by(evidence)
        .fixed_by(Fix::untested(action, ""))
}
