//! Which noise levels are drawn: distributions by their quantiles.

mod any;

pub use any::*;

use crate::path::Path;
use crate::random::Stream;
use crate::schedule::Schedule;
use std::fmt::Debug;

/// A distribution of noise levels, in the own σ of the schedule's path and within its range.
///
/// A distribution of your own, by its inverse CDF: here most levels are low.
/// ```
/// use diffusion_core::objective::{AnyLoss, AnyWeight, BatchPlace, SigmaDistribution, Weighted};
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::objective::{Memory, Objective};
///
/// #[derive(Clone, Debug, Default)]
/// struct Low;
///
/// impl SigmaDistribution for Low {
///     fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
///         let levels = schedule.levels();
///         levels[(u * u * levels.len() as f64) as usize]
///     }
/// }
///
/// let objective = Weighted::<Low, AnyWeight, AnyLoss> { stratified: true, ..Default::default() };
/// let place = BatchPlace { seed: 0, step: 0, first: 0, examples: 100, total: 100 };
/// let schedule = LogLinear::new(200, 0.01, 10.0);
/// let levels = objective.levels(&schedule, &place, &Memory::default());
/// let middle = schedule.levels()[100];
/// assert!(levels.iter().filter(|level| level.sigma < middle).count() >= 70);
/// ```
pub trait SigmaDistribution: Clone + Debug + Send + Sync + 'static {
    /// The noise level below which a share `u`, in [0, 1), of all levels lies.
    fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64;

    /// One noise level; the quantile of a uniform number, unless a member says otherwise.
    fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
        self.quantile(schedule, stream.uniform())
    }

    /// How much of u one noise level takes: the quantiles differ over such steps.
    fn resolution<S: Schedule + ?Sized>(&self, _schedule: &S) -> f64 {
        1e-4
    }

    /// The derivative of ln(σ/α) by u: how much of the noise levels' logarithm a draw stands for.
    fn log_slope<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
        let h = self.resolution(schedule);
        let (low, high) = ((u - h).max(0.0), (u + h).min(1.0 - f64::EPSILON));
        let path = schedule.path();
        let at = |u| {
            let sigma = self.quantile(schedule, u);
            (sigma / path.alpha(sigma).max(LEAST_ALPHA)).ln()
        };
        (at(high) - at(low)) / (high - low)
    }
}

/// Where nothing of the data is left, the ratio of noise to data has no logarithm; there it has that of so much data.
const LEAST_ALPHA: f64 = 1e-6;

/// The schedule's level at which the noise is `ratio` times as strong as the data.
pub(super) fn level_of_ratio<S: Schedule + ?Sized>(schedule: &S, ratio: f64) -> f64 {
    within(schedule, schedule.path().sigma_of_ratio(ratio))
}

/// The level of the schedule's range that is nearest to `sigma`.
pub(super) fn within<S: Schedule + ?Sized>(schedule: &S, sigma: f64) -> f64 {
    let (low, high) = range(schedule);
    sigma.clamp(low, high)
}

/// The smallest and the largest level.
pub(super) fn range<S: Schedule + ?Sized>(schedule: &S) -> (f64, f64) {
    let levels = schedule.levels();
    (levels[0], levels[levels.len() - 1])
}
