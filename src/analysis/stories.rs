//! The lab's situations as transcripts: what must be concluded from each, and what must not.

use crate::analysis::Options;
use crate::analysis::transcript::{Told, run, run_with};
use crate::hops::DeclaredHop;
use crate::rules::{Confidence, Outcome};
use crate::s3::client_log::ClientLog;

const V1: &str =
    "* User-Agent: Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.18 OpenJDK_64-Bit_Server_VM/17.0.15 cfg/retry-mode/legacy";
const V2: &str = "* User-Agent: Hadoop 3.4.1, aws-sdk-java/2.24.6 md/io#sync Linux/6.18 cfg/retry-mode/adaptive ft/s3-transfer";
const BOTO3: &str =
    "* User-Agent: Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11 cfg/retry-mode#legacy Botocore/1.44.5";
const SIGNED: &str = "* Authorization: AWS4-HMAC-SHA256 Credential=lab/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab12";
const FRONT: &str = "= 172.18.0.5 172.18.0.4:8091";
const SIDEKICK: &str = "Server: SideKick | Server: MinIO | X-Proxy: true | X-Amz-Request-Id: 18EAAF997433FBBA";
const KMS: &str =
    "X-Amz-Server-Side-Encryption: aws:kms | X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id: arn:aws:kms:minio-default-key";
const PART: &str =
    "/spark-data/t/people/_temporary/0/_temporary/attempt_2026_0002_m_000001_3/part-00001-bd449e53-c000.snappy.parquet";
const KEY: &str = "t/people/_temporary/0/_temporary/attempt_2026_0002_m_000001_3/part-00001-bd449e53-c000.snappy.parquet";

/// The second hop: TLS that stayed shut.
const BACK_SHUT: &str = "= 172.18.0.4 172.18.0.2:9000\n! shut aistor\n";

fn head(agent: &str) -> String {
    format!("{FRONT}\n{agent}\n{SIGNED}\n* Host: sidekick-http:8091\n")
}

/// `HEAD` of the part, answered with the key id, after a wait.
fn heads(gaps: &[f64]) -> String {
    gaps.iter().map(|gap| format!("@ {gap}\n> HEAD {PART}\n< 200 | {SIDEKICK} | {KMS}\n")).collect()
}

fn climb(directory: &str) -> String {
    let mut text = String::new();
    let mut key = Some(directory);
    while let Some(have) = key {
        text += &format!("> GET /spark-data/?list-type=2&delimiter=%2F&max-keys=2&prefix={have}%2F\n< 200 | {SIDEKICK}\n");
        text += &format!("> HEAD /spark-data/{have}\n< 404 | {SIDEKICK} | x-minio-error-code: NoSuchKey\n");
        key = have.rsplit_once('/').map(|(parent, _)| parent);
    }
    text
}

fn upload() -> String {
    format!(
        "> PUT {PART} | x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD | x-amz-decoded-content-length: 5303 | .x\n< 200 | {SIDEKICK} | {KMS}\n"
    )
}

fn cleanup() -> String {
    format!(
        "> POST /spark-data/?delete | .<Delete><Quiet>true</Quiet><Object><Key>{KEY}</Key></Object></Delete>\n< 200 | {SIDEKICK}\n"
    )
}

/// The failing job of the lab up to the last HEAD.
fn failing_job(agent: &str, gaps: &[f64]) -> String {
    let marker = format!("> PUT /spark-data/t/people/_temporary/0/\n< 200 | {SIDEKICK} | {KMS}\n");
    [head(agent), climb("t/people/_temporary/0"), marker, upload(), heads(gaps)].concat()
}

const GAPS: [f64; 9] = [0.05, 0.2, 0.01, 0.7, 1.1, 2.5, 6.0, 16.0, 37.0];

fn confidence(told: &Told, rule: &str) -> Option<Confidence> {
    told.finding(rule).map(|finding| finding.confidence)
}

const REFUSED: &str = "copy-refused-by-client";

#[test]
fn the_copy_that_was_refused_is_told_with_its_chain() {
    let told = run(&[&failing_job(V1, &GAPS), &cleanup(), "@ 30\n> HEAD /spark-data/t\n< 404\n", BACK_SHUT].concat());
    let must_not = [
        "write-refused-by-client",
        "sse-c-key-in-clear",
        "sse-header-in-clear",
        "session-token-in-clear",
        "presigned-url-in-clear",
    ];
    told.check(
        Outcome::RefusedBeforeTheWire,
        &[REFUSED, "kms-key-id-in-clear", "clear-before-tls", "signature-in-clear"],
        &must_not,
    );
    let finding = told.finding(REFUSED).unwrap();
    assert_eq!(finding.confidence, Confidence::Strong);
    assert_eq!(finding.count, 1);
    assert_eq!(finding.chain.len(), 5);
    assert!(finding.chain[..4].iter().all(|step| !step.evidence.is_empty()));
    assert!(finding.chain[1].step.contains("arn:aws:kms:minio-default-key"));
    assert!(finding.chain[3].step.contains("0.7, 1.1, 2.5, 6.0, 16, 37 s"), "{}", finding.chain[3].step);
    assert!(finding.message.contains("No customer key (SSE-C) is involved"));
    assert!(finding.fixes.first().unwrap().action.contains("TLS"));
    assert!(finding.fixes.iter().all(|fix| !fix.action.contains("remove")));
    let magic = finding.fixes.iter().find(|fix| fix.action.contains("magic")).unwrap();
    assert!(!magic.tested && magic.note.as_ref().unwrap().contains("did not help"));
    assert!(told.raised.contains(&REFUSED), "it is raised while it happens");
    assert!(told.finding("kms-key-id-in-clear").unwrap().message.contains("precondition of copy-refused-by-client"));
}

#[test]
fn the_account_holds_the_frames_that_show_it() {
    let told = run(&[failing_job(V1, &GAPS), cleanup()].concat());
    let finding = told.finding(REFUSED).unwrap();
    for evidence in &finding.evidence {
        assert!(!evidence.frames.is_empty() && evidence.exchange.is_some());
    }
    assert_eq!(told.summary.verdict.rule, Some(REFUSED));
}

#[test]
fn what_speaks_against_a_refusal_silences_it() {
    let after = |more: &str| [failing_job(V1, &GAPS).as_str(), more, "@ 90\n> HEAD /spark-data/t\n< 404\n"].concat();
    let copy_agent = V1.to_owned() + " com.amazonaws.services.s3.transfer.TransferManager/1.12.262\n";
    let copy_of_it = format!("{copy_agent}> PUT /spark-data/t/people/part-1 | x-amz-copy-source: /spark-data/{KEY}\n< 200\n");
    let copy_in_job = format!(
        "{copy_agent}> PUT /spark-data/t/people/part-0 | x-amz-copy-source: /spark-data/t/people/_temporary/0/task/part-0\n< 200\n"
    );
    let kms_copy =
        format!("{copy_agent}> PUT /spark-data/o/p | x-amz-copy-source: /spark-data/o/q | {}\n< 200\n", KMS.to_lowercase());
    let success = format!("> PUT /spark-data/t/people/_SUCCESS\n< 200 | {SIDEKICK}\n");
    let without_key = format!("> HEAD {PART}\n< 200 | {SIDEKICK} | X-Amz-Server-Side-Encryption: AES256\n");
    for (what, more) in [
        ("its copy", copy_of_it),
        ("a copy in the job", copy_in_job),
        ("a copy with KMS", kms_copy),
        ("_SUCCESS", success),
        ("a HEAD without key id", without_key),
    ] {
        let told = run(&after(&more));
        assert_eq!(confidence(&told, REFUSED), None, "{what}");
        assert_eq!(told.outcome(), Outcome::Exposed, "{what}");
    }
}

#[test]
fn a_copy_of_something_else_lowers_and_a_copy_by_another_client_does_not() {
    let end = "@ 90\n> HEAD /spark-data/t\n< 404\n";
    let elsewhere = "> PUT /other/b | x-amz-copy-source: /other/a\n< 200\n";
    let told = run(&[&failing_job(V1, &GAPS), elsewhere, end].concat());
    assert_eq!(confidence(&told, REFUSED), Some(Confidence::Possible));
    let by_another =
        format!("= 172.18.0.9 172.18.0.4:8091\n> PUT /spark-data/t/people/x | x-amz-copy-source: /spark-data/{KEY}2\n< 200\n");
    let told = run(&[&failing_job(V1, &GAPS), by_another.as_str(), end].concat());
    assert_eq!(confidence(&told, REFUSED), Some(Confidence::Strong));
    let by_boto3 = format!("{BOTO3}\n> PUT /spark-data/t/people/x | x-amz-copy-source: /spark-data/{KEY}\n< 200\n");
    let told = run(&[&failing_job(V1, &GAPS), by_boto3.as_str(), end].concat());
    assert_eq!(confidence(&told, REFUSED), Some(Confidence::Strong));
}

#[test]
fn missing_packets_weaken_the_claim_of_absence() {
    let end = [cleanup().as_str(), "@ 30\n> HEAD /spark-data/t\n< 404\n"].concat();
    for (loss, wanted) in [
        ("", Confidence::Strong),
        ("! dropped 3\n", Confidence::Likely),
        ("! no-start\n", Confidence::Likely),
        ("! missing-answers 99\n", Confidence::Likely),
        ("! missing 512\n", Confidence::Possible),
        ("! dropped 3\n! no-start\n", Confidence::Possible),
    ] {
        let told = run(&[&failing_job(V1, &GAPS), &end, loss].concat());
        assert_eq!(confidence(&told, REFUSED), Some(wanted), "{loss}");
        assert_eq!(told.outcome(), Outcome::RefusedBeforeTheWire);
        assert_eq!(told.fired().contains(&"capture-incomplete"), !loss.is_empty());
    }
    // Another client's losses do not matter to this one's.
    let other = "= 172.18.0.77 172.18.0.4:8091\n> HEAD /spark-data/x\n< 404\n! missing 512\n";
    let told = run(&[&failing_job(V1, &GAPS), &end, other].concat());
    assert_eq!(confidence(&told, REFUSED), Some(Confidence::Strong));
}

#[test]
fn few_retries_or_an_early_end_prove_little() {
    let pair = [0.05, 0.01];
    for (what, gaps, end, wanted) in [
        ("a pair and the end", &pair[..], String::new(), None),
        ("a pair and silence", &pair[..], "@ 120\n> HEAD /spark-data/t\n< 404\n".to_owned(), None),
        ("a pair and a clean-up", &pair[..], cleanup(), Some(Confidence::Likely)),
        ("one look and a clean-up", &pair[..1], cleanup(), None),
        ("retries and an early end", &GAPS[..6], String::new(), Some(Confidence::Possible)),
        ("retries and silence", &GAPS[..6], "@ 61\n> HEAD /spark-data/t\n< 404\n".to_owned(), Some(Confidence::Strong)),
        ("gaps that do not widen", &[0.05, 0.01, 3.0, 1.0, 1.0, 0.5][..], cleanup(), Some(Confidence::Likely)),
    ] {
        let told = run(&[&failing_job(V1, gaps), end.as_str()].concat());
        assert_eq!(confidence(&told, REFUSED), wanted, "{what}");
    }
}

#[test]
fn the_same_on_the_wire_is_no_refusal_where_the_client_would_send_or_the_hop_is_tls() {
    let end = cleanup();
    assert_eq!(confidence(&run(&[&failing_job(V2, &GAPS), end.as_str()].concat()), REFUSED), None);
    assert_eq!(confidence(&run(&[&failing_job(BOTO3, &GAPS), end.as_str()].concat()), REFUSED), None);
    let tls = failing_job(V1, &GAPS).replace("172.18.0.4:8091", "172.18.0.4:8090 tls");
    let told = run(&[tls.as_str(), end.as_str()].concat());
    let in_clear = [REFUSED, "kms-key-id-in-clear", "signature-in-clear", "object-bytes-in-clear", "clear-before-tls"];
    told.check(Outcome::Clean, &[], &in_clear);
}

#[test]
fn the_log_of_the_client_makes_it_certain() {
    let log = format!(
        "26/11/23 13:29:22 WARN RenameOperation: While completing all active copies\n\
         org.apache.hadoop.fs.s3a.AWSClientIOException: copyFile({KEY}, t/people/_temporary/0/task_1/part-1) on {KEY}: com.amazonaws.AmazonClientException: Unable to complete transfer: HTTPS must be used when sending customer encryption keys (SSE-C) to S3, in order to protect your encryption keys.\n\
         Caused by: java.lang.IllegalArgumentException: HTTPS must be used when sending customer encryption keys (SSE-C) to S3, in order to protect your encryption keys.\n\
         \tat com.amazonaws.services.s3.AmazonS3Client.assertHttps(AmazonS3Client.java:5685)\n\
         \tat com.amazonaws.services.s3.AmazonS3Client.checkHttps(AmazonS3Client.java:5677)\n"
    );
    let logs = || vec![("job.log".to_owned(), ClientLog::read(log.as_bytes()).unwrap())];
    let with_log = || Options { client_logs: logs(), ..Options::default() };
    let told = run_with(&failing_job(V1, &GAPS[..2]), with_log());
    told.check(Outcome::RefusedBeforeTheWire, &[REFUSED], &["request-refused-by-client", "write-refused-by-client"]);
    assert_eq!(confidence(&told, REFUSED), Some(Confidence::Certain));
    let step = &told.finding(REFUSED).unwrap().chain[4];
    assert!(step.step.contains("8 lines apart"), "{}", step.step);
    assert_eq!(step.evidence[0].log_line.as_ref().unwrap().0, "job.log");
    // The same log beside a capture that shows nothing of the job.
    let told = run_with(&[&head(BOTO3), "> HEAD /spark-data/t\n< 404\n"].concat(), with_log());
    told.check(Outcome::RefusedBeforeTheWire, &["request-refused-by-client"], &[REFUSED, "write-refused-by-client"]);
}

#[test]
fn a_log_proves_what_never_reached_the_wire() {
    let log = "26/11/23 13:29:22 ERROR Job failed\n\
        java.lang.IllegalArgumentException: HTTPS must be used when sending customer encryption keys (SSE-C) to S3, in order to protect your encryption keys.\n\
        \tat com.amazonaws.services.s3.AmazonS3Client.assertHttps(AmazonS3Client.java:4526)\n\
        \tat com.amazonaws.services.s3.AmazonS3Client.checkHttps(AmazonS3Client.java:4500)\n";
    let log = ClientLog::read(log.as_bytes()).unwrap();
    let told = run_with(
        "= 172.18.0.4 172.18.0.2:9000\n! shut aistor",
        Options { client_logs: vec![("job.log".to_owned(), log)], ..Options::default() },
    );
    told.check(Outcome::RefusedBeforeTheWire, &["request-refused-by-client"], &[REFUSED, "write-refused-by-client"]);
    let finding = told.finding("request-refused-by-client").unwrap();
    assert_eq!(finding.confidence, Confidence::Certain);
    assert!(finding.message.contains("customer key (SSE-C)"));
    assert!(finding.evidence[0].log_line.is_some());
}

#[test]
fn a_streaming_checkpoint_is_a_refused_copy_too() {
    let key = "/spark-data/ckpt/.metadata.1ae94a69-9aa3-4d36-8ba7-3f0ad8d32cf4.tmp";
    let text = [&failing_job(V1, &GAPS), "@ 61\n> HEAD /spark-data/t\n< 404\n"].concat().replace(PART, key);
    let told = run(&text);
    told.check(Outcome::RefusedBeforeTheWire, &[REFUSED], &["write-refused-by-client"]);
    assert!(told.finding(REFUSED).unwrap().subject.contains(&("target", "ckpt".to_owned())));
}

#[test]
fn a_job_that_only_reads_refuses_nothing() {
    let reads = format!(
        "> GET /spark-data/?list-type=2&prefix=t%2Fpeople%2F\n< 200 | {SIDEKICK}\n\
         > HEAD /spark-data/t/people/_spark_metadata\n< 404 | {SIDEKICK}\n\
         > HEAD /spark-data/t/people\n< 404 | {SIDEKICK}\n\
         > HEAD /spark-data/t/people/part-0.parquet\n< 200 | {SIDEKICK} | {KMS}\n\
         @ 2\n> GET /spark-data/t/people/part-0.parquet\n< 206 | {SIDEKICK} | {KMS} | .PAR1 and more\n"
    );
    let told = run(&[&head(V1), reads.as_str(), BACK_SHUT].concat());
    let must_not = [REFUSED, "write-refused-by-client", "sse-c-key-in-clear", "sse-header-in-clear"];
    told.check(Outcome::Exposed, &["kms-key-id-in-clear", "object-bytes-in-clear", "clear-before-tls"], &must_not);
    assert!(!told.finding("kms-key-id-in-clear").unwrap().message.contains("precondition"));
}

#[test]
fn sse_s3_in_the_client_works_and_exposes_little() {
    let sse = "X-Amz-Server-Side-Encryption: AES256";
    let copy = format!("> PUT /spark-data/t/people/part-1 | x-amz-copy-source: /spark-data/{KEY} | {sse}\n< 200 | {SIDEKICK}\n");
    let success = format!("> PUT /spark-data/t/people/_SUCCESS | {sse}\n< 200 | {SIDEKICK} | {sse}\n");
    let text = [failing_job(V1, &GAPS[..2]).as_str(), copy.as_str(), success.as_str(), BACK_SHUT].concat().replace(KMS, sse);
    let text = text.replace("| x-amz-content-sha256", &format!("| {sse} | x-amz-content-sha256"));
    let must_not = [REFUSED, "write-refused-by-client", "sse-c-key-in-clear", "kms-key-id-in-clear"];
    run(&text).check(Outcome::Exposed, &["sse-header-in-clear", "object-bytes-in-clear", "clear-before-tls"], &must_not);
}

#[test]
fn a_newer_sdk_leaks_the_customer_key() {
    // The key is 32 times the letter a; its MD5 is given with it.
    let key = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";
    let sse = format!(
        "x-amz-server-side-encryption-customer-algorithm: AES256 | x-amz-server-side-encryption-customer-key: {key} | x-amz-server-side-encryption-customer-key-MD5: 6BGB/gcV+SPQ7iBGkG7kFw=="
    );
    let text = [
        head(V2),
        format!("> HEAD /spark-data/t/people | {sse}\n< 404 | {SIDEKICK}\n"),
        format!("> PUT /spark-data/t/people/part-1 | {sse} | .hello\n< 200 | {SIDEKICK} | x-amz-server-side-encryption-customer-algorithm: AES256\n"),
        BACK_SHUT.to_owned(),
    ]
    .concat();
    let told = run(&text);
    told.check(
        Outcome::Leaked,
        &["sse-c-key-in-clear", "clear-before-tls", "sse-header-in-clear"],
        &[REFUSED, "write-refused-by-client", "kms-key-id-in-clear"],
    );
    let finding = told.finding("sse-c-key-in-clear").unwrap();
    assert_eq!((finding.count, finding.confidence), (2, Confidence::Certain));
    assert!(finding.message.contains("1 distinct") && finding.message.contains("store accepted 1"), "{}", finding.message);
    assert!(finding.message.contains("store cannot detect"));
    let shown = format!("{:?}", told.summary);
    assert!(!shown.contains(key) && !shown.contains("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "the key is in the report");
}

#[test]
fn boto3_without_encryption_shows_key_ids_presigned_urls_and_data() {
    let query = "AWSAccessKeyId=lab&Signature=abc%3D&Expires=1795444000";
    let text = [
        // The presigned request comes before the line that signs all others by header.
        format!("{FRONT}\n{BOTO3}\n> GET /py-crud/a.txt?{query}\n< 200 | {SIDEKICK} | {KMS} | .hello\n"),
        head(BOTO3),
        format!(
            "> PUT /py-crud\n< 409 | {SIDEKICK} | .<Error><Code>BucketAlreadyOwnedByYou</Code><Message>mine</Message></Error>\n"
        ),
        format!("> PUT /py-crud/a.txt | .hello\n< 200 | {SIDEKICK} | {KMS}\n"),
    ]
    .concat();
    let told = run(&text);
    let must = ["kms-key-id-in-clear", "presigned-url-in-clear", "object-bytes-in-clear", "error-response", "signature-in-clear"];
    told.check(Outcome::Exposed, &must, &["sse-c-key-in-clear", "sse-header-in-clear", REFUSED, "write-refused-by-client"]);
    let error = told.finding("error-response").unwrap();
    assert!(error.subject.contains(&("code", "BucketAlreadyOwnedByYou".to_owned())));
    let url = told.finding("presigned-url-in-clear").unwrap();
    assert!(url.message.contains("2026-11-23T14:26:40"), "{}", url.message);
}

#[test]
fn a_walk_without_a_write_is_a_refused_write() {
    let walk = [head(V1), climb("t/people/_temporary/0")].concat();
    let later = "= 172.18.0.5 172.18.0.4:8091\n@ 5\n* User-Agent: Go-http-client/1.1\n> GET /minio/health/cluster\n< 200\n";
    let rule = "write-refused-by-client";
    let told = run(&[walk.as_str(), later].concat());
    told.check(Outcome::RefusedBeforeTheWire, &[rule], &[REFUSED, "request-refused-by-client"]);
    assert_eq!(confidence(&told, rule), Some(Confidence::Likely));
    let marker = format!("> PUT /spark-data/t/people/_temporary/0/\n< 200 | {SIDEKICK}\n");
    assert_eq!(confidence(&run(&[walk.as_str(), marker.as_str(), later].concat()), rule), None, "a write followed");
    let denied = "> GET /spark-data/?list-type=2\n< 403\n";
    assert_eq!(confidence(&run(&[walk.as_str(), denied, later].concat()), rule), None, "access was denied");
    assert_eq!(confidence(&run(&walk), rule), None, "the capture ends too soon");
    let short = [head(V1), climb("t/people"), later.to_owned()].concat();
    assert_eq!(confidence(&run(&short), rule), None, "a reader looks so");
    let newer = walk.replace(V1, V2);
    assert_eq!(confidence(&run(&[newer.as_str(), later].concat()), rule), None, "that SDK refuses nothing");
}

#[test]
fn nothing_decoded_is_not_judged() {
    let health =
        "= 172.18.0.4 172.18.0.2:9000\n* User-Agent: Go-http-client/1.1\n> GET /minio/health/cluster\n< 200 | Server: MinIO\n";
    for text in [
        "",
        "= 172.18.0.5 172.18.0.4:8090\n! shut sidekick\n",
        health,
        &[health, "= 172.18.0.5 172.18.0.4:8090\n! shut sidekick\n"].concat(),
    ] {
        let told = run(text);
        assert_eq!(told.outcome(), Outcome::NotJudged, "{text}");
        assert_eq!(told.fired().contains(&"tls-not-decrypted"), text.contains("shut"));
    }
    let told = run(health);
    assert_eq!(told.summary.hops[0].calls, 0);
    assert_eq!(told.summary.hops[0].exchanges, 1);
    assert!(told.summary.operations.is_empty() && told.summary.clients.is_empty());
}

#[test]
fn a_shut_client_hop_before_a_decoded_one_is_not_judged() {
    let text = "= 172.18.0.5 172.18.0.4:8090\n! shut sidekick\n= 172.18.0.4 172.18.0.2:9000 tls\n> HEAD /spark-data/t\n< 404 | Server: MinIO\n";
    let told = run(text);
    assert_eq!(told.outcome(), Outcome::NotJudged, "{}", told.summary.verdict.message);
}

#[test]
fn hops_are_named_and_ordered_from_what_passes() {
    let back = "X-Forwarded-For: 172.18.0.5, 172.18.0.5 | X-Forwarded-Host: sidekick-http:8091 | X-Real-Ip: 172.18.0.5";
    let text = format!(
        "= 172.18.0.4 172.18.0.2:9000 tls\n* User-Agent: Go-http-client/1.1\n> GET /minio/health/cluster\n< 200 | Server: MinIO\n\
         = 172.18.0.4 172.18.0.2:9000 tls\n{V1}\n> HEAD /spark-data/t | {back}\n< 404 | Server: MinIO\n\
         {FRONT}\n> HEAD /spark-data/t\n< 404 | {SIDEKICK}\n"
    );
    let told = run(&text);
    let names: Vec<_> = told.summary.hops.iter().map(|hop| hop.name.as_str()).collect();
    assert_eq!(names, ["sidekick-store", "spark-sidekick"]);
    assert_eq!(told.summary.hops[1].upstream, Some(told.summary.hops[0].id));
    assert_eq!(told.summary.hops[0].upstream, None);
    assert_eq!((told.summary.hops[0].exchanges, told.summary.hops[0].calls), (2, 1));
    assert_eq!(told.exchanges[0].0, "sidekick-store", "also the first exchange has the final name");
    // On one machine all addresses are the same, and only the headers tell.
    let told =
        run(&text.replace("172.18.0.4", "127.0.0.1").replace("172.18.0.2", "127.0.0.1").replace("172.18.0.5", "127.0.0.1"));
    let names: Vec<_> = told.summary.hops.iter().map(|hop| hop.name.as_str()).collect();
    assert_eq!(names, ["sidekick-store", "spark-sidekick"]);
    assert_eq!(told.summary.hops[1].upstream, Some(told.summary.hops[0].id));
}

#[test]
fn declared_and_named_hops_keep_their_names_and_names_are_unique() {
    let text = format!(
        "{FRONT}\n{V1}\n> HEAD /b/k\n< 404 | {SIDEKICK}\n= 172.18.0.5 172.18.0.4:8092\n> HEAD /b/k\n< 404 | {SIDEKICK}\n"
    );
    let names =
        |options| run_with(&text, options).summary.hops.into_iter().map(|hop| (hop.name, hop.declared)).collect::<Vec<_>>();
    let plain = |name: &str| (name.to_owned(), false);
    assert_eq!(names(Options::default()), [plain("spark-sidekick"), plain("spark-sidekick:8092")]);
    let declared = DeclaredHop { name: "front".to_owned(), servers: vec![("172.18.0.4".to_owned(), None, None)] };
    assert_eq!(names(Options { hops: vec![declared], ..Options::default() }), [("front".to_owned(), true)]);
    let named =
        vec![("172.18.0.5".parse().unwrap(), "spark-master.lab".to_owned()), ("172.18.0.4".parse().unwrap(), "edge".to_owned())];
    assert_eq!(
        names(Options { names: named, ..Options::default() }),
        [plain("spark-master-edge"), plain("spark-master-edge:8092")]
    );
}

#[test]
fn chains_of_three_hops_are_ordered() {
    let text = format!(
        "{FRONT}\n{V1}\n> HEAD /b/k\n< 404 | {SIDEKICK}\n\
         = 172.18.0.4 172.18.0.3:80\n> HEAD /b/k | X-Forwarded-For: 172.18.0.5\n< 404 | Server: nginx\n\
         = 172.18.0.3 172.18.0.2:9000\n> HEAD /b/k | X-Forwarded-For: 172.18.0.5\n< 404 | Server: MinIO\n"
    );
    let told = run(&text);
    let hops = &told.summary.hops;
    assert_eq!(hops.iter().map(|hop| hop.name.as_str()).collect::<Vec<_>>(), ["spark-sidekick", "sidekick-nginx", "nginx-store"]);
    assert_eq!(hops.iter().map(|hop| hop.upstream.map(|id| id.0)).collect::<Vec<_>>(), [Some(1), Some(2), None]);
    // What went wrong is told once, on the hop nearest the client.
    assert_eq!(told.summary.findings.iter().filter(|finding| finding.rule.name == "error-response").count(), 1);
}

#[test]
fn smaller_rules_fire_on_what_they_are_about_and_not_beside_it() {
    let base = head(BOTO3);
    let cases: &[(&str, &str, &str)] = &[
        ("session-token-in-clear", "> GET /b/k | x-amz-security-token: FwoGZXIvYXdzEA\n< 200\n", "> GET /b/k\n< 200\n"),
        (
            "credential-in-clear",
            "> POST / | Content-Type: application/x-www-form-urlencoded | .Action=AssumeRole&Version=2011-06-15\n< 200 | .<AssumeRoleResponse><SecretAccessKey>x</SecretAccessKey></AssumeRoleResponse>\n",
            "> GET /b/k\n< 200 | .SecretAccessKey\n",
        ),
        (
            "encryption-context-in-clear",
            "> PUT /b/k | x-amz-server-side-encryption: aws:kms | x-amz-server-side-encryption-context: e30=\n< 200\n",
            "> PUT /b/k | x-amz-server-side-encryption: aws:kms\n< 200\n",
        ),
        (
            "unfinished-multipart-upload",
            "> POST /b/k?uploads\n< 200 | .<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>\n> PUT /b/k?partNumber=1&uploadId=u1 | .x\n< 200\n",
            "> POST /b/k?uploads\n< 200 | .<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>\n> POST /b/k?uploadId=u1 | .x\n< 200 | .<CompleteMultipartUploadResult/>\n",
        ),
        (
            "etag-not-md5",
            "> PUT /b/k | Content-MD5: XUFAKrxLKna5cZ2REBfFkg== | .hello\n< 200 | ETag: \"00000000000000000000000000000000\"\n",
            "> PUT /b/k | Content-MD5: XUFAKrxLKna5cZ2REBfFkg== | .hello\n< 200 | ETag: \"5d41402abc4b2a76b9719d911017c592\"\n",
        ),
        (
            "sse-refused-by-store",
            "> PUT /b/k | x-amz-server-side-encryption-customer-algorithm: AES256\n< 400 | .<Error><Code>InvalidRequest</Code><Message>Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.</Message></Error>\n",
            "> GET /b/k\n< 400 | .<Error><Code>InvalidRequest</Code><Message>The object was stored using a form of Server Side Encryption.</Message></Error>\n",
        ),
    ];
    for (rule, bad, good) in cases {
        assert!(run(&[&base, *bad].concat()).fired().contains(rule), "{rule}");
        assert!(!run(&[&base, *good].concat()).fired().contains(rule), "{rule} fired beside what it is about");
    }
    let tries = |count: usize, status: &str| format!("@ 1\n> PUT /b/k | .x\n< {status}\n").repeat(count);
    for (count, status, wanted) in [(5, "503", true), (4, "503", false), (9, "-", true), (9, "404", false), (9, "200", false)] {
        let fired = run(&[&base, tries(count, status).as_str()].concat()).fired().contains(&"retry-storm");
        assert_eq!(fired, wanted, "{count} times {status}");
    }
}

#[test]
fn a_rule_that_was_left_out_decides_no_verdict_and_is_named() {
    let text = [&failing_job(V1, &GAPS), cleanup().as_str()].concat();
    let select = Some(vec!["error-response".to_owned()]);
    let told = run_with(&text, Options { select, ..Options::default() });
    assert_eq!(told.fired(), ["error-response"]);
    assert_eq!(told.outcome(), Outcome::Clean);
    assert!(told.summary.verdict.left_out.contains(&(REFUSED, 1)), "{:?}", told.summary.verdict.left_out);
    assert!(told.summary.verdict.message.contains("copy-refused-by-client (1)"), "{}", told.summary.verdict.message);
    let told = run_with(&text, Options { ignore: vec![REFUSED.to_owned()], ..Options::default() });
    assert!(!told.fired().contains(&REFUSED) && !told.raised.contains(&REFUSED));
    assert_eq!(told.outcome(), Outcome::Exposed);
    assert_eq!(told.summary.verdict.failure, None);
}

#[test]
fn the_summary_counts_operations_clients_and_encryption() {
    let told = run(&failing_job(V1, &GAPS));
    let row = |name: &str| told.summary.operations.iter().find(|row| row.operation == name).unwrap();
    assert_eq!((row("HeadObject").count, row("HeadObject").errors), (13, 4));
    assert_eq!(row("PutObject").count, 2);
    let latency = row("HeadObject").latency.unwrap();
    assert_eq!(latency.max.as_millis(), 3);
    assert!(latency.p50.as_secs_f64() > 0.0027 && latency.p50.as_secs_f64() < 0.0033);
    assert_eq!(told.summary.clients.len(), 1);
    assert_eq!((told.summary.clients[0].sdk, told.summary.clients[0].exchanges), ("aws-sdk-java-v1", 19));
    let kms = told.summary.encryption.iter().find(|row| row.kind == "sse-kms").unwrap();
    assert_eq!((kms.count, kms.clear, kms.direction.label()), (11, true, "response"));
    assert_eq!(told.summary.completeness.exchanges, 19);
}
