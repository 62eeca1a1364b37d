//! EDM's sampler: Heun's second-order method, with optional churn.

use super::{Sampler, Step, renoise};
use crate::guidance::Denoiser;
use crate::path::Path;
use burn::tensor::{Tensor, backend::Backend};

/// Heun's method with churn (Karras et al. 2022, arXiv:2206.00364, Alg. 2); its default has no churn and is
/// deterministic. Each step evaluates the model twice, but for a last one to σ = 0.
///
/// Churn first goes up to σ̂ = (1 + γ)·σ by adding noise, by the path's own rule; on the straight path a step whose
/// σ̂ would reach pure noise is left without churn.
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// # Panics
/// [`step`](Sampler::step) panics if `s_churn` or `s_noise` is negative.
impl Sampler for Heun {
    type Memory<B: Backend, const D: usize> = ();

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        Step { steps, from, to, .. }: Step,
        noise: &mut dyn FnMut() -> Tensor<B, D>,
        _memory: &mut (),
    ) -> Tensor<B, D> {
        assert!(
            self.s_churn >= 0.0 && self.s_noise >= 0.0,
            "s_churn is {} and s_noise {}, expected at least 0",
            self.s_churn,
            self.s_noise
        );
        let gamma = if (self.s_min..=self.s_max).contains(&from) {
            (self.s_churn / steps as f64).min(2f64.sqrt() - 1.0)
        } else {
            0.0
        };
        let raised = (1.0 + gamma) * from;
        let raised = if M::Path::alpha(raised) > 0.0 { raised } else { from };
        let x = renoise::<M::Path, B, D>(x, from, raised, || noise() * self.s_noise);

        let h = to - raised;
        let slope = denoiser.evaluate(x.clone(), raised).velocity();
        let euler = x.clone() + slope.clone() * h;
        if to == 0.0 {
            return euler;
        }
        let slope_there = denoiser.evaluate(euler, to).velocity();
        x + (slope + slope_there) * (0.5 * h)
    }
}
