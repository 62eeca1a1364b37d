//! EDM's sampler: Heun's second-order method, with optional churn.

use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path;
use crate::precision::check_amount;
use crate::sampler::trapezoid::trapezoid;
use crate::sampler::{Sampler, SamplerStep, renoise};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Heun's method with churn (Karras et al. 2022, arXiv:2206.00364, Alg. 2); its default has no churn and is
/// deterministic. Each step evaluates the model twice, but for a last one to σ = 0.
///
/// Churn first goes up to σ̂ = (1 + γ)·σ by adding noise, by the path's own rule; on the straight path a step whose
/// σ̂ would reach pure noise is left without churn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heun {
    /// S_churn ≥ 0: the amount of churn over the whole run; γ = min(S_churn/steps, √2 − 1).
    pub s_churn: f64,
    /// S_min: churn only while σ is at least this.
    pub s_min: f64,
    /// S_max: churn only while σ is at most this.
    pub s_max: f64,
    /// S_noise: the standard deviation of the added noise, slightly above 1 against a loss of detail.
    pub s_noise: f64,
}

impl Default for Heun {
    fn default() -> Self {
        Self { s_churn: 0.0, s_min: 0.0, s_max: f64::INFINITY, s_noise: 1.0 }
    }
}

impl Heun {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If `s_churn` or `s_noise` is negative or not finite in f32, or a bound is not a number.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (setting, found) in [("s_churn", self.s_churn), ("s_noise", self.s_noise)] {
            check_amount(setting, found)?;
        }
        for (setting, found) in [("s_min", self.s_min), ("s_max", self.s_max)] {
            Invalid::unless(!found.is_nan(), setting, || format!("is {found}, expected a number"))?;
        }
        Ok(())
    }

    /// The noise level that a step from `from` begins at, raised by churn.
    fn raised(&self, from: f64, steps: usize, path: &impl Path) -> f64 {
        if !(self.s_min..=self.s_max).contains(&from) {
            return from;
        }
        let gamma = (self.s_churn / steps as f64).min(2f64.sqrt() - 1.0);
        let raised = (1.0 + gamma) * from;
        if path.alpha(raised) > 0.0 { raised } else { from }
    }
}

/// The number of steps of the run, over which churn is spread.
#[derive(Clone, Copy, Debug)]
pub struct Steps(usize);

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](Heun::validate) is an error.
impl Sampler for Heun {
    type State<B: Backend, const D: usize> = Steps;

    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> Steps {
        expect_valid(self.validate());
        Steps(sigmas.len().saturating_sub(1))
    }

    fn order(&self) -> u32 {
        2
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to == 0.0 { 1 } else { 2 })
    }

    fn adds_noise(&self) -> bool {
        self.s_churn != 0.0
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        &mut Steps(steps): &mut Steps,
    ) -> Tensor<B, D> {
        let path = denoiser.path();
        let raised = self.raised(from, steps, &path);
        let (kept, fresh) = renoise(&path, from, raised);
        let x = if fresh == 0.0 { x } else { sum([(kept, x), (fresh * self.s_noise, noise(from, to))]) };
        trapezoid(denoiser, x, raised, to)
    }
}
