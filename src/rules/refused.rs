//! Who refused calls, and how: statuses and codes of responses, counted.

use crate::rules::quote::quote_text;
use crate::s3::Call;

/// Refusals of the same calls, by status and code.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    rows: Vec<(u16, String, u64)>,
    /// How many in all.
    pub(super) count: u64,
}

impl Refusals {
    const ROWS_MAX: usize = 8;

    /// Counts the response to a call, where it refuses; tells whether it does.
    pub(super) fn add(&mut self, call: &Call<'_>) -> bool {
        let Some(status) = call.status().filter(|status| (400..500).contains(status)) else { return false };
        self.count += 1;
        let error = call.error();
        let code = error.as_ref().map_or("", |error| &error.code);
        let has_room = self.rows.len() < Self::ROWS_MAX;
        let known = self.rows.iter_mut().find(|(have, have_code, _)| *have == status && have_code == code);
        match known {
            Some((.., count)) => *count += 1,
            None if has_room => {
                self.rows.push((status, code.chars().take(128).collect(), 1));
            }
            None => {}
        }
        true
    }

    /// The status that most calls were refused with, and how many.
    pub(super) fn most(&self) -> Option<(u16, u64)> {
        let sum = |status: u16| self.rows.iter().filter(|(have, ..)| *have == status).map(|(.., count)| count).sum::<u64>();
        self.rows.iter().map(|(status, ..)| (*status, sum(*status))).max_by_key(|(_, count)| *count)
    }

    /// `403 SignatureDoesNotMatch`, the most frequent first; at most three.
    pub(super) fn text(&self) -> String {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        let words = rows.iter().take(3).map(|(status, code, _)| format!("{status} {}", quote_text(code)).trim_end().to_owned());
        words.collect::<Vec<_>>().join(", ")
    }
}
