//! Findings: S3 calls and closed flows in, findings out. One file per rule; a rule keeps bounded state, cannot fail and prints
//! nothing. Time is capture time.

mod aggregate;
mod cause;
mod climb;
mod commits;
mod completeness;
mod disclosed;
mod finding;
mod fold;
mod gaps;
mod interrupted;
mod interruptions;
mod judge;
mod quote;
mod refused;
mod rule;
mod same_call;
mod shown_value;
mod sight;
mod unjudged;
mod unseen;
mod verdict;
mod watch;

pub use completeness::Completeness;
pub use finding::{Confidence, Evidence, Failed, Finding, Fix, Outcome, Severity, Step, Unjudged, Verdict};
pub use gaps::{FlowGaps, Gaps};
pub use interrupted::{BodyCut, Extent, Interrupted, MissingPart};
pub use judge::{Judge, Judgement, Selection};
pub use rule::{Role, Rule};
pub use unseen::{Account, Effect, Unseen};
pub use watch::{
    Context, Disclosure, Findings, Joined, ProxiedFlows, Regular, ShutFlows, TlsFailures, UndecodedFlows, View, Watch,
};

use rule::{rule, rules};

/// All rules, in the order of the list.
pub fn all() -> &'static [&'static Rule] {
    ALL
}

/// The rule of that name.
pub fn find(name: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.name == name)
}

// The order is that of reports among findings that are otherwise equal: what stopped the job, what leaked, what was exposed,
// what went wrong, and how far the view reached.
rules! {
    copy_refused_by_client
    write_refused_by_client
    request_refused_by_client
    calls_failed
    sse_refused_by_store
    sse_c_key_in_clear
    session_token_in_clear
    credential_in_clear
    encryption_context_in_clear
    kms_key_id_in_clear
    sse_header_in_clear
    presigned_url_in_clear
    signature_in_clear
    object_bytes_in_clear
    clear_before_tls
    undecoded_in_clear
    wrong_scheme
    proxy_protocol
    tls_handshake_failed
    no_response
    response_cut_short
    signature_mismatch
    header_changed_between_hops
    request_changed_between_hops
    response_changed_between_hops
    unfinished_multipart_upload
    retry_storm
    error_response
    etag_not_md5
    sse_ignored_by_store
    redirected
    stored_aws_chunked
    checksum_mismatch
    clock_skew
    expect_without_continue
    body_after_head
    request_smuggling_suspect
    capture_incomplete
    tls_not_decrypted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_a_page_with_four_headings() {
        for (index, rule) in all().iter().enumerate() {
            assert!(all().iter().skip(index + 1).all(|other| other.name != rule.name), "{} twice", rule.name);
            assert!(
                rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{}",
                rule.name
            );
            let text = rule.text();
            let headings: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
            assert_eq!(headings, ["## What it reports", "## Why it matters", "## Example", "## What to do"], "{}", rule.name);
            assert!(std::ptr::eq(find(rule.name).unwrap(), *rule));
        }
        assert!(find("no-such-rule").is_none());
    }
}
