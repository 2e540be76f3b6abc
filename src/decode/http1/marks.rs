//! Where a text has octets that end something, as one bit for each octet of a block.

use wide::{i8x16, u8x16};

/// Octets of a block: as many as a mark has bits.
pub(super) const BLOCK: usize = u64::BITS as usize;

/// Marks the octets of a block that are neither visible ASCII nor SP; the lowest bit stands for the first octet.
#[inline]
pub(super) fn odd_octets(block: &[u8; BLOCK]) -> u64 {
    let mut marks = 0;
    for (index, part) in block.as_chunks::<PART>().0.iter().enumerate() {
        // Taken as signed numbers, all odd octets but DEL are less than SP.
        let octets = i8x16::new(u8x16::new(*part).to_array().map(u8::cast_signed));
        let odd = octets.simd_lt(i8x16::splat(b' '.cast_signed())) | octets.simd_eq(i8x16::splat(DEL));
        marks |= u64::from(odd.to_bitmask()) << (index * PART);
    }
    marks
}

/// Octets of [`same_octets`].
pub(super) const LINE_START: usize = u32::BITS as usize;

/// Marks the octets that are the same in both.
#[inline]
pub(super) fn same_octets(one: &[u8; LINE_START], other: &[u8; LINE_START]) -> u32 {
    let mut marks = 0;
    for (index, (one, other)) in one.as_chunks::<PART>().0.iter().zip(other.as_chunks::<PART>().0).enumerate() {
        marks |= u8x16::new(*one).simd_eq(u8x16::new(*other)).to_bitmask() << (index * PART);
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
                assert_eq!(odd_octets(&block), u64::from(!(b' '..=b'~').contains(&octet)) << at, "{octet:#x} at {at}");
            }
        }
    }

    #[test]
    fn octets_are_compared_each_for_itself() {
        let one: [u8; LINE_START] = std::array::from_fn(|at| at as u8);
        for at in 0..LINE_START {
            let mut other = one;
            other[at] ^= 0x80;
            assert_eq!(same_octets(&one, &other), !(1 << at), "{at}");
        }
    }
}
