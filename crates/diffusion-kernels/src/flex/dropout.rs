//! Dropout.

use super::kernel::{Array, Kernel};
use super::math::{wide, zeros};
use burn::backend::Flex;
use burn::tensor::{Distribution, Int, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Numbers become zero with this probability; the others are divided by that of being kept.
#[derive(Clone, Debug)]
pub struct Dropout {
    pub probability: f64,
}

/// Numbers that are decided on by one stream of random bits, whatever the number of threads.
const CHUNK: usize = 1 << 12;

/// A stream's name, from the backend's own generator, so that its seed decides here as well.
fn key() -> u64 {
    let words =
        Tensor::<Flex, 1, Int>::random([4], Distribution::Uniform(0.0, 65_536.0), &Default::default());
    words.into_data().iter::<i64>().fold(0, |key, word| key << 16 | word as u64 & 0xffff)
}

impl Kernel<1> for Dropout {
    /// For every number whether it was kept.
    type Kept = Vec<bool>;

    fn forward(&self, [x]: &[Array; 1]) -> (Array, Vec<bool>) {
        let key = key();
        // So many of 2³² draws are lost.
        let lost = (self.probability * 4_294_967_296.0) as u32;
        let factor = (1.0 / (1.0 - self.probability)) as f32;
        let mut out = zeros(x.values().len());
        let mut kept = vec![false; x.values().len()];
        let chunks =
            out.par_chunks_mut(CHUNK).zip(kept.par_chunks_mut(CHUNK)).zip(x.values().par_chunks(CHUNK));
        chunks.enumerate().for_each_init(
            || vec![[0; 4]; CHUNK],
            |draws, (i, ((out, kept), x))| {
                let mut stream = ChaCha8Rng::seed_from_u64(key);
                stream.set_stream(i as u64);
                let draws = &mut draws[..x.len()];
                stream.fill_bytes(draws.as_flattened_mut());
                wide(
                    #[inline(always)]
                    || {
                        for (((out, kept), x), draw) in out.iter_mut().zip(kept).zip(x).zip(draws) {
                            *kept = u32::from_le_bytes(*draw) >= lost;
                            *out = x * if *kept { factor } else { 0.0 };
                        }
                    },
                );
            },
        );
        (Array::new(out, &x.shape()), kept)
    }

    fn backward(
        &self,
        [x]: &[Array; 1],
        kept: &Vec<bool>,
        gradient: &Array,
        _: [bool; 1],
    ) -> [Option<Array>; 1] {
        let factor = (1.0 / (1.0 - self.probability)) as f32;
        let mut out = zeros(x.values().len());
        let chunks =
            out.par_chunks_mut(CHUNK).zip(kept.par_chunks(CHUNK)).zip(gradient.values().par_chunks(CHUNK));
        chunks.for_each(|((out, kept), gradient)| {
            wide(
                #[inline(always)]
                || {
                    for ((out, kept), gradient) in out.iter_mut().zip(kept).zip(gradient) {
                        *out = gradient * if *kept { factor } else { 0.0 };
                    }
                },
            );
        });
        [Some(Array::new(out, &x.shape()))]
    }
}
