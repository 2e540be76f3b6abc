//! A line of a key log.

/// One line of an NSS key log (or of a pcapng Decryption Secrets Block): label, random and secret, as text.
/// It has no `Debug`, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the text of one or more key-log lines.
    pub const fn new(lines: Vec<u8>) -> Self {
        Self(lines)
    }

    /// The lines, for the TLS key schedule only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
