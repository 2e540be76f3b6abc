//! What goes wrong, as the user hears of it: what was tried, on what, why it failed, and what to do next.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::model::Untrusted;

/// Why the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Ran, and found nothing at or above the limit.
    Done = 0,
    /// Findings at or above the limit.
    Findings = 1,
    /// Wrong usage.
    Usage = 2,
    /// There was nothing that could be judged.
    NotJudged = 3,
    /// An input is unreadable, or an output not writable.
    Unreadable = 4,
    /// Capturing: privilege, interface, docker.
    Capture = 5,
    /// Refused for safety; nothing was done.
    Refused = 6,
    /// Interrupted; what was captured is kept and was reported.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure that ends the program.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    help: String,
}

impl Failure {
    /// Wrong usage.
    pub(super) fn usage(what: impl Display, help: impl Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{what}"), help: help.to_string() }
    }

    /// Nothing could be judged.
    pub(super) fn not_judged(what: impl Display, help: impl Display) -> Self {
        Self { exit: Exit::NotJudged, error: anyhow::anyhow!("{what}"), help: help.to_string() }
    }

    /// An input or output that fails.
    pub(super) fn unreadable(error: impl Into<anyhow::Error>, what: impl Display, help: impl Display) -> Self {
        Self { exit: Exit::Unreadable, error: error.into().context(what.to_string()), help: help.to_string() }
    }

    /// Nothing can be captured, or no more.
    pub(super) fn capture(error: impl Into<anyhow::Error>, help: impl Display) -> Self {
        Self { exit: Exit::Capture, error: error.into(), help: help.to_string() }
    }

    /// Something unsafe that was refused.
    pub(super) fn refused(error: impl Into<anyhow::Error>, help: impl Display) -> Self {
        Self { exit: Exit::Refused, error: error.into(), help: help.to_string() }
    }

    /// A result that cannot be written. A reader that went away is no failure.
    pub(super) fn unwritable(error: io::Error, what: impl Display) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Unreadable };
        let help = "check that the place exists, may be written to, and has room".to_owned();
        Self { exit, error: anyhow::Error::new(error).context(what.to_string()), help }
    }

    /// Prints the failure and gives the exit.
    pub(super) fn tell(self) -> Exit {
        if self.exit != Exit::Done {
            let message = format!("{:#}", self.error);
            say(format_args!("error: {}", Untrusted::text(&message)));
            let mut label = "help: ";
            for line in self.help.lines() {
                say(format_args!("{label}{}", Untrusted::text(line)));
                label = "";
            }
        }
        self.exit
    }
}

/// Prints a line on stderr. Where nobody listens there is nobody to tell.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
