//! Where guidance is asked.

use crate::path::Path;
use crate::step::SamplerStep;

/// Where guidance is asked: an evaluation, and the step of a run that it belongs to.
///
/// A rule that switches looks at the step, so that all evaluations of a step agree; one that changes gradually looks at the
/// noise level itself, so that a sampler keeps its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuidancePoint {
    /// The noise level of the evaluation, positive.
    pub sigma: f64,
    /// The data's weight α at this noise level.
    pub alpha: f64,
    /// The step that it is in.
    pub step: SamplerStep,
    /// The data's weight α at the start of the step.
    pub alpha_from: f64,
    /// The data's weight α at its end.
    pub alpha_to: f64,
}

impl GuidancePoint {
    /// An evaluation at `sigma` in the course of `step`.
    pub fn new(path: &impl Path, sigma: f64, step: SamplerStep) -> Self {
        let [alpha, alpha_from, alpha_to] = [sigma, step.from, step.to].map(|sigma| path.alpha(sigma));
        Self { sigma, alpha, step, alpha_from, alpha_to }
    }

    /// An evaluation at `sigma` outside of a run, as if one step led from there to data.
    pub fn alone(path: &impl Path, sigma: f64) -> Self {
        Self::new(path, sigma, SamplerStep::to_data(sigma))
    }

    /// The time t = σ/(α + σ) of the evaluation, 1 of pure noise and 0 of data: that of the straight path at the same ratio
    /// of data to noise, whatever the path.
    ///
    /// ```
    /// use diffusion_core::guidance::GuidancePoint;
    /// use diffusion_core::{Straight, VarianceExploding};
    ///
    /// assert_eq!(GuidancePoint::alone(&Straight, 0.75).time(), 0.75);
    /// assert_eq!(GuidancePoint::alone(&VarianceExploding, 3.0).time(), 0.75);
    /// ```
    pub fn time(&self) -> f64 {
        self.sigma / (self.alpha + self.sigma)
    }
}
