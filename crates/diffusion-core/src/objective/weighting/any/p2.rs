//! P2.

use super::super::snr;
use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use crate::precision::check_level;
use serde::{Deserialize, Serialize};

/// 1/(k + SNR)^γ on the error of ε (Choi et al. 2022, arXiv:2204.00227, eq. 8), which is SNR/(k + SNR)^γ on `‖D − x₀‖²`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct P2 {
    /// γ, 1 by default; 0.5 is the other value of the paper.
    pub gamma: f64,
    /// k, 1 by default.
    pub k: f64,
}

impl Default for P2 {
    fn default() -> Self {
        Self { gamma: 1.0, k: 1.0 }
    }
}

impl P2 {
    /// Whether there is such a weight.
    ///
    /// # Errors
    /// Unless γ is at least 0 and finite, and k positive.
    pub fn validate(&self) -> Result<(), Invalid> {
        let reason = || format!("is {}, expected a finite number of at least 0", self.gamma);
        Invalid::unless(self.gamma >= 0.0 && self.gamma.is_finite(), "gamma", reason)?;
        check_level("k", self.k)
    }
}

impl Weighting for P2 {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        let snr = snr(parameterization, sigma);
        Weight::OnDenoised(snr / (self.k + snr).powf(self.gamma))
    }
}
