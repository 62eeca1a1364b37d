//! DPM-Solver++: a method of two steps in the logarithm of the noise level.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::Invalid;
use crate::path::Path;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// DPM-Solver++ with two steps (2M; Lu et al. 2022, arXiv:2211.01095, Alg. 2), diffusers' `DPMSolverMultistepScheduler`.
///
/// With λ = ln(α/σ) and h = λ' − λ it goes from σ to σ' by `x' = (σ'/σ)·x + (α' − α·σ'/σ)·D̂`, where D̂ goes on
/// from the last two estimates of the data: `D + h/(2·h_previous)·(D − D_previous)`. A step to σ' = 0 ends at D.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpmSolver {}

impl DpmSolver {
    /// Whether there is such a sampler; there is one.
    ///
    /// # Errors
    /// None.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The estimate of the data of the step before, and how long that was in λ.
#[derive(Debug)]
pub struct Estimate<B: Backend, const D: usize>(Option<(Tensor<B, D>, f64)>);

impl Sampler for DpmSolver {
    type State<B: Backend, const D: usize> = Estimate<B, D>;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Estimate<B, D> {
        Estimate(None)
    }

    /// Of N steps evenly spaced in σ down to 0, the error falls as ln N/N².
    fn order(&self) -> u32 {
        2
    }

    fn evaluations(&self, step: SamplerStep) -> usize {
        if step.to < step.from { 1 } else { 0 }
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        Estimate(previous): &mut Estimate<B, D>,
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        let (here, there) = (denoiser.path().alpha(from), denoiser.path().alpha(to));
        // Infinite where noise has no data in it, or data no noise.
        let length = (there / to).ln() - (here / from).ln();
        let (kept, new) = (to / from, there - here * to / from);
        let found = denoiser.evaluate(x, from);
        let denoised = found.clone().denoised();
        let (now, before) = match previous.replace((denoised, length)) {
            Some((before, longer)) if to > 0.0 => {
                let further = length / (2.0 * longer);
                (1.0 + further, Some((-new * further, before)))
            }
            _ => (1.0, None),
        };
        let along = Combination { x: kept, denoised: new * now, ..Combination::default() };
        sum([(1.0, found.combined(along))].into_iter().chain(before))
    }
}
