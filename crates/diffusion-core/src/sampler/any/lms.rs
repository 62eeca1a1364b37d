//! The linear multistep method: Adams and Bashforth's for steps of any lengths.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::sampler::multistep::Remainders;
use crate::sampler::quadrature::weights;
use crate::sampler::{Sampler, SamplerStep};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The method of Adams and Bashforth in σ (Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, §III.5):
/// `x' = x + ∫ p(τ) dτ` from σ to σ', where p is the polynomial through the last velocities dx/dσ, as many as the
/// order; k-diffusion's `sample_lms`, diffusers' `LMSDiscreteScheduler`. Each step evaluates the model once.
///
/// The polynomial is integrated exactly; k-diffusion and diffusers do it numerically, to 1e-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lms {
    /// How many velocities a step looks at, 1 to 4; the first steps have fewer.
    pub order: usize,
}

impl Default for Lms {
    fn default() -> Self {
        Self { order: 4 }
    }
}

impl Lms {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If the order is none of 1 to 4.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("order", self.order, 4)
    }
}

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](Lms::validate) is an error.
impl Sampler for Lms {
    type State<B: Backend, const D: usize> = Remainders<B, D>;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Remainders<B, D> {
        expect_valid(self.validate());
        Remainders::default()
    }

    /// The first steps are of lower order: they have to be small, as on grids that begin at noise alone, where the velocity
    /// hardly changes. Else the order is 2.
    fn order(&self) -> u32 {
        self.order as u32
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to < step.from { 1 } else { 0 })
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
        past: &mut Remainders<B, D>,
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        let h = to - from;
        // In units of the step, from its beginning.
        let places = past.places().map(|sigma| (sigma - from) / h);
        let nodes: Vec<f64> = [0.0].into_iter().chain(places).take(self.order).collect();
        let weights = weights(&nodes, &[1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0]);
        let weights: Vec<f64> = weights.into_iter().map(|weight| h * weight).collect();
        past.step(denoiser, x, [from, to], &weights, of_velocity(from), (from, self.order - 1))
    }
}

/// The remainder of the velocity: x/σ − dx/dσ.
pub(super) fn of_velocity(sigma: f64) -> Combination {
    Combination { x: 1.0 / sigma, velocity: -1.0, ..Combination::default() }
}
