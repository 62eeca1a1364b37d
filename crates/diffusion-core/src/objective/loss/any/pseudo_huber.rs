//! The pseudo-Huber distance.

use crate::invalid::Invalid;
use crate::objective::Loss;
use crate::precision::check_level;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// √(‖e‖² + c²) − c of an example's whole error e: quadratic below c, and linear above, so that outliers count less (Song &
/// Dhariwal 2024, arXiv:2310.14189, §3.3).
///
/// The error is that on which the weight is stated: of the estimate of the data, or of the output for a uniform weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PseudoHuber {
    /// c; 0.00054·√d for examples of d values where it is absent, as in the paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c: Option<f64>,
}

impl PseudoHuber {
    /// Whether there is such a loss.
    ///
    /// # Errors
    /// If f32 does not hold the square of c.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.c.map_or(Ok(()), |c| check_level("c", c))
    }
}

impl Loss for PseudoHuber {
    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        let dims = error.dims();
        let values: usize = dims[1..].iter().product();
        let c = self.c.unwrap_or_else(|| 0.00054 * (values as f64).sqrt());
        let squares = error.square().reshape([dims[0], values]).sum_dim(1); // [batch, 1]
        // The same number as the difference of root and c, of which f32 would leave little.
        let distances = squares.clone() / ((squares + c * c).sqrt() + c);
        let mut shape = [1; D];
        shape[0] = dims[0];
        distances.reshape(shape)
    }
}
