//! Key logs: nothing is lost without being counted, and lines count the same together and one by one.

use hopwire::decode::tls::{KeyLog, KeyLogCount};
use hopwire::model::Secret;

/// The input is a key log.
pub fn keylog(input: &[u8]) {
    let mut whole = KeyLog::new();
    let counted = whole.add(&Secret::new(input.to_vec()));
    let mut by_line = KeyLog::new();
    let mut sum = KeyLogCount::default();
    for line in input.split_inclusive(|octet| *octet == b'\n') {
        let count = by_line.add(&Secret::new(line.to_vec()));
        sum.understood += count.understood;
        sum.ignored += count.ignored;
        sum.not_understood += count.not_understood;
        sum.dropped += count.dropped;
    }
    assert_eq!(format!("{counted:?}"), format!("{sum:?}"), "lines together and one by one");
    assert_eq!(whole.is_empty(), by_line.is_empty());
    let again = whole.add(&Secret::new(input.to_vec()));
    assert_eq!(again.not_understood, counted.not_understood, "a second time");
}
