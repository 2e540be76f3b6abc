//! A fix is offered where it works, and only there. Transcripts in, the fixes of findings checked.

use crate::analysis::Options;
use crate::analysis::transcript::{Told, run, run_with};
use crate::rules::{Confidence, Outcome, Severity};
use crate::s3::client_log::ClientLog;

const V1: &str = "* User-Agent: Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.18";
const KMS: &str = "X-Amz-Server-Side-Encryption: aws:kms | X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id: arn:aws:kms:key-1";
const REFUSED: &str = "copy-refused-by-client";

/// A job whose COPY does not follow: `key` is written with `asked` headers, then HEADed with growing waits, all responses with `server`.
fn job(server: &str, key: &str, asked: &str) -> Told {
    let heads: String = [0.05, 0.7, 1.1, 2.5, 6.0, 16.0, 37.0]
        .iter()
        .map(|gap| format!("@ {gap}\n> HEAD /b/{key}\n< 200 | {server} | {KMS}\n"))
        .collect();
    run(&format!(
        "= 172.18.0.5 172.18.0.4:8091\n{V1}\n> PUT /b/{key}{asked} | .x\n< 200 | {server} | {KMS}\n{heads}@ 90\n> HEAD /b/t\n< 404 | {server}\n= 172.18.0.4 172.18.0.2:9000\n! shut store\n"
    ))
}

fn fixes(told: &Told, rule: &str) -> Vec<(String, bool)> {
    told.finding(rule).unwrap().fixes.iter().map(|fix| (fix.action.clone(), fix.tested)).collect()
}

fn has(fixes: &[(String, bool)], text: &str) -> bool {
    fixes.iter().any(|(action, _)| action.contains(text))
}

const PART: &str = "t/_temporary/0/_temporary/attempt_1/part-0";
const CHECKPOINT: &str = "ckpt/.metadata.1ae94a69-9aa3-4d36-8ba7-3f0ad8d32cf4.tmp";
const SIDEKICK: &str = "Server: SideKick | Server: MinIO | X-Proxy: true";

#[test]
fn the_lab_s_own_situation_gets_the_fixes_that_were_tested_in_it() {
    let fixes = fixes(&job(SIDEKICK, PART, ""), REFUSED);
    for text in ["--cert and --key", "mc encrypt set sse-s3", "algorithm=AES256", "Hadoop 3.4", "MINIO_KMS_AUTO_ENCRYPTION=off"] {
        assert!(fixes.iter().any(|(action, tested)| action.contains(text) && *tested), "{text}: {fixes:?}");
    }
    assert!(fixes.iter().any(|(action, tested)| action.contains("magic") && !tested));
}

#[test]
fn a_proxy_that_is_not_sidekick_gets_no_sidekick_flags_and_another_store_no_minio_commands() {
    let fixes = fixes(&job("Server: nginx/1.22 | x-amz-request-id: 1", PART, ""), REFUSED);
    assert!(has(&fixes, "ssl_certificate") && !has(&fixes, "--cert"), "{fixes:?}");
    assert!(!has(&fixes, "mc ") && !has(&fixes, "MINIO"), "{fixes:?}");
    assert!(fixes.iter().all(|(_, tested)| !tested), "nothing was tested with that proxy and store: {fixes:?}");
}

#[test]
fn a_bucket_default_is_no_fix_where_the_writer_names_the_encryption_itself() {
    let asked = format!(" | {}", KMS.to_lowercase());
    let told = job(SIDEKICK, PART, &asked);
    let own = fixes(&told, REFUSED);
    assert!(!has(&own, "mc encrypt") && !has(&own, "AUTO_ENCRYPTION") && !has(&own, "fs.s3a.server-side"), "{own:?}");
    assert!(has(&own, "program that uploads"), "{own:?}");
    for finding in told.summary.findings.iter().filter(|finding| finding.rule.name == "kms-key-id-in-clear") {
        assert!(finding.fixes.iter().all(|fix| !fix.action.contains("bucket rule")), "{:?}", finding.fixes);
    }
}

#[test]
fn the_magic_committer_is_no_fix_for_a_streaming_checkpoint() {
    assert!(!has(&fixes(&job(SIDEKICK, CHECKPOINT, ""), REFUSED), "magic"));
}

#[test]
fn a_reader_of_encrypted_objects_is_not_told_to_change_the_bucket() {
    let told = run(&format!("= 172.18.0.5 172.18.0.4:8091\n{V1}\n> GET /b/k\n< 200 | {SIDEKICK} | {KMS} | .x\n"));
    assert!(!has(&fixes(&told, "kms-key-id-in-clear"), "bucket"));
}

#[test]
fn a_job_that_asked_for_sse_s3_is_not_warned_for_it_and_is_said_to_have_committed() {
    let sse = "x-amz-server-side-encryption: AES256";
    let told = run(&format!(
        "= 172.18.0.5 172.18.0.4:8091\n{V1}\n> PUT /b/t/part-0 | {sse} | .x\n< 200 | Server: MinIO | {sse}\n> PUT /b/t/_SUCCESS | {sse}\n< 200 | Server: MinIO | {sse}\n"
    ));
    assert_eq!(told.finding("sse-header-in-clear").unwrap().severity, Severity::Note);
    assert!(told.summary.findings.iter().all(|finding| finding.severity == Severity::Note));
    assert_eq!(told.summary.verdict.committed, ["b/t"]);
    let kms = told_with_kms();
    assert_eq!(kms.finding("sse-header-in-clear").unwrap().severity, Severity::Warning);
}

fn told_with_kms() -> Told {
    run(&format!("= 172.18.0.5 172.18.0.4:8091\n{V1}\n> PUT /b/k | x-amz-server-side-encryption: aws:kms | .x\n< 200\n"))
}

fn with_log(text: &str, log: &str) -> Told {
    let log = ClientLog::read(log.as_bytes()).unwrap();
    run_with(text, Options { client_logs: vec![("client.log".to_owned(), log)], ..Options::default() })
}

#[test]
fn a_refusal_of_any_sdk_in_the_log_is_reported_with_its_own_fix() {
    let other = "= 172.18.0.5 172.18.0.4:8091\n* User-Agent: curl/8\n> GET /b/k | x-amz-date: 1\n< 200\n";
    for (line, client, fix) in [
        (
            "operation error S3: PutObject, compute input header checksum failed, unseekable stream is not supported without TLS and trailing checksum",
            "AWS SDK for Go 2",
            "manager.Uploader",
        ),
        (
            "OSError: Generic S3 error: Error performing GET http://s:9000/b in 1.2ms - HTTP error: builder error: URL scheme is not allowed",
            "object_store",
            "allow_http",
        ),
        (
            "AmazonClientException: When DisablePayloadSigning is true, the request must be sent over HTTPS.",
            "AWS SDK for .NET",
            "DisablePayloadSigning",
        ),
        ("ERROR: [029]: expected protocol 'https' in URL 'http://store:9000'", "pgBackRest", "2.58.0"),
        (
            "RuntimeException: You must configure your S3 client to use HTTPS in order to use the SSE-C features.",
            "AWS SDK for PHP",
            "TLS",
        ),
        (
            "ValueError: Unsupported host '10.1.1.1'.  Can only retrieve metadata from a loopback address",
            "botocore",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
    ] {
        let told = with_log(other, line);
        assert_eq!(told.outcome(), Outcome::RefusedBeforeTheWire, "{line}");
        let finding = told.finding("request-refused-by-client").unwrap();
        assert!(finding.message.contains(client), "{}", finding.message);
        let own: Vec<_> = finding.fixes.iter().map(|fix| (fix.action.clone(), fix.tested)).collect();
        assert!(has(&own, fix) && !has(&own, "Hadoop"), "{own:?}");
    }
}

#[test]
fn a_text_with_other_causes_is_likely_at_most_and_dropped_where_that_sdk_uploads() {
    let line = "failed to compute payload hash: failed to seek body to start, request stream is not seekable";
    let agent = "* User-Agent: aws-sdk-go-v2/1.30.0 os/linux lang/go#1.22";
    let reads = format!("= 172.18.0.5 172.18.0.4:8091\n{agent}\n> GET /b/k\n< 200\n");
    let finding = with_log(&reads, line).finding("request-refused-by-client").map(|finding| finding.confidence);
    assert_eq!(finding, Some(Confidence::Likely));
    let writes = format!("{reads}> PUT /b/k | .x\n< 200\n");
    assert!(with_log(&writes, line).finding("request-refused-by-client").is_none());
    let sent = "DEBUG Payload signing was disabled for an HTTP request with a payload. Signing will be enabled. Use HTTPS for unsigned payloads.";
    assert!(with_log(&reads, sent).finding("request-refused-by-client").is_none(), "nothing was refused");
}
