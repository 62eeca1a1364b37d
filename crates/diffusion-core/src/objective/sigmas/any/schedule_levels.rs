//! The levels of the schedule, as it draws them.

use crate::invalid::Invalid;
use crate::objective::SigmaDistribution;
use crate::random::Stream;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// Noise levels as the schedule draws them itself: those of its table, each as likely as any other, or its own times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleLevels {}

impl ScheduleLevels {
    /// Whether there is such a distribution; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl SigmaDistribution for ScheduleLevels {
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        schedule.quantile(u)
    }

    fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
        schedule.draw(stream)
    }

    fn resolution<S: Schedule + ?Sized>(&self, schedule: &S) -> f64 {
        1.0 / schedule.levels().len() as f64
    }
}
