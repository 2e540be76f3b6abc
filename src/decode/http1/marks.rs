//! Where a text has octets that end something, as one bit for each octet of a block.

use wide::{i8x16, u8x16};

/// Octets of a block: as many as a mark has bits.
pub(super) const BLOCK: usize = u64::BITS as usize;

/// The marked octets of a block; the lowest bit stands for the first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Neither visible ASCII nor SP.
    pub(super) odd: u64,
    /// Colons.
    pub(super) colons: u64,
}

/// Marks the octets of a block.
#[inline]
pub(super) fn marks(block: &[u8; BLOCK]) -> Marks {
    let mut marks = Marks { odd: 0, colons: 0 };
    for (index, part) in block.as_chunks::<PART>().0.iter().enumerate() {
        // Taken as signed numbers, all odd octets but DEL are less than SP.
        let octets = i8x16::new(u8x16::new(*part).to_array().map(u8::cast_signed));
        let odd = octets.simd_lt(i8x16::splat(b' '.cast_signed())) | octets.simd_eq(i8x16::splat(DEL));
        let colons = octets.simd_eq(i8x16::splat(b':'.cast_signed()));
        marks.odd |= u64::from(odd.to_bitmask()) << (index * PART);
        marks.colons |= u64::from(colons.to_bitmask()) << (index * PART);
    }
    marks
}

/// Octets looked at in one step.
const PART: usize = 16;
const DEL: i8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_octet_is_marked_for_what_it_is() {
        for octet in 0..=u8::MAX {
            for at in [0, 1, 15, 16, 40, 63] {
                let mut block = [b'a'; BLOCK];
                block[at] = octet;
                let bit = |holds: bool| u64::from(holds) << at;
                let expected = Marks { odd: bit(!(b' '..=b'~').contains(&octet)), colons: bit(octet == b':') };
                assert_eq!(marks(&block), expected, "{octet:#x} at {at}");
            }
        }
    }
}
