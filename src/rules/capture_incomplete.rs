//! What the capture lacks, and what that weakens.

use crate::rules::quote::{bytes_text, list};
use crate::rules::{Confidence, Evidence, Finding, Findings, Fix, Unseen, View, Watch, rule};

rule! {
    /// ## What it reports
    /// Packets that were dropped while capturing, cut short or not decodable, bytes of the file that could not be read, stream
    /// bytes that are missing, connections that began before the capture, exchanges that were seen in part. It is about all
    /// connections, in plaintext or TLS.
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
        let gaps = view.gaps.total();
        let unseen = &view.completeness.unseen;
        let words = unseen.texts_of(is_missing, |count| count.to_string(), bytes_text);
        if words.is_empty() {
            return;
        }
        let count = words.len() as u64;
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

/// Whether it is the capture that lacks something. What was captured and not decoded is reported elsewhere.
const fn is_missing(kind: Unseen) -> bool {
    matches!(
        kind,
        Unseen::PacketsDropped
            | Unseen::PacketsTruncated
            | Unseen::LinkType
            | Unseen::Malformed
            | Unseen::Fragment
            | Unseen::Encapsulation
            | Unseen::FileBytes
            | Unseen::StreamBytes
            | Unseen::Evicted
            | Unseen::WithoutStart
            | Unseen::OneSided
            | Unseen::ExchangesIncomplete
    )
}
