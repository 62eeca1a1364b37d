//! The squared error.

use crate::invalid::Invalid;
use crate::objective::Loss;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The square of each value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Squared {}

impl Squared {
    /// Whether there is such a loss; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Loss for Squared {
    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        error.square()
    }

    fn is_quadratic(&self) -> bool {
        true
    }
}
