//! Noise levels that are drawn the more often, the larger their losses are.

use super::batch::Drawn;
use super::memory::{Memory, Seen};
use crate::invalid::Invalid;
use serde::{Deserialize, Serialize};

/// Draws noise levels by the importance that training found: the more often, the larger the loss was there, and counts
/// each the less. So the expected loss and gradient are the same, with less noise (Nichol & Dhariwal 2021, arXiv:2102.09672,
/// §3.3).
///
/// The distribution's ranks are cut into `bins` equal parts, in each of which a running mean of the squared loss is kept:
/// a part is drawn in proportion to its root. It begins once every part has been seen some times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adaptive {
    /// How many parts; 32 by default.
    pub bins: usize,
    /// The share of draws that stays as the distribution has it, so that no part is forgotten and no loss counts more
    /// than 1/floor times; 0.1 by default.
    pub floor: f64,
    /// How much of the mean each loss leaves as it was; 0.99 by default. The first losses count the same each.
    pub decay: f64,
    /// How often every part is seen before losses decide; 10 by default, as in the paper.
    pub warmup: usize,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { bins: 32, floor: 0.1, decay: 0.99, warmup: 10 }
    }
}

/// The names of the mean squared loss of each part, and of how often it was seen.
const SQUARES: &str = "adaptive.squares";
const COUNTS: &str = "adaptive.counts";

impl Adaptive {
    /// The most parts: each has to be seen.
    const MOST_BINS: usize = 10_000;

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless there are 1 to 10,000 parts, the floor is above 0 and at most 1, and the decay in [0, 1).
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("bins", self.bins, Self::MOST_BINS)?;
        Invalid::unless(self.floor > 0.0 && self.floor <= 1.0, "floor", || {
            format!("is {}, expected a number above 0 and up to 1", self.floor)
        })?;
        Invalid::unless((0.0..1.0).contains(&self.decay), "decay", || {
            format!("is {}, expected a number in [0, 1)", self.decay)
        })
    }

    /// What is known before the first step.
    pub(super) fn memory(&self) -> Memory {
        let zeros = || vec![0.0; self.bins];
        Memory::default().with(SQUARES, zeros()).with(COUNTS, zeros())
    }

    /// How much more often than by the distribution alone each part is drawn; their mean is 1.
    pub fn densities(&self, memory: &Memory) -> Vec<f64> {
        let even = || vec![1.0; self.bins];
        let (squares, counts) = (memory.get(SQUARES), memory.get(COUNTS));
        if squares.len() != self.bins || counts.iter().any(|&count| count < self.warmup as f64) {
            return even();
        }
        let roots: Vec<f64> = squares.iter().map(|square| square.sqrt()).collect();
        let mean = roots.iter().sum::<f64>() / self.bins as f64;
        if !(mean.is_normal() && mean > 0.0) {
            return even();
        }
        roots.iter().map(|root| self.floor + (1.0 - self.floor) * root / mean).collect()
    }

    /// The rank in the distribution of the draw `u`, and how much its loss counts.
    pub(super) fn rank(densities: &[f64], u: f64) -> (f64, f64) {
        let bins = densities.len() as f64;
        let mut left = u * bins;
        for (bin, &density) in densities.iter().enumerate() {
            // The last part has what rounding leaves.
            if left < density || bin + 1 == densities.len() {
                let within = (left / density).min(1.0);
                return (((bin as f64 + within) / bins).min(1.0 - f64::EPSILON), 1.0 / density);
            }
            left -= density;
        }
        (u, 1.0)
    }

    /// Takes in the losses of a step.
    pub(super) fn observe(&self, memory: &mut Memory, seen: &Seen<'_>) {
        let densities = self.densities(memory);
        for (drawn, loss) in seen.levels.iter().zip(seen.losses) {
            let Some(bin) = drawn.rank.map(|rank| self.bin(rank)) else { continue };
            // What it counts under the distribution alone.
            let square = (loss * factor_without(drawn, densities[bin])).powi(2);
            if !square.is_finite() {
                continue;
            }
            let Some(count) = memory.get_mut(COUNTS).get_mut(bin) else { continue };
            *count += 1.0;
            let rate = (1.0 / *count).max(1.0 - self.decay);
            if let Some(mean) = memory.get_mut(SQUARES).get_mut(bin) {
                *mean += rate * (square - *mean);
            }
        }
    }

    fn bin(&self, rank: f64) -> usize {
        ((rank * self.bins as f64) as usize).min(self.bins - 1)
    }
}

/// What the loss of a draw would be multiplied by if its part were drawn as the distribution has it.
fn factor_without(drawn: &Drawn, density: f64) -> f64 {
    drawn.factor() * density
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Adam;

    const ADAM: Adam = Adam { lr: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };

    fn loss(rank: f64) -> f64 {
        0.1 + 10.0 * rank.powi(4)
    }

    /// Draws n stratified ranks and learns from their losses.
    fn step(adaptive: &Adaptive, memory: &mut Memory, n: usize) -> Vec<Drawn> {
        let densities = adaptive.densities(memory);
        let draw = |i| {
            let (rank, importance) = Adaptive::rank(&densities, (i as f64 + 0.5) / n as f64);
            Drawn { rank: Some(rank), importance, ..Drawn::plain(1.0) }
        };
        let levels: Vec<Drawn> = (0..n).map(draw).collect();
        let losses: Vec<f64> = levels.iter().map(|level| loss(level.rank.unwrap())).collect();
        adaptive.observe(memory, &Seen { levels: &levels, losses: &losses, optimizer: ADAM });
        levels
    }

    /// The weighted mean of the draws is the integral, before and after anything was learned; the weighted losses vary
    /// less then.
    #[test]
    fn the_expected_loss_is_unchanged_with_less_noise() {
        let adaptive = Adaptive { bins: 8, ..Adaptive::default() };
        let mut memory = adaptive.memory();
        let statistics = |levels: &[Drawn]| {
            let losses: Vec<f64> = levels.iter().map(|l| loss(l.rank.unwrap()) * l.factor()).collect();
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            (mean, losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / losses.len() as f64)
        };
        let (before, spread_before) = statistics(&step(&adaptive, &mut memory, 10_000));
        assert_ne!(adaptive.densities(&memory), [1.0; 8]);
        let (after, spread_after) = statistics(&step(&adaptive, &mut memory, 10_000));
        assert!((before - 2.1).abs() < 1e-3 && (after - 2.1).abs() < 1e-3, "{before} {after}, expected 2.1");
        assert!(spread_after < 0.3 * spread_before, "{spread_before} {spread_after}");
    }

    /// In proportion to the roots of the mean squares, but for the floor; the mean of the densities is 1.
    #[test]
    fn densities_follow_the_losses() {
        let adaptive = Adaptive { bins: 4, floor: 0.2, warmup: 1, ..Adaptive::default() };
        let memory = Memory::default().with(SQUARES, vec![1.0, 4.0, 9.0, 4.0]).with(COUNTS, vec![1.0; 4]);
        let found = adaptive.densities(&memory);
        for (found, root) in found.iter().zip([1.0, 2.0, 3.0, 2.0]) {
            assert!((found - (0.2 + 0.8 * root / 2.0)).abs() < 1e-12, "{found}");
        }
        assert!((found.iter().sum::<f64>() - 4.0).abs() < 1e-12);
        // Of equal losses, what was drawn often does not seem to count less.
        let mut again = memory.clone();
        let (rank, importance) = Adaptive::rank(&found, 0.6);
        let level = Drawn { rank: Some(rank), importance, ..Drawn::plain(1.0) };
        let seen = Seen { levels: &[level], losses: &[3.0], optimizer: ADAM };
        adaptive.observe(&mut again, &seen);
        assert_eq!(again.get(SQUARES), memory.get(SQUARES));
    }

    #[test]
    fn nothing_is_decided_before_all_parts_were_seen() {
        let adaptive = Adaptive { bins: 4, warmup: 3, ..Adaptive::default() };
        let mut memory = adaptive.memory();
        for _ in 0..2 {
            step(&adaptive, &mut memory, 4);
            assert_eq!(adaptive.densities(&memory), [1.0; 4]);
        }
        step(&adaptive, &mut memory, 4);
        assert_ne!(adaptive.densities(&memory), [1.0; 4]);
    }

    #[test]
    fn settings_are_refused_by_name() {
        let good = Adaptive::default();
        assert_eq!(good.validate(), Ok(()));
        for (adaptive, setting) in [
            (Adaptive { bins: 0, ..good }, "bins"),
            (Adaptive { bins: 10_001, ..good }, "bins"),
            (Adaptive { floor: 0.0, ..good }, "floor"),
            (Adaptive { floor: f64::NAN, ..good }, "floor"),
            (Adaptive { decay: 1.0, ..good }, "decay"),
        ] {
            assert_eq!(adaptive.validate().unwrap_err().setting, setting, "{adaptive:?}");
        }
    }
}
