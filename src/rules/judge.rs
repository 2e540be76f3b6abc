//! All rules at work on one run: calls in, the findings that were asked for and the verdict out.

use crate::hops::HopId;
use crate::model::Exchange;
use crate::rules::cause::explain;
use crate::rules::commits::Commits;
use crate::rules::fold::fold;
use crate::rules::verdict::verdict;
use crate::rules::{Context, Disclosure, Finding, Findings, Interrupted, Joined, Rule, Verdict, View, Watch, all};
use crate::s3::Call;

/// Which findings are wanted. The verdict rests on them alone, and names the rules that were left out.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these rules; all where absent.
    pub select: Option<Vec<String>>,
    /// Not these.
    pub ignore: Vec<String>,
}

/// The rules of one run.
pub struct Judge {
    watches: Vec<Box<dyn Watch>>,
    findings: Findings,
    selection: Selection,
    commits: Commits,
}

/// What the rules came to.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The findings that were asked for, the worst first.
    pub findings: Vec<Finding>,
    /// The one answer.
    pub verdict: Verdict,
}

impl Judge {
    /// Starts all rules.
    pub fn new(selection: Selection) -> Self {
        Self {
            watches: all().iter().map(|rule| (rule.start)()).collect(),
            findings: Findings::default(),
            selection,
            commits: Commits::default(),
        }
    }

    /// Tells the rules of a call.
    pub fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>) {
        self.commits.handle_call(call);
        for watch in &mut self.watches {
            watch.handle_call(call, context, &mut self.findings);
        }
    }

    /// Tells the rules of secrets on a plaintext hop.
    pub fn handle_secrets(&mut self, disclosed: &Disclosure<'_>) {
        for watch in &mut self.watches {
            watch.handle_secrets(disclosed, &mut self.findings);
        }
    }

    /// Tells the rules of a call that was seen on two hops.
    pub fn handle_join(&mut self, joined: &Joined<'_>) {
        for watch in &mut self.watches {
            watch.handle_join(joined, &mut self.findings);
        }
    }

    /// Reports a further attempt of a proxy to the rules.
    pub fn handle_resend(&mut self, joined: &Joined<'_>) {
        for watch in &mut self.watches {
            watch.handle_resend(joined);
        }
    }

    /// Reports an interrupted call to the rules.
    pub fn handle_interrupted(&mut self, call: &Interrupted, view: &View<'_>) {
        for watch in &mut self.watches {
            watch.handle_interrupted(call, view, &mut self.findings);
        }
    }

    /// Tells the rules of an exchange that is odd or no S3 call.
    pub fn handle_exchange(&mut self, exchange: &Exchange, hop: HopId, view: &View<'_>) {
        for watch in &mut self.watches {
            watch.handle_exchange(exchange, hop, view, &mut self.findings);
        }
    }

    /// What rules raised since the last time, as far as it was asked for.
    pub fn take_raised(&mut self) -> Vec<Finding> {
        if self.findings.raised.is_empty() {
            return Vec::new();
        }
        let mut raised = std::mem::take(&mut self.findings.raised);
        raised.retain(|finding| self.selection.wants(finding.rule));
        raised
    }

    /// Ends the run.
    pub fn finish(mut self, view: &View<'_>) -> Judgement {
        for watch in &mut self.watches {
            watch.handle_end(view, &mut self.findings);
        }
        let (mut findings, others): (Vec<Finding>, Vec<Finding>) =
            self.findings.reported.into_iter().partition(|finding| self.selection.wants(finding.rule));
        explain(&mut findings, view);
        let mut findings = fold(findings);
        let place = |rule: &Rule| all().iter().position(|other| other.name == rule.name);
        findings.sort_by(|a, b| {
            let worst = (b.severity, b.confidence).cmp(&(a.severity, a.confidence));
            let is_far = |finding: &Finding| finding.hop.is_some_and(|hop| !view.is_nearest_client(hop));
            worst.then_with(|| (place(a.rule), is_far(a), a.hop).cmp(&(place(b.rule), is_far(b), b.hop)))
        });
        let verdict = verdict(&findings, left_out(&others), self.commits.into_targets(), view);
        Judgement { findings, verdict }
    }
}

/// The rules of findings that nobody wants to see, with what they count.
fn left_out(findings: &[Finding]) -> Vec<(&'static str, u64)> {
    let mut rules: Vec<(&'static str, u64)> = Vec::new();
    for finding in findings {
        match rules.iter_mut().find(|(rule, _)| *rule == finding.rule.name) {
            Some((_, count)) => *count = count.saturating_add(finding.count),
            None => rules.push((finding.rule.name, finding.count)),
        }
    }
    rules
}

impl Selection {
    fn wants(&self, rule: &Rule) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == rule.name);
        self.select.as_deref().is_none_or(named) && !named(&self.ignore)
    }
}
