//! DPM-Solver++ of one step and two evaluations for the stochastic equation.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::precision::check_amount;
use crate::sampler::way::{Way, snr};
use crate::sampler::{NoiseKind, Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// DPM-Solver++ with a single step of second order for the stochastic equation (SDE-DPM-Solver++ of Lu et al. 2022,
/// arXiv:2211.01095, eq. 18, with the midpoint of its Alg. 1, r = ½): k-diffusion's `sample_dpmpp_sde`, diffusers'
/// `DPMSolverSDEScheduler`.
///
/// An ancestral step leads halfway in λ = ln(α/σ), and with the estimate found there another leads the whole way. The
/// noise of the first is part of that of the second: with z₁ and z₂ for the two halves, the whole has
/// `(√a·z₁ + √b·z₂)/√(a + b)`, a and b their lengths in (α/σ)². k-diffusion's sampler has the same law if its
/// noise is that of one Brownian motion, up to its clock, which is σ. Each step evaluates the model twice,
/// but for a last one to σ = 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpmppSde {
    /// η ≥ 0: the amount of noise; none is DPM-Solver++(2S).
    pub eta: f64,
    /// S_noise ≥ 0: the standard deviation of the added noise.
    pub s_noise: f64,
}

impl Default for DpmppSde {
    fn default() -> Self {
        Self { eta: 1.0, s_noise: 1.0 }
    }
}

impl DpmppSde {
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
/// [`start`](Sampler::start) panics where [`validate`](DpmppSde::validate) is an error.
impl Sampler for DpmppSde {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) {
        expect_valid(self.validate());
    }

    fn order(&self) -> u32 {
        2
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to == 0.0 { 1 } else { 2 })
    }

    fn noise_kind(&self) -> NoiseKind {
        NoiseKind::Brownian
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
        if to == 0.0 {
            return denoiser.evaluate(x, from).combined(way.keeping(to));
        }
        let middle = way.middle(&path, to);
        let half = Way::on(&path, from, middle);
        let ((half_down, half_up), (down, up)) = (half.ancestral(self.eta), way.ancestral(self.eta));
        let noise = (self.eta > 0.0 && to < from).then(|| [noise(from, middle), noise(middle, to)]);

        let here = denoiser.evaluate(x.clone(), from).combined(half.keeping(half_down));
        let first = noise.as_ref().map(|[first, _]| (half_up * self.s_noise, first.clone()));
        let there = denoiser.evaluate(sum([(1.0, here)].into_iter().chain(first)), middle);
        let Combination { x: kept, denoised: new, .. } = way.keeping(down);
        let denoised = there.combined(Combination { denoised: new, ..Combination::default() });
        // How the whole way's noise is made of that of its halves.
        let [begin, middle, end] = [from, middle, to].map(|level| snr(&path, level));
        let part = |of: f64| up * self.s_noise * (of / (end - begin)).sqrt();
        let fresh =
            noise.map(|[first, second]| [(part(middle - begin), first), (part(end - middle), second)]);
        sum([(kept, x), (1.0, denoised)].into_iter().chain(fresh.into_iter().flatten()))
    }
}
