//! Restart sampling: a part of the way is gone again and again, from fresh noise.

use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, Number, expect_valid};
use crate::precision::{check_amount, check_level};
use crate::sampler::trapezoid::trapezoid;
use crate::sampler::{Sampler, SamplerStep, renoise};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Restart sampling (Xu et al. 2023, arXiv:2306.14878, Alg. 1) with Heun's method.
///
/// When the run comes to t_min, noise takes the state up to t_max, and the ordinary equation brings it back, several
/// times: the noise contracts errors that were made before, and few steps between add few. Noise is added by the path's own rule,
/// `r·x + √(t_max² − r²·t_min²)·z` with `r = α(t_max)/α(t_min)`. The step of the grid that passes t_min is
/// parted there. A restart does not go above the level that the run began with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// The noise level that a restart begins and ends at, positive.
    pub t_min: f64,
    /// The noise level that it goes up to, above `t_min`.
    pub t_max: f64,
    /// K, the number of restarts.
    pub repeats: usize,
    /// The steps back from `t_max` to `t_min`, at least 1, spaced as Karras' (ρ = 7).
    pub steps: usize,
    /// S_noise ≥ 0: the standard deviation of the added noise.
    pub s_noise: f64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { t_min: 0.06, t_max: 0.3, repeats: 2, steps: 3, s_noise: 1.0 }
    }
}

impl Restart {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If f32 does not hold the square of `t_min`, `t_max` is not above it, `repeats` or `steps` is above 1000, `steps` is
    /// 0, or `s_noise` is negative or not finite.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_level("t_min", self.t_min)?;
        check_level("t_max", self.t_max)?;
        Invalid::unless(self.t_max > self.t_min, "t_max", || {
            let [found, least] = [self.t_max, self.t_min].map(Number);
            format!("is {found}, expected above `t_min`, {least}")
        })?;
        Invalid::unless_at_most("repeats", self.repeats, MOST)?;
        Invalid::unless_positive("steps", self.steps, MOST)?;
        check_amount("s_noise", self.s_noise)
    }

    /// Whether restarts are done in a step between these levels.
    fn is_in(&self, from: f64, to: f64) -> bool {
        self.repeats > 0 && from > self.t_min && to <= self.t_min
    }

    /// The noise levels from `highest` back to t_min.
    fn levels(&self, highest: f64) -> Vec<f64> {
        let root = |level: f64| level.powf(RHO.recip());
        let level = |i: usize| match i {
            0 => highest,
            i if i == self.steps => self.t_min,
            i => {
                let part = i as f64 / self.steps as f64;
                (root(highest) + part * (root(self.t_min) - root(highest))).powf(RHO)
            }
        };
        (0..=self.steps).map(level).collect()
    }
}

/// The most restarts, and the most steps of each.
const MOST: usize = 1000;
/// Of Karras' spacing.
const RHO: f64 = 7.0;

/// The highest noise level of the run, above which there is no restart.
#[derive(Clone, Copy, Debug)]
pub struct Highest(f64);

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](Restart::validate) is an error.
impl Sampler for Restart {
    type State<B: Backend, const D: usize> = Highest;

    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> Highest {
        expect_valid(self.validate());
        Highest(sigmas.first().map_or(self.t_max, |first| first.min(self.t_max)))
    }

    /// That for as many steps back as the grid has in the same interval.
    fn order(&self) -> u32 {
        2
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        let of_step = |to: f64| if to == 0.0 { 1 } else { 2 };
        let restarts = if self.is_in(step.from, step.to) {
            let rest = if step.to < self.t_min { 2 } else { 0 };
            2 * self.repeats * self.steps + rest
        } else {
            0
        };
        Some(of_step(step.to) + restarts)
    }

    fn adds_noise(&self) -> bool {
        self.repeats != 0
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        &mut Highest(highest): &mut Highest,
    ) -> Tensor<B, D> {
        if !self.is_in(from, to) {
            return trapezoid(denoiser, x, from, to);
        }
        let (kept, fresh) = renoise(&denoiser.path(), self.t_min, highest);
        let levels = self.levels(highest);
        let mut x = trapezoid(denoiser, x, from, self.t_min);
        for _ in 0..self.repeats {
            x = sum([(kept, x), (fresh * self.s_noise, noise(self.t_min, highest))]);
            for way in levels.windows(2) {
                x = trapezoid(denoiser, x, way[0], way[1]);
            }
        }
        if to < self.t_min { trapezoid(denoiser, x, self.t_min, to) } else { x }
    }
}
