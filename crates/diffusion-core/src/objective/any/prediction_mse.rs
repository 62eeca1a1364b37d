//! The mean squared error of the prediction, every noise level weighing the same.

use crate::invalid::Invalid;
use crate::objective::{Objective, Weight};
use crate::parameterization::Parameterization;
use serde::{Deserialize, Serialize};

/// The mean squared error of the prediction, `‖F − (a·x₀ + b·ε)‖²`, with noise levels as the schedule draws them:
/// smalldiffusion's loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionMse;

impl PredictionMse {
    /// Whether there is such an objective; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Objective for PredictionMse {
    fn weight<P: Parameterization>(&self, _parameterization: &P, _sigma: f64) -> Weight {
        Weight::OnOutput(1.0)
    }
}
