//! Improved consistency training.

use crate::invalid::{Invalid, MAX_SIZE, Number};
use crate::objective::{
    AnyLoss, BatchPlace, Drawn, Loss, Memory, NoisyBatch, Objective, PseudoHuber, TRAINING_SIGMA,
    TrainedModel, Weight,
};
use crate::parameterization::Parameterization;
use crate::path::VarianceExploding;
use crate::precision::{check_factor, check_level};
use crate::random::Stream;
use crate::schedule::{Schedule, Sigmas};
use crate::sigma::{Sigma, mix};
use burn::tensor::{Tensor, backend::AutodiffBackend};
use serde::{Deserialize, Serialize};

/// Improved consistency training (Song & Dhariwal 2023, arXiv:2310.14189): the model's estimate D of the data is trained
/// to be the same all along the way of an example into noise, so that one step is a sample.
///
/// Noise levels are those of Karras et al. between the smallest and the largest of the schedule, `min(s₀·2^⌊k/K′⌋, s₁)` + 1
/// of them in step k ([`levels_at`](Self::levels_at); eq. 13 and Table 1 there). Of two neighbors σₙ < σₙ₊₁ drawn with the
/// weights of a normal distribution of ln σ, and one noise for both, the loss is
///
/// ```text
/// ‖D(α(σₙ₊₁)·x₀ + σₙ₊₁·ε, σₙ₊₁) − stopgrad D(α(σₙ)·x₀ + σₙ·ε, σₙ)‖ / (σₙ₊₁ − σₙ)
/// ```
///
/// with the pseudo-Huber distance. At the smallest level D is the noisy input itself, the boundary condition, whatever the
/// parameterization is: [`ConsistencyPrediction`](crate::ConsistencyPrediction) says the same, and of others
/// [`Edm`](crate::Edm) is near it.
///
/// Sample by [`Consistency`](crate::sampler::Consistency).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsistencyTraining {
    /// s₀: the intervals between noise levels in the first steps, 10 in the paper.
    pub intervals: usize,
    /// s₁: the most intervals, 1280 in the paper.
    pub most_intervals: usize,
    /// K′: the steps after which the intervals are doubled. The paper's are an eighth of all its steps, see
    /// [`over`](Self::over).
    pub double_every: u64,
    /// ρ of the noise levels' spacing, 7 in the paper.
    pub rho: f64,
    /// P_mean: the mean of ln σ, −1.1 in the paper.
    pub mean: f64,
    /// P_std: the standard deviation of ln σ, 2.0 in the paper.
    pub std: f64,
    /// How two estimates are compared: by the pseudo-Huber distance with c = 0.00054·√d in the paper.
    pub loss: AnyLoss,
}

impl Default for ConsistencyTraining {
    /// The paper's, with its 400,000 steps.
    fn default() -> Self {
        let loss = PseudoHuber { c: None }.into();
        let (intervals, most_intervals, double_every) = (10, 1280, 50_000);
        Self { intervals, most_intervals, double_every, rho: 7.0, mean: -1.1, std: 2.0, loss }
    }
}

impl ConsistencyTraining {
    /// That of a training of `steps` steps, each number of intervals being there for equally many of them:
    /// `K′ = ⌊steps/(log₂⌊s₁/s₀⌋ + 1)⌋`.
    ///
    /// ```
    /// # use diffusion_core::objective::ConsistencyTraining;
    /// let training = ConsistencyTraining::default().over(400_000);
    /// assert_eq!(training.double_every, 50_000);
    /// assert_eq!([0, 49_999, 50_000, 399_999].map(|step| training.levels_at(step)), [11, 11, 21, 1281]);
    /// ```
    pub fn over(self, steps: u64) -> Self {
        let stages = u64::from((self.most_intervals / self.intervals.max(1)).max(1).ilog2()) + 1;
        Self { double_every: (steps / stages).max(1), ..self }
    }

    /// N(k): how many noise levels there are in step k, counted from 0. It depends on the step alone.
    pub fn levels_at(&self, step: u64) -> usize {
        let doublings = u32::try_from(step / self.double_every.max(1)).unwrap_or(u32::MAX);
        let grown = 2usize.checked_pow(doublings).and_then(|factor| self.intervals.checked_mul(factor));
        1 + grown.map_or(self.most_intervals, |grown| grown.min(self.most_intervals))
    }

    /// Whether there is such an objective.
    ///
    /// # Errors
    /// The first number that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("intervals", self.intervals, MAX_SIZE)?;
        Invalid::unless_positive("most_intervals", self.most_intervals, MAX_SIZE)?;
        Invalid::unless(self.intervals <= self.most_intervals, "intervals", || {
            let Self { intervals, most_intervals, .. } = self;
            format!("is {intervals}, expected at most most_intervals, which is {most_intervals}")
        })?;
        Invalid::unless(self.double_every > 0, "double_every", || "is 0, expected at least 1".into())?;
        Invalid::unless((0.1..=100.0).contains(&self.rho), "rho", || {
            format!("is {}, expected a number from 0.1 to 100", Number(self.rho))
        })?;
        check_factor("mean", self.mean)?;
        check_level("std", self.std)?;
        self.loss.validate().map_err(|error| error.within("loss"))
    }

    /// The noise levels of the step `step`, increasing.
    fn grid<S: Schedule + ?Sized>(&self, schedule: &S, step: u64) -> Vec<f64> {
        let (first, last) = (schedule.levels().first(), schedule.levels().last());
        let (min, max) = (first.copied().unwrap_or(1.0), last.copied().unwrap_or(1.0));
        let down = Sigmas::<VarianceExploding>::karras(self.levels_at(step), min, max, self.rho);
        // The last is the 0 of a sampling run.
        let mut grid: Vec<f64> = down.iter().rev().skip(1).copied().collect();
        if let [lowest, .., highest] = &mut grid[..] {
            (*lowest, *highest) = (min, max);
        }
        grid
    }

    /// The upper level of an interval of `grid`, drawn with the weight that the normal distribution of ln σ gives it.
    fn upper(&self, grid: &[f64], stream: &mut Stream) -> f64 {
        let last = grid.len() - 1;
        for _ in 0..DRAWS {
            let sigma = (self.mean + self.std * stream.normal()).exp();
            let above = grid.partition_point(|&level| level <= sigma);
            if (1..=last).contains(&above) {
                return grid[above];
            }
        }
        // The distribution all but lies outside of the schedule.
        grid[if self.mean.exp() < grid[0] { 1.min(last) } else { last }]
    }

    /// The loss of each example, where `lower` takes noisy examples from their levels down to others.
    pub(super) fn compared<
        B: AutodiffBackend,
        M: TrainedModel<B, D>,
        S: Schedule + ?Sized,
        const D: usize,
    >(
        &self,
        model: &M,
        schedule: &S,
        batch: &NoisyBatch<B, D>,
        place: &BatchPlace,
        lower: impl FnOnce(Tensor<B::InnerBackend, D>, &[f64]) -> Tensor<B::InnerBackend, D>,
    ) -> Tensor<B, 1> {
        let grid = self.grid(schedule, place.step);
        let below = |sigma: &f64| grid[grid.partition_point(|level| level < sigma).max(1) - 1];
        let lowers: Vec<f64> = batch.sigmas.iter().map(below).collect();
        let x = noisy(model, batch, &batch.sigmas);
        let at_lower = lower(x.clone(), &lowers);
        let found = model.denoised(Tensor::from_inner(x), &batch.sigmas);
        // The boundary condition.
        let is_data: Vec<f64> = lowers.iter().map(|&sigma| f64::from(u8::from(sigma <= grid[0]))).collect();
        let target = match is_data.iter().all(|&is_data| is_data == 1.0) {
            true => at_lower,
            false => {
                let denoised = model.frozen(at_lower.clone(), &lowers);
                let is_data = Sigma::Each(is_data);
                mix((is_data.map(|is_data| 1.0 - is_data), denoised), (is_data, at_lower))
            }
        };
        let error = found - Tensor::from_inner(target);
        let weights = batch.sigmas.iter().zip(&lowers).map(|(upper, lower)| 1.0 / (upper - lower));
        let losses = Sigma::Each(weights.collect()).times(self.loss.penalty(error));
        losses.flatten::<2>(1, D - 1).mean_dim(1).squeeze_dim(1)
    }
}

/// How often a level is drawn that may lie outside of the schedule.
const DRAWS: usize = 1000;

/// The examples of a batch at other noise levels, with the same noise.
fn noisy<B: AutodiffBackend, M: TrainedModel<B, D>, const D: usize>(
    model: &M,
    batch: &NoisyBatch<B, D>,
    sigmas: &[f64],
) -> Tensor<B::InnerBackend, D> {
    let sigmas = Sigma::from(sigmas);
    mix((sigmas.map(|s| model.alpha(s)), batch.x0.clone()), (sigmas, batch.eps.clone()))
}

impl Objective for ConsistencyTraining {
    /// A level of the last steps' grid.
    fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
        self.upper(&self.grid(schedule, u64::MAX), stream)
    }

    /// How far D of one level is from the data, if anyone asks; what is minimized compares two.
    fn weight<P: Parameterization>(&self, _parameterization: &P, _sigma: f64) -> Weight {
        Weight::OnDenoised(1.0)
    }

    fn levels<S: Schedule + ?Sized>(&self, schedule: &S, place: &BatchPlace, _memory: &Memory) -> Vec<Drawn> {
        let grid = self.grid(schedule, place.step);
        let draw = |i| Drawn::plain(self.upper(&grid, &mut place.stream(TRAINING_SIGMA, i)));
        (0..place.examples).map(draw).collect()
    }

    fn batch_losses<B: AutodiffBackend, M: TrainedModel<B, D>, S: Schedule + ?Sized, const D: usize>(
        &self,
        model: &M,
        schedule: &S,
        batch: &NoisyBatch<B, D>,
        place: &BatchPlace,
    ) -> Option<Tensor<B, 1>> {
        Some(self.compared(model, schedule, batch, place, |_, lowers| noisy(model, batch, lowers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::AnyObjective;
    use crate::schedule::LogLinear;

    /// Table 1 of the paper with its numbers, and its formula of K′ for another number of steps.
    #[test]
    fn the_curriculum_doubles() {
        let training = ConsistencyTraining::default().over(8_000);
        assert_eq!(training.double_every, 1_000);
        let expected = [11, 21, 41, 81, 161, 321, 641, 1281, 1281, 1281];
        for (stage, expected) in expected.into_iter().enumerate() {
            let first = 1_000 * stage as u64;
            assert_eq!(training.levels_at(first), expected, "in step {first}");
            assert_eq!(training.levels_at(first + 999), expected, "in step {}", first + 999);
        }
        assert_eq!(training.levels_at(u64::MAX), 1281);
        let odd = ConsistencyTraining { intervals: 3, most_intervals: 10, ..training };
        // Two doublings fit in, and what is left over is the most.
        assert_eq!([0, 1_000, 2_000].map(|step| odd.levels_at(step)), [4, 7, 11]);
        assert_eq!(odd.over(9).double_every, 4);
    }

    #[test]
    fn levels_are_those_of_karras_between_the_ends_of_the_schedule() {
        let schedule = LogLinear::new(50, 0.002, 80.0);
        let grid = ConsistencyTraining::default().grid(&schedule, 0);
        assert_eq!((grid.len(), grid[0], grid[10]), (11, schedule.levels()[0], schedule.levels()[49]));
        let middle = (0.5 * (0.002f64.powf(1.0 / 7.0) + 80f64.powf(1.0 / 7.0))).powi(7);
        assert!((grid[5] / middle - 1.0).abs() < 1e-9, "{grid:?}");
        assert!(grid.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// The published weights are differences of the error function; here they are frequencies.
    #[test]
    fn levels_are_drawn_with_the_published_weights() {
        let (schedule, training) = (LogLinear::new(50, 0.002, 80.0), ConsistencyTraining::default());
        let grid = training.grid(&schedule, 0);
        let n = 40_000;
        let place = BatchPlace { seed: 1, step: 0, first: 0, examples: n, total: n };
        let drawn = training.levels(&schedule, &place, &Memory::default());
        // The normal distribution's mass by a sum over small pieces.
        let mass = |low: f64, high: f64| {
            let [low, high] = [low, high].map(|level| (level.ln() + 1.1) / 2.0);
            let at = |i: usize| low + (high - low) * (i as f64 + 0.5) / 1_000.0;
            (0..1_000).map(|i| (-0.5 * at(i).powi(2)).exp()).sum::<f64>() * (high - low)
        };
        let all: f64 = grid.windows(2).map(|pair| mass(pair[0], pair[1])).sum();
        for pair in grid.windows(2) {
            let found = drawn.iter().filter(|level| level.sigma == pair[1]).count() as f64 / n as f64;
            let expected = mass(pair[0], pair[1]) / all;
            assert!((found - expected).abs() < 0.01, "{found} of {pair:?}, expected {expected}");
        }
        assert!(drawn.iter().all(|level| level.sigma > grid[0] && grid.contains(&level.sigma)));
    }

    #[test]
    fn a_distribution_beside_the_schedule_ends_at_its_end() {
        let schedule = LogLinear::new(50, 0.002, 80.0);
        for (mean, place) in [(-50.0, 1), (50.0, 10)] {
            let training = ConsistencyTraining { mean, std: 0.1, ..Default::default() };
            let grid = training.grid(&schedule, 0);
            let mut stream = Stream::new(0, TRAINING_SIGMA, 0, 0);
            assert_eq!(training.upper(&grid, &mut stream), grid[place]);
        }
    }

    #[test]
    fn files_say_every_setting_and_bad_ones_are_named() {
        let text = r#"{"kind":"consistency-training","intervals":4,"most_intervals":64,"double_every":100,"rho":5.0,"mean":-1.0,"std":1.5,"loss":{"kind":"pseudo-huber","c":0.03}}"#;
        let objective: AnyObjective = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&objective).unwrap(), text);
        let least: AnyObjective = serde_json::from_str(r#"{"kind":"consistency-training"}"#).unwrap();
        assert_eq!(least, ConsistencyTraining::default().into());
        for (text, setting) in [
            (r#"{"intervals":0}"#, "intervals"),
            (r#"{"intervals":2000}"#, "intervals"),
            (r#"{"most_intervals":0}"#, "most_intervals"),
            (r#"{"double_every":0}"#, "double_every"),
            (r#"{"rho":0.0}"#, "rho"),
            (r#"{"std":-1.0}"#, "std"),
            (r#"{"mean":1e300}"#, "mean"),
            (r#"{"loss":{"kind":"pseudo-huber","c":0.0}}"#, "loss.c"),
        ] {
            let training: ConsistencyTraining = serde_json::from_str(text).unwrap();
            assert_eq!(training.validate().unwrap_err().setting, setting);
        }
        assert!(serde_json::from_str::<ConsistencyTraining>(r#"{"interval":10}"#).is_err());
    }
}
