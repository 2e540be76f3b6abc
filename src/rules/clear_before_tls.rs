//! A hop in clear before a hop in TLS: the store cannot see the weakness.

use crate::hops::{HopId, HopTransport};
use crate::rules::quote::{counted, list};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, Joined, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// S3 calls in clear on a hop whose server goes on to the store by TLS. That the second hop is TLS can be seen without
    /// opening it; where it was opened, the evidence names frames of the same calls on both hops.
    ///
    /// ## Why it matters
    /// The store sees only the TLS connection of the proxy. It accepts customer keys, and a policy that demands
    /// `aws:SecureTransport` is satisfied, although the client's own leg is readable. Nothing at the store can warn.
    ///
    /// ## Example
    /// Spark → proxy on port 8091 in clear, proxy → store on port 9000 by TLS.
    ///
    /// ## What to do
    /// Serve TLS on the front of the proxy, and close the plain one.
    "clear-before-tls" Warning Exposure since "0.1.0"
}

#[derive(Default)]
pub(super) struct State {
    /// By the hop's number; hops are few and bounded.
    hops: Vec<Row>,
}

#[derive(Default)]
struct Row {
    calls: Sights,
    /// The same calls inside TLS on the next hop.
    twins: Sights,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, _findings: &mut Findings) {
        if !context.is_clear {
            return;
        }
        let index = context.hop.0 as usize;
        if index >= self.hops.len() {
            self.hops.resize_with(index + 1, Row::default);
        }
        if let Some(row) = self.hops.get_mut(index) {
            row.calls.add(Sight::of_request(call.exchange));
        }
    }

    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let goes_dark = joined.downstream.exchange.transport.is_clear() && !joined.upstream.exchange.transport.is_clear();
        if goes_dark && let Some(row) = self.hops.get_mut(joined.hop.0 as usize) {
            row.twins.add(Sight::of_request(joined.upstream.exchange));
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (hop, row) in (0..).map(HopId).zip(&self.hops).filter(|(_, row)| row.calls.count > 0) {
            if let Some(finding) = render(hop, row, view) {
                findings.report(finding);
            }
        }
    }
}

fn render(hop: HopId, row: &Row, view: &View<'_>) -> Option<Finding> {
    let about = view.hops.hop(hop)?;
    let upstream = view.hops.hop(view.hops.upstream(hop)?)?;
    if upstream.transport == HopTransport::Clear {
        return None;
    }
    let partly = if upstream.transport == HopTransport::Mixed { "partly " } else { "" };
    let (count, joined) = (row.calls.count, row.twins.count);
    let seen = match joined {
        0 => String::new(),
        _ if joined == count => " Each was seen on both hops.".to_owned(),
        _ => format!(" {joined} of them were seen on both hops."),
    };
    let confidence = if joined > 0 { Confidence::Certain } else { Confidence::Strong };
    let message = format!(
        "{} on {} {} unencrypted.{seen}",
        counted(count, "call", "calls"),
        about.name,
        if count == 1 { "was" } else { "were" },
    );
    let cause = format!(
        "The clients use plain HTTP on {}, and the proxy re-encrypts {partly}to the store ({}), so the store cannot detect this",
        about.name, upstream.name
    );
    let clients: Vec<String> = about.clients.iter().take(8).map(ToString::to_string).collect();
    let finding = Finding::new(&RULE, confidence, Some(hop), count, message)
        .caused_by(cause)
        .about("clients", list(&clients))
        .about("upstream", upstream.name.clone())
        .shown_by(row.calls.evidence())
        .shown_by(row.twins.evidence())
        .fixed_by(Fix::tls_on_the_front())
        .fixed_by(Fix::untested("close the plain HTTP port of the proxy, so that no client can use it by mistake", ""));
    Some(finding)
}
