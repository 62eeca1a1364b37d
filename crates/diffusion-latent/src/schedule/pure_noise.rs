//! Schedules whose last level has no data left in it.

use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::{Denoiser, Sampler, SamplerStep};

/// The noise level that stands for an infinite one, the last of a schedule with zero terminal SNR (Lin et al. 2023,
/// arXiv:2305.08891): data of unit variance are below f32's rounding there.
pub const PURE_NOISE: f64 = 1e8;

/// A sampler that may begin at [`PURE_NOISE`], where a step of any other rounds the data away.
///
/// The step from there is Euler's in the form `D + (σ'/σ)·(x − D)`; all others are the inner sampler's.
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

    fn evaluations(&self, step: SamplerStep) -> usize {
        if step.from < PURE_NOISE { self.0.evaluations(step) } else { 1 }
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
        let kept = step.to / step.from;
        let denoised = denoiser.evaluate(x.clone(), step.from).denoised();
        x * kept + denoised * (1.0 - kept)
    }
}
