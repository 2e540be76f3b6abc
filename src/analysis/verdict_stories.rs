//! What leads a report: what failed and why, the leak, and why nothing was judged. Transcripts in, verdicts checked.

use crate::analysis::transcript::{Told, run};
use crate::rules::{Confidence, Outcome};

const SIGNED: &str = "* Authorization: AWS4-HMAC-SHA256 Credential=lab/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab12";
const STORE: &str = "Server: MinIO | X-Amz-Request-Id: 18EAAF997433FBBA";
const BAD_SIGNATURE: &str =
    ".<Error><Code>SignatureDoesNotMatch</Code><Message>The signature we calculated does not match</Message></Error>";
const CALLS_FAILED: &str = "calls-failed";

/// A client of `ip` with `agent`, on a connection of its own to one store.
fn client(ip: &str, agent: &str) -> String {
    format!("= {ip} 172.18.0.9:9000\n* User-Agent: {agent}\n{SIGNED}\n* Host: store:9000\n")
}

fn puts(count: usize, answer: &str) -> String {
    (0..count).map(|number| format!("> PUT /b/k{number} | .x\n< {answer}\n")).collect()
}

fn failure(told: &Told) -> &str {
    told.summary.verdict.failure.as_ref().map_or("", |failure| &failure.message)
}

#[test]
fn a_client_whose_calls_all_failed_leads_with_code_sentence_and_cause() {
    let refused = puts(3, &format!("403 | {STORE} | {BAD_SIGNATURE}"));
    let head = format!("> HEAD /b/k9\n< 403 | {STORE}\n");
    let told = run(&[
        client("172.18.0.5", "s5cmd/2.3.0"),
        refused,
        head,
        client("172.18.0.6", "rclone/1.76"),
        puts(5, &format!("200 | {STORE}")),
    ]
    .concat());
    told.check(Outcome::Exposed, &[CALLS_FAILED, "error-response"], &["retry-storm"]);
    let finding = told.finding(CALLS_FAILED).unwrap();
    assert_eq!((finding.count, finding.confidence), (4, Confidence::Certain));
    let message = failure(&told);
    for part in
        ["All 4 calls of 172.18.0.5 (s5cmd 2.3.0)", "403 SignatureDoesNotMatch", "The signature we calculated", "1 other client"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(message.contains("no proxy is seen"), "{message}");
    assert!(!finding.fixes.is_empty());
}

#[test]
fn a_response_of_a_proxy_is_not_said_to_be_the_stores() {
    let told =
        run(&[client("172.18.0.5", "Boto3/1.44.5"), puts(3, "413 | Server: nginx/1.22.1 | .<html>too large</html>")].concat());
    let message = failure(&told);
    assert!(message.contains("from nginx, not from the store") && message.contains("did not reach the store"), "{message}");
}

#[test]
fn what_recovers_or_is_usual_is_no_failure() {
    let agent = "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.18";
    let busy = format!("> PUT /b/k0 | .x\n< 503 | {STORE} | .<Error><Code>SlowDown</Code></Error>\n");
    let recovered = [client("172.18.0.5", agent), busy.repeat(4), puts(1, &format!("200 | {STORE}"))].concat();
    let looks = (0..9).map(|number| format!("> HEAD /b/x{number}\n< 404 | {STORE}\n")).collect::<String>();
    let probes = [client("172.18.0.5", agent), looks].concat();
    let condition =
        [client("172.18.0.5", agent), "> GET /b/k | If-None-Match: x\n< 304\n> PUT /b/k | .x\n< 412\n".repeat(3)].concat();
    for (what, text) in [("throttled calls that worked later", recovered), ("probes", probes), ("conditions", condition)] {
        let told = run(&text);
        assert_eq!(told.summary.verdict.failure, None, "{what}");
        assert!(!told.fired().contains(&CALLS_FAILED), "{what}");
    }
}

#[test]
fn most_calls_without_a_response_are_a_failure_and_half_of_them_are_none() {
    let told = run(&[client("172.18.0.5", "Boto3/1.44.5"), puts(3, "-"), "> GET /b/k\n< 200\n".to_owned()].concat());
    assert!(failure(&told).contains("no response. The server closed"), "{}", failure(&told));
    let told = run(
        &[client("172.18.0.5", "Boto3/1.44.5"), puts(2, &format!("403 | {STORE}")), "> GET /b/k\n< 200\n".repeat(2)].concat()
    );
    assert_eq!(told.summary.verdict.failure, None);
}

#[test]
fn a_redirect_with_an_error_of_s3_is_an_error_and_another_redirect_is_none() {
    let moved = ".<Error><Code>PermanentRedirect</Code><Message>Use the other endpoint</Message></Error>";
    let told = run(&[client("172.18.0.5", "Boto3/1.44.5"), puts(2, &format!("301 | {STORE} | {moved}"))].concat());
    assert!(failure(&told).contains("301 PermanentRedirect"), "{}", failure(&told));
    assert_eq!(told.summary.operations[0].errors, 2);
    assert!(told.finding("error-response").unwrap().message.contains("301 PermanentRedirect"));
    let told = run(&[client("172.18.0.5", "Boto3/1.44.5"), puts(2, "307 | Location: http://172.18.0.8:9000/b/k")].concat());
    assert_eq!((told.summary.operations[0].errors, &told.summary.verdict.failure), (0, &None));
}

#[test]
fn a_leak_is_not_hidden_behind_the_failure_of_another_client() {
    let key = "x-amz-server-side-encryption-customer-key: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= | x-amz-server-side-encryption-customer-algorithm: AES256";
    let leaking = format!("> PUT /b/k | {key} | .x\n< 200 | {STORE}\n");
    let failing = [client("172.18.0.5", "Boto3/1.44.5"), puts(3, &format!("403 | {STORE} | {BAD_SIGNATURE}"))].concat();
    let told = run(&[failing, client("172.18.0.6", "Boto3/1.44.5"), leaking].concat());
    assert_eq!((told.outcome(), told.summary.verdict.rule), (Outcome::Leaked, Some("sse-c-key-in-clear")));
    assert_eq!(told.summary.verdict.failure.as_ref().map(|failure| failure.rule), Some(CALLS_FAILED));
}

#[test]
fn each_reason_why_nothing_was_judged_has_its_own_next_step() {
    let health =
        "= 172.18.0.4 172.18.0.2:9000\n* User-Agent: Go-http-client/1.1\n> GET /minio/health/cluster\n< 200 | Server: MinIO\n";
    let page = "= 172.18.0.5 172.18.0.4:80\n> GET /index.html\n< 200\n";
    let undecrypted = "= 172.18.0.5 172.18.0.4:8090\n! shut sidekick\n";
    let cases = [
        ("", "no packets", "capture filter"),
        (health, "no client request reached the wire", "--client-log"),
        (page, "none of 1 HTTP exchange", "--domain"),
        (undecrypted, "no-secret", "--keylog"),
        (&[health, undecrypted].concat(), "client's own hop", "--keylog"),
    ];
    for (text, cause, action) in cases {
        let told = run(text);
        let verdict = &told.summary.verdict;
        assert_eq!((verdict.outcome, verdict.confidence), (Outcome::NotJudged, None), "{text}");
        let unjudged = verdict.unjudged.as_ref().unwrap();
        assert!(unjudged.cause.contains(cause) && unjudged.action.contains(action), "{unjudged:?}");
    }
    let told = run(health);
    assert!(!told.summary.verdict.unjudged.unwrap().action.contains("key log"), "no key helps where nothing was sent");
}
