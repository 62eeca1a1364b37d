//! Noise prediction.

use super::{Mix, Parameterization};
use crate::path::VarianceExploding;

/// The network predicts the noise ε (Ho et al. 2020, arXiv:2006.11239), smalldiffusion's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpsPrediction;

impl Parameterization for EpsPrediction {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn target(&self, _sigma: f64) -> Mix {
        Mix { x0: 0.0, eps: 1.0 }
    }
}
