//! The key schedules: secrets of a key log in, record keys out (RFC 2246 and 5246 section 5 and 6.3, RFC 8446 section 7).

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384};

use crate::decode::tls::suite::Hash;

/// A digest or a MAC: as many octets as its hash gives.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    octets: [u8; 48],
    length: usize,
}

impl Digest {
    fn new(octets: &[u8]) -> Self {
        let mut digest = Self { octets: [0; 48], length: octets.len().min(48) };
        digest.octets.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
        digest
    }

    /// The octets.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

/// An HMAC key that is ready for use.
#[derive(Clone)]
pub(super) enum MacKey {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Box<Hmac<Sha384>>),
}

impl MacKey {
    /// From the octets of a key, of any length.
    pub(super) fn new(hash: Hash, key: &[u8]) -> Option<Self> {
        Some(match hash {
            Hash::Md5 => Self::Md5(Hmac::new_from_slice(key).ok()?),
            Hash::Sha1 => Self::Sha1(Hmac::new_from_slice(key).ok()?),
            Hash::Sha256 => Self::Sha256(Hmac::new_from_slice(key).ok()?),
            Hash::Sha384 => Self::Sha384(Box::new(Hmac::new_from_slice(key).ok()?)),
        })
    }

    /// Octets of a MAC.
    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Md5(_) => 16,
            Self::Sha1(_) => 20,
            Self::Sha256(_) => 32,
            Self::Sha384(_) => 48,
        }
    }

    /// The MAC of the parts, one after the other.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> Digest {
        macro_rules! sign {
            ($key:expr) => {{
                let mut mac = $key.clone();
                parts.iter().for_each(|part| mac.update(part));
                Digest::new(&mac.finalize().into_bytes())
            }};
        }
        match self {
            Self::Md5(key) => sign!(key),
            Self::Sha1(key) => sign!(key),
            Self::Sha256(key) => sign!(key),
            Self::Sha384(key) => sign!(key),
        }
    }
}

/// How a version makes keys from a master secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prf {
    /// TLS 1.0 and 1.1: MD5 and SHA-1 together.
    Md5AndSha1,
    /// TLS 1.2: the hash of the suite.
    Tls12(Hash),
}

impl Prf {
    /// Fills `output` from the secret, the label and the seed.
    pub(super) fn fill(self, secret: &[u8], label: &[u8], seed: &[&[u8]], output: &mut [u8]) -> Option<()> {
        output.fill(0);
        match self {
            Self::Tls12(hash) => expand(hash, secret, label, seed, output),
            Self::Md5AndSha1 => {
                let half = secret.len().div_ceil(2);
                expand(Hash::Md5, secret.get(..half)?, label, seed, output)?;
                expand(Hash::Sha1, secret.get(secret.len() - half..)?, label, seed, output)
            }
        }
    }

    /// The hash of a handshake so far, as the extended master secret needs it (RFC 7627).
    pub(super) fn session_hash(self, transcript: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5AndSha1 => {
                let mut both = Md5::digest(transcript).to_vec();
                both.extend_from_slice(&Sha1::digest(transcript));
                both
            }
            Self::Tls12(Hash::Sha384) => Sha384::digest(transcript).to_vec(),
            Self::Tls12(_) => Sha256::digest(transcript).to_vec(),
        }
    }

    /// The master secret from a premaster secret.
    pub(super) fn master(self, premaster: &[u8], seed: MasterSeed<'_>) -> Option<[u8; 48]> {
        let mut master = [0; 48];
        match seed {
            MasterSeed::Randoms { client, server } => {
                self.fill(premaster, b"master secret", &[client, server], &mut master)?;
            }
            MasterSeed::Extended { transcript } => {
                let hash = self.session_hash(transcript);
                self.fill(premaster, b"extended master secret", &[&hash], &mut master)?;
            }
        }
        Some(master)
    }
}

/// What a master secret is bound to.
#[derive(Clone, Copy)]
pub(super) enum MasterSeed<'a> {
    /// The two randoms (RFC 5246 section 8.1).
    Randoms { client: &'a [u8; 32], server: &'a [u8; 32] },
    /// The handshake messages up to ClientKeyExchange (RFC 7627 section 4).
    Extended { transcript: &'a [u8] },
}

/// P_hash of RFC 5246 section 5, combined with what is in `output` by XOR.
fn expand(hash: Hash, secret: &[u8], label: &[u8], seed: &[&[u8]], output: &mut [u8]) -> Option<()> {
    let key = MacKey::new(hash, secret)?;
    let mut whole = label.to_vec();
    seed.iter().for_each(|part| whole.extend_from_slice(part));
    let mut chain = key.sign(&[&whole]);
    for block in output.chunks_mut(hash.length()) {
        let stream = key.sign(&[chain.as_slice(), &whole]);
        block.iter_mut().zip(stream.as_slice()).for_each(|(to, from)| *to ^= from);
        chain = key.sign(&[chain.as_slice()]);
    }
    Some(())
}

/// HKDF-Expand-Label of RFC 8446 with an empty context, for outputs of one hash block at most.
pub(super) fn expand_label(hash: Hash, secret: &[u8], label: &[u8], output: &mut [u8]) -> Option<()> {
    let length = u16::try_from(output.len()).ok().filter(|_| output.len() <= hash.length())?;
    let label_length = u8::try_from(b"tls13 ".len() + label.len()).ok()?;
    let stream = MacKey::new(hash, secret)?.sign(&[&length.to_be_bytes(), &[label_length], b"tls13 ", label, &[0], &[1]]);
    output.iter_mut().zip(stream.as_slice()).for_each(|(to, from)| *to = *from);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn traffic_keys_are_those_of_rfc8448() {
        // Section 3, "Simple 1-RTT Handshake": the server's handshake traffic secret and what is derived from it.
        let secret = hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
        let (mut key, mut iv) = ([0; 16], [0; 12]);
        expand_label(Hash::Sha256, &secret, b"key", &mut key).unwrap();
        expand_label(Hash::Sha256, &secret, b"iv", &mut iv).unwrap();
        assert_eq!(key.as_slice(), hex("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(iv.as_slice(), hex("5d313eb2671276ee13000b30"));
    }

    #[test]
    fn the_prf_of_tls12_gives_the_published_vector() {
        // The test vector for P_SHA256 that was published on the TLS working group's list.
        let mut output = [0; 100];
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        Prf::Tls12(Hash::Sha256).fill(&secret, b"test label", &[&seed], &mut output).unwrap();
        let expected = hex(
            "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab
             4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66",
        );
        assert_eq!(output.as_slice(), expected);
    }

    #[test]
    fn too_long_an_output_is_refused() {
        assert_eq!(expand_label(Hash::Sha256, &[1; 32], b"key", &mut [0; 33]), None);
    }
}
