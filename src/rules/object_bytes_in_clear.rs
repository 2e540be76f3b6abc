//! Object data that anybody on the path could read.

use crate::hops::ClientId;
use crate::rules::aggregate::PerClient;
use crate::rules::quote::{bytes_text, counted, list, quote};
use crate::rules::sight::Sight;
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Object data read or written in clear, in octets per bucket. Markers without content and failed reads do not count.
    ///
    /// ## Why it matters
    /// Encryption by the store protects objects at rest. On a hop in clear they pass as they are.
    ///
    /// ## Example
    /// A job reads Parquet files through the plain HTTP front of a proxy whose own connection to the store is TLS.
    ///
    /// ## What to do
    /// Use TLS on the hop, or encrypt in the client.
    "object-bytes-in-clear" Note Exposure since "0.1.0"
}

/// How many buckets are told apart per client; further ones are counted together.
const BUCKETS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct State {
    clients: PerClient<Buckets>,
}

#[derive(Default)]
struct Buckets {
    rows: Vec<Bucket>,
    rest: Bucket,
    /// The row used last: calls of one client mostly stay in one bucket.
    last: usize,
}

#[derive(Default)]
struct Bucket {
    name: Vec<u8>,
    read: u64,
    written: u64,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        if !context.is_clear {
            return;
        }
        let Some(bytes @ 1..) = call.object_bytes() else {
            return;
        };
        let is_read = call.is_read();
        let sight = if is_read { Sight::of_response(call.exchange) } else { Sight::of_request(call.exchange) };
        let Some((row, is_first)) = self.clients.add(context.client, sight) else {
            return;
        };
        let bucket = row.value.bucket(call.address.bucket.as_deref().unwrap_or_default());
        let side = if is_read { &mut bucket.read } else { &mut bucket.written };
        *side = side.saturating_add(bytes);
        if is_first && let Some(finding) = self.render(context.client, &context.view) {
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for (client, _) in self.clients.iter() {
            if let Some(finding) = self.render(client, view) {
                findings.report(finding);
            }
        }
    }
}

impl Buckets {
    fn bucket(&mut self, name: &[u8]) -> &mut Bucket {
        let is_last = self.rows.get(self.last).is_some_and(|row| row.name == name);
        if !is_last {
            match self.rows.iter().position(|row| row.name == name) {
                Some(index) => self.last = index,
                None if self.rows.len() < BUCKETS_MAX => {
                    self.last = self.rows.len();
                    self.rows.push(Bucket { name: name.to_vec(), ..Bucket::default() });
                }
                None => return &mut self.rest,
            }
        }
        match self.rows.get_mut(self.last) {
            Some(row) => row,
            None => &mut self.rest,
        }
    }
}

impl State {
    fn render(&self, client: ClientId, view: &View<'_>) -> Option<Finding> {
        let row = self.clients.find(client).filter(|row| row.sights.count > 0)?;
        let hop = view.clients.client(client)?.hop;
        let buckets = &row.value;
        let all = || buckets.rows.iter().chain([&buckets.rest]);
        let read = all().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.read));
        let written = all().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.written));
        let sides: Vec<String> = [(read, "read"), (written, "written")]
            .into_iter()
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes, side)| format!("{} {side}", bytes_text(bytes)))
            .collect();
        let message = format!(
            "{} in plaintext on {} carried object data: {}.",
            counted(row.sights.count, "call", "calls"),
            view.hop_name(hop),
            list(&sides)
        );
        let mut words: Vec<String> = buckets
            .rows
            .iter()
            .take(8)
            .map(|bucket| {
                format!("{} (read {}, written {})", quote(&bucket.name), bytes_text(bucket.read), bytes_text(bucket.written))
            })
            .collect();
        if buckets.rows.len() > words.len() || buckets.rest.read + buckets.rest.written > 0 {
            words.push("others".to_owned());
        }
        let finding = Finding::new(&RULE, Confidence::Certain, Some(hop), row.sights.count, message)
            .about("client", view.client_text(client))
            .about("buckets", list(&words))
            .about("bytes_read", read.to_string())
            .about("bytes_written", written.to_string())
            .shown_by(row.sights.evidence())
            .fixed_by(Fix::tls_on_the_front());
        Some(finding)
    }
}
