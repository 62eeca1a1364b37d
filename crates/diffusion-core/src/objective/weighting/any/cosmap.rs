//! Cosmap.

use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use crate::path::Path as _;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// 2/(π·(1 − 2t + 2t²)) on the error of flow matching's output ε − x₀ (Esser et al. 2024, arXiv:2403.03206, §3.1), which is
/// that over t² on `‖D − x₀‖²`; t is σ on the straight path, and σ/(σ + α) on every path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosmap {}

impl Cosmap {
    /// Whether there is such a weight; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Weighting for Cosmap {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        let t = sigma / (sigma + parameterization.path().alpha(sigma));
        Weight::OnDenoised(2.0 / (PI * (1.0 - 2.0 * t + 2.0 * t * t) * t * t))
    }
}
