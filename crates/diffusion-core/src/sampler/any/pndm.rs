//! The multistep method that Stable Diffusion 1 was published with.

use super::ipndm::WEIGHTS;
use crate::denoiser::{Combination, Denoiser, DenoiserOutput};
use crate::invalid::Invalid;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Pseudo linear multistep sampling (Liu et al. 2022, arXiv:2202.09778), as diffusers' `PNDMScheduler` does it without steps
/// of Runge and Kutta.
///
/// The weights of Adams and Bashforth, for steps that are alike, are applied to the denoiser's raw outputs, and the
/// average is read as an output at the level where the step begins. The first step is done twice: with the output at its start,
/// and then with the mean of that and of the one at the state so reached. A run of S steps evaluates S + 1 times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pndm {}

impl Pndm {
    /// Whether there is such a sampler; there is one.
    ///
    /// # Errors
    /// None.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The denoiser's last outputs, at most three, the latest first.
#[derive(Debug)]
pub struct Outputs<B: Backend, const D: usize>(Vec<Tensor<B, D>>);

impl Sampler for Pndm {
    type State<B: Backend, const D: usize> = Outputs<B, D>;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Outputs<B, D> {
        Outputs(Vec::new())
    }

    /// That for a denoiser whose output is x₀ or the velocity. It is 1 for v-prediction, of which outputs at different noise
    /// levels mean different things.
    fn order(&self) -> u32 {
        2
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.index == 0 && step.to > 0.0 { 2 } else { 1 })
    }

    fn adds_noise(&self) -> bool {
        false
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        Outputs(past): &mut Outputs<B, D>,
    ) -> Tensor<B, D> {
        let found = denoiser.evaluate(x, from);
        let along = Combination { x: 1.0, velocity: to - from, ..Combination::default() };
        let step = |output| DenoiserOutput { output, ..found.clone() }.combined(along);
        let is_first = past.is_empty();
        past.insert(0, found.output.clone());
        if is_first && to > 0.0 {
            let there = denoiser.evaluate(step(found.output.clone()), to).output;
            return step((found.output.clone() + there) * 0.5);
        }
        let mean = sum(WEIGHTS[past.len() - 1].iter().copied().zip(past.iter().cloned()));
        past.truncate(WEIGHTS.len() - 1);
        step(mean)
    }
}
