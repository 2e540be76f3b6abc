//! What a rule is: its name and its page.

use crate::rules::Severity;

/// A rule: one file in this room and one word in the list.
#[derive(Debug)]
pub struct Rule {
    /// What is wrong, as it reads after "allow".
    pub name: &'static str,
    /// How bad it is, by default.
    pub severity: Severity,
    /// The version that brought it.
    pub since: &'static str,
    /// Its page in Markdown, with four headings; each line begins with a space (see [`Rule::text`]).
    pub page: &'static str,
}

impl Rule {
    /// The page without the space that doc comments put before each line.
    pub fn text(&self) -> String {
        self.page.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }
}
