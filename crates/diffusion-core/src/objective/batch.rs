//! The place of a batch among the examples of its step, and the noise levels that it gets there.

use crate::random::{Purpose, Stream};

/// The noise levels that training visits.
pub const TRAINING_SIGMA: Purpose = Purpose(5);
/// Where in its stratum each level lies, and where the strata begin.
pub const STRATUM: Purpose = Purpose(20);
/// What offset noise adds to each channel.
pub const OFFSET_NOISE: Purpose = Purpose(21);
/// Which noise each example is paired with, where that is drawn.
pub const PAIRING: Purpose = Purpose(22);
/// The frequencies and phases by which a learned variance knows noise levels.
pub const FEATURES: Purpose = Purpose(23);

/// The place of a batch in its step, by which all that is drawn for it is named. Several batches of one step
/// (accumulation), on one worker or on several, are consecutive places of one large batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// The run's seed.
    pub seed: u64,
    /// The step, counted from 0.
    pub step: u64,
    /// The place of the batch's first example among those of the step.
    pub first: u64,
    /// The examples of the batch.
    pub examples: usize,
    /// The examples of the whole step: of all its batches, on all workers.
    pub total: usize,
}

impl BatchPlace {
    /// The stream of random numbers of the batch's example `i` for `purpose`.
    pub fn stream(&self, purpose: Purpose, i: usize) -> Stream {
        Stream::new(self.seed, purpose, self.step, self.first + i as u64)
    }

    /// A number in [0, 1) for each example, such that those of the whole step are stratified: of `n` equal parts of
    /// [0, 1) each holds exactly one, at a random place within it.
    ///
    /// With parts of `1/n` in the order `g + G·j`, these are the draws `(g + G·j + U)/(b·G)` of G batches of b examples.
    /// Which batch gets which parts does not matter to their sum. Here the parts follow each other with the stride
    /// nearest to the golden ratio, from a random start: so those of each batch are spread too, and the numbers depend
    /// on the place in the step alone, not on how the step is cut into batches.
    ///
    /// ```
    /// use diffusion_core::objective::BatchPlace;
    ///
    /// let whole = BatchPlace { seed: 0, step: 3, first: 0, examples: 12, total: 12 };
    /// let half = |first| BatchPlace { first, examples: 6, ..whole };
    /// assert_eq!([half(0).stratified(), half(6).stratified()].concat(), whole.stratified());
    /// let mut parts: Vec<usize> = whole.stratified().iter().map(|u| (12.0 * u) as usize).collect();
    /// parts.sort();
    /// assert_eq!(parts, Vec::from_iter(0..12));
    /// ```
    pub fn stratified(&self) -> Vec<f64> {
        let n = self.total.max(1) as u64;
        let stride = stride(n);
        let start = Stream::new(self.seed, STRATUM, self.step, u64::MAX).below(n as usize) as u64;
        let stratum =
            |place: u64| (u128::from(place) * u128::from(stride) + u128::from(start)) % u128::from(n);
        (0..self.examples)
            .map(|i| (stratum(self.first + i as u64) as f64 + self.stream(STRATUM, i).uniform()) / n as f64)
            .map(|u| u.min(1.0 - f64::EPSILON))
            .collect()
    }
}

/// The number nearest to n divided by the golden ratio that has no divisor in common with `n`.
fn stride(n: u64) -> u64 {
    let golden = (n as f64 / 1.618_033_988_749_895).round() as u64;
    let candidates = (0..n).flat_map(|d| [golden + d, golden.saturating_sub(d)]);
    candidates.into_iter().find(|&stride| stride > 0 && gcd(stride, n) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The noise level of an example, and how its loss counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The noise level.
    pub sigma: f64,
    /// The share of the distribution's levels that lie below it, where it is known.
    pub rank: Option<f64>,
    /// How much more its loss counts, because it was drawn more seldom, or stands for more, than others.
    pub importance: f64,
    /// The logarithm u of the loss that is expected at it: the loss L counts as L·e^(−u) + u. 0 where nothing is
    /// expected.
    pub log_variance: f64,
}

impl Drawn {
    /// A level whose loss counts as it is.
    pub fn plain(sigma: f64) -> Self {
        Self { sigma, rank: None, importance: 1.0, log_variance: 0.0 }
    }

    /// What the loss is multiplied by.
    pub fn factor(&self) -> f64 {
        self.importance * (-self.log_variance).exp()
    }

    /// What is added to it then; no gradient of the model depends on it.
    pub fn offset(&self) -> f64 {
        self.importance * self.log_variance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(first: u64, examples: usize, total: usize) -> BatchPlace {
        BatchPlace { seed: 7, step: 5, first, examples, total }
    }

    fn strata(draws: &[f64], n: usize) -> Vec<usize> {
        let mut strata: Vec<usize> = draws.iter().map(|u| (u * n as f64) as usize).collect();
        strata.sort_unstable();
        strata
    }

    #[test]
    fn each_stratum_is_visited_once_in_a_step() {
        for n in [1, 2, 3, 12, 64, 97, 128, 1000] {
            let draws = place(0, n, n).stratified();
            assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
            assert_eq!(strata(&draws, n), Vec::from_iter(0..n), "{n}");
        }
    }

    /// Whatever the number of batches and of workers is; those of one batch are spread, too.
    #[test]
    fn batches_and_workers_share_the_strata() {
        let whole = place(0, 96, 96).stratified();
        for batches in [2, 3, 8] {
            let b = 96 / batches;
            let parts: Vec<Vec<f64>> =
                (0..batches).map(|g| place((g * b) as u64, b, 96).stratified()).collect();
            assert_eq!(parts.concat(), whole);
            for part in parts {
                // Of coarse strata none is far from its share: a mean of b stratified draws.
                let mean = part.iter().sum::<f64>() / b as f64;
                assert!((mean - 0.5).abs() < 1.0 / b as f64 + 0.02, "{mean} of {b}");
            }
        }
    }

    #[test]
    fn steps_and_seeds_draw_anew() {
        let draws = |seed, step| BatchPlace { seed, step, ..place(0, 8, 8) }.stratified();
        assert_ne!(draws(1, 1), draws(1, 2));
        assert_ne!(draws(1, 1), draws(2, 1));
        // The first place has every stratum in the course of many steps.
        let seen: std::collections::BTreeSet<usize> =
            (0..200).map(|step| (8.0 * draws(3, step)[0]) as usize).collect();
        assert_eq!(seen.len(), 8);
    }
}
