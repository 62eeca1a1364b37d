//! Steps of a mean flow.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::Invalid;
use crate::sampler::{Sampler, SamplerStep};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Sampling from a mean flow (Geng et al. 2025, arXiv:2505.13447, eq. 12): `x' = x + (σ' − σ)·u(x, σ', σ)` with the velocity u
/// that the model gives as the mean over the step. Of a perfect model each step is exact, however long it is, and one step is
/// a sample.
///
/// It is for models that were trained by [`MeanFlow`](crate::objective::MeanFlow) and are told the lengths of steps:
/// [`sample`](crate::sample) panics with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanFlowSteps {}

impl MeanFlowSteps {
    /// Whether there is such a sampler; there is one.
    ///
    /// # Errors
    /// None.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Sampler for MeanFlowSteps {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) {}

    /// 0: of a perfect mean flow one step is exact, and more steps do not lead elsewhere.
    fn order(&self) -> u32 {
        0
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to < step.from { 1 } else { 0 })
    }

    fn adds_noise(&self) -> bool {
        false
    }

    fn takes_mean_velocity(&self) -> bool {
        true
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        step: SamplerStep,
        _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        _state: &mut (),
    ) -> Tensor<B, D> {
        if step.to == step.from {
            return x;
        }
        let along = Combination { x: 1.0, velocity: step.to - step.from, ..Combination::default() };
        denoiser.evaluate(x, step.from).combined(along)
    }
}
