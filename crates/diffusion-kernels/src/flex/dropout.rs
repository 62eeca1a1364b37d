//! Dropout.

use burn::backend::Flex;
use burn::tensor::{Distribution, Int, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::kernel::{Array, Kernel};
use super::math::{simd, zeros};
use crate::operation::Dropout;

/// Elements that take their random bits from one stream, whatever the number of threads.
const CHUNK: usize = 1 << 12;

/// The key of the streams, drawn from the backend's own generator, so that its seed decides here as well.
fn key() -> u64 {
    let words =
        Tensor::<Flex, 1, Int>::random([4], Distribution::Uniform(0.0, 65_536.0), &Default::default());
    words.into_data().iter::<i64>().fold(0, |key, word| key << 16 | word as u64 & 0xffff)
}

impl Kernel<1> for Dropout {
    /// The mask: for every element whether it is kept.
    type Saved = Vec<bool>;

    fn forward(&self, [x]: &[Array; 1]) -> (Array, Vec<bool>) {
        let key = key();
        // This many of 2³² draws zero an element.
        let dropped = (self.probability * 4_294_967_296.0) as u32;
        let factor = (1.0 / (1.0 - self.probability)) as f32;
        let mut out = zeros(x.values().len());
        let mut mask = vec![false; x.values().len()];
        let chunks =
            out.par_chunks_mut(CHUNK).zip(mask.par_chunks_mut(CHUNK)).zip(x.values().par_chunks(CHUNK));
        chunks.enumerate().for_each_init(
            || vec![[0; 4]; CHUNK],
            |draws, (i, ((out, mask), x))| {
                let mut stream = ChaCha8Rng::seed_from_u64(key);
                stream.set_stream(i as u64);
                let draws = &mut draws[..x.len()];
                stream.fill_bytes(draws.as_flattened_mut());
                simd(
                    #[inline(always)]
                    || {
                        for (((out, kept), x), draw) in out.iter_mut().zip(mask).zip(x).zip(draws) {
                            *kept = u32::from_le_bytes(*draw) >= dropped;
                            *out = x * if *kept { factor } else { 0.0 };
                        }
                    },
                );
            },
        );
        (Array::new(out, &x.shape()), mask)
    }

    fn backward(
        &self,
        [x]: &[Array; 1],
        mask: &Vec<bool>,
        gradient: &Array,
        _: [bool; 1],
    ) -> [Option<Array>; 1] {
        let factor = (1.0 / (1.0 - self.probability)) as f32;
        let mut out = zeros(x.values().len());
        let chunks =
            out.par_chunks_mut(CHUNK).zip(mask.par_chunks(CHUNK)).zip(gradient.values().par_chunks(CHUNK));
        chunks.for_each(|((out, mask), gradient)| {
            simd(
                #[inline(always)]
                || {
                    for ((out, kept), gradient) in out.iter_mut().zip(mask).zip(gradient) {
                        *out = gradient * if *kept { factor } else { 0.0 };
                    }
                },
            );
        });
        [Some(Array::new(out, &x.shape()))]
    }
}
