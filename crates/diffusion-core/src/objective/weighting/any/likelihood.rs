//! The weight of the likelihood.

use super::super::snr;
use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use serde::{Deserialize, Serialize};

/// The weight under which the loss is a bound on the negative log-likelihood, in nats per value up to a constant (Song et al.
/// 2021, arXiv:2101.09258, Theorem 1; Kingma et al. 2021, arXiv:2107.00630, §5): SNR on `‖D − x₀‖²` per unit of ln σ.
///
/// So each draw counts by how much of ln σ it stands for, whatever distribution the levels are drawn from: that decides about
/// the variance only. Levels that are clamped to the schedule's ends stand for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likelihood {}

impl Likelihood {
    /// Whether there is such a weight; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Weighting for Likelihood {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        Weight::OnDenoised(snr(parameterization, sigma))
    }

    fn is_per_log_sigma(&self) -> bool {
        true
    }
}
