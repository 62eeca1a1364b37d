//! The multistep method of pseudo linear multistep sampling without its warm-up.

use super::lms::of_velocity;
use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::sampler::multistep::Remainders;
use crate::sampler::{Sampler, SamplerStep};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Improved PNDM (Zhang & Chen 2022, arXiv:2204.13902, §H.2): the weights of Adams and Bashforth for steps that are alike,
/// applied to the velocities dx/dσ of the last steps, which on the variance-exploding path are estimates of the noise;
/// diffusers' `IPNDMScheduler`, on whose path of a circle it is DDIM with an average of them. The first steps have fewer.
/// Each step evaluates the model once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipndm {
    /// How many velocities a step looks at, 1 to 4.
    pub order: usize,
}

impl Default for Ipndm {
    fn default() -> Self {
        Self { order: 4 }
    }
}

impl Ipndm {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If the order is none of 1 to 4.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("order", self.order, 4)
    }
}

/// The weights of the latest velocities, the latest first, by how many there are.
pub(super) const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](Ipndm::validate) is an error.
impl Sampler for Ipndm {
    type State<B: Backend, const D: usize> = Remainders<B, D>;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Remainders<B, D> {
        expect_valid(self.validate());
        Remainders::default()
    }

    /// At most 2, since the first step is Euler's and steps are seldom alike.
    fn order(&self) -> u32 {
        self.order.min(2) as u32
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
        let weights = WEIGHTS[past.places().count().min(self.order - 1)];
        let weights: Vec<f64> = weights.iter().map(|weight| (to - from) * weight).collect();
        past.step(denoiser, x, [from, to], &weights, of_velocity(from), (from, self.order - 1))
    }
}
