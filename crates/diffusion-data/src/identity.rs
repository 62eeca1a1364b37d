//! What an example is, wherever it stands: numbers that stay the same when other examples come or go.

/// The 64-bit hash of `bytes`: FNV-1a, whose bits SplitMix64's finalizer mixes. It never changes between versions or
/// machines, and guards against no attacker.
///
/// ```
/// use diffusion_data::identity::hash;
///
/// assert_ne!(hash(b"cats/1.png"), hash(b"cats/2.png"));
/// ```
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The identity of an example that has none but its place.
pub(crate) fn of_place(index: usize) -> u64 {
    mix((index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// The hash of a sequence of hashes, taken in one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn add(&mut self, hash: u64) {
        self.0 = mix(self.0.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash);
    }

    pub(crate) fn hash(self) -> u64 {
        self.0
    }
}

/// A bijection whose every output bit depends on every input bit (Steele et al. 2014, SplitMix64).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Computed by these formulas in Python. Checkpoints hold such numbers: a run that is resumed with a later version must find the same ones.
    #[test]
    fn hashes_are_pinned() {
        let mut sequence = Sequence::default();
        [1, 2].into_iter().for_each(|hash| sequence.add(hash));
        let found = [hash(b"cats/1.png"), of_place(0), of_place(1), sequence.hash()];
        let expected = [
            8_847_576_492_608_254_742,
            16_294_208_416_658_607_535,
            10_451_216_379_200_822_465,
            11_419_657_837_192_889_275,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn names_and_places_have_their_own_hashes() {
        let names = (0..10_000).map(|i| hash(format!("cats/{i}.png").as_bytes()));
        let places = (0..10_000).map(of_place);
        assert_eq!(names.chain(places).collect::<BTreeSet<u64>>().len(), 20_000);
    }

    #[test]
    fn the_order_of_a_sequence_matters() {
        let of = |hashes: [u64; 3]| {
            let mut sequence = Sequence::default();
            hashes.into_iter().for_each(|hash| sequence.add(hash));
            sequence.hash()
        };
        let all: BTreeSet<u64> = [[1, 2, 3], [1, 3, 2], [0, 2, 3], [0, 0, 1]].map(of).into();
        assert_eq!(all.len(), 4);
    }
}
