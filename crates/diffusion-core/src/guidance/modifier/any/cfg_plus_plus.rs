//! Guidance that goes on from the noise that the second denoiser found.

use crate::guidance::modifier::Modifier;
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// CFG++ (Chung et al. 2024, arXiv:2406.08070, Algorithm 2): a step goes to the guided estimate `D_u + λ·(D − D_u)` and
/// adds the noise that the second denoiser found. The rule's scale is λ, from 0 to 1.
///
/// With ε_u = (x − α·D_u)/σ the paper's step of DDIM from σ to σ′ is `x′ = α′·(D_u + λ·(D − D_u)) + σ′·ε_u`. A step of DDIM
/// with the guided estimate G is `x′ = (σ′/σ)·x + (α′ − α·σ′/σ)·G`. The two are equal if `G = D_u + w·(D − D_u)` with
/// `w = λ·α′/(α′ − α·σ′/σ)`, so that CFG++ is guidance with a scale of its own for each step. On the variance-exploding path
/// it is λ·σ/(σ − σ′), and the same of σ/α on any other.
///
/// This is the paper's method for Euler's method, which is DDIM. Other samplers take the same scale for the whole step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CfgPlusPlus {}

impl CfgPlusPlus {
    /// Whether there is such a modifier; there is one.
    ///
    /// # Errors
    /// None.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Modifier for CfgPlusPlus {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self) {}

    /// λ·α′/(α′ − α·σ′/σ) − 1: scales count what goes beyond the first estimate.
    fn scale(&self, lambda: f64, at: &GuidancePoint) -> f64 {
        let left = at.alpha_to - at.alpha_from * at.step.to / at.step.from;
        // A step that goes nowhere has no such scale, and needs none.
        let factor = if left > 0.0 { at.alpha_to / left } else { 1.0 };
        lambda * factor - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Path, Straight, VarianceExploding};
    use crate::step::SamplerStep;

    fn scale(path: &impl Path, from: f64, to: f64) -> f64 {
        let step = SamplerStep { index: 3, from, to };
        CfgPlusPlus {}.scale(0.6, &GuidancePoint::new(path, from, step))
    }

    #[test]
    fn a_step_has_its_own_scale() {
        for (found, expected) in [
            (scale(&VarianceExploding, 4.0, 3.0), 0.6 * 4.0 - 1.0),
            (scale(&VarianceExploding, 4.0, 0.0), 0.6 - 1.0),
            (scale(&VarianceExploding, 4.0, 4.0), 0.6 - 1.0),
            // σ/α is 4 and 1; there is no data at σ = 1.
            (scale(&Straight, 0.8, 0.5), 0.6 * 4.0 / 3.0 - 1.0),
            (scale(&Straight, 1.0, 0.5), 0.6 - 1.0),
        ] {
            assert!((found - expected).abs() < 1e-14, "{found}, expected {expected}");
        }
    }
}
