//! Signatures that do not verify with the given secret, and the component that differs.

use crate::hops::HopId;
use crate::model::ExchangeId;
use crate::rules::quote::{counted, quote_text};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, Joined, Step, View, Watch, rule};
use crate::s3::Call;
use crate::s3::sigv4::{Check, Component, Hints, Mismatch};

rule! {
    /// ## What it reports
    /// SigV4 signatures that do not verify with the secret that `--credentials` gives, and which component differs from what
    /// the client signed: method, path, query, a header, the list of signed headers, the payload hash, the body, a chunk, the
    /// date, the credential scope, the access key, the signature or the secret. With `-v` the canonical request of what is
    /// on the wire is shown beside the one that the signature fits. Signatures of SigV2 and SigV4A are not checked.
    ///
    /// ## Why it matters
    /// The store answers 403 `SignatureDoesNotMatch` and does not say what differs. The client, a proxy and the store each
    /// compute the signature from what they see; one changed byte is enough.
    ///
    /// ## Example
    /// A client is set to bucket names in host names and signs the path `/key`; the request goes to a store without a domain
    /// as `/bucket/key`. The signature covers another path.
    ///
    /// ## What to do
    /// Make client, proxy and store agree on the named component. For `header host`: let the proxy keep the client's `Host`.
    /// For `path`: set path style in the client, or the domain in the store; do not let the proxy rewrite or merge slashes.
    /// For `secret`: compare the secret of the client with that of the store.
    "signature-mismatch" Error since "0.2.0"
}

/// Rows of one hop, access key and component; further ones are counted with the last.
const ROWS_MAX: usize = 64;
/// Requests that nothing known explains and that are kept for the end of the run.
const UNEXPLAINED_MAX: usize = 64;
/// Of these, how many are searched byte by byte: each takes up to a second.
const SEARCHES_MAX: usize = 8;

#[derive(Default)]
pub(super) struct State {
    hints: Hints,
    rows: Vec<Row>,
    unexplained: Vec<Unexplained>,
    /// Access keys of which a signature verified.
    verified: Vec<String>,
}

struct Row {
    hop: HopId,
    access_key: String,
    mismatch: Mismatch,
    sights: Sights,
    accepted: u64,
}

struct Unexplained {
    id: ExchangeId,
    hop: HopId,
    access_key: String,
    mismatch: Mismatch,
    sight: Sight,
    accepted: bool,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let Some(check) = context.signature else { return };
        match check {
            Check::NotChecked(_) => return,
            Check::Verified => {
                self.hints.learn(call);
                return self.note_verified(call);
            }
            Check::Differs | Check::BodyDiffers(_) => {}
        }
        let Some(mismatch) = Mismatch::explain(call, context.view.credentials, &self.hints) else { return };
        let access_key = access_key_of(call);
        let sight = Sight::of_both(call.exchange);
        let accepted = call.is_success();
        if mismatch.component == Component::Unknown && self.unexplained.len() < UNEXPLAINED_MAX {
            let id = call.exchange.id;
            self.unexplained.push(Unexplained { id, hop: context.hop, access_key, mismatch, sight, accepted });
            return;
        }
        if self.add(context.hop, access_key, mismatch, sight, accepted)
            && let Some(row) = self.rows.last()
        {
            findings.raise(render(row, &context.view));
        }
    }

    /// What verifies before the proxy and not behind it is explained by what the proxy changed.
    fn handle_join(&mut self, joined: &Joined<'_>, _findings: &mut Findings) {
        let id = joined.upstream.exchange.id;
        let Some(at) = self.unexplained.iter().position(|one| one.id == id) else { return };
        if let Some(mismatch) = Mismatch::between(joined.downstream, joined.upstream) {
            let one = self.unexplained.swap_remove(at);
            self.add(one.hop, one.access_key, mismatch, one.sight, one.accepted);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (at, mut one) in std::mem::take(&mut self.unexplained).into_iter().enumerate() {
            let credential = view.credentials.iter().find(|credential| credential.access_key == one.access_key);
            let found = credential.filter(|_| at < SEARCHES_MAX).and_then(|credential| one.mismatch.search(credential));
            one.mismatch = found.unwrap_or(one.mismatch);
            if one.mismatch.component == Component::Unknown && !self.verified.contains(&one.access_key) {
                one.mismatch.component = Component::Secret;
                one.mismatch.why =
                    "no request of this access key verifies, and no other single component explains it".to_owned();
            }
            self.add(one.hop, one.access_key, one.mismatch, one.sight, one.accepted);
        }
        for row in &self.rows {
            findings.report(render(row, view));
        }
    }
}

impl State {
    fn note_verified(&mut self, call: &Call<'_>) {
        let auth = call.auth();
        let Some(access_key) = auth.access_key.as_deref() else { return };
        if self.verified.len() < ROWS_MAX && !self.verified.iter().any(|one| one == access_key) {
            self.verified.push(access_key.to_owned());
        }
    }

    /// Counts a mismatch; whether its row is new.
    fn add(&mut self, hop: HopId, access_key: String, mismatch: Mismatch, sight: Sight, accepted: bool) -> bool {
        let is_same = |row: &Row| {
            row.hop == hop && row.access_key == access_key && row.mismatch.component == mismatch.component
        };
        let known = self.rows.iter().position(is_same);
        let is_new = known.is_none() && self.rows.len() < ROWS_MAX;
        if is_new {
            self.rows.push(Row { hop, access_key, mismatch, sights: Sights::default(), accepted: 0 });
        }
        let at = known.unwrap_or(self.rows.len().saturating_sub(1));
        if let Some(row) = self.rows.get_mut(at) {
            row.sights.add(sight);
            row.accepted += u64::from(accepted);
        }
        is_new
    }
}

fn access_key_of(call: &Call<'_>) -> String {
    call.auth().access_key.as_deref().unwrap_or_default().to_owned()
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let component = row.mismatch.component.label();
    let count = row.sights.count;
    let accepted = match row.accepted {
        0 => String::new(),
        all if all == count => " The store accepted all the same: it may hold another secret for this access key.".to_owned(),
        some => format!(" The store accepted {some} of them."),
    };
    let message = format!(
        "{} on {} {} not verify with the secret of {}: {} ({}).{accepted}",
        counted(count, "signature", "signatures"),
        view.hop_name(row.hop),
        if count == 1 { "does" } else { "do" },
        quote_text(&row.access_key),
        quote_text(&component),
        quote_text(&row.mismatch.why),
    );
    let confidence = match row.mismatch.component {
        Component::Secret => Confidence::Likely,
        Component::Unknown => Confidence::Strong,
        _ => Confidence::Certain,
    };
    let mut finding = Finding::new(&RULE, confidence, Some(row.hop), count, message)
        .about("component", quote_text(&component))
        .about("access_key", quote_text(&row.access_key))
        .shown_by(row.sights.evidence())
        .fixed_by(Fix::untested(fix(&row.mismatch.component), ""));
    finding.chain = row
        .mismatch
        .side_by_side()
        .into_iter()
        .map(|(name, sent, signed)| {
            let (name, sent, signed) = (quote_text(&name), quote_text(&sent), quote_text(&signed));
            let step = match sent == signed {
                true => format!("canonical request, {name}: {sent}"),
                false => format!("canonical request, {name}: on the wire {sent}, signed {signed}"),
            };
            Step { step, evidence: Vec::new() }
        })
        .collect();
    finding
}

fn fix(component: &Component) -> &'static str {
    match component {
        Component::Header(name) if name == "host" => "let every proxy pass on the Host header that the client sent",
        Component::Header(_) | Component::SignedHeaders => "let every proxy pass on the signed headers as the client sent them",
        Component::Path => {
            "use one address style in client and store (path style, or a domain in the store), and let no proxy rewrite the path"
        }
        Component::Query | Component::Method => "let no proxy change the request line",
        Component::PayloadHash | Component::Body | Component::Chunk => {
            "find what changes the body or its x-amz-content-sha256 between client and store"
        }
        Component::Date | Component::ScopeDate => "sign and send with one clock, and let no proxy change x-amz-date",
        Component::Region | Component::Service => "set the region in the client that the store expects",
        Component::AccessKey | Component::Secret => "compare access key and secret of the client with those of the store",
        Component::Signature => "find what changes the Authorization header or the URL between client and store",
        Component::Unknown => "compare the canonical request shown here with the one in the debug log of the client",
    }
}
