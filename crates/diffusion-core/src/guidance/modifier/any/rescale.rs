//! Guidance that keeps the contrast of what it guides.

use crate::guidance::estimate::GuidedEstimate;
use crate::guidance::modifier::Modifier;
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Rescaled guidance (Lin et al. 2024, arXiv:2305.08891, §3.4): the guided estimate G of x₀ becomes
/// `φ·G·std(D)/std(G) + (1 − φ)·G`, with standard deviations over all values of an example.
///
/// The paper does it to the output of v-prediction, and diffusers to whatever a network outputs. Here it is the estimate of
/// x₀, whose contrast is what is to be kept, so that the result depends on no parameterization.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescale {
    /// How far to go from the guided estimate, 0, to the one of the same contrast as the unguided one, 1. The paper takes
    /// 0.7.
    pub phi: f64,
}

impl Rescale {
    /// Whether there is such a rescaling.
    ///
    /// # Errors
    /// If φ is not in 0..=1.
    pub fn validate(&self) -> Result<(), Invalid> {
        let phi = self.phi;
        Invalid::unless((0.0..=1.0).contains(&phi), "phi", || format!("is {phi:?}, expected 0 to 1"))
    }
}

impl Modifier for Rescale {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self) {}

    fn modify<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        _at: &GuidancePoint,
        (): &mut (),
    ) -> GuidedEstimate<B, D> {
        if self.phi == 0.0 {
            return estimate;
        }
        let guided = estimate.guided();
        let shape = guided.dims();
        let rows = [shape[0], shape[1..].iter().product()];
        let guided: Tensor<B, 2> = guided.reshape(rows);
        let (kept, found) = (std(estimate.unguided().reshape(rows)), std(guided.clone()));
        // An example without any contrast has nothing that could be scaled.
        let flat = found.clone().equal_elem(0.0);
        let ratio = kept.mask_fill(flat.clone(), 1.0) / found.mask_fill(flat, 1.0); // [batch, 1]
        let scaled = guided * (ratio * self.phi + (1.0 - self.phi));
        estimate.with_guided(scaled.reshape(shape))
    }
}

/// The standard deviation of each row.
///
/// # Shapes
/// - `rows`: `[batch, n]`
/// - returns `[batch, 1]`
fn std<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    let centered = rows.clone() - rows.mean_dim(1);
    (centered.clone() * centered).mean_dim(1).sqrt()
}
