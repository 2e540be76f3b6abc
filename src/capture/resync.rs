//! Where records go on after damage: the first place where several records in a row make sense.

use std::ops::Range;

use crate::capture::walk::{Format, Look, NEAR_NANOS};

/// Finds the first place among `candidates` from which a chain of believable records leads on, near in time to the record
/// before the damage. At the end of the file a shorter chain that ends exactly there will do.
pub(super) fn find(format: &Format, window: &[u8], candidates: Range<usize>, before: Option<i64>, at_end: bool) -> Option<usize> {
    candidates.into_iter().find(|candidate| is_chain(format, window, *candidate, before, at_end))
}

fn is_chain(format: &Format, window: &[u8], start: usize, before: Option<i64>, at_end: bool) -> bool {
    let mut at = start;
    let mut near = before;
    for count in 0..format.chain() {
        if at == window.len() {
            return at_end && count > 0;
        }
        let Look::Record { end, at: time } = format.look(window, at) else { return false };
        if let (Some(time), Some(near)) = (time, near)
            && time.saturating_sub(near).saturating_abs() > NEAR_NANOS
        {
            return false;
        }
        if end > window.len() {
            // A record cut by the end of the file, after others that were not.
            return at_end && count > 1;
        }
        near = time.or(near);
        at = end;
    }
    true
}

/// Bytes among which the next record is looked for at a time.
pub(super) const STEP_BYTES: usize = 256 << 10;

/// Bytes to have in memory for it: the step and the longest chain that may begin in it.
pub(super) const WINDOW_BYTES: usize = STEP_BYTES + 4 * (STEP_BYTES + 1024);
