//! Clients most of whose calls failed: why a job did not work, before all else.

use crate::hops::{ClientId, HopId};
use crate::model::{Outcome, Side};
use crate::rules::aggregate::PerClient;
use crate::rules::quote::{counted, list, quote_text};
use crate::rules::same_call::same_call_key;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Joined, View, Watch, rule};
use crate::s3::{Call, Operation, Origin};

rule! {
    /// ## What it reports
    /// A client most of whose calls failed, with the status and the code that most of them got, the store's sentence, and who
    /// wrote the response: the store or a proxy. A call without a response counts as failed. Calls that were tried again and
    /// worked do not count, nor do answers that clients ask for: 404 to "is it there?", 304 and 412. It is reported on any
    /// decoded hop, in plaintext or TLS, and once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// It is why the job failed. The report leads with it, and with the cause that other rules found: a header that a proxy
    /// changed, a clock that is wrong.
    ///
    /// ## Example
    /// All 7 calls of 10.0.0.5 (boto3 1.44.8) failed: 403 `SignatureDoesNotMatch`.
    ///
    /// ## What to do
    /// See the cause and the fix in the finding. The code alone is explained where nothing else is known.
    "calls-failed" Error Failure since "0.2.0"
}

/// How many answers are told apart per client; further ones are counted with the last.
const ANSWERS_MAX: usize = 16;

/// How many failed requests per client are remembered to see whether a retry works.
const PENDING_MAX: usize = 256;

/// How many operations are named.
const OPERATIONS_MAX: usize = 8;

/// So many looks for what is not there are a failure where nothing else worked.
const LOOKS_MIN: u64 = 3;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Tally>,
}

#[derive(Default)]
struct Tally {
    worked: u64,
    /// Failed calls that were seen on the next hop too.
    joined: u64,
    answers: Vec<Answer>,
    pending: Vec<Pending>,
}

/// Calls that failed with one answer.
struct Answer {
    /// `None` for no response.
    status: Option<u16>,
    code: String,
    message: String,
    origin: Origin,
    /// The side that closed or reset the connection, where there was no response.
    closed_by: Option<Side>,
    /// An answer that clients ask for on purpose.
    is_usual: bool,
    /// Only HEADs got it.
    is_head_only: bool,
    operations: Vec<(Operation, u64)>,
    sights: Sights,
    /// Of them, calls that worked when they were tried again.
    recovered: u64,
}

/// A request that failed and may be tried again.
struct Pending {
    target: u64,
    answer: usize,
    count: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        let Some(row) = self.clients.row(context.client) else {
            return;
        };
        let tally = &mut row.value;
        match &call.exchange.outcome {
            // The capture ended, or the view of it: nothing is known.
            Outcome::Unanswered => {}
            Outcome::Answered(_) if !call.has_failed() || call.status() == Some(412) => {
                tally.worked += 1;
                tally.recover(call);
            }
            _ => tally.add(call),
        }
    }

    /// The response to a HEAD has no body and so no code; the store's own response to the same HEAD may have one in a header.
    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let downstream = joined.downstream;
        if !downstream.has_failed() {
            return;
        }
        let Some(row) = joined.client.and_then(|client| self.clients.row(client)) else {
            return;
        };
        row.value.joined += 1;
        let status = downstream.status();
        let Some(error) = joined.upstream.error().filter(|_| downstream.error().is_none() && status == joined.upstream.status()) else {
            return;
        };
        if let Some(answer) = row.value.answers.iter_mut().find(|answer| answer.status == status && answer.code.is_empty()) {
            answer.code = shorten(&error.code);
            answer.message = quote_text(&error.message);
            answer.origin = Origin::Store;
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, row) in self.clients.iter() {
            let hop = view.clients.client(client).map(|about| about.hop);
            if let Some(hop) = hop.filter(|hop| view.is_nearest_client(*hop))
                && let Some(finding) = self.render(client, hop, &row.value, view)
            {
                findings.report(finding);
            }
        }
    }
}

impl Tally {
    fn add(&mut self, call: &Call<'_>) {
        let answer = self.answer_of(call);
        let Some(entry) = self.answers.get_mut(answer) else {
            return;
        };
        entry.add(call);
        let target = same_call_key(call, call.exchange.endpoints.client.ip);
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.target == target && pending.answer == answer) {
            pending.count += 1;
        } else if self.pending.len() < PENDING_MAX {
            self.pending.push(Pending { target, answer, count: 1 });
        }
    }

    /// Takes back the failures of a request that worked now.
    fn recover(&mut self, call: &Call<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let target = same_call_key(call, call.exchange.endpoints.client.ip);
        let Self { pending, answers, .. } = self;
        pending.retain(|failed| {
            if failed.target != target {
                return true;
            }
            if let Some(answer) = answers.get_mut(failed.answer) {
                answer.recovered += failed.count;
            }
            false
        });
    }

    fn answer_of(&mut self, call: &Call<'_>) -> usize {
        let status = call.status();
        let error = call.error();
        let code = error.as_ref().map(|error| shorten(&error.code)).unwrap_or_default();
        let is_usual = call.is_usual_answer();
        let is_same = |have: &Answer| have.status == status && have.code == code && have.is_usual == is_usual;
        if let Some(index) = self.answers.iter().position(is_same) {
            return index;
        }
        if self.answers.len() >= ANSWERS_MAX {
            return ANSWERS_MAX - 1;
        }
        self.answers.push(Answer {
            status,
            code,
            message: error.map(|error| quote_text(&error.message)).unwrap_or_default(),
            origin: call.exchange.response().map_or(Origin::Unknown, Origin::of_response),
            closed_by: match call.exchange.outcome {
                Outcome::ClosedEarly { by } | Outcome::Reset { by } => Some(by),
                Outcome::Answered(_) | Outcome::Unanswered => None,
            },
            is_usual,
            is_head_only: true,
            operations: Vec::new(),
            sights: Sights::default(),
            recovered: 0,
        });
        self.answers.len() - 1
    }

    /// The answers that count as failures, with how many calls each, the most first. HEADs without a code join the code that
    /// others got with the same status.
    fn failures(&self) -> Vec<(&Answer, u64)> {
        let of = |is_wanted: &dyn Fn(&&Answer) -> bool| -> Vec<(&Answer, u64)> {
            let lasting = |answer: &Answer| answer.sights.count.saturating_sub(answer.recovered);
            let wanted = self.answers.iter().filter(is_wanted).map(|answer| (answer, lasting(answer)));
            wanted.filter(|(_, count)| *count > 0).collect()
        };
        let mut failures = of(&|answer| !answer.is_usual);
        if failures.is_empty() && self.worked == 0 {
            // Where nothing worked at all, what is looked for and never there is the failure. A look or two is no job.
            failures = of(&|answer| !answer.is_head_only);
            if failures.iter().map(|(_, count)| count).sum::<u64>() < LOOKS_MIN {
                return Vec::new();
            }
        }
        let bare: Vec<usize> = (0..failures.len())
            .filter(|at| failures.get(*at).is_some_and(|(answer, _)| answer.code.is_empty() && answer.is_head_only))
            .collect();
        for at in bare {
            let Some((status, count)) = failures.get(at).map(|(answer, count)| (answer.status, *count)) else { continue };
            let coded = failures.iter_mut().find(|(answer, _)| answer.status == status && !answer.code.is_empty());
            if let Some((_, all)) = coded {
                *all += count;
                if let Some((_, own)) = failures.get_mut(at) {
                    *own = 0;
                }
            }
        }
        failures.retain(|(_, count)| *count > 0);
        failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        failures
    }
}

impl Answer {
    fn add(&mut self, call: &Call<'_>) {
        self.sights.add(Sight::of_both(call.exchange));
        self.is_head_only &= call.exchange.request.method() == b"HEAD";
        if let Some((_, count)) = self.operations.iter_mut().find(|(operation, _)| *operation == call.operation) {
            *count += 1;
        } else if self.operations.len() < OPERATIONS_MAX {
            self.operations.push((call.operation, 1));
        }
    }

    /// `403 SignatureDoesNotMatch`, `413`, `no response`
    fn text(&self) -> String {
        match self.status {
            Some(status) if self.code.is_empty() => status.to_string(),
            Some(status) => format!("{status} {}", quote_text(&self.code)),
            None => "no response".to_owned(),
        }
    }

    /// The store's sentence, and who wrote the response.
    fn words(&self) -> String {
        let said = if self.message.is_empty() { String::new() } else { format!(": \"{}\"", self.message.trim_end_matches('.')) };
        match (self.status, self.origin) {
            (None, _) => match self.closed_by {
                Some(Side::Client) => " The client closed the connections before a response came.".to_owned(),
                Some(Side::Server) => " The server closed the connections before a response came.".to_owned(),
                None => String::new(),
            },
            (Some(_), Origin::Store) if said.is_empty() => " The store sent this response.".to_owned(),
            (Some(_), Origin::Store) => format!(" The store says{said}."),
            (Some(_), Origin::Proxy(name)) => format!(" The response is from {name}, not from the store{said}."),
            (Some(_), Origin::Unknown) => format!(" The response does not say whether the store or a proxy sent it{said}."),
        }
    }
}

impl State {
    fn render(&self, client: ClientId, hop: HopId, tally: &Tally, view: &View<'_>) -> Option<Finding> {
        let failures = tally.failures();
        let (lead, most) = failures.first().copied()?;
        let failed: u64 = failures.iter().map(|(_, count)| count).sum();
        if failed <= tally.worked {
            return None;
        }
        let is_counted = |answer: &Answer| failures.iter().any(|(failure, _)| std::ptr::eq(*failure, answer));
        let usual: u64 =
            tally.answers.iter().filter(|one| one.is_usual && !is_counted(one)).map(|answer| answer.sights.count).sum();
        let total = tally.worked + failed + usual;
        let who = format!("{} on {}", view.client_text(client), view.hop_name(hop));
        let how_many = match (failed, total) {
            (1, 1) => format!("The only call of {who}"),
            _ if failed >= total => format!("All {failed} calls of {who}"),
            _ => format!("{failed} of {total} calls of {who}"),
        };
        let share = if most == failed { String::new() } else { format!(", {most} of them with") };
        let colon = if share.is_empty() { ":" } else { "" };
        let message =
            format!("{how_many} failed{share}{colon} {}.{}{}", lead.text(), lead.words(), self.others(client, hop, view));
        let operations: Vec<String> =
            lead.operations.iter().map(|(operation, count)| format!("{} ({count})", operation.name())).collect();
        let mut finding = Finding::new(&RULE, Confidence::Certain, Some(hop), failed, message)
            .about("client", view.client_text(client))
            .about("status", lead.status.map_or("none".to_owned(), |status| status.to_string()))
            .about("code", quote_text(&lead.code))
            .about("calls", total.to_string())
            .about("operations", list(&operations))
            .about("sent_by", lead.origin.label())
            .about("seen_on_next_hop", tally.joined.min(failed).to_string());
        if !lead.message.is_empty() {
            finding = finding.about("text", lead.message.clone());
        }
        for (answer, _) in failures.iter().take(4) {
            finding.evidence.extend(answer.sights.evidence());
        }
        Some(finding)
    }

    /// What other clients on the same hop show: if they work, the path and the store do.
    fn others(&self, client: ClientId, hop: HopId, view: &View<'_>) -> String {
        let others = self.clients.iter().filter(|(id, _)| *id != client);
        let working = others.filter(|(id, row)| {
            let is_here = view.clients.client(*id).is_some_and(|other| other.hop == hop);
            is_here && row.value.worked > 0 && row.value.failures().is_empty()
        });
        let (mut clients, mut calls) = (0_u64, 0_u64);
        for (_, row) in working {
            clients += 1;
            calls += row.value.worked;
        }
        match clients {
            0 => String::new(),
            _ => format!(
                " {} on the same hop had no failure ({}).",
                counted(clients, "other client", "other clients"),
                counted(calls, "call", "calls")
            ),
        }
    }
}

/// Codes are short; what is not is cut.
fn shorten(code: &str) -> String {
    code.chars().take(128).collect()
}
