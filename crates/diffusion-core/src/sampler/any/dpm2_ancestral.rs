//! The midpoint method below the level that noise is then added back to.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path;
use crate::precision::check_amount;
use crate::sampler::way::Way;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The midpoint method with ancestral noise: k-diffusion's `sample_dpm_2_ancestral`, diffusers'
/// `KDPM2AncestralDiscreteScheduler`.
///
/// The velocity halfway in λ = ln(α/σ) (as DPM-Solver-2 has it; Lu et al. 2022, arXiv:2206.00927, §3.3) leads
/// along Karras' ODE dx̂/dσ̂ = (x̂ − D)/σ̂, where x̂ = x/α and σ̂ = σ/α, down to the level that the noise of
/// [`EulerAncestral`](super::EulerAncestral) is added to. From pure noise it is a step of
/// [`Dpmpp2sAncestral`](super::Dpmpp2sAncestral). Each step evaluates the model twice, but for a last one to σ = 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dpm2Ancestral {
    /// η ≥ 0: the amount of noise; none is the midpoint method itself.
    pub eta: f64,
    /// S_noise ≥ 0: the standard deviation of the added noise.
    pub s_noise: f64,
}

impl Default for Dpm2Ancestral {
    fn default() -> Self {
        Self { eta: 1.0, s_noise: 1.0 }
    }
}

impl Dpm2Ancestral {
    /// The midpoint method itself, without noise: k-diffusion's `sample_dpm_2`, diffusers' `KDPM2DiscreteScheduler`.
    pub const DPM2: Self = Self { eta: 0.0, s_noise: 1.0 };

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
/// [`start`](Sampler::start) panics where [`validate`](Dpm2Ancestral::validate) is an error.
impl Sampler for Dpm2Ancestral {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) {
        expect_valid(self.validate());
    }

    /// With noise, too: what goes down along the flow is of the lower level's distribution, and what is added makes it that of
    /// the step's end exactly.
    fn order(&self) -> u32 {
        2
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to == 0.0 { 1 } else { 2 })
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
        let path = denoiser.path();
        let way = Way::on(&path, from, to);
        let (down, up) = way.ancestral(self.eta);
        let here = denoiser.evaluate(x, from);
        if to == 0.0 {
            return here.combined(way.keeping(to));
        }
        // Where all noise is new, there is no level to go down to.
        let middle = way.middle(&path, if down == 0.0 { to } else { down });
        let there = here.clone().combined(Way::on(&path, from, middle).keeping(middle));
        let there = denoiser.evaluate(there, middle);
        let (first, second) = match way.data_from {
            0.0 => (0.0, way.keeping(down).denoised),
            data => {
                // Noise over data at the begin, the middle and the end: (x̂ − D)/σ̂ in the middle, times the way.
                let [begin, middle, end] = [from / data, middle / path.alpha(middle), down / way.data_to];
                let weight = way.data_to * (begin - end) / middle;
                (weight * (middle / begin - 1.0), weight)
            }
        };
        let along = Combination { x: down / from, denoised: first, ..Combination::default() };
        let reached = here.combined(along);
        let denoised = there.combined(Combination { denoised: second, ..Combination::default() });
        let fresh = (up != 0.0).then(|| (up * self.s_noise, noise(from, to)));
        sum([(1.0, reached), (1.0, denoised)].into_iter().chain(fresh))
    }
}
