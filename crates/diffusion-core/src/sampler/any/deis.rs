//! The exponential integrator that extrapolates estimates of the noise.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::sampler::multistep::Remainders;
use crate::sampler::quadrature::weights;
use crate::sampler::way::Way;
use crate::sampler::{Sampler, SamplerStep};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// DEIS (Zhang & Chen 2022, arXiv:2204.13902, §3.3): with ρ = σ/α it is `x'/α' = x/α + ∫ p(ln ρ) dρ` from ρ to ρ', where p
/// is the polynomial through the last estimates of the noise, as many as the order; diffusers'
/// `DEISMultistepScheduler`. Each step evaluates the model once.
///
/// The paper has polynomials in time (tAB) or in ρ (ρAB, which is [`Lms`](super::Lms)); here they are in ln ρ, as in diffusers,
/// and so do not depend on a schedule. A step from pure noise, where ρ is infinite, is of first order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deis {
    /// How many estimates a step looks at, 1 to 3; the first steps have fewer.
    pub order: usize,
    /// Whether the last steps of a run of fewer than 15 look at fewer estimates: as many as steps are left, which is steadier.
    pub lower_order_final: bool,
}

impl Default for Deis {
    fn default() -> Self {
        Self { order: 2, lower_order_final: true }
    }
}

/// A run of fewer steps than this is one of few.
const FEW: usize = 15;

impl Deis {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If the order is none of 1 to 3.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("order", self.order, 3)
    }

    /// How many estimates a step looks at that has `left` steps before it, with itself, in a run of `steps`.
    fn looks_at(&self, left: usize, steps: usize) -> usize {
        let is_lower = self.lower_order_final && steps < FEW;
        if is_lower { self.order.min(left) } else { self.order }
    }
}

/// `∫ e^u·uᵏ du` from 0 to −h for k = 0, 1, 2; h may be infinite.
fn moments(h: f64) -> [f64; 3] {
    let left = (-h).exp();
    if left == 0.0 {
        return [-1.0, 1.0, -2.0];
    }
    if h < 0.5 {
        // What follows would cancel: Σ (−h)^(n+k+1)/(n!·(n+k+1)).
        return [0, 1, 2].map(|k| {
            let (mut power, mut sum) = ((-h).powi(k + 1), 0.0);
            for n in 0..20 {
                sum += power / f64::from(n + k + 1);
                power *= -h / f64::from(n + 1);
            }
            sum
        });
    }
    [(-h).exp_m1(), 1.0 - left * (h + 1.0), left * (h * h + 2.0 * h + 2.0) - 2.0]
}

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](Deis::validate) is an error.
impl Sampler for Deis {
    /// The number of steps of the run, and the estimates so far.
    type State<B: Backend, const D: usize> = (usize, Remainders<B, D>);

    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> (usize, Remainders<B, D>) {
        expect_valid(self.validate());
        (sigmas.len().saturating_sub(1), Remainders::default())
    }

    /// The first steps are of lower order: they have to be small, as on grids that begin at noise alone, where the noise
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
        SamplerStep { index, from, to }: SamplerStep,
        _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        (steps, past): &mut (usize, Remainders<B, D>),
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        let way = Way::on(&denoiser.path(), from, to);
        if way.data_from == 0.0 {
            return denoiser.evaluate(x, from).combined(way.keeping(to));
        }
        let (rho, h) = (from / way.data_from, way.length());
        let places = past.places().map(|other| other - rho.ln());
        let count = self.looks_at(steps.saturating_sub(index), *steps).max(1);
        let nodes: Vec<f64> = [0.0].into_iter().chain(places).take(count).collect();
        let weights: Vec<f64> =
            weights(&nodes, &moments(h)).into_iter().map(|weight| way.data_to * rho * weight).collect();
        // The noise is (x − α·D)/σ.
        let remainder = Combination { denoised: way.data_from / from, ..Combination::default() };
        past.step(denoiser, x, [from, to], &weights, remainder, (rho.ln(), self.order - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_integrals() {
        for h in [0.01, 0.3, 0.499, 0.5, 1.0, 5.0] {
            for (k, found) in moments(h).into_iter().enumerate() {
                let n = 100_000;
                let at = |i: u32| -h * (f64::from(i) + 0.5) / f64::from(n);
                let sum: f64 = (0..n).map(|i| at(i).exp() * at(i).powi(k as i32)).sum();
                let expected = -h * sum / f64::from(n);
                assert!((found / expected - 1.0).abs() < 1e-7, "{h}, {k}: {found}, {expected}");
            }
        }
        assert_eq!(moments(f64::INFINITY), [-1.0, 1.0, -2.0]);
    }
}
