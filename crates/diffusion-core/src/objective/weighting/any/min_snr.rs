//! Min-SNR.

use super::super::snr;
use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use crate::precision::check_level;
use serde::{Deserialize, Serialize};

/// min(SNR, γ) on `‖D − x₀‖²` (Hang et al. 2023, arXiv:2303.09556, §3.4). So it is min(SNR, γ)/SNR on the error of ε, and
/// min(SNR, γ)/(SNR + 1) on that of v.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinSnr {
    /// γ, 5 by default.
    pub gamma: f64,
}

impl Default for MinSnr {
    fn default() -> Self {
        Self { gamma: 5.0 }
    }
}

impl MinSnr {
    /// Whether there is such a weight.
    ///
    /// # Errors
    /// Unless γ is positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_level("gamma", self.gamma)
    }
}

impl Weighting for MinSnr {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        Weight::OnDenoised(snr(parameterization, sigma).min(self.gamma))
    }
}
