//! Euler's method below the level that noise is then added back to.

use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::precision::check_amount;
use crate::sampler::way::Way;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Ancestral sampling with an amount of noise η (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16): DDIM at η = 0,
/// the posterior of the noising chain, DDPM, at η = 1. k-diffusion's `sample_euler_ancestral`.
///
/// Of the level σ' it adds up = η·σ'·√(1 − e^(−2h)) as fresh noise, h = ln(α'/σ') − ln(α/σ), and keeps
/// down = √(σ'² − up²): `x' = (down/σ)·x + (α' − α·down/σ)·D + up·z`. So it stays on any path and may start from pure
/// noise. On the variance-exploding path η = 1 is [`GradientEstimation::DDPM`](super::GradientEstimation::DDPM).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EulerAncestral {
    /// η ≥ 0: the amount of noise; beyond 1 at most so much that all of σ' is fresh.
    pub eta: f64,
    /// S_noise ≥ 0: the standard deviation of the added noise.
    pub s_noise: f64,
}

impl Default for EulerAncestral {
    fn default() -> Self {
        Self { eta: 1.0, s_noise: 1.0 }
    }
}

impl EulerAncestral {
    /// The Euler method itself, without noise, which is DDIM (Song et al. 2021, arXiv:2010.02502): k-diffusion's `sample_euler`.
    pub const EULER: Self = Self { eta: 0.0, s_noise: 1.0 };

    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If a parameter is negative or not finite in f32.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_amount("eta", self.eta)?;
        check_amount("s_noise", self.s_noise)
    }
}

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](EulerAncestral::validate) is an error.
impl Sampler for EulerAncestral {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) {
        expect_valid(self.validate());
    }

    fn order(&self) -> u32 {
        1
    }

    fn evaluations(&self, _step: SamplerStep) -> Option<usize> {
        Some(1)
    }

    fn adds_noise(&self) -> bool {
        self.eta != 0.0
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        (): &mut (),
    ) -> Tensor<B, D> {
        let way = Way::on(&denoiser.path(), from, to);
        let (down, up) = way.ancestral(self.eta);
        let reached = denoiser.evaluate(x, from).combined(way.keeping(down));
        let fresh = (up != 0.0).then(|| (up * self.s_noise, noise(from, to)));
        sum([(1.0, reached)].into_iter().chain(fresh))
    }
}
