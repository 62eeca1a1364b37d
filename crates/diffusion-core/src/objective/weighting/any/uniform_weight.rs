//! The same weight for all errors of the prediction.

use crate::invalid::Invalid;
use crate::objective::{Weight, Weighting};
use crate::parameterization::Parameterization;
use serde::{Deserialize, Serialize};

/// 1 on the error of the network's output, at all noise levels: what is uniform depends on the parameterization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniformWeight {}

impl UniformWeight {
    /// Whether there is such a weight; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Weighting for UniformWeight {
    fn weight<P: Parameterization>(&self, _parameterization: &P, _sigma: f64) -> Weight {
        Weight::OnOutput(1.0)
    }
}
