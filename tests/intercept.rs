//! Ports of a network namespace redirected here, as the script in `lab/` tries it; skipped without root.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected shall fail")]

#[path = "support/require.rs"]
mod require;

use std::path::Path;
use std::process::Command;

use require::{Need, skip};

#[test]
fn a_client_that_knows_nothing_goes_through_and_the_rule_is_gone_however_hopwire_ends() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/intercept.sh");
    let output = Command::new("bash").arg(script).arg(env!("CARGO_BIN_EXE_hopwire")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        skip(Need::Root, text.trim().trim_start_matches("skipped: "));
        return;
    }
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
}
