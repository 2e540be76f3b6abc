//! Uploads that waited for a `100 Continue` that did not come.

use std::time::Duration;

use crate::hops::{ClientId, HopId};
use crate::model::HeaderName;
use crate::rules::interruptions::duration_text;
use crate::rules::quote::{counted, list};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Requests with `Expect: 100-continue` whose client sent the body at last without a `100 Continue`, and how long it waited before.
    /// A final response in its place (413, 403, 307, …) is an answer and not reported here, nor is a client that does not wait.
    /// It is reported on any decoded hop, in plaintext or TLS.
    ///
    /// ## Why it matters
    /// Each upload takes so much longer: boto3 and botocore wait 1 s, the AWS SDK for Java up to 3 s, curl 1 s. It looks like a slow store.
    ///
    /// ## Example
    /// A test server or proxy that reads the whole request before it responds: 1,000 small uploads take 1,000 s.
    ///
    /// ## What to do
    /// Let the server or proxy send `100 Continue`, or turn it off in the client (AWS SDK for Java v2: `expectContinueEnabled(false)`; S3A from
    /// 3.4: `fs.s3a.connection.expect.continue=false`; curl: `-H Expect:`).
    "expect-without-continue" Note since "0.2.0"
}

/// A client that sends its body sooner than this after the head does not wait.
const WAIT_MIN: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
}

struct Row {
    hop: HopId,
    sights: Sights,
    waited: [Duration; 2],
    total: Duration,
    clients: Vec<ClientId>,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let request = &call.exchange.request;
        let Some(body_start) = request.body_start.filter(|_| request.headers.has(HeaderName::Expect)) else { return };
        let waited = body_start.since(request.start);
        let was_told = call.exchange.interim.iter().any(|interim| interim.status == 100 && interim.at <= body_start);
        if was_told || waited < WAIT_MIN {
            return;
        }
        // With another final response before the body the client did not wait for nothing.
        if call.exchange.response().is_some_and(|response| response.start <= body_start) {
            return;
        }
        const ROWS_MAX: usize = 256;
        let index = match self.rows.iter().position(|row| row.hop == context.hop) {
            Some(index) => index,
            None if self.rows.len() < ROWS_MAX => {
                let (sights, clients) = (Sights::default(), Vec::new());
                self.rows.push(Row { hop: context.hop, sights, waited: [waited; 2], total: Duration::ZERO, clients });
                self.rows.len() - 1
            }
            None => return,
        };
        let Some(row) = self.rows.get_mut(index) else { return };
        row.add(call, context.client, waited);
        if row.sights.count == 1 {
            let finding = render(row, &context.view);
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in &self.rows {
            findings.report(render(row, view));
        }
    }
}

impl Row {
    fn add(&mut self, call: &Call<'_>, client: ClientId, waited: Duration) {
        self.sights.add(Sight::of_request(call.exchange));
        self.total = self.total.saturating_add(waited);
        let [least, most] = self.waited;
        self.waited = [least.min(waited), most.max(waited)];
        if self.clients.len() < 8 && !self.clients.contains(&client) {
            self.clients.push(client);
        }
    }
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let [least, most] = row.waited.map(duration_text);
    let each = if least == most { format!("{least} each") } else { format!("{least} to {most}") };
    let message = format!(
        "{} on {} waited for a 100 Continue that did not come, {each}, {} in all, and then sent the body.",
        counted(row.sights.count, "request", "requests"),
        view.hop_name(row.hop),
        duration_text(row.total),
    );
    let clients: Vec<String> = row.clients.iter().map(|client| view.client_text(*client)).collect();
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.sights.count, message)
        .about("clients", list(&clients))
        .about("waited_seconds", format!("{:.3}", row.total.as_secs_f64()))
        .shown_by(row.sights.evidence())
        .fixed_by(Fix::untested("let the server or proxy send 100 Continue as soon as it has the head", ""))
        .fixed_by(Fix::untested(
            "turn Expect: 100-continue off in the client",
            "then a request that is refused has sent its whole body for nothing",
        ))
}
