//! AES-CCM (RFC 3610) with nonces of twelve octets, as TLS uses it.

use crate::decode::tls::cipher::BlockKey;

/// Opens ciphertext and tag in place; gives the octets of content, once the tag agrees.
pub(super) fn open(key: &BlockKey, nonce: &[u8; 12], aad: &[u8], tag_length: usize, sealed: &mut [u8]) -> Option<usize> {
    let length = sealed.len().checked_sub(tag_length)?;
    let (content, tag) = sealed.split_at_mut_checked(length)?;
    apply(key, nonce, 1, content);
    let mut expected = authenticate(key, nonce, aad, tag_length, content);
    apply(key, nonce, 0, &mut expected);
    (expected.get(..tag_length)? == &*tag).then_some(length)
}

/// Encrypts or decrypts with the key stream from block `first` on. Block 0 masks the tag, so that content starts with block 1.
pub(super) fn apply(key: &BlockKey, nonce: &[u8; 12], first: u32, octets: &mut [u8]) {
    for (block, number) in octets.chunks_mut(16).zip(first..) {
        let mut stream = block_of(LENGTH_OCTETS - 1, nonce, number);
        key.encrypt(&mut stream);
        block.iter_mut().zip(stream).for_each(|(to, from)| *to ^= from);
    }
}

/// The CBC-MAC of RFC 3610 section 2.2.
fn authenticate(key: &BlockKey, nonce: &[u8; 12], aad: &[u8], tag_length: usize, content: &[u8]) -> [u8; 16] {
    let has_aad = u8::from(!aad.is_empty()) << 6;
    let tag_flag = u8::try_from(tag_length.saturating_sub(2) / 2).unwrap_or(0) << 3;
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut mac = block_of(has_aad | tag_flag | (LENGTH_OCTETS - 1), nonce, length);
    key.encrypt(&mut mac);
    if !aad.is_empty() {
        let mut prefixed = [0; 16];
        let aad_length = u16::try_from(aad.len()).unwrap_or(u16::MAX).to_be_bytes();
        prefixed.iter_mut().zip(aad_length.iter().chain(aad)).for_each(|(to, from)| *to = *from);
        mix(key, &mut mac, &prefixed);
        aad.get(14..).unwrap_or_default().chunks(16).for_each(|block| mix(key, &mut mac, block));
    }
    content.chunks(16).for_each(|block| mix(key, &mut mac, block));
    mac
}

fn mix(key: &BlockKey, mac: &mut [u8; 16], block: &[u8]) {
    mac.iter_mut().zip(block).for_each(|(to, from)| *to ^= from);
    key.encrypt(mac);
}

/// Flags, nonce, and a number of three octets.
fn block_of(flags: u8, nonce: &[u8; 12], number: u32) -> [u8; 16] {
    let mut block = [0; 16];
    let [_, number @ ..] = number.to_be_bytes();
    let octets = [flags].into_iter().chain(*nonce).chain(number);
    block.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
    block
}

/// Octets that count the length of the content.
const LENGTH_OCTETS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_the_example_of_sp800_38c() {
        // NIST SP 800-38C, example 3: 12 octets of nonce, a tag of 8 octets, 20 octets of associated data.
        let key: Vec<u8> = (0x40..0x50).collect();
        let nonce: [u8; 12] = std::array::from_fn(|at| 0x10 + at as u8);
        let aad: Vec<u8> = (0..20).collect();
        let mut sealed = vec![
            0xe3, 0xb2, 0x01, 0xa9, 0xf5, 0xb7, 0x1a, 0x7a, 0x9b, 0x1c, 0xea, 0xec, 0xcd, 0x97, 0xe7, 0x0b, 0x61, 0x76, 0xaa,
            0xd9, 0xa4, 0x42, 0x8a, 0xa5, 0x48, 0x43, 0x92, 0xfb, 0xc1, 0xb0, 0x99, 0x51,
        ];
        let key = BlockKey::new(&key).unwrap();
        let mut broken = sealed.clone();
        broken[31] ^= 1;
        assert_eq!(open(&key, &nonce, &aad, 8, &mut broken), None);
        assert_eq!(open(&key, &nonce, &aad, 8, &mut sealed), Some(24));
        assert_eq!(sealed[..24], (0x20..0x38).collect::<Vec<u8>>());
    }
}
