//! Data prediction.

use super::{Mix, Parameterization};
use crate::path::VarianceExploding;

/// The network predicts the data x₀.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct X0Prediction;

impl Parameterization for X0Prediction {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn target(&self, _sigma: f64) -> Mix {
        Mix { x0: 1.0, eps: 0.0 }
    }
}
