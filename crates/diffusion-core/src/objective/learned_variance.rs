//! The loss that is expected at each noise level, learned beside the model.

use super::batch::{Drawn, FEATURES};
use super::memory::{Adam, Memory, Seen};
use crate::invalid::Invalid;
use crate::random::Stream;
use serde::{Deserialize, Serialize};
use std::f64::consts::{SQRT_2, TAU};

/// The learned log-variance u(σ) of EDM2 (Karras et al. 2024, arXiv:2312.02696): the loss L counts as L·e^(−u) + u,
/// which is least at u = ln L. So every noise level counts as much as any other, in the course of all of training.
///
/// u is linear in random Fourier features of ln σ/4 and a constant. It begins at 0. There are so few parameters that they
/// are trained on the host, by Adam with the learning rate and the decays of the model's; a checkpoint holds them and
/// their moments, and the network does not. Losses of validation do not count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedVariance {
    /// The number of Fourier features, 128 by default.
    pub channels: usize,
}

impl Default for LearnedVariance {
    fn default() -> Self {
        Self { channels: 128 }
    }
}

/// The name of the parameters.
const WEIGHTS: &str = "variance";

impl LearnedVariance {
    /// The most features.
    const MOST: usize = 10_000;

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless there are 1 to 10,000 features.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("channels", self.channels, Self::MOST)
    }

    /// What is known before the first step.
    pub(super) fn memory(&self) -> Memory {
        Adam::memory(WEIGHTS, vec![0.0; self.channels + 1])
    }

    /// u at each of `sigmas`, as far as it was learned.
    pub fn log_variances(&self, memory: &Memory, sigmas: &[f64]) -> Vec<f64> {
        let waves = self.waves();
        let weights = memory.get(WEIGHTS);
        let at = |&sigma: &f64| {
            features(&waves, sigma).zip(weights).map(|(feature, weight)| feature * weight).sum()
        };
        sigmas.iter().map(at).collect()
    }

    /// The frequency and the phase of each feature: always the same.
    fn waves(&self) -> Vec<[f64; 2]> {
        let wave = |i| {
            let mut stream = Stream::new(0, FEATURES, 0, i);
            [TAU * stream.normal(), TAU * stream.uniform()]
        };
        (0..self.channels as u64).map(wave).collect()
    }

    /// Moves u towards the logarithms of the losses of a step: the gradient of L·e^(−u) + u by u is 1 − L·e^(−u).
    pub(super) fn observe(&self, memory: &mut Memory, seen: &Seen<'_>) {
        let waves = self.waves();
        let mut gradient = vec![0.0; self.channels + 1];
        let n = seen.levels.len() as f64;
        for (Drawn { sigma, importance, log_variance, .. }, loss) in seen.levels.iter().zip(seen.losses) {
            let slope = importance * (1.0 - loss * (-log_variance).exp()) / n;
            for (sum, feature) in gradient.iter_mut().zip(features(&waves, *sigma)) {
                *sum += slope * feature;
            }
        }
        if gradient.iter().all(|g| g.is_finite()) {
            seen.optimizer.step(memory, WEIGHTS, &gradient);
        }
    }
}

/// The features of a noise level: waves of variance 1 over the root of their number, and the constant.
fn features(waves: &[[f64; 2]], sigma: f64) -> impl Iterator<Item = f64> {
    let (x, scale) = (sigma.ln() / 4.0, SQRT_2 / (waves.len() as f64).sqrt());
    waves.iter().map(move |[frequency, phase]| scale * (frequency * x + phase).cos()).chain([1.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAM: Adam = Adam { lr: 1e-2, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };

    /// On losses that depend on σ alone it finds their logarithms, over five orders of magnitude.
    #[test]
    fn the_logarithm_of_the_loss_is_found() {
        let learned = LearnedVariance::default();
        let mut memory = learned.memory();
        let sigmas: Vec<f64> = (0..48).map(|i| 10f64.powf(f64::from(i) / 12.0 - 2.0)).collect();
        let loss = |sigma: f64| 3.0 * sigma / (1.0 + sigma) + 1e-3;
        let losses: Vec<f64> = sigmas.iter().map(|&sigma| loss(sigma)).collect();
        assert_eq!(learned.log_variances(&memory, &sigmas), vec![0.0; 48]);
        for _ in 0..1_500 {
            let u = learned.log_variances(&memory, &sigmas);
            let levels: Vec<Drawn> = sigmas
                .iter()
                .zip(u)
                .map(|(&sigma, log_variance)| Drawn { log_variance, ..Drawn::plain(sigma) })
                .collect();
            learned.observe(&mut memory, &Seen { levels: &levels, losses: &losses, optimizer: ADAM });
        }
        for (u, loss) in learned.log_variances(&memory, &sigmas).iter().zip(losses) {
            assert!((u - loss.ln()).abs() < 0.1, "{u}, expected {}", loss.ln());
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_teaches_nothing() {
        let learned = LearnedVariance { channels: 4 };
        let mut memory = learned.memory();
        let seen = Seen { levels: &[Drawn::plain(1.0)], losses: &[f64::INFINITY], optimizer: ADAM };
        learned.observe(&mut memory, &seen);
        assert_eq!(memory, learned.memory());
        assert_eq!(LearnedVariance { channels: 0 }.validate().unwrap_err().setting, "channels");
    }
}
