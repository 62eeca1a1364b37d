//! DPM-Solver++: a method of several steps in the logarithm of the noise level, with and without noise.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::precision::check_amount;
use crate::sampler::quadrature::{exponential_moments, weights};
use crate::sampler::way::Way;
use crate::sampler::{NoiseKind, Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// DPM-Solver++ with several steps (Lu et al. 2022, arXiv:2211.01095, Alg. 2 and §5), diffusers'
/// `DPMSolverMultistepScheduler`, k-diffusion's `sample_dpmpp_2m`, `sample_dpmpp_2m_sde` and `sample_dpmpp_3m_sde`.
///
/// With λ = ln(α/σ), h = λ' − λ and q = (1 + η)·h it goes from σ to σ' by
/// `x' = (σ'/σ)·e^(−ηh)·x + α'·q·∫₀¹ e^(−q(1−u))·D(u) du + σ'·√(1 − e^(−2ηh))·z`, where D(u) is the
/// polynomial through the last estimates of the data, as many as the order. A step to σ' = 0 ends at D, and one from pure
/// noise is of first order.
///
/// Of order 3 k-diffusion and diffusers give D's second difference half the weight that the integral has, and are of order 2
/// in effect; here it has its whole weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpmSolver {
    /// The number of estimates that a step looks at: 1, 2 or 3.
    pub order: usize,
    /// η ≥ 0: the amount of noise; 0 is the ordinary equation, 1 the stochastic one.
    pub eta: f64,
    /// S_noise ≥ 0: the standard deviation of the added noise.
    pub s_noise: f64,
    /// What a step of second order does with the difference of its two estimates.
    pub variant: Variant,
}

/// The weight of the difference of estimates in a step of second order, by the methods of the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// As if D were the same all the way as in its middle: (1 − e^(−q))/2.
    #[default]
    Midpoint,
    /// The integral itself: 1 − (1 − e^(−q))/q.
    Heun,
}

impl DpmSolver {
    /// DPM-Solver++(2M).
    pub const M2: Self = Self { order: 2, eta: 0.0, s_noise: 1.0, variant: Variant::Midpoint };

    /// DPM-Solver++(3M).
    pub const M3: Self = Self { order: 3, variant: Variant::Heun, ..Self::M2 };

    /// DPM-Solver++(2M) SDE.
    pub const M2_SDE: Self = Self { eta: 1.0, ..Self::M2 };

    /// DPM-Solver++(3M) SDE.
    pub const M3_SDE: Self = Self { eta: 1.0, ..Self::M3 };

    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If the order is none of 1 to 3, or another parameter is negative or not finite in f32.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("order", self.order, 3)?;
        check_amount("eta", self.eta)?;
        check_amount("s_noise", self.s_noise)
    }

    /// The weights of D, of D₋₁ and of D₋₂ that are known, less α', for a step of the length `h` after steps of the lengths
    /// `before`, the latest first.
    fn weights(&self, h: f64, before: &[f64]) -> [f64; 3] {
        let moments = exponential_moments((1.0 + self.eta) * h);
        if let ([last], Variant::Midpoint) = (before, self.variant) {
            let difference = 0.5 * moments[0] * h / last;
            return [moments[0] + difference, -difference, 0.0];
        }
        // In units of the step, D is known at 0, −r₀ and −r₀ − r₁; behind a step from pure noise nothing is.
        let back = before.iter().take_while(|length| length.is_finite()).scan(0.0, |place, length| {
            *place -= length / h;
            Some(*place)
        });
        let nodes: Vec<f64> = [0.0].into_iter().chain(back).collect();
        let mut found = [0.0; 3];
        found.iter_mut().zip(weights(&nodes, &moments)).for_each(|(found, weight)| *found = weight);
        found
    }
}

impl Default for DpmSolver {
    fn default() -> Self {
        Self::M2
    }
}

/// The estimates of the data of the steps before, the latest first, each with the length of its step in λ.
#[derive(Debug)]
pub struct Estimates<B: Backend, const D: usize>(Vec<(Tensor<B, D>, f64)>);

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](DpmSolver::validate) is an error.
impl Sampler for DpmSolver {
    type State<B: Backend, const D: usize> = Estimates<B, D>;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Estimates<B, D> {
        expect_valid(self.validate());
        Estimates(Vec::new())
    }

    /// Of N steps evenly spaced in σ down to 0, the error of order 2 falls as ln N/N². With noise it is 2 at most.
    fn order(&self) -> u32 {
        let order = if self.eta == 0.0 { self.order } else { self.order.min(2) };
        order as u32
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to < step.from { 1 } else { 0 })
    }

    /// That of one path where there is noise.
    fn noise_kind(&self) -> NoiseKind {
        if self.eta == 0.0 { NoiseKind::Steps } else { NoiseKind::Brownian }
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
        Estimates(past): &mut Estimates<B, D>,
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        let way = Way::on(&denoiser.path(), from, to);
        // Infinite where noise has no data in it, or data no noise.
        let length = way.length();
        let lengths: Vec<f64> = past.iter().map(|(_, length)| *length).take(self.order - 1).collect();
        let lengths = if length.is_finite() { &lengths[..] } else { &[] };
        let [now, before @ ..] = self.weights(length, lengths).map(|weight| weight * way.data_to);

        let found = denoiser.evaluate(x, from);
        let denoised = (self.order > 1).then(|| found.clone().denoised());
        // Of a step of infinite length ∞·0 is none.
        let lost = if self.eta == 0.0 { 0.0 } else { -2.0 * self.eta * length };
        let kept = to / from * (0.5 * lost).exp();
        let along = Combination { x: kept, denoised: now, ..Combination::default() };
        let up = to * (-lost.exp_m1()).sqrt() * self.s_noise;
        let fresh = (up != 0.0).then(|| (up, noise(from, to)));
        let earlier =
            before.into_iter().zip(past.iter()).map(|(weight, (denoised, _))| (weight, denoised.clone()));
        let reached = sum([(1.0, found.combined(along))].into_iter().chain(earlier).chain(fresh));
        past.splice(0..0, denoised.map(|denoised| (denoised, length)));
        past.truncate(self.order.saturating_sub(1));
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ∫₀¹ q·e^(−q(1−u))·p(u) du of a polynomial p of the order's degree is what its values at the steps before give.
    #[test]
    fn weights_integrate_polynomials() {
        let solver = DpmSolver { variant: Variant::Heun, eta: 0.7, ..DpmSolver::M3 };
        let (h, before) = (0.8, [0.5, 1.1]);
        let q = (1.0 + solver.eta) * h;
        let points = [0.0, -before[0] / h, -(before[0] + before[1]) / h];
        let integral = |power: i32| {
            let n = 20_000;
            let at = |i: usize| (i as f64 + 0.5) / f64::from(n);
            let values = (0..n as usize).map(|i| q * (-q * (1.0 - at(i))).exp() * at(i).powi(power));
            values.sum::<f64>() / f64::from(n)
        };
        for known in 0..3 {
            let weights = solver.weights(h, &before[..known]);
            for power in 0..=known as i32 {
                let found: f64 = weights.iter().zip(points).map(|(w, u)| w * u.powi(power)).sum();
                assert!((found - integral(power)).abs() < 1e-8, "{known}, {power}: {found}");
            }
        }
        // Midpoint's is exact for D that stay.
        assert!((DpmSolver::M2.weights(h, &[0.3]).iter().sum::<f64>() - integral_of_one(h)).abs() < 1e-12);
    }

    fn integral_of_one(h: f64) -> f64 {
        1.0 - (-h).exp()
    }
}
