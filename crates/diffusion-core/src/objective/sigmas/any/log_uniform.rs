//! Noise levels with uniform logarithms.

use super::super::{range, within};
use crate::invalid::Invalid;
use crate::objective::SigmaDistribution;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// Noise levels whose logarithms are uniform between those of the schedule's smallest and largest level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogUniform {}

impl LogUniform {
    /// Whether there is such a distribution; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl SigmaDistribution for LogUniform {
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        let (low, high) = range(schedule);
        within(schedule, low * (high / low).powf(u))
    }
}
