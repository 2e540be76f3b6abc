//! S3 errors by code.

use crate::hops::ClientId;
use crate::model::Body;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::{counted, list, quote_text};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, View, Watch, rule};
use crate::s3::{Call, Operation};

rule! {
    /// ## What it reports
    /// Calls answered with an error, by status and code. Errors that came with status 200 (a copy or a completed upload that
    /// failed late) count too. It is reported on any decoded hop, in clear or TLS, and once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// Many of them are answers that a client asked for (404 to "is it there?"); the others are why a job fails. A 502
    /// `BackendDown` comes from the proxy, not from the store.
    ///
    /// ## Example
    /// `409 BucketAlreadyOwnedByYou` to a CreateBucket; 43 × `404 NoSuchKey` to the HEADs of a job that looks before it writes.
    ///
    /// ## What to do
    /// Look up the code. 403 with `SignatureDoesNotMatch` behind a proxy means that something signed was changed on the way.
    "error-response" Note since "0.1.0"
}

/// How many codes are told apart per client; further ones are counted together.
const CODES_MAX: usize = 32;

/// How many operations are named per code.
const OPERATIONS_MAX: usize = 8;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Vec<Code>>,
}

struct Code {
    status: u16,
    code: String,
    message: String,
    operations: Vec<(Operation, u64)>,
    sights: Sights,
    is_proxy: bool,
    /// Whether the code would stand in what the capture did not hold.
    is_unseen: bool,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let can_fail_late =
            matches!(call.operation, Operation::COPY_OBJECT | Operation::UPLOAD_PART_COPY | Operation::COMPLETE_MULTIPART_UPLOAD);
        let Some(status) = call.status().filter(|status| *status >= 400 || can_fail_late) else {
            return;
        };
        let error = call.error();
        if status < 400 && error.is_none() {
            return;
        }
        let code = error.as_ref().map_or("", |error| &error.code);
        let has_hole = |body: &Body| !body.complete || !body.missing.is_empty();
        let is_unseen = code.is_empty() && call.exchange.response().is_some_and(|response| has_hole(&response.body));
        let Some(row) = self.clients.row(context.client) else {
            return;
        };
        let codes = &mut row.value;
        let index = match codes.iter().position(|have| have.status == status && have.code == code && have.is_unseen == is_unseen) {
            Some(index) => index,
            None if codes.len() < CODES_MAX => {
                let message = error.as_ref().map(|error| quote_text(&error.message)).unwrap_or_default();
                codes.push(Code {
                    status,
                    code: code.chars().take(128).collect(),
                    message,
                    operations: Vec::new(),
                    sights: Sights::default(),
                    is_proxy: status == 502 && code == "BackendDown",
                    is_unseen,
                });
                codes.len() - 1
            }
            None => CODES_MAX - 1,
        };
        let Some(entry) = codes.get_mut(index) else {
            return;
        };
        entry.add(call);
        if entry.sights.count == 1
            && let Some(finding) = entry.render(context.client, &context.view)
        {
            findings.raise(finding);
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

impl Code {
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

    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let hop = view.clients.client(client)?.hop;
        let operations: Vec<String> =
            self.operations.iter().map(|(operation, count)| format!("{} ({count})", operation.name())).collect();
        let code = match (self.code.is_empty(), self.is_unseen) {
            (true, true) => "with a code that is not in the capture".to_owned(),
            (true, false) => "without a code".to_owned(),
            (false, _) => quote_text(&self.code),
        };
        let who = if self.is_proxy { " The proxy answered, not the store: no backend was up." } else { "" };
        let message = format!(
            "{} on {} got {} {code}: {}.{who}",
            counted(self.sights.count, "call", "calls"),
            view.hop_name(hop),
            self.status,
            list(&operations)
        );
        let mut finding = Finding::new(&RULE, Confidence::Certain, Some(hop), self.sights.count, message)
            .about("client", view.client_text(client))
            .about("status", self.status.to_string())
            .about("code", code);
        if !self.message.is_empty() {
            finding = finding.about("text", self.message.clone());
        }
        Some(finding.shown_by(self.sights.evidence()))
    }
}
