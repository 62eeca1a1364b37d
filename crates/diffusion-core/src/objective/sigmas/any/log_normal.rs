//! Log-normal noise levels.

use super::super::level_of_ratio;
use crate::invalid::Invalid;
use crate::normal::normal_quantile;
use crate::objective::SigmaDistribution;
use crate::precision::{check_factor, check_level};
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// Noise levels whose logarithms are normal, ln(σ/α) ~ N(`mean`, `std`²): EDM's (Karras et al. 2022, arXiv:2206.00364,
/// Table 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogNormal {
    /// P_mean, −1.2 by default.
    pub mean: f64,
    /// P_std, 1.2 by default.
    pub std: f64,
}

impl Default for LogNormal {
    fn default() -> Self {
        Self { mean: -1.2, std: 1.2 }
    }
}

impl LogNormal {
    /// Whether there is such a distribution.
    ///
    /// # Errors
    /// Unless both numbers are finite and `std` is positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("mean", self.mean)?;
        check_level("std", self.std)
    }
}

impl SigmaDistribution for LogNormal {
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        level_of_ratio(schedule, (self.mean + self.std * normal_quantile(u)).exp())
    }
}
