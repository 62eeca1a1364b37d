//! Input scaling around any variance-exploding mode.

use super::{Mix, Parameterization};
use crate::path::VarianceExploding;

/// Any variance-exploding mode, with the network's input multiplied by √ᾱ = 1/√(1+σ²).
///
/// For data of unit variance the network then sees unit variance at every σ. It replaces an input scale that the
/// inner mode may have, as EDM does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaled<P>(pub P);

impl<P: Parameterization<Path = VarianceExploding>> Parameterization for Scaled<P> {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn target(&self, sigma: f64) -> Mix {
        self.0.target(sigma)
    }

    fn c_in(&self, sigma: f64) -> f64 {
        1.0 / sigma.hypot(1.0)
    }
}
