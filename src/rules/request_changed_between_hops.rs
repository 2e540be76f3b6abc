//! Requests whose method, path, query or `x-amz-` headers are not the same on both sides of a proxy.

use crate::hops::{Change, ChangeKind, HopId, LineChange, LinePart, Signature, signature_between};
use crate::rules::quote::{counted, list, quote};
use crate::rules::refused::Refusals;
use crate::rules::shown_value::query_difference;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Finding, Findings, Fix, Joined, Severity, View, Watch, rule};
use crate::model::HeaderName;

rule! {
    /// ## What it reports
    /// Requests that reached the next hop with another method, path or query, with an `x-amz-` header that the proxy added to a
    /// signed request, or without their signature. Both sides of the proxy were seen, and the requests were joined by request id or
    /// signature. It reports what became of what, and who refused it. Where the proxy signs anew only refused requests are
    /// reported, since it may change what it signs.
    ///
    /// ## Why it matters
    /// The signature covers method, path and query, and has to cover every `x-amz-` header. The store computes it from what
    /// reaches it and returns 403 `SignatureDoesNotMatch`, or 403 `AccessDenied` for a header that was not signed; the
    /// client's key is right all the same. An unsigned request reads another object.
    ///
    /// ## Example
    /// nginx with `location /store/ { proxy_pass http://store/; }` removes the prefix that the client signed; `merge_slashes` turns
    /// `/bucket//key` into `/bucket/key`.
    ///
    /// ## What to do
    /// Let the proxy pass the request line on as it came. nginx: no URI in `proxy_pass`, no `rewrite`, `merge_slashes off`. HAProxy: no
    /// `http-request set-path` or `replace-path`. Give the store a host name or port of its own in place of a path prefix.
    "request-changed-between-hops" Warning Cause since "0.2.0"
}

/// How many groups of hop and parts are kept.
const ROWS_MAX: usize = 256;

/// How many different changes are shown per group.
const EXAMPLES_MAX: usize = 3;

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
}

/// Requests of one hop of which the same parts were changed.
struct Row {
    hop: HopId,
    upstream: HopId,
    parts: Vec<Part>,
    examples: Vec<String>,
    has_more: bool,
    is_signed: bool,
    here: Sights,
    there: Sights,
    refused: Refusals,
    /// Refusals that the proxy made itself, or changed on their way back.
    other_status: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Line(LinePart),
    /// An `x-amz-` header that the proxy added, in lower case.
    Header(Vec<u8>),
    Signature,
}

impl Watch for State {
    fn handle_join(&mut self, joined: &Joined<'_>, findings: &mut Findings) {
        if joined.line_changes.is_empty() && !joined.request_changes.iter().any(is_candidate) {
            return;
        }
        let signature = signature_between(&joined.downstream.exchange.request, &joined.upstream.exchange.request);
        let is_refused = joined.upstream.status().is_some_and(|status| (400..500).contains(&status));
        let (parts, examples) = changed_parts(joined, signature, is_refused);
        if parts.is_empty() || (signature == Signature::Own && !is_refused) {
            return;
        }
        let Some(upstream) = joined.view.hops.find_exchange(joined.upstream.exchange) else { return };
        let Some((row, is_first)) = self.row(joined.hop, upstream, parts) else { return };
        row.is_signed |= signature == Signature::Kept;
        row.here.add(Sight::of_request(joined.downstream.exchange));
        row.there.add(Sight::of_both(joined.upstream.exchange));
        if row.refused.add(joined.upstream) {
            row.other_status += u64::from(joined.downstream.status() != joined.upstream.status());
        }
        let example = examples.join(", ");
        if !row.examples.contains(&example) {
            match row.examples.len() < EXAMPLES_MAX {
                true => row.examples.push(example),
                false => row.has_more = true,
            }
        }
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

/// Whether a change of a header may be one that this rule reports.
fn is_candidate(change: &Change<'_>) -> bool {
    (change.kind == ChangeKind::Added && change.is_amazon() && !change.signed)
        || (change.kind == ChangeKind::Dropped && change.header == HeaderName::Authorization)
}

/// What was changed, and how it reads.
fn changed_parts(joined: &Joined<'_>, signature: Signature, is_refused: bool) -> (Vec<Part>, Vec<String>) {
    let mut found: Vec<(Part, String)> = Vec::new();
    for change in joined.line_changes {
        // Most stores read a path the same however it is encoded.
        if change.part != LinePart::Encoding || (is_refused && signature == Signature::Kept) {
            found.push((Part::Line(change.part), example(change)));
        }
    }
    for change in joined.request_changes.iter().filter(|change| is_candidate(change)) {
        let name = change.name.to_ascii_lowercase();
        match change.header {
            HeaderName::Authorization if signature == Signature::Removed => {
                found.push((Part::Signature, "the signature was removed".to_owned()));
            }
            HeaderName::Authorization => {}
            _ if signature == Signature::Kept => {
                let example = format!("the header {} was added", quote(&name));
                found.push((Part::Header(name), example));
            }
            _ => {}
        }
    }
    found.sort_by_key(|(part, _)| part_order(part));
    found.into_iter().unzip()
}

fn part_order(part: &Part) -> (u8, Vec<u8>) {
    match part {
        Part::Line(part) => (*part as u8, Vec::new()),
        Part::Signature => (8, Vec::new()),
        Part::Header(name) => (9, name.clone()),
    }
}

fn example(change: &LineChange<'_>) -> String {
    match change.part {
        LinePart::Query => format!("the query: {}", query_difference(change.from, change.to)),
        _ => format!("{} became {}", quote(change.from), quote(change.to)),
    }
}

impl State {
    fn row(&mut self, hop: HopId, upstream: HopId, parts: Vec<Part>) -> Option<(&mut Row, bool)> {
        let known = self.rows.iter().position(|row| row.hop == hop && row.upstream == upstream && row.parts == parts);
        if let Some(at) = known {
            return self.rows.get_mut(at).map(|row| (row, false));
        }
        if self.rows.len() >= ROWS_MAX {
            return None;
        }
        self.rows.push(Row {
            hop,
            upstream,
            parts,
            examples: Vec::new(),
            has_more: false,
            is_signed: false,
            here: Sights::default(),
            there: Sights::default(),
            refused: Refusals::default(),
            other_status: 0,
        });
        self.rows.last_mut().map(|row| (row, true))
    }
}

fn part_word(part: &Part) -> String {
    match part {
        Part::Line(LinePart::Method) => "another method".to_owned(),
        Part::Line(LinePart::Path) => "another path".to_owned(),
        Part::Line(LinePart::Encoding) => "another percent-encoding of the path".to_owned(),
        Part::Line(LinePart::Query) => "another query".to_owned(),
        Part::Header(name) => format!("the header {}, which the proxy added", quote(name)),
        Part::Signature => "no signature".to_owned(),
    }
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let words: Vec<String> = row.parts.iter().map(part_word).collect();
    let upstream = view.hop_name(row.upstream);
    let more = if row.has_more { "; …" } else { "" };
    let covers = match row.parts.as_slice() {
        [Part::Header(_)] => "A signature has to cover every x-amz- header",
        _ if row.is_signed => "The signature covers it",
        _ => "",
    };
    let came = match row.refused.count {
        0 if row.is_signed => "; no request was refused, so the server does not check that part".to_owned(),
        0 => "no request was refused".to_owned(),
        refused => {
            let lead = if covers.is_empty() { "" } else { ": " };
            format!("{lead}the server of {upstream} refused {refused} of them ({})", row.refused.text())
        }
    };
    let mut message = format!(
        "{} on {} reached {upstream} with {}: {}{more}. {}.",
        counted(row.here.count, "request", "requests"),
        view.hop_name(row.hop),
        list(&words),
        row.examples.join("; "),
        capitalised(&format!("{covers}{came}")),
    );
    if row.other_status > 0 {
        message += &format!(" The proxy returned another status to its client for {} of them.", row.other_status);
    }
    let mut evidence = row.here.evidence();
    evidence.extend(row.there.evidence());
    let mut finding = Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.here.count, message)
        .about("changed", list(&words))
        .about("refused", row.refused.count.to_string())
        .refusing(row.refused.most())
        .shown_by(evidence)
        .fixed_by(fix(row));
    finding.severity = match (row.refused.count, row.is_signed) {
        (1.., _) => Severity::Error,
        (0, true) => Severity::Warning,
        // An unsigned request may be given another path on purpose.
        (0, false) => Severity::Note,
    };
    finding
}

fn fix(row: &Row) -> Fix {
    let action = match row.parts.first() {
        Some(Part::Header(_)) => "do not add x-amz- headers at the proxy: the client's signature cannot cover them",
        Some(Part::Signature) => "let the proxy pass on the Authorization header as the client sent it",
        _ => "let the proxy pass on the request line as it came (nginx: no URI in proxy_pass, merge_slashes off; HAProxy: no set-path), and give the store a name or port of its own in place of a path prefix",
    };
    Fix::untested(action, "")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
