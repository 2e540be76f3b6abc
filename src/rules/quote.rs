//! Wire text inside sentences: escaped, and cut to a length that a line can bear.

use crate::model::Untrusted;

/// How much of a value is shown.
const BYTES_MAX: usize = 256;

/// Bytes from the wire.
pub(super) fn quote(bytes: &[u8]) -> String {
    match bytes.get(..BYTES_MAX) {
        Some(start) if bytes.len() > BYTES_MAX => format!("{}…", Untrusted(start)),
        _ => Untrusted(bytes).to_string(),
    }
}

/// Text from the wire.
pub(super) fn quote_text(text: &str) -> String {
    quote(text.as_bytes())
}

/// `a, b and c`
pub(super) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 call`, `2 calls`
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// `5.2 MiB`
pub(super) fn bytes_text(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}
