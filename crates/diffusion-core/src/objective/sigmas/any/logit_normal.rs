//! Logit-normal times.

use super::super::level_of_ratio;
use crate::invalid::Invalid;
use crate::normal::normal_quantile;
use crate::objective::SigmaDistribution;
use crate::precision::{check_factor, check_level};
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// Times t = σ of the straight path whose logits are normal, shifted towards noise (Esser et al. 2024, arXiv:2403.03206,
/// §3.1 and §5.3.2): `t ← k·t/(1 + (k − 1)·t)`.
///
/// On other paths these are the levels with the same ratio σ/α = t/(1 − t) of noise to data, which the shift multiplies
/// by k: a [`LogNormal`](crate::objective::LogNormal) of mean `mean + ln k`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogitNormal {
    /// The mean m of the logit, 0 by default.
    pub mean: f64,
    /// Its standard deviation s, 1 by default.
    pub std: f64,
    /// The shift k, 1 by default, which is none; 3 for SD3 at 1024 × 1024 pixels.
    pub shift: f64,
}

impl Default for LogitNormal {
    fn default() -> Self {
        Self { mean: 0.0, std: 1.0, shift: 1.0 }
    }
}

impl LogitNormal {
    /// Whether there is such a distribution.
    ///
    /// # Errors
    /// Unless all numbers are finite, and `std` and `shift` are positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("mean", self.mean)?;
        check_level("std", self.std)?;
        check_level("shift", self.shift)
    }
}

impl SigmaDistribution for LogitNormal {
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        level_of_ratio(schedule, self.shift * (self.mean + self.std * normal_quantile(u)).exp())
    }
}
