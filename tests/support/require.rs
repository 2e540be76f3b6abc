//! What a test needs that is not everywhere. A test without it does nothing, says so, and is counted: `.ci/run` prints how many
//! tests were skipped and why. With `HOPWIRE_REQUIRE=shared,tshark,root` (any of them) they fail instead.

#![allow(dead_code, reason = "shared by tests that need parts of it")]

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;

/// What is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The captures and lists in `../shared`, which are no part of this project.
    Shared,
    /// The programs of Wireshark: tshark, capinfos, mergecap.
    Tshark,
    /// Root, and the programs with which networks are made: ip, python3, openssl, setpriv, mount.
    Root,
}

impl Need {
    fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Tshark => "tshark",
            Self::Root => "root",
        }
    }
}

/// The test that runs on this thread is skipped: `missing` is not here. Fails where that is required.
#[track_caller]
#[allow(clippy::panic, clippy::print_stderr, reason = "a test fails by panicking, and says what it skips")]
pub(crate) fn skip(need: Need, missing: impl fmt::Display) {
    let required = std::env::var("HOPWIRE_REQUIRE").unwrap_or_default();
    let word = need.word();
    if required.split(',').any(|required| required.trim() == word) {
        panic!("{missing} is missing, and HOPWIRE_REQUIRE names {word}");
    }
    let thread = std::thread::current();
    let line = format!("skipped ({word}): {}: {missing} is missing\n", thread.name().unwrap_or("a test"));
    eprint!("{line}");
    // The harness shows nothing of a test that passes, so the line is also written where the environment says.
    if let Some(path) = std::env::var_os("HOPWIRE_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
