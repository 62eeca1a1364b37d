//! EDM's preconditioning.

use super::{Mix, Parameterization};
use crate::path::VarianceExploding;

/// EDM's preconditioning (Karras et al. 2022, arXiv:2206.00364, Table 1): input and target have unit variance.
///
/// The paper's network is told ln(σ)/4; here that is the network's own affair, as its σ embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edm {
    /// Standard deviation of the data, 0.5 in the paper.
    pub sigma_data: f64,
}

impl Default for Edm {
    fn default() -> Self {
        Self { sigma_data: 0.5 }
    }
}

impl Parameterization for Edm {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn target(&self, sigma: f64) -> Mix {
        let n = sigma.hypot(self.sigma_data);
        Mix { x0: sigma / (self.sigma_data * n), eps: -self.sigma_data / n }
    }

    fn c_in(&self, sigma: f64) -> f64 {
        1.0 / sigma.hypot(self.sigma_data)
    }
}
