//! smalldiffusion's sampler: one rule with two parameters that holds DDPM, DDIM and accelerated sampling.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::precision::check_factor;
use crate::sampler::{Sampler, SamplerStep, renoise};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sampler with gradient estimation of Permenter & Yuan (2024, arXiv:2306.04848, §5), extended by noise.
///
/// It follows the combination `gam·v + (1 − gam)·v_previous` of velocities down to
/// `s = (σ'/σ^mu)^(1/(1−mu))` and then adds noise to come back up to σ' by the path's own rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientEstimation {
    /// The weight of the present velocity, at least 1 as a rule.
    pub gam: f64,
    /// The amount of noise, 0 ≤ mu < 1.
    pub mu: f64,
}

impl GradientEstimation {
    /// DDIM (Song et al. 2021, arXiv:2010.02502), the Euler method: gam 1, mu 0.
    pub const DDIM: Self = Self { gam: 1.0, mu: 0.0 };

    /// DDPM (Ho et al. 2020, arXiv:2006.11239), the ancestral sampler: gam 1, mu ½.
    pub const DDPM: Self = Self { gam: 1.0, mu: 0.5 };

    /// Accelerated sampling (Permenter & Yuan 2024, arXiv:2306.04848): gam 2, mu 0.
    pub const ACCELERATED: Self = Self { gam: 2.0, mu: 0.0 };

    /// The sampler with these parameters; smalldiffusion suggests gam ≥ 1.
    ///
    /// # Panics
    /// Unless `gam` is finite and `mu` in [0, 1).
    pub fn new(gam: f64, mu: f64) -> Self {
        let sampler = Self { gam, mu };
        expect_valid(sampler.validate());
        sampler
    }

    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// Unless `gam` is finite in f32 and `mu` in [0, 1).
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { gam, mu } = *self;
        check_factor("gam", gam)?;
        Invalid::unless((0.0..1.0).contains(&mu), "mu", || format!("is {mu}, expected 0 ≤ mu < 1"))
    }
}

/// The velocity of the step before.
#[derive(Debug)]
pub struct Previous<B: Backend, const D: usize>(Option<Tensor<B, D>>);

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](GradientEstimation::validate) is an error.
impl Sampler for GradientEstimation {
    type State<B: Backend, const D: usize> = Previous<B, D>;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Previous<B, D> {
        expect_valid(self.validate());
        Previous(None)
    }

    /// 2 for gam 1½ without noise, which is the method of Adams and Bashforth where steps are alike; else 1.
    fn order(&self) -> u32 {
        if self.gam == 1.5 && self.mu == 0.0 { 2 } else { 1 }
    }

    fn evaluations(&self, _step: SamplerStep) -> Option<usize> {
        Some(1)
    }

    fn adds_noise(&self) -> bool {
        self.mu != 0.0
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        state: &mut Previous<B, D>,
    ) -> Tensor<B, D> {
        let Self { gam, mu } = *self;
        let down = if mu == 0.0 || to == from { to } else { (to / from.powf(mu)).powf((1.0 - mu).recip()) };
        let (kept, fresh) = renoise(&denoiser.path(), down, to);
        let found = denoiser.evaluate(x, from);
        let velocity = (gam != 1.0).then(|| found.clone().velocity());
        let previous = std::mem::replace(&mut state.0, velocity);
        // In the first step the present velocity stands for the one before.
        let (now, before) = if previous.is_some() { (gam, 1.0 - gam) } else { (1.0, 0.0) };
        let way = kept * (down - from);
        let along = Combination { x: kept, velocity: way * now, ..Combination::default() };
        let before = previous.map(|velocity| (way * before, velocity));
        let noise = (fresh != 0.0).then(|| (fresh, noise(from, to)));
        sum([(1.0, found.combined(along))].into_iter().chain(before).chain(noise))
    }
}
