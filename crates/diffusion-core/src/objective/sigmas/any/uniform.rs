//! Uniform noise levels.

use super::super::range;
use crate::invalid::Invalid;
use crate::objective::SigmaDistribution;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// Noise levels that are uniform between the schedule's smallest and largest, in the path's own σ: on the straight path
/// the times of flow matching (Lipman et al. 2023, arXiv:2210.02747).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uniform {}

impl Uniform {
    /// Whether there is such a distribution; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl SigmaDistribution for Uniform {
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        let (low, high) = range(schedule);
        low + (high - low) * u
    }
}
