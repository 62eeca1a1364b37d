//! DPM-Solver++ of one step and two evaluations, below the level that noise is then added back to.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::precision::check_amount;
use crate::sampler::way::Way;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// DPM-Solver++ with a single step of second order (2S; Lu et al. 2022, arXiv:2211.01095, Alg. 1 with r = ½), with ancestral
/// noise: k-diffusion's `sample_dpmpp_2s_ancestral`.
///
/// The estimate D₂ halfway in λ = ln(α/σ) leads to the level that the noise of [`EulerAncestral`](super::EulerAncestral)
/// is added to: `x' = (down/σ)·x + (α' − α·down/σ)·D₂ + up·z`. From pure noise, where λ is infinite, D₂ is taken halfway
/// in α/σ. Each step evaluates the model twice, but for a last one to σ = 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dpmpp2sAncestral {
    /// η ≥ 0: the amount of noise; none is DPM-Solver++(2S) itself.
    pub eta: f64,
    /// S_noise ≥ 0: the standard deviation of the added noise.
    pub s_noise: f64,
}

impl Default for Dpmpp2sAncestral {
    fn default() -> Self {
        Self { eta: 1.0, s_noise: 1.0 }
    }
}

impl Dpmpp2sAncestral {
    /// DPM-Solver++(2S) itself, without noise; diffusers' `DPMSolverSinglestepScheduler` of order 2.
    pub const DPMPP_2S: Self = Self { eta: 0.0, s_noise: 1.0 };

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
/// [`start`](Sampler::start) panics where [`validate`](Dpmpp2sAncestral::validate) is an error.
impl Sampler for Dpmpp2sAncestral {
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
        if to == 0.0 {
            return denoiser.evaluate(x, from).combined(way.keeping(to));
        }
        let Combination { x: kept, denoised: new, .. } = way.keeping(down);
        // Where all noise is new, there is no level to go down to.
        let middle = way.middle(&path, if down == 0.0 { to } else { down });
        let there = denoiser.evaluate(x.clone(), from).combined(Way::on(&path, from, middle).keeping(middle));
        let there = denoiser.evaluate(there, middle);
        let denoised = there.combined(Combination { denoised: new, ..Combination::default() });
        let fresh = (up != 0.0).then(|| (up * self.s_noise, noise(from, to)));
        sum([(kept, x), (1.0, denoised)].into_iter().chain(fresh))
    }
}
