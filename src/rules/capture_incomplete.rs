//! What the capture lacks, and what that weakens.

use crate::rules::quote::{bytes_text, counted, list};
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Packets that were dropped while capturing or cut short, stream octets that are missing, connections that began before
    /// the capture, exchanges that were seen in part. It is about all flows, in clear or TLS.
    ///
    /// ## Why it matters
    /// What was not seen may have happened all the same. Findings that rest on an absence (`copy-refused-by-client`,
    /// `write-refused-by-client`, `unfinished-multipart-upload`) lose confidence, and counts are lower bounds.
    ///
    /// ## Example
    /// A capture that was started while the proxy's pooled connections were already open.
    ///
    /// ## What to do
    /// Start the capture before the job and the proxy, with a larger buffer and without a snap length.
    "capture-incomplete" Note since "0.1.0"
}

#[derive(Default)]
pub(super) struct State;

impl Watch for State {
    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        let total = view.completeness;
        let gaps = view.gaps.total();
        let parts = [
            (total.packets_dropped, counted(total.packets_dropped, "packet dropped while capturing", "packets dropped while capturing")),
            (total.packets_truncated, counted(total.packets_truncated, "packet cut by the snap length", "packets cut by the snap length")),
            (total.stream_bytes_missing, format!("{} of streams missing", bytes_text(total.stream_bytes_missing))),
            (
                total.flows_without_start,
                counted(total.flows_without_start, "connection without its start", "connections without their start"),
            ),
            (gaps.one_sided, counted(gaps.one_sided, "connection seen in one direction only", "connections seen in one direction only")),
            (total.exchanges_incomplete, counted(total.exchanges_incomplete, "exchange seen in part", "exchanges seen in part")),
        ];
        let words: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(_, text)| text.clone()).collect();
        if words.is_empty() {
            return;
        }
        let count = parts.iter().filter(|(count, _)| *count > 0).count() as u64;
        let message = format!(
            "The view is incomplete: {}. Findings that rest on an absence are weaker for it, and counts are lower bounds.",
            list(&words)
        );
        let frame = gaps.first.or(view.gaps.first_frame()).filter(|frame| frame.number() > 0);
        let evidence = Evidence { frames: frame.into_iter().collect(), ..Evidence::default() };
        findings.report(
            Finding::new(&RULE, Confidence::Certain, None, count, message)
                .about("weakens", "copy-refused-by-client, write-refused-by-client, request-refused-by-client, unfinished-multipart-upload")
                .shown_by(vec![evidence])
                .fixed_by(Fix::untested("start the capture before the job and the proxy, with a larger buffer and no snap length", "")),
        );
    }
}
