//! Records of AES-CBC suites, in all three ways of TLS: chained or sent IV, MAC inside or outside the encryption.

use std::ops::Range;

use aes::cipher::{BlockModeDecrypt as _, InnerIvInit as _, KeyInit as _};
use aes::{Aes128Dec, Aes256Dec};
use cbc::Decryptor;

use crate::decode::tls::cipher::verified;
use crate::decode::tls::record::Header;
use crate::decode::tls::schedule::MacKey;

/// The keys of one direction.
pub(super) struct Cbc {
    key: Key,
    mac: MacKey,
    /// TLS 1.0: the last block of the record before, which is the IV of the next.
    chained_iv: Option<[u8; 16]>,
    encrypt_then_mac: bool,
}

enum Key {
    Aes128(Aes128Dec),
    Aes256(Aes256Dec),
}

impl Cbc {
    /// From the keys; `None` if they have a wrong length. With `chained_iv`, the records send no IV.
    pub(super) fn new(key: &[u8], mac: MacKey, chained_iv: Option<[u8; 16]>, encrypt_then_mac: bool) -> Option<Self> {
        let key = match key.len() {
            16 => Key::Aes128(Aes128Dec::new_from_slice(key).ok()?),
            32 => Key::Aes256(Aes256Dec::new_from_slice(key).ok()?),
            _ => return None,
        };
        Some(Self { key, mac, chained_iv, encrypt_then_mac })
    }

    /// Whether a record cannot be opened without the one before it.
    pub(super) const fn is_chained(&self) -> bool {
        self.chained_iv.is_some()
    }

    /// Octets by which a body is longer than its content, at least.
    pub(super) const fn overhead(&self) -> usize {
        let iv = if self.is_chained() { 0 } else { 16 };
        iv + self.mac.length() + 1
    }

    /// Opens a body in place; gives where its content is.
    pub(super) fn open(&mut self, header: Header, sequence: u64, buffer: &mut [u8]) -> Option<Range<usize>> {
        let sealed_length = if self.encrypt_then_mac { verified(&self.mac, header, sequence, buffer)?.end } else { buffer.len() };
        let body = buffer.get_mut(..sealed_length)?;
        let (iv, blocks, start) = match self.chained_iv {
            Some(iv) => (iv, body, 0),
            None => {
                let (iv, blocks) = body.split_first_chunk_mut::<16>()?;
                (*iv, blocks, 16)
            }
        };
        let next_iv = *blocks.last_chunk::<16>()?;
        self.decrypt(&iv, blocks)?;
        let padded = without_padding(blocks)?;
        let content = if self.encrypt_then_mac { 0..padded.len() } else { verified(&self.mac, header, sequence, padded)? };
        if self.is_chained() {
            self.chained_iv = Some(next_iv);
        }
        Some(start..start + content.end)
    }

    fn decrypt(&self, iv: &[u8; 16], octets: &mut [u8]) -> Option<()> {
        let (blocks, []) = octets.as_chunks_mut::<16>() else { return None };
        let blocks = aes::Block::cast_slice_from_core_mut(blocks);
        match &self.key {
            Key::Aes128(key) => Decryptor::<&Aes128Dec>::inner_iv_init(key, iv.into()).decrypt_blocks(blocks),
            Key::Aes256(key) => Decryptor::<&Aes256Dec>::inner_iv_init(key, iv.into()).decrypt_blocks(blocks),
        }
        Some(())
    }
}

/// What comes before the padding, all of whose octets must be its length (RFC 5246 section 6.2.3.2).
fn without_padding(octets: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = octets.split_last()?;
    let (content, padding) = rest.split_at_checked(rest.len().checked_sub(usize::from(length))?)?;
    padding.iter().all(|&octet| octet == length).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_to_be_whole_and_uniform() {
        assert_eq!(without_padding(b"ab\x00"), Some(b"ab".as_slice()));
        assert_eq!(without_padding(b"ab\x02\x02\x02"), Some(b"ab".as_slice()));
        assert_eq!(without_padding(b"ab\x01\x02\x02"), None);
        assert_eq!(without_padding(b"\x03\x03\x03"), None);
        assert_eq!(without_padding(b""), None);
    }
}
