//! Multistep sampling from a consistency model.

use crate::denoiser::Denoiser;
use crate::invalid::Invalid;
use crate::sampler::{Sampler, SamplerStep, renoise};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Multistep consistency sampling (Song et al. 2023, arXiv:2303.01469, Alg. 1): each step goes to the estimate D of the
/// data, and from there up to σ' by fresh noise, on the path that the model has. The last step ends at D; one step is D
/// alone.
///
/// D counts as a state at the run's last noise level, that of the paper's smallest time or 0.
///
/// It is for models that were trained so that D is a sample, by
/// [`ConsistencyTraining`](crate::objective::ConsistencyTraining) or
/// [`ConsistencyDistillation`](crate::objective::ConsistencyDistillation): of any other model D is the mean of all data that
/// the noisy input may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {}

impl Consistency {
    /// Whether there is such a sampler; there is one.
    ///
    /// # Errors
    /// None.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The noise level at which a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End(f64);

impl Sampler for Consistency {
    type State<B: Backend, const D: usize> = End;

    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> End {
        End(sigmas.last().copied().unwrap_or(0.0))
    }

    /// 0: of a consistency function one step is exact, and with another model more steps lead nowhere.
    fn order(&self) -> u32 {
        0
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to < step.from { 1 } else { 0 })
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        &mut End(end): &mut End,
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        let denoised = denoiser.evaluate(x, from).denoised();
        let (kept, fresh) = renoise(&denoiser.path(), end, to);
        if fresh == 0.0 { denoised } else { sum([(kept, denoised), (fresh, noise(from, to))]) }
    }
}
