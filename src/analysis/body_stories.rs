//! Bodies, checksums, lengths and clocks: what is reported where they do not agree.

use crate::analysis::transcript::{Told, run};

const HEAD: &str = "= 10.0.0.5 10.0.0.4:8091\n* User-Agent: Boto3/1.44.8 Botocore/1.44.8\n* Authorization: AWS4-HMAC-SHA256 Credential=lab/20261127/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=ab12\n";

fn message<'t>(told: &'t Told, rule: &str) -> &'t str {
    told.finding(rule).map_or_else(|| panic!("{rule} did not fire: {:?}", told.fired()), |finding| finding.message.as_str())
}

#[test]
fn a_body_that_differs_from_its_checksum_is_named_with_both_values() {
    let upload =
        |sum: &str, status: u16| run(&format!("{HEAD}> PUT /b/k | x-amz-checksum-crc32: {sum} | .123456789\n< {status}\n"));
    assert!(upload("y/Q5Jg==", 200).finding("checksum-mismatch").is_none());
    let told = upload("AAAAAA==", 200);
    assert!(message(&told, "checksum-mismatch").contains("announced AAAAAA==, the body has y/Q5Jg=="));
    assert!(message(&told, "checksum-mismatch").contains("refused none of them"));
    let told = upload("AAAAAA==", 400);
    assert!(message(&told, "checksum-mismatch").contains("refused 1 of them (400)"), "{}", message(&told, "checksum-mismatch"));
    let told = run(&format!("{HEAD}> GET /b/k\n< 200 | x-amz-checksum-crc32: AAAAAA== | .123456789\n"));
    assert!(message(&told, "checksum-mismatch").contains("1 download"));
}

#[test]
fn the_proxy_that_changes_a_body_is_found_between_the_hops() {
    let put = "> PUT /b/k | x-amz-checksum-crc32: y/Q5Jg== | ";
    let told = run(&format!("{HEAD}{put}.123456789\n< 200\n= 10.0.0.4 10.0.0.2:9000\n@ -0.002\n{put}.12345678\n< 200\n"));
    assert!(message(&told, "checksum-mismatch").contains("1 of the bodies were right on the hop before"));
}

#[test]
fn an_object_that_was_stored_with_its_framing_is_named_with_both_lengths() {
    let framed = "5;chunk-signature=0\r\nhello\r\n";
    let put = format!(
        "> PUT /b/k | x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD | x-amz-decoded-content-length: 5 | .{framed}\n< 200\n"
    )
    .replace('\r', "").replace("\nhello\n", "-hello-");
    let length = framed.replace("\r\n", "-").len();
    for reading in ["HEAD", "GET"] {
        let told = run(&format!("{HEAD}{put}> {reading} /b/k\n< 200 | Content-Length: {length}\n"));
        let text = message(&told, "stored-aws-chunked");
        assert!(text.contains("5 bytes were put") && text.contains(&format!("{length} bytes are read back")), "{text}");
        let told = run(&format!("{HEAD}{put}> {reading} /b/k\n< 200 | Content-Length: 5\n"));
        assert!(told.finding("stored-aws-chunked").is_none(), "{reading}");
    }
}

#[test]
fn etags_are_compared_with_every_object_that_is_known_whole() {
    let plain = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
    let upload = |etag: &str| run(&format!("{HEAD}> PUT /b/k | {plain} | .123456789\n< 200 | ETag: \"{etag}\"\n"));
    assert!(upload("25f9e794323b453885f5181f1b624d0b").finding("etag-not-md5").is_none());
    assert!(upload("25f9e794323b453885f5181f1b624d0b-1").finding("etag-not-md5").is_none());
    assert!(message(&upload("00000000000000000000000000000000"), "etag-not-md5").contains("1 upload"));
    let told = run(&format!("{HEAD}> GET /b/k\n< 200 | ETag: \"00000000000000000000000000000000\" | .123456789\n"));
    assert!(message(&told, "etag-not-md5").contains("1 download"));
}

#[test]
fn clocks_that_differ_are_named_and_the_clock_of_the_capture_does_not_matter() {
    // The capture of a transcript begins at the epoch.
    let at = |client: &str, store: &str, status: u16| {
        run(&format!(
            "{HEAD}> GET /b/k | x-amz-date: {client}\n< {status} | Date: {store} | x-minio-error-code: RequestTimeTooSkewed\n"
        ))
    };
    let told = at("20261127T200000Z", "Fri, 27 Nov 2026 20:21:00 GMT", 403);
    let text = message(&told, "clock-skew");
    assert!(text.contains("21 min (1260 s) behind the store's clock") && text.contains("refused 1 of them"), "{text}");
    assert!(at("20261127T200000Z", "Fri, 27 Nov 2026 20:00:01 GMT", 200).finding("clock-skew").is_none());
    let told = at("20261127T200500Z", "Fri, 27 Nov 2026 20:00:00 GMT", 200);
    assert!(message(&told, "clock-skew").contains("5 min (300 s) ahead of"), "{}", message(&told, "clock-skew"));
}

#[test]
fn a_store_that_ignores_the_encryption_that_was_asked_for_is_named() {
    let key = "x-amz-server-side-encryption-customer-key: aG9wd2lyZS1jYW5hcnktc3NlYy1rZXktMzJieXRlcyE= | x-amz-server-side-encryption-customer-algorithm: AES256";
    let told = run(&format!("{HEAD}> PUT /b/k | {key}\n< 200\n"));
    assert!(message(&told, "sse-c-key-in-clear").contains("the store accepted 0"), "{}", message(&told, "sse-c-key-in-clear"));
    assert!(
        message(&told, "sse-ignored-by-store").contains("1 write")
            && message(&told, "sse-ignored-by-store").contains("sse-c (1)")
    );
    let told = run(&format!("{HEAD}> PUT /b/k | {key}\n< 200 | x-amz-server-side-encryption-customer-algorithm: AES256\n"));
    assert!(message(&told, "sse-c-key-in-clear").contains("the store accepted 1"));
    assert!(told.finding("sse-ignored-by-store").is_none());
    let kms = "x-amz-server-side-encryption: aws:kms";
    assert!(run(&format!("{HEAD}> PUT /b/k | {kms}\n< 200\n")).finding("sse-ignored-by-store").is_some());
    assert!(run(&format!("{HEAD}> PUT /b/k | {kms}\n< 200 | {kms}\n")).finding("sse-ignored-by-store").is_none());
    assert!(run(&format!("{HEAD}> PUT /b/k | {kms}\n< 403\n")).finding("sse-ignored-by-store").is_none());
}

#[test]
fn redirects_without_a_code_are_named_with_their_target_and_nothing_secret() {
    let told = run(&format!("{HEAD}> GET /b/k\n< 308 | Location: https://user:pw@store.example:9443/b/k?X-Amz-Signature=ab\n"));
    let text = message(&told, "redirected");
    assert!(text.contains("308 to https://store.example:9443 (GetObject)"), "{text}");
    let told = run(&format!("{HEAD}> GET /b/k\n< 307 | Location: https://x/ | x-minio-error-code: TemporaryRedirect\n"));
    assert!(told.finding("redirected").is_none());
}

#[test]
fn swift_on_the_same_gateway_is_no_s3_call() {
    let told =
        run("= 10.0.0.5 10.0.0.4:8091\n> GET /swift/v1/b/k | X-Auth-Token: t\n< 200 | x-amz-request-id: tx1 | X-Trans-Id: tx1\n");
    assert_eq!(told.exchanges[0].1, None);
}
