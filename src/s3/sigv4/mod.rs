//! Signature Version 4: canonical requests, signing, and verification that names the component that differs.
//!
//! Sources: AWS "Signature Version 4 signing process" and "Signature calculations for streaming uploads"; for what a store
//! accepts, MinIO `cmd/signature-v4.go` and `cmd/streaming-signature-v4.go`.

mod candidates;
mod canonical;
mod chunks;
mod credential;
mod explain;
mod search;
mod sign;
mod verify;

#[cfg(test)]
mod published;

pub use canonical::{Canonical, Parts, PathRule};
pub use chunks::{ChunkChain, ChunkFault};
pub use credential::{Credential, Scope, SigningKey};
pub use explain::{Component, Hints, Mismatch};
pub use sign::{Signed, Signer, body_hash};
pub use verify::{BodyFault, Check, NotChecked, verify};

/// The algorithm that is signed and verified.
pub const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256";
/// `x-amz-content-sha256` of a request whose body is not covered.
pub const UNSIGNED_PAYLOAD: &[u8] = b"UNSIGNED-PAYLOAD";
/// SHA-256 of nothing, in hexadecimal.
pub const EMPTY_SHA256: &[u8] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
