//! Finds the bytes that end or interrupt a string, sixteen at a time.

/// Bytes looked at together.
const BLOCK: usize = 16;

/// The index of the first quote, backslash or control character at or after `from`; the length if there is none.
#[inline(always)]
pub(crate) fn find_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        let mask = special_mask(block);
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    find_special_slowly(bytes, at)
}

/// The twin of [`find_special`], a byte at a time: for the last bytes of a text, and for tests.
#[inline(never)]
fn find_special_slowly(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().position(|byte| is_special(*byte)).map_or(bytes.len(), |index| from + index)
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// A bit for each special byte, the first byte lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn special_mask(block: &[u8; BLOCK]) -> u32 {
    // SAFETY: SSE2 is part of every x86_64, and all that the function asks for.
    unsafe { special_mask_sse2(block) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn special_mask_sse2(block: &[u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let whole = u128::from_le_bytes(*block).cast_signed();
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a block")]
    let (low, high) = (whole as i64, (whole >> 64) as i64);
    let bytes = _mm_set_epi64x(high, low);
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x22));
    let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x5C));
    let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)).cast_unsigned()
}

/// A bit for each special byte, the first byte lowest.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn special_mask(block: &[u8; BLOCK]) -> u32 {
    portable_mask(block)
}

/// Spelled so that compilers make vector code of it.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_mask(block: &[u8; BLOCK]) -> u32 {
    let mut mask = 0;
    for (index, byte) in block.iter().enumerate() {
        mask |= u32::from(is_special(*byte)) << index;
    }
    mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_classified_alike_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..BLOCK {
                for filling in [b'a', 0x20, 0x7F, 0x80, 0xFF, b'!', b'#', b'[', b']', b'"', 0x1F] {
                    let mut block = [filling; BLOCK];
                    block[place] = byte;
                    assert_eq!(special_mask(&block), portable_mask(&block), "{byte} at {place} in {filling}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..100), from in 0_usize..110) {
            let from = from.min(bytes.len());
            prop_assert_eq!(find_special(&bytes, from), find_special_slowly(&bytes, from));
        }

        #[test]
        fn ordinary_bytes_are_passed_over(bytes in proptest::collection::vec(0x23_u8..0x5C, 0..200), last in any::<u8>()) {
            let mut bytes = bytes;
            bytes.push(last);
            prop_assert_eq!(find_special(&bytes, 0), find_special_slowly(&bytes, 0));
        }
    }
}
