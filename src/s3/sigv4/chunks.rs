//! The chain of signatures over the chunks and the trailer of an aws-chunked body.

use std::fmt;

use ring::digest;

use crate::s3::aws_chunked::{Decoder, Malformed, Mode, Part};
use crate::s3::sigv4::{EMPTY_SHA256, Scope, SigningKey, hex};

/// Signs chunk after chunk; every signature covers the one before, the first that of the request.
#[derive(Clone, Debug)]
pub struct ChunkChain {
    key: SigningKey,
    date: Vec<u8>,
    scope: Vec<u8>,
    previous: Vec<u8>,
}

/// Where a chain does not verify. Chunks are counted from 1, the empty last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkFault {
    /// The data of a chunk are not those that were signed.
    Data(u64),
    /// The signature of a chunk is not the one that was made.
    Signature(u64),
    /// The trailer, or its signature.
    Trailer,
    /// The framing cannot be followed.
    Framing(Malformed),
    /// The end is missing.
    Incomplete,
}

impl fmt::Display for ChunkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(number) => write!(f, "the data of chunk {number} are not those that were signed"),
            Self::Signature(number) => write!(f, "the signature of chunk {number} was changed"),
            Self::Trailer => f.write_str("the trailer or its signature is not the one that was made"),
            Self::Framing(malformed) => write!(f, "the chunk framing cannot be followed: {}", malformed.label()),
            Self::Incomplete => f.write_str("the last chunk is missing"),
        }
    }
}

impl ChunkChain {
    /// Starts a chain; `date` is that of the request, `seed` its signature.
    pub fn new(key: SigningKey, date: &[u8], scope: &Scope, seed: &[u8]) -> Self {
        Self { key, date: date.to_vec(), scope: scope.text(), previous: seed.to_vec() }
    }

    /// The signature of the next chunk, whose SHA-256 is given.
    pub fn sign_chunk(&mut self, sha256: &[u8]) -> Vec<u8> {
        let lines: [&[u8]; 6] =
            [b"AWS4-HMAC-SHA256-PAYLOAD", &self.date, &self.scope, &self.previous, EMPTY_SHA256, &hex(sha256)];
        self.previous = self.key.sign_lines(&lines);
        self.previous.clone()
    }

    /// The signature of the trailer: lines `name:value`, each with LF at its end.
    pub fn sign_trailer(&mut self, lines: &[u8]) -> Vec<u8> {
        let hash = hex(digest::digest(&digest::SHA256, lines).as_ref());
        self.previous = self.key.sign_lines(&[b"AWS4-HMAC-SHA256-TRAILER", &self.date, &self.scope, &self.previous, &hash]);
        self.previous.clone()
    }

    /// Verifies a whole body.
    pub fn verify(mut self, mode: Mode, body: &[u8]) -> Result<(), ChunkFault> {
        let mut decoder = Decoder::new(mode);
        let mut chunks: Vec<(Vec<u8>, digest::Context)> = Vec::new();
        decoder.handle_parts(body, |part| match part {
            Part::Chunk { signature } => {
                chunks.push((signature.unwrap_or_default().to_vec(), digest::Context::new(&digest::SHA256)));
            }
            Part::Data(data) => {
                if let Some((_, context)) = chunks.last_mut() {
                    context.update(data);
                }
            }
        });
        let hashed: Vec<_> = chunks.into_iter().map(|(signature, context)| (signature, context.finish())).collect();
        for (at, (signature, hash)) in hashed.iter().enumerate() {
            let computed = self.sign_chunk(hash.as_ref());
            if computed.eq_ignore_ascii_case(signature) {
                continue;
            }
            // The next signature covers what this one was when it was made.
            let number = at as u64 + 1;
            let next = hashed.get(at + 1).is_some_and(|(next, hash)| self.sign_chunk(hash.as_ref()).eq_ignore_ascii_case(next));
            return Err(if next { ChunkFault::Signature(number) } else { ChunkFault::Data(number) });
        }
        let summary = decoder.summary();
        if let Some(malformed) = summary.malformed {
            return Err(ChunkFault::Framing(malformed));
        }
        if !summary.is_complete {
            return Err(ChunkFault::Incomplete);
        }
        match mode {
            Mode::SignedTrailer => self.verify_trailer(&summary.trailers),
            Mode::Signed | Mode::UnsignedTrailer => Ok(()),
        }
    }

    fn verify_trailer(&mut self, trailers: &[(Vec<u8>, Vec<u8>)]) -> Result<(), ChunkFault> {
        let is_signature = |name: &[u8]| name.eq_ignore_ascii_case(b"x-amz-trailer-signature");
        let mut lines: Vec<(Vec<u8>, &[u8])> = trailers
            .iter()
            .filter(|(name, _)| !is_signature(name))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_slice()))
            .collect();
        lines.sort();
        let text: Vec<u8> = lines.iter().flat_map(|(name, value)| [name.as_slice(), b":", value, b"\n"].concat()).collect();
        let signature = trailers.iter().find(|(name, _)| is_signature(name)).map(|(_, value)| value.as_slice());
        let computed = self.sign_trailer(&text);
        signature.is_some_and(|given| computed.eq_ignore_ascii_case(given)).then_some(()).ok_or(ChunkFault::Trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::sigv4::Credential;

    /// AWS "Signature calculations for the Authorization header: transferring payload in multiple chunks", the example.
    fn published() -> (ChunkChain, Vec<u8>) {
        let credential = Credential::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
        let scope = Scope { date: b"20130524".to_vec(), region: b"us-east-1".to_vec(), service: b"s3".to_vec() };
        let seed = b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let chain = ChunkChain::new(credential.signing_key(&scope), b"20130524T000000Z", &scope, seed);
        let mut body = b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n".to_vec();
        body.extend([b'a'; 65536]);
        body.extend(b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n");
        body.extend([b'a'; 1024]);
        body.extend(b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n");
        (chain, body)
    }

    #[test]
    fn the_published_chain_verifies_and_a_changed_byte_names_its_chunk() {
        let (chain, body) = published();
        assert_eq!(chain.clone().verify(Mode::Signed, &body), Ok(()));
        let second = memchr::memmem::find(&body, b"0055627c").unwrap();
        for (at, fault) in [
            (100, ChunkFault::Data(1)),
            (30, ChunkFault::Signature(1)),
            (second, ChunkFault::Signature(2)),
            (second + 100, ChunkFault::Data(2)),
        ] {
            let mut changed = body.clone();
            changed[at] = if changed[at] == b'b' { b'c' } else { b'b' };
            assert_eq!(chain.clone().verify(Mode::Signed, &changed), Err(fault), "{at}");
        }
        assert_eq!(chain.verify(Mode::Signed, &body[..body.len() - 4]), Err(ChunkFault::Incomplete));
    }

    #[test]
    fn the_published_signed_trailer_verifies() {
        let (mut chain, _) = published();
        chain.previous = b"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e".to_vec();
        let mut body = b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n".to_vec();
        body.extend([b'a'; 65536]);
        body.extend(b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n");
        body.extend([b'a'; 1024]);
        body.extend(b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n");
        body.extend(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        body.extend(b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
        assert_eq!(chain.clone().verify(Mode::SignedTrailer, &body), Ok(()));
        let at = memchr::memmem::find(&body, b"sOO8").unwrap();
        body[at] = b't';
        assert_eq!(chain.verify(Mode::SignedTrailer, &body), Err(ChunkFault::Trailer));
    }
}
