//! How fast to learn at which step.

use diffusion_core::Invalid;
use serde::{Deserialize, Serialize};

/// The learning rate over a run, as a factor of [`TrainConfig::lr`](crate::TrainConfig::lr): a linear warm-up, then
/// a decay.
///
/// ```
/// # use diffusion_train::{LrDecay, LrSchedule};
/// let schedule = LrSchedule { warmup: 100, decay: LrDecay::Cosine { floor: 0.1 } };
/// assert_eq!([1, 50, 100, 550, 1000].map(|step| schedule.factor(step, 1000)), [0.01, 0.5, 1.0, 0.55, 0.1]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LrSchedule {
    /// Steps in which the rate rises linearly from 0 to its full value; none by default.
    pub warmup: u64,
    /// What follows; nothing by default.
    pub decay: LrDecay,
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LrDecay {
    /// Not at all.
    #[default]
    Constant,
    /// Along half a cosine, until the last step of the run (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5). A run
    /// that is made longer afterwards is another run.
    Cosine {
        /// The factor of the last step, in [0, 1].
        #[serde(default)]
        floor: f64,
    },
    /// As √(after / step) from the step `after` on (Karras et al. 2024, arXiv:2312.02696, eq. 67).
    InverseSqrt {
        /// The step from which on the rate falls, at least 1; 70,000 in the paper.
        after: u64,
    },
}

impl LrSchedule {
    /// The factor at the step `step`, counted from 1, of a run of `steps` steps; in [0, 1].
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let warm = if step < self.warmup { step as f64 / self.warmup as f64 } else { 1.0 };
        let decay = match self.decay {
            LrDecay::Constant => 1.0,
            LrDecay::Cosine { floor } => {
                let done = step.saturating_sub(self.warmup) as f64;
                let all = steps.saturating_sub(self.warmup).max(1) as f64;
                let half = (1.0 + (std::f64::consts::PI * (done / all).min(1.0)).cos()) / 2.0;
                floor + (1.0 - floor) * half
            }
            LrDecay::InverseSqrt { after } => (after as f64 / step.max(after).max(1) as f64).sqrt(),
        };
        warm * decay
    }

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// If the cosine's floor is not in [0, 1], or the rate is to fall from step 0 on.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self.decay {
            LrDecay::Constant => Ok(()),
            LrDecay::Cosine { floor } => Invalid::unless((0.0..=1.0).contains(&floor), "decay.floor", || {
                format!("is {floor}, expected a share of the learning rate in [0, 1]")
            }),
            LrDecay::InverseSqrt { after } => {
                Invalid::unless(after > 0, "decay.after", || "is 0, expected a step of at least 1".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: √(400 / step), and the ends of the warm-up.
    #[test]
    fn the_inverse_square_root_follows_the_warm_up() {
        let schedule = LrSchedule { warmup: 10, decay: LrDecay::InverseSqrt { after: 400 } };
        for (step, expected) in [(1, 0.1), (10, 1.0), (400, 1.0), (1600, 0.5), (40_000, 0.1)] {
            assert_eq!(schedule.factor(step, 50_000), expected, "step {step}");
        }
    }

    #[test]
    fn without_settings_the_rate_is_constant() {
        let schedule = LrSchedule::default();
        assert!((1..100).all(|step| schedule.factor(step, 50) == 1.0));
    }

    /// Beyond the planned end, as in a run that is made longer, the cosine stays at its floor.
    #[test]
    fn the_cosine_ends_at_its_floor() {
        let schedule = LrSchedule { warmup: 0, decay: LrDecay::Cosine { floor: 0.2 } };
        assert_eq!(schedule.factor(100, 100), 0.2);
        assert_eq!(schedule.factor(150, 100), 0.2);
        assert!((schedule.factor(50, 100) - 0.6).abs() < 1e-15);
    }
}
