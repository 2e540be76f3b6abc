//! No output holds a secret of the recorded lab runs. Which secrets there are is read from the runs themselves, with redaction
//! switched off, so that a new capture brings its own.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use serde_json::Value;

#[test]
fn no_report_of_any_capture_holds_a_secret_in_any_spelling() {
    let mut kinds = BTreeSet::new();
    for capture in ["boto3-http-sse-c", "boto3-http-none", "spark40-http-sse-c", "mc-https", "spark33-http", "spark33-https"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(format!("{capture}.pcapng"));
        let secrets = secrets_of(&path, &mut kinds);
        assert!(secrets.len() > 10, "{capture}: {secrets:?}");
        for arguments in OUTPUTS {
            let run = Command::cargo_bin("hopwire").unwrap().arg("analyze").args(*arguments).arg(&path).output().unwrap();
            assert!(run.stdout.len() > 100, "{capture} {arguments:?}");
            for text in [run.stdout, run.stderr] {
                let text = String::from_utf8(text).unwrap();
                for secret in &secrets {
                    assert!(!text.contains(secret.as_str()), "{capture} {arguments:?} shows {secret}");
                }
            }
        }
    }
    for kind in ["customer key", "MD5 of a customer key", "signature", "presigned signature"] {
        assert!(kinds.contains(kind), "no capture holds a {kind}: {kinds:?}");
    }
}

const OUTPUTS: &[&[&str]] = &[
    &[],
    &["-v"],
    &["-v", "--color", "always"],
    &["--format", "json"],
    &["--format", "jsonl"],
    &["--format", "html"],
    &["--format", "sarif"],
    &["--format", "junit"],
    &["--format", "prometheus"],
];

/// All secrets that requests of a capture hold, each in all its spellings.
fn secrets_of(path: &Path, kinds: &mut BTreeSet<&'static str>) -> BTreeSet<String> {
    let mut run = Command::cargo_bin("hopwire").unwrap();
    let out = run.args(["analyze", "--format", "jsonl", "--show-secrets"]).arg(path).output().unwrap().stdout;
    let mut secrets = BTreeSet::new();
    let mut add = |kind: &'static str, value: &str| {
        kinds.insert(kind);
        secrets.extend(spellings(value.as_bytes()));
        if let Ok(raw) = STANDARD.decode(value)
            && kind.contains("customer key")
        {
            secrets.extend(spellings(&raw));
            if raw.len() == 32 {
                let digest = Md5::digest(&raw);
                secrets.extend(spellings(&digest));
                secrets.extend(spellings(STANDARD.encode(digest).as_bytes()));
            }
        }
    };
    for line in String::from_utf8(out).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["type"] != "exchange" {
            continue;
        }
        for header in line["request"]["headers"].as_array().unwrap() {
            let (Some(name), Some(value)) = (header[0].as_str(), header[1].as_str()) else { continue };
            match name.to_ascii_lowercase().as_str() {
                name if name.ends_with("server-side-encryption-customer-key") => add("customer key", value),
                name if name.ends_with("server-side-encryption-customer-key-md5") => add("MD5 of a customer key", value),
                "x-amz-security-token" => add("session token", value),
                "authorization" => {
                    if let Some((_, signature)) = value.split_once("Signature=") {
                        add("signature", signature);
                    }
                }
                _ => {}
            }
        }
        let target = line["request"]["target"].as_str().unwrap_or_default();
        for (name, value) in target.split(['?', '&']).filter_map(|part| part.split_once('=')) {
            match name.to_ascii_lowercase().as_str() {
                "x-amz-signature" | "signature" => add("presigned signature", value),
                "x-amz-security-token" => add("session token", value),
                _ => {}
            }
        }
    }
    secrets
}

/// The ways in which bytes come into texts: as they are, base64, percent-encoded, hexadecimal.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![STANDARD.encode(bytes), URL_SAFE.encode(bytes), URL_SAFE_NO_PAD.encode(bytes), hex.to_uppercase(), hex];
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(|letter| letter.is_ascii_graphic())
    {
        all.push(text.to_owned());
        all.push(text.replace('%', "%25").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
    }
    all
}
