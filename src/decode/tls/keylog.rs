//! Key logs: lines of text in, secrets by client random, session or encrypted premaster out.

use std::collections::HashMap;
use std::hint::black_box;

use foldhash::quality::RandomState;
use memchr::memchr_iter;

use crate::model::Secret;

/// The secrets of a key log, indexed. Bounded: beyond [`KeyLog::SECRETS_MAX`] secrets, and beyond
/// [`KeyLog::SECRETS_PER_RANDOM_MAX`] for one client random, lines are counted as dropped.
/// It has no `Debug`, so that it cannot reach a log by accident, and is overwritten when dropped.
#[derive(Default)]
pub struct KeyLog {
    /// The index of the newest entry for a client random.
    newest: HashMap<[u8; 32], u32, RandomState>,
    entries: Entries,
    /// RSA and Diffie-Hellman premaster secrets.
    premasters: HashMap<PremasterOf, Vec<Box<[u8]>>, RandomState>,
    /// Master secrets by session id.
    sessions: HashMap<Box<[u8]>, [u8; 48], RandomState>,
    generation: u64,
}

/// What became of the lines given to [`KeyLog::add`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLogCount {
    /// Lines that hold a secret of use here (repeated ones included).
    pub understood: u64,
    /// Comments, empty lines, and labels that open no records (exporters, QUIC, ECH).
    pub ignored: u64,
    /// Lines that are nothing known.
    pub not_understood: u64,
    /// Secrets beyond a bound.
    pub dropped: u64,
}

impl KeyLog {
    /// How many secrets are kept.
    pub const SECRETS_MAX: usize = 1 << 21;
    /// How many secrets are kept for one client random.
    pub const SECRETS_PER_RANDOM_MAX: usize = 32;

    /// A key log without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the lines of `secret`; gives what became of them.
    pub fn add(&mut self, secret: &Secret) -> KeyLogCount {
        let mut count = KeyLogCount::default();
        let mut text = secret.expose();
        text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut start = 0;
        for end in memchr_iter(b'\n', text).chain([text.len()]) {
            let line = text.get(start..end).unwrap_or_default();
            let is_after_last = line.is_empty() && end == text.len();
            if !is_after_last {
                self.add_line(line, &mut count);
            }
            start = end + 1;
        }
        count
    }

    /// A number that changes whenever a secret is added: what was not found before can be looked for again.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether there is no secret at all.
    pub fn is_empty(&self) -> bool {
        self.generation == 0
    }

    /// The secrets of one kind for a client random, newest first.
    pub(super) fn secrets(&self, label: Label, client_random: &[u8; 32]) -> impl Iterator<Item = &[u8]> {
        let mut next = self.newest.get(client_random).copied();
        std::iter::from_fn(move || {
            let entry = self.entries.entry(next?)?;
            next = entry.next;
            Some(entry)
        })
        .filter(move |entry| entry.label == label)
        .map(Entry::secret)
    }

    /// The premaster secrets for a client random or for the first octets of an encrypted premaster secret.
    pub(super) fn premasters(&self, of: &PremasterOf) -> impl Iterator<Item = &[u8]> {
        self.premasters.get(of).into_iter().flatten().map(|premaster| &**premaster)
    }

    /// Whether any premaster secret is known, so that it is worth keeping what the handshake says.
    pub(super) fn has_premasters(&self) -> bool {
        !self.premasters.is_empty()
    }

    /// The master secret of a session id.
    pub(super) fn session(&self, session_id: &[u8]) -> Option<&[u8; 48]> {
        self.sessions.get(session_id)
    }

    fn add_line(&mut self, line: &[u8], count: &mut KeyLogCount) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            count.ignored += 1;
            return;
        }
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        let (label, subject, secret) = (words.next().unwrap_or_default(), words.next(), words.next());
        let outcome = match (subject, secret, words.next()) {
            _ if line.len() > LINE_BYTES_MAX => Line::NotUnderstood,
            (Some(subject), Some(secret), None) => self.add_words(label, subject, secret),
            _ => Line::NotUnderstood,
        };
        match outcome {
            Line::Understood => count.understood += 1,
            Line::Ignored => count.ignored += 1,
            Line::NotUnderstood => count.not_understood += 1,
            Line::Dropped => count.dropped += 1,
        }
    }

    fn add_words(&mut self, label: &[u8], subject: &[u8], secret: &[u8]) -> Line {
        match label {
            b"RSA" => match (subject.strip_prefix(b"Session-ID:"), secret.strip_prefix(b"Master-Key:")) {
                (Some(session_id), Some(master)) => self.add_session(session_id, master),
                _ => match hex_array::<8>(subject) {
                    Some(encrypted) => self.add_premaster(PremasterOf::Encrypted(encrypted), secret),
                    None => Line::NotUnderstood,
                },
            },
            b"PMS_CLIENT_RANDOM" => match hex_array::<32>(subject) {
                Some(random) => self.add_premaster(PremasterOf::ClientRandom(random), secret),
                None => Line::NotUnderstood,
            },
            _ => match (Label::of(label), hex_array::<32>(subject)) {
                (Some(label), Some(random)) => self.add_secret(label, random, secret),
                (None, Some(_)) if is_known_and_not_needed(label) => Line::Ignored,
                _ => Line::NotUnderstood,
            },
        }
    }

    fn add_secret(&mut self, label: Label, random: [u8; 32], secret: &[u8]) -> Line {
        let mut octets = [0; 48];
        let Some(length) = hex_into(secret, &mut octets) else { return Line::NotUnderstood };
        let is_possible = if label == Label::Master { length == 48 } else { matches!(length, 32 | 48) };
        if !is_possible {
            return Line::NotUnderstood;
        }
        let newest = self.newest.get(&random).copied();
        let mut known = 0;
        let mut next = newest;
        while let Some(entry) = next.and_then(|index| self.entries.entry(index)) {
            if entry.label == label && entry.secret() == octets.get(..length).unwrap_or_default() {
                return Line::Understood;
            }
            known += 1;
            next = entry.next;
        }
        if known >= Self::SECRETS_PER_RANDOM_MAX {
            return Line::Dropped;
        }
        let Some(index) = self.entries.push(Entry { label, length: length as u8, secret: octets, next: newest }) else {
            return Line::Dropped;
        };
        self.newest.insert(random, index);
        self.generation += 1;
        Line::Understood
    }

    fn add_premaster(&mut self, of: PremasterOf, secret: &[u8]) -> Line {
        let mut octets = [0; LINE_BYTES_MAX / 2];
        let Some(length) = hex_into(secret, &mut octets).filter(|&length| length > 0) else { return Line::NotUnderstood };
        let premaster = octets.get(..length).unwrap_or_default();
        let is_full = self.premasters.len() >= OTHER_SECRETS_MAX;
        if is_full && !self.premasters.contains_key(&of) {
            return Line::Dropped;
        }
        let known = self.premasters.entry(of).or_default();
        if known.iter().any(|one| **one == *premaster) {
            return Line::Understood;
        }
        if known.len() >= Self::SECRETS_PER_RANDOM_MAX {
            return Line::Dropped;
        }
        known.push(premaster.into());
        octets.fill(0);
        black_box(&octets);
        self.generation += 1;
        Line::Understood
    }

    fn add_session(&mut self, session_id: &[u8], master: &[u8]) -> Line {
        let mut id = [0; 32];
        let (Some(length), Some(master)) = (hex_into(session_id, &mut id), hex_array::<48>(master)) else {
            return Line::NotUnderstood;
        };
        if self.sessions.len() >= OTHER_SECRETS_MAX {
            return Line::Dropped;
        }
        if self.sessions.insert(id.get(..length).unwrap_or_default().into(), master) != Some(master) {
            self.generation += 1;
        }
        Line::Understood
    }
}

impl Drop for KeyLog {
    fn drop(&mut self) {
        self.premasters.values_mut().flatten().for_each(|premaster| premaster.fill(0));
        self.sessions.values_mut().for_each(|master| master.fill(0));
        black_box((&self.premasters, &self.sessions));
    }
}

/// What a secret is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// `CLIENT_RANDOM`: the master secret up to TLS 1.2.
    Master,
    /// `CLIENT_EARLY_TRAFFIC_SECRET`.
    ClientEarly,
    /// `CLIENT_HANDSHAKE_TRAFFIC_SECRET`.
    ClientHandshake,
    /// `SERVER_HANDSHAKE_TRAFFIC_SECRET`.
    ServerHandshake,
    /// `CLIENT_TRAFFIC_SECRET_0`.
    ClientTraffic,
    /// `SERVER_TRAFFIC_SECRET_0`.
    ServerTraffic,
}

impl Label {
    fn of(label: &[u8]) -> Option<Self> {
        Some(match label {
            b"CLIENT_RANDOM" => Self::Master,
            b"CLIENT_EARLY_TRAFFIC_SECRET" => Self::ClientEarly,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Self::ClientHandshake,
            b"SERVER_HANDSHAKE_TRAFFIC_SECRET" => Self::ServerHandshake,
            b"CLIENT_TRAFFIC_SECRET_0" => Self::ClientTraffic,
            b"SERVER_TRAFFIC_SECRET_0" => Self::ServerTraffic,
            _ => return None,
        })
    }
}

/// What a premaster secret belongs to.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum PremasterOf {
    /// The connection with this client random.
    ClientRandom([u8; 32]),
    /// The ClientKeyExchange whose encrypted premaster secret starts with these octets.
    Encrypted([u8; 8]),
}

enum Line {
    Understood,
    Ignored,
    NotUnderstood,
    Dropped,
}

/// One secret, chained to the one before it for the same client random.
struct Entry {
    label: Label,
    length: u8,
    secret: [u8; 48],
    next: Option<u32>,
}

impl Entry {
    fn secret(&self) -> &[u8] {
        self.secret.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Entries in blocks that never move, so that growing leaves no copies of secrets behind.
#[derive(Default)]
struct Entries(Vec<Vec<Entry>>);

impl Entries {
    const PER_BLOCK: usize = 1024;

    fn entry(&self, index: u32) -> Option<&Entry> {
        let index = index as usize;
        self.0.get(index / Self::PER_BLOCK)?.get(index % Self::PER_BLOCK)
    }

    /// Adds an entry and gives its index; `None` when all are taken.
    fn push(&mut self, entry: Entry) -> Option<u32> {
        if self.0.last().is_none_or(|block| block.len() == Self::PER_BLOCK) {
            if self.0.len() * Self::PER_BLOCK >= KeyLog::SECRETS_MAX {
                return None;
            }
            self.0.push(Vec::with_capacity(Self::PER_BLOCK));
        }
        let blocks_before = self.0.len() - 1;
        let block = self.0.last_mut()?;
        let index = blocks_before * Self::PER_BLOCK + block.len();
        block.push(entry);
        u32::try_from(index).ok()
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.0.iter_mut().flatten().for_each(|entry| entry.secret.fill(0));
        black_box(&self.0);
    }
}

/// Labels of the key-log format that open no TLS records.
fn is_known_and_not_needed(label: &[u8]) -> bool {
    label.starts_with(b"QUIC_")
        || label.starts_with(b"CLIENT_TRAFFIC_SECRET_")
        || label.starts_with(b"SERVER_TRAFFIC_SECRET_")
        || matches!(label, b"EXPORTER_SECRET" | b"EARLY_EXPORTER_SECRET" | b"ECH_SECRET" | b"ECH_CONFIG")
}

/// Decodes a word of exactly `N` octets in hexadecimal, of either case.
fn hex_array<const N: usize>(word: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    (hex_into(word, &mut octets)? == N).then_some(octets)
}

/// Decodes hexadecimal into `octets`; gives how many there were, or `None` if it is not hexadecimal or too long.
fn hex_into(word: &[u8], octets: &mut [u8]) -> Option<usize> {
    let (pairs, []) = word.as_chunks::<2>() else { return None };
    let target = octets.get_mut(..pairs.len())?;
    for (octet, &[high, low]) in target.iter_mut().zip(pairs) {
        *octet = (digit(high)? << 4) | digit(low)?;
    }
    Some(pairs.len())
}

const fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    }
}

/// Octets of a line; more than any premaster secret needs.
const LINE_BYTES_MAX: usize = 4096;

/// Premaster secrets and sessions kept: both are rare.
const OTHER_SECRETS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(keylog: &mut KeyLog, text: impl Into<Vec<u8>>) -> [u64; 4] {
        let count = keylog.add(&Secret::new(text.into()));
        [count.understood, count.ignored, count.not_understood, count.dropped]
    }

    fn line(label: &str, random: u8, secret: u8, length: usize) -> String {
        format!("{label} {} {}", format!("{random:02x}").repeat(32), format!("{secret:02X}").repeat(length))
    }

    #[test]
    fn both_cases_line_ends_and_duplicates_are_one_secret() {
        let mut keylog = KeyLog::new();
        let text = format!(
            "\u{feff}# made by hand\r\n\r\n{}\r\n{}\n{}",
            line("CLIENT_RANDOM", 0xab, 0xcd, 48),
            line("CLIENT_RANDOM", 0xab, 0xcd, 48).to_ascii_lowercase().replace("client_random", "CLIENT_RANDOM"),
            line("CLIENT_RANDOM", 0xab, 0xcd, 48).replace(' ', " \t ") + " "
        );
        assert_eq!(add(&mut keylog, text), [3, 2, 0, 0]);
        assert_eq!(keylog.secrets(Label::Master, &[0xab; 32]).collect::<Vec<_>>(), [[0xcd; 48].as_slice()]);
        assert_eq!(keylog.generation(), 1);
    }

    #[test]
    fn two_secrets_for_one_random_are_both_kept() {
        let mut keylog = KeyLog::new();
        assert_eq!(add(&mut keylog, line("CLIENT_TRAFFIC_SECRET_0", 1, 2, 32) + "\n"), [1, 0, 0, 0]);
        assert_eq!(add(&mut keylog, line("CLIENT_TRAFFIC_SECRET_0", 1, 3, 48) + "\n"), [1, 0, 0, 0]);
        assert_eq!(add(&mut keylog, line("SERVER_TRAFFIC_SECRET_0", 1, 4, 48) + "\n"), [1, 0, 0, 0]);
        let secrets: Vec<_> = keylog.secrets(Label::ClientTraffic, &[1; 32]).collect();
        assert_eq!(secrets, [[3; 48].as_slice(), &[2; 32]]);
    }

    #[test]
    fn what_is_no_secret_is_counted_by_kind() {
        let mut keylog = KeyLog::new();
        let exporter = line("EXPORTER_SECRET", 1, 2, 32);
        let quic = line("QUIC_CLIENT_TRAFFIC_SECRET_0", 1, 2, 32);
        assert_eq!(add(&mut keylog, format!("{exporter}\n{quic}\n")), [0, 2, 0, 0]);
        for broken in [
            "CLIENT_RANDOM".to_owned(),
            "CLIENT_RANDOM 00 11".to_owned(),
            line("CLIENT_RANDOM", 1, 2, 32),
            line("SERVER_TRAFFIC_SECRET_0", 1, 2, 31),
            line("CLIENT_RANDOM", 1, 2, 48) + "0",
            line("CLIENT_RANDOM", 1, 2, 48) + " 00",
            line("MADE_UP", 1, 2, 48),
            format!("RSA 0011 {}", "22".repeat(48)),
            format!("RSA 0011223344556677 {}", "22".repeat(4000)),
        ] {
            assert_eq!(add(&mut keylog, broken.clone()), [0, 0, 1, 0], "{broken:.60}");
        }
        assert!(keylog.is_empty());
    }

    #[test]
    fn a_binary_file_has_no_secrets() {
        let bytes: Vec<u8> = (0..100_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
        let count = KeyLog::new().add(&Secret::new(bytes));
        assert_eq!((count.understood, count.dropped), (0, 0));
        assert!(count.not_understood > 0);
    }

    #[test]
    fn secrets_for_one_random_are_bounded() {
        let mut keylog = KeyLog::new();
        for number in 0..200u8 {
            add(&mut keylog, line("CLIENT_RANDOM", 7, number, 48));
        }
        assert_eq!(keylog.secrets(Label::Master, &[7; 32]).count(), KeyLog::SECRETS_PER_RANDOM_MAX);
        assert_eq!(add(&mut keylog, line("CLIENT_RANDOM", 7, 201, 48)), [0, 0, 0, 1]);
        assert_eq!(add(&mut keylog, line("CLIENT_RANDOM", 7, 3, 48)), [1, 0, 0, 0]);
    }

    #[test]
    fn premasters_and_sessions_have_their_own_lines() {
        let mut keylog = KeyLog::new();
        let text = format!(
            "RSA aaa906e04a4cfd04 {}\nPMS_CLIENT_RANDOM {} {}\nRSA Session-ID:{} Master-Key:{}\n",
            "03".repeat(48),
            "05".repeat(32),
            "06".repeat(256),
            "07".repeat(32),
            "08".repeat(48)
        );
        assert_eq!(add(&mut keylog, text), [3, 0, 0, 0]);
        let encrypted = PremasterOf::Encrypted([0xaa, 0xa9, 0x06, 0xe0, 0x4a, 0x4c, 0xfd, 0x04]);
        assert_eq!(keylog.premasters(&encrypted).collect::<Vec<_>>(), [[3; 48]]);
        assert_eq!(keylog.premasters(&PremasterOf::ClientRandom([5; 32])).collect::<Vec<_>>(), [[6; 256]]);
        assert_eq!(keylog.session(&[7; 32]), Some(&[8; 48]));
    }
}
