//! Random numbers for generated data.
//!
//! Invariant: a sequence depends on its seed alone, on every platform. It is no source of secrets.

/// A sequence of random numbers (SplitMix64: one addition and one mix per number).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

/// The step of SplitMix64: odd, so that the state passes through all values.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// The sequence of `seed` for the thing with this `index` among those of one `kind`.
    ///
    /// A thing's properties so follow from its index, without keeping or visiting the others.
    pub(super) fn of(seed: u64, kind: u64, index: u64) -> Self {
        Self(mix(mix(seed ^ kind.wrapping_mul(STEP)).wrapping_add(index)))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number from 0 to `limit` - 1, all about equally often; 0 if `limit` is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        scale(self.next(), limit)
    }

    /// A number from 0 to `limit` - 1, the small ones far more often: half of the draws fall in the first quarter.
    pub(super) fn skewed_below(&mut self, limit: u64) -> u64 {
        let share = self.next();
        scale(scale(share, share), limit)
    }

    /// Whether an event of this probability happens.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`.
    pub(super) fn pick<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        usize::try_from(index).ok().and_then(|index| choices.get(index)).copied().unwrap_or_default()
    }
}

/// `share` / 2^64 of `limit`, rounded down.
fn scale(share: u64, limit: u64) -> u64 {
    let product = u128::from(share) * u128::from(limit);
    (product >> 64) as u64
}

/// A bijection in which every bit of the input changes about half of the bits of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        // The reference implementation's first numbers for the state 1234567.
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn skewed_numbers_are_small_half_of_the_time() {
        let mut random = Random::of(1, 2, 3);
        let small = (0..10_000).filter(|_| random.skewed_below(1000) < 250).count();
        assert!((4800..5200).contains(&small), "{small}");
    }

    #[test]
    fn numbers_stay_below_their_limit() {
        let mut random = Random::of(0, 0, 0);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), 0);
    }
}
