//! The first step from a level that has no data left in it.

use super::{NoiseKind, Sampler, SamplerStep};
use crate::denoiser::{Combination, Denoiser};
use crate::schedule::PURE_NOISE;
use burn::tensor::{Tensor, backend::Backend};

/// A sampler that may begin at [`PURE_NOISE`]: the step from there is Euler's, since nothing can be extrapolated from an
/// infinite level; all others are the inner sampler's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FromPureNoise<S>(pub S);

impl<S: Sampler> Sampler for FromPureNoise<S> {
    type State<B: Backend, const D: usize> = S::State<B, D>;

    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> S::State<B, D> {
        self.0.start(sigmas)
    }

    fn order(&self) -> u32 {
        self.0.order()
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        if step.from < PURE_NOISE { self.0.evaluations(step) } else { Some(1) }
    }

    fn noise_kind(&self) -> NoiseKind {
        self.0.noise_kind()
    }

    fn adds_noise(&self) -> bool {
        self.0.adds_noise()
    }

    fn takes_mean_velocity(&self) -> bool {
        self.0.takes_mean_velocity()
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        step: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        state: &mut S::State<B, D>,
    ) -> Tensor<B, D> {
        if step.from < PURE_NOISE {
            return self.0.step(denoiser, x, step, noise, state);
        }
        let along = Combination { x: 1.0, velocity: step.to - step.from, ..Combination::default() };
        denoiser.evaluate(x, step.from).combined(along)
    }
}
