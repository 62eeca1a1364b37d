//! Guidance in an interval of noise levels.

use crate::guidance::modifier::Modifier;
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// Guidance only in steps that start at `low < σ ≤ high` (Kynkäänniemi et al. 2024, arXiv:2404.07724). Elsewhere
/// the second denoiser is not evaluated, which halves the cost.
///
/// It is decided at a step's start for all evaluations of the step, so that a step of second order does not average an
/// estimate with guidance and one without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The noise level above which steps are guided; 0 by default.
    #[serde(default)]
    pub low: f64,
    /// The highest noise level of steps that are guided.
    pub high: f64,
}

impl Interval {
    /// Whether there is such an interval.
    ///
    /// # Errors
    /// If `low` is negative, or `high` not above it.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { low, high } = *self;
        Invalid::unless(low >= 0.0 && low.is_finite(), "low", || {
            format!("is {low:?}, expected a noise level of 0 or more")
        })?;
        Invalid::unless(high > low, "high", || format!("is {high:?}, expected more than `low`, {low:?}"))
    }
}

impl Modifier for Interval {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self) {}

    fn is_active(&self, at: &GuidancePoint) -> bool {
        self.low < at.step.from && at.step.from <= self.high
    }
}
