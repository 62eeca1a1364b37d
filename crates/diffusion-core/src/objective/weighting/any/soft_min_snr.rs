//! Min-SNR without its corner.

use super::super::snr;
use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use crate::precision::check_level;
use serde::{Deserialize, Serialize};

/// SNR·γ/(SNR + γ) = 1/(σ² + s²) with s² = 1/γ on `‖D − x₀‖²`: [`MinSnr`](crate::objective::MinSnr) without its corner
/// (Crowson et al. 2024, arXiv:2401.11605).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftMinSnr {
    /// γ = 1/s², 4 by default: that of data of standard deviation s = 0.5.
    pub gamma: f64,
}

impl Default for SoftMinSnr {
    fn default() -> Self {
        Self { gamma: 4.0 }
    }
}

impl SoftMinSnr {
    /// Whether there is such a weight.
    ///
    /// # Errors
    /// Unless γ is positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_level("gamma", self.gamma)
    }
}

impl Weighting for SoftMinSnr {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        let snr = snr(parameterization, sigma);
        Weight::OnDenoised(snr / (snr / self.gamma + 1.0))
    }
}
