//! How peers end exchanges, and what is reported of it: never that the capture lacks something where it does not.

use crate::analysis::transcript::{Told, run};
use crate::rules::Finding;

const HEAD: &str = "= 10.0.0.5 10.0.0.4:8091\n* User-Agent: aws-sdk-java/1.12.262\n* x-amz-date: 20261127T200000Z\n";
const OTHER: &str = "= 10.0.0.5 10.0.0.4:8091\n";

fn only<'t>(told: &'t Told, rule: &str) -> &'t Finding {
    let found: Vec<_> = told.summary.findings.iter().filter(|finding| finding.rule.name == rule).collect();
    let [finding] = found.as_slice() else { panic!("{} findings of {rule}: {:?}", found.len(), told.fired()) };
    finding
}

fn errors(told: &Told, operation: &str) -> (u64, u64) {
    let row = told.summary.operations.iter().find(|row| row.operation == operation).unwrap();
    (row.count, row.errors)
}

#[test]
fn a_request_that_crosses_an_idle_close_is_named_with_its_retry() {
    let told =
        run(&format!("{HEAD}> GET /b/k\n< -\nx server closed -0.001\n{OTHER}@ 0.2\n> GET /b/k\n< 200\n> GET /b/other\n< 200\n"));
    let finding = only(&told, "no-response");
    for words in [
        "1 request on",
        "the server closed the idle connection after 30.0 s",
        "crossed the close",
        "1 was retried by the client, 1 successfully",
    ] {
        assert!(finding.message.contains(words), "{}", finding.message);
    }
    assert_eq!(errors(&told, "GetObject"), (3, 1));
    assert!(!told.fired().contains(&"capture-incomplete"));
    assert_eq!(told.summary.completeness.exchanges_incomplete, 0);
}

#[test]
fn a_retry_that_ended_before_the_first_attempt_is_found() {
    let late = format!("{HEAD}> GET /b/k\n< -\nx client closed 5\n! end\n");
    let retry = format!("{OTHER}> GET /b/k\n< 200\n");
    // The first attempt is told after the second one, as where the server ends the connection late.
    let told = run(&format!("{HEAD}@ 5.1\n{}@ -5.1\n{}", retry.replace(OTHER, ""), late.replace(HEAD, OTHER)));
    assert!(only(&told, "no-response").message.contains("1 was retried by the client, 1 successfully"));
}

#[test]
fn a_client_that_gave_up_is_named_with_the_time_it_waited() {
    let told = run(&format!("{HEAD}> PUT /b/k\n< -\nx client reset 5.0\n"));
    let finding = only(&told, "no-response");
    assert!(
        finding.message.contains("the client gave up and reset the connection 5.0 s after the request"),
        "{}",
        finding.message
    );
    assert!(finding.message.contains("No retry followed"), "{}", finding.message);
}

#[test]
fn a_response_after_the_client_closed_is_no_success() {
    let text = format!("{HEAD}> GET /b/k\n@ 12\n< 200\nx client closed 5.0\n");
    let told = run(&format!("{text}! unacknowledged\n"));
    let finding = only(&told, "no-response");
    assert!(finding.message.contains("sent status 200 after 12.0 s, and nobody received it"), "{}", finding.message);
    assert_eq!(errors(&told, "GetObject"), (1, 1));
    // A client that only ended its own direction acknowledges the response.
    let told = run(&format!("{text}! acknowledged\n"));
    assert!(!told.fired().contains(&"no-response"));
    assert_eq!(errors(&told, "GetObject"), (1, 0));
}

#[test]
fn a_response_that_was_cut_is_reported_with_both_lengths() {
    let told = run(&format!("{HEAD}> GET /b/k\n< 200\nx server reset 3.0 | 1000 of 5000\n"));
    let finding = only(&told, "response-cut-short");
    assert!(
        finding.message.contains("1000 of 5000 bytes received. The server reset the connection 3.0 s after"),
        "{}",
        finding.message
    );
    assert_eq!(errors(&told, "GetObject"), (1, 1));
    assert!(!told.fired().contains(&"capture-incomplete"));
}

#[test]
fn the_hop_that_was_interrupted_first_is_named_and_the_call_counted_once() {
    let signed = "* Authorization: AWS4-HMAC-SHA256 Credential=lab/20261127/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=ab12\n";
    let told = run(&format!(
        "{HEAD}{signed}> GET /b/k\n< -\nx server closed 3.1\n= 10.0.0.4 10.0.0.2:9000\n> GET /b/k\n< -\nx server reset 3.0\n"
    ));
    let finding = only(&told, "no-response");
    assert_eq!(finding.count, 1);
    assert!(finding.message.contains("In 1 of them the server ended the connection on"), "{}", finding.message);
}

#[test]
fn what_the_capture_lacks_is_no_fault_of_a_peer() {
    for lack in ["! missing 512", "! missing-answers 512", "! one-sided"] {
        let told = run(&format!("{HEAD}> GET /b/k\n< -\nx server closed 0.1\n{lack}\n"));
        assert!(!told.fired().contains(&"no-response"), "{lack}");
        assert!(told.fired().contains(&"capture-incomplete"), "{lack}");
        assert_eq!(errors(&told, "GetObject"), (1, 0), "{lack}");
    }
}
