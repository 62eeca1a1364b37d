//! v-prediction.

use super::{Mix, Parameterization};
use crate::path::VarianceExploding;

/// The network predicts v = √ᾱ·ε − √(1−ᾱ)·x₀ with ᾱ = 1/(1+σ²) (Salimans & Ho 2022, arXiv:2202.00512, App. D).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VPrediction;

impl Parameterization for VPrediction {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn target(&self, sigma: f64) -> Mix {
        let n = sigma.hypot(1.0);
        Mix { x0: -sigma / n, eps: 1.0 / n }
    }
}
