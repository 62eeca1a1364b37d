//! Predictor and corrector: a step down, then steps of Langevin's dynamics where it has led.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path;
use crate::precision::check_amount;
use crate::sampler::way::Way;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Predictor–corrector sampling (Song et al. 2021, arXiv:2011.13456, §4.2 and App. G, Alg. 2 and 4).
///
/// After a predictor's step to σ' follow steps of annealed Langevin dynamics there: with the score s = −(x − α·D)/σ'²,
/// `x ← x + ε·s + √(2ε)·z`, where ε = 2·(snr·‖z‖/‖s‖)². The paper takes the means of both norms over the batch; here they are
/// what is expected of d values of noise, √d and √d/σ', so that ε = 2·(snr·σ')² and a sample depends on no other one. There is
/// no corrector at σ' = 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictorCorrector {
    /// The step to the next level.
    pub predictor: Predictor,
    /// The number of Langevin steps at each level.
    pub corrections: usize,
    /// The ratio of the sizes of a Langevin step and of its noise, at least 0.
    pub snr: f64,
    /// S_noise ≥ 0: the standard deviation of the predictor's noise.
    pub s_noise: f64,
}

/// How a [`PredictorCorrector`] comes to the next level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predictor {
    /// Ancestral sampling (App. F), [`EulerAncestral`](super::EulerAncestral) with η = 1.
    #[default]
    Ancestral,
    /// The reverse diffusion (App. E): x̂ gains (σ̂² − σ̂'²)·s and noise of the variance σ̂² − σ̂'², where x̂ = x/α
    /// and σ̂ = σ/α. Of few steps it leaves more noise than σ'. From pure noise, where σ̂ is infinite, it is ancestral.
    ReverseDiffusion,
    /// The probability flow by Euler's method, without noise.
    Euler,
}

impl Default for PredictorCorrector {
    fn default() -> Self {
        Self { predictor: Predictor::default(), corrections: 1, snr: 0.16, s_noise: 1.0 }
    }
}

impl PredictorCorrector {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If `corrections` is above 1000, or another number is negative or not finite in f32.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_at_most("corrections", self.corrections, 1000)?;
        check_amount("snr", self.snr)?;
        check_amount("s_noise", self.s_noise)
    }

    /// The weights of the state and of the estimate, and of noise, in a step of the predictor.
    fn weights(&self, way: &Way) -> (Combination, f64) {
        let (down, up) = way.ancestral(1.0);
        match self.predictor {
            Predictor::Euler => (way.keeping(way.to), 0.0),
            Predictor::ReverseDiffusion if way.data_from > 0.0 && way.to > 0.0 => {
                let (from, to) = (way.from / way.data_from, way.to / way.data_to);
                // The mean is that of the ancestral step; there is more noise.
                (way.keeping(down), way.data_to * ((from - to) * (from + to)).sqrt())
            }
            _ => (way.keeping(down), up),
        }
    }

    /// A step of Langevin's dynamics at the noise level `sigma`.
    fn corrected<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        sigma: f64,
        noise: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let size = 2.0 * self.snr.powi(2);
        // ε·s = −2·snr²·(x − α·D).
        let alpha = denoiser.path().alpha(sigma);
        let along = Combination { x: 1.0 - size, denoised: size * alpha, ..Combination::default() };
        sum([(1.0, denoiser.evaluate(x, sigma).combined(along)), (2.0 * self.snr * sigma, noise)])
    }
}

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](PredictorCorrector::validate) is an error.
impl Sampler for PredictorCorrector {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) {
        expect_valid(self.validate());
    }

    /// That of the predictor; corrections have an error of their own, by `snr`.
    fn order(&self) -> u32 {
        1
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to == 0.0 { 1 } else { 1 + self.corrections })
    }

    fn adds_noise(&self) -> bool {
        self.corrections != 0 || self.predictor != Predictor::Euler
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        (): &mut (),
    ) -> Tensor<B, D> {
        let (along, up) = self.weights(&Way::on(&denoiser.path(), from, to));
        let reached = denoiser.evaluate(x, from).combined(along);
        let fresh = (up != 0.0).then(|| (up * self.s_noise, noise(from, to)));
        let mut x = sum([(1.0, reached)].into_iter().chain(fresh));
        if to > 0.0 {
            for _ in 0..self.corrections {
                x = self.corrected(denoiser, x, to, noise(to, to));
            }
        }
        x
    }
}
