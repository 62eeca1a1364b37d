//! Times with more weight in the middle or at the ends.

use super::super::level_of_ratio;
use crate::invalid::Invalid;
use crate::objective::SigmaDistribution;
use crate::precision::check_level;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_PI_2, PI};

/// "Mode sampling with heavy tails" of times t = σ of the straight path (Esser et al. 2024, arXiv:2403.03206, §3.1):
/// `t = 1 − u − s·(cos²(πu/2) − 1 + u)`, u uniform; then shifted as [`LogitNormal`](crate::objective::LogitNormal) is. On
/// other paths the levels have the same ratio of noise to data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mode {
    /// s from −1 to 2/(π − 2): above 0 the middle is drawn more often, below 0 the ends; 1.29 by default, the best of
    /// the paper's.
    pub scale: f64,
    /// The shift k towards noise, 1 by default, which is none.
    pub shift: f64,
}

impl Default for Mode {
    fn default() -> Self {
        Self { scale: 1.29, shift: 1.0 }
    }
}

impl Mode {
    /// Whether there is such a distribution.
    ///
    /// # Errors
    /// Unless the scale is from −1 to 2/(π − 2), between which t is monotone, and the shift is positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        let most = 2.0 / (PI - 2.0);
        Invalid::unless((-1.0..=most).contains(&self.scale), "scale", || {
            format!("is {}, expected -1 to {most:.4}", self.scale)
        })?;
        check_level("shift", self.shift)
    }
}

impl SigmaDistribution for Mode {
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        // The paper's t falls with its u.
        let v = 1.0 - u;
        let t = (u - self.scale * ((FRAC_PI_2 * v).cos().powi(2) - u)).clamp(0.0, 1.0);
        level_of_ratio(schedule, self.shift * t / (1.0 - t))
    }
}
