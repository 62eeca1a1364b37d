//! EDM's weight.

use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use crate::path::Path as _;
use crate::precision::check_level;
use serde::{Deserialize, Serialize};

/// λ(σ) = (σ² + s²)/(σ·s)² on `‖D − x₀‖²`, for data of standard deviation s (Karras et al. 2022, arXiv:2206.00364, Table 1),
/// with σ/α in the place of σ on paths that scale the data. It is 1 on the output of [`Edm`](crate::Edm) of the same s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdmWeight {
    /// The data's standard deviation s, 0.5 by default.
    pub sigma_data: f64,
}

impl Default for EdmWeight {
    fn default() -> Self {
        Self { sigma_data: 0.5 }
    }
}

impl EdmWeight {
    /// Whether there is such a weight.
    ///
    /// # Errors
    /// If f32 does not hold the square of the standard deviation.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_level("sigma_data", self.sigma_data)
    }
}

impl Weighting for EdmWeight {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        let (alpha, s) = (parameterization.path().alpha(sigma), self.sigma_data);
        Weight::OnDenoised((alpha / sigma).powi(2) + s.powi(-2))
    }
}
