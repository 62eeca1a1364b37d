//! Truncated SNR.

use super::super::snr;
use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use crate::precision::check_level;
use serde::{Deserialize, Serialize};

/// max(SNR, `least`) on `‖D − x₀‖²` (Salimans & Ho 2022, arXiv:2202.00512, §4): the error of ε at low noise, that of x₀ at high.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TruncatedSnr {
    /// The least weight, 1 by default.
    pub least: f64,
}

impl Default for TruncatedSnr {
    fn default() -> Self {
        Self { least: 1.0 }
    }
}

impl TruncatedSnr {
    /// Whether there is such a weight.
    ///
    /// # Errors
    /// Unless it is positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_level("least", self.least)
    }
}

impl Weighting for TruncatedSnr {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        Weight::OnDenoised(snr(parameterization, sigma).max(self.least))
    }
}
