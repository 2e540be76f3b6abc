//! S3 errors by code.

use crate::hops::ClientId;
use crate::model::{Body, HeaderName};
use crate::rules::aggregate::PerClient;
use crate::rules::quote::{counted, list, quote_text};
use crate::rules::same_call::same_call_key;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Joined, View, Watch, rule};
use crate::s3::{Call, Operation, Origin};

rule! {
    /// ## What it reports
    /// Calls that got an error, by status and code, and whether the store or a proxy sent it. Errors that came with status 200
    /// (a copy or a completed upload that failed late) count too, and redirects with an error of S3 (301 `PermanentRedirect`).
    /// The response to a HEAD has no code; where the store's own response on a further hop has one, it is taken. It is reported
    /// on any decoded hop, in plaintext or TLS, and once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// Many of them are usual, and the finding says so: 404 to "is it there?". The others are why a job fails; where most calls
    /// of a client failed, `calls-failed` leads the report. A 502 `BackendDown` comes from the proxy, not from the store.
    ///
    /// ## Example
    /// `409 BucketAlreadyOwnedByYou` to a CreateBucket; 43 × `404 NoSuchKey` to the HEADs of a job that looks before it writes.
    ///
    /// ## What to do
    /// See the cause in the finding. 403 with `SignatureDoesNotMatch` behind a proxy means that the secret key is wrong, or that
    /// something signed was changed on the path.
    "error-response" Note Failure since "0.1.0"
}

/// How many codes are told apart per client; further ones are counted together.
const CODES_MAX: usize = 32;

/// How many operations are named per code.
const OPERATIONS_MAX: usize = 8;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Vec<Code>>,
    /// Failed calls by what they asked for, with the status and code that they got.
    pending: Vec<(u64, ClientId, u16, String)>,
}

struct Code {
    status: u16,
    code: String,
    message: String,
    operations: Vec<(Operation, u64)>,
    sights: Sights,
    origin: Origin,
    /// Whether the code would be in what the capture does not hold.
    is_unseen: bool,
    /// An answer that clients ask for on purpose.
    is_usual: bool,
    /// The checksum that requests carried where the store wanted Content-MD5.
    checksum: Option<String>,
    /// Of them, HEADs whose code was found on a further hop; they are counted there.
    found_behind: u64,
    /// Of them, calls that worked when they were tried again.
    recovered: u64,
}

/// How many failed calls of a client are remembered to see whether a retry works.
const PENDING_MAX: usize = 256;

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let Some(status) = call.status().filter(|_| call.has_failed()) else {
            self.recover(call, context.client);
            return;
        };
        let error = call.error();
        let code = error.as_ref().map_or("", |error| &error.code);
        let has_hole = |body: &Body| !body.complete || !body.missing.is_empty();
        let is_unseen = code.is_empty() && call.exchange.response().is_some_and(|response| has_hole(&response.body));
        let Some(row) = self.clients.row(context.client) else {
            return;
        };
        let message = || error.as_ref().map(|error| quote_text(&error.message)).unwrap_or_default();
        let is_usual = call.is_usual_answer();
        let is_same =
            |have: &Code| have.status == status && have.code == code && have.is_unseen == is_unseen && have.is_usual == is_usual;
        let make = || Code {
            message: message(),
            origin: call.exchange.response().map_or(Origin::Unknown, Origin::of_response),
            is_unseen,
            checksum: checksum_instead(call, code),
            ..Code::new(status, code, is_usual)
        };
        let Some(entry) = entry_of(&mut row.value, is_same, make) else {
            return;
        };
        entry.add(call);
        if self.pending.len() < PENDING_MAX {
            self.pending.push((same_call_key(call, call.exchange.endpoints.client.ip), context.client, status, entry.code.clone()));
        }
        if entry.sights.count == 1
            && let Some(finding) = entry.render(context.client, &context.view)
        {
            findings.raise(finding);
        }
    }

    /// A HEAD whose code is known on the next hop is counted with that code.
    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let (here, there) = (joined.downstream, joined.upstream);
        if !here.has_failed() || here.error().is_some() || here.status() != there.status() {
            return;
        }
        let (Some(status), Some(error), Some(client)) = (here.status(), there.error(), joined.client) else {
            return;
        };
        let Some(row) = self.clients.row(client) else {
            return;
        };
        let is_usual = here.is_usual_answer();
        let is_bare = |have: &&mut Code| have.status == status && have.code.is_empty() && have.is_usual == is_usual;
        let Some(bare) = row.value.iter_mut().find(is_bare).filter(|bare| bare.found_behind < bare.sights.count) else {
            return;
        };
        bare.found_behind += 1;
        let is_same = |have: &Code| have.status == status && have.code == error.code && have.is_usual == is_usual;
        let make = || Code {
            message: quote_text(&error.message),
            origin: Origin::Store,
            ..Code::new(status, &error.code, is_usual)
        };
        if let Some(entry) = entry_of(&mut row.value, is_same, make) {
            entry.add(here);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, row) in self.clients.iter() {
            let hop = view.clients.client(client).map(|client| client.hop);
            if hop.is_some_and(|hop| view.is_nearest_client(hop)) {
                row.value.iter().filter_map(|code| code.render(client, view)).for_each(|finding| findings.report(finding));
            }
        }
    }
}

impl State {
    /// Takes note that a call worked that had failed before.
    fn recover(&mut self, call: &Call<'_>, client: ClientId) {
        if self.pending.is_empty() || !call.is_success() {
            return;
        }
        let key = same_call_key(call, call.exchange.endpoints.client.ip);
        let Self { clients, pending } = self;
        pending.retain(|(failed, by, status, code)| {
            if *failed != key || *by != client {
                return true;
            }
            let codes = clients.row(client).map(|row| &mut row.value);
            if let Some(entry) = codes.and_then(|codes| codes.iter_mut().find(|have| have.status == *status && have.code == *code)) {
                entry.recovered += 1;
            }
            false
        });
    }
}

/// The entry of an answer, made where there is none; the last one beyond the bound.
fn entry_of(codes: &mut Vec<Code>, is_same: impl Fn(&Code) -> bool, make: impl FnOnce() -> Code) -> Option<&mut Code> {
    let index = codes.iter().position(is_same).unwrap_or_else(|| {
        if codes.len() < CODES_MAX {
            codes.push(make());
        }
        codes.len() - 1
    });
    codes.get_mut(index)
}

/// The checksum header of a request that was refused for lack of Content-MD5.
fn checksum_instead(call: &Call<'_>, code: &str) -> Option<String> {
    let headers = &call.exchange.request.headers;
    let is_about_md5 = code == "MissingContentMD5" || call.error().is_some_and(|error| error.message.contains("Content-MD5"));
    if !is_about_md5 || headers.has(HeaderName::ContentMd5) {
        return None;
    }
    let is_checksum = |name: &&[u8]| name.to_ascii_lowercase().starts_with(b"x-amz-checksum-");
    headers.iter().map(|(name, _)| name).find(is_checksum).map(|name| quote_text(&String::from_utf8_lossy(name).to_ascii_lowercase()))
}

impl Code {
    fn new(status: u16, code: &str, is_usual: bool) -> Self {
        Self {
            status,
            code: code.chars().take(128).collect(),
            message: String::new(),
            operations: Vec::new(),
            sights: Sights::default(),
            origin: Origin::Unknown,
            is_unseen: false,
            is_usual,
            checksum: None,
            found_behind: 0,
            recovered: 0,
        }
    }

    /// Who sent it, what is usual about it, and what was sent in place of what the store wanted.
    fn words(&self, has_hadoop: bool) -> String {
        let who = match self.origin {
            Origin::Proxy(name) => format!(" {name} sent this response, not the store."),
            Origin::Store | Origin::Unknown => String::new(),
        };
        let usual = match (self.is_usual, has_hadoop, self.status) {
            (true, true, 404) => " This is usual: S3A looks up paths before it reads and writes.",
            (true, false, 404) => " This is usual where a client asks whether something exists.",
            (true, _, 304 | 412) => " This is usual: the client set a condition.",
            _ => "",
        };
        let checksum = match &self.checksum {
            Some(name) => format!(" The requests carried {name} in place of Content-MD5."),
            None => String::new(),
        };
        format!("{who}{usual}{checksum}")
    }

    fn add(&mut self, call: &Call<'_>) {
        self.sights.add(Sight::of_response(call.exchange));
        match self.operations.iter_mut().find(|(operation, _)| *operation == call.operation) {
            Some((_, count)) => *count += 1,
            None => {
                if self.operations.len() < OPERATIONS_MAX {
                    self.operations.push((call.operation, 1));
                }
            }
        }
    }

    fn is_head_only(&self) -> bool {
        self.operations.iter().all(|(operation, _)| matches!(*operation, Operation::HEAD_OBJECT | Operation::HEAD_BUCKET))
    }

    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let about = view.clients.client(client)?;
        let hop = about.hop;
        let count = self.sights.count.saturating_sub(self.found_behind);
        if count == 0 {
            return None;
        }
        let operations: Vec<String> =
            self.operations.iter().map(|(operation, count)| format!("{} ({count})", operation.name())).collect();
        let code = match (self.code.is_empty(), self.is_unseen) {
            (true, true) => "with a code that is not in the capture".to_owned(),
            (true, false) if self.is_head_only() => "(a response to HEAD has no code)".to_owned(),
            (true, false) => "without a code".to_owned(),
            (false, _) => quote_text(&self.code),
        };
        let message = format!(
            "{} on {} got {} {code}: {}.{}",
            counted(count, "call", "calls"),
            view.hop_name(hop),
            self.status,
            list(&operations),
            self.words(about.hadoop.is_some())
        );
        let mut finding = Finding::new(&RULE, Confidence::Certain, Some(hop), count, message)
            .about("client", view.client_text(client))
            .about("status", self.status.to_string())
            .about("code", code)
            .about("operations", list(&operations))
            .about("sent_by", self.origin.label());
        if !self.message.is_empty() {
            finding = finding.about("text", self.message.clone());
        }
        finding.is_usual = self.is_usual;
        finding.recovered = self.recovered.min(count);
        Some(finding.shown_by(self.sights.evidence()))
    }
}
