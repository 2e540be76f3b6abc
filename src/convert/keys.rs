//! Which lines of key logs belong to the TLS connections of a capture.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::model::Secret;

/// What the handshakes in a capture say of themselves, as far as key logs name it.
#[derive(Default)]
pub(super) struct Handshakes {
    subjects: HashSet<Box<[u8]>, RandomState>,
}

/// Lines that were chosen.
#[derive(Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    known: HashSet<Box<[u8]>, RandomState>,
    /// Secrets embedded.
    pub(super) taken: u64,
    /// Secrets of other connections.
    pub(super) left_out: u64,
}

/// What a payload that begins with a handshake record says: client randoms, session ids, encrypted premaster secrets.
pub(super) fn subjects_of(payload: &[u8], mut found: impl FnMut(&[u8])) {
    let [22, 3, _, _, _, kind, body @ ..] = payload else { return };
    match kind {
        // ClientHello and ServerHello: length, version, random, session id.
        1 | 2 => {
            if *kind == 1
                && let Some(random) = body.get(5..37)
            {
                found(random);
            }
            let length = usize::from(body.get(37).copied().unwrap_or(0));
            if let Some(session) = body.get(38..38 + length).filter(|session| !session.is_empty()) {
                found(session);
            }
        }
        // ClientKeyExchange with RSA: two lengths, then the encrypted premaster secret.
        16 => {
            if let Some(encrypted) = body.get(5..13) {
                found(encrypted);
            }
        }
        _ => {}
    }
}

impl Handshakes {
    /// Adds a subject.
    pub(super) fn add(&mut self, subject: &[u8]) {
        if self.subjects.len() < SUBJECTS_MAX {
            self.subjects.insert(subject.into());
        }
    }

    /// Whether a line of a key log belongs to one of them.
    fn names(&self, line: &[u8]) -> bool {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (Some(_), Some(subject)) = (words.next(), words.next()) else { return false };
        let subject = subject.strip_prefix(b"Session-ID:").unwrap_or(subject);
        decode_hex(subject).is_some_and(|subject| self.subjects.contains(subject.as_slice()))
    }
}

impl Lines {
    /// Takes the lines of a key log; of those, where `only` is given, the ones it names.
    pub(super) fn add(&mut self, secret: &Secret, only: Option<&Handshakes>) {
        for line in secret.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if only.is_some_and(|only| !only.names(line)) {
                self.left_out += 1;
            } else if self.known.insert(line.into()) {
                self.taken += 1;
                self.text.extend_from_slice(line);
                self.text.push(b'\n');
            }
        }
    }

    /// The lines, in parts that fit a block.
    pub(super) fn into_secrets(self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        let mut rest = self.text.as_slice();
        while !rest.is_empty() {
            let room = rest.get(..BLOCK_BYTES_MAX).unwrap_or(rest);
            let end = memchr::memrchr(b'\n', room).map_or(room.len(), |end| end + 1);
            let (part, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            secrets.push(Secret::new(part.to_vec()));
            rest = after;
        }
        secrets
    }
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

const BLOCK_BYTES_MAX: usize = 8 << 20;
/// More connections than any key log names.
const SUBJECTS_MAX: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_capture_are_taken_and_each_once() {
        let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        hello.extend([0xab; 32]);
        hello.extend([4, 1, 2, 3, 4, 9]);
        let mut handshakes = Handshakes::default();
        subjects_of(&hello, |subject| handshakes.add(subject));
        subjects_of(b"\x17\x03\x03\x00\x10\x01", |_| panic!("no handshake"));
        let (mine, other) = ("ab".repeat(32), "cd".repeat(32));
        let log = format!(
            "# made today\nCLIENT_RANDOM {mine} 11\r\nCLIENT_RANDOM {other} 22\n\nCLIENT_RANDOM {mine} 11\n\
             RSA Session-ID:01020304 Master-Key:33\nnonsense\n"
        );
        let mut lines = Lines::default();
        lines.add(&Secret::new(log.into_bytes()), Some(&handshakes));
        assert_eq!((lines.taken, lines.left_out), (2, 2));
        let secrets = lines.into_secrets();
        let expected = format!("CLIENT_RANDOM {mine} 11\nRSA Session-ID:01020304 Master-Key:33\n");
        assert!(matches!(secrets.as_slice(), [secret] if secret.expose() == expected.as_bytes()));
    }
}
