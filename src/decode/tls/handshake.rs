//! Handshake messages: record contents in, the few facts that decryption and reports need out (RFC 5246 and 8446 section 4).

use crate::decode::tls::sessions::SessionName;

/// Puts handshake messages together that are spread over records, and takes apart records that hold several.
#[derive(Default)]
pub(super) struct Messages {
    /// The start of a message that is needed and not whole.
    partial: Vec<u8>,
    /// Octets still to come of a message that is not needed.
    passing: usize,
}

/// A step through the content of handshake records.
pub(super) enum Step<'a> {
    /// A whole message, with its header of four octets.
    Message(&'a [u8]),
    /// A message that has become whole with this step; it is in [`Messages::whole`].
    Collected,
    /// Part of a message that is not needed.
    Passed(&'a [u8]),
    /// The header of such a message, where it was spread over records.
    PassedHeader([u8; 4]),
}

/// A handshake message longer than [`MESSAGE_BYTES_MAX`] that would be needed.
#[derive(Debug)]
pub(super) struct TooLong;

impl Messages {
    /// Takes the next step through `content`; `None` when all of it is taken.
    pub(super) fn next<'a>(&mut self, content: &mut &'a [u8]) -> Result<Option<Step<'a>>, TooLong> {
        if content.is_empty() {
            return Ok(None);
        }
        if self.passing > 0 {
            let taken = take(content, self.passing);
            self.passing -= taken.len();
            return Ok(Some(Step::Passed(taken)));
        }
        if self.partial.is_empty()
            && let Some(length) = message_length(content)
        {
            if !is_needed(content) {
                let taken = take(content, length);
                self.passing = length - taken.len();
                return Ok(Some(Step::Passed(taken)));
            }
            if length <= content.len() {
                return Ok(Some(Step::Message(take(content, length))));
            }
        }
        let missing = 4usize.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(take(content, missing));
        let Some((&header, length)) = self.partial.first_chunk().zip(message_length(&self.partial)) else { return Ok(None) };
        if !is_needed(&self.partial) {
            self.passing = length - self.partial.len();
            self.partial.clear();
            return Ok(Some(Step::PassedHeader(header)));
        }
        if length > MESSAGE_BYTES_MAX {
            return Err(TooLong);
        }
        let missing = length - self.partial.len();
        self.partial.extend_from_slice(take(content, missing));
        Ok((self.partial.len() == length).then_some(Step::Collected))
    }

    /// Octets that wait for the rest of their message.
    pub(super) const fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    /// The message of [`Step::Collected`], which leaves the place empty.
    pub(super) fn whole(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }
}

/// What a ClientHello offers.
pub(super) struct ClientHello {
    pub(super) random: [u8; 32],
    pub(super) session_id: Vec<u8>,
    /// The server name; wire text.
    pub(super) sni: Option<String>,
    /// The first protocol offered by ALPN; wire text.
    pub(super) alpn: Option<String>,
    /// The TLS 1.2 ticket.
    pub(super) ticket: Option<SessionName>,
    /// Whether 0-RTT data follows.
    pub(super) has_early_data: bool,
}

impl ClientHello {
    /// Reads the body of a ClientHello.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        reader.take(2)?;
        let random = *reader.array::<32>()?;
        let session_id = reader.vector8().filter(|id| id.len() <= 32)?.to_vec();
        reader.vector16()?;
        reader.vector8()?;
        let mut hello = Self { random, session_id, sni: None, alpn: None, ticket: None, has_early_data: false };
        for (kind, octets) in reader.extensions() {
            match kind {
                extension::SERVER_NAME => hello.sni = first_name(octets),
                extension::ALPN => hello.alpn = first_protocol(octets),
                extension::SESSION_TICKET => hello.ticket = SessionName::of_ticket(octets),
                extension::EARLY_DATA => hello.has_early_data = true,
                _ => {}
            }
        }
        Some(hello)
    }
}

/// What a ServerHello or HelloRetryRequest settles.
#[derive(Debug)]
pub(super) struct ServerHello {
    /// The version on the wire: 0x0300 to 0x0304, or 0x7fNN for draft NN of TLS 1.3.
    pub(super) version: u16,
    pub(super) random: [u8; 32],
    pub(super) session_id: Vec<u8>,
    pub(super) suite: u16,
    pub(super) has_compression: bool,
    pub(super) alpn: Option<String>,
    pub(super) has_encrypt_then_mac: bool,
    pub(super) has_extended_master_secret: bool,
}

impl ServerHello {
    /// Reads the body of a ServerHello.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let version = reader.u16()?;
        let random = *reader.array::<32>()?;
        // Drafts of TLS 1.3 before 22 left the session id and the compression method out.
        let is_early_draft = version >> 8 == 0x7f;
        let session_id = if is_early_draft { &[] } else { reader.vector8().filter(|id| id.len() <= 32)? };
        let suite = reader.u16()?;
        let has_compression = !is_early_draft && reader.take(1)? != [0];
        let mut hello = Self {
            version,
            random,
            session_id: session_id.to_vec(),
            suite,
            has_compression,
            alpn: None,
            has_encrypt_then_mac: false,
            has_extended_master_secret: false,
        };
        for (kind, octets) in reader.extensions() {
            match (kind, octets) {
                (extension::SUPPORTED_VERSIONS, &[major, minor]) => hello.version = u16::from_be_bytes([major, minor]),
                (extension::ALPN, _) => hello.alpn = first_protocol(octets),
                (extension::ENCRYPT_THEN_MAC, _) => hello.has_encrypt_then_mac = true,
                (extension::EXTENDED_MASTER_SECRET, _) => hello.has_extended_master_secret = true,
                _ => {}
            }
        }
        Some(hello)
    }

    /// Whether this is a HelloRetryRequest (RFC 8446 section 4.1.3).
    pub(super) fn is_retry(&self) -> bool {
        self.random == RETRY_RANDOM
    }
}

/// What EncryptedExtensions settle.
pub(super) struct EncryptedExtensions {
    /// The protocol agreed on by ALPN; wire text.
    pub(super) alpn: Option<String>,
    /// Whether 0-RTT data was accepted.
    pub(super) has_early_data: bool,
}

impl EncryptedExtensions {
    /// Reads the body of EncryptedExtensions.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut found = Self { alpn: None, has_early_data: false };
        for (kind, octets) in Reader(body).extensions() {
            match kind {
                extension::ALPN => found.alpn = first_protocol(octets),
                extension::EARLY_DATA => found.has_early_data = true,
                _ => {}
            }
        }
        found
    }
}

/// The ticket of a TLS 1.2 NewSessionTicket (RFC 5077 section 3.3).
pub(super) fn new_ticket(body: &[u8]) -> Option<SessionName> {
    let mut reader = Reader(body);
    reader.take(4)?;
    SessionName::of_ticket(reader.vector16()?)
}

/// The first octets of the encrypted premaster secret in a ClientKeyExchange of an RSA suite.
pub(super) fn encrypted_premaster(body: &[u8]) -> Option<[u8; 8]> {
    Reader(Reader(body).vector16()?).array().copied()
}

/// The types of handshake messages.
pub(super) mod message {
    pub(in crate::decode::tls) const CLIENT_HELLO: u8 = 1;
    pub(in crate::decode::tls) const SERVER_HELLO: u8 = 2;
    pub(in crate::decode::tls) const NEW_SESSION_TICKET: u8 = 4;
    pub(in crate::decode::tls) const END_OF_EARLY_DATA: u8 = 5;
    pub(in crate::decode::tls) const HELLO_RETRY_REQUEST: u8 = 6;
    pub(in crate::decode::tls) const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub(in crate::decode::tls) const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub(in crate::decode::tls) const FINISHED: u8 = 20;
    pub(in crate::decode::tls) const KEY_UPDATE: u8 = 24;
}

mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const ALPN: u16 = 16;
    pub(super) const ENCRYPT_THEN_MAC: u16 = 22;
    pub(super) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(super) const SESSION_TICKET: u16 = 35;
    pub(super) const EARLY_DATA: u16 = 42;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
}

/// Octets of one handshake message that is kept.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// SHA-256 of "HelloRetryRequest".
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a,
    0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Octets of the message that starts here, with its header.
fn message_length(start: &[u8]) -> Option<usize> {
    let &[_, high, middle, low, ..] = start else { return None };
    Some(4 + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)))
}

/// Whether anything is read from messages of this type; certificates, for one, are not.
fn is_needed(message: &[u8]) -> bool {
    matches!(message.first().copied(), Some(1..=8 | message::CLIENT_KEY_EXCHANGE | message::FINISHED | message::KEY_UPDATE))
}

/// Takes up to `length` octets off the start.
fn take<'a>(content: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = content.split_at(length.min(content.len()));
    *content = rest;
    taken
}

fn first_name(extension: &[u8]) -> Option<String> {
    let mut list = Reader(Reader(extension).vector16()?);
    if list.take(1)? != [0] {
        return None;
    }
    list.vector16().map(text)
}

fn first_protocol(extension: &[u8]) -> Option<String> {
    Reader(Reader(extension).vector16()?).vector8().map(text)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Reads fields one after the other, never beyond the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(|octets| u16::from_be_bytes(*octets))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.array::<1>()?[0];
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// The extensions that follow, as far as they are whole.
    fn extensions(mut self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut list = Reader(self.vector16().unwrap_or_default());
        std::iter::from_fn(move || Some((list.u16()?, list.vector16()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(kind: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = length.to_be_bytes();
        let mut octets = vec![kind, high, middle, low];
        octets.extend((0..length).map(|at| at as u8));
        octets
    }

    /// The messages that are found in records of these contents, and the octets that were passed.
    fn collect<'a>(records: impl Iterator<Item = &'a [u8]>) -> Option<(Vec<Vec<u8>>, usize)> {
        let (mut messages, mut found, mut passed) = (Messages::default(), Vec::new(), 0);
        for mut content in records {
            while let Some(step) = messages.next(&mut content).ok()? {
                match step {
                    Step::Message(octets) => found.push(octets.to_vec()),
                    Step::Collected => found.push(messages.whole()),
                    Step::Passed(octets) => passed += octets.len(),
                    Step::PassedHeader(octets) => passed += octets.len(),
                }
            }
        }
        Some((found, passed))
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let parts = [message_of(1, 40), message_of(11, 300), message_of(20, 12), message_of(24, 1), message_of(8, 0)];
        let octets = parts.concat();
        for size in 1..octets.len() {
            let (found, passed) = collect(octets.chunks(size)).unwrap();
            assert_eq!(found, [&parts[0], &parts[2], &parts[3], &parts[4]].map(Clone::clone), "{size}");
            assert_eq!(passed, 304, "{size}");
        }
    }

    #[test]
    fn a_message_beyond_the_bound_is_refused_and_a_certificate_of_any_length_is_passed() {
        assert!(collect(message_of(2, MESSAGE_BYTES_MAX).chunks(1000)).is_none());
        let (found, passed) = collect(message_of(11, 1 << 20).chunks(16_384)).unwrap();
        assert_eq!((found.len(), passed), (0, (1 << 20) + 4));
    }

    #[test]
    fn hellos_that_end_early_are_no_hellos() {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        assert!(ClientHello::read(&body).is_some());
        for length in 0..body.len() {
            assert!(ClientHello::read(&body[..length]).is_none(), "{length}");
        }
        // A name list that says it is longer than its extension.
        body.extend([0, 9, 0, 0, 0, 5, 0, 200, 0, 0, 1]);
        assert_eq!(ClientHello::read(&body).unwrap().sni, None);
        let mut answer = vec![3, 3];
        answer.extend([7; 32]);
        answer.extend([0, 0xc0, 0x2f, 0]);
        assert_eq!(ServerHello::read(&answer).unwrap().suite, 0xc02f);
        assert!((0..answer.len()).all(|length| ServerHello::read(&answer[..length]).is_none()));
    }
}
