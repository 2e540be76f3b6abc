//! `hopwire demo`: the story comes out as it must, and leaves what it says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

use std::fs;

use assert_cmd::Command;

fn demo(folder: &std::path::Path, more: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::cargo_bin("hopwire").unwrap().arg("demo").arg("-o").arg(folder).args(more).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn three_outcomes_a_comparison_a_proof_and_a_leak_come_out() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("demo");
    let (code, out, error) = demo(&place, &[]);
    assert_eq!(code, Some(0), "{out}{error}");
    for said in [
        "1. Spark 3.5",
        "the job works: 52 calls, 2 files committed and read back",
        "the job fails at its commit: HTTPS must be used when sending customer encryption keys (SSE-C)",
        "hopwire: REFUSED-BEFORE-THE-WIRE",
        "hopwire: LEAKED",
        "AFTER went on with CopyObject",
        "All came out as they must.",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    for name in ["direct", "https", "http", "leak"] {
        for suffix in ["pcapng", "html", "json", "txt"] {
            let path = place.join(format!("{name}.{suffix}"));
            assert!(fs::metadata(&path).unwrap().len() > 500, "{}", path.display());
        }
    }
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.join("http.json")).unwrap()).unwrap();
    assert_eq!(report["verdict"]["outcome"], "refused-before-the-wire");
    assert_eq!(report["verdict"]["failure"]["rule"], "copy-refused-by-client");
    assert_eq!(report["joins"][0]["joined"], report["hops"][0]["calls"], "every call of the client's hop is joined");
}

#[test]
fn an_earlier_demo_is_replaced_only_when_that_is_said_and_other_folders_never() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    for more in [[].as_slice(), &["--force"]] {
        let (code, _, error) = demo(folder.path(), more);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("is there already") && error.contains("-o"), "{error}");
    }
    assert_eq!(fs::read(folder.path().join("mine.txt")).unwrap(), b"mine");
}
