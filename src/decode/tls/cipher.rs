//! Record protection of one direction: a record in, its plaintext out, and never before tag or MAC agree.

use std::ops::Range;

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128Enc, Aes256Enc};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::decode::tls::cbc::Cbc;
use crate::decode::tls::ccm;
use crate::decode::tls::record::{ALERT, APPLICATION_DATA, HANDSHAKE, Header};
use crate::decode::tls::schedule::{MacKey, expand_label};
use crate::decode::tls::stream::Rc4;
use crate::decode::tls::suite::{Bulk, Suite};

/// The keys of one direction and the number of the next record.
pub(super) struct Opener {
    cipher: Cipher,
    /// The number of the next record under these keys.
    pub(super) sequence: u64,
    /// Whether a record has been opened with these keys.
    pub(super) is_proven: bool,
    /// Which secret of several the keys come from.
    pub(super) origin: u8,
    tls13: Option<Box<Traffic>>,
}

/// What TLS 1.3 needs to update keys.
struct Traffic {
    secret: [u8; 48],
    suite: Suite,
    has_aad: bool,
    epoch: Epoch,
}

/// The keys of TLS 1.3 follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Epoch {
    /// 0-RTT data.
    Early,
    /// After the hellos.
    Handshake,
    /// After Finished.
    Application,
}

/// A record that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The content type, also where the header hides it.
    pub(super) kind: u8,
    /// Where the content is in the buffer.
    pub(super) content: Range<usize>,
}

/// What the end of a TLS 1.3 record says about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Peeked {
    /// A record of this type with this many octets of content, the last of which are given (eight at most).
    Content { kind: u8, length: usize, last: [u8; 8] },
    /// More padding than was looked at.
    Padded,
}

/// The keys of TLS 1.2 and below for one direction, cut from the key block.
pub(super) struct KeyParts<'a> {
    /// The MAC key; empty for an AEAD.
    pub(super) mac: &'a [u8],
    /// The key.
    pub(super) key: &'a [u8],
    /// The IV, or the part of the nonce that is not sent.
    pub(super) iv: &'a [u8],
}

impl Opener {
    /// Keys up to TLS 1.2. `has_chained_iv` is TLS 1.0, `encrypt_then_mac` is RFC 7366.
    pub(super) fn tls12(suite: Suite, parts: &KeyParts<'_>, has_chained_iv: bool, encrypt_then_mac: bool) -> Option<Self> {
        let cipher = match suite.bulk {
            Bulk::Null => Cipher::Null(MacKey::new(suite.mac, parts.mac)?),
            Bulk::Rc4 => Cipher::Rc4(Box::new(Rc4::new(parts.key)), MacKey::new(suite.mac, parts.mac)?),
            Bulk::AesCbc(_) => {
                let mac = MacKey::new(suite.mac, parts.mac)?;
                let chained_iv = has_chained_iv.then(|| parts.iv.try_into().ok()).flatten();
                Cipher::Cbc(Box::new(Cbc::new(parts.key, mac, chained_iv, encrypt_then_mac)?))
            }
            Bulk::AesGcm(_) | Bulk::ChaCha20Poly1305 => {
                let mut iv = [0; 12];
                iv.get_mut(..parts.iv.len())?.copy_from_slice(parts.iv);
                Cipher::Aead(Box::new(Aead { key: aead_key(suite.bulk, parts.key)?, iv, ctr: None }))
            }
            Bulk::AesCcm(_, tag_length) => {
                let mut iv = [0; 12];
                iv.get_mut(..parts.iv.len())?.copy_from_slice(parts.iv);
                Cipher::Ccm(Box::new(Ccm { key: BlockKey::new(parts.key)?, iv, tag_length }))
            }
        };
        Some(Self { cipher, sequence: 0, is_proven: false, origin: 0, tls13: None })
    }

    /// Keys of TLS 1.3 from a traffic secret. `has_aad` is false for the drafts that did not authenticate the header.
    pub(super) fn tls13(suite: Suite, secret: &[u8], epoch: Epoch, has_aad: bool) -> Option<Self> {
        if secret.len() != suite.prf.length() {
            return None;
        }
        let (mut key, mut iv) = ([0; 32], [0; 12]);
        let key = key.get_mut(..key_length(suite.bulk))?;
        expand_label(suite.prf, secret, b"key", key)?;
        expand_label(suite.prf, secret, b"iv", &mut iv)?;
        let cipher = match suite.bulk {
            Bulk::AesGcm(_) => {
                Cipher::Aead(Box::new(Aead { key: aead_key(suite.bulk, key)?, iv, ctr: Some(BlockKey::new(key)?) }))
            }
            Bulk::ChaCha20Poly1305 => Cipher::Aead(Box::new(Aead { key: aead_key(suite.bulk, key)?, iv, ctr: None })),
            Bulk::AesCcm(_, tag_length) => Cipher::Ccm(Box::new(Ccm { key: BlockKey::new(key)?, iv, tag_length })),
            _ => return None,
        };
        let mut traffic = Traffic { secret: [0; 48], suite, has_aad, epoch };
        traffic.secret.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { cipher, sequence: 0, is_proven: false, origin: 0, tls13: Some(Box::new(traffic)) })
    }

    /// What reads the records of a suite that does not encrypt, without a key: nothing of them is authenticated. `epoch` is that
    /// of TLS 1.3.
    pub(super) fn readable(suite: Suite, epoch: Option<Epoch>) -> Self {
        let tls13 = epoch.map(|epoch| Box::new(Traffic { secret: [0; 48], suite, has_aad: true, epoch }));
        let cipher = Cipher::Readable(Readable { mac_length: suite.mac.length(), is_believed: false });
        Self { cipher, sequence: 0, is_proven: false, origin: u8::MAX, tls13 }
    }

    /// The keys after a KeyUpdate; `None` below TLS 1.3.
    pub(super) fn next_generation(&self) -> Option<Self> {
        let traffic = self.tls13.as_deref()?;
        let mut next = [0; 48];
        let length = traffic.suite.prf.length();
        expand_label(traffic.suite.prf, traffic.secret.get(..length)?, b"traffic upd", next.get_mut(..length)?)?;
        let mut opener = Self::tls13(traffic.suite, next.get(..length)?, traffic.epoch, traffic.has_aad)?;
        opener.is_proven = self.is_proven;
        Some(opener)
    }

    /// The epoch of TLS 1.3 keys.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.tls13.as_deref().map(|traffic| traffic.epoch)
    }

    /// Whether records can be opened without the ones before them.
    pub(super) fn can_lose_records(&self) -> bool {
        match &self.cipher {
            Cipher::Aead(_) | Cipher::Ccm(_) | Cipher::Null(_) | Cipher::Readable(_) => true,
            Cipher::Cbc(cbc) => !cbc.is_chained(),
            Cipher::Rc4(..) => false,
        }
    }

    /// Octets by which a record body is longer than its content (at least), for ciphers without padding to a block.
    pub(super) fn overhead(&self) -> usize {
        let type_octet = usize::from(self.tls13.is_some());
        match &self.cipher {
            Cipher::Aead(aead) => type_octet + 16 + explicit_nonce_length(self.tls13.is_none() && !aead.is_chacha()),
            Cipher::Ccm(ccm) => type_octet + ccm.tag_length + explicit_nonce_length(self.tls13.is_none()),
            Cipher::Null(mac) | Cipher::Rc4(_, mac) => mac.length(),
            Cipher::Readable(readable) => type_octet + readable.mac_length,
            Cipher::Cbc(cbc) => cbc.overhead(),
        }
    }

    /// Whether a record of application data can be counted without opening it.
    pub(super) fn can_pass(&self) -> bool {
        match &self.cipher {
            Cipher::Aead(aead) => self.tls13.is_none() || aead.ctr.is_some(),
            Cipher::Ccm(_) => true,
            _ => false,
        }
    }

    /// Whether the content type of records is hidden.
    pub(super) const fn hides_type(&self) -> bool {
        self.tls13.is_some()
    }

    /// Opens the record body in `buffer`, in place. On failure the buffer's content is lost.
    pub(super) fn open(&mut self, header: Header, buffer: &mut [u8]) -> Option<Opened> {
        let opened = self.open_numbered(header, self.sequence, buffer)?;
        self.sequence += 1;
        self.is_proven = true;
        Some(opened)
    }

    /// Opens a record as number `sequence`, without counting it.
    pub(super) fn open_numbered(&mut self, header: Header, sequence: u64, buffer: &mut [u8]) -> Option<Opened> {
        if self.tls13.is_some() && header.kind != APPLICATION_DATA {
            return None;
        }
        let content = match &mut self.cipher {
            Cipher::Aead(aead) => match &self.tls13 {
                Some(traffic) => aead.open13(header, sequence, traffic.has_aad, buffer)?,
                None => aead.open12(header, sequence, buffer)?,
            },
            Cipher::Ccm(ccm) => match &self.tls13 {
                Some(traffic) => ccm.open13(header, sequence, traffic.has_aad, buffer)?,
                None => ccm.open12(header, sequence, buffer)?,
            },
            Cipher::Cbc(cbc) => cbc.open(header, sequence, buffer)?,
            Cipher::Null(mac) => {
                let content = verified(mac, header, sequence, buffer)?;
                // A MAC over what is encrypted (RFC 7366) would hold here too, where a ServerHello was tampered with to name such
                // a suite: the first message under it tells, in clear.
                if !self.is_proven && !buffer.starts_with(&FINISHED) {
                    return None;
                }
                content
            }
            Cipher::Readable(readable) => match &self.tls13 {
                Some(_) => readable.open13(buffer)?,
                None => readable.open12(header, buffer)?,
            },
            Cipher::Rc4(rc4, mac) => {
                rc4.apply(buffer);
                verified(mac, header, sequence, buffer)?
            }
        };
        if self.tls13.is_none() {
            return Some(Opened { kind: header.kind, content });
        }
        let inner = buffer.get(content.clone())?;
        let length = inner.iter().rposition(|&octet| octet != 0)?;
        Some(Opened { kind: *inner.get(length)?, content: content.start..content.start + length })
    }

    /// Where the octets begin that [`Opener::peek`] needs of a body of `length` octets.
    pub(super) fn peek_start(&self, length: usize) -> usize {
        let sealed = length.saturating_sub(self.tag_length() + 1);
        (sealed / 16).saturating_sub(PEEKED_BLOCKS - 1) * 16
    }

    /// Reads type and end of a TLS 1.3 record of `length` octets from its last octets, without authenticating it.
    pub(super) fn peek(&self, length: usize, tail: &[u8]) -> Peeked {
        let start = self.peek_start(length);
        let sealed_length = tail.len().saturating_sub(self.tag_length()).min(PEEKED_BLOCKS * 16);
        let mut sealed = [0; PEEKED_BLOCKS * 16];
        sealed.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        let first_block = u32::try_from(start / 16).unwrap_or(u32::MAX);
        let applied = match &self.cipher {
            Cipher::Aead(aead) => aead.apply_ctr(self.sequence, first_block, &mut sealed),
            Cipher::Ccm(ccm) => {
                ccm::apply(&ccm.key, &xor_nonce(&ccm.iv, self.sequence), first_block.saturating_add(1), &mut sealed);
                Some(())
            }
            _ => None,
        };
        let inner = sealed.get(..sealed_length).unwrap_or_default();
        let Some((end, &kind)) = applied.and_then(|()| inner.iter().enumerate().rfind(|(_, octet)| **octet != 0)) else {
            return Peeked::Padded;
        };
        let mut last = [0; 8];
        let seen = inner.get(..end).unwrap_or_default();
        last.iter_mut().rev().zip(seen.iter().rev()).for_each(|(to, from)| *to = *from);
        Peeked::Content { kind, length: start + end, last }
    }

    fn tag_length(&self) -> usize {
        match &self.cipher {
            Cipher::Ccm(ccm) => ccm.tag_length,
            _ => 16,
        }
    }

    /// The record number that the record itself names, where a cipher sends its nonce.
    pub(super) fn explicit_number(&self, body: &[u8]) -> Option<u64> {
        let sends_nonce = match &self.cipher {
            Cipher::Aead(aead) => !aead.is_chacha(),
            Cipher::Ccm(_) => true,
            _ => false,
        };
        let (nonce, _) = body.split_first_chunk::<8>()?;
        (sends_nonce && self.tls13.is_none()).then(|| u64::from_be_bytes(*nonce))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.secret.fill(0);
        std::hint::black_box(&self.secret);
    }
}

/// So many bytes of text at the start of application data are not ciphertext.
const TEXT_BYTES: usize = 16;

/// How a Finished message of TLS 1.2 and before begins (RFC 5246 section 7.4.9): the first under new keys.
const FINISHED: [u8; 4] = [20, 0, 0, 12];

enum Cipher {
    Null(MacKey),
    /// No encryption, and a MAC that cannot be verified.
    Readable(Readable),
    Rc4(Box<Rc4>, MacKey),
    Cbc(Box<Cbc>),
    Aead(Box<Aead>),
    Ccm(Box<Ccm>),
}

struct Readable {
    mac_length: usize,
    /// Whether a record has shown that there is no encryption indeed. A ServerHello that was tampered with can name such a suite.
    is_believed: bool,
}

impl Readable {
    /// The content of a record below TLS 1.3. `None` where it looks encrypted.
    fn open12(&mut self, header: Header, buffer: &[u8]) -> Option<Range<usize>> {
        let content = buffer.len().checked_sub(self.mac_length)?;
        let start = buffer.get(..content.min(TEXT_BYTES))?;
        let is_text = start.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
        self.is_believed |= match header.kind {
            HANDSHAKE => start.starts_with(&FINISHED),
            APPLICATION_DATA => is_text && !start.is_empty(),
            _ => false,
        };
        match header.kind {
            APPLICATION_DATA if !self.is_believed => None,
            // A Finished that is none tells nothing yet.
            HANDSHAKE if !self.is_believed => Some(0..0),
            _ => Some(0..content),
        }
    }

    /// The inner plaintext of a record of TLS 1.3 (RFC 9150). `None` where its type is none.
    fn open13(&self, buffer: &[u8]) -> Option<Range<usize>> {
        let content = 0..buffer.len().checked_sub(self.mac_length)?;
        let kind = buffer.get(content.clone())?.iter().rfind(|byte| **byte != 0)?;
        matches!(*kind, ALERT..=APPLICATION_DATA).then_some(content)
    }
}

struct Aead {
    key: LessSafeKey,
    /// TLS 1.2 AES: four octets of salt. Otherwise: what the record number is combined with.
    iv: [u8; 12],
    /// The same key, for looking at single blocks; none for ChaCha20 and for TLS 1.2.
    ctr: Option<BlockKey>,
}

impl Aead {
    fn is_chacha(&self) -> bool {
        self.key.algorithm() == &CHACHA20_POLY1305
    }

    /// Decrypts blocks of AES-GCM from block `first` of the content on, without authenticating them.
    fn apply_ctr(&self, sequence: u64, first: u32, octets: &mut [u8]) -> Option<()> {
        let key = self.ctr.as_ref()?;
        let nonce = xor_nonce(&self.iv, sequence);
        // Block 1 masks the tag, so that the content starts with block 2.
        for (block, number) in octets.chunks_mut(16).zip(first.saturating_add(2)..) {
            let mut counter = [0; 16];
            counter.iter_mut().zip(nonce.iter().chain(&number.to_be_bytes())).for_each(|(to, from)| *to = *from);
            key.encrypt(&mut counter);
            block.iter_mut().zip(counter).for_each(|(to, from)| *to ^= from);
        }
        Some(())
    }

    fn open12(&self, header: Header, sequence: u64, buffer: &mut [u8]) -> Option<Range<usize>> {
        let (nonce, sealed, start) = if self.is_chacha() {
            (xor_nonce(&self.iv, sequence), buffer, 0)
        } else {
            let (explicit, sealed) = buffer.split_first_chunk_mut::<8>()?;
            (salted_nonce(&self.iv, explicit), sealed, 8)
        };
        let aad = aad12(header, sequence, sealed.len().checked_sub(16)?);
        let content = self.key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed).ok()?;
        Some(start..start + content.len())
    }

    fn open13(&self, header: Header, sequence: u64, has_aad: bool, buffer: &mut [u8]) -> Option<Range<usize>> {
        let nonce = Nonce::assume_unique_for_key(xor_nonce(&self.iv, sequence));
        let octets = header.octets();
        let aad = if has_aad { octets.as_slice() } else { &[] };
        let content = self.key.open_in_place(nonce, Aad::from(aad), buffer).ok()?;
        Some(0..content.len())
    }
}

struct Ccm {
    key: BlockKey,
    iv: [u8; 12],
    tag_length: usize,
}

impl Ccm {
    fn open12(&self, header: Header, sequence: u64, buffer: &mut [u8]) -> Option<Range<usize>> {
        let (explicit, sealed) = buffer.split_first_chunk_mut::<8>()?;
        let aad = aad12(header, sequence, sealed.len().checked_sub(self.tag_length)?);
        let length = ccm::open(&self.key, &salted_nonce(&self.iv, explicit), &aad, self.tag_length, sealed)?;
        Some(8..8 + length)
    }

    fn open13(&self, header: Header, sequence: u64, has_aad: bool, buffer: &mut [u8]) -> Option<Range<usize>> {
        let octets = header.octets();
        let aad = if has_aad { octets.as_slice() } else { &[] };
        let length = ccm::open(&self.key, &xor_nonce(&self.iv, sequence), aad, self.tag_length, buffer)?;
        Some(0..length)
    }
}

/// An AES key that encrypts single blocks.
pub(super) enum BlockKey {
    Aes128(Box<Aes128Enc>),
    Aes256(Box<Aes256Enc>),
}

impl BlockKey {
    /// From 16 or 32 octets.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Aes128(Box::new(Aes128Enc::new_from_slice(key).ok()?))),
            32 => Some(Self::Aes256(Box::new(Aes256Enc::new_from_slice(key).ok()?))),
            _ => None,
        }
    }

    /// Encrypts a block.
    pub(super) fn encrypt(&self, block: &mut [u8; 16]) {
        match self {
            Self::Aes128(key) => key.encrypt_block(block.into()),
            Self::Aes256(key) => key.encrypt_block(block.into()),
        }
    }
}

/// Octets of MAC key, key and IV in the key block of TLS 1.2 and below.
pub(super) const fn key_block_lengths(suite: Suite) -> (usize, usize, usize) {
    let mac = match suite.bulk {
        Bulk::Null | Bulk::Rc4 | Bulk::AesCbc(_) => suite.mac.length(),
        _ => 0,
    };
    let iv = match suite.bulk {
        Bulk::Null | Bulk::Rc4 => 0,
        Bulk::AesCbc(_) => 16,
        Bulk::AesGcm(_) | Bulk::AesCcm(..) => 4,
        Bulk::ChaCha20Poly1305 => 12,
    };
    (mac, key_length(suite.bulk), iv)
}

const fn key_length(bulk: Bulk) -> usize {
    match bulk {
        Bulk::Null => 0,
        Bulk::Rc4 => 16,
        Bulk::AesCbc(length) | Bulk::AesGcm(length) | Bulk::AesCcm(length, _) => length,
        Bulk::ChaCha20Poly1305 => 32,
    }
}

fn aead_key(bulk: Bulk, key: &[u8]) -> Option<LessSafeKey> {
    let algorithm: &Algorithm = match bulk {
        Bulk::AesGcm(16) => &AES_128_GCM,
        Bulk::AesGcm(32) => &AES_256_GCM,
        Bulk::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        _ => return None,
    };
    Some(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))
}

const fn explicit_nonce_length(is_sent: bool) -> usize {
    if is_sent { 8 } else { 0 }
}

/// The nonce of TLS 1.3 and of ChaCha20-Poly1305: the IV combined with the record number.
fn xor_nonce(iv: &[u8; 12], sequence: u64) -> [u8; 12] {
    let mut nonce = *iv;
    nonce.iter_mut().rev().zip(sequence.to_be_bytes().iter().rev()).for_each(|(to, from)| *to ^= from);
    nonce
}

/// The nonce of AES-GCM and AES-CCM in TLS 1.2: four octets of salt and eight that are sent.
fn salted_nonce(salt: &[u8; 12], explicit: &[u8; 8]) -> [u8; 12] {
    let mut nonce = *salt;
    nonce.iter_mut().skip(4).zip(explicit).for_each(|(to, from)| *to = *from);
    nonce
}

/// What the MAC and the AEAD of TLS 1.2 cover besides the content.
pub(super) fn aad12(header: Header, sequence: u64, content_length: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    let length = u16::try_from(content_length).unwrap_or(u16::MAX).to_be_bytes();
    let parts = sequence.to_be_bytes().into_iter().chain([header.kind, header.version[0], header.version[1]]).chain(length);
    aad.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    aad
}

/// The content of a body that ends in its MAC, if the MAC agrees.
pub(super) fn verified(mac: &MacKey, header: Header, sequence: u64, body: &[u8]) -> Option<Range<usize>> {
    let mac_length = mac.length();
    let (content, sent) = body.split_at_checked(body.len().checked_sub(mac_length)?)?;
    let expected = mac.sign(&[&aad12(header, sequence, content.len()), content]);
    (expected.as_slice() == sent).then_some(0..content.len())
}

/// How many of the last blocks of a record are looked at: three, so that most padding is seen through.
const PEEKED_BLOCKS: usize = 3;
