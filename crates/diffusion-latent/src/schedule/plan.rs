//! A sampling run as the scheduler of a folder does it.

use super::grid::Start;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::invalid::Invalid;
use diffusion_core::sampler::{FromPureNoise, NoiseSource};
use diffusion_core::schedule::Sigmas;
use diffusion_core::task::{last_part, noised};
use diffusion_core::{AnyPath, AnySampler, Denoiser, sample_from};

/// A sampling run as the scheduler of a folder does it: where it begins, which way it goes, and what its result is. All of
/// them may be changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The noise levels.
    pub sigmas: Sigmas<AnyPath>,
    /// What the noise is multiplied by at the first of them.
    pub start: Start,
    /// What the state at the last of them is multiplied by.
    pub result: f64,
    /// The rule of a step.
    pub sampler: FromPureNoise<AnySampler>,
}

impl Plan {
    /// The state that a run begins with.
    ///
    /// # Shapes
    /// - `noise`, of unit variance, and returns: any, the same
    pub fn from_noise<B: Backend, const D: usize>(&self, noise: Tensor<B, D>) -> Tensor<B, D> {
        noise * self.start.factor(self.sigmas[0])
    }

    /// The state that a run from data begins with: `x₀ + σ·noise`.
    ///
    /// # Shapes
    /// - `x0`, `noise` of unit variance, and returns: any, the same
    pub fn from_data<B: Backend, const D: usize>(
        &self,
        x0: Tensor<B, D>,
        noise: Tensor<B, D>,
    ) -> Tensor<B, D> {
        noised(&self.sigmas.path(), x0, noise, self.sigmas[0])
    }

    /// The last ⌊S·`strength`⌋ of the S steps, for a run from data (Meng et al. 2022, arXiv:2108.01073).
    ///
    /// # Errors
    /// Unless `strength` is above 0 and at most 1, and there is a step left.
    pub fn last_part(&self, strength: f64) -> Result<Self, Invalid> {
        Invalid::unless(strength > 0.0 && strength <= 1.0, "strength", || {
            format!("is {strength:?}, expected a number above 0 and at most 1")
        })?;
        let sigmas = last_part(&self.sigmas, strength)?.ok_or_else(|| {
            let steps = self.sigmas.steps();
            let least = 1.0 / steps as f64;
            let reason =
                format!("is {strength:?}, which leaves none of {steps} steps, expected at least {least:?}");
            Invalid::new("strength", reason)
        })?;
        Ok(Self { sigmas, ..self.clone() })
    }

    /// The result of a run from the state `x`: that of its last step, times [`result`](Self::result).
    ///
    /// For every state on the way use [`sample_from`] with the parts of the plan.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`sample_from`].
    pub fn run<B, const D: usize, M>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        noise: impl NoiseSource<B, D>,
    ) -> Tensor<B, D>
    where
        B: Backend,
        M: Denoiser<B, D, Path = AnyPath> + ?Sized,
    {
        let start = x.clone();
        let last = sample_from(denoiser, self.sampler, &self.sigmas, x, noise).last();
        last.unwrap_or(start) * self.result
    }
}
