//! What a rule is: its name, its page, and how a run starts watching with it.

use crate::rules::{Severity, Watch};

/// A rule: one file in this room and one word in the list.
#[derive(Debug)]
pub struct Rule {
    /// What is wrong, as it reads after "allow".
    pub name: &'static str,
    /// How bad it is, by default.
    pub severity: Severity,
    /// What its findings mean for the verdict.
    pub role: Role,
    /// The version that brought it.
    pub since: &'static str,
    /// Its page in Markdown, with four headings; each line begins with a space (see [`Rule::text`]).
    pub page: &'static str,
    /// Starts a run.
    pub(crate) start: fn() -> Box<dyn Watch>,
}

/// What the findings of a rule mean for the verdict. The verdict knows no rule by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A secret that must never be sent in plaintext was.
    Leak,
    /// A client refused to send a request.
    Refusal,
    /// Calls failed, or got no response.
    Failure,
    /// Why calls fail: something on the path, or at one of its ends.
    Cause,
    /// Something was readable that should not be, and that is not a secret.
    Exposure,
    /// None of these: worth knowing, or how far the view reached.
    Observation,
}

impl Rule {
    /// The page without the space that doc comments put before each line.
    pub fn text(&self) -> String {
        self.page.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }
}

/// Makes the static `RULE` of a file: the doc comment is the page, and `State::default()` starts a run.
/// A role stands after the severity (`"name" Error Leak since "0.1.0"`); without one it is [`Role::Observation`].
macro_rules! rule {
    ($(#[doc = $line:literal])+ $name:literal $severity:ident since $since:literal) => {
        rule! { $(#[doc = $line])+ $name $severity Observation since $since }
    };
    ($(#[doc = $line:literal])+ $name:literal $severity:ident $role:ident since $since:literal) => {
        $(#[doc = $line])+
        pub(super) static RULE: crate::rules::Rule = crate::rules::Rule {
            name: $name,
            severity: crate::rules::Severity::$severity,
            role: crate::rules::Role::$role,
            since: $since,
            page: concat!($($line, "\n",)+),
            start: || Box::new(State::default()),
        };
    };
}

/// Lists the rules: one module each.
macro_rules! rules {
    ($($module:ident)+) => {
        $(mod $module;)+
        static ALL: &[&Rule] = &[$(&$module::RULE,)+];
    };
}

pub(super) use {rule, rules};
