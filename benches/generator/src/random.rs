//! A seeded source of randomness (SplitMix64): the same seed gives the same capture on every machine.

use std::ops::RangeInclusive;

/// The generator's only source of chance.
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.bits() as u128 * bound as u128) >> 64) as u64
    }

    /// A number within the range, both ends included.
    pub const fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let low = *range.start();
        low + self.below(*range.end() - low + 1)
    }

    /// True in `permille` of 1,000 cases.
    pub const fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < permille as u64
    }

    /// An index into a slice of `len` elements, which must not be 0.
    pub const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.bits().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }

    /// An array of random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Appends `digits` lower-case hexadecimal digits.
    pub fn hex(&mut self, digits: usize, out: &mut Vec<u8>) {
        let end = out.len() + digits;
        while out.len() < end {
            let mut bits = self.bits();
            for _ in 0..16.min(end - out.len()) {
                out.push(HEX[(bits & 15) as usize]);
                bits >>= 4;
            }
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
