//! Bodies that do not have the checksum that their message announces.

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::{ClientId, HopId};
use crate::model::{BodyCheck, ChecksumName, ExchangeId};
use crate::rules::quote::{counted, list, quote, quote_text};
use crate::rules::refused::Refusals;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, Joined, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Bodies that differ from their `x-amz-checksum-*` (header or trailer), `Content-MD5` or `x-amz-content-sha256`: uploads, and
    /// downloads of a whole object with `x-amz-checksum-*`. It says which value was announced and which the body has, whether the
    /// server refused it, and whether the same body was right on the hop before. Bodies up to 256 KiB are compared that the capture
    /// holds whole: the first 24 of a run, further ones up to 96 KiB together, one in 256 of the rest, and up to 64 more where some differ. aws-chunked framing is removed
    /// first. It is reported on any decoded hop, in plaintext or TLS.
    ///
    /// ## Why it matters
    /// Something changed the content after the client computed its checksum: a proxy, a client that signs another body than it sends, a
    /// damaged object. A store that does not check keeps the damaged object.
    ///
    /// ## Example
    /// A proxy that recompresses uploads: the store returns 400 `XAmzContentSHA256Mismatch`.
    ///
    /// ## What to do
    /// Where the body was right on the hop before, look at what the proxy between does to bodies. Where it was wrong at the client
    /// already, look at the client.
    "checksum-mismatch" Error Cause since "0.2.0"
}

/// How many groups of hop, direction and checksum are kept.
const ROWS_MAX: usize = 256;

/// How many joined calls are remembered whose body was wrong on one hop.
const WRONG_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
    /// Bodies that were compared.
    compared: u64,
    /// Exchanges with a wrong body, and their row.
    wrong: Option<HashMap<ExchangeId, usize>>,
}

struct Row {
    hop: HopId,
    is_request: bool,
    name: ChecksumName,
    sights: Sights,
    clients: Vec<ClientId>,
    objects: Vec<String>,
    announced: String,
    computed: String,
    refused: Refusals,
    /// Bodies that were right on the hop before: a proxy changed them.
    right_before: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let response = call.exchange.response().and_then(|response| response.body.check.as_deref());
        for (check, is_request) in [(call.exchange.request.body.check.as_deref(), true), (response, false)] {
            self.compared += u64::from(check.is_some());
            let Some(mismatch) = check.and_then(|check| check.mismatched.first()) else { continue };
            let Some(index) = self.row(context.hop, is_request, mismatch.name) else { continue };
            if let Some(row) = self.rows.get_mut(index) {
                row.add(call, context.client);
                if row.sights.count == 1 {
                    (row.announced, row.computed) = (quote_text(&mismatch.announced), mismatch.computed.clone());
                    let finding = render(row, self.compared, &context.view);
                    findings.raise(finding);
                }
            }
            let wrong = self.wrong.get_or_insert_with(HashMap::new);
            if wrong.len() < WRONG_MAX {
                wrong.insert(call.exchange.id, index);
            }
        }
    }

    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let Some(wrong) = &self.wrong else { return };
        let (downstream, upstream) = (joined.downstream.exchange, joined.upstream.exchange);
        let of_response = |exchange: &crate::model::Exchange| {
            exchange.response().and_then(|response| response.body.check.clone())
        };
        // A request is right first on the client's hop, a response on the store's.
        let (asked, passed) = (downstream.request.body.check.clone(), upstream.request.body.check.clone());
        let (answer, relayed) = (of_response(upstream), of_response(downstream));
        for (before, after, id) in [(asked, passed, upstream.id), (answer, relayed, downstream.id)] {
            let is_changed = before.is_some_and(|check| is_right(&check)) && after.is_some_and(|check| !check.mismatched.is_empty());
            let row = wrong.get(&id).filter(|_| is_changed).and_then(|index| self.rows.get_mut(*index));
            if let Some(row) = row {
                row.right_before += 1;
            }
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in &self.rows {
            findings.report(render(row, self.compared, view));
        }
    }
}

fn is_right(check: &BodyCheck) -> bool {
    !check.matched.is_empty() && check.mismatched.is_empty()
}

impl State {
    fn row(&mut self, hop: HopId, is_request: bool, name: ChecksumName) -> Option<usize> {
        let is_same = |row: &Row| row.hop == hop && row.is_request == is_request && row.name == name;
        if let Some(at) = self.rows.iter().position(is_same) {
            return Some(at);
        }
        if self.rows.len() >= ROWS_MAX {
            return None;
        }
        self.rows.push(Row {
            hop,
            is_request,
            name,
            sights: Sights::default(),
            clients: Vec::new(),
            objects: Vec::new(),
            announced: String::new(),
            computed: String::new(),
            refused: Refusals::default(),
            right_before: 0,
        });
        Some(self.rows.len() - 1)
    }
}

impl Row {
    const SHOWN_MAX: usize = 4;

    fn add(&mut self, call: &Call<'_>, client: ClientId) {
        self.sights.add(Sight::of_both(call.exchange));
        self.refused.add(call);
        if self.clients.len() < Self::SHOWN_MAX && !self.clients.contains(&client) {
            self.clients.push(client);
        }
        if self.objects.len() < Self::SHOWN_MAX {
            let bucket = call.address.bucket.as_deref().unwrap_or_default();
            let object = quote(&[bucket, b"/", call.address.key.as_deref().unwrap_or_default()].concat());
            if !self.objects.contains(&object) {
                self.objects.push(object);
            }
        }
    }
}

fn render(row: &Row, compared: u64, view: &View<'_>) -> Finding {
    let count = row.sights.count;
    let what = match row.is_request {
        true => counted(count, "upload", "uploads"),
        false => counted(count, "download", "downloads"),
    };
    let came = match (row.is_request, row.refused.count) {
        (false, _) => String::new(),
        (true, 0) => " The server refused none of them: it stored what differs.".to_owned(),
        (true, refused) => format!(" The server refused {refused} of them ({}).", row.refused.text()),
    };
    let before = match row.right_before {
        0 => String::new(),
        right => format!(" {right} of the bodies were right on the hop before: the proxy between changed them."),
    };
    let message = format!(
        "The body of {what} on {} differs from {}: announced {}, the body has {} (the first one).{came}{before} {} compared.",
        view.hop_name(row.hop),
        row.name.label(),
        row.announced,
        row.computed,
        counted(compared, "body was", "bodies were"),
    );
    let clients: Vec<String> = row.clients.iter().map(|client| view.client_text(*client)).collect();
    let fix = match row.right_before {
        0 => "find out where the body differs first: capture on the client's own host as well",
        _ => "let the proxy pass on bodies as they came (no compression, no rewriting, no content inspection that changes them)",
    };
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), count, message)
        .about("clients", list(&clients))
        .about("objects", list(&row.objects))
        .refusing(row.refused.most())
        .about("checksum", row.name.label())
        .shown_by(row.sights.evidence())
        .fixed_by(Fix::untested(fix, ""))
}
